"""Mixed meta-regression against the meta-analysis stage, and against dense matrices where errors are shared."""

import numpy as np
import pytest
from scipy import optimize

from deepmr.contextual.reml import fit_mixed
from deepmr.meta import pool_estimates, regress_estimates
from deepmr.simulate.contextual import simulate_context_effects


@pytest.mark.parametrize(("law", "tau"), [("constant", 0.0), ("linear", 0.08), ("interaction", 0.3)])
def test_random_effects_and_regression_are_those_of_meta(law, tau):
    given = simulate_context_effects(law, n_loci=40, n_new=0, tau=tau)
    table = given.estimates.table
    beta, se = table["beta"].to_numpy(), table["se"].to_numpy()
    pooled = pool_estimates(given.estimates).table.iloc[0]
    fit = fit_mixed(beta, se, np.ones((40, 1)))
    error = fit.error(np.ones((1, 1)))
    assert fit.coefficients[0] == pytest.approx(pooled["beta"], abs=1e-10)
    assert fit.tau2 == pytest.approx(pooled["tau2"], abs=1e-10)
    assert error.se[0] == pytest.approx(pooled["se"], abs=1e-9)
    names = ["context1", "context2"]
    moderators = given.contexts.set_index("locus")[names]
    told = regress_estimates(given.estimates, moderators)
    design = np.column_stack([np.ones(40), moderators.to_numpy()])
    fit = fit_mixed(beta, se, design)
    np.testing.assert_allclose(fit.coefficients, told.terms["beta"], atol=1e-9)
    np.testing.assert_allclose(fit.error(np.eye(3)).se, told.terms["se"], atol=1e-8)
    assert fit.tau2 == pytest.approx(told.models["tau2"].iloc[0], abs=1e-9)


def test_shared_errors_are_a_covariance():
    rng = np.random.default_rng(0)
    n, factors = 15, rng.normal(size=(3, 15))
    design = np.column_stack([np.ones(n), rng.normal(size=n)])
    se = rng.uniform(0.2, 0.5, n)
    beta = rng.normal(size=n) + rng.normal(size=3) @ factors

    def restricted(tau2):
        v = np.diag(se**2 + tau2) + factors.T @ factors
        w = np.linalg.inv(v)
        inner = design.T @ w @ design
        p = w - w @ design @ np.linalg.inv(inner) @ design.T @ w
        return 0.5 * (np.linalg.slogdet(v)[1] + np.linalg.slogdet(inner)[1] + beta @ p @ beta), w, inner

    best = optimize.minimize_scalar(lambda u: restricted(np.exp(u))[0], bounds=(-8, 3), method="bounded")
    fit = fit_mixed(beta, se, design, factors=factors, scaled=False)
    assert fit.tau2 == pytest.approx(np.exp(best.x), rel=1e-3)
    value, w, inner = restricted(fit.tau2)
    assert fit.value == pytest.approx(-value, abs=1e-8)
    np.testing.assert_allclose(fit.coefficients, np.linalg.solve(inner, design.T @ w @ beta), atol=1e-10)
    np.testing.assert_allclose(fit.own + fit.moved.T @ fit.moved, np.linalg.inv(inner), atol=1e-10)


def test_equal_effects_have_no_scatter():
    fit = fit_mixed(np.full(5, 0.7), np.full(5, 0.1), np.ones((5, 1)))
    assert fit.tau2 == 0
    assert fit.coefficients[0] == pytest.approx(0.7, abs=1e-15)
    assert fit.own[0, 0] == pytest.approx(0.01 / 5)
