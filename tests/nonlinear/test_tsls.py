"""Two-stage least squares and limited information: exact answers, linearmodels, two samples."""

from dataclasses import replace

import numpy as np
import pytest
from linearmodels.iv import IV2SLS, IVLIML

from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.nonlinear import fit_response, response_from_state

AT = np.array([-1.0, 0.0, 2.0])


def make(n=2000, m=5, seed=0, slope=0.3, noise=1.0, modified=0.0, strength=0.3, **more):
    """Instruments, a confounder, two covariates that are not centred."""
    r = np.random.default_rng(seed)
    z = r.binomial(2, 0.3, (n, m)).astype(float)
    c = np.c_[r.standard_normal(n) + 50, r.binomial(1, 0.4, n)]
    u = r.standard_normal(n)
    x = z @ np.full(m, strength) + 0.2 * (c[:, 0] - 50) + u + r.standard_normal(n)
    y = 2 + (slope + modified * c[:, 1]) * x + 0.4 * c[:, 0] - 0.5 * c[:, 1] + noise * (r.standard_normal(n) - u)
    return IVData(
        instruments=z,
        exposure=x,
        outcome=y,
        covariates=c,
        instrument_names=tuple(f"v{k}" for k in range(m)),
        covariate_names=("age", "sex"),
        **more,
    )


def slope_of(response, level=0.95):
    one = response.ate(np.zeros(1), np.ones(1), level=level)
    return one.estimate[0], one.se[0]


@pytest.mark.parametrize("method", ["tsls", "liml"])
def test_without_noise_the_line_is_exact_and_at_its_level(method):
    data = make(noise=0.0)
    fit = fit_response(data, method=method)
    assert fit.ate(np.zeros(1), np.ones(1)).estimate == pytest.approx([0.3], rel=1e-9)
    level = 2 + 0.4 * data.covariates[:, 0].mean() - 0.5 * data.covariates[:, 1].mean()
    assert fit.avg_iv_reg_function(AT).estimate == pytest.approx(level + 0.3 * AT, rel=1e-9)
    covars = np.array([[48.0, 1.0], [50.0, 0.0], [51.0, 1.0]])
    expected = 2 + 0.3 * AT + covars @ [0.4, -0.5]
    assert fit.iv_reg_function(AT, covars).estimate == pytest.approx(expected, rel=1e-9)
    assert not any("left out" in sentence for sentence in fit.record.warnings)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("method", ["tsls", "liml", "fuller"])
def test_all_instruments_in_linearmodels_give_the_same(method, weighted, clustered):
    r = np.random.default_rng(5)
    data = make(n=600, strength=0.08)
    weights = r.uniform(0.5, 3, len(data)) if weighted else None
    clusters = r.integers(0, 60, len(data)) if clustered else None
    data = replace(data, weights=weights, clusters=clusters)
    options = {"fuller": 1.0} if method == "fuller" else None
    fit = fit_response(data, method="liml" if method == "fuller" else method, options=options)
    exog = np.c_[np.ones(len(data)), data.covariates]
    parts = data.outcome, exog, data.exposure, data.instruments
    if method == "tsls":
        model = IV2SLS(*parts, weights=weights)
    else:
        model = IVLIML(*parts, weights=weights, fuller=1.0 if method == "fuller" else 0.0)
    how = {"cov_type": "clustered", "clusters": clusters} if clustered else {"cov_type": "robust"}
    want = model.fit(debiased=True, **how)
    assert slope_of(fit) == pytest.approx((want.params.iloc[-1], want.std_errors.iloc[-1]), rel=1e-7)
    mean = np.r_[np.average(exog, axis=0, weights=weights), 0.7]
    at = fit.avg_iv_reg_function(np.array([0.7]))
    assert at.estimate[0] == pytest.approx(mean @ want.params, rel=1e-7)
    assert at.se[0] == pytest.approx(np.sqrt(mean @ want.cov @ mean), rel=1e-6)


def test_effect_that_varies_with_covariates():
    data = make(noise=0.0, modified=0.5)
    fit = fit_response(data, method="tsls", options={"modification": "linear"})
    covars = np.array([[50.0, 0.0], [52.0, 1.0]])
    assert fit.cate(np.zeros(2), np.ones(2), covars).estimate == pytest.approx([0.3, 0.8], rel=1e-8)
    average = 0.3 + 0.5 * data.covariates[:, 1].mean()
    assert fit.ate(np.zeros(1), np.ones(1)).estimate == pytest.approx([average], rel=1e-8)


