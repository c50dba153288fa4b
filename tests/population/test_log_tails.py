import mpmath
import numpy as np
import pytest
from scipy import stats

from deepmr.population.log_tails import log_tail_chi_sq, log_tail_f

mpmath.mp.dps = 25


def log_f(statistic, dof):
    half, x = mpmath.mpf(dof) / 2, dof / (dof + mpmath.mpf(statistic))
    # I_x(a, b) = x^a (1 - x)^b / (a B(a, b)) F(a + b, 1; a + 1; x)
    front = half * mpmath.log(x) + mpmath.log(1 - x) / 2 - mpmath.log(half) - mpmath.log(mpmath.beta(half, 0.5))
    series, term, k = mpmath.mpf(0), mpmath.mpf(1), 0
    while term > series * mpmath.mpf(10) ** -20:
        series += term
        term *= (half + 0.5 + k) / (half + 1 + k) * x
        k += 1
    return front + mpmath.log(series)


def log_chi_sq(statistic):
    return mpmath.log(mpmath.erfc(mpmath.sqrt(mpmath.mpf(statistic) / 2)))


@pytest.mark.parametrize("dof", [30, 199, 1994, 100_000])
def test_f_tail_from_one_to_far_below_what_a_number_holds(dof):
    wanted = np.array([1e-3, 0.05, 0.3, 2.0, 23.0, 230.0, 574.0, 580.0, 700.0, 2300.0, 11500.0])  # -log P, about
    wanted = wanted[(2 * wanted / dof < 700) & (wanted > dof / 400)]  # a number, and a short series
    statistic = dof * np.expm1(2 * wanted / dof)
    found = log_tail_f(statistic, dof)
    for value, near in zip(found, statistic, strict=True):
        assert value == pytest.approx(float(log_f(near, dof)), rel=1e-10)
    assert found.min() < -10_000 or dof == 30


def test_chi_square_tail_from_one_to_far_below_what_a_number_holds():
    statistic = np.array([1e-20, 1e-8, 0.03, 0.05, 1.0, 40.0, 1400.0, 1500.0, 23000.0])
    found = log_tail_chi_sq(statistic)
    for value, near in zip(found, statistic, strict=True):
        assert value == pytest.approx(float(log_chi_sq(near)), rel=1e-10)
    assert found.min() / np.log(10) < -4990


def test_tails_are_those_of_scipy_where_it_has_them():
    statistic = np.linspace(0.0, 50.0, 101).reshape(-1, 1)
    np.testing.assert_allclose(np.exp(log_tail_f(statistic, 57)), stats.f.sf(statistic, 1, 57), rtol=1e-12)
    np.testing.assert_allclose(np.exp(log_tail_chi_sq(statistic)), stats.chi2.sf(statistic, 1), rtol=1e-12)
    assert log_tail_f(statistic, 57)[0, 0] == 0 == log_tail_chi_sq(statistic)[0, 0]
