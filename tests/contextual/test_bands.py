"""Bands, contrasts, bootstraps and effect curves: against their definitions, and how often they hold."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.contexts import ContextData
from deepmr.contextual import fit_context, fit_from_state
from deepmr.contextual.bands import bands, contrast, difference
from deepmr.contextual.bootstrap import bootstrap_context, resampled
from deepmr.contextual.effects import heterogeneous_effects, homogeneous_effects, reference_context
from deepmr.errors import InputError

BINARY = np.tile([[0.0], [1.0]], (40, 1))


def varying(n=80, seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    c, x = rng.uniform(-1, 1, (n, 2)), rng.standard_normal((n, 2))
    y = (c[:, 0] + c[:, 1] ** 2) * x[:, 0] - x[:, 1] + noise * rng.standard_normal(n)
    return ContextData(
        contexts=c, predictors=x, outcomes=y[:, None], context_names=("a", "b"), predictor_names=("u", "v")
    )


@pytest.fixture(scope="module")
def fit():
    return fit_context(varying())


def test_bands_have_their_widths(fit):
    at = varying(9, seed=3).contexts
    points = bands(fit, at)
    told = fit.coefficients(at)
    np.testing.assert_allclose(points.high[..., 1:] - points.low[..., 1:], 2 * 1.959964 * told.se_beta, rtol=1e-6)
    whole = bands(fit, at, kind="simultaneous")
    assert (whole.width > points.width).all()
    assert (whole.width < 4).all()


def test_one_band_for_coefficients_that_are_the_same_everywhere():
    """All points move together, so that the whole curve needs no more than a point."""
    data = varying()
    whole = bands(fit_context(data, method="population"), data.contexts[:9], kind="simultaneous", n_draws=20_000)
    np.testing.assert_allclose(whole.width, 1.96, rtol=0.03)


def test_contrasts_are_those_of_draws(fit):
    at = varying(2, seed=3).contexts
    apart = difference(fit, at[0], at[1], n_draws=4000)
    told = fit.coefficients(at)
    np.testing.assert_allclose(apart.estimate[:, 1:], told.beta[0] - told.beta[1])
    mean = contrast(fit, at[:1], np.ones(1), n_draws=4000)
    np.testing.assert_allclose(mean.se[0, 1:], told.se_beta[0, 0], rtol=0.06)
    table = mean.to_frame(fit)
    assert table["coefficient"].tolist() == ["mu", "u", "v"]
    np.testing.assert_allclose(table["high"] - table["estimate"], 1.959964 * table["se"])


def test_bootstrap_errors_are_those_of_least_squares():
    data = varying(300)
    plain = fit_context(data, method="population").coefficients(data.contexts[:1])
    for scheme in ("rows", "wild"):
        made = bootstrap_context(data, method="population", n_boot=100, scheme=scheme)
        told = made.coefficients(data.contexts[:1])
        np.testing.assert_array_equal(told.beta, plain.beta)
        assert told.se_beta[0, 0, 1] == pytest.approx(plain.se_beta[0, 0, 1], rel=0.3)
    low, high = made.percentiles(data.contexts[:1])
    assert (low < high).all()
    assert bands(made, data.contexts[:3]).estimate.shape == (3, 1, 3)


def test_bootstrap_of_groups_is_wider_where_rows_repeat():
    data = varying(60)
    often = data.take(np.repeat(np.arange(60), 5))
    often = replace(often, groups=np.repeat(np.arange(60), 5))
    at = data.contexts[:1]
    rows = bootstrap_context(often, method="population", n_boot=60).coefficients(at).se_beta
    groups = bootstrap_context(often, method="population", n_boot=60, scheme="groups").coefficients(at).se_beta
    assert (groups > 1.5 * rows).all()


def test_bootstrap_state_and_seeds_and_failures():
    data = varying(40)
    made = bootstrap_context(data, method="population", n_boot=5, seed=3)
    again = fit_from_state(made.kind, made.state().arrays, made.state().settings, made.record)
    at = data.contexts[:2]
    np.testing.assert_array_equal(again.draws(at, n_draws=12, seed=1), made.draws(at, n_draws=12, seed=1))
    same = bootstrap_context(data, method="population", n_boot=5, seed=3)
    np.testing.assert_array_equal(same.coefficients(at).se_beta, made.coefficients(at).se_beta)
    few = varying(4)
    thin = bootstrap_context(few, method="population", n_boot=40)
    assert thin.failed
    assert "refits failed" in thin.record.warnings[-1]
    assert len(thin.failed) + len(thin.refits) == 40


def test_resampled_rows_add_up_and_groups_stay_together():
    data = replace(varying(30), weights=np.full(30, 2.0), groups=np.arange(30) // 3)
    rng = np.random.default_rng(0)
    assert resampled(data, data.outcomes, "rows", rng).counts.sum() == 60
    groups = resampled(data, data.outcomes, "groups", rng)
    assert np.bincount(groups.groups).tolist() == [3] * 10
    wild = resampled(data, np.zeros((30, 1)), "wild", rng)
    signs = wild.outcomes[:, 0] / data.outcomes[:, 0]
    assert (np.abs(signs) == 1).all()
    assert (signs.reshape(10, 3) == signs[::3, None]).all()


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({}, {"scheme": "groups"}, "these have none"),
        ({}, {"n_boot": 1}, "n_boot must be at least 2"),
        (
            {"outcomes": np.tile([[0.0], [1.0]], (40, 1)), "outcome_type": "binary"},
            {"scheme": "wild"},
            "rows or groups",
        ),
    ],
)
def test_bad_bootstraps_are_a_line(change, options, said):
    with pytest.raises(InputError, match=said):
        bootstrap_context(replace(varying(), **change), method="population", **options)


def test_effect_curves_are_the_coefficients_along_a_context(fit):
    data = varying()
    curves = {(c.along, c.coefficient): c for c in heterogeneous_effects(fit, data, n_points=9, n_draws=300)}
    assert set(curves) == {("a", "u"), ("a", "v"), ("b", "u"), ("b", "v")}
    line, arch = curves["a", "u"], curves["b", "u"]
    points = np.tile(reference_context(data), (9, 1))
    points[:, 0] = line.grid
    np.testing.assert_allclose(line.estimate, fit.coefficients(points).beta[:, 0, 0])
    assert line.pvalue_ends < 1e-6
    assert line.difference == pytest.approx(line.grid[-1] - line.grid[0], abs=0.4)
    assert arch.pvalue_flat < 0.01 < arch.pvalue_ends
    assert (line.uniform_low < line.low).all()
    assert (line.low < line.estimate).all()
    assert len(line.to_frame()) == 9
    averaged = heterogeneous_effects(fit, data, contexts=["a"], others="average", n_points=5, n_draws=100)
    assert averaged[0].estimate[-1] - averaged[0].estimate[0] == pytest.approx(line.difference, abs=0.4)
    with pytest.raises(InputError, match="context must be one of a, b"):
        heterogeneous_effects(fit, data, contexts=["z"])


def test_average_effects_are_lines_through_the_mean(fit):
    data = varying()
    made = homogeneous_effects(fit, data, n_points=5, n_draws=200)
    assert [(c.along, c.kind) for c in made] == [
        ("a", "context"),
        ("b", "context"),
        ("u", "predictor"),
        ("v", "predictor"),
    ]
    last = made[-1]
    np.testing.assert_allclose(np.diff(last.estimate) / np.diff(last.grid), -1.0, atol=0.15)
    flat = homogeneous_effects(fit_context(data, method="population"), data, n_points=5, n_draws=100)
    assert flat[0].pvalue_flat == 1.0
    assert flat[0].pvalue_ends == 1.0


@pytest.mark.slow
def test_simultaneous_bands_hold_as_often_as_they_say():
    grid = np.column_stack([np.linspace(-0.9, 0.9, 15), np.zeros(15)])
    held = []
    for seed in range(150):
        made = bands(fit_context(varying(120, seed=seed)), grid, kind="simultaneous", n_draws=500)
        truth = grid[:, 0] + grid[:, 1] ** 2
        held.append(bool(((made.low[:, 0, 1] <= truth) & (truth <= made.high[:, 0, 1])).all()))
    assert 0.89 <= np.mean(held) <= 1.0
