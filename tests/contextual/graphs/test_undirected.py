"""Correlation and Markov networks by context: units, weights, states, bad input, and accuracy against the truth."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.contexts import GraphData
from deepmr.contextual.graphs import fit_graph, graph_from_state
from deepmr.contextual.graphs.intervals import graph_intervals
from deepmr.errors import InputError
from deepmr.simulate.graphs import simulate_graphs


def small(design="markov", n=200, nodes=3, seed=0):
    return simulate_graphs(design, n=n, n_nodes=nodes, seed=seed)[0]


def test_far_beyond_the_contexts_edges_are_refused_in_a_line():
    data = simulate_graphs("demo_dag", n=120, seed=0)[0]
    fit = fit_graph(data, method="markov")
    with pytest.raises(InputError, match="singular in float64"):
        fit.graphs(np.array([[99.0]]))
    assert fit.outside(np.array([[99.0]])).all()
    assert len(repr(fit)) < 2000
    assert str(fit.record).startswith("markov, 120 samples: edges of x0, x1, x2, x3, varying with c1")


@pytest.mark.parametrize("model", ["varying", "clusters", "population"])
def test_units_change_nothing_but_units(model):
    data = small(n=100)
    size = np.array([10.0, 0.01, 1e5])
    moved = replace(data, contexts=1e4 * data.contexts - 7e4, values=data.values * size + [3.0, 0.0, -1e5])
    at = data.contexts[:6]
    options = {"model": model, "n_clusters": 3 if model == "clusters" else None, "n_orders": 1}
    for method, factor in (("correlation", 1.0), ("markov", 1 / np.outer(size, size))):
        chosen = options if method == "correlation" else {**options, "edges": "precision"}
        one, two = (fit_graph(d, method=method, options=chosen) for d in (data, moved))
        made, known = two.graphs(1e4 * at - 7e4), one.graphs(at) * factor
        np.testing.assert_allclose(made / factor, known / factor, rtol=1e-5, atol=1e-8)
        shift = two.log_likelihood(moved) - one.log_likelihood(data)
        np.testing.assert_allclose(shift, -np.log(size).sum(), atol=1e-5)


@pytest.mark.parametrize("model", ["varying", "population"])
def test_a_weight_is_a_repeated_row(model):
    data = small(n=150)
    counts = np.random.default_rng(1).integers(1, 4, 150)
    weighted, repeated = replace(data, weights=counts.astype(float)), data.take(np.repeat(np.arange(150), counts))
    one, two = (fit_graph(d, options={"model": model, "n_orders": 1}) for d in (weighted, repeated))
    np.testing.assert_allclose(one.graphs(data.contexts[:5]), two.graphs(data.contexts[:5]), rtol=1e-6, atol=1e-8)


def test_with_a_constant_context_the_varying_model_is_the_population():
    data = replace(small(), contexts=np.full((200, 1), 2.5))
    at = np.full((1, 1), 2.5)
    fits = [fit_graph(data, options={"model": model}) for model in ("varying", "population", "auto")]
    sample = np.corrcoef(data.values.T)
    np.testing.assert_allclose(fits[0].graphs(at)[0], sample, atol=0.01)  # each equation has its own divisor, n - k
    np.testing.assert_allclose(fits[1].graphs(at)[0], sample, atol=1e-12)
    assert fits[0].record.constant == ("c1",)


@pytest.mark.parametrize("method", ["correlation", "markov"])
@pytest.mark.parametrize("model", ["varying", "clusters"])
def test_state_gives_the_fit_back(method, model):
    data = small(n=100)
    options = {"model": model, "n_orders": 2, **({"sparse": True} if method == "markov" else {})}
    fit = fit_graph(data, method=method, options=options)
    state = fit.state()
    again = graph_from_state(state.kind, state.arrays, state.settings, state.record)
    at = data.contexts[:4]
    np.testing.assert_array_equal(again.graphs(at), fit.graphs(at))
    np.testing.assert_array_equal(again.log_likelihood(data), fit.log_likelihood(data))
    np.testing.assert_array_equal(again.draws(at, n_draws=5), fit.draws(at, n_draws=5))


def test_covariance_is_definite_even_far_outside():
    fit = fit_graph(small("correlation", nodes=4), options={"n_orders": 2})
    far = np.linspace(-6, 6, 25)[:, None]
    assert np.linalg.eigvalsh(fit.graphs(far)).min() > 0
    assert fit.outside(far)[[0, -1]].all()
    assert not fit.outside(far)[12]


def test_intervals_hold_the_estimate_and_widen_with_the_level():
    data = small("correlation")
    for method in ("correlation", "markov"):
        fit = fit_graph(data, method=method, options={"n_orders": 1})
        narrow, wide = (graph_intervals(fit, data.contexts[:5], level=level, n_draws=60) for level in (0.5, 0.95))
        off = ~np.eye(3, dtype=bool)
        assert (narrow.low <= narrow.estimate).all()
        assert (narrow.estimate <= narrow.high).all()
        assert (wide.low < narrow.low)[:, off].all()
        assert (np.abs(wide.high) <= 1).all()
        assert (wide.se[:, off] > 0).all()


def test_smooth_networks_beat_clusters_and_the_population():
    data, truth = simulate_graphs("markov", n=1000, n_nodes=5, seed=0)
    at = np.linspace(-0.95, 0.95, 40)[:, None]
    error = {}
    for name, options in (
        ("population", {"model": "population"}),
        ("clusters", {"model": "clusters", "n_clusters": 8}),
        ("varying", {"n_orders": 2}),
        ("sparse", {"n_orders": 2, "sparse": True}),
    ):
        fit = fit_graph(data, method="markov", options=options)
        error[name] = np.mean((fit.graphs(at) - truth.partial(at)) ** 2)
        if name == "sparse":
            missing = np.abs(truth.precision(at)).max(axis=0) < 1e-9
            assert not (missing & fit.kept).any()
            assert fit.record.measures["n_edges"] == 4
    assert error["varying"] < error["clusters"] / 2 < error["population"] / 4
    assert error["sparse"] < error["clusters"] / 8


def test_held_out_likelihood_chooses_the_population_when_nothing_varies():
    fit = fit_graph(small("constant"), options={"model": "auto", "n_clusters": 4, "n_orders": 1, "n_folds": 2})
    held = {name: value for name, value in fit.record.measures.items() if name.startswith("held_out")}
    assert max(held, key=held.get) == "held_out.population"
    assert fit.record.measures["n_clusters"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: np.column_stack([v[:, :2], v[:, 0] - 2 * v[:, 1]]), "depend on each other"),
        (lambda v: np.column_stack([v[:, :2], np.full(len(v), 3.0)]), "constant"),
    ],
)
def test_nodes_without_a_covariance_are_refused(change, said):
    data = small(n=60)
    with pytest.raises(InputError, match=said):
        fit_graph(replace(data, values=change(data.values)))


def test_bad_input_is_told_in_one_line():
    data = small(n=60)
    with pytest.raises(InputError, match="3 nodes need 5 samples; got 4"):
        fit_graph(data.take(slice(4)))
    with pytest.raises(InputError, match="a graph needs at least two nodes"):
        GraphData(contexts=data.contexts, values=data.values[:, :1], context_names=("c1",), node_names=("x0",))
    fit = fit_graph(data, options={"model": "population"})
    with pytest.raises(InputError, match="the fit has 1 contexts"):
        fit.graphs(np.zeros((2, 3)))
    with pytest.raises(InputError, match="nodes must be those of the fit"):
        fit.log_likelihood(replace(data, node_names=("a", "b", "c")))
    with pytest.raises(InputError, match="too few for clusters"):
        fit_graph(data.take(slice(6)), options={"model": "clusters"})
    with pytest.raises(InputError, match="n_folds must be at least 2"):
        fit_graph(data, options={"n_folds": 1})


@pytest.mark.slow
def test_intervals_cover_the_truth():
    hit = []
    for seed in range(20):
        data, truth = simulate_graphs(("correlation", "markov")[seed % 2], n=1000, n_nodes=4, seed=seed)
        at = np.linspace(-0.9, 0.9, 15)[:, None]
        for method, true in (("correlation", truth.correlation(at)), ("markov", truth.partial(at))):
            made = graph_intervals(fit_graph(data, method=method), at, n_draws=200)
            hit.append(((made.low <= true) & (true <= made.high))[:, ~np.eye(4, dtype=bool)].mean())
    assert 0.91 < np.mean(hit) < 0.985
