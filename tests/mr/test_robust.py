import numpy as np
import pytest
from scipy import optimize

from deepmr.linalg import fit_lines
from deepmr.mr import robust
from deepmr.mr.robust import robust_lines
from tests.mr.builders import simulated

OFFSETS = np.array([0, 25])


def bisquare_rho(u, c):
    return np.where(np.abs(u) < c, 1 - (1 - (u / c) ** 2) ** 3, 1.0)


def m_scale(residual, n_parameters):
    """Root of mean rho(r / s) = 1/2, by bisection: slow and plain."""
    n = len(residual) - n_parameters
    return optimize.brentq(lambda s: np.sum(bisquare_rho(residual / s, 1.54764)) / n - 0.5, 1e-12, 1e3, xtol=1e-14)


@pytest.fixture(params=[0, 1, 2])
def points(request):
    rng = np.random.default_rng(request.param)
    x = rng.uniform(0.5, 2, 25)
    y = 0.2 + 0.7 * x + 0.1 * rng.standard_t(2, 25)
    y[:5] += 2
    return x, y, rng.uniform(1, 4, 25)


def test_the_scale_is_the_smallest_that_a_simplex_search_finds(points):
    x, y, weights = points
    fit = robust_lines(x, y, weights, OFFSETS, loci=np.array([0]))
    root = np.sqrt(weights)

    def scale(line):
        return m_scale(root * (y - line[0] - line[1] * x), 2)

    starts = [(0.2, 0.7), (2.2, 0.7), tuple(np.polyfit(x, y, 1)[::-1])]
    options = {"xatol": 1e-9, "fatol": 1e-14, "maxiter": 2000}
    best = min(optimize.minimize(scale, start, method="Nelder-Mead", options=options).fun for start in starts)
    assert fit.scale[0] == pytest.approx(best, rel=1e-8)


def test_the_line_solves_the_m_equations(points):
    x, y, weights = points
    fit = robust_lines(x, y, weights, OFFSETS, loci=np.array([0]))
    line = fit_lines(x, y, weights * fit.weights, OFFSETS, intercept=True)
    u = np.sqrt(weights) * line.residual / fit.scale[0] / 4.685061
    psi = np.where(np.abs(u) < 1, u * (1 - u**2) ** 2, 0.0)
    assert fit.settled.all()
    assert np.sum(psi * np.sqrt(weights)) == pytest.approx(0, abs=1e-8)
    assert np.sum(psi * np.sqrt(weights) * x) == pytest.approx(0, abs=1e-8)
    assert fit.weights == pytest.approx(np.maximum(1 - u**2, 0) ** 2, abs=1e-8)
    assert (fit.weights[:5] < 0.1).all()


def test_standard_errors_are_right_on_clean_data():
    """The mean of the estimated variances is the variance over samples, within 20 %."""
    rng = np.random.default_rng(0)
    loci, n = 400, 30
    x, y = rng.uniform(0, 2, loci * n), rng.normal(size=loci * n)
    offsets = np.arange(loci + 1) * n
    fit = robust_lines(x, y, np.ones(loci * n), offsets, loci=np.arange(loci))
    line = fit_lines(x, y, fit.weights, offsets, intercept=True)
    assert np.mean(fit.slope_unscaled * fit.scale**2) == pytest.approx(np.var(line.slope), rel=0.2)
    assert np.mean(fit.intercept_unscaled * fit.scale**2) == pytest.approx(np.var(line.intercept), rel=0.2)


def test_most_points_on_one_line_have_no_scale():
    x = np.arange(1.0, 13.0)
    y = 2 + 3 * x
    y[:4] = [90.0, 70.0, -30.0, 10.0]
    fit = robust_lines(x, y, np.ones(12), np.array([0, 12]), loci=np.array([0]))
    line = fit_lines(x, y, fit.weights, np.array([0, 12]), intercept=True)
    assert (line.intercept[0], line.slope[0]) == pytest.approx((2, 3))
    assert fit.scale[0] == 0
    assert fit.weights == pytest.approx([0] * 4 + [1] * 8)
    assert fit.slope_unscaled[0] == pytest.approx(1 / np.sum((x[4:] - x[4:].mean()) ** 2))


def test_loci_that_are_not_asked_for_stay_blank():
    given = simulated(counts=(12, 15, 12))
    x, y = given.beta_exposure[:, 0], given.beta_outcome
    fit = robust_lines(x, y, given.se_outcome**-2.0, given.offsets, loci=np.array([0, 2]), intercept=False)
    assert np.isnan(fit.scale[1])
    assert np.isfinite(fit.scale[[0, 2]]).all()
    assert (fit.weights[12:27] == 1).all()
    assert (fit.intercept_unscaled[[0, 2]] == 0).all()


def test_starts_are_all_pairs_or_a_fixed_draw():
    assert robust._subsets(4, 2).sum(axis=1).tolist() == [4, 2, 2, 2, 2, 2, 2]
    assert robust._subsets(4, 1).sum(axis=1).tolist() == [4, 1, 1, 1, 1]
    many = robust._subsets(100, 2)
    assert many.shape == (501, 100)
    assert (many[1:].sum(axis=1) == 2).all()
    assert np.array_equal(many, robust._subsets(100, 2))


def test_what_does_not_settle_is_said(monkeypatch):
    monkeypatch.setattr(robust, "_MAX_ITERATIONS", 1)
    given = simulated(counts=(20,))
    fit = robust_lines(
        np.abs(given.beta_exposure[:, 0]), given.beta_outcome, given.se_outcome**-2.0, given.offsets, loci=np.array([0])
    )
    assert not fit.settled[0]
