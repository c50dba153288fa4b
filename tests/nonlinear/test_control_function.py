"""The spline control function, its gate and the comparison with the sieve."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.nonlinear import fit_response, response_from_state
from deepmr.nonlinear.control_function import ControlFunction, fit_controlled
from deepmr.nonlinear.controlled import set_up


def _data(instruments, exposure, outcome, covariates=None, **more):
    n = len(exposure)
    covariates = np.empty((n, 0)) if covariates is None else covariates
    return IVData(
        instruments=instruments,
        exposure=exposure,
        outcome=outcome,
        covariates=covariates,
        instrument_names=tuple(f"z{k}" for k in range(instruments.shape[1])),
        covariate_names=tuple(f"c{k}" for k in range(covariates.shape[1])),
        **more,
    )


def _weak_j(seed, n=4000):
    """One variant, J-shaped response, skewed noise."""
    rng = np.random.default_rng(seed)
    g, u = rng.binomial(2, 0.3, n).astype(float), rng.random(n)
    x = 0.4 * g + u + rng.exponential(1.0, n)
    y = 0.2 * (x - 1) ** 2 + 0.8 * u + 0.7 * rng.standard_normal(n)
    return _data(g[:, None], x, y), lambda t: 0.2 * (t - 1) ** 2 + 0.4


def _scores(seed, n=4000, *, varying=0.0, n_instruments=10, confounding=-0.7, curve=0.3):
    """Ten variants; their effects vary with the confounder where `varying` is not 0."""
    rng = np.random.default_rng(seed)
    z = rng.binomial(2, 0.3, (n, n_instruments)).astype(float)
    m = (z - 0.6) @ np.full(n_instruments, 0.3)
    u = rng.standard_normal(n)
    x = (1 + varying * u) * m + 0.5 * u + 0.6 * rng.standard_normal(n)
    y = 0.5 + 0.4 * x + curve * x**2 + confounding * u + 0.5 * rng.standard_normal(n)
    return _data(z, x, y), lambda t: 0.5 + 0.4 * t + curve * t**2


def _grid(data, size=50):
    return np.linspace(*np.quantile(data.exposure, [0.025, 0.975]), size)


def test_a_line_without_noise_is_found_exactly():
    data, _ = _scores(0, n=800)
    data = replace(data, outcome=1 + 2 * data.exposure)
    response = ControlFunction().fit(data)
    grid = _grid(data)
    assert np.allclose(response.avg_iv_reg_function(grid).estimate, 1 + 2 * grid, atol=1e-6)


def test_a_line_has_the_slope_of_two_stage_least_squares():
    data, _ = _scores(1, curve=0.0)
    response = fit_response(data, method="control_function")
    residuals = set_up(data, data, **_options()).design.residuals
    score = residuals.score - residuals.score.mean()
    slope = (score @ data.outcome) / (score @ data.exposure)
    found = response.ate(np.array([-0.5]), np.array([0.5]))
    assert found.estimate[0] == pytest.approx(slope, abs=0.3 * found.se[0])


def test_a_curve_is_found_where_the_sieve_cannot_tell_it():
    errors, inside = [], []
    for seed in range(4):
        data, truth = _weak_j(seed)
        grid = _grid(data)
        found = ControlFunction().fit(data).avg_iv_reg_function(grid, level=0.9)
        errors.append(np.mean((found.estimate - truth(grid)) ** 2))
        inside.append(np.mean((found.low < truth(grid)) & (truth(grid) < found.high)))
    assert np.mean(errors) < 0.02
    assert np.mean(inside) > 0.7


def test_the_residual_of_a_sample_is_of_the_others_fit():
    """A hundred instruments that say nothing would fit a tenth of the noise, were a sample's exposure in its fit."""
    rng = np.random.default_rng(2)
    data = _data(rng.standard_normal((1000, 100)), rng.standard_normal(1000), rng.standard_normal(1000))
    residuals = set_up(data, data, **_options()).design.residuals
    assert np.corrcoef(residuals.score, data.exposure)[0, 1] < 0.1
    assert residuals.residual.var() > 0.98 * data.exposure.var()


def test_ranks_and_residuals_agree_where_noise_is_normal():
    data, _ = _scores(3)
    grid = _grid(data)
    one, two = (ControlFunction(control=c).fit(data).avg_iv_reg_function(grid) for c in ("rank", "residual"))
    assert np.allclose(one.estimate, two.estimate, atol=0.3 * one.se)


