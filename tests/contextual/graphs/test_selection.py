"""Which edges there are: tests against statsmodels, their size; covariance selection by hand, by definition."""

import numpy as np
import pytest
import statsmodels.api as sm

from deepmr.contexts import GraphData
from deepmr.contextual.graphs.selection import constrained_covariance, edge_tests, select_edges


def independent(n=200, nodes=3, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, 1))
    values = rng.standard_normal((n, nodes)) * np.exp(0.5 * z)
    names = tuple("abcdefgh"[:nodes])
    return GraphData(contexts=z, values=values, context_names=("c",), node_names=names), z


def test_edge_tests_are_those_of_statsmodels():
    data, z = independent()
    values = (data.values - data.values.mean(axis=0)) / data.values.std(axis=0)
    terms = np.column_stack([np.ones(200), z[:, 0], z[:, 0] ** 2 - (z[:, 0] ** 2).mean()])

    def known(node, other, third, rows):
        design = np.hstack([terms, values[:, [other]] * terms, values[:, [third]] * terms])
        fit = sm.OLS(values[:, node], design).fit(cov_type="HC3", use_t=True)
        return float(fit.f_test(np.eye(9)[rows]).pvalue)

    made = edge_tests(data, z)
    assert made.present[0, 1] == pytest.approx(max(known(0, 1, 2, [3, 4, 5]), known(1, 0, 2, [3, 4, 5])), rel=1e-6)
    assert made.varies[0, 1] == pytest.approx(max(known(0, 1, 2, [4, 5]), known(1, 0, 2, [4, 5])), rel=1e-6)
    np.testing.assert_array_equal(made.present, made.present.T)


def test_few_samples_have_fewer_terms():
    data, z = independent(n=20)
    assert (edge_tests(data, z).varies == 1).all()


def test_selection_is_benjamini_and_hochberg():
    p = np.ones((3, 3))
    p[0, 1] = p[1, 0] = 0.03
    p[0, 2] = p[2, 0] = 0.02
    p[1, 2] = p[2, 1] = 0.9
    kept = select_edges(p, fdr=0.05)
    assert kept[0, 1]
    assert kept[0, 2]
    assert not kept[1, 2]
    assert not select_edges(p, fdr=0.04).any()


def test_a_chain_of_three_by_hand():
    r = np.array([[1, 0.5, 0.4], [0.5, 1, 0.3], [0.4, 0.3, 1]])
    edges = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=bool)
    made = constrained_covariance(r[None], edges)[0]
    np.testing.assert_allclose(made, [[1, 0.5, 0.15], [0.5, 1, 0.3], [0.15, 0.3, 1]], atol=1e-8)


def test_selection_keeps_edges_and_empties_the_rest_of_the_inverse():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((6, 5, 5)) * np.array([1.0, 10, 0.1, 1, 100])[:, None]
    covariance = root @ np.swapaxes(root, 1, 2) + np.diag([1.0, 100, 0.01, 1, 1e4])
    edges = np.zeros((5, 5), dtype=bool)
    for i, j in ((0, 1), (1, 2), (2, 3), (3, 0), (3, 4)):  # a cycle of four: no closed form
        edges[i, j] = edges[j, i] = True
    made = constrained_covariance(covariance, edges)
    same = edges | np.eye(5, dtype=bool)
    np.testing.assert_allclose(made[:, same], covariance[:, same], rtol=1e-5)
    size = np.sqrt(np.diagonal(made, axis1=1, axis2=2))
    inverse = np.linalg.inv(made / (size[:, :, None] * size[:, None, :]))
    assert np.abs(inverse[:, ~same]).max() < 1e-5
    empty = constrained_covariance(covariance, np.zeros((5, 5), dtype=bool))
    np.testing.assert_allclose(empty, covariance * np.eye(5))


@pytest.mark.slow
def test_edge_tests_have_their_size():
    rejected = np.mean(
        [
            (edge_tests(*independent(n=500, nodes=4, seed=seed)).present[np.triu_indices(4, 1)] < 0.05).mean()
            for seed in range(400)
        ]
    )
    assert 0.01 < rejected < 0.06  # the larger of two p-values: at most 5 %
