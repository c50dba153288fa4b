"""Perceptrons of contexts and predictors at once."""

import numpy as np
import pytest

from deepmr.contexts import ContextData
from deepmr.contextual.networks.gradient import GradientNetwork, fit_gradient_network
from deepmr.errors import InputError


def rows(n=150, seed=0):
    rng = np.random.default_rng(seed)
    c, x = rng.uniform(-1, 1, (n, 1)) * 30 + 5, rng.standard_normal((n, 2)) * [1.0, 20.0]
    y = np.column_stack([(c[:, 0] / 30) * x[:, 0] + x[:, 1], 100 + x[:, 0] ** 2])
    return ContextData(
        contexts=c,
        predictors=x,
        outcomes=y,
        context_names=("c",),
        predictor_names=("u", "v"),
        outcome_names=("y", "z"),
    )


@pytest.fixture(scope="module")
def fit():
    return fit_gradient_network(rows(), hidden=(12,), n_members=2, epochs=200)


def test_effects_are_slopes_of_predictions(fit):
    data = rows(20, seed=1)
    made = fit.effects(data.contexts, data.predictors)
    for k, step in enumerate((1e-5, 2e-4)):
        move = step * np.eye(2)[k]
        up, down = (fit.predict(data.contexts, data.predictors + s * move) for s in (1, -1))
        np.testing.assert_allclose(made[:, :, k], (up - down) / (2 * step), rtol=1e-5, atol=1e-6)


def test_effects_come_near_the_truth(fit):
    data = rows(60, seed=1)
    made = fit.effects(data.contexts, data.predictors)
    inner = (np.abs(data.predictors / [1.0, 20.0]) < 1.5).all(axis=1)
    np.testing.assert_allclose(made[inner, 0, 0], data.contexts[inner, 0] / 30, atol=1.0)
    assert np.corrcoef(made[inner, 0, 0], data.contexts[inner, 0])[0, 1] > 0.9
    assert np.corrcoef(made[inner, 1, 0], data.predictors[inner, 0])[0, 1] > 0.95


def test_state_gives_it_back(fit):
    state, data = fit.state(), rows(9, seed=2)
    again = GradientNetwork.from_state(state.arrays, state.settings, state.record)
    np.testing.assert_array_equal(
        again.effects(data.contexts, data.predictors), fit.effects(data.contexts, data.predictors)
    )


def test_data_without_predictors_have_no_effects():
    data = rows()
    bare = ContextData(
        contexts=data.contexts,
        predictors=np.empty((150, 0)),
        outcomes=data.outcomes,
        context_names=("c",),
        predictor_names=(),
        outcome_names=("y", "z"),
    )
    with pytest.raises(InputError, match="need a predictor"):
        fit_gradient_network(bare)
