"""Laplace's approximation of binary outcomes: against its definition, differences and scikit-learn."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from deepmr.contexts import ContextData
from deepmr.contextual import fit_context, fit_from_state, predict
from deepmr.contextual.kernel_model import KernelModel, factor
from deepmr.contextual.kernel_posterior import posterior
from deepmr.errors import InputError


def rows(n=40, seed=0, **given):
    rng = np.random.default_rng(seed)
    z, x = rng.standard_normal((n, 2)), np.column_stack([np.ones(n), rng.standard_normal(n)])
    y = (rng.random(n) < expit(np.sin(z[:, 0]) + x[:, 1] * z[:, 1])).astype(float)
    made = {"z": z, "x": x, "y": y, "noise": np.zeros(n), "counts": rng.integers(1, 4, n).astype(float)}
    return KernelModel(**{**made, "binary": True, "residual": False, **given})


@pytest.mark.parametrize("shape", ["constant", "linear", "smooth", "rough", "additive"])
@pytest.mark.parametrize("grouped", [False, True])
def test_gradient_is_that_of_finite_differences(shape, grouped):
    offset = np.random.default_rng(5).normal(size=40) * 0.3
    model = rows(shape=shape, offset=offset, scatter=(1,), groups=np.arange(40) // 4 if grouped else None)
    theta = np.random.default_rng(1).normal(-0.5, 0.4, model.layout.size)
    steps = 1e-5 * np.eye(len(theta))
    numeric = [(factor(model, theta + s).value - factor(model, theta - s).value) / 2e-5 for s in steps]
    np.testing.assert_allclose(factor(model, theta).gradient, numeric, rtol=1e-6, atol=1e-6)


def test_mode_and_likelihood_are_those_of_scikit_learn():
    """Where its constant has a normal prior so wide that it is flat: their likelihoods differ by its density at 0."""
    model, wide = rows(counts=np.ones(40), weak=False), 1e6
    model = KernelModel(
        z=model.z,
        x=np.ones((40, 1)),
        y=model.y,
        noise=model.noise,
        counts=model.counts,
        binary=True,
        residual=False,
        weak=False,
    )
    kernel = ConstantKernel(wide) + ConstantKernel(1.7) * RBF([0.8, 1.5])
    theirs = GaussianProcessClassifier(kernel, optimizer=None).fit(model.z, model.y)
    at = factor(model, np.log([0.8, 1.5, 1e-11, 1.7]))
    flat = theirs.log_marginal_likelihood_value_ + 0.5 * np.log(2 * np.pi * wide)
    assert at.value - 0.5 * np.log(40) == pytest.approx(flat, abs=1e-3)
    probability = expit(posterior(model, at, model.z).mean[:, 0])
    np.testing.assert_allclose(probability, theirs.base_estimator_.pi_, atol=1e-4)


def test_a_weight_is_a_repeated_row():
    model = rows()
    often = np.repeat(np.arange(40), model.counts.astype(int))
    repeated = rows(
        z=model.z[often],
        x=model.x[often],
        y=model.y[often],
        noise=np.zeros(len(often)),
        counts=np.ones(len(often)),
    )
    theta = np.random.default_rng(3).normal(-0.5, 0.4, model.layout.size)
    one, two = factor(model, theta), factor(repeated, theta)
    assert one.value == pytest.approx(two.value, abs=1e-7)
    np.testing.assert_allclose(one.constant, two.constant, rtol=1e-7)


def binary(n=200, seed=0, slope=2.0):
    rng = np.random.default_rng(seed)
    c, x = rng.uniform(-1, 1, (n, 1)), rng.standard_normal((n, 1))
    y = (rng.random((n, 1)) < expit(0.5 + slope * np.sin(2 * c) * x)).astype(float)
    names = {"context_names": ("c",), "predictor_names": ("x",)}
    return ContextData(contexts=c, predictors=x, outcomes=y, outcome_type="binary", **names)


def test_varying_slopes_of_binary_outcomes_are_recovered():
    data = binary()
    fit = fit_context(data, options={"shapes": ("constant", "smooth")}, method="gp")
    at = np.linspace(-0.9, 0.9, 13)[:, None]
    told = fit.coefficients(at)
    error = told.beta[:, 0, 0] - 2 * np.sin(2 * at[:, 0])
    assert np.mean(np.abs(error) < 2 * told.se_beta[:, 0, 0]) >= 0.9
    assert np.sqrt(np.mean(error**2)) < 0.6
    chance = predict(fit, at, np.ones((13, 1)))
    np.testing.assert_allclose(chance[:, 0], expit(told.mu[:, 0] + told.beta[:, 0, 0]))
    state = fit.state()
    again = fit_from_state(state.kind, state.arrays, state.settings, state.record)
    np.testing.assert_array_equal(again.coefficients(at).se_beta, told.se_beta)


def test_outcomes_that_predictors_separate_are_refused():
    data = binary(30)
    apart = ContextData(
        contexts=data.contexts,
        predictors=data.predictors,
        outcomes=(data.predictors > 0).astype(float),
        outcome_type="binary",
        context_names=("c",),
        predictor_names=("x",),
    )
    with pytest.raises(InputError, match="separated"):
        fit_context(apart, method="gp")
