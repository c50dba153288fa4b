"""Localised effects: strata by hand, the integral, errors, and the two methods on curves that they can fit."""

from dataclasses import replace

import numpy as np
import pytest
from linearmodels.iv import IV2SLS

from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.nonlinear import fit_response, response_from_state
from deepmr.nonlinear.lace import integrated_hats
from deepmr.nonlinear.strata import doubly_ranked_strata, genetic_score, residual_strata, stratum_effects

METHODS = ("doubly_ranked", "residual_strata")


def make(n=4000, m=1, seed=0, curve=lambda x: 0.3 * x, noise=1.0, strength=0.4):
    r = np.random.default_rng(seed)
    z = r.binomial(2, 0.3, (n, m)).astype(float)
    c, u = r.standard_normal(n) + 3, r.standard_normal(n)
    x = z @ np.full(m, strength) + 0.3 * c + 0.5 * u + r.standard_normal(n)
    return IVData(
        instruments=z,
        exposure=x,
        outcome=curve(x) + 0.4 * c + noise * (r.standard_normal(n) - u),
        covariates=c[:, None],
        instrument_names=tuple(f"v{k}" for k in range(m)),
        covariate_names=("age",),
    )


def grid(fit, n=40):
    return np.linspace(*fit.record.central, n)


def test_doubly_ranked_strata_by_hand():
    exposure = np.array([5.0, 1.0, 3.0, 8.0, 7.0, 6.0, 2.0])
    data = IVData(
        instruments=np.arange(7.0)[:, None],
        exposure=exposure,
        outcome=exposure,
        covariates=np.empty((7, 0)),
        instrument_names=("z",),
    )
    # groups of three by instrument: (5, 1, 3), (8, 7, 6), and one that is left
    found = doubly_ranked_strata(data, data.instruments[:, 0], n_strata=3, seed=0)
    assert found.tolist() == [2, 0, 1, 2, 1, 0, 0]
    residual = residual_strata(data, data.instruments[:, 0], n_strata=7)
    slope, level = np.polyfit(np.arange(7.0), exposure, 1)
    assert np.argsort(residual).tolist() == np.argsort(exposure - level - slope * np.arange(7.0)).tolist()


def test_integral_of_hats_is_the_trapezoid_rule():
    nodes = np.array([-1.0, 0.5, 1.0, 3.0])
    slopes = np.array([2.0, -1.0, 0.0, 4.0])
    basis = integrated_hats(nodes)
    curve = basis(np.linspace(-3, 5, 9)) @ np.concatenate([[0.0], slopes])
    fine = np.linspace(-3, 5, 80_001)
    height = np.interp(fine, nodes, slopes)  # constant beyond the ends
    steps = np.concatenate([[0.0], np.cumsum((height[1:] + height[:-1]) / 2 * np.diff(fine))])
    want = np.interp(np.linspace(-3, 5, 9), fine, steps)
    assert curve - curve[0] == pytest.approx(want, abs=1e-6)
    assert basis(np.array([0.0]))[0, 0] == pytest.approx(1.0, abs=1e-12)


