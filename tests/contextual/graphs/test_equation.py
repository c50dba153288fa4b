"""One node given others: its posterior against the equations it solves, its limit, its recovery of a changing noise."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from deepmr.contextual.graphs.equation import fit_equation
from deepmr.contextual.graphs.moments import Moments, correlations, log_density, partial_correlations
from deepmr.contextual.graphs.smooth_basis import choose_places, make_basis


def rows(n=300, seed=0):
    rng = np.random.default_rng(seed)
    z, parent = rng.uniform(-1.7, 1.7, (n, 1)), rng.standard_normal(n)
    y = np.sin(z[:, 0]) * parent + np.exp(0.4 * z[:, 0]) * rng.standard_normal(n)
    return z, np.column_stack([np.ones(n), parent]), y


def test_coefficients_solve_their_normal_equations():
    z, x, y = rows()
    basis = make_basis(choose_places(z, seed=0), np.ones(1))
    functions = basis(z)
    made = fit_equation(y, x, functions, np.ones(300), parents=np.array([0]), linear=1)
    flat = (x[:, :, None] * functions[:, None]).reshape(300, -1)
    covariance = made.root @ made.root.T
    weights = np.exp(-(functions @ made.log_variance))
    information = (flat.T * weights) @ flat
    prior = np.linalg.inv(covariance) - information  # diagonal, 0 for constants, up to the last step of the loop
    assert np.abs(prior - np.diag(np.diag(prior))).max() < 0.02 * np.abs(information).max()
    left = flat.T @ (weights * (y - flat @ made.mean.ravel())) - np.diag(np.diag(prior)) @ made.mean.ravel()
    assert np.abs(left).max() < 0.02 * np.abs(flat.T @ (weights * y)).max()


def test_without_context_it_is_least_squares():
    _, x, y = rows()
    made = fit_equation(y, x, np.ones((300, 1)), np.ones(300), parents=np.array([0]), linear=0)
    coefficient, (rss,), *_ = np.linalg.lstsq(x, y, rcond=None)
    np.testing.assert_allclose(made.mean[:, 0], coefficient, rtol=1e-10)
    assert np.exp(made.log_variance[0]) == pytest.approx(rss / 298, rel=1e-5)
    np.testing.assert_allclose(made.root @ made.root.T, rss / 298 * np.linalg.inv(x.T @ x), rtol=1e-5, atol=1e-9)


def test_slope_and_noise_are_recovered():
    z, x, y = rows(2000)
    basis = make_basis(choose_places(z, seed=0), np.ones(1))
    made = fit_equation(y, x, basis(z), np.ones(2000), parents=np.array([0]), linear=1)
    at = np.linspace(-1.5, 1.5, 20)[:, None]
    np.testing.assert_allclose(basis(at) @ made.mean[1], np.sin(at[:, 0]), atol=0.15)
    np.testing.assert_allclose(basis(at) @ made.log_variance, 0.8 * at[:, 0], atol=0.25)


def test_functions_have_the_covariance_of_the_process():
    places = np.linspace(-1.7, 1.7, 40)[:, None]
    made = make_basis(places, np.ones(1))(places)[:, 2:]
    apart = np.sqrt(5) * np.abs(places - places.T)
    np.testing.assert_allclose(made @ made.T, (1 + apart + apart**2 / 3) * np.exp(-apart), atol=2e-3)


def test_partial_correlation_of_three_nodes_by_hand():
    r = np.array([[1, 0.5, 0.4], [0.5, 1, 0.3], [0.4, 0.3, 1]])
    size = np.diag([1.0, 2.0, 3.0])
    partial = partial_correlations(np.linalg.inv(size @ r @ size))
    by_hand = (0.5 - 0.4 * 0.3) / np.sqrt((1 - 0.4**2) * (1 - 0.3**2))
    assert partial[0, 1] == pytest.approx(by_hand)
    assert (np.diag(partial) == 1).all()
    np.testing.assert_allclose(correlations(size @ r @ size), r)


def test_density_is_the_normal_one():
    covariance = np.array([[2.0, 0.5], [0.5, 1.0]])
    values = np.array([[0.3, -1.0], [2.0, 0.0]])
    moments = Moments(mean=np.array([[0.1, 0.2], [0.0, 0.0]]), covariance=np.tile(covariance, (2, 1, 1)))
    known = [multivariate_normal.logpdf(v, m, covariance) for v, m in zip(values, moments.mean, strict=True)]
    np.testing.assert_allclose(log_density(values, moments), known)
