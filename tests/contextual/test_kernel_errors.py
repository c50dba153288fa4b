"""Known covariance of errors, and errors of contexts, in the Gaussian-process likelihood."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from deepmr.contextual.kernel_model import KernelModel, factor
from deepmr.contextual.kernel_posterior import posterior
from deepmr.contextual.kernel_rows import mirror, row_covariance
from deepmr.contextual.kernel_shapes import kernels


def rows(n=20, seed=0, **given):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, 2))
    y = np.sin(z[:, 0]) + 0.3 * rng.standard_normal(n)
    made = {"z": z, "x": np.ones((n, 1)), "y": y, "noise": rng.uniform(0.01, 0.1, n), "counts": np.ones(n)}
    return KernelModel(**{**made, "scatter": (0,), "residual": False, **given})


def test_factors_are_a_covariance_that_is_added():
    """Against the density of the normal distribution of n - 1 contrasts."""
    model = rows(shape="constant", weak=False, factors=np.random.default_rng(1).normal(size=(3, 20)))
    theta = np.array([np.log(0.2)])
    v = np.diag(model.noise + 0.2) + model.factors.T @ model.factors
    contrast = np.linalg.qr(np.column_stack([np.ones(20), np.eye(20)[:, 1:]]))[0][:, 1:]
    density = stats.multivariate_normal(cov=contrast.T @ v @ contrast).logpdf(contrast.T @ model.y)
    at = factor(model, theta)
    assert at.value == pytest.approx(density, abs=1e-9)
    w = np.linalg.inv(v).sum(axis=1)
    assert posterior(model, at, model.z[:1]).mean[0, 0] == pytest.approx(w @ model.y / w.sum(), abs=1e-12)


@pytest.mark.parametrize("shape", ["linear", "smooth"])
def test_gradient_with_factors_and_errors_of_contexts(shape):
    rng = np.random.default_rng(1)
    model = rows(shape=shape, factors=rng.normal(size=(2, 20)), z_variance=rng.uniform(0, 0.5, (20, 2)))
    theta = rng.normal(-0.3, 0.3, model.layout.size)
    step = 1e-5 * np.eye(len(theta))
    numeric = [(factor(model, theta + s).value - factor(model, theta - s).value) / 2e-5 for s in step]
    np.testing.assert_allclose(factor(model, theta).gradient, numeric, rtol=1e-6, atol=1e-6)


def test_kernels_of_rows_are_means_over_the_errors_of_contexts():
    rng = np.random.default_rng(2)
    z, variance, lengths = rng.standard_normal((4, 2)), rng.uniform(0, 0.5, (4, 2)), np.array([0.8, 1.5])
    drawn = z + np.sqrt(variance) * rng.standard_normal((4000, 4, 2))
    y = np.zeros(4)
    model = KernelModel(z=z, x=np.ones((4, 1)), y=y, noise=y, counts=y + 1, residual=False, z_variance=variance)
    exact = replace(model, z_variance=np.zeros((4, 2)))
    for linear, smooth in ((1.0, 0.0), (0.0, 1.0)):
        theta = np.concatenate([np.log(lengths), np.log([linear + 1e-99, smooth + 1e-99])])
        each = [kernels("smooth", lengths, d, d)[0 if linear else 1] for d in drawn]
        np.testing.assert_allclose(mirror(row_covariance(model, theta)), np.mean(each, axis=0), atol=0.05)
        known = kernels("smooth", lengths, z, z)[0 if linear else 1]
        np.testing.assert_allclose(mirror(row_covariance(exact, theta)), known, atol=1e-12)