def test_two_samples_without_noise_in_either():
    first, second = make(noise=0.0), make(noise=0.0, seed=1)
    gamma = np.array([0.1, 0.4, 0.3, 0.2, 0.5])
    pure = [replace(one, exposure=one.instruments @ gamma + 0.1 * one.covariates[:, 0]) for one in (first, second)]
    outcome = 1 + 0.3 * pure[1].exposure + 0.2 * second.covariates[:, 1]
    fit = fit_response(
        replace(pure[0], outcome=None), method="tsls", outcome_data=replace(second, exposure=None, outcome=outcome)
    )
    assert slope_of(fit)[0] == pytest.approx(0.3, rel=1e-8)
    want = 1 + 0.2 * second.covariates[:, 1].mean() + 0.3 * AT
    assert fit.avg_iv_reg_function(AT).estimate == pytest.approx(want, rel=1e-8)


def test_one_instrument_in_two_samples_is_the_ratio_with_the_error_of_the_delta_method():
    one, two = make(n=1500, m=1), make(n=1000, m=1, seed=1)
    first = replace(one, outcome=None, covariates=np.empty((1500, 0)), covariate_names=())
    second = replace(two, exposure=None, covariates=np.empty((1000, 0)), covariate_names=())
    fit = fit_response(first, method="tsls", outcome_data=second)

    def simple(z, v):
        design = np.c_[np.ones(len(z)), z]
        b = np.linalg.lstsq(design, v, rcond=None)[0]
        inverse, score = np.linalg.inv(design.T @ design), design * (v - design @ b)[:, None]
        n = len(z)
        return b[1], (inverse @ score.T @ score @ inverse)[1, 1] * n / (n - 2)

    g, var_g = simple(first.instruments[:, 0], first.exposure)
    y, var_y = simple(second.instruments[:, 0], second.outcome)
    assert slope_of(fit) == pytest.approx((y / g, np.sqrt(var_y / g**2 + (y / g) ** 2 * var_g / g**2)), rel=1e-9)


@pytest.mark.slow
def test_two_sample_intervals_hold_the_slope():
    inside = []
    for seed in range(300):
        first, second = make(n=400, seed=2 * seed), make(n=600, seed=2 * seed + 1)
        fit = fit_response(replace(first, outcome=None), method="tsls", outcome_data=replace(second, exposure=None))
        one = fit.ate(np.zeros(1), np.ones(1), level=0.9)
        inside.append(one.low[0] < 0.3 < one.high[0])
    assert 0.85 < np.mean(inside) < 0.95


def test_constant_and_collinear_instruments_are_left_out_by_name():
    data = make()
    z = np.c_[data.instruments, data.instruments[:, 0] - data.instruments[:, 1], np.ones(len(data))]
    more = replace(data, instruments=z, instrument_names=(*data.instrument_names, "v0_v1", "one"))
    fit = fit_response(more, method="tsls")
    assert slope_of(fit) == pytest.approx(slope_of(fit_response(data, method="tsls")), rel=1e-7)
    assert sum("left out" in sentence for sentence in fit.record.warnings) == 1
    assert fit.record.warnings[0].startswith("2 instruments left out: one is constant; v")
    none = replace(data, instruments=data.covariates[:, :1] * 2, instrument_names=("copy",))
    with pytest.raises(InputError, match=r"an instrument must vary apart from the covariates; none of 1 does: copy"):
        fit_response(none, method="tsls")


def test_instruments_no_stronger_than_noise_are_said_to_be():
    fit = fit_response(make(n=500, strength=0.0, seed=3), method="liml")
    assert any("no more than noise" in sentence for sentence in fit.record.warnings)


def test_collinear_covariates_are_left_out():
    data = make()
    twice = replace(
        data, covariates=np.c_[data.covariates, 2 * data.covariates[:, 0]], covariate_names=("age", "sex", "twice")
    )
    fit = fit_response(twice, method="tsls")
    assert slope_of(fit) == pytest.approx(slope_of(fit_response(data, method="tsls")), rel=1e-7)
    assert "covariate left out" in fit.record.warnings[0]


def test_binary_outcome_is_a_linear_probability_and_reload_is_identical():
    data = make()
    binary = replace(data, outcome=(data.outcome > np.median(data.outcome)).astype(float), outcome_type="binary")
    fit = fit_response(binary, method="tsls")
    assert 0 < slope_of(fit)[0] < 1
    state = fit.state()
    again = response_from_state(state.kind, state.arrays, state.settings, state.record)
    assert np.array_equal(again.avg_iv_reg_function(AT).low, fit.avg_iv_reg_function(AT).low)


def test_liml_says_that_it_cannot_use_two_samples():
    with pytest.raises(InputError, match="liml needs exposure and outcome of the same samples"):
        fit_response(make(), method="liml", outcome_data=make(seed=1))
