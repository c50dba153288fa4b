import numpy as np
import pandas as pd
import pytest

from deepmr.cohort import ArrayGenotypes, Cohort
from deepmr.population import associate_variants, spectrum_of_effects, spectrum_of_kinship

SAMPLES, VARIANTS = 120, 60


def make_cohort(seed=0, *, traits=2):
    rng = np.random.default_rng(seed)
    dosages = rng.binomial(2, rng.uniform(0.1, 0.5, VARIANTS)[:, None], (VARIANTS, SAMPLES)).astype(float)
    variants = pd.DataFrame({
        "variant_id": [f"v{k}" for k in range(VARIANTS)], "chrom": "1", "pos": np.arange(VARIANTS) + 1,
        "effect_allele": "A", "other_allele": "C",
    })  # fmt: skip
    polygenic = rng.normal(size=(traits, VARIANTS)) @ (dosages - dosages.mean(1, keepdims=True)) / VARIANTS**0.5
    return Cohort(
        genotypes=ArrayGenotypes(
            variants=variants, samples=pd.Index([f"s{k}" for k in range(SAMPLES)]), dosages=dosages
        ),
        phenotypes=polygenic.T + rng.normal(size=(SAMPLES, traits)) + 10,
        traits=tuple("abcdefgh"[:traits]),
        covariates=rng.normal(size=(SAMPLES, 1)),
        covariate_names=("age",),
    )


def standardised(cohort):
    dosages = cohort.genotypes.dosages
    return ((dosages - dosages.mean(1, keepdims=True)) / dosages.std(1, keepdims=True)).T


def test_effects_are_those_of_generalised_least_squares():
    cohort = make_cohort()
    z = standardised(cohort)
    kinship = z @ z.T / VARIANTS
    found = associate_variants(cohort, spectrum_of_kinship(kinship))
    for k, trait in enumerate(cohort.traits):
        gamma = np.exp(found.nulls[""].log_gamma[k])
        inverse = np.linalg.inv(np.eye(SAMPLES) + gamma * kinship)
        x = np.column_stack([cohort.design, cohort.genotypes.dosages[7]])
        cov = np.linalg.inv(x.T @ inverse @ x)
        beta = cov @ x.T @ inverse @ cohort.phenotypes[:, k]
        left = cohort.phenotypes[:, k] - x @ beta
        row = found.table[(found.table["trait"] == trait) & (found.table["variant_id"] == "v7")].iloc[0]
        assert row["beta"] == pytest.approx(beta[-1], rel=1e-8)
        se = np.sqrt(left @ inverse @ left / (SAMPLES - 3) * cov[-1, -1])
        assert row["se"] == pytest.approx(se, rel=1e-8)


def test_one_trait_by_the_triangular_way_equals_many_by_rotation():
    cohort = make_cohort()
    z = standardised(cohort)
    spectrum = spectrum_of_kinship(z @ z.T / VARIANTS)
    many = associate_variants(cohort, spectrum).table.query("trait == 'a'")
    one = associate_variants(cohort.select(["a"]), spectrum, block=7).table
    np.testing.assert_allclose(one["chi_sq"], many["chi_sq"], rtol=1e-9)
    np.testing.assert_allclose(one["beta"], many["beta"], rtol=1e-9)


def test_low_rank_equals_full_rank():
    cohort = make_cohort()
    z = standardised(cohort)[:, :30] / 30**0.5
    low = associate_variants(cohort, spectrum_of_effects(z)).table
    full = associate_variants(cohort, spectrum_of_kinship(z @ z.T)).table
    np.testing.assert_allclose(low["chi_sq"], full["chi_sq"], rtol=1e-8)
