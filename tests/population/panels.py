"""A small panel of genotypes that tests of relationship matrices share."""

import numpy as np
import pandas as pd

from deepmr.cohort import ArrayGenotypes


def panel(dosages, chroms=None):
    """Return genotypes in memory; all on chromosome 1 unless given."""
    variants, samples = dosages.shape
    return ArrayGenotypes(
        variants=pd.DataFrame({
            "variant_id": [f"v{k}" for k in range(variants)],
            "chrom": ["1"] * variants if chroms is None else chroms,
            "pos": np.arange(variants) + 1,
            "effect_allele": "A",
            "other_allele": "C",
        }),
        samples=pd.Index([f"s{k}" for k in range(samples)]),
        dosages=dosages,
    )  # fmt: skip


def families(*, samples=60, variants=240, missing=0.02, seed=3):
    """Return genotypes of related samples on four chromosomes, with gaps, rare and monomorphic variants."""
    rng = np.random.default_rng(seed)
    frequency = rng.uniform(0.05, 0.5, variants)
    parents = rng.random((2, 12, variants)) < frequency
    mother, father = rng.integers(0, 12, (2, samples))
    dosages = (parents[0, mother].astype(float) + parents[1, father]).T.copy()
    dosages += rng.binomial(1, 0.1, dosages.shape) * (dosages < 2)
    dosages[5] = 1.0
    dosages[6] = 0.0
    dosages[6, 3] = 1.0
    dosages[rng.random(dosages.shape) < missing] = np.nan
    dosages[7, :20] = np.nan
    dosages[8] = np.nan
    return panel(dosages, np.repeat(["1", "2", "3", "X"], variants // 4))


def by_definition(dosages, *, kind="centred", least=0.01, most=0.05):
    """Return K = mean of z z' and how many markers it has, one marker after the other."""
    total, used = 0.0, 0
    for g in dosages:
        there = ~np.isnan(g)
        if not there.any():
            continue
        mean = g[there].mean()
        if np.isnan(g).mean() > most or min(mean / 2, 1 - mean / 2) < least or np.ptp(g[there]) == 0:
            continue
        z = np.where(there, g - mean, 0.0)
        if kind == "standardised":
            z = z / np.sqrt((z**2).mean())
        total, used = total + np.outer(z, z), used + 1
    return total / used, used
