"""Moments of Anscombe-transformed Poisson counts against sums over all counts."""

import numpy as np
import pytest
from scipy import stats

from deepmr.anscombe import anscombe, anscombe_mean, anscombe_variance

RATES = np.concatenate([[0.0, 1e-9, 1e-4], np.linspace(0.05, 9.99, 60) ** 2, [99.99, 100, 100.01, 150, 400, 1001, 5e3]])


def brute_force(rate):
    reach = 12 * np.sqrt(rate) + 60
    counts = np.arange(max(0, int(rate - reach)), int(rate + reach))
    weights = stats.poisson.pmf(counts, rate)
    values = 2 * np.sqrt(counts + 0.375)
    mean = np.sum(weights * values) / weights.sum()
    return mean, np.sum(weights * (values - mean) ** 2) / weights.sum()


def test_transform_of_small_counts():
    np.testing.assert_allclose(anscombe(np.array([0, 1, 10])), 2 * np.sqrt([0.375, 1.375, 10.375]))


def test_mean_and_variance_equal_the_sum_over_all_counts():
    mean, variance = np.array([brute_force(rate) for rate in RATES]).T
    np.testing.assert_allclose(anscombe_mean(RATES), mean, rtol=1e-11)
    np.testing.assert_allclose(anscombe_variance(RATES), variance, atol=1e-9)


def test_polynomial_and_series_meet():
    below, above = anscombe_mean(np.nextafter(100.0, [0, 200]))
    assert below == pytest.approx(above, rel=1e-12)


def test_extremes():
    assert anscombe_mean(np.array([0.0]))[0] == pytest.approx(2 * np.sqrt(0.375), abs=1e-12)
    assert anscombe_variance(np.array([0.0]))[0] == pytest.approx(0, abs=1e-11)
    assert anscombe_variance(np.array([1e7]))[0] == pytest.approx(1, abs=1e-6)


def test_shape_is_kept():
    assert anscombe_mean(np.ones((2, 3, 4))).shape == (2, 3, 4)
