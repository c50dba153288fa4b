"""Subgroups, moderators and heavy tails."""

import dataclasses
import inspect

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import integrate, stats

from deepmr import schema
from deepmr.errors import InputError
from deepmr.meta import estimate_tau2, pool_estimates, pool_robust, pool_subgroups, regress_estimates
from deepmr.meta.robust import fit_t, log_density
from deepmr.types import Estimates
from tests.meta.builders import studies


@pytest.fixture
def shared():
    rng = np.random.default_rng(5)
    sampling = rng.uniform(0.1, 0.5, 12)
    factors = 0.2 * rng.normal(size=(3, 1)) + 0.1 * rng.normal(size=(3, 12))
    beta = 1 + 0.5 * rng.standard_t(3, 12) + sampling * rng.normal(size=12)
    return studies(beta, np.sqrt(sampling**2 + np.sum(factors**2, axis=0)), factors=factors)


def test_subgroups_by_hand():
    found = pool_subgroups(studies([0, 0, 3, 3], np.ones(4)), {"l0": "x", "l1": "x", "l2": "y", "l3": "y"}, ci="normal")
    assert found.estimates.table["beta"].tolist() == pytest.approx([0, 3])
    assert found.differences["q"][0] == pytest.approx(9.0)  # 3^2 / (1/2 + 1/2)
    with pytest.raises(InputError, match="has no subgroup"):
        pool_subgroups(studies([0, 1], [1, 1]), {"l0": "x"})


def test_an_error_common_to_all_loci_moves_no_difference_nor_slope():
    beta, factors = np.array([0.0, 0.1, 3.0, 3.1, 0.2, 3.2]), np.outer([0.4, -0.4], np.ones(6))
    given = studies(beta, np.sqrt(np.full(6, 1.0) + 0.32), factors=factors)
    half = {f"l{i}": "y" if b > 1 else "x" for i, b in enumerate(beta)}
    plain = pool_subgroups(studies(beta, np.ones(6)), half, ci="normal").differences["q"][0]
    assert pool_subgroups(given, half, ci="normal").differences["q"][0] == pytest.approx(plain)
    moderators = pd.DataFrame({"m": beta > 1}, index=given.table["locus"]).astype(float)
    slope = regress_estimates(given, moderators, ci="normal").terms.iloc[1]
    assert slope["se"] == pytest.approx(np.sqrt(1 / 3 + 1 / 3))


def test_regression_is_weighted_least_squares(shared):
    plain = Estimates(table=shared.table)
    x = np.random.default_rng(1).normal(5, 2, (12, 2))
    found = regress_estimates(plain, pd.DataFrame(x, index=plain.table["locus"], columns=["u", "w"]))
    weights = 1 / (plain.table["se"].to_numpy() ** 2 + found.models["tau2"][0])
    other = sm.WLS(plain.table["beta"].to_numpy(), sm.add_constant(x), weights=weights).fit()
    assert found.terms["beta"].to_numpy() == pytest.approx(other.params)
    assert found.terms["se"].to_numpy() == pytest.approx(other.bse)
    assert found.terms["pvalue"].to_numpy() == pytest.approx(other.pvalues)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"u": np.ones(12)}, "'u' is the same at every locus"),
        ({"u": np.arange(12.0), "w": 3 * np.arange(12.0) + 1}, "'w' follows from those before it"),
        ({f"m{i}": np.arange(12.0) ** i for i in range(1, 12)}, "needs at least 13 loci"),
    ],
)
def test_moderators_that_cannot_be_used_give_a_reason(shared, values, reason):
    found = regress_estimates(shared, pd.DataFrame(values, index=shared.table["locus"]))
    assert len(found.terms) == 0
    assert reason in found.skipped["reason"][0]


@pytest.mark.parametrize("nu", [1.0, 3.0, 15.0, 60.0])
def test_density_equals_numeric_integration(nu):
    y, v = np.array([-30.0, -1, 0, 0.3, 4]), np.array([0.1, 1, 0.01, 0.5, 2.0])
    found = log_density(y, v, np.array([0.2, np.log(0.7), np.log(nu)]))[0]
    for a, w, value in zip(y, v, found, strict=True):
        reach = 12 * np.sqrt(w)
        middle = float(np.clip(a - 0.2, -0.9 * reach, 0.9 * reach))
        exact, _ = integrate.quad(
            lambda e, a=a, w=w: stats.t.pdf((a - 0.2 - e) / 0.7, nu) / 0.7 * stats.norm.pdf(e, 0, np.sqrt(w)),
            -reach,
            reach,
            points=sorted({0.0, middle}),
            limit=400,
            epsabs=0,
            epsrel=1e-10,
        )
        assert value == pytest.approx(np.log(exact), abs=1e-6)


