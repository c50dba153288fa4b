"""Projection to graphs without a cycle, against its definition step by step."""

import numpy as np
import pytest

from deepmr.contextual.graphs.dag import acyclic, project, structural_distance, topological_order
from deepmr.errors import InputError


def slow_acyclic(graph):
    reach = (graph != 0).astype(int)
    power = np.eye(len(graph), dtype=int)
    for _ in graph:
        power = np.minimum(power @ reach, 1)
        if np.trace(power):
            return False
    return True


def slow_project(weights):
    """Weaker edge of each pair, smallest threshold, edges back by strength."""
    graph = weights.copy()
    np.fill_diagonal(graph, 0)
    for i in range(len(graph)):
        for j in range(i):
            weaker = (i, j) if abs(graph[i, j]) <= abs(graph[j, i]) else (j, i)
            graph[weaker] = 0
    for threshold in np.concatenate([[0.0], np.sort(np.abs(graph).ravel())]):
        kept = np.where(np.abs(graph) > threshold, graph, 0)
        if slow_acyclic(kept):
            break
    for flat in np.argsort(-np.abs(graph).ravel(), kind="stable"):
        more = kept.copy()
        more.flat[flat] = graph.flat[flat]
        if slow_acyclic(more):
            kept = more
    return kept


@pytest.mark.parametrize("d", [2, 3, 4, 6])
@pytest.mark.parametrize("density", [0.3, 1.0])
def test_many_at_once_are_one_at_a_time_by_the_definition(d, density):
    rng = np.random.default_rng(d)
    weights = rng.standard_normal((30, d, d)) * (rng.random((30, d, d)) < density)
    found = project(weights)
    for k in range(30):
        np.testing.assert_array_equal(found.graphs[k], slow_project(weights[k]))
    assert acyclic(found.graphs).all()
    np.testing.assert_array_equal(found.n_dropped, (found.graphs != weights).sum(axis=(1, 2)))
    np.testing.assert_array_equal(acyclic(weights), [slow_acyclic(one) for one in weights])


def test_graphs_without_a_cycle_stay_as_they_are():
    rng = np.random.default_rng(1)
    weights = np.triu(rng.standard_normal((20, 5, 5)), k=1)
    for k in range(20):
        order = rng.permutation(5)
        weights[k] = weights[k][np.ix_(order, order)]
    found = project(weights)
    np.testing.assert_array_equal(found.graphs, weights)
    assert not found.n_dropped.any()
    assert not found.threshold.any()


def test_a_cycle_loses_its_weakest_edge_and_no_other():
    graph = np.zeros((1, 4, 4))
    graph[0, [0, 1, 2, 3], [1, 2, 0, 0]] = [2.0, -1.5, 0.5, 0.1]
    found = project(graph)
    assert found.graphs[0, 2, 0] == 0
    assert (found.n_dropped[0], found.threshold[0]) == (1, 0.5)
    assert found.graphs[0, 3, 0] == 0.1


def test_order():
    graph = np.zeros((4, 4))
    graph[[2, 0, 3], [0, 1, 2]] = 1.0
    np.testing.assert_array_equal(topological_order(graph), [3, 2, 0, 1])
    np.testing.assert_array_equal(topological_order(np.zeros((3, 3))), [0, 1, 2])
    graph[1, 0] = 1.0
    with pytest.raises(InputError, match="2 nodes here lie on or after a cycle"):
        topological_order(graph)


def test_distance_counts_a_reversed_edge_once():
    truth, found = np.zeros((1, 3, 3)), np.zeros((1, 3, 3))
    truth[0, 0, 1] = truth[0, 1, 2] = 1.0
    found[0, 1, 0] = found[0, 0, 2] = 1.0
    assert structural_distance(found, truth)[0] == 3
    assert structural_distance(truth, truth)[0] == 0
