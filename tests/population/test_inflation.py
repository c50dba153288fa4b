"""Lambda GC: of known quantiles, and the same from a scan gathered block by block."""

import numpy as np
import pytest
from scipy import stats

from deepmr.errors import InputError
from deepmr.population import inflation
from deepmr.population.inflation import Spread, genomic_inflation
from deepmr.population.transformation import inverse_normal, standardise


def test_of_even_p_values_it_is_one():
    assert genomic_inflation(-np.log10((np.arange(1, 1002) - 0.5) / 1001)) == pytest.approx(1.0, abs=1e-12)


def test_of_scaled_statistics_it_is_their_scale():
    chi_sq = stats.chi2.ppf(np.linspace(0.0005, 0.9995, 1001), 1)
    assert genomic_inflation(-stats.chi2.logsf(1.3 * chi_sq, 1) / np.log(10)) == pytest.approx(1.3, rel=1e-10)


def test_missing_values_do_not_count():
    log10p = np.array([0.1, np.nan, 0.3, 0.7])
    assert genomic_inflation(log10p) == genomic_inflation(log10p[[0, 2, 3]])
    assert np.isnan(genomic_inflation(np.array([np.nan])))
    assert np.isnan(Spread().inflation())


@pytest.mark.parametrize("few", [0, 100_000])
@pytest.mark.parametrize("block", [70, 1000, 30_000])
def test_block_by_block_it_is_the_same(block, few, monkeypatch):
    monkeypatch.setattr(inflation, "FEW", few)
    log10p = np.random.default_rng(3).exponential(1 / np.log(10), 30_000)
    log10p[5] = np.nan
    spread = Spread()
    for start in range(0, len(log10p), block):
        spread.add(log10p[start : start + block])
    assert spread.n == len(log10p) - 1
    assert spread.inflation() == pytest.approx(genomic_inflation(log10p), rel=2e-4 if few == 0 else 1e-12)
    largest = np.sort(log10p[np.isfinite(log10p)])[::-1]
    ranks = np.array([1.0, 2.0, 10.0, 200.0, 1000.0, 20_000.0])
    found = spread.ranked(ranks)
    assert np.array_equal(found[:4], largest[[0, 1, 9, 199]])
    assert found == pytest.approx(largest[ranks.astype(int) - 1], abs=1.1e-4)


def test_ranks_as_normal_quantiles():
    made = inverse_normal(np.array([5.0, np.nan, 100.0, 5.0, 7.0]))
    assert np.isnan(made[1])
    assert made[0] == made[3] == pytest.approx(stats.norm.ppf((1.5 - 0.375) / 4.25))
    assert made[2] == pytest.approx(stats.norm.ppf((4 - 0.375) / 4.25))
    assert np.array_equal(made, inverse_normal(np.array([0.0, np.nan, 9.0, 0.0, 1.0])), equal_nan=True)


def test_standardised():
    made = standardise(np.array([1.0, 3.0, np.nan, 5.0]))
    assert np.nanmean(made) == pytest.approx(0)
    assert np.nanstd(made, ddof=1) == pytest.approx(1)
    for change in (standardise, inverse_normal):
        with pytest.raises(InputError, match="height is constant"):
            change(np.array([2.0, 2.0, np.nan]), name="height")
        with pytest.raises(InputError, match="height is constant"):
            change(np.full(7, 0.1), name="height")
