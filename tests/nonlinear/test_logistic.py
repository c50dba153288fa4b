"""The logistic control function."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit

from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.nonlinear import response_from_state
from deepmr.nonlinear.logistic import LogisticControlFunction

_NODES, _SHARES = np.polynomial.hermite_e.hermegauss(40)
_SHARES = _SHARES / _SHARES.sum()


def _data(seed, n=4000, *, with_covariate=False):
    """Confounding of 1.2 a standard deviation of the residual on the logit scale, a curved response."""
    rng = np.random.default_rng(seed)
    z = rng.binomial(2, 0.3, (n, 10)).astype(float)
    v = rng.standard_normal(n)
    c = rng.standard_normal((n, 1 if with_covariate else 0))
    x = (z - 0.6) @ np.full(10, 0.35) + v + 0.4 * c.sum(axis=1)
    logit = _curve(x) + 0.5 * c.sum(axis=1) + 1.2 * v
    data = IVData(
        instruments=z,
        exposure=x,
        outcome=(rng.random(n) < expit(logit)).astype(float),
        covariates=c,
        instrument_names=tuple(f"z{k}" for k in range(10)),
        covariate_names=("c",) if with_covariate else (),
        outcome_type="binary",
    )
    spread = np.hypot(1.2, 0.5 if with_covariate else 0.0)
    return data, lambda t: expit(_curve(t)[:, None] + spread * _NODES) @ _SHARES


def _curve(x):
    return -0.6 + 0.8 * x - 0.25 * x**2


def _grid(data, size=40):
    return np.linspace(*np.quantile(data.exposure, [0.025, 0.975]), size)


def test_the_truth_is_found_where_a_naive_regression_is_wrong():
    data, truth = _data(0)
    grid = _grid(data)
    found = LogisticControlFunction().fit(data).avg_iv_reg_function(grid)
    columns = sm.add_constant(np.column_stack([data.exposure, data.exposure**2]))
    naive = sm.Logit(data.outcome, columns).fit(disp=0)
    drawn = naive.predict(sm.add_constant(np.column_stack([grid, grid**2])))
    assert np.mean((found.estimate - truth(grid)) ** 2) < 0.002
    assert np.mean((drawn - truth(grid)) ** 2) > 0.01


def test_without_confounding_it_is_an_ordinary_logistic_regression():
    rng = np.random.default_rng(1)
    data, _ = _data(1)
    outcome = (rng.random(len(data)) < expit(0.3 + 0.7 * data.exposure)).astype(float)
    found = LogisticControlFunction().fit(replace(data, outcome=outcome)).avg_iv_reg_function(_grid(data))
    naive = sm.Logit(outcome, sm.add_constant(data.exposure)).fit(disp=0).predict(sm.add_constant(_grid(data)))
    assert np.all(np.abs(found.estimate - naive) < 4 * found.se)


def test_intervals_stay_within_probabilities():
    data, _ = _data(2, n=500)
    found = LogisticControlFunction().fit(data).avg_iv_reg_function(np.linspace(-20, 20, 9))
    assert np.all((found.low >= 0) & (found.low <= found.estimate))
    assert np.all((found.estimate <= found.high) & (found.high <= 1))


def test_a_difference_is_that_of_the_curve_and_its_error_that_of_the_gradient():
    data, _ = _data(3, n=1500)
    response = LogisticControlFunction().fit(data)
    ends = np.array([-0.5]), np.array([0.8])
    change = response.ate(*ends)
    curve = response.avg_iv_reg_function(np.concatenate(ends))
    assert change.estimate[0] == pytest.approx(curve.estimate[1] - curve.estimate[0])
    gradient = np.empty(len(response.coefficients))
    for k in range(len(gradient)):
        moved = response.coefficients.copy()
        moved[k] += 1e-5
        gradient[k] = (replace(response, coefficients=moved).ate(*ends).estimate[0] - change.estimate[0]) / 1e-5
    sampling = np.var(_differences(response, *ends)) / response.n
    assert change.se[0] == pytest.approx(np.sqrt(gradient @ response.covariance @ gradient + sampling), rel=1e-3)


def _differences(response, x0, x1):
    size = len(response.terms.pairs)
    confounding = response.control @ response.coefficients[size:]
    one, two = (response.terms(x, np.empty((1, 0))) @ response.coefficients[:size] for x in (x0, x1))
    return expit(two + confounding) - expit(one + confounding)


def test_the_error_of_a_mean_is_that_of_its_weights():
    data, _ = _data(6, n=1000)
    weights = np.where(np.arange(1000) < 500, 0.1, 10.0)
    response = LogisticControlFunction().fit(replace(data, weights=weights))
    given = replace(response, covariance=np.zeros_like(response.covariance))  # all but the sampling of confounders
    share = weights / weights.sum()
    logit = response.terms(np.zeros(1000), data.covariates) @ response.coefficients[: len(response.terms.pairs)]
    each = expit(logit + response.control @ response.coefficients[len(response.terms.pairs) :])
    se = np.sqrt(share**2 @ (each - share @ each) ** 2)
    assert given.avg_iv_reg_function(np.zeros(1)).se[0] == pytest.approx(se, rel=1e-9)


def test_covariates_are_averaged_over_or_given():
    data, truth = _data(4, with_covariate=True)
    response = LogisticControlFunction(covariate_functions=8).fit(data)
    grid = _grid(data)
    found = response.avg_iv_reg_function(grid)
    assert np.mean((found.estimate - truth(grid)) ** 2) < 0.003
    given = response.iv_reg_function(np.zeros(2), np.array([[-1.0], [1.0]]))
    expected = expit(-0.6 + np.array([-0.5, 0.5])[:, None] + 1.2 * _NODES) @ _SHARES
    assert np.all(np.abs(given.estimate - expected) < 4 * given.se)
    with pytest.raises(InputError, match="needs values of its covariates: c"):
        response.iv_reg_function(grid)
    change = response.cate(np.zeros(1), np.ones(1), np.array([[0.0]]))
    assert change.estimate[0] == pytest.approx(
        response.iv_reg_function(np.array([1.0]), np.zeros((1, 1))).estimate[0]
        - response.iv_reg_function(np.array([0.0]), np.zeros((1, 1))).estimate[0]
    )


def test_two_samples_weights_and_clusters():
    data, truth = _data(5)
    other, _ = _data(6)
    weights = np.random.default_rng(0).uniform(0.5, 2, len(other))
    second = replace(other, weights=weights, clusters=np.arange(len(other)) // 2)
    grid = _grid(data)
    found = LogisticControlFunction().fit(replace(data, outcome=None), outcome_data=second).avg_iv_reg_function(grid)
    assert np.mean(np.abs(found.estimate - truth(grid)) < 2.5 * found.se) > 0.8


def test_a_response_comes_back_from_its_state():
    data, _ = _data(7, n=600, with_covariate=True)
    response = LogisticControlFunction(covariate_functions=5).fit(data)
    state = response.state()
    back = response_from_state(state.kind, state.arrays, state.settings, state.record)
    grid = _grid(data)
    assert np.array_equal(response.avg_iv_reg_function(grid).high, back.avg_iv_reg_function(grid).high)


def test_what_it_cannot_use_is_said():
    data, _ = _data(8, n=500)
    with pytest.raises(InputError, match="needs a binary outcome"):
        LogisticControlFunction().fit(replace(data, outcome=data.exposure.copy(), outcome_type="continuous"))
    with pytest.raises(InputError, match="tell outcome exactly"):
        LogisticControlFunction().fit(replace(data, outcome=(data.exposure > 0).astype(float)))


@pytest.mark.slow
@pytest.mark.parametrize("with_covariate", [False, True])
def test_intervals_hold_the_curve(with_covariate):
    inside = []
    for seed in range(100):
        data, truth = _data(seed, with_covariate=with_covariate)
        grid = _grid(data)
        method = LogisticControlFunction(covariate_functions=8)
        found = method.fit(data).avg_iv_reg_function(grid, level=0.9)
        inside.append(np.mean((found.low < truth(grid)) & (truth(grid) < found.high)))
    assert 0.84 < np.mean(inside) < 0.96