def test_slope_and_error_of_a_stratum_are_those_of_linearmodels():
    data = make(n=900)
    data = replace(data, weights=np.random.default_rng(1).uniform(0.5, 2, 900))
    score = genetic_score(data, score="weighted")
    stratum = residual_strata(data, score, n_strata=3)
    found = stratum_effects(data, score, stratum)
    for k in range(3):
        mine = data.take(stratum == k)
        exog = np.c_[np.ones(len(mine)), mine.covariates]
        want = IV2SLS(mine.outcome, exog, mine.exposure, mine.instruments, weights=mine.weights).fit(
            cov_type="robust", debiased=True
        )
        assert found.beta[k] == pytest.approx(want.params.iloc[-1], rel=1e-8)
        assert found.se[k] == pytest.approx(want.std_errors.iloc[-1], rel=1e-8)
    assert np.bincount(stratum, found.influence**2) == pytest.approx(found.se**2, rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("m", [1, 5])
def test_noiseless_line_is_exact_at_its_level(method, m):
    data = make(noise=0.0, m=m)
    fit = fit_response(data, method=method)
    x = grid(fit)
    assert fit.avg_iv_reg_function(x).estimate == pytest.approx(0.3 * x + 0.4 * data.covariates.mean(), abs=1e-7)
    covars = np.linspace(1, 4, len(x))[:, None]
    assert fit.iv_reg_function(x, covars).estimate == pytest.approx(0.3 * x + 0.4 * covars[:, 0], abs=1e-7)
    assert fit.cate(x, x + 1, covars).estimate == pytest.approx(np.full(len(x), 0.3), abs=1e-7)
    assert any("Hamilton 2024" in sentence for sentence in fit.record.warnings)


@pytest.mark.parametrize("method", METHODS)
def test_curved_effect_is_integrated_and_held_by_its_intervals(method):
    def curve(x):
        return 0.3 * (x - 1) ** 2

    errors, held, wrong = [], [], []
    for seed in range(4):
        data = make(n=10_000, seed=seed, curve=curve)
        fit = fit_response(data, method=method)
        x = grid(fit)
        truth, found = curve(x) + 0.4 * 3, fit.avg_iv_reg_function(x)
        errors.append(np.mean((found.estimate - truth) ** 2))
        held.append(np.mean((found.low < truth) & (truth < found.high)))
        table = fit.table()
        product = np.interp(x, table["exposure"], table["beta"]) * x  # the slope times x, which is no integral
        wrong.append(np.var(product - truth))
        assert fit.record.diagnostics["strata_q_pvalue"] < 0.01
        assert fit.record.diagnostics["strata_trend"] == pytest.approx(0.6, abs=0.15)
        assert np.mean(data.outcome) == pytest.approx(fit.avg_iv_reg_function(data.exposure).estimate.mean(), abs=1e-9)
    assert np.mean(errors) < 0.03 < np.mean(wrong)
    assert np.mean(held) > 0.85


@pytest.mark.parametrize("method", METHODS)
def test_reload_is_identical_and_the_table_is_in_the_state(method):
    fit = fit_response(make(), method=method, options={"n_strata": 6})
    state = fit.state()
    again = response_from_state(state.kind, state.arrays, state.settings, state.record)
    x = grid(fit)
    assert np.array_equal(again.avg_iv_reg_function(x).low, fit.avg_iv_reg_function(x).low)
    assert again.table().equals(fit.table())
    assert len(fit.table()) == 6
    assert fit.table()["n"].sum() == 4000
    band = fit.uniform_band(x, level=0.9)
    assert (band.high > fit.avg_iv_reg_function(x, level=0.9).high).all()


def test_seed_orders_ties_and_options_matter():
    data = make()
    one, same, other = (fit_response(data, method="doubly_ranked", seed=s).table() for s in (1, 1, 2))
    assert one.equals(same)
    assert not one.equals(other)
    x = np.array([-9.0, 12.0])
    ends = [
        fit_response(data, method="residual_strata", options={"beyond": b}).avg_iv_reg_function(x).estimate
        for b in ("linear", "constant")
    ]
    assert not np.allclose(*ends)


def test_bad_input_is_said_in_a_line():
    data = make(n=200)
    with pytest.raises(InputError, match="n_strata must be at least 2; got 1"):
        fit_response(data, method="doubly_ranked", options={"n_strata": 1})
    with pytest.raises(InputError, match="a stratum needs more than 7 samples; one has 5"):
        fit_response(data, method="residual_strata", options={"n_strata": 40})
    with pytest.raises(InputError, match="doubly_ranked needs exposure and outcome of the same samples"):
        fit_response(data, method="doubly_ranked", outcome_data=make(n=200, seed=1))
    two = replace(data, exposure=(data.exposure > 1).astype(float))
    with pytest.raises(InputError, match=r"stratum|strata"):
        fit_response(two, method="residual_strata")
