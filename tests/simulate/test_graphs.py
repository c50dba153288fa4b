"""Simulated graphs: samples have the covariance that the truth says."""

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.simulate.graphs import DESIGNS, simulate_graphs


@pytest.mark.parametrize("design", DESIGNS)
def test_samples_have_the_covariance_of_the_truth(design):
    data, truth = simulate_graphs(design, n=20_000, n_nodes=4, seed=3)
    covariance = truth.covariance(data.contexts)
    assert np.linalg.eigvalsh(covariance).min() > 0
    white = np.linalg.solve(np.linalg.cholesky(covariance), data.values[:, :, None])[:, :, 0]
    if design in ("constant", "demo_dag"):
        np.testing.assert_allclose(white.T @ white / len(white), np.eye(4), atol=0.05)
    near = np.abs(data.contexts - data.contexts[0]).max(axis=1) < 0.1
    spread = np.sqrt(np.diagonal(covariance[near], axis1=1, axis2=2))
    np.testing.assert_allclose(data.values[near].std(axis=0), spread.mean(axis=0), rtol=0.35)
    np.testing.assert_allclose(
        truth.precision(data.contexts[:3]) @ covariance[:3], np.tile(np.eye(4), (3, 1, 1)), atol=1e-8
    )


def test_a_tree_has_an_edge_less_than_nodes():
    data, truth = simulate_graphs("markov", n=50, n_nodes=7, seed=1)
    strength = np.abs(truth.precision(data.contexts)).max(axis=0)
    assert (strength[np.triu_indices(7, 1)] > 1e-9).sum() == 6
    assert (np.diagonal(truth.partial(data.contexts), axis1=1, axis2=2) == 1).all()


def test_the_demonstration_by_hand():
    data, truth = simulate_graphs("demo_dag", n=5)
    np.testing.assert_array_equal(data.contexts[:, 0], [1, 1.25, 1.5, 1.75, 2])
    w = truth.weights(np.array([[1.5]]))[0]
    np.testing.assert_allclose([w[0, 1], w[2, 1], w[3, 1], w[3, 2]], [-0.5, 2.25, 3.375, 1.5])
    assert (w != 0).sum() == 4
    assert truth.covariance(np.array([[1.5]]))[0, 2, 2] == pytest.approx(1 + 1.5**2)
    assert truth.covariance(np.array([[2.0]]))[0, 1, 3] == pytest.approx(8 + 2 * 4)


def test_bad_designs_are_refused():
    with pytest.raises(InputError, match="demo_dag has 4 nodes"):
        simulate_graphs("demo_dag", n_nodes=7)
    with pytest.raises(InputError, match="n_nodes must be at least 2"):
        simulate_graphs("weak", n_nodes=1)
