"""Simulation extrapolation, MR-Egger corrected by it, and MR-Egger with errors by bootstrap."""

import numpy as np
import pytest

from deepmr.linalg import fit_lines
from deepmr.mr.draws import canonical, standard_normals
from deepmr.mr.egger import egger
from deepmr.mr.egger_bootstrap import egger_bootstrap
from deepmr.mr.egger_simex import egger_simex
from deepmr.mr.simex import LEVELS, linear, quadratic, simex
from tests.mr.builders import pack, simulated

TRUTH = 0.4


def diluted(i2, *, loci=300, width=50, overlap=0.0, seed=0):
    """Loci of which the exposure effects vary i2 as much as they seem to, with direct effects of 0.02 on average."""
    rng = np.random.default_rng(seed)
    n = loci * width
    effect = rng.uniform(0.05, 0.25, n)
    s, t = np.sqrt(0.2**2 / 12 * (1 - i2) / i2), 0.02
    u, v = rng.normal(size=(2, n))
    v = overlap * u + np.sqrt(1 - overlap**2) * v
    return pack(effect + s * u, 0.02 + TRUTH * effect + t * v, s, t, counts=[width] * loci, overlap=overlap or None)


def test_polynomials_are_extrapolated_exactly():
    level = np.array(LEVELS)[:, None]
    assert quadratic(3 - 2 * level + 5 * level**2) == pytest.approx(10)
    assert linear(3 - 2 * level) == pytest.approx(5)


@pytest.mark.parametrize("overlap", [None, 0.6])
def test_the_slope_is_that_of_a_loop_over_draws(overlap):
    given = simulated(counts=(9, 30))
    given = pack(given.beta_exposure[:, 0], given.beta_outcome, 0.3, given.se_outcome, counts=(9, 30), overlap=overlap)
    ours, sorted_ = egger_simex(given, n_boot=100, seed=3).table, canonical(given)
    z = np.concatenate([n for _, n in standard_normals(50, 30, seed=3)], axis=1)[0]
    for i, (a, b) in enumerate(((0, 9), (9, 39))):
        x, y, t = sorted_.beta_exposure[a:b, 0], sorted_.beta_outcome[a:b], sorted_.se_outcome[a:b]
        means = []
        for level in LEVELS:
            noise = np.sqrt(level) * np.concatenate([z, -z])[:, : b - a]
            at_x, at_y = x + 0.3 * noise, y + (overlap or 0.0) * t * noise
            means.append(np.mean([np.polyfit(p, q, 1, w=1 / t)[0] for p, q in zip(at_x, at_y, strict=True)]))
        expected = np.polyval(np.polyfit(LEVELS, means, 2), -1)
        assert ours["beta"][i] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("i2", "plain", "near"), [(0.6, 0.29, 0.03), (0.75, 0.317, 0.02), (0.9, 0.362, 0.015)])
def test_the_dilution_is_taken_out(i2, plain, near):
    given = diluted(i2)
    assert egger(given).table["beta"].mean() == pytest.approx(plain, abs=0.015)
    found = egger_simex(given, n_boot=100).table
    assert found["beta"].mean() == pytest.approx(TRUTH, abs=near)
    assert np.mean((found["ci_low"] < TRUTH) & (found["ci_high"] > TRUTH)) > 0.88
    assert found["beta_raw"].to_numpy() == pytest.approx(egger(given).table["beta"].to_numpy())


def test_overlap_is_taken_out_too():
    given = diluted(0.85, overlap=0.6)
    assert egger(given).table["beta"].mean() > TRUTH + 0.01
    for extrapolation in ("quadratic", "rational"):
        found = egger_simex(given, n_boot=100, extrapolation=extrapolation).table
        assert found["beta"].mean() == pytest.approx(TRUTH, abs=0.01)


def test_effects_that_only_err_have_no_rational_estimate():
    given = pack([1.0, 1.01, 0.99, 1.02], [1.0, 1, 2, 2], 0.5)
    found = egger_simex(given, extrapolation="rational", n_boot=100)
    assert found.skipped["reason"].tolist() == [
        "not identified: the exposure effects differ no more than their errors make them"
    ]
    assert egger_simex(pack([1.0, 1, 1], [1.0, 2, 3])).skipped["reason"][0].startswith("not identified: all exposure")


def test_any_statistic_will_do():
    given = canonical(diluted(0.5, loci=2, width=400))

    def origin(block, x, y):
        known = block.known[:, None]
        return (np.sum(x * y * known, axis=-1) / np.sum(x**2 * known, axis=-1))[None]

    means = simex(given, origin, n_quantities=1, n_boot=50, seed=0)
    assert means.shape == (1, len(LEVELS), 2)
    plain = fit_lines(given.beta_exposure[:, 0], given.beta_outcome, np.ones(800), given.offsets).slope
    assert means[0, 0] == pytest.approx(plain)
    assert (np.diff(means[0], axis=0) < 0).all()  # more error, more dilution


def test_the_bootstrap_agrees_with_the_formula_where_the_line_fits():
    given = diluted(0.999, loci=40)
    plain, drawn = egger(given).table, egger_bootstrap(given).table
    assert drawn["beta"].to_numpy() == pytest.approx(plain["beta"].to_numpy())
    assert np.median(drawn["se"] / plain["se"]) == pytest.approx(1, abs=0.12)  # the formula has a floor for scatter
    assert np.abs(drawn["beta_mean"] - drawn["beta"]).max() < drawn["se"].max()
