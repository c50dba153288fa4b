import numpy as np
import pytest

from deepmr.nonlinear.averaging import average_precisions
from deepmr.nonlinear.smoothing import Group, smooth


def regression(n=400, size=12, sd=0.5, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, size))
    b = np.r_[1.0, -2.0, sd * rng.standard_normal(size - 2)]
    y = x @ b + noise * rng.standard_normal(n)
    return x, y, b


def fit(x, y, groups, **options):
    def residual(b):
        return float(np.mean((y - x @ b) ** 2))

    return smooth(x.T @ x, x.T @ y, groups, residual=residual, variance=float(y.var()), **options)


def group(size, start=2):
    return Group(columns=np.arange(start, size), weights=np.ones(size - start))


def test_without_groups_it_is_least_squares():
    x, y, _ = regression()
    found = fit(x, y, [])
    np.testing.assert_allclose(found.coefficients, np.linalg.lstsq(x, y)[0], rtol=1e-6)
    assert found.variance == pytest.approx(np.mean((y - x @ found.coefficients) ** 2), rel=1e-3)


def test_with_given_precisions_it_is_ridge():
    x, y, _ = regression()
    found = fit(x, y, [group(12)], precisions=np.array([7.0]))
    ridge = np.diag(np.r_[0, 0, np.full(10, 7.0 * found.variance)])
    np.testing.assert_allclose(found.coefficients, np.linalg.solve(x.T @ x + ridge, x.T @ y), rtol=1e-5)


def test_the_precision_found_has_the_largest_restricted_likelihood():
    x, y, _ = regression(n=200, size=30, sd=0.2)
    found = fit(x, y, [group(30)])

    def restricted(precision):
        penalty = np.r_[0, 0, np.full(28, precision)]
        information = x.T @ x / found.variance + np.diag(penalty)
        g = x.T @ y / found.variance
        return 14 * np.log(precision) - np.linalg.slogdet(information)[1] / 2 + g @ np.linalg.solve(information, g) / 2

    grid = found.precisions[0] * np.array([0.7, 0.9, 1.0, 1.1, 1.4])
    assert np.argmax([restricted(p) for p in grid]) == 2
    assert 1 / np.sqrt(found.precisions[0]) == pytest.approx(0.2, abs=0.07)


def test_coefficients_that_are_not_there_are_shrunk_away():
    x, y, _ = regression(sd=0.0, n=2000)
    found = fit(x, y, [group(12)])
    assert found.effective[0] < 3
    assert np.abs(found.coefficients[2:]).max() < np.abs(np.linalg.lstsq(x, y)[0][2:]).max()


def average(x, y, groups, found):
    def covariance(inverse, penalty):
        return inverse

    return average_precisions(
        x.T @ x, x.T @ y, groups, found, together=[[0]], spread=float(y.std()), covariance=covariance
    )


def test_average_is_the_fit_where_the_precision_is_clear():
    x, y, _ = regression(n=500, size=60, sd=0.5)
    found = fit(x, y, [group(60)])
    averaged = average(x, y, [group(60)], found)
    np.testing.assert_allclose(averaged.coefficients, found.coefficients, atol=0.02)
    np.testing.assert_allclose(np.diagonal(averaged.covariance), np.diagonal(found.inverse), rtol=0.1)


def test_average_holds_coefficients_near_the_limit_of_what_can_be_seen():
    """Where the precision found says that there is nothing, an interval has to allow that there is a little."""
    inside, thin = 0, 0
    for seed in range(60):
        x, y, b = regression(n=150, size=3, sd=0.15, seed=seed)
        found = fit(x, y, [group(3)])
        averaged = average(x, y, [group(3)], found)
        inside += abs(averaged.coefficients[2] - b[2]) < 1.645 * np.sqrt(averaged.covariance[2, 2])
        thin += abs(found.coefficients[2] - b[2]) < 1.645 * np.sqrt(found.inverse[2, 2])
    assert thin < inside
    assert inside >= 42  # of 60; slight coefficients are the worst case of any shrinkage
