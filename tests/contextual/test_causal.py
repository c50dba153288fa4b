"""Contextual Mendelian randomization: against REML, against one big normal distribution, and by simulation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from deepmr.contextual.causal import fit_contextual_mr
from deepmr.contextual.loci import locus_effects_from
from deepmr.contextual.locus_posterior import NormalMixture, new_loci, old_loci
from deepmr.errors import InputError
from deepmr.meta import pool_estimates
from deepmr.simulate.contextual import simulate_context_effects


def effects_of(given):
    return locus_effects_from(given.estimates, given.contexts)[0]


def few(law="interaction", n=40, **given):
    return simulate_context_effects(law, n_loci=n, n_new=20, n_contexts=3, **given)


def inside(values, low, high):
    return float(np.mean((np.asarray(low) <= values) & (values <= np.asarray(high))))


@pytest.mark.parametrize("tau", [0.0, 0.08, 0.3])
def test_constant_f_is_random_effects_by_reml(tau):
    given = few("constant", tau=tau, seed=3)
    pooled = pool_estimates(given.estimates, ci="normal").table.iloc[0]
    fit = fit_contextual_mr(effects_of(given), method="constant")
    beta, se = fit.mean_effect()
    assert beta == pytest.approx(pooled["beta"], abs=1e-6)
    assert se == pytest.approx(pooled["se"], abs=1e-6)
    assert fit.tau**2 == pytest.approx(pooled["tau2"], abs=1e-6)
    row = fit.predict(np.zeros((1, 3))).iloc[0]
    assert row["beta"] == pytest.approx(pooled["beta"], abs=1e-6)
    assert row["ci_low"] == pytest.approx(pooled["ci_low"], abs=1e-6)


def test_effects_of_loci_are_conditional_normal_distributions():
    """Old and new loci against one normal distribution of effects and truths, the constant's prior wide."""
    given = few(n=10, seed=1)
    effects = replace(effects_of(given), error_factors=np.random.default_rng(0).normal(size=(2, 10)) * 0.1)
    fit = fit_contextual_mr(effects, method="gp")
    one = replace(fit.mixture.components[0], weight=1.0)
    model, z = one.model, np.random.default_rng(2).standard_normal((3, 3))
    lengths, linear, smooth, tau2, _ = model.layout.split(one.at.theta)
    every = np.vstack([model.z, z])
    u = every / lengths if len(lengths) else np.zeros((13, 1))
    f = 1e5 * np.ones((13, 13))
    if len(linear):
        f += linear[0] * u @ u.T
    if len(smooth):
        f += smooth[0] * np.exp(-((u[:, None] - u) ** 2).sum(-1) / 2)
    true = f + tau2[0] * np.eye(13)
    errors = np.diag(model.noise) + model.factors.T @ model.factors
    gain = np.linalg.solve(true[:10, :10] + errors, true[:10]).T
    mean, covariance = gain @ model.y, true - gain @ true[:10]
    old, new = old_loci([one]), new_loci([one], z, scatter=True)
    np.testing.assert_allclose(old.mean, mean[:10], atol=1e-4)
    np.testing.assert_allclose(old.sd**2, np.diag(covariance)[:10], atol=1e-4)
    np.testing.assert_allclose(new.mean, mean[10:], atol=1e-4)
    np.testing.assert_allclose(new.sd**2, np.diag(covariance)[10:], atol=1e-4)


def test_units_change_nothing_but_units():
    effects = effects_of(few(seed=2))
    moved = replace(effects, beta=50 - 7 * effects.beta, se=7 * effects.se, contexts=1e6 * effects.contexts + 3)
    one, two = fit_contextual_mr(effects), fit_contextual_mr(moved)
    a, b = one.predict(effects.contexts[:6]), two.predict(moved.contexts[:6])
    np.testing.assert_allclose(b["beta"], 50 - 7 * a["beta"], rtol=1e-4)
    np.testing.assert_allclose(b["pi_low"], 50 - 7 * a["pi_high"], rtol=1e-3)
    assert two.tau == pytest.approx(7 * one.tau, rel=1e-3)


