import numpy as np
import pytest

from deepmr.nonlinear.basis import CovariateBasis, Terms, fit_splines, pack_terms, unpack_terms


def normal(n=2000, seed=0):
    return np.random.default_rng(seed).standard_normal(n)


@pytest.mark.parametrize("order", [2, 3])
def test_functions_are_orthonormal_over_the_sample_and_begin_with_powers(order):
    x = normal()
    basis = fit_splines(x, n_functions=12, order=order)
    design = basis(x)
    assert design.shape == (2000, 12)
    np.testing.assert_allclose(design.T @ design / 2000, np.eye(12), atol=1e-6)
    np.testing.assert_allclose(design[:, 0], 1, atol=1e-9)
    assert np.abs(np.corrcoef(design[:, 1], x)[0, 1]) > 0.9999  # straight, beyond the outermost knots too
    assert (basis.roughness[:order] == 0).all()
    assert (np.diff(basis.roughness[order:]) > 0).all()


def test_weights_count_like_repeated_samples():
    x = normal(300)
    weights = np.random.default_rng(1).integers(1, 4, 300)
    basis = fit_splines(x, n_functions=3, weights=weights.astype(float))
    design = basis(np.repeat(x, weights))
    np.testing.assert_allclose(design.T @ design / weights.sum(), np.eye(3), atol=1e-9)


def test_functions_go_on_as_straight_lines():
    basis = fit_splines(normal(), n_functions=10)
    far = basis(np.array([10.0, 11.0, 12.0, -10.0, -11.0, -12.0]))
    np.testing.assert_allclose(far[0] - 2 * far[1] + far[2], 0, atol=1e-8)
    np.testing.assert_allclose(far[3] - 2 * far[4] + far[5], 0, atol=1e-8)


@pytest.mark.parametrize("n_values", [2, 3, 4])
def test_few_values_have_as_many_functions(n_values):
    x = np.random.default_rng(0).integers(0, n_values, 500).astype(float)
    basis = fit_splines(x, n_functions=20)
    assert basis.size == n_values
    assert np.linalg.matrix_rank(basis(x)) == n_values


def test_terms_are_products_and_average_over_covariates_exactly():
    x, c = normal(500), normal(500, seed=1)[:, None]
    covariates = CovariateBasis(splines=(fit_splines(c[:, 0], n_functions=4, order=2),), products=np.empty((0, 2), int))
    pairs = np.array([[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [1, 3]])
    terms = Terms(exposure=fit_splines(x, n_functions=6), covariates=covariates, pairs=pairs)
    by_hand = terms.exposure(x)[:, 1] * covariates(c)[:, 3]
    np.testing.assert_allclose(terms(x, c)[:, 5], by_hand)
    grid = np.array([-1.0, 0.5])
    mean = covariates(c).mean(axis=0)
    slow = [terms(np.full(500, at), c).mean(axis=0) for at in grid]
    np.testing.assert_allclose(terms.average(grid, mean), slow, atol=1e-12)


def test_products_of_covariates():
    c = np.c_[normal(400), normal(400, seed=1)]
    splines = tuple(fit_splines(column, n_functions=2, order=2) for column in c.T)
    basis = CovariateBasis(splines=splines, products=np.array([[1, 2]]))
    assert basis.size == 4
    design = basis(c)
    np.testing.assert_allclose(design[:, 3], design[:, 1] * design[:, 2])


def test_packed_terms_are_the_same():
    x, c = normal(300), np.c_[normal(300, 1), normal(300, 2)]
    splines = tuple(fit_splines(column, n_functions=5, order=2) for column in c.T)
    covariates = CovariateBasis(splines=splines, products=np.array([[1, 5], [2, 5]]))
    terms = Terms(exposure=fit_splines(x), covariates=covariates, pairs=np.array([[0, 0], [3, 2], [1, 9]]))
    np.testing.assert_array_equal(unpack_terms(pack_terms(terms))(x, c), terms(x, c))
