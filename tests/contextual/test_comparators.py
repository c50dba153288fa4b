"""Models that contextual effects have to beat, loci held out, and the verdict."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from deepmr.contextual.analysis import analyse_contexts
from deepmr.contextual.causal import fit_contextual_mr
from deepmr.contextual.comparators import COMPARATORS, compare, fit_comparator, predict_contextual
from deepmr.contextual.held_out import paired_difference, score_held_out
from deepmr.contextual.loci import LocusEffects, locus_effects_from
from deepmr.contextual.sensitivity import check_contexts_matter
from deepmr.contextual.verdict import NO_EVIDENCE, context_pvalue, judge_context
from deepmr.errors import InputError
from deepmr.meta import pool_estimates
from deepmr.simulate.contextual import simulate_context_effects


def made(law="interaction", n=60, **given):
    found = simulate_context_effects(law, n_loci=n, n_new=0, n_contexts=3, **given)
    return locus_effects_from(found.estimates, found.contexts)[0], found


def test_fixed_and_random_effects_are_those_of_meta():
    effects, given = made()
    table = compare(effects, fit_contextual_mr(effects, method="linear")).set_index("method")
    random = pool_estimates(given.estimates).table.iloc[0]
    fixed = pool_estimates(given.estimates, tau2="EE", ci="normal").table.iloc[0]
    for name in ("beta", "se", "ci_low", "ci_high", "pvalue"):
        assert table.loc["random", name] == pytest.approx(random[name], rel=1e-6)
        assert table.loc["fixed", name] == pytest.approx(fixed[name], rel=1e-6)
    assert table.loc["random", "tau"] ** 2 == pytest.approx(random["tau2"], rel=1e-6)
    assert list(table.index) == list(COMPARATORS)


def test_predictions_say_how_likely_estimates_are():
    effects, _ = made()
    train, other = effects.take(np.arange(50)), effects.take(np.arange(50, 60))
    fit = fit_comparator("random", train)
    made_of = fit.predict(other)
    sd = np.sqrt(fit.fit.tau2 + other.se**2 + fit.fit.own[0, 0])
    np.testing.assert_allclose(made_of.mean, fit.fit.coefficients[0])
    np.testing.assert_allclose(made_of.log_density, stats.t.logpdf(other.beta, 49, made_of.mean, sd))
    contextual = fit_contextual_mr(train, method="linear")
    seen = predict_contextual(contextual, other)
    exact = contextual.predict(other.contexts)
    np.testing.assert_allclose(seen.mean, exact["beta"], rtol=1e-8)
    assert (seen.high - seen.low > exact["pi_high"] - exact["pi_low"]).all()


def test_clusters_are_means_of_their_loci():
    effects, _ = made(n=60)
    split = replace(effects, contexts=np.sign(effects.contexts) * 5 + 0.01 * effects.contexts, se=np.full(60, 0.1))
    one = replace(split.pick_contexts(["context1"]), beta=effects.beta)
    fit = fit_comparator("clusters", one)
    predicted = fit.predict(one)
    for sign in (-1, 1):
        rows = np.sign(one.contexts[:, 0]) == sign
        np.testing.assert_allclose(predicted.mean[rows], one.beta[rows].mean())


def test_what_loci_share_is_not_foreseen_twice():
    """An error common to all loci moves the mean and the new locus alike."""
    effects, _ = made()
    common = replace(effects, error_factors=np.full((1, 60), 3.0))
    train, other = common.take(np.arange(50)), common.take(np.arange(50, 60))
    plain = fit_comparator("random", effects.take(np.arange(50))).predict(effects.take(np.arange(50, 60)))
    found = fit_comparator("random", train).predict(other)
    np.testing.assert_allclose(found.log_density, plain.log_density, rtol=1e-6)
    seen = predict_contextual(fit_contextual_mr(train, method="constant"), other)
    apart = predict_contextual(
        fit_contextual_mr(effects.take(np.arange(50)), method="constant"), effects.take(np.arange(50, 60))
    )
    np.testing.assert_allclose(seen.log_density, apart.log_density, rtol=1e-5)


def test_paired_difference_by_hand():
    gain, block = np.array([1.0, 3.0, 2.0, 6.0]), np.array([0, 0, 1, 1])
    mean, se, low, high, p, blocks = paired_difference(gain, block)
    assert (mean, blocks) == (3.0, 2)
    assert se == pytest.approx(np.sqrt(2 * (4 + 4)) / 4)
    assert high - low == pytest.approx(2 * stats.t.ppf(0.975, 1) * se)
    assert p == pytest.approx(2 * stats.t.sf(3 / se, 1))


def test_chromosomes_are_held_out_whole():
    effects, _ = made(n=60)
    found = score_held_out(effects, methods=("random", "linear"), n_folds=4)
    assert (found.loci.groupby("chrom")["fold"].nunique() == 1).all()
    assert found.loci["fold"].nunique() == 4
    first = found.loci["fold"] == 0
    by_hand = fit_comparator("random", effects.take(~first.to_numpy())).predict(effects.take(first.to_numpy()))
    np.testing.assert_allclose(found.loci.loc[first, "random_log_density"], by_hand.log_density)
    assert "chromosomes" in found.note
    unknown = score_held_out(replace(effects, chrom=("",) * 60), methods=("random",), n_folds=4)
    assert "chromosomes are not known" in unknown.note
    assert unknown.loci["fold"].value_counts().tolist() == [15] * 4


def test_verdict_of_what_is_there_and_of_what_is_not():
    effects, _ = made("linear", n=50, se=(0.02, 0.1), tau=0.03)
    effects = effects.pick_contexts(["context1", "context2"])
    told = analyse_contexts(effects, method="linear", n_folds=3)
    assert told.verdict.found
    assert told.verdict.sentence.startswith("Evidence of contextual effects")
    scores = told.comparison.set_index("method")["log_score"]
    assert min(scores["contextual"], scores["linear"]) > scores["random"] > scores["fixed"]
    shuffled = replace(effects, contexts=np.random.default_rng(1).permutation(effects.contexts))
    verdict = judge_context(shuffled)
    assert not verdict.found
    assert verdict.sentence.startswith(NO_EVIDENCE)
    flat = judge_context(replace(effects, contexts=np.ones_like(effects.contexts)))
    assert (flat.found, flat.pvalue) == (False, 1.0)


def test_a_trend_that_members_share_is_no_evidence():
    """Errors of members along a context: significant as if independent, not when what they share is known."""
    effects, _ = made("constant", n=100, tau=0.02, se=(0.05, 0.1))
    z = effects.contexts[:, 0] - effects.contexts[:, 0].mean()
    off = replace(effects, beta=effects.beta + 0.1 * z, error_factors=0.1 * z[None])
    assert judge_context(replace(off, error_factors=None)).found
    assert not judge_context(off).found


def test_sensitivity_table():
    effects, _ = made("linear", n=45, se=(0.02, 0.1), tau=0.02)
    effects = effects.pick_contexts(["context1", "context2"])
    f = np.where(np.arange(45) % 3 == 0, 5.0, 50.0)
    fit = fit_contextual_mr(replace(effects, f_statistic=f), method="linear")
    table = check_contexts_matter(fit, alternatives={"by another method": effects}).set_index("analysis")
    assert table.loc["all loci and contexts", "change"] == 0
    assert table.loc["F at least 10", "n"] == 30
    assert table.loc["without context1", "evidence"] < -5
    assert table.loc["without context1", "moved"] > 2
    assert table.loc["by another method", "change"] == pytest.approx(0)
    assert "1 / F as a nuisance" in table.index


def test_too_few_loci_for_a_line_are_left_out():
    effects, _ = made(n=6)
    with pytest.raises(InputError, match="'linear' needs 6 loci for 4"):
        fit_comparator("linear", effects.take(np.arange(5)))
    assert "linear" not in set(compare(effects.take(np.arange(5)))["method"])


@pytest.mark.slow
@pytest.mark.parametrize("tau", [0.0, 0.08])
def test_size_of_the_verdict(tau):
    """Homogeneous effects and a scatter of loci alone, 1,000 data sets: at most 5 % within the error of that number."""
    found = []
    for seed in range(1000):
        effects, _ = made("constant", n=100, tau=tau, seed=seed)
        found.append(context_pvalue(effects, n_draws=199, seed=seed)[0] <= 0.05)
    assert np.mean(found) < 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.slow
def test_size_of_the_verdict_with_loci_held_out():
    """Contexts of other loci, 200 data sets: no more evidence than the test finds, and that at most at its size."""
    found = 0
    for seed in range(200):
        effects, _ = made(n=100, seed=seed)
        rng = np.random.default_rng(seed)
        shuffled = replace(effects, contexts=rng.permutation(effects.contexts))
        if judge_context(shuffled, seed=seed).found:  # loci held out are looked at only where the test rejects
            held_out = score_held_out(shuffled, methods=("random", "contextual"), n_folds=3)
            found += judge_context(shuffled, held_out, seed=seed).found
    assert found <= 0.05 * 200


def test_random_effects_foresee_what_a_constant_contextual_fit_does():
    effects, _ = made(n=80)
    rng = np.random.default_rng(4)
    factors = 0.3 * rng.normal(size=(3, 80))
    effects = replace(effects, beta=effects.beta + rng.normal(size=3) @ factors, error_factors=factors)
    train, other = effects.take(np.arange(60)), effects.take(np.arange(60, 80))
    simple = fit_comparator("random", train).predict(other)
    constant = predict_contextual(fit_contextual_mr(train, method="constant", local_errors="normal"), other)
    np.testing.assert_allclose(simple.mean, constant.mean, atol=0.01)
    assert simple.log_density.mean() == pytest.approx(constant.log_density.mean(), abs=0.02)


def test_errors_that_two_members_share_leave_one_degree_of_freedom():
    rng = np.random.default_rng(0)
    n = 60
    effects = LocusEffects(
        loci=tuple(f"l{k}" for k in range(n)),
        beta=1 + 0.02 * rng.normal(size=n),
        se=np.full(n, 0.02),
        contexts=rng.normal(size=(n, 2)),
        context_names=("a", "b"),
        chrom=("",) * n,
        error_factors=np.stack([np.full(n, 0.3), np.full(n, 1e-4)]),  # directions, more or fewer than members
        error_df=1.0,
    )
    rows = compare(effects)
    np.testing.assert_allclose(rows["df"], 1.0, atol=0.05)
    np.testing.assert_allclose(rows["ci_high"] - rows["beta"], 12.7 * rows["se"], rtol=0.03)
