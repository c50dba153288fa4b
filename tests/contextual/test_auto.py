"""The choice of a method by cross-validation, and the cross-validation itself."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from deepmr.contexts import ContextData
from deepmr.contextual import fit_context, predict
from deepmr.contextual.auto import draw_units, gain, row_losses
from deepmr.contextual.validation import cross_validate, fold_rows, predictive_variance
from deepmr.errors import InputError
from deepmr.simulate.contexts import simulate_contexts


def samples(n=80, seed=0, varies=1.0, **given):
    rng = np.random.default_rng(seed)
    c, x = rng.uniform(-1, 1, (n, 2)), rng.standard_normal((n, 1))
    y = (varies * c[:, [0]] + 0.5) * x + 0.3 * rng.standard_normal((n, 1))
    made = ContextData(contexts=c, predictors=x, outcomes=y, context_names=("a", "b"), predictor_names=("u",))
    return replace(made, **given)


def test_folds_are_refitted_one_by_one():
    data = samples(offset=np.random.default_rng(1).standard_normal((80, 1)))
    held = cross_validate(data, method="population", n_folds=4, seed=3)
    assert np.bincount(held.folds).tolist() == [20, 20, 20, 20]
    for fold in range(4):
        out = held.folds == fold
        fit = fit_context(data.take(~out), method="population")
        predicted = predict(fit, data.contexts[out], data.predictors[out], offset=data.offset[out])
        np.testing.assert_allclose(held.predictions[out], predicted)
    error = data.outcomes[:, 0] - held.predictions[:, 0]
    np.testing.assert_allclose(held.squared_error, error**2)


def test_the_log_score_is_that_of_the_predictive_distribution():
    data = samples(60, se_outcome=np.full((60, 1), 0.3))
    held = cross_validate(data, method="population", n_folds=3)
    for fold in range(3):
        out = held.folds == fold
        fit = fit_context(data.take(~out), method="population")
        of_mean = np.einsum("pa,ab,pb->p", data.design[out], fit.covariance[0], data.design[out])
        expected = norm.logpdf(data.outcomes[out, 0], held.predictions[out, 0], np.sqrt(of_mean + 0.09))
        np.testing.assert_allclose(held.log_score[out], expected, rtol=0.01, atol=0.02)  # 400 draws
        np.testing.assert_allclose(predictive_variance(fit, data.take(out), n_draws=4000)[:, 0], of_mean, rtol=0.12)


def test_without_known_errors_the_scatter_is_estimated():
    held = cross_validate(samples(400, varies=0.0), method="population")
    assert held.log_score.mean() == pytest.approx(
        norm.logpdf(0.3 * norm.ppf(np.linspace(0.001, 0.999, 999)), 0, 0.3).mean(), abs=0.1
    )


def test_scores_of_binary_outcomes_are_log_probabilities():
    data = samples(120)
    data = replace(data, outcomes=(data.outcomes > 0).astype(float), outcome_type="binary")
    held = cross_validate(data, method="population")
    likely = np.where(data.outcomes == 1, held.predictions, 1 - held.predictions)
    np.testing.assert_allclose(held.log_score, np.log(likely[:, 0]))
    np.testing.assert_allclose(row_losses(data, held.predictions), -held.log_score)


def test_groups_stay_together_and_the_order_of_rows_does_not_matter():
    groups = np.random.default_rng(0).integers(0, 12, 80)
    data = samples(groups=groups)
    folds = fold_rows(data, n_folds=5, seed=2)
    assert all(len(set(folds[groups == g].tolist())) == 1 for g in set(groups.tolist()))
    order = np.random.default_rng(1).permutation(80)
    np.testing.assert_array_equal(fold_rows(data.take(order), n_folds=5, seed=2), folds[order])
    other = fold_rows(data, n_folds=2, seed=2, groups=np.arange(80) % 2)
    assert (other == other[np.arange(80) % 2]).all()
    plain = samples()
    twice = plain.take(np.repeat(np.arange(80), 2))
    weighted = replace(plain, weights=np.full(80, 2.0))
    np.testing.assert_array_equal(fold_rows(twice, n_folds=5, seed=0)[::2], fold_rows(weighted, n_folds=5, seed=0))


def test_gains_of_groups_have_wider_errors_than_of_rows():
    data = samples(groups=np.repeat(np.arange(8), 10))
    difference = np.repeat(np.random.default_rng(0).standard_normal(8), 10)
    mean, se = gain(difference, data)
    assert mean == pytest.approx(difference.mean())
    assert se == pytest.approx(difference[::10].std(ddof=1) / np.sqrt(8))
    _, naive = gain(difference, replace(data, groups=None))
    assert naive == pytest.approx(difference.std(ddof=1) / np.sqrt(80))


def test_auto_takes_what_predicts_better():
    fit = fit_context(samples(), options={"candidates": "ridge,clusters"})
    assert fit.kind == "ridge"
    measures = fit.record.measures
    assert fit.record.method == "auto"
    assert measures[f"chosen_{fit.kind}"] == 1
    assert measures[f"cv_gain_{fit.kind}"] > measures[f"cv_gain_se_{fit.kind}"]
    alone = fit_context(samples(), method=fit.kind)
    at = samples(5, seed=7).contexts
    np.testing.assert_array_equal(alone.coefficients(at).beta, fit.coefficients(at).beta)
    held = cross_validate(samples(), method="population")
    assert measures["cv_error_population"] == pytest.approx(row_losses(samples(), held.predictions).mean())


def test_auto_keeps_the_population_where_nothing_varies():
    options = {"candidates": "ridge"}
    kept = [fit_context(samples(varies=0.0, seed=k), method="auto", options=options).kind for k in range(6)]
    assert kept.count("population") >= 5
    fit = fit_context(samples(varies=0.0, seed=kept.index("population")), method="auto", options=options)
    assert "One set of coefficients for all contexts is kept" in " ".join(fit.record.warnings)


def test_auto_without_enough_to_hold_out_is_the_population():
    fit = fit_context(samples(3, groups=np.zeros(3, dtype=int)), method="auto")
    assert fit.kind == "population"
    assert "cannot be held out" in " ".join(fit.record.warnings)


def test_many_samples_are_compared_on_some():
    data = samples(150, groups=np.arange(150) // 3)
    some = draw_units(data, 60, seed=1)
    assert len(some) == 60
    assert all((some.groups == g).sum() == 3 for g in set(some.groups.tolist()))
    fit = fit_context(data, method="auto", options={"candidates": "ridge", "max_samples": 60})
    assert "Methods were compared on 60 of 150 samples." in fit.record.warnings
    assert fit.record.n == 150


def test_auto_is_not_its_own_candidate():
    with pytest.raises(InputError, match="candidates must be one of"):
        fit_context(samples(), method="auto", options={"candidates": "auto"})
    with pytest.raises(InputError, match="at least two groups"):
        cross_validate(samples(groups=np.zeros(80, dtype=int)), method="population")


@pytest.mark.slow
def test_noise_for_contexts_costs_next_to_nothing():
    """The demo with contexts that do not matter: within 2 % of the population in nearly all draws."""
    ratios = []
    for seed in range(8):
        drawn = simulate_contexts("quadratic", sampling="discs", noise_sd=0.0, seed=seed)
        train, test = (
            replace(one, contexts=one.contexts[:, 2:], context_names=one.context_names[2:])
            for one in (drawn.train, drawn.test)
        )
        error = [
            np.mean((predict(fit_context(train, method=name), test.contexts, test.predictors) - test.outcomes) ** 2)
            for name in ("auto", "population")
        ]
        ratios.append(error[0] / error[1])
    assert np.sum(np.array(ratios) < 1.02) >= 7


@pytest.mark.slow
def test_what_varies_is_found_by_one_method_or_another():
    """Truths in and out of the polynomials of the ridge: a quarter of the error of clusters, or half."""
    for design in ("quadratic", "sine", "step"):
        error = {"auto": 0.0, "clusters": 0.0}
        for seed in range(2):
            drawn = simulate_contexts(design, noise_sd=0.1, seed=seed)
            for name in error:
                told = fit_context(drawn.train, method=name).coefficients(drawn.test.contexts)
                error[name] += np.mean((told.beta[:, 0] - drawn.beta_test) ** 2)
        assert error["auto"] < (0.5 if design == "step" else 0.25) * error["clusters"]
