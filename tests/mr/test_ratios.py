"""Medians, modes and mixtures of ratios: known answers, and the slow definitions."""

import numpy as np
import pytest
from scipy import stats

from deepmr.mr.density import Sample, bandwidths, exact_modes, grid_modes, r_modes
from deepmr.mr.draws import canonical, standard_normals
from deepmr.mr.heterogeneity_penalised import heterogeneity_penalised
from deepmr.mr.median import median_simple, median_weighted, weighted_medians
from deepmr.mr.mode import mode_simple, mode_weighted
from deepmr.mr.mode_bayesian import mode_bayesian
from tests.mr.builders import pack, simulated

CALCIUM = {
    "x": [0.006246051, 0.005895818, 0.01822305, 0.005981963, 0.008251297, 0.006506792],
    "y": [0.02804893, 0.009531279, 0.03645535, 0.01049286, 0.02356808, 0.002043086],
    "se_y": [0.01221235, 0.01983954, 0.0173487, 0.01193856, 0.0122093, 0.01788444],
}


def slow_median(values, weights):
    order = np.argsort(values)
    values, weights = values[order], weights[order] / weights.sum()
    return np.interp(0.5, np.cumsum(weights) - weights / 2, values)


def test_the_weighted_median_by_hand():
    values = np.array([[1.0, 2, 3], [3, 1, 2]])
    assert weighted_medians(values, np.ones((2, 3))).tolist() == [2, 2]
    assert weighted_medians(values[:1], np.array([[1.0, 1, 2]]))[0] == pytest.approx(2 + 1 / 3)
    assert weighted_medians(values[:1], np.array([[9.0, 1, 1]]))[0] == pytest.approx(1.2)
    assert np.isnan(weighted_medians(values[:1], np.zeros((1, 3)))[0])


@pytest.mark.parametrize("overlap", [None, 0.6])
def test_the_median_and_its_error_are_those_of_a_loop_over_draws(overlap):
    given = simulated(counts=(9, 40))
    given = pack(given.beta_exposure[:, 0], given.beta_outcome, 0.3, given.se_outcome, counts=(9, 40), overlap=overlap)
    ours = median_weighted(given, n_boot=200, seed=3).table
    sorted_ = canonical(given)
    noise = np.concatenate([n for _, n in standard_normals(200, 40, seed=3)], axis=1)
    for i, (a, b) in enumerate(((0, 9), (9, 49))):
        x, y, t = sorted_.beta_exposure[a:b, 0], sorted_.beta_outcome[a:b], sorted_.se_outcome[a:b]
        w = (x / t) ** 2
        assert ours["beta"][i] == pytest.approx(slow_median(y / x, w), rel=1e-12)
        u, v = noise[:, :, : b - a]
        rho = overlap or 0.0
        v = rho * u + np.sqrt(1 - rho**2) * v
        drawn = [slow_median((y + t * v[k]) / (x + 0.3 * u[k]), w) for k in range(200)]
        assert ours["se"][i] == pytest.approx(np.std(drawn, ddof=1), rel=1e-9)


def test_more_draws_and_wider_loci_leave_the_first_draws_as_they_are():
    few = np.concatenate([n for _, n in standard_normals(150, 5, seed=1)], axis=1)
    many = np.concatenate([n for _, n in standard_normals(400, 9, seed=1)], axis=1)
    assert np.array_equal(few, many[:, :150, :5])
    assert abs(many.mean()) < 0.05
    assert many.std() == pytest.approx(1, abs=0.05)


def test_an_invalid_minority_moves_neither_median_nor_mode():
    given = simulated(counts=(60,), slope=0.5, noise=0.02)
    y = given.beta_outcome.copy()
    y[:20] += 3 * np.abs(given.beta_exposure[:20, 0]) * np.sign(given.beta_exposure[:20, 0])
    spoilt = pack(given.beta_exposure[:, 0], y, given.se_exposure[:, 0], given.se_outcome)
    for method in (median_simple, mode_simple, mode_weighted, heterogeneity_penalised, mode_bayesian):
        assert method(spoilt).table["beta"][0] == pytest.approx(0.5, abs=0.03), method.__name__


