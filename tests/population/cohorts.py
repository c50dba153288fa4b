"""Cohorts of made-up people, for tests of association."""

import numpy as np
import pandas as pd

from deepmr.cohort import ArrayGenotypes, Cohort
from deepmr.population import spectrum_of_kinship


def make_variants(count, *, chrom="1"):
    columns = {"chrom": chrom, "pos": np.arange(count) + 1, "effect_allele": "A", "other_allele": "C"}
    return pd.DataFrame({"variant_id": [f"v{k}" for k in range(count)], **columns})


def make_cohort(seed=0, *, traits=2, samples=120, variants=60, polygenic=1.0, chrom="1"):
    rng = np.random.default_rng(seed)
    dosages = rng.binomial(2, rng.uniform(0.1, 0.5, variants)[:, None], (variants, samples)).astype(float)
    genetic = rng.normal(size=(traits, variants)) @ (dosages - dosages.mean(1, keepdims=True)) / variants**0.5
    return Cohort(
        genotypes=ArrayGenotypes(
            variants=make_variants(variants, chrom=chrom),
            samples=pd.Index([f"s{k}" for k in range(samples)]),
            dosages=dosages,
        ),
        phenotypes=polygenic * genetic.T + rng.normal(size=(samples, traits)) + 10,
        traits=tuple(f"trait_{k}" for k in range(traits)),
        covariates=rng.normal(size=(samples, 1)),
        covariate_names=("age",),
    )


def with_markers(cohort, dosages):
    """Return a cohort with other markers, one or several rows."""
    dosages = np.atleast_2d(dosages)
    genotypes = ArrayGenotypes(
        variants=make_variants(len(dosages)), samples=cohort.samples, dosages=np.ascontiguousarray(dosages)
    )
    return Cohort(
        genotypes=genotypes,
        phenotypes=cohort.phenotypes,
        traits=cohort.traits,
        covariates=cohort.covariates,
        covariate_names=cohort.covariate_names,
    )


def standardised(cohort):
    dosages = cohort.genotypes.dosages
    return ((dosages - dosages.mean(1, keepdims=True)) / dosages.std(1, keepdims=True)).T


def make_kinship(cohort):
    z = standardised(cohort)
    return z @ z.T / z.shape[1]


def make_spectrum(cohort):
    return spectrum_of_kinship(make_kinship(cohort))