def test_confounding_has_mean_zero_and_the_level_is_that_of_an_intervention():
    data, truth = _scores(4)
    setting = set_up(data, data, **_options())
    found = fit_controlled(data, setting.design, setting.groups)
    assert setting.design.confounding(found.smoothed.coefficients, slice(0, len(data))).mean() == pytest.approx(0)
    middle = np.array([0.0])
    response = ControlFunction().fit(data).avg_iv_reg_function(middle)
    assert response.estimate[0] == pytest.approx(truth(0.0), abs=4 * response.se[0])


def test_errors_hold_those_of_the_first_stage():
    """Over repeated samples the slope varies as its standard error says; without the first stage it would be half."""
    slopes, errors = [], []
    for seed in range(16):
        rng = np.random.default_rng(seed)
        z, u = rng.standard_normal((300, 1)), rng.standard_normal(300)
        x = 0.5 * z[:, 0] + u
        data = _data(z, x, 0.3 * x + 2 * u + 0.1 * rng.standard_normal(300))
        found = ControlFunction(n_functions=2).fit(data).ate(np.array([0.0]), np.array([1.0]))
        slopes.append(found.estimate[0])
        errors.append(found.se[0])
    assert np.mean(errors) == pytest.approx(np.std(slopes), rel=0.5)


def test_samples_twice_are_clusters_of_two():
    data, _ = _scores(5, n=600)
    order = np.repeat(np.arange(600), 2)
    alone = ControlFunction().fit(replace(data, clusters=np.arange(600)))
    twice = ControlFunction().fit(replace(data.take(order), clusters=order))
    ends = np.array([-0.5]), np.array([0.5])
    assert twice.ate(*ends).se[0] == pytest.approx(alone.ate(*ends).se[0], rel=0.2)


def test_weights_of_any_scale_and_a_weight_of_two_counts_twice():
    data, _ = _scores(6, n=1500)
    weights = np.random.default_rng(0).integers(1, 3, 1500).astype(float)
    one, two = (ControlFunction().fit(replace(data, weights=w)) for w in (weights, 100 * weights))
    assert np.allclose(one.coefficients, two.coefficients, rtol=1e-6)
    repeated = ControlFunction().fit(data.take(np.repeat(np.arange(1500), weights.astype(int))))
    grid = _grid(data, 5)
    first, second = (r.avg_iv_reg_function(grid) for r in (one, repeated))
    assert np.allclose(first.estimate, second.estimate, atol=0.5 * first.se)


