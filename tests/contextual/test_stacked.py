"""Fits on top of others, known coefficients, and pairs."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logit

from deepmr.contexts import ContextData
from deepmr.contextual import fit_context, fit_from_state, predict
from deepmr.contextual.bands import bands, difference
from deepmr.contextual.bootstrap import bootstrap_context
from deepmr.contextual.known import known_coefficients
from deepmr.contextual.pairs import fit_pairs
from deepmr.contextual.scaling import check_contexts
from deepmr.errors import InputError


def samples(n=70, seed=0):
    rng = np.random.default_rng(seed)
    c, x = rng.uniform(-1, 1, (n, 2)), rng.standard_normal((n, 2))
    y = np.column_stack([(c[:, 0] + 1) * x[:, 0] - x[:, 1], c[:, 1] * x[:, 1] + 2])
    return ContextData(
        contexts=c,
        predictors=x,
        outcomes=y + 0.1 * rng.standard_normal((n, 2)),
        context_names=("a", "b"),
        predictor_names=("u", "v"),
        outcome_names=("p", "q"),
    )


def test_population_on_top_of_known_coefficients_gives_the_sum_back():
    data = samples()
    base = known_coefficients(data, beta=np.array([[3.0, -1.0], [0.0, 0.5]]), mu=np.array([1.0, 7.0]))
    fit = fit_context(data, method="population", base=base)
    alone = fit_context(data, method="population")
    at, plain = fit.coefficients(data.contexts[:3]), alone.coefficients(data.contexts[:3])
    np.testing.assert_allclose(at.beta, plain.beta, atol=1e-12)
    np.testing.assert_allclose(at.mu, plain.mu, atol=1e-12)
    np.testing.assert_allclose(at.se_beta, plain.se_beta, rtol=1e-10)
    assert "the base, known, is taken as known" in fit.record.warnings[-1]
    drawn = fit.draws(data.contexts[:2], n_draws=2000, seed=0)
    np.testing.assert_allclose(drawn[..., 1:].mean(axis=0), plain.beta[:2], atol=0.02)
    with pytest.raises(InputError, match="no errors"):
        base.draws(data.contexts)
    assert base.coefficients(data.contexts).se_beta is None


def test_what_the_base_leaves_is_what_varies():
    data = samples()
    base = fit_context(data, method="population")
    fit = fit_context(data, method="ridge", base=base)
    rest = predict(fit, data.contexts, data.predictors) - data.outcomes
    assert np.mean(rest**2) < 0.03
    state = fit.state()
    again = fit_from_state(state.kind, state.arrays, state.settings, state.record)
    at = samples(6, seed=2)
    np.testing.assert_array_equal(predict(again, at.contexts, at.predictors), predict(fit, at.contexts, at.predictors))
    np.testing.assert_array_equal(again.draws(at.contexts, n_draws=2), fit.draws(at.contexts, n_draws=2))


def test_a_base_of_other_names_is_refused():
    data = samples()
    base = fit_context(replace(data, context_names=("a", "other")), method="population")
    with pytest.raises(InputError, match="the base must have the context_names of the data"):
        fit_context(data, method="population", base=base)
    with pytest.raises(InputError, match="beta must have shape"):
        known_coefficients(data, beta=np.zeros((1, 2)), mu=np.zeros(1))


def test_a_base_of_binary_outcomes_is_added_to_log_odds():
    rng = np.random.default_rng(1)
    data = samples(300)
    binary = replace(
        data.pick_outcome(0), outcomes=(rng.uniform(size=(300, 1)) < 0.8).astype(float), outcome_type="binary"
    )
    base = known_coefficients(binary, beta=np.zeros((1, 2)), mu=np.array([logit(0.8)]))
    fit = fit_context(binary, method="population", base=base)
    alone = fit_context(binary, method="population")
    np.testing.assert_allclose(
        fit.coefficients(data.contexts[:1]).mu, alone.coefficients(data.contexts[:1]).mu, atol=1e-6
    )


def test_each_pair_is_the_regression_on_one_predictor_alone():
    data = samples()
    fit = fit_pairs(data, method="ridge", options={"degree": 1, "penalty": 1.0})
    at = fit.coefficients(data.contexts[:4])
    assert at.beta.shape == at.mu.shape == at.se_beta.shape == at.se_mu.shape == (4, 2, 2)
    for k in range(2):
        for j, name in enumerate(("u", "v")):
            one = replace(data.pick_outcome(k), predictors=data.predictors[:, [j]], predictor_names=(name,))
            alone = fit_context(one, method="ridge", options={"degree": 1, "penalty": 1.0})
            told = alone.coefficients(data.contexts[:4])
            np.testing.assert_allclose(at.beta[:, k, j], told.beta[:, 0, 0], rtol=1e-10)
            np.testing.assert_allclose(at.mu[:, k, j], told.mu[:, 0], rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(at.se_mu[:, k, j], told.se_mu[:, 0], rtol=1e-10)
    said = fit.predict(data.contexts[:4], data.predictors[:4])
    np.testing.assert_allclose(said, at.mu + at.beta * data.predictors[:4, None])
    assert fit.draws(data.contexts[:4], n_draws=3).shape == (3, 4, 2, 2, 2)
    assert fit.record.measures["degree.p|u"] == 1
    state = fit.state()
    again = fit_from_state(state.kind, state.arrays, state.settings, state.record)
    np.testing.assert_array_equal(again.coefficients(data.contexts).beta, fit.coefficients(data.contexts).beta)


def test_pairs_name_the_predictor_that_cannot_be_used():
    data = samples()
    flat = replace(data, predictors=np.column_stack([data.predictors[:, 0], np.ones(70)]))
    with pytest.raises(InputError, match="predictor 'v': predictors must not"):
        fit_pairs(flat, method="population")
    with pytest.raises(InputError, match="at least one predictor"):
        fit_pairs(replace(data, predictors=data.predictors[:, :0], predictor_names=()), method="population")


def test_pairs_are_predicted_by_their_own_predict_and_refused_elsewhere():
    data = samples()
    noise = np.random.default_rng(3).normal(0, 3, data.outcomes.shape)
    binary = replace(data, outcomes=(data.outcomes + noise > 0).astype(float), outcome_type="binary")
    pairs = fit_pairs(binary, method="population")
    offset = np.full((70, 2), 0.5)
    told = pairs.predict(data.contexts, data.predictors, offset=offset)
    for k, one in enumerate(pairs.fits):
        alone = predict(one, data.contexts, data.predictors[:, [k]], offset=offset)
        np.testing.assert_allclose(told[:, :, k], alone, rtol=1e-12)
    for use in (
        lambda: predict(pairs, data.contexts, data.predictors),
        lambda: bands(pairs, data.contexts),
        lambda: difference(pairs, data.contexts[0], data.contexts[1]),
    ):
        with pytest.raises(InputError, match="a fit of pairs has a mu for every predictor"):
            use()
    table = pairs.coefficients(data.contexts[:3]).to_frame(pairs)
    assert table.query("point == 2 and outcome == 'q' and predictor == 'v'")["beta"].item() == pytest.approx(
        pairs.coefficients(data.contexts[:3]).beta[2, 1, 1]
    )


def test_means_of_fits_made_of_others_are_their_coefficients():
    data = samples()
    base = fit_context(data, method="population")
    for fit in (
        fit_context(data, method="ridge", base=base),
        bootstrap_context(data, method="ridge", n_boot=2),
    ):
        at = fit.coefficients(data.contexts)
        np.testing.assert_allclose(fit.means(data.contexts)[:, :, 1:], at.beta, rtol=1e-12)
        np.testing.assert_allclose(fit.means(data.contexts)[:, :, 0], at.mu, rtol=1e-12)


def test_tables_and_lines_of_a_fit():
    data = samples()
    fit = fit_context(replace(data, context_se=np.full((70, 2), 0.1)), method="gp", options={"integrate": False})
    at = fit.coefficients(data.contexts[:3])
    table = at.to_frame(fit).set_index(["point", "outcome", "coefficient"])
    assert table.loc[(2, "q", "v"), "estimate"] == at.beta[2, 1, 1]
    assert table.loc[(1, "p", "mu"), "se"] == at.se_mu[1, 0]
    band = bands(fit, data.contexts[:3])
    low = band.to_frame(fit).set_index(["point", "outcome", "coefficient"])["low"]
    assert low[(2, "q", "v")] == band.low[2, 1, 2]
    assert str(fit.record).startswith("gp, 70 samples: p, q (continuous) on u, v, varying with a, b\n")
    assert "Contexts are taken as exact" in str(fit.record)
    assert len(repr(fit)) < 2000
    for wrong in (data.contexts[0], data.to_frame()[["a", "b"]]):
        with pytest.raises(InputError, match="contexts must be a numpy array"):
            check_contexts.__wrapped__(wrong, ("a", "b"))
