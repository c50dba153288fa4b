"""Data that cannot be used as they are: every method works around them and says so, or says no in one line."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.contexts import ContextData
from deepmr.contextual import METHODS, fit_context, predict
from deepmr.errors import InputError

OPTIONS = {
    "auto": {"candidates": "ridge", "n_folds": 3},
    "clusters": {"max_clusters": 4, "n_init": 2},
    "gp": {"integrate": False, "scatter": False},
    "networks": {"width": 6, "n_archetypes": 3, "epochs": 20},
}
LINEAR = {"gp"}  # has no link, so that binary outcomes are not for it
every = pytest.mark.parametrize("name", METHODS)
binary_methods = pytest.mark.parametrize("name", [name for name in METHODS if name not in LINEAR])


def samples(n=40, seed=0, binary=False):
    rng = np.random.default_rng(seed)
    c, x = rng.uniform(-1, 1, (n, 2)), rng.standard_normal((n, 1))
    y = (c[:, [0]] + 0.5) * x + 0.3 * rng.standard_normal((n, 1))
    return ContextData(
        contexts=c,
        predictors=x,
        outcomes=(y > 0).astype(float) if binary else y,
        context_names=("a", "b"),
        predictor_names=("u",),
        outcome_type="binary" if binary else "continuous",
    )


def fit(name, data):
    return fit_context(data, method=name, options=OPTIONS.get(name))


def usable(made, data):
    told = made.coefficients(data.contexts)
    assert np.isfinite(told.beta).all()
    assert np.isfinite(told.mu).all()
    assert told.se_beta is None or np.isfinite(told.se_beta).all()
    assert all(np.isfinite(value) for value in made.record.measures.values())
    return predict(made, data.contexts, data.predictors, offset=data.offset)


def refused(name, data, message):
    with pytest.raises(InputError, match=message) as error:
        fit(name, data)
    assert "\n" not in str(error.value)


@every
def test_constant_context_is_left_out_and_said(name):
    data = samples()
    flat = replace(data, contexts=np.column_stack([data.contexts, np.full(40, 7.0)]), context_names=("a", "b", "flat"))
    made = fit(name, flat)
    assert made.record.constant == ("flat",)
    assert "Contexts that do not vary are left out: flat." in made.record.warnings
    away = flat.contexts + np.array([0.0, 0.0, 5.0])
    assert np.array_equal(made.coefficients(away).beta, made.coefficients(flat.contexts).beta)


@every
def test_contexts_that_are_all_constant_leave_the_population(name):
    data = samples()
    made = fit(name, replace(data, contexts=np.ones((40, 2))))
    told = made.coefficients(np.ones((3, 2)))
    plain = fit_context(data, method="population").coefficients(data.contexts[:3])
    np.testing.assert_allclose(told.beta, plain.beta, atol=0.1 if name == "networks" else 1e-6)
    usable(made, replace(data, contexts=np.ones((40, 2))))


@every
def test_more_contexts_than_rows(name):
    rng = np.random.default_rng(1)
    wide = replace(samples(25), contexts=rng.standard_normal((25, 40)), context_names=tuple(f"c{k}" for k in range(40)))
    usable(fit(name, wide), wide)


@pytest.mark.parametrize("what", ["contexts", "predictors", "outcomes"])
def test_missing_values_are_refused_with_the_name_of_their_column(what):
    data = samples()
    values = getattr(data, what).copy()
    values[3, -1] = np.nan
    name = getattr(data, f"{what[:-1]}_names")[-1]
    with pytest.raises(InputError, match=f"{what[:-1]} '{name}' must be finite; 1 of 40 is not, first at row 3"):
        replace(data, **{what: values})


@every
def test_contexts_on_wildly_different_scales(name):
    data = samples()
    wild = replace(data, contexts=data.contexts * [1e150, 1e-150] + [1e151, 0.0])
    predicted = usable(fit(name, wild), wild)
    np.testing.assert_allclose(predicted, usable(fit(name, data), data), atol=0.5 if name == "networks" else 1e-2)


@every
def test_a_context_twice(name):
    data = samples()
    twice = replace(data, contexts=data.contexts[:, [0, 1, 0]], context_names=("a", "b", "again"))
    usable(fit(name, twice), twice)


@every
def test_every_row_the_same_context_but_one(name):
    data = samples()
    contexts = np.zeros((40, 2))
    contexts[0] = 1.0
    made = replace(data, contexts=contexts)
    usable(fit(name, made), made)


@every
def test_an_outcome_that_does_not_vary(name):
    data = replace(samples(), outcomes=np.full((40, 1), 3.0))
    np.testing.assert_allclose(usable(fit(name, data), data), 3.0, atol=1e-2)


@binary_methods
def test_binary_outcomes_that_are_all_the_same_are_refused(name):
    refused(name, replace(samples(binary=True), outcomes=np.ones((40, 1))), "separated|both|all the same|one class")


@binary_methods
def test_binary_outcomes(name):
    data = samples(120, binary=True)
    predicted = usable(fit(name, data), data)
    assert ((predicted > 0) & (predicted < 1)).all()


@pytest.mark.parametrize("weight", [0.0, -1.0, np.nan, np.inf])
def test_weights_that_are_not_positive_are_refused(weight):
    weights = np.ones(40)
    weights[2] = weight
    with pytest.raises(InputError, match=r"weights must be (positive|finite); 1 of 40 is not, first at row 2"):
        replace(samples(), weights=weights)


@every
def test_one_row_is_too_few(name):
    refused(name, samples(1), "2 coefficients need at least 2 samples; got 1")


@every
def test_as_many_rows_as_coefficients(name):
    data = samples(2)
    known = replace(data, se_outcome=np.full((2, 1), 0.3))
    np.testing.assert_allclose(usable(fit(name, known), known), data.outcomes, atol=2.0)
    if name in ("gp", "networks"):  # whose errors are not those of residuals
        np.testing.assert_allclose(usable(fit(name, data), data), data.outcomes, atol=2.0)
        return
    refused(name, data, "2 coefficients and an error variance need at least 3 samples; got 2")
    few = replace(samples(40), weights=np.full(40, 1 / 40))
    refused(name, few, "got weights, which count rows, that add up to 1")


@every
def test_predictors_that_cannot_be_told_apart_are_refused(name):
    data = samples()
    flat = replace(data, predictors=np.ones((40, 1)))
    refused(name, flat, "predictors must not depend on each other or be constant; u does not vary")
    zero = replace(data, predictors=np.zeros((40, 1)))
    refused(name, zero, "a predictor must not be 0 in every sample; u is")
    twice = replace(data, predictors=data.predictors[:, [0, 0]], predictor_names=("u", "w"))
    refused(name, twice, "predictors must not depend on each other; w is a sum of multiples of u and of 1")


@every
def test_no_predictors_leave_the_level(name):
    data = samples(60)
    level = replace(data, predictors=np.empty((60, 0)), predictor_names=(), outcomes=data.contexts[:, [0]] ** 2 + 1)
    made = fit(name, level)
    assert made.coefficients(level.contexts).beta.shape == (60, 1, 0)
    predicted = usable(made, level)
    assert np.mean((predicted - level.outcomes) ** 2) <= 1.01 * level.outcomes.var()


@every
def test_no_contexts_are_the_population(name):
    data = replace(samples(), contexts=np.empty((40, 0)), context_names=())
    plain = fit_context(samples(), method="population").coefficients(samples().contexts[:1])
    told = fit(name, data).coefficients(np.empty((1, 0)))
    np.testing.assert_allclose(told.beta, plain.beta, atol=0.1 if name == "networks" else 1e-6)