def test_modes_are_those_of_the_density():
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(0, 1, 30), rng.normal(6, 0.5, 50)])[None]
    weights, known = rng.uniform(0.5, 2, (1, 80)), np.ones((1, 80), dtype=bool)
    sample = Sample(values=values, weights=weights, known=known)
    h = bandwidths(values, known, phi=0.5)
    fine = np.linspace(values.min(), values.max(), 20001)
    density = (weights[0] * stats.norm.pdf(fine[:, None], values[0], h[0])).sum(axis=1)
    best = fine[density.argmax()]
    assert exact_modes(sample, h)[0] == pytest.approx(best, abs=fine[1] - fine[0])
    assert grid_modes(sample, h)[0] == pytest.approx(best, abs=0.02 * h[0])
    assert r_modes(sample, h)[0] == pytest.approx(best, abs=(np.ptp(values) + 6 * h[0]) / 511)


def test_the_product_over_instruments_is_the_sum_over_subsets():
    data = CALCIUM
    x, y, t = (np.array(data[k]) for k in ("x", "y", "se_y"))
    r, v = y / x, (t / x) ** 2
    ivw = np.sum(r / v) / np.sum(1 / v)
    c2 = 6 / np.sum(1 / v) + (1.5 * 1.4826 * np.median(np.abs(r - np.median(r)))) ** 2
    fine = np.linspace(ivw - 1, ivw + 1, 20001)
    density = np.ones_like(fine)  # the empty subset
    for subset in range(1, 2**6):
        k = np.array([subset >> j & 1 for j in range(6)], dtype=bool)
        mean, var = np.sum(r[k] / v[k]) / np.sum(1 / v[k]), 1 / np.sum(1 / v[k])
        weight = np.prod(np.sqrt(c2 / v[k])) * np.exp(-0.5 * np.sum((r[k] - mean) ** 2 / v[k]))
        density += weight * np.exp(-0.5 * (fine - mean) ** 2 / var)
    row = heterogeneity_penalised(pack(x, y, 0.003, t)).table.iloc[0]
    at = density.argmax()
    assert row["beta"] == pytest.approx(fine[at], abs=1e-4)
    logs = np.log(density[at - 500 : at + 501 : 500])
    curve = (logs[0] + logs[2] - 2 * logs[1]) / (fine[500] - fine[0]) ** 2
    assert row["se"] == pytest.approx(1 / np.sqrt(-curve), rel=2e-3)


@pytest.mark.parametrize("method", [median_simple, mode_weighted, heterogeneity_penalised, mode_bayesian])
def test_one_absurd_ratio_moves_little(method):
    row = method(pack(np.ones(10), [*np.linspace(0.4, 0.6, 9), 1e8])).table.iloc[0]
    assert row["beta"] == pytest.approx(0.5, abs=0.05)
    assert row["se"] < 0.2


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", [median_simple, median_weighted, mode_weighted, heterogeneity_penalised, mode_bayesian]
)
@pytest.mark.parametrize("invalid", [0, 8])
def test_coverage(method, invalid):
    loci, n, rng = 400, 30, np.random.default_rng(11)
    x = rng.uniform(0.5, 1.5, (loci, n))
    direct = np.where(np.arange(n) < invalid, rng.normal(1.0, 1.0, (loci, n)), 0.0)
    y = 0.4 * x + direct + 0.1 * rng.normal(size=x.shape)
    seen = x + 0.02 * rng.normal(size=x.shape)
    table = method(pack(seen.ravel(), y.ravel(), 0.02, 0.1, counts=[n] * loci)).table
    covered = ((table["ci_low"] <= 0.4) & (table["ci_high"] >= 0.4)).mean()
    print(method.__name__, invalid, covered, (table["beta"] - 0.4).mean(), table["beta"].std(), table["se"].mean())
    assert covered > (0.9 if invalid == 0 else 0.85)
