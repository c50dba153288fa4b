"""Continuous optimisation of networks: simulated graphs, every order of four nodes, and the published demonstration."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from deepmr.contexts import GraphData
from deepmr.contextual.graphs import fit_graph, graph_from_state
from deepmr.contextual.graphs.acyclicity import LOSSES
from deepmr.contextual.graphs.continuous import _make_problem, _sum
from deepmr.contextual.graphs.dag import acyclic, structural_distance
from deepmr.contextual.graphs.functions import choose_functions
from deepmr.contextual.graphs.products import make_products
from deepmr.errors import InputError
from deepmr.simulate.graphs import simulate_graphs


def random_network(d, n, seed, density=0.5):
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.5, 2, (d, d)) * rng.choice([-1, 1], (d, d))
    order = rng.permutation(d)
    weights = (np.triu(rng.random((d, d)) < density, 1) * size)[np.ix_(order, order)]
    values = rng.standard_normal((n, d)) @ np.linalg.inv(np.eye(d) - weights)
    contexts = rng.standard_normal((n, 1))
    names = tuple(f"x{k}" for k in range(d))
    return GraphData(contexts=contexts, values=values, context_names=("c",), node_names=names), weights


def demo(seed=0):
    data, truth = simulate_graphs("demo_dag", n=1000, seed=seed)
    held = (data.contexts[:, 0] > 1.7) & (data.contexts[:, 0] < 1.9)
    return data.take(~held), data.take(held), truth


@pytest.mark.parametrize("kind", LOSSES)
def test_gradient_of_what_is_minimised_is_that_of_finite_differences(kind):
    rng = np.random.default_rng(0)
    data, _ = random_network(3, 50, seed=0)
    functions = choose_functions(data.contexts, data.counts, kind="polynomial", degree=2)
    products = make_products(data.values, functions(data.contexts), data.counts)
    problem = _make_problem(products, functions(data.contexts[:7]))
    smooth = _sum(problem, kind, 0.7, 2.0)
    at, step = 0.1 * rng.standard_normal(problem.shape), 1e-6
    gradient = smooth(at)[1]
    for m, i, j in ((0, 0, 1), (1, 2, 0), (2, 1, 2), (2, 0, 0)):
        move = np.zeros_like(at)
        move[m, i, j] = step
        assert gradient[m, i, j] == pytest.approx((smooth(at + move)[0] - smooth(at - move)[0]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("kind", LOSSES)
def test_graphs_with_equal_error_variances_are_found(kind):
    data, weights = random_network(5, 1000, seed=1)
    fit = fit_graph(data, method="notears", options={"acyclicity": kind})
    found = fit.graphs(data.contexts[:1])
    assert structural_distance(found, weights[None])[0] == 0
    assert acyclic(found).all()
    assert fit.record.measures["cycles"] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "most"), [("dagma", 0), ("exponential", 2), ("polynomial", 2)])
def test_larger_graphs_with_equal_error_variances_are_found(kind, most):
    """Pairs of ten nodes that are wrong, over five networks of twenty edges or so."""
    wrong = 0
    for seed in range(5):
        data, weights = random_network(10, 1000, seed, density=0.2)
        found = fit_graph(data, method="notears", options={"acyclicity": kind}).graphs(data.contexts[:1])
        wrong += structural_distance(found, weights[None])[0]
    assert wrong <= most


def test_no_order_of_four_nodes_fits_better():
    """Least squared error over every order, without a penalty."""
    for seed in (1,):
        data, _ = random_network(4, 400, seed)
        x = data.values - data.values.mean(axis=0)
        best = np.inf
        for order in permutations(range(4)):
            total = 0.0
            for k, node in enumerate(order):
                before = x[:, order[:k]]
                fitted = before @ np.linalg.lstsq(before, x[:, node], rcond=None)[0] if k else 0.0
                total += np.mean((x[:, node] - fitted) ** 2)
            best = min(best, total)
        fit = fit_graph(data, method="notears", options={"l1": 0.0, "threshold": 0.0})
        assert fit.variance.sum() == pytest.approx(best, rel=2e-3)


@pytest.mark.parametrize(
    "kind", ["dagma", *(pytest.param(k, marks=pytest.mark.slow) for k in ("exponential", "polynomial"))]
)
def test_weights_that_vary_are_found(kind):
    train, test, truth = demo()
    fit = fit_graph(train, method="varying_dag", options={"acyclicity": kind})
    found, weights = fit.graphs(test.contexts), truth.weights(test.contexts)
    assert np.mean((found - weights) ** 2) < 0.005
    np.testing.assert_array_equal((found != 0).any(axis=0), (weights != 0).any(axis=0))
    assert fit.log_likelihood(test).mean() > fit_graph(train, method="notears").log_likelihood(test).mean() + 1


def test_edges_that_turn_round_with_context_have_no_cycle_at_any():
    rng = np.random.default_rng(0)
    c = np.linspace(-1, 1, 600)
    a = rng.standard_normal((600, 2))
    forward = np.where(c > 0, c, 0.0) * 3
    back = np.where(c < 0, -c, 0.0) * 3
    values = np.column_stack([a[:, 0] + back * a[:, 1], a[:, 1] + forward * a[:, 0]])
    data = GraphData(contexts=c[:, None], values=values, context_names=("c",), node_names=("a", "b"))
    fit = fit_graph(data, method="varying_dag", options={"functions": "splines"})
    found = fit.graphs(data.contexts)
    assert len(fit.order) == 0
    assert acyclic(found).all()
    assert np.mean((found[:, 0, 1] - forward) ** 2) < 0.1
    assert np.mean((found[:, 1, 0] - back) ** 2) < 0.1


def test_a_context_of_two_values_has_functions_that_are_nothing():
    data, weights = random_network(3, 300, seed=0)
    two = replace(data, contexts=(data.contexts > 0).astype(float))
    fit = fit_graph(two, method="varying_dag")
    assert np.mean((fit.graphs(two.contexts[:9]) - weights) ** 2) < 0.05


def test_clusters_have_a_graph_each():
    train, test, truth = demo()
    fit = fit_graph(train, method="dag_clusters", options={"n_clusters": 2})
    found = fit.graphs(test.contexts)
    assert acyclic(found).all()
    assert len(np.unique(fit.graphs(train.contexts).reshape(len(train), -1), axis=0)) == 2
    still = fit_graph(replace(train, contexts=np.ones_like(train.contexts)), method="dag_clusters")
    assert still.record.constant == train.context_names
    one = fit_graph(train, method="dag_clusters", options={"n_clusters": 1})
    population = fit_graph(train, method="notears")
    np.testing.assert_allclose(one.graphs(test.contexts), population.graphs(test.contexts), atol=1e-9)
    off = [np.mean((f.graphs(test.contexts) - truth.weights(test.contexts)) ** 2) for f in (fit, one)]
    assert off[0] < 0.8 * off[1]
    state = fit.state()
    again = graph_from_state(state.kind, state.arrays, state.settings, state.record)
    np.testing.assert_array_equal(again.graphs(test.contexts), found)


def test_data_that_are_too_few_are_refused():
    data, _ = random_network(4, 30, seed=0)
    with pytest.raises(InputError, match=r"more samples than nodes \(4\); cluster \d+ of 10 has \d: take fewer"):
        fit_graph(data, method="dag_clusters")
    wide = replace(data, contexts=np.random.default_rng(0).standard_normal((30, 4)), context_names=tuple("abcd"))
    with pytest.raises(InputError, match=r"60 coefficients \(15 functions of context\) and there are 30 samples"):
        fit_graph(wide, method="varying_dag")
    with pytest.raises(InputError, match="l1 must be at least 0; got -1"):
        fit_graph(data, method="notears", options={"l1": -1})
