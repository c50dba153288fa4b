"""Tests of heterogeneity: by hand, their exact size, what they find, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from deepmr.contexts import ContextData
from deepmr.contextual.context_kernels import context_columns, leading, nuisance_columns, orthonormal, times
from deepmr.contextual.context_tests import adjusted, context_tests
from deepmr.contextual.heterogeneity import heterogeneity_test
from deepmr.contextual.null_models import NullModel
from deepmr.errors import InputError

INTERVAL = 0.99


def samples(n=60, contexts=2, predictors=1, outcomes=1, seed=0, effect=None, **more):
    rng = np.random.default_rng(seed)
    c, x = rng.uniform(-1, 1, (n, contexts)), rng.standard_normal((n, predictors))
    y = 1 + rng.standard_normal((n, outcomes))
    if predictors:
        y = y + x[:, :1]
    if effect is not None:
        y = y + (effect(c) * x[:, 0])[:, None]
    return ContextData(
        contexts=c,
        predictors=x,
        outcomes=y,
        context_names=tuple(f"c{k}" for k in range(contexts)),
        predictor_names=tuple(f"x{k}" for k in range(predictors)),
        outcome_names=tuple(f"y{k}" for k in range(outcomes)),
        **more,
    )


def contains(pvalues, level=0.05):
    found = int(np.sum(np.asarray(pvalues) <= level))
    low, high = stats.binomtest(found, len(pvalues)).proportion_ci(INTERVAL)
    return low <= level <= high


def test_one_linear_context_is_the_f_test_of_its_interaction():
    """With one predictor and one context the linear kernel has rank 1: its ratio is t^2 / (df + t^2)."""
    data = samples(contexts=1, effect=lambda c: 0.9 * c[:, 0])
    found = heterogeneity_test(data, kernels=("linear",), nuisance="linear", deviations="none", n_draws=19_999)
    c, x, y = data.contexts[:, 0], data.predictors[:, 0], data.outcomes[:, 0]
    design = np.column_stack([np.ones(60), c, x, c * x])
    beta, rss = np.linalg.lstsq(design, y, rcond=None)[:2]
    t2 = beta[3] ** 2 / (rss[0] / 56 * np.linalg.inv(design.T @ design)[3, 3])
    pvalue = stats.f.sf(t2, 1, 56)
    assert pvalue < 0.005  # so that it is calculated, not counted
    assert found.kernel_pvalue[0, 0] == pytest.approx(pvalue, rel=1e-5)
    assert found.statistic[0, 0] == pytest.approx(57 * t2 / (56 + t2), rel=1e-9)
    counted = heterogeneity_test(
        samples(contexts=1), kernels=("linear",), nuisance="linear", deviations="none", n_draws=19_999
    )
    y = samples(contexts=1).outcomes[:, 0]
    beta, rss = np.linalg.lstsq(design, y, rcond=None)[:2]
    t2 = beta[3] ** 2 / (rss[0] / 56 * np.linalg.inv(design.T @ design)[3, 3])
    assert counted.pvalue[0] == pytest.approx(stats.f.sf(t2, 1, 56), abs=0.012)


def test_units_and_order_change_nothing():
    data = samples(effect=lambda c: c[:, 0] ** 2)
    moved = replace(
        data,
        contexts=1e5 * data.contexts + 3e5,
        predictors=0.01 * data.predictors,
        outcomes=40 * data.outcomes - 7,
    )
    one = heterogeneity_test(data, deviations="none")
    two = heterogeneity_test(moved, deviations="none")
    np.testing.assert_allclose(one.statistic, two.statistic, rtol=1e-6)
    np.testing.assert_allclose(one.pvalue, two.pvalue, rtol=1e-3)


def test_a_weight_is_a_repeated_row():
    data = samples(n=40)
    counts = np.random.default_rng(1).integers(1, 4, 40)
    weighted = replace(data, weights=counts.astype(float))
    options = {"kernels": ("linear", "quadratic"), "deviations": "none", "nuisance": "linear"}
    one = heterogeneity_test(weighted, **options)
    two = heterogeneity_test(data.take(np.repeat(np.arange(40), counts)), **options)
    assert one.df == two.df
    np.testing.assert_allclose(one.statistic[0], two.statistic[0], rtol=1e-8)
    np.testing.assert_allclose(one.kernel_pvalue, two.kernel_pvalue, atol=0.03)


@pytest.mark.parametrize("n", [30, pytest.param(80, marks=pytest.mark.slow)])
def test_size_is_exact_with_one_variance(n):
    found = [
        heterogeneity_test(samples(n=n, outcomes=250, seed=k), deviations="none", n_draws=1999, seed=k)
        for k in range(4)
    ]
    assert contains(np.concatenate([one.pvalue for one in found]))
    assert contains(np.concatenate([one.kernel_pvalue[3] for one in found]))


@pytest.mark.slow
@pytest.mark.parametrize("tau", [0.0, 0.3])
def test_size_with_known_errors_and_random_effects(tau):
    rng = np.random.default_rng(3)
    pvalues = []
    for k in range(4):
        se = rng.uniform(0.05, 0.4, (40, 1))
        y = 0.2 + tau * rng.standard_normal((40, 50)) + se * rng.standard_normal((40, 50))
        data = replace(samples(n=40, predictors=0, outcomes=50, seed=k), outcomes=y, se_outcome=np.tile(se, 50))
        pvalues.append(heterogeneity_test(data, n_draws=199, seed=k).pvalue)
    assert contains(np.concatenate(pvalues))


def test_effects_that_differ_at_random_are_not_effects_of_context():
    rng = np.random.default_rng(5)
    data = samples(n=50, outcomes=30)
    y = (1 + rng.standard_normal((50, 30))) * data.predictors + 0.3 * rng.standard_normal((50, 30))
    scattered = replace(data, outcomes=y)
    assert np.mean(heterogeneity_test(scattered, deviations="none", n_draws=199).pvalue <= 0.05) > 0.15
    assert np.mean(heterogeneity_test(scattered, n_draws=199).pvalue <= 0.05) < 0.15
    wild = heterogeneity_test(scattered, deviations="none", calibration="wild", n_draws=199)
    assert np.mean(wild.pvalue <= 0.05) < 0.15


def test_a_u_shape_is_found_that_a_line_misses():
    found = heterogeneity_test(samples(n=150, effect=lambda c: 3 * c[:, 0] ** 2))
    table = found.to_frame()
    assert found.pvalue[0] < 1e-4
    assert table["kernel"][0] in ("quadratic", "smooth", "rough")
    assert table["pvalue_linear"][0] > 1e-3


@pytest.mark.parametrize("which", ["mu", "all", "x0", "slopes"])
def test_what_varies_is_what_is_found(which):
    rng = np.random.default_rng(8)
    data = samples(n=120, predictors=2)
    level = replace(data, outcomes=2 * data.contexts[:, :1] + 0.3 * rng.standard_normal((120, 1)))
    slope = replace(
        data, outcomes=2 * data.contexts[:, :1] * data.predictors[:, :1] + 0.3 * rng.standard_normal((120, 1))
    )
    assert (heterogeneity_test(level, which=which, n_draws=499).pvalue[0] < 0.01) == (which in ("mu", "all"))
    assert (heterogeneity_test(slope, which=which, n_draws=499).pvalue[0] < 0.01) == (which != "mu")


def test_binary_outcomes():
    rng = np.random.default_rng(2)
    data = samples(n=300, outcomes=1)
    log_odds = 3 * data.contexts[:, 0] * data.predictors[:, 0]
    y = (rng.uniform(size=300) < 1 / (1 + np.exp(-log_odds))).astype(float)[:, None]
    assert heterogeneity_test(replace(data, outcomes=y, outcome_type="binary")).pvalue[0] < 0.005
    flat = (rng.uniform(size=(300, 20)) < 1 / (1 + np.exp(-data.predictors))).astype(float)
    none = replace(data, outcomes=flat, outcome_names=tuple(map(str, range(20))), outcome_type="binary")
    assert np.mean(heterogeneity_test(none, n_draws=199).pvalue <= 0.05) <= 0.15


@pytest.mark.slow
def test_groups_share_their_deviations():
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(20), 4)
    data = samples(n=80, outcomes=20)
    c = data.contexts[::4][groups]
    y = rng.standard_normal((20, 20))[groups] * data.predictors + 0.3 * rng.standard_normal((80, 20))
    blind = replace(data, contexts=c, outcomes=y)
    seen = replace(blind, groups=groups)
    assert np.mean(heterogeneity_test(blind, n_draws=199).pvalue <= 0.05) > 0.2
    assert np.mean(heterogeneity_test(seen, n_draws=199).pvalue <= 0.05) <= 0.15
    assert np.mean(heterogeneity_test(seen, n_draws=199, calibration="wild").pvalue <= 0.05) <= 0.15


def test_each_context_and_given_the_others():
    rng = np.random.default_rng(6)
    data = samples(n=150, contexts=3, effect=lambda c: 2 * c[:, 0])
    follows = data.contexts.copy()
    follows[:, 1] = follows[:, 0] + 0.4 * rng.standard_normal(150)
    data = replace(data, contexts=np.column_stack([follows, np.ones(150)]), context_names=("a", "b", "c", "flat"))
    alone = context_tests(data).set_index("context")
    given = context_tests(data, given_others=True).set_index("context")
    assert (alone.loc[["a", "b"], "adjusted"] < 0.01).all()
    assert given.loc["a", "adjusted"] < 0.01 < given.loc["b", "pvalue"]
    assert (alone["adjusted"].dropna() >= alone["pvalue"].dropna()).all()
    assert alone.loc["flat", "reason"] == "does not vary"
    assert len(context_tests(replace(data), by_predictor=True, n_draws=99)) == 4


def test_adjustment_by_hand():
    p = np.array([0.01, 0.04, 0.03, 0.9])
    np.testing.assert_allclose(adjusted(p, "holm"), [0.04, 0.09, 0.09, 0.9])
    np.testing.assert_allclose(adjusted(p, "bh"), [0.04, 0.16 / 3, 0.16 / 3, 0.9])
    np.testing.assert_array_equal(adjusted(p, "none"), p)


def test_columns_span_their_kernels():
    z = np.random.default_rng(0).standard_normal((30, 2))
    made = context_columns(z, "smooth")
    centred = np.eye(30) - 1 / 30
    kernel = centred @ np.exp(-((z[:, None] - z) ** 2).sum(-1) / 4) @ centred
    assert np.trace(made @ made.T) == pytest.approx(np.trace(kernel), rel=2e-3)
    np.testing.assert_allclose(made @ made.T, kernel, atol=0.01)
    assert context_columns(np.array([[0.0], [1.0], [0.0]]), "quadratic").shape == (3, 0)
    assert nuisance_columns(z, "smooth", 7).shape == (30, 7)
    assert nuisance_columns(z, "constant", 7).shape == (30, 0)
    assert orthonormal(np.column_stack([z, z])).shape == (30, 2)
    assert leading(np.zeros((3, 2)), 0.9).shape == (3, 0)
    np.testing.assert_array_equal(times(z[:, :1], z), z[:, :1] * z)


def test_more_contexts_than_samples():
    data = samples(n=12, contexts=13)
    assert 0 < heterogeneity_test(data, n_draws=99).pvalue[0] <= 1
    table = context_tests(data, given_others=True, n_draws=99)
    assert (table["reason"] != "").all()
    assert table["reason"].str.contains("5 samples more").any()


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"contexts": np.ones((60, 2))}, {}, "no context varies"),
        ({}, {"which": "x9"}, "which must be one of slopes, mu, all, x0"),
        ({}, {"kernels": ()}, "kernels must be some of"),
        ({}, {"n_draws": 3}, "n_draws must be at least 19"),
        ({"groups": np.arange(60) // 2}, {"calibration": "permutation"}, "cannot be permuted"),
    ],
)
def test_bad_input_is_a_line(change, options, said):
    with pytest.raises(InputError, match=said):
        heterogeneity_test(replace(samples(), **change), **options)


def test_many_samples_are_refused_beside_deviations_only():
    data = samples(n=4001, contexts=1)
    with pytest.raises(InputError, match="at most 4000; got 4001: take some of them, or let deviations be 'none'"):
        heterogeneity_test(data)
    found = heterogeneity_test(data, kernels=("linear",), nuisance="constant", deviations="none", n_draws=19)
    assert 0 < found.pvalue[0] <= 1
    table = context_tests(data, n_draws=19)
    assert table["reason"].str.contains("at most 4000").all()


def test_diagonal_directions_are_those_of_matrices():
    rng = np.random.default_rng(0)
    basis = orthonormal(rng.standard_normal((20, 3)))
    plain = [rng.standard_normal(20), rng.standard_normal(20)]
    none = np.zeros((20, 1))
    short = NullModel(residual=none, basis=basis, root=np.ones(20), directions=tuple(plain))
    long = NullModel(
        residual=none, basis=basis, root=np.ones(20), directions=tuple(short.project(np.diag(one)) for one in plain)
    )
    mixed = NullModel(residual=none, basis=basis, root=np.ones(20), directions=(plain[0], long.directions[1]))
    columns = short.project(rng.standard_normal((20, 4)))
    np.testing.assert_allclose(short.gram(), long.gram(), rtol=1e-10)
    np.testing.assert_allclose(mixed.gram(), long.gram(), rtol=1e-10)
    for one, two in zip(short.directions, long.directions, strict=True):
        np.testing.assert_allclose(short.along(one, columns), long.along(two, columns), rtol=1e-10)
        np.testing.assert_allclose(short.outer(one), long.outer(two), atol=1e-12)
