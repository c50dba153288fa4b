"""Archetypes mixed by a perceptron of context: gradients, recovery of the demonstration, and the way to a file."""

import numpy as np
import pytest

from deepmr.contextual.graphs import fit_graph, graph_from_state
from deepmr.contextual.graphs.acyclicity import LOSSES
from deepmr.contextual.graphs.archetypes import archetype_loss
from deepmr.contextual.graphs.dag import acyclic
from deepmr.errors import InputError
from deepmr.simulate.graphs import simulate_graphs


@pytest.mark.parametrize("kind", LOSSES)
def test_gradient_is_that_of_finite_differences(kind):
    rng = np.random.default_rng(0)
    shapes = ((2, 3), (3,), (3, 2), (2,), (2, 4, 3))
    values, share = rng.standard_normal((20, 3)), rng.dirichlet(np.ones(20))
    samples = (rng.standard_normal((20, 2)), np.column_stack([np.full(20, 1.5), values]), values, share)
    points = rng.standard_normal((5, 2))
    loss = archetype_loss(shapes, samples, points, acyclicity=kind, weight=0.7, l1=0.2, decay=0.3)
    flat = 0.4 * rng.standard_normal(sum(int(np.prod(shape)) for shape in shapes))
    gradient = loss(flat)[1]
    for k in range(len(flat)):
        move = np.zeros_like(flat)
        move[k] = 1e-6
        assert gradient[k] == pytest.approx((loss(flat + move)[0] - loss(flat - move)[0]) / 2e-6, rel=1e-4, abs=1e-7)


def test_the_demonstration_is_recovered():
    data, truth = simulate_graphs("demo_dag", n=400, seed=0)
    held = (data.contexts[:, 0] > 1.7) & (data.contexts[:, 0] < 1.9)
    train, test = data.take(~held), data.take(held)
    fit = fit_graph(train, method="archetypes", options={"hidden": 5, "n_archetypes": 3, "steps": 150}, seed=1)
    found = fit.graphs(test.contexts)
    assert acyclic(found).all()
    assert np.mean((found - truth.weights(test.contexts)) ** 2) < 0.05
    state = fit.state()
    again = graph_from_state(state.kind, state.arrays, state.settings, state.record)
    np.testing.assert_array_equal(again.graphs(test.contexts), found)
    np.testing.assert_array_equal(again.log_likelihood(test), fit.log_likelihood(test))


def test_bad_options():
    data, _ = simulate_graphs("demo_dag", n=50, seed=0)
    with pytest.raises(InputError, match="n_archetypes must be at least 1; got 0"):
        fit_graph(data, method="archetypes", options={"n_archetypes": 0})
