"""Tails of weighted sums of chi-squares against distributions that are known."""

import numpy as np
import pytest
from scipy import integrate, stats

from deepmr.quadratic_forms import tail_of_quadratic_form


@pytest.mark.parametrize("n", [3, 5, 40])
@pytest.mark.parametrize("tail", [0.9, 0.5, 0.05, 1e-4, 1e-7])
def test_equal_weights_are_a_chi_square(n, tail):
    q = 2.5 * stats.chi2.isf(tail, n)
    assert tail_of_quadratic_form(q, np.full(n, 2.5)) == pytest.approx(tail, abs=1e-8, rel=1e-4)


@pytest.mark.parametrize("tail", [0.5, 0.05, 1e-3])
def test_one_weight_is_slow_and_still_right(tail):
    assert tail_of_quadratic_form(stats.chi2.isf(tail, 1), np.ones(1)) == pytest.approx(tail, abs=1e-6)


@pytest.mark.parametrize("tail", [0.7, 0.05, 1e-5, 1e-12])
def test_a_ratio_is_that_of_the_f_distribution(tail):
    f = stats.f.isf(tail, 3, 20)
    weights = np.concatenate([np.full(3, 1 / 3), np.full(20, -f / 20)])
    assert tail_of_quadratic_form(0.0, weights) == pytest.approx(tail, rel=0.05 if tail < 1e-8 else 1e-5)
    short = tail_of_quadratic_form(0.0, np.array([1 / 3, -f / 20]), df=np.array([3.0, 20.0]))
    assert short == pytest.approx(tail, rel=0.05 if tail < 1e-8 else 1e-5)


def test_weights_of_all_sizes_against_a_convolution():
    """3 X + Y / 2 + Z / 10 with 2, 1 and 1 degrees of freedom, from the distribution of the first."""
    w, df = np.array([3.0, 0.5, 0.1]), np.array([2.0, 1.0, 1.0])

    def given(y, z):
        return stats.chi2.sf((9 - 0.5 * y**2 - 0.1 * z**2) / 3, 2) * 4 * stats.norm.pdf(y) * stats.norm.pdf(z)

    exact = integrate.dblquad(given, 0, 9, 0, 9)[0]
    assert tail_of_quadratic_form(9.0, w, df=df) == pytest.approx(exact, abs=1e-7)


def test_sums_of_one_sign_and_of_nothing():
    assert tail_of_quadratic_form(-1.0, np.array([1.0, 2.0])) == 1.0
    assert tail_of_quadratic_form(0.0, np.array([-1.0, -2.0])) == 0.0
    assert tail_of_quadratic_form(0.0, np.array([0.0])) == 0.0
    negative = tail_of_quadratic_form(-2.0, np.array([-1.0, -2.0]))
    assert negative == pytest.approx(1 - tail_of_quadratic_form(2.0, np.array([1.0, 2.0])), abs=1e-7)
