"""Gaussian-process coefficients of awkward data: few rows, many or constant contexts, repeats; and extrapolation."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.contexts import ContextData
from deepmr.contextual import fit_context, predict
from deepmr.errors import InputError
from deepmr.simulate.contexts import simulate_contexts

QUICK = {"shapes": ("constant", "smooth"), "integrate": False}


def small(n=20, contexts=2, predictors=1, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, predictors))
    return ContextData(
        contexts=rng.standard_normal((n, contexts)),
        predictors=x,
        outcomes=x.sum(axis=1, keepdims=True) + 0.1 * rng.standard_normal((n, 1)),
        context_names=tuple(f"c{k}" for k in range(contexts)),
        predictor_names=tuple(f"x{k}" for k in range(predictors)),
    )


def test_more_contexts_than_rows_work():
    data = small(contexts=40)
    told = fit_context(data, options=QUICK, method="gp").coefficients(data.contexts)
    np.testing.assert_allclose(told.beta, 1.0, atol=0.3)
    assert np.isfinite(told.se_beta).all()


def test_a_row_a_coefficient_works_and_fewer_are_refused():
    fit = fit_context(small(n=2), options=QUICK, method="gp")
    told = fit.coefficients(np.zeros((1, 2)))
    assert np.isfinite(told.beta).all()
    assert np.isfinite(told.se_beta).all()
    with pytest.raises(InputError, match="2 coefficients need at least 2 samples; got 1"):
        fit_context(small(n=1), method="gp")


def test_duplicates_and_constant_contexts_work():
    data = small(30).take(np.repeat(np.arange(10), 3))
    flat = replace(data, contexts=np.column_stack([data.contexts, np.ones(30)]), context_names=("a", "b", "flat"))
    fit = fit_context(flat, options=QUICK, method="gp")
    assert fit.record.constant == ("flat",)
    assert np.isfinite(fit.coefficients(flat.contexts).se_beta).all()
    alone = fit_context(replace(data, contexts=np.ones((30, 2))), method="gp")
    assert alone.record.constant == ("c0", "c1")
    assert alone.record.measures["share_constant"] == 1.0
    told = alone.coefficients(np.zeros((3, 2)))
    assert not told.outside.any()
    assert (told.unlearned == 0).all()


def test_an_outcome_without_noise_or_variation_works():
    data = small(25)
    told = fit_context(replace(data, outcomes=np.full((25, 1), 4.0)), options=QUICK, method="gp").coefficients(
        data.contexts
    )
    np.testing.assert_allclose(told.beta, 0.0, atol=1e-6)
    np.testing.assert_allclose(told.mu, 4.0, atol=1e-6)


def test_several_outcomes_are_fits_of_each():
    data = small(25)
    both = replace(data, outcomes=np.column_stack([data.outcomes, -2 * data.outcomes]), outcome_names=("y", "z"))
    fit = fit_context(both, options=QUICK, method="gp")
    told, alone = (
        fit.coefficients(data.contexts),
        fit_context(data, options=QUICK, method="gp").coefficients(data.contexts),
    )
    np.testing.assert_array_equal(told.beta[:, 0], alone.beta[:, 0])
    np.testing.assert_allclose(told.beta[:, 1], -2 * told.beta[:, 0], rtol=1e-5)
    assert {"sigma.y", "sigma.z"} <= set(fit.record.measures)


def test_offsets_are_added_and_not_fitted():
    data = small(25)
    offset = np.linspace(0, 9, 25)[:, None]
    moved = replace(data, outcomes=data.outcomes + offset, offset=offset)
    one, two = fit_context(data, options=QUICK, method="gp"), fit_context(moved, options=QUICK, method="gp")
    at = data.contexts[:4]
    np.testing.assert_allclose(two.coefficients(at).beta, one.coefficients(at).beta, atol=1e-9)
    plain = predict(one, at, data.predictors[:4])
    np.testing.assert_allclose(predict(two, at, data.predictors[:4], offset=offset[:4]), plain + offset[:4])


def test_predictions_are_those_of_the_coefficients():
    drawn = simulate_contexts("sine", n=60, seed=1, n_test=7)
    fit = fit_context(drawn.train, options=QUICK, method="gp")
    told = fit.coefficients(drawn.test.contexts)
    expected = (told.beta[:, 0] * drawn.test.predictors).sum(axis=1) + told.mu[:, 0]
    np.testing.assert_allclose(predict(fit, drawn.test.contexts, drawn.test.predictors)[:, 0], expected, rtol=1e-9)


def test_extrapolation_is_told_and_is_less_certain():
    """Far in the contexts that matter, though contexts that do not put every point far from every other."""
    drawn = simulate_contexts("quadratic", sampling="discs", seed=0, noise_sd=0.1)
    fit = fit_context(drawn.train, options=QUICK, method="gp")
    places = np.array([[0.5, 0.5, 0.0, 0.0], [0.0, 0.05, 0.3, 0.3], [1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 50.0, 0.0]])
    told = fit.coefficients(places)
    assert told.outside.tolist() == [False, False, True, True]
    assert told.unlearned[2] > 5 * told.unlearned[:2].max()
    assert told.se_beta[2, 0].min() > 2 * told.se_beta[:2, 0].max()
    far = fit.coefficients(np.array([[30.0, 30.0, 0.0, 0.0]]))
    assert far.unlearned[0] > 0.5  # the rest is the linear part
