"""Losses of cycles: by hand on cycles and graphs without, gradients by finite differences, the domain of DAGMA."""

import numpy as np
import pytest

from deepmr.contextual.graphs.acyclicity import LOSSES, dagma, measure_cycles
from deepmr.errors import InputError


def cycle(length, d, weight=0.5):
    made = np.zeros((1, d, d))
    made[0, np.arange(length), (np.arange(length) + 1) % length] = weight
    return made


def random_dags(n, d, seed):
    rng = np.random.default_rng(seed)
    made = np.triu(rng.standard_normal((n, d, d)), k=1)
    for k in range(n):
        order = rng.permutation(d)
        made[k] = made[k][np.ix_(order, order)]
    return made


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize(("length", "d"), [(2, 2), (3, 3), (2, 4), (3, 4), (4, 4), (6, 6)])
def test_cycles_have_a_positive_loss_and_a_gradient_that_opens_them(kind, length, d):
    graph = cycle(length, d)
    found = LOSSES[kind](graph)
    assert found.value[0] > 0
    np.testing.assert_array_equal(found.gradient != 0, graph != 0)
    assert LOSSES[kind](graph - 0.2 * np.sign(found.gradient)).value[0] < found.value[0]


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("d", [1, 2, 5, 8])
def test_graphs_without_a_cycle_have_none(kind, d):
    found = LOSSES[kind](random_dags(20, d, seed=d))
    np.testing.assert_allclose(found.value, 0, atol=1e-7)
    np.testing.assert_allclose(found.gradient, 0, atol=1e-12)


@pytest.mark.parametrize("kind", LOSSES)
def test_gradient_is_that_of_finite_differences(kind):
    graphs = 0.4 * np.random.default_rng(0).standard_normal((3, 4, 4))
    found, step = LOSSES[kind](graphs), 1e-6
    for i in range(4):
        for j in range(4):
            move = np.zeros((4, 4))
            move[i, j] = step
            numeric = (LOSSES[kind](graphs + move).value - LOSSES[kind](graphs - move).value) / (2 * step)
            np.testing.assert_allclose(found.gradient[:, i, j], numeric, rtol=1e-6, atol=1e-8)


def test_values_by_hand():
    """Two nodes with squared weights a each way: tr exp = 2 cosh a, tr (I + A/2)^2 = 2 + a^2/2, det = s^2 - a^2."""
    a = 0.25
    graph = cycle(2, 2, weight=a**0.5)
    assert LOSSES["exponential"](graph).value[0] == pytest.approx(2 * np.cosh(a) - 2)
    assert LOSSES["polynomial"](graph).value[0] == pytest.approx(a**2 / 2)
    assert dagma(graph, bound=2.0).value[0] == pytest.approx(-np.log(4 - a**2) + 2 * np.log(2))


def test_dagma_is_infinite_where_the_matrix_is_no_m_matrix():
    inside, outside, far = cycle(2, 4, weight=0.99), cycle(2, 4, weight=1.01), cycle(2, 4, weight=3.0)
    two = np.zeros((1, 4, 4))  # two cycles beyond the bound: the determinant is positive again
    two[0, [0, 1, 2, 3], [1, 0, 3, 2]] = 1.5
    found = dagma(np.concatenate([inside, outside, far, two]))
    np.testing.assert_array_equal(np.isfinite(found.value), [True, False, False, False])
    assert not found.gradient[1:].any()
    assert np.isfinite(dagma(two, bound=2.5).value[0])
    assert dagma(100 * random_dags(1, 4, seed=1)).value[0] == pytest.approx(0, abs=1e-9)
    with pytest.raises(InputError, match="bound must be positive; got 0"):
        dagma(inside, bound=0.0)


def test_a_loss_by_its_name():
    assert measure_cycles(cycle(2, 2), "dagma", bound=3.0).value[0] == dagma(cycle(2, 2), bound=3.0).value[0]
    assert measure_cycles(cycle(2, 2), "polynomial").value[0] == LOSSES["polynomial"](cycle(2, 2)).value[0]
