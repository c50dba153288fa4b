"""Orders: dynamic programming against every permutation, and which data know a direction."""

from itertools import permutations

import numpy as np
import pytest

from deepmr.contextual.graphs.functions import choose_functions
from deepmr.contextual.graphs.order_search import exact_order, greedy_order, known_order, residual_sums
from deepmr.contextual.graphs.products import make_products

SIZES = np.array([1.0, 2.0, 0.5, 1.5])


def searched(d=4, n=150, seed=0, degree=2):
    rng = np.random.default_rng(seed)
    z = rng.uniform(-1.5, 1.5, (n, 1))
    order = rng.permutation(d)
    values = rng.standard_normal((n, d))
    for k, node in enumerate(order):
        for before in order[:k]:
            values[:, node] += (1 + rng.uniform(-1, 1) * z[:, 0]) * values[:, before]
    functions = choose_functions(z, np.ones(n), kind="polynomial" if degree else "constant", degree=degree)
    scaled = (values - values.mean(axis=0)) / values.std(axis=0)
    return make_products(scaled, functions(z), np.ones(n)), functions.parts, order, values.std(axis=0)


def test_residual_sums_are_those_of_least_squares():
    products, parts, _, _ = searched(degree=0)
    mean = products.gram / 150
    found = residual_sums(products, parts, SIZES)((0, 2))
    own = np.ix_([1, 3], [1, 3])
    for j in (1, 3):
        cross = mean[[1, 3], j + 1]
        expected = 150 * (mean[j + 1, j + 1] - cross @ np.linalg.solve(mean[own], cross)) * SIZES[j] ** 2
        assert found[j] == pytest.approx(expected, rel=1e-6)
    np.testing.assert_array_equal(found[[0, 2]], 0)


@pytest.mark.parametrize("errors", ["equal", "own"])
@pytest.mark.parametrize("seed", [0, 1])
def test_exact_is_the_best_of_every_order(errors, seed):
    products, parts, _, _ = searched(seed=seed)
    residuals = residual_sums(products, parts, SIZES)
    tried = {}
    for order in permutations(range(4)):
        sums = [residuals(tuple(sorted(order[:k])))[node] for k, node in enumerate(order)]
        tried[order] = -75 * 4 * np.log(sum(sums) / 4) if errors == "equal" else -75 * np.log(sums).sum()
    best = max(tried, key=tried.get)
    found = exact_order(residuals, 4, 150.0, errors)
    np.testing.assert_array_equal(found.order, best)
    assert found.log_likelihood == pytest.approx(tried[best])
    for i in range(4):
        for j in range(4):
            if i != j:
                other = max(v for order, v in tried.items() if order.index(j) < order.index(i))
                assert found.preference[i, j] == pytest.approx(tried[best] - other, abs=1e-7)


@pytest.mark.parametrize("errors", ["equal", "own"])
def test_greedy_finds_the_same_order_and_the_true_one(errors):
    products, parts, order, sizes = searched(d=6, n=600, seed=3)
    residuals = residual_sums(products, parts, sizes)
    exact, greedy = (search(residuals, 6, 600.0, errors) for search in (exact_order, greedy_order))
    np.testing.assert_array_equal(exact.order, greedy.order)
    np.testing.assert_array_equal(exact.order, order)
    assert greedy.log_likelihood == pytest.approx(exact.log_likelihood)
    assert np.isnan(greedy.preference).all()
    known = known_order(residuals, exact.order, 600.0, errors)
    assert known.log_likelihood == pytest.approx(exact.log_likelihood)


def test_constant_weights_with_error_variances_of_their_own_tell_no_direction():
    """Products of conditional variances are the determinant of the covariance, in whatever order."""
    products, parts, _, sizes = searched(degree=0)
    found = exact_order(residual_sums(products, parts, sizes), 4, 150.0, "own")
    np.testing.assert_allclose(found.preference, 0, atol=1e-5)
    _, logarithm = np.linalg.slogdet(products.gram[1:, 1:])
    assert found.log_likelihood == pytest.approx(-75 * (logarithm + np.log(sizes**2).sum()), abs=1e-4)
