"""Nodes of mixtures: moments by hand, then dense integration."""

import numpy as np
import pytest
from scipy import stats

from deepmr.errors import InputError
from deepmr.nonlinear.quadrature import mixture_nodes


def one(shares, means, sds, n_nodes):
    rows = (np.array([row], dtype=float) for row in (shares, means, sds))
    return mixture_nodes(*rows, n_nodes=n_nodes)


def test_nodes_of_one_normal_are_those_of_gauss_and_hermite():
    nodes = one([1], [2], [3], 3)
    assert nodes.values[0] == pytest.approx([2 - 3 * np.sqrt(3), 2, 2 + 3 * np.sqrt(3)])
    assert nodes.weights[0] == pytest.approx([1 / 6, 2 / 3, 1 / 6])


def test_two_points_far_apart_are_found_again():
    nodes = one([0.3, 0.7], [-5, 5], [1e-6, 1e-6], 2)
    assert nodes.values[0] == pytest.approx([-5, 5])
    assert nodes.weights[0] == pytest.approx([0.3, 0.7])


def test_no_spread_and_more_nodes_than_values_give_no_nonsense():
    nodes = one([0.5, 0.5], [1, 1], [0, 0], 5)
    assert (nodes.weights * nodes.values).sum() == pytest.approx(1)
    nodes = one([0.5, 0.5], [-1, 1], [0, 0], 5)
    assert nodes.weights.sum() == pytest.approx(1)
    assert (nodes.weights * nodes.values**2).sum() == pytest.approx(1)
    assert np.isfinite(nodes.values).all()


@pytest.mark.parametrize("n_nodes", [1, 2, 5])
def test_moments_are_exact_up_to_twice_the_nodes(n_nodes):
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(3), 20)
    means, sds = rng.normal(size=(20, 3)), rng.uniform(0.2, 1.5, (20, 3))
    nodes = mixture_nodes(shares, means, sds, n_nodes=n_nodes)
    for power in range(2 * n_nodes):
        moments = np.array(
            [
                [stats.norm(m, s).moment(power) for m, s in zip(*row, strict=True)]
                for row in zip(means, sds, strict=True)
            ]
        )
        assert (nodes.weights * nodes.values**power).sum(axis=1) == pytest.approx((shares * moments).sum(axis=1))


def test_expectation_of_a_wave_is_that_of_dense_integration():
    shares, means, sds = np.array([0.2, 0.5, 0.3]), np.array([-1.0, 0.2, 1.0]), np.array([0.3, 0.2, 0.5])
    grid = np.linspace(-6, 6, 20_001)
    density = (shares * stats.norm(means, sds).pdf(grid[:, None])).sum(axis=1)
    dense = np.trapezoid(density * np.sin(2 * grid), grid)
    nodes = one(shares, means, sds, 8)
    assert (nodes.weights * np.sin(2 * nodes.values)).sum() == pytest.approx(dense, abs=1e-4)


def test_nodes_need_to_be_one_at_least():
    with pytest.raises(InputError, match="n_nodes must be at least 1"):
        one([1], [0], [1], 0)
