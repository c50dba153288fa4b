"""Coefficients through inducing contexts against all pairs of rows, and their gradient against differences."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.contextual import fit_context, fit_from_state
from deepmr.contextual.kernel_model import KernelModel, evaluate, factor
from deepmr.contextual.kernel_posterior import joint_covariance, posterior, posterior_mean
from deepmr.contextual.kernel_sparse import factor_sparse, inducing_contexts
from deepmr.errors import InputError
from deepmr.simulate.contexts import simulate_contexts


def rows(n=40, seed=0, n_inducing=None, **given):
    rng = np.random.default_rng(seed)
    z, x = rng.standard_normal((n, 2)), np.column_stack([np.ones(n), rng.standard_normal(n)])
    y = np.sin(z[:, 0]) + x[:, 1] * z[:, 1] + 0.3 * rng.standard_normal(n)
    made = {"z": z, "x": x, "y": y, "noise": rng.uniform(0.01, 0.1, n), "counts": rng.integers(1, 4, n).astype(float)}
    inducing = inducing_contexts(z, n_inducing or n, seed=0)
    return KernelModel(**{**made, "scatter": (1,), "inducing": inducing, **given})


@pytest.mark.parametrize("shape", ["constant", "linear", "smooth", "rough", "additive"])
def test_gradient_is_that_of_finite_differences(shape):
    model = rows(shape=shape, n_inducing=9)
    theta = np.random.default_rng(1).normal(-0.5, 0.4, model.layout.size)
    steps = 1e-5 * np.eye(len(theta))
    numeric = [(factor_sparse(model, theta + s).value - factor_sparse(model, theta - s).value) / 2e-5 for s in steps]
    np.testing.assert_allclose(factor_sparse(model, theta).gradient, numeric, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", ["constant", "linear", "smooth", "rough", "additive"])
def test_with_every_context_inducing_it_is_exact(shape):
    model = rows(shape=shape)
    theta = np.random.default_rng(1).normal(-0.5, 0.4, model.layout.size)
    sparse, exact = evaluate(model, theta), factor(replace(model, inducing=None), theta)
    assert sparse.value == pytest.approx(exact.value, abs=1e-6)
    np.testing.assert_allclose(sparse.gradient, exact.gradient, rtol=1e-5, atol=1e-6)
    z = np.random.default_rng(2).standard_normal((6, 2))
    one, two = posterior(model, sparse, z), posterior(model, exact, z)
    for name in ("mean", "covariance", "unlearned"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(posterior_mean(model, sparse, z), posterior_mean(model, exact, z), atol=1e-6)
    joint = joint_covariance(model, sparse, z)
    np.testing.assert_allclose(joint, joint_covariance(model, exact, z), rtol=1e-5, atol=1e-6)


def test_a_thousand_rows_and_150_inducing_contexts_are_close_to_all_pairs():
    drawn = simulate_contexts("sine", n=1000, noise_sd=0.3, n_noise_contexts=0, seed=1)
    z = drawn.train.contexts
    x, y = drawn.train.design, drawn.train.outcomes[:, 0]
    made = KernelModel(z=z, x=x, y=y, noise=np.zeros(1000), counts=np.ones(1000))
    theta = np.log([0.7, 0.7, 0.1, 0.1, 0.1, 0.01, 1, 1, 0.09])
    many = replace(made, inducing=inducing_contexts(z, 150, seed=0))
    at = drawn.test.contexts[:200]
    exact = posterior(made, factor(made, theta, with_gradient=False), at)
    sparse = posterior(many, evaluate(many, theta, with_gradient=False), at)
    se = np.sqrt(np.diagonal(exact.covariance, axis1=1, axis2=2))
    assert np.sqrt(np.mean(((sparse.mean - exact.mean) / se) ** 2)) < 0.1
    ratio = np.sqrt(np.diagonal(sparse.covariance, axis1=1, axis2=2)) / se
    np.testing.assert_allclose(ratio, 1.0, atol=0.1)


def test_a_fit_of_many_rows_is_small_and_comes_back():
    drawn = simulate_contexts("linear", n=120, n_noise_contexts=0, seed=2)
    fit = fit_context(
        drawn.train, options={"max_exact": 60, "n_inducing": 15, "shapes": ("constant", "smooth")}, method="gp"
    )
    at = drawn.test.contexts[:20]
    told = fit.coefficients(at)
    error = told.beta[:, 0] - drawn.beta_test[:20]
    assert np.mean(np.abs(error) < 2 * told.se_beta[:, 0]) > 0.8
    assert np.sqrt(np.mean(error**2)) < 0.15
    state = fit.state()
    assert max(value.size for value in state.arrays.values()) < 120 * 120 / 4
    again = fit_from_state(state.kind, state.arrays, state.settings, state.record)
    np.testing.assert_array_equal(again.coefficients(at).se_beta, told.se_beta)
    np.testing.assert_array_equal(again.draws(at, n_draws=3), fit.draws(at, n_draws=3))


def test_what_needs_all_pairs_is_refused():
    data = simulate_contexts("linear", n=50).train
    with pytest.raises(InputError, match="at most max_exact = 20 samples; got 50"):
        fit_context(replace(data, groups=np.arange(50) // 2), options={"max_exact": 20}, method="gp")


def test_inducing_contexts_are_those_there_are_where_they_are_few():
    z = np.repeat(np.arange(5.0), 4)[:, None]
    np.testing.assert_array_equal(inducing_contexts(z, 10, seed=0), np.arange(5.0)[:, None])
    assert len(inducing_contexts(np.random.default_rng(0).normal(size=(50, 2)), 7, seed=0)) <= 7
