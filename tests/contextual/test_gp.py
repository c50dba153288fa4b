"""Gaussian-process coefficients: likelihood, predictions and units against their definitions."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.contexts import ContextData
from deepmr.contextual import fit_context, fit_from_state, predict
from deepmr.contextual.kernel_model import KernelModel, factor
from deepmr.contextual.kernel_posterior import joint_covariance, posterior


def rows(n=24, contexts=2, seed=0, **given):
    rng = np.random.default_rng(seed)
    z, x = rng.standard_normal((n, contexts)), np.column_stack([np.ones(n), rng.standard_normal(n)])
    y = np.sin(z[:, 0]) + x[:, 1] * z[:, 1] + 0.3 * rng.standard_normal(n)
    made = {"z": z, "x": x, "y": y, "noise": np.zeros(n), "counts": np.ones(n)}
    return KernelModel(**{**made, **given})


@pytest.mark.parametrize("shape", ["constant", "linear", "smooth", "rough", "additive"])
@pytest.mark.parametrize("grouped", [False, True])
def test_gradient_is_that_of_finite_differences(shape, grouped):
    rng = np.random.default_rng(1)
    model = rows(
        shape=shape,
        scatter=(0, 1),
        noise=rng.uniform(0.01, 0.1, 24),
        counts=rng.integers(1, 4, 24).astype(float),
        groups=np.arange(24) // 3 if grouped else None,
    )
    theta = rng.normal(-0.5, 0.4, model.layout.size)
    at = factor(model, theta)
    step = 1e-5 * np.eye(len(theta))
    numeric = [(factor(model, theta + s).value - factor(model, theta - s).value) / 2e-5 for s in step]
    np.testing.assert_allclose(at.gradient, numeric, rtol=1e-6, atol=1e-6)


def test_a_weight_is_a_repeated_row():
    counts = np.random.default_rng(2).integers(1, 4, 24)
    model = rows(counts=counts.astype(float), scatter=(1,))
    often = np.repeat(np.arange(24), counts)
    repeated = replace(
        model,
        z=model.z[often],
        x=model.x[often],
        y=model.y[often],
        noise=model.noise[often],
        counts=np.ones(len(often)),
    )
    theta = np.random.default_rng(3).normal(-0.5, 0.4, model.layout.size)
    one, two = factor(model, theta), factor(repeated, theta)
    assert one.value == pytest.approx(two.value, abs=1e-8)
    np.testing.assert_allclose(one.gradient, two.gradient, rtol=1e-7, atol=1e-8)
    z = model.z[:5] + 0.1
    a, b = posterior(model, one, z), posterior(repeated, two, z)
    np.testing.assert_allclose(a.mean, b.mean, rtol=1e-9)
    np.testing.assert_allclose(a.covariance, b.covariance, rtol=1e-7, atol=1e-10)


def test_posterior_is_the_conditional_normal_distribution():
    """Against constants with a prior so wide that it is flat, in one big normal distribution."""
    model = rows(n=12)
    theta = np.random.default_rng(3).normal(-0.5, 0.4, model.layout.size)
    at, z = factor(model, theta), np.random.default_rng(4).standard_normal((3, 2))
    lengths, linear, smooth, _, sigma2 = model.layout.split(theta)

    def kernel(a, b, j):
        u, v = a / lengths, b / lengths
        apart = ((u[:, None] - v) ** 2).sum(-1)
        return linear[j] * u @ v.T + smooth[j] * np.exp(-apart / 2) + 1e6

    every = np.vstack([model.z, z])
    loads = np.vstack([model.x, np.zeros((3, 2))])
    data = sum(np.outer(loads[:12, j], loads[:12, j]) * kernel(model.z, model.z, j) for j in (0, 1))
    data += sigma2[0] * np.eye(12)
    cross = np.concatenate([kernel(z, model.z, j) * model.x[:, j] for j in (0, 1)])
    mean = cross @ np.linalg.solve(data, model.y)
    prior = np.zeros((6, 6))
    prior[:3, :3], prior[3:, 3:] = kernel(z, z, 0), kernel(z, z, 1)
    covariance = prior - cross @ np.linalg.solve(data, cross.T)
    made = posterior(model, at, z)
    assert len(every) == 15
    np.testing.assert_allclose(made.mean.T.ravel(), mean, rtol=1e-4, atol=1e-4)
    joint = joint_covariance(model, at, z)
    order = np.array([2 * p + j for j in (0, 1) for p in range(3)])
    np.testing.assert_allclose(joint[np.ix_(order, order)], covariance, rtol=1e-3, atol=1e-3)
    for p in range(3):
        np.testing.assert_allclose(made.covariance[p], joint[2 * p : 2 * p + 2, 2 * p : 2 * p + 2], atol=1e-10)


QUICK = {"shapes": ("constant", "smooth"), "integrate": False}


def varying(n=120, seed=0, noise=0.1):
    rng = np.random.default_rng(seed)
    c, x = rng.uniform(-1, 1, (n, 2)), rng.standard_normal((n, 2))
    y = (c[:, 0] + c[:, 1] ** 2) * x[:, 0] - x[:, 1] + noise * rng.standard_normal(n)
    return ContextData(
        contexts=c, predictors=x, outcomes=y[:, None], context_names=("a", "b"), predictor_names=("u", "v")
    )


@pytest.mark.parametrize("method", ["population", "gp"])
def test_units_change_nothing_but_units(method):
    data, options = varying(60), QUICK if method == "gp" else None
    moved = replace(
        data,
        contexts=data.contexts * [1e6, 1e-9] + [5e6, 3e-9],
        predictors=data.predictors * [100.0, 0.01] + [3.0, 0.0],
        outcomes=7 * data.outcomes - 4,
    )
    one, two = (fit_context(each, method=method, options=options) for each in (data, moved))
    at = data.contexts[:9]
    a, b = one.coefficients(at), two.coefficients(moved.contexts[:9])
    np.testing.assert_allclose(b.beta[:, 0], 7 * a.beta[:, 0] / [100.0, 0.01], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(b.se_beta[:, 0], 7 * a.se_beta[:, 0] / [100.0, 0.01], rtol=1e-3)
    predicted = predict(two, moved.contexts[:9], moved.predictors[:9])
    np.testing.assert_allclose(predicted, 7 * predict(one, at, data.predictors[:9]) - 4, atol=1e-3)


@pytest.mark.parametrize("method", ["population", "gp"])
def test_state_gives_the_fit_back(method):
    fit = fit_context(varying(40), method=method)
    state = fit.state()
    again = fit_from_state(state.kind, state.arrays, state.settings, state.record)
    at = varying(5, seed=3).contexts
    np.testing.assert_array_equal(again.coefficients(at).se_beta, fit.coefficients(at).se_beta)
    np.testing.assert_array_equal(again.draws(at, n_draws=3, seed=1), fit.draws(at, n_draws=3, seed=1))


def test_draws_have_the_errors_of_the_coefficients():
    fit = fit_context(varying(60), options={"shapes": ("constant", "smooth")}, method="gp")
    at = varying(4, seed=5).contexts
    drawn, told = fit.draws(at, n_draws=4000, seed=0), fit.coefficients(at)
    np.testing.assert_allclose(drawn[..., 1:].std(axis=0), told.se_beta, rtol=0.1)
    np.testing.assert_allclose(drawn[..., 1:].mean(axis=0), told.beta, atol=5 * told.se_beta.max() / 63)


def test_varying_coefficients_are_recovered_and_contexts_that_do_not_matter_told():
    data = varying(150)
    noisy = replace(
        data,
        contexts=np.column_stack([data.contexts, np.random.default_rng(9).standard_normal(150), np.full(150, 3.0)]),
        context_names=("a", "b", "noise", "flat"),
    )
    fit = fit_context(noisy, options=QUICK, method="gp")
    told = fit.coefficients(noisy.contexts)
    truth = data.contexts[:, 0] + data.contexts[:, 1] ** 2
    assert np.mean((told.beta[:, 0, 0] - truth) ** 2) < 0.01
    assert fit.record.relevance["noise"] < 0.1 * min(fit.record.relevance["a"], fit.record.relevance["b"])
    assert fit.record.constant == ("flat",)
