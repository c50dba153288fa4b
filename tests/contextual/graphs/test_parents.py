"""One node's regression: against its definition in the normal distribution, least squares and BIC."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from deepmr.contextual.graphs.functions import choose_functions
from deepmr.contextual.graphs.parents import choose_parents, fit_node
from deepmr.contextual.graphs.products import make_products
from deepmr.errors import InputError


def nodes(n=60, seed=0, counts=None):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, 1))
    a, b = rng.standard_normal((2, n))
    y = (1 + z[:, 0]) * a + 0.5 * rng.standard_normal(n)
    values = np.column_stack([a, b, y])
    counts = np.ones(n) if counts is None else counts
    functions = choose_functions(z, counts, kind="polynomial", degree=2)
    return values, functions(z), functions.parts, counts


def test_evidence_and_bayes_factors_are_those_of_a_normal_distribution():
    values, f, parts, counts = nodes()
    fit = fit_node(make_products(values, f, counts), 2, [0, 1], parts)
    x = np.column_stack([np.ones(60), values[:, :2]])
    columns = (x[:, :, None] * f[:, None, :]).reshape(60, -1)
    # Prior variances, in units of the error variance, from the posterior: gram + 1 / tau2 is the inverse covariance
    precision = np.linalg.inv(fit.covariance / fit.variance) - columns.T @ columns
    tau2 = 1 / np.diag(precision)
    np.testing.assert_allclose(precision, np.diag(1 / tau2), atol=1e-5 * precision.max())
    np.testing.assert_allclose(tau2[[0, 3, 6]], 60 / (columns**2).sum(axis=0)[[0, 3, 6]], rtol=1e-5)
    shape = np.eye(60) + columns * tau2 @ columns.T
    y = values[:, 2]
    variance = y @ np.linalg.solve(shape, y) / 60
    assert fit.evidence == pytest.approx(multivariate_normal.logpdf(y, np.zeros(60), variance * shape), abs=1e-6)
    np.testing.assert_allclose(fit.mean.ravel(), tau2 * (columns.T @ np.linalg.solve(shape, y)), rtol=1e-6, atol=1e-9)
    hat = columns @ np.linalg.solve(columns.T @ columns + np.diag(1 / tau2), columns.T)
    assert fit.edf == pytest.approx(np.trace(hat), rel=1e-6)
    assert fit.variance == pytest.approx(((y - hat @ y) ** 2).sum() / (60 - fit.edf), rel=1e-6)
    for k, own in enumerate((slice(3, 6), slice(6, 9))):
        without = columns.copy()
        without[:, own] = 0
        less = np.eye(60) + without * tau2 @ without.T
        factor = multivariate_normal.logpdf(y, np.zeros(60), fit.variance * shape) - multivariate_normal.logpdf(
            y, np.zeros(60), fit.variance * less
        )
        assert fit.support[k] == pytest.approx(factor, abs=1e-5)
    assert fit.support[0] > 20 > 0 > fit.support[1]
    assert fit.varying[0] > 10


def test_constant_weights_are_least_squares_and_their_support_that_of_bic():
    values, f, parts, counts = nodes(n=400)
    fit = fit_node(make_products(values, f[:, :1], counts), 2, [0, 1], parts[:1])
    x = np.column_stack([np.ones(400), values[:, :2]])
    beta, rss, *_ = np.linalg.lstsq(x, values[:, 2], rcond=None)
    np.testing.assert_allclose(fit.mean[:, 0], beta, rtol=0.01, atol=0.002)
    without = np.linalg.lstsq(x[:, :2], values[:, 2], rcond=None)[1][0]
    bic = 0.5 * (400 * np.log(without / rss[0]) - np.log(400))
    assert fit.support[1] == pytest.approx(bic, abs=0.5)
    np.testing.assert_array_equal(fit.varying, 0)


def test_a_weight_is_a_repeated_row():
    counts = np.random.default_rng(1).integers(1, 4, 60).astype(float)
    values, f, parts, _ = nodes(counts=counts)
    often = np.repeat(np.arange(60), counts.astype(int))
    one = fit_node(make_products(values, f, counts), 2, [0], parts)
    two = fit_node(make_products(values[often], f[often], np.ones(len(often))), 2, [0], parts)
    np.testing.assert_allclose(one.mean, two.mean, rtol=1e-6)
    np.testing.assert_allclose(one.covariance, two.covariance, rtol=1e-5, atol=1e-10)


def test_parents_without_support_are_left_out_and_a_node_may_have_none():
    values, f, parts, counts = nodes(n=200)
    products = make_products(values, f, counts)
    np.testing.assert_array_equal(choose_parents(products, 2, [0, 1], parts, least_support=0.0).parents, [0])
    alone = choose_parents(products, 1, [0], parts, least_support=0.0)
    assert len(alone.parents) == len(alone.support) == 0
    assert alone.variance == pytest.approx(values[:, 1].var(), rel=0.05)


def test_a_node_that_does_not_vary_is_refused():
    values, f, _, counts = nodes()
    values[:, 1] = 3.0
    with pytest.raises(InputError, match=r"nodes must vary; node 1 \(from 0\) is the same in all 60 samples"):
        make_products(values, f, counts)
