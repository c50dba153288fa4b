"""Known errors, groups and random scatter of coefficients: against random-effects meta-analysis, and recovered."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.contexts import ContextData
from deepmr.contextual import fit_context
from deepmr.meta.tau2 import estimate_tau2
from deepmr.simulate.contexts import simulate_contexts

CONSTANT = {"shapes": ("constant",), "priors": False, "integrate": False}


def loci(n=60, tau=0.3, seed=0):
    rng = np.random.default_rng(seed)
    se = rng.uniform(0.05, 0.4, n)
    beta = 0.7 + tau * rng.standard_normal(n) + se * rng.standard_normal(n)
    return ContextData(
        contexts=rng.standard_normal((n, 2)),
        predictors=np.zeros((n, 0)),
        outcomes=beta[:, None],
        context_names=("a", "b"),
        predictor_names=(),
        se_outcome=se[:, None],
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("unit", [1.0, 1e-3])
def test_constant_effects_with_known_errors_are_a_random_effects_meta_analysis(seed, unit):
    data = loci(seed=seed)
    data = replace(data, outcomes=unit * data.outcomes, se_outcome=unit * data.se_outcome)
    beta, variance = data.outcomes[:, 0], data.se_outcome[:, 0] ** 2
    tau2 = estimate_tau2(beta, variance, method="REML")
    weights = 1 / (variance + tau2)
    fit = fit_context(data, options=CONSTANT, method="gp")
    at = fit.coefficients(data.contexts[:1])
    assert fit.record.measures["tau_0"] ** 2 == pytest.approx(tau2, rel=1e-5)
    assert at.mu[0, 0] == pytest.approx(weights @ beta / weights.sum(), rel=1e-6)
    assert at.se_mu[0, 0] == pytest.approx(weights.sum() ** -0.5, rel=1e-6)


def test_no_scatter_is_found_to_be_none():
    data = loci(tau=0.0, n=200, seed=3)
    tau2 = estimate_tau2(data.outcomes[:, 0], data.se_outcome[:, 0] ** 2, method="REML")
    assert fit_context(data, options=CONSTANT, method="gp").record.measures["tau_0"] == pytest.approx(
        np.sqrt(tau2), abs=1e-4
    )


def scattered(n=400, tau=0.8, sigma=0.3, seed=0, per_group=1):
    rng = np.random.default_rng(seed)
    groups = np.arange(n) // per_group
    x = rng.standard_normal((n, 1))
    slope = 1 + tau * rng.standard_normal(groups.max() + 1)[groups]
    y = slope * x[:, 0] + sigma * rng.standard_normal(n)
    return ContextData(
        contexts=rng.standard_normal((n, 1)),
        predictors=10 * x,
        outcomes=5 * y[:, None],
        context_names=("c",),
        predictor_names=("x",),
        groups=groups if per_group > 1 else None,
    )


@pytest.mark.parametrize("per_group", [1, 4])
def test_scatter_of_slopes_is_recovered_in_the_units_of_the_input(per_group):
    fit = fit_context(scattered(per_group=per_group), options={"shapes": ("constant",)}, method="gp")
    assert fit.record.measures["tau_1"] == pytest.approx(0.8 * 5 / 10, rel=0.15)
    assert fit.record.measures["sigma"] == pytest.approx(0.3 * 5, rel=0.25)


def test_rows_of_one_group_tell_less_than_rows_of_many():
    """Against generalised least squares with the group's shared slope, at the variances that were found."""
    data = scattered(n=120, per_group=6, seed=4)
    fit = fit_context(data, options={**CONSTANT, "scatter": True}, method="gp")
    tau, sigma = fit.record.measures["tau_1"], fit.record.measures["sigma"]
    x = data.design
    same = data.groups[:, None] == data.groups
    # The deviation is of the slope at the mean of x: in units of the search, x is centred.
    centred = data.predictors[:, 0] - data.predictors[:, 0].mean()
    v = sigma**2 * np.eye(120) + tau**2 * np.outer(centred, centred) * same
    covariance = np.linalg.inv(x.T @ np.linalg.solve(v, x))
    beta = covariance @ x.T @ np.linalg.solve(v, data.outcomes[:, 0])
    at = fit.coefficients(data.contexts[:1])
    assert at.beta[0, 0, 0] == pytest.approx(beta[1], rel=1e-6)
    assert at.se_beta[0, 0, 0] == pytest.approx(np.sqrt(covariance[1, 1]), rel=1e-6)
    ungrouped = fit_context(replace(data, groups=None), options=CONSTANT, method="gp").coefficients(data.contexts[:1])
    assert at.se_beta[0, 0, 0] > 1.5 * ungrouped.se_beta[0, 0, 0]


def test_contexts_that_do_not_matter_leave_constant_slopes():
    """Slopes that vary with what is not measured look like scatter; the fit says so and does not follow contexts."""
    drawn = simulate_contexts("quadratic", sampling="discs", noise_sd=0.0, seed=1)
    data = replace(drawn.train, contexts=drawn.train.contexts[:, 2:], context_names=("noise1", "noise2"))
    fit = fit_context(data, options={"shapes": ("constant", "smooth"), "integrate": False}, method="gp")
    assert fit.record.measures["share_constant"] > 0.5
    assert 0.3 < fit.record.measures["tau_1"] < 0.6
    assert fit.record.measures["sigma"] < 0.1