def test_quantiles_of_a_mixture():
    mixture = NormalMixture(
        weights=np.array([[0.3], [0.7]]),
        means=np.array([[0.0, 1.0], [2.0, 1.0]]),
        sds=np.array([[1.0, 2.0], [0.5, 2.0]]),
    )
    low, high = mixture.interval(0.9)
    assert low[1] == pytest.approx(stats.norm.ppf(0.05, 1, 2))
    np.testing.assert_allclose(mixture.below(low), 0.05, atol=1e-9)
    np.testing.assert_allclose(mixture.below(high), 0.95, atol=1e-9)
    drawn = np.random.default_rng(0).normal([0.0, 2.0], [1.0, 0.5], (200000, 2))
    first = np.where(np.random.default_rng(1).random(200000) < 0.3, drawn[:, 0], drawn[:, 1])
    assert mixture.mean[0] == pytest.approx(first.mean(), abs=0.01)
    assert mixture.sd[0] == pytest.approx(first.std(), abs=0.01)
    density = 0.3 * stats.norm.pdf(0.4, 0, 1) + 0.7 * stats.norm.pdf(0.4, 2, 0.5)
    assert mixture.log_density(np.array([0.4, 0.4]))[0] == pytest.approx(np.log(density))


def test_errors_of_contexts_attenuate_less():
    """A quarter of the contexts' variance is error: ignored, f loses a quarter of its slope."""
    slopes = {"expected_kernel": [], "ignored": []}
    for seed in (1,):
        given = simulate_context_effects(
            "linear", n_loci=80, n_contexts=3, context_error=0.6, se=(0.02, 0.05), tau=0.02, seed=seed
        )
        effects, truth = effects_of(given), given.truth["context_beta"].to_numpy()[80:]
        for how, found in slopes.items():
            fit = fit_contextual_mr(effects, context_errors=how)
            found.append(np.polyfit(truth, fit.predict(given.true_contexts[80:])["beta"], 1)[0])
            assert (fit.attenuation == {}) == (how == "ignored")
    expected, ignored = (np.array(slopes[how]) for how in slopes)
    np.testing.assert_allclose(expected / ignored, 1.36, rtol=0.1)
    assert 0.8 < np.mean(expected) < 1.2


def test_few_degrees_of_freedom_of_a_wild_locus_count():
    """One locus far out: with 3 degrees of freedom it is doubted, with a known error it makes scatter."""
    given = few("constant", tau=0.02, seed=4, se=(0.05, 0.1))
    effects = effects_of(given)
    wild = replace(effects, beta=np.where(np.arange(40) == 7, 1.5, effects.beta), df=np.full(40, 3.0))
    heavy, known = (fit_contextual_mr(wild, method="constant", local_errors=how) for how in ("t", "normal"))
    assert heavy.tau < 0.5 * known.tau
    assert abs(heavy.mean_effect()[0] - 0.3) < abs(known.mean_effect()[0] - 0.3)
    many = replace(effects, df=np.full(40, 200.0))
    one, two = (fit_contextual_mr(given, method="constant") for given in (many, effects))
    assert one.tau == two.tau


def test_strength_is_a_nuisance():
    """Effects diluted by 1 - 1 / F: f of strong instruments is found."""
    given = few("constant", n=60, tau=0.02, se=(0.01, 0.03))
    effects = effects_of(given)
    f = np.random.default_rng(0).uniform(2, 20, 60)
    weak = replace(effects, beta=effects.beta * (1 - 1 / f), f_statistic=f)
    assert fit_contextual_mr(weak, method="constant").mean_effect()[0] < 0.275
    beta, se = fit_contextual_mr(weak, method="linear", nuisance="strength").mean_effect()
    assert abs(beta - 0.3) < 3 * se
    with pytest.raises(InputError, match="needs the F statistic"):
        fit_contextual_mr(effects, nuisance="strength")


