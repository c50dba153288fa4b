"""Selection from GWAS results, and the correlation of errors."""

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.instruments.gwas import estimate_error_corr, evidence, is_significant, pvalues
from deepmr.types import SummaryStats


def stats_of(z, **columns):
    size = len(z)
    names = {"variant_id": [f"rs{i}" for i in range(size)], "locus": "genome", "chrom": "1", "pos": np.arange(size) + 1}
    frame = pd.DataFrame({**names, "effect_allele": "A", "other_allele": "C", **columns})
    traits = tuple("XYZ"[: z.shape[1]])
    return SummaryStats(variants=frame, traits=traits, beta=z, se=np.ones_like(z), estimand="population")


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.2, 0.8])
def test_error_correlation_is_not_attenuated(rho):
    rng = np.random.default_rng(0)
    z = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=100_000)
    z[:500] += rng.normal(scale=8.0, size=(500, 2))  # some have effects
    found = estimate_error_corr(stats_of(z))
    assert found.matrix[0, 1] == pytest.approx(rho, abs=0.02)
    assert found.n_variants > 80_000


def test_too_few_null_variants():
    with pytest.raises(InputError, match="needs at least 100"):
        estimate_error_corr(stats_of(np.zeros((5, 2))))


def test_reported_p_values_choose_and_tiny_ones_rank():
    z = np.array([[6.0], [6.0], [50.0], [60.0]])
    stats = stats_of(z, X_pvalue=[1e-3, np.nan, 0.0, 0.0])
    assert is_significant(stats, exposures=["X"]).tolist() == [False, True, True, True]
    assert pvalues(stats, "X")[1] == pytest.approx(1.97e-9, rel=0.01)
    rank = evidence(stats, "X")
    assert rank[3] > rank[2] > 300
    assert is_significant(stats, exposures=["X"], p_threshold=1.0, min_f=100.0).tolist() == [False, False, True, True]
    with pytest.raises(InputError, match="p_threshold"):
        is_significant(stats, exposures=["X"], p_threshold=0.0)