def test_the_error_of_the_level_is_that_of_a_weighted_mean():
    data, _ = _scores(5, n=800)
    data = replace(data, weights=np.where(np.arange(800) < 400, 0.1, 10.0), clusters=np.arange(800) // 2)
    setting = set_up(data, data, **_options())
    found = fit_controlled(data, setting.design, setting.groups)
    parts = data.scaled_weights * setting.design.confounding(found.smoothed.coefficients, slice(None))
    variance = (parts.reshape(400, 2).sum(axis=1) ** 2).sum() * 400 / 399 / 800**2
    added = ControlFunction().fit(data).covariance[0, 0] - found.covariance[0, 0]
    assert added == pytest.approx(variance, rel=1e-6)


def test_two_samples_need_the_exposure_in_both():
    data, truth = _scores(7)
    other, _ = _scores(8)
    grid = _grid(data)
    found = ControlFunction().fit(replace(data, outcome=None), outcome_data=other).avg_iv_reg_function(grid)
    assert np.all(np.abs(found.estimate - truth(grid)) < 4.5 * found.se)
    with pytest.raises(InputError, match="needs the exposure in the outcome's sample"):
        ControlFunction().fit(data, outcome_data=replace(other, exposure=None))


def test_an_effect_that_varies_with_a_covariate():
    rng = np.random.default_rng(9)
    n = 6000
    z, c, u = rng.binomial(2, 0.3, (n, 5)).astype(float), rng.standard_normal((n, 1)), rng.standard_normal(n)
    x = (z - 0.6).sum(axis=1) * 0.5 + 0.3 * c[:, 0] + u
    y = (0.5 + 0.4 * c[:, 0]) * x + u + 0.5 * rng.standard_normal(n)
    response = ControlFunction().fit(_data(z, x, y, c))
    found = response.cate(np.zeros(3), np.ones(3), np.array([[-1.0], [0.0], [1.0]]))
    assert np.allclose(found.estimate, [0.1, 0.5, 0.9], atol=0.12)


def test_many_functions_of_covariates_do_not_bias():
    rng = np.random.default_rng(10)
    n = 2000
    z, c, u = rng.binomial(2, 0.3, (n, 3)).astype(float), rng.standard_normal((n, 4)), rng.standard_normal(n)
    x = z.sum(axis=1) * 0.5 + u + c.sum(axis=1) * 0.2
    data = _data(z, x, 0.5 * x + u + 0.3 * rng.standard_normal(n), c)
    found = ControlFunction().fit(data).ate(np.array([0.0]), np.array([1.0]))
    assert found.estimate[0] == pytest.approx(0.5, abs=3 * found.se[0])


def test_the_gate_tells_effects_that_vary_between_people():
    passed = [ControlFunction().fit(_scores(seed)[0]).record for seed in range(3)]
    failed = [ControlFunction().fit(_scores(seed, varying=0.6)[0]).record for seed in range(3)]
    assert sum(record.diagnostics["gate_pvalue"] >= 0.05 for record in passed) >= 2
    assert all(record.diagnostics["gate_pvalue"] < 0.05 for record in failed)
    assert all("assumption is rejected" in record.warnings[0] for record in failed)


def test_the_comparison_tells_another_curve_than_the_sieves():
    same = [ControlFunction().fit(_scores(seed)[0]).record.diagnostics for seed in range(3)]
    other = [ControlFunction().fit(_scores(seed, varying=1.0)[0]).record.diagnostics for seed in range(3)]
    assert sum(d["sieve_comparison_pvalue"] < 0.05 for d in same) <= 1
    assert sum(d["sieve_comparison_pvalue"] < 0.05 for d in other) >= 2


def test_weak_instruments_are_said_to_be_weak():
    data, _ = _scores(11, n=1000)
    noise = np.random.default_rng(0).binomial(2, 0.3, (1000, 3)).astype(float)
    weak = _data(noise, data.exposure, data.outcome)
    assert any("hardly predict" in sentence for sentence in ControlFunction().fit(weak).record.warnings)


def test_instruments_that_leave_nothing_need_no_control():
    rng = np.random.default_rng(12)
    z = rng.standard_normal((500, 1))
    response = ControlFunction().fit(_data(z, 2 * z[:, 0], z[:, 0] + 0.1 * rng.standard_normal(500)))
    assert response.ate(np.array([0.0]), np.array([1.0])).estimate[0] == pytest.approx(0.5, abs=0.05)
    assert response.record.diagnostics["gate_pvalue"] == 1.0


def test_a_response_comes_back_from_its_state_and_a_seed_repeats_it():
    data, _ = _scores(13, n=800)
    response, again = (ControlFunction().fit(data, seed=3) for _ in range(2))
    state = response.state()
    back = response_from_state(state.kind, state.arrays, state.settings, state.record)
    grid = _grid(data)
    for other in (again, back):
        assert np.array_equal(response.avg_iv_reg_function(grid).low, other.avg_iv_reg_function(grid).low)


def test_a_binary_outcome_is_a_probability():
    data, _ = _scores(14)
    binary = replace(data, outcome=(data.outcome > 0.5).astype(float), outcome_type="binary")
    found = ControlFunction().fit(binary).avg_iv_reg_function(_grid(binary))
    assert np.all((found.estimate > -0.3) & (found.estimate < 1.3))


@pytest.mark.slow
def test_intervals_hold_the_curve():
    inside = []
    for seed in range(100):
        data, truth = _weak_j(seed)
        grid = _grid(data)
        found = ControlFunction().fit(data).avg_iv_reg_function(grid, level=0.9)
        inside.append(np.mean((found.low < truth(grid)) & (truth(grid) < found.high)))
    assert 0.83 < np.mean(inside) < 0.96


@pytest.mark.slow
def test_the_gate_has_its_level():
    alarms = [ControlFunction().fit(_scores(s, n=2000)[0]).record.diagnostics["gate_pvalue"] < 0.05 for s in range(100)]
    assert np.mean(alarms) <= 0.1


def _options():
    return {
        "n_functions": 20,
        "covariate_functions": None,
        "modification": "auto",
        "control": "rank",
        "n_folds": 5,
        "seed": 0,
    }