def test_errors_that_members_share_are_in_the_error_of_f():
    given = few("constant", n_members=5, seed=5)
    effects = effects_of(given)
    shared = fit_contextual_mr(effects, method="constant")
    apart = fit_contextual_mr(replace(effects, error_factors=None), method="constant").mean_effect()[1]
    common = np.sqrt((effects.error_factors.mean(axis=1) ** 2).sum())
    assert shared.mean_effect()[1] == pytest.approx(np.hypot(apart, common), rel=0.1)
    row = shared.predict(np.zeros((1, 3))).iloc[0]
    assert (row["ci_high"] - row["ci_low"]) / 2 == pytest.approx(stats.t.ppf(0.975, 4) * row["se"], rel=0.05)


def test_context_that_does_not_vary_and_few_loci():
    given = few(n=20)
    effects = effects_of(given)
    flat = replace(effects, contexts=np.ones((20, 3)))
    fit = fit_contextual_mr(flat)
    assert fit.shares == {"constant": pytest.approx(1.0)}
    assert "do not vary" in fit.warnings[0]
    assert np.isfinite(fit_contextual_mr(effects.take(np.arange(3))).tau)
    with pytest.raises(InputError, match="at least 3 loci"):
        fit_contextual_mr(effects.take(np.arange(2)))
    with pytest.raises(InputError, match="the fit has 3 contexts"):
        fit.predict(np.zeros((1, 2)))


def test_points_far_out_are_flagged_and_less_certain():
    fit = fit_contextual_mr(effects_of(few()))
    near, far = fit.predict(np.array([[0.0, 0.0, 0.0], [9.0, 9.0, 9.0]])).itertuples()
    assert not near.outside
    assert far.outside
    assert far.se > near.se


@pytest.mark.slow
def test_new_loci_are_predicted_and_covered():
    """The interaction law, 12 data sets of 300 loci."""
    off, covered, own, of_f = [], [], [], []
    for seed in range(12):
        given = simulate_context_effects(seed=100 + seed)
        fit, truth = fit_contextual_mr(effects_of(given)), given.truth
        new, found = fit.predict(given.true_contexts[300:]), fit.locus_effects()
        f, effect = truth["context_beta"].to_numpy(), truth["own_beta"].to_numpy()
        off.append(np.mean((new["beta"] - f[300:]) ** 2))
        ends = [stats.norm.cdf((new[name] - f[300:]) / 0.08) for name in ("pi_high", "pi_low")]
        covered.append(np.mean(ends[0] - ends[1]))
        of_f.append(inside(f[300:], new["ci_low"], new["ci_high"]))
        own.append(inside(effect[:300], found["own_low"], found["own_high"]))
    assert np.sqrt(np.mean(off)) < 0.07
    assert 0.93 < np.mean(covered) < 0.97
    assert 0.92 < np.mean(of_f) < 0.985
    assert 0.93 < np.mean(own) < 0.97


@pytest.mark.slow
@pytest.mark.parametrize("n", [8, 20])
def test_few_loci_of_one_effect_are_covered(n):
    """The mean and a new locus, 100 data sets."""
    mean, new = [], []
    for seed in range(100):
        given = simulate_context_effects("constant", n_loci=n, n_new=1, n_contexts=3, tau=0.15, seed=seed)
        row = fit_contextual_mr(effects_of(given)).predict(np.zeros((1, 3))).iloc[0]
        mean.append(row["ci_low"] <= 0.3 <= row["ci_high"])
        new.append(np.diff(stats.norm.cdf((row[["pi_low", "pi_high"]].to_numpy(float) - 0.3) / 0.15))[0])
    assert 0.88 < np.mean(mean) <= 1
    assert 0.91 < np.mean(new) < 0.98