def test_normal_tails_are_maximum_likelihood():
    rng = np.random.default_rng(2)
    v = rng.uniform(0.01, 0.5, 300)
    beta = rng.normal(1, np.sqrt(0.1 + v))
    tau2 = estimate_tau2(beta, v, method="ML")
    fit = fit_t(beta, v, df=float("inf"))
    assert fit.scale**2 == pytest.approx(tau2, rel=1e-4)
    assert fit.mean == pytest.approx(np.sum(beta / (v + tau2)) / np.sum(1 / (v + tau2)), rel=1e-5)
    assert fit.influence.sum() == pytest.approx(1, abs=1e-6)


def test_an_outlier_moves_the_robust_mean_little(shared):
    far = shared.table["beta"].to_numpy().copy()
    far[0] = 100
    moved = studies(far, shared.table["se"])
    assert abs(pool_robust(moved).table["beta"][0] - 1) < 0.5
    assert abs(pool_estimates(moved).table["beta"][0] - 1) > 5


@pytest.mark.parametrize("pool", [pool_estimates, pool_robust])
def test_shift_and_scale(shared, pool):
    once = pool(shared).table.iloc[0]
    table = shared.table.assign(beta=1000 * shared.table["beta"] + 7000, se=1000 * shared.table["se"])
    again = pool(Estimates(table=table, error_factors=1000 * shared.error_factors)).table.iloc[0]
    for name in ("beta", "ci_low", "pi_high"):
        assert again[name] == pytest.approx(1000 * once[name] + 7000, rel=1e-4), name
    assert (again["se"], again["tau2"]) == pytest.approx((1000 * once["se"], 1e6 * once["tau2"]), rel=1e-3)


@pytest.mark.parametrize(
    ("beta", "se"),
    [([1, 1, 1], [0, 0, 0]), ([1, 2, 3], [0, 0, 0]), ([1, 2], [1, 1]), ([1], [1]), ([1] * 5, [0.2] * 5)],
)
def test_robust_edges_are_finite(beta, se):
    row = pool_robust(studies(beta, se)).table.iloc[0]
    assert np.isfinite(row[["beta", "se", "ci_low", "ci_high", "pvalue"]].to_numpy(float)).all()


def test_options_that_do_not_go_together():
    with pytest.raises(InputError, match="KR goes with"):
        inspect.unwrap(pool_estimates)(studies([1, 2], [1, 1]), tau2="DL", ci="KR")


def test_robust_fits_of_few_effects_never_leave_their_bounds():
    """A Newton step from where the likelihood is flat led to zero degrees of freedom, and to ZeroDivisionError."""
    for seed in (38, 77, 78, 122, 156, 186):
        rng = np.random.default_rng(seed)
        k = int(rng.integers(3, 12))
        variance = rng.uniform(0.05, 0.3, k) ** 2
        beta = 0.5 + rng.normal(size=k) * np.sqrt(variance) * rng.uniform(0.3, 2.0)
        fit = fit_t(beta, variance)
        assert beta.min() <= fit.mean <= beta.max()
        assert fit.variance > 0
        assert fit.df >= 1


@pytest.mark.parametrize("members", [0, 4])
@pytest.mark.parametrize("ci", ["HK", "HK_adhoc", "t"])
def test_effects_that_happen_to_be_equal_are_not_known_without_error(members, ci):
    factors = np.full((members, 3), 0.01) if members else None
    row = pool_estimates(studies([0.5] * 3, [0.1] * 3, factors=factors), ci=ci).table.iloc[0]
    assert row["se"] > 0.1 / np.sqrt(3) - 1e-9
    assert row["pvalue"] > 1e-4


def test_the_prediction_of_an_ensemble_adds_the_local_errors_to_the_scatter():
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"beta": rng.normal(2, 0.3, 40)})
    factors = np.repeat(rng.normal(0, 0.05, (5, 1)), 40, axis=1)  # all loci alike: no part of it is a locus's own
    table["se_sampling"] = 0.2
    table["se"] = np.sqrt(0.2**2 + np.sum(factors[:, 0] ** 2))
    table = table.assign(
        locus=[f"l{i}" for i in range(40)], method="ivw", exposure="X", outcome="Y", estimand="calibrated",
        ci_low=0.0, ci_high=0.0, pvalue=0.5, n=5,
    )  # fmt: skip
    order = [*schema.ESTIMATES, "se_sampling"]
    given = Estimates(table=table[order], skipped=pd.DataFrame(columns=list(schema.SKIPPED)), error_factors=factors)
    row = pool_estimates(given).table.iloc[0]
    apart = table["beta"].var(ddof=1) * (1 + 1 / 40) + 0.2**2
    total = apart + np.sum(factors[:, 0] ** 2)
    df = total**2 / (apart**2 / 39 + np.sum(factors[:, 0] ** 2) ** 2 / 4)
    half = stats.t.ppf(0.975, df) * np.sqrt(total)
    assert row["pi_high"] - row["beta"] == pytest.approx(half)
    classic = pool_estimates(given, prediction="HTS").table.iloc[0]
    assert classic["pi_high"] < row["pi_high"]
    alone = dataclasses.replace(given, error_factors=None)
    assert pool_estimates(alone).table.iloc[0]["pi_high"] == pytest.approx(
        pool_estimates(alone, prediction="HTS").table.iloc[0]["pi_high"]
    )
