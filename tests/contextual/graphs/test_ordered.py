"""Bayesian networks by order: the published demonstration, units, errors, and what a direction rests on."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from deepmr.contexts import GraphData
from deepmr.contextual.graphs import fit_graph, graph_from_state
from deepmr.contextual.graphs.dag import acyclic
from deepmr.errors import InputError
from deepmr.simulate.graphs import simulate_graphs


@pytest.fixture(scope="module")
def demo():
    data, truth = simulate_graphs("demo_dag", n=1000, seed=1)
    held = (data.contexts[:, 0] > 1.7) & (data.contexts[:, 0] < 1.9)
    return data.take(~held), data.take(held), truth


@pytest.fixture(scope="module")
def fit(demo):
    return fit_graph(demo[0], method="ordered")


def test_the_demonstration_is_recovered_in_the_gap(demo, fit):
    _, test, truth = demo
    weights = truth.weights(test.contexts)
    found = fit.graphs(test.contexts)
    assert np.mean((found - weights) ** 2) < 0.005
    floor = np.mean((test.values - np.einsum("nij,ni->nj", weights, test.values)) ** 2)
    assert np.mean((fit.predict(test) - test.values) ** 2) < floor + 0.05
    np.testing.assert_array_equal(found[0] != 0, weights[0] != 0)
    assert acyclic(found).all()
    assert (fit.varying[weights[0] != 0] > 3).all()
    assert fit.record.warnings == ()
    assert fit.record.measures["equal_errors"] == 1
    np.testing.assert_allclose(fit.variance, 1, atol=0.1)


def test_density_is_that_of_the_covariance_the_graph_implies(demo, fit):
    test = demo[1].take(slice(0, 5))
    total = np.linalg.inv(np.eye(4) - fit.graphs(test.contexts))
    levels, density = fit.levels(test.contexts), fit.log_likelihood(test)
    for k in range(5):
        mean = fit.centre + levels[k] @ total[k]
        covariance = total[k].T @ np.diag(fit.variance) @ total[k]
        assert density[k] == pytest.approx(multivariate_normal.logpdf(test.values[k], mean, covariance), abs=1e-8)


@pytest.mark.parametrize("functions", ["polynomial", "splines", "smooth"])
def test_state_gives_the_fit_back(demo, functions):
    made = fit_graph(demo[0].take(slice(0, 200)), method="ordered", options={"functions": functions})
    state = made.state()
    again = graph_from_state(state.kind, state.arrays, state.settings, state.record)
    at = demo[1].contexts[:7]
    np.testing.assert_array_equal(again.graphs(at), made.graphs(at))
    np.testing.assert_array_equal(again.standard_errors(at), made.standard_errors(at))
    np.testing.assert_array_equal(again.draws(at, n_draws=3, seed=1), made.draws(at, n_draws=3, seed=1))
    np.testing.assert_array_equal(again.log_likelihood(demo[1]), made.log_likelihood(demo[1]))


def test_draws_have_the_standard_errors(demo, fit):
    at = demo[1].contexts[:3]
    drawn, se = fit.draws(at, n_draws=4000, seed=0), fit.standard_errors(at)
    np.testing.assert_allclose(drawn.std(axis=0), se, rtol=0.08)
    np.testing.assert_allclose(drawn.mean(axis=0), fit.graphs(at), atol=5 * se.max() / 63)


def test_units_change_only_units_when_each_node_has_its_own_error(demo):
    train, test, truth = demo
    size, move = np.array([100.0, 0.01, 3.0, 1.0]), np.array([5.0, 0.0, -2.0, 1e3])
    moved = replace(train, values=train.values * size + move, contexts=train.contexts * 1e6 - 3e5)
    one = fit_graph(train, method="ordered", options={"errors": "own"})
    two = fit_graph(moved, method="ordered", options={"errors": "own"})
    at, there = test.contexts[:9], test.contexts[:9] * 1e6 - 3e5
    back = size[:, None] / size
    np.testing.assert_allclose(two.graphs(there) * back, one.graphs(at), atol=2e-3)
    np.testing.assert_allclose(two.standard_errors(there) * back, one.standard_errors(at), atol=2e-3)
    assert np.mean((one.graphs(at) - truth.weights(at)) ** 2) < 0.005
    said = fit_graph(moved, method="ordered")
    assert said.record.measures["equal_errors"] == 0
    np.testing.assert_array_equal(said.graphs(there), two.graphs(there))
    # Equal error variances, in units in which they are not
    wrong = fit_graph(moved, method="ordered", options={"errors": "equal"})
    assert np.mean((wrong.graphs(there) * back - truth.weights(at)) ** 2) > 0.1


def test_a_known_order_is_kept_and_population_least_squares_is_a_special_case(demo):
    train = demo[0]
    options = {"functions": "constant", "order": ("x0", "x3", "x2", "x1")}
    made = fit_graph(train, method="ordered", options=options)
    x = np.column_stack([np.ones(len(train)), train.values[:, [0, 2, 3]]])
    beta = np.linalg.lstsq(x, train.values[:, 1], rcond=None)[0]
    np.testing.assert_allclose(made.weight[0, [0, 2, 3], 1], beta[1:], rtol=0.01)
    np.testing.assert_array_equal(made.order, [0, 3, 2, 1])


def test_directions_the_data_do_not_know_are_said():
    rng = np.random.default_rng(0)
    a = rng.standard_normal(300)
    values = np.column_stack([a, 0.5 * a + 2 * rng.standard_normal(300)])
    data = GraphData(contexts=rng.standard_normal((300, 1)), values=values, context_names=("c",), node_names=("a", "b"))
    said = fit_graph(data, method="ordered", options={"errors": "own"}).record.warnings
    assert "The data do not tell the direction of" in said[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": ("x0", "x1")}, "order must name each of x0, x1, x2, x3 once; got x0, x1"),
        ({"length": 0.0}, "length must be positive; got 0"),
        ({"errors": "other"}, "errors must be one of auto, equal, own"),
    ],
)
def test_bad_options(demo, options, message):
    with pytest.raises(InputError, match=message):
        fit_graph(demo[0], method="ordered", options=options)


def test_bad_data(demo):
    train = demo[0]
    with pytest.raises(InputError, match="4 nodes need more samples than nodes; got 4"):
        fit_graph(train.take(slice(0, 4)), method="ordered")
    fit = fit_graph(train.take(slice(0, 50)), method="notears")
    with pytest.raises(InputError, match="method 'notears' has no standard errors"):
        fit.standard_errors(train.contexts)
    with pytest.raises(InputError, match="the fit has 1 contexts"):
        fit.graphs(np.zeros((2, 2)))


def test_a_context_that_does_not_vary_leaves_a_constant_network(demo):
    train = demo[0]
    data = replace(train, contexts=np.ones((len(train), 1)))
    made = fit_graph(data, method="ordered")
    assert made.functions.kind == "constant"
    assert made.record.constant == train.context_names
    assert made.record.warnings[0].startswith("Contexts that do not vary are left out")


@pytest.mark.slow
def test_intervals_cover():
    """95 % intervals of true edges at contexts within range, over networks of sines; pointwise, given the edges."""
    inside = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        c = rng.uniform(-1, 1, (300, 1))
        phase, speed = rng.uniform(0, 6, 3), rng.uniform(1, 4, 3)

        def weights(at, phase=phase, speed=speed):
            made = np.zeros((len(at), 3, 3))
            for k, (i, j) in enumerate(((0, 1), (0, 2), (1, 2))):
                made[:, i, j] = 1 + np.sin(speed[k] * at[:, 0] + phase[k])
            return made

        noise = rng.standard_normal((300, 3))
        values = np.einsum("nji,nj->ni", np.linalg.inv(np.eye(3) - weights(c)), noise)
        data = GraphData(contexts=c, values=values, context_names=("c",), node_names=("a", "b", "d"))
        made = fit_graph(data, method="ordered")
        at = np.linspace(-0.95, 0.95, 20)[:, None]
        se, off = made.standard_errors(at), made.graphs(at) - weights(at)
        on = np.triu(np.ones((3, 3), dtype=bool), 1) & (se[0] > 0)
        inside.append(np.mean(np.abs(off[:, on]) < 1.96 * se[:, on]))
    assert 0.90 < np.mean(inside) < 0.98
