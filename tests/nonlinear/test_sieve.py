from dataclasses import replace

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.nonlinear import fit_response, make_method, response_from_state
from deepmr.nonlinear.sieve import Sieve


def simulate(f, n=4000, seed=0, covariate=False, noise=1.0, binary=False):
    """Ten variants with R2 of about 0.4, a confounder, and the response f."""
    rng = np.random.default_rng(seed)
    z = rng.binomial(2, 0.3, (n, 10)).astype(float)
    u, c = rng.standard_normal(n), rng.standard_normal(n)
    x = (z - 0.6).sum(axis=1) * 0.4 + 0.5 * u + 0.8 * rng.standard_normal(n) + 0.3 * c * covariate
    y = f(x, c) + noise * (-0.7 * u + rng.standard_normal(n))
    if binary:
        y = (rng.uniform(size=n) < f(x, c) - 0.1 * np.tanh(u)).astype(float)
    return IVData(
        instruments=z,
        exposure=x,
        outcome=y,
        covariates=c[:, None] if covariate else np.empty((n, 0)),
        instrument_names=tuple(f"v{k}" for k in range(10)),
        covariate_names=("c",) if covariate else (),
        outcome_type="binary" if binary else "continuous",
    )


def grid(data, n=50):
    return np.linspace(*np.quantile(data.exposure, [0.025, 0.975]), n)


@pytest.mark.parametrize("n_functions", [2, 20])
def test_noiseless_line_is_returned(n_functions):
    data = simulate(lambda x, c: 1.5 - 0.8 * x, noise=0.0)
    fit = Sieve(n_functions=n_functions).fit(data)
    x = grid(data)
    np.testing.assert_allclose(fit.avg_iv_reg_function(x).estimate, 1.5 - 0.8 * x, atol=1e-4)
    assert fit.ate(np.array([0.0]), np.array([1.0])).estimate[0] == pytest.approx(-0.8, abs=1e-4)


def test_a_line_alone_is_two_stage_least_squares_on_the_predicted_exposure():
    data = simulate(lambda x, c: 0.3 * x)
    from deepmr.nonlinear.basis import CovariateBasis, fit_splines
    from deepmr.nonlinear.first_stage import fit_first_stage

    fit = Sieve(n_functions=2).fit(data, seed=3)
    none = CovariateBasis(splines=(), products=np.empty((0, 2), int))
    stage = fit_first_stage(data, data, functions=fit_splines(data.exposure, n_functions=2), covariates=none, seed=3)
    psi = stage.fitted[:, 1] - stage.fitted[:, 1].mean()
    slope = psi @ data.outcome / (psi @ data.exposure)
    found = fit.ate(np.array([0.0]), np.array([1.0]))
    assert found.estimate[0] == pytest.approx(slope, rel=1e-6)
    left = data.outcome - data.outcome.mean() - slope * (data.exposure - data.exposure.mean())
    se = np.sqrt(((psi * left) ** 2).sum()) / abs(psi @ data.exposure)
    assert found.se[0] == pytest.approx(se, rel=0.01)


def test_curve_and_its_level_despite_confounding():
    data = simulate(lambda x, c: 1 + 0.5 * x**2, n=8000)
    fit = Sieve().fit(data)
    x = grid(data)
    curve = fit.avg_iv_reg_function(x, level=0.95)
    truth = 1 + 0.5 * x**2
    assert np.mean((curve.estimate - truth) ** 2) < 0.01
    naive = np.polyval(np.polyfit(data.exposure, data.outcome, 2), x)
    assert np.mean((curve.estimate - truth) ** 2) < np.mean((naive - truth) ** 2) / 5
    band = fit.uniform_band(x, level=0.95)
    assert (band.high - band.low > curve.high - curve.low).all()
    assert ((band.low < truth) & (truth < band.high)).all()


def test_effects_by_covariate():
    data = simulate(lambda x, c: (0.5 + 0.4 * c) * x + 0.2 * c, covariate=True, n=8000)
    fit = Sieve().fit(data)
    low, high, given = np.zeros(2), np.ones(2), np.array([[-1.0], [1.0]])
    effect = fit.cate(low, high, given)
    np.testing.assert_allclose(effect.estimate, [0.1, 0.9], atol=0.12)
    one = fit.iv_reg_function(high, given).estimate - fit.iv_reg_function(low, given).estimate
    np.testing.assert_allclose(effect.estimate, one, atol=1e-10)
    everyone = [fit.cate(np.zeros(1), np.ones(1), c[None]).estimate[0] for c in data.covariates[:200]]
    assert fit.ate(low[:1], high[:1]).estimate[0] == pytest.approx(np.mean(everyone), abs=0.1)
    with pytest.raises(InputError, match="needs values of its covariates: c"):
        fit.iv_reg_function(high)


def test_two_samples_agree_with_one():
    one, two = simulate(lambda x, c: 0.6 * x, n=6000), simulate(lambda x, c: 0.6 * x, n=6000, seed=1)
    fit = Sieve().fit(replace(one, outcome=None), outcome_data=replace(two, exposure=None))
    found = fit.ate(np.array([0.0]), np.array([1.0]))
    assert found.estimate[0] == pytest.approx(0.6, abs=3 * found.se[0])
    assert 0.01 < found.se[0] < 0.08
    with pytest.raises(InputError, match="first stage needs the exposure"):
        Sieve().fit(replace(one, exposure=None))


@pytest.mark.parametrize(("n", "others"), [(1000, 4000), (4000, 1000)])
def test_two_samples_have_the_noise_of_both_stages(n, others):
    data = [simulate(lambda x, c: x, n=m, seed=m, noise=0.0) for m in (n, others)]
    fit = Sieve(n_functions=2).fit(replace(data[0], outcome=None), outcome_data=replace(data[1], exposure=None))
    noise = 0.5**2 + 0.8**2  # of the exposure, in the outcomes of the one and in the predictions for them
    assert fit.record.diagnostics["residual_sd"] == pytest.approx(np.sqrt(noise * (1 + others / n)), rel=0.05)


def test_binary_outcome_is_a_probability():
    data = simulate(lambda x, c: 0.5 + 0.15 * np.tanh(x), n=8000, binary=True)
    found = Sieve().fit(data).avg_iv_reg_function(grid(data))
    assert np.abs(found.estimate - (0.5 + 0.15 * np.tanh(grid(data)))).max() < 0.1


def test_weights_of_two_are_two_samples_and_clusters_of_copies_widen():
    data = simulate(lambda x, c: 0.3 * x, n=1500)
    double = data.take(np.repeat(np.arange(1500), 2))
    naive = Sieve(n_functions=2).fit(double)
    clustered = Sieve(n_functions=2).fit(replace(double, clusters=np.repeat(np.arange(1500), 2)))
    alone = Sieve(n_functions=2).fit(data)
    at = (np.array([0.0]), np.array([1.0]))
    assert clustered.ate(*at).se[0] == pytest.approx(alone.ate(*at).se[0], rel=0.03)
    assert naive.ate(*at).se[0] == pytest.approx(alone.ate(*at).se[0] / np.sqrt(2), rel=0.03)
    weighted = Sieve(n_functions=2).fit(replace(data, weights=np.full(1500, 2.0)))
    assert weighted.ate(*at).se[0] == pytest.approx(alone.ate(*at).se[0], rel=1e-9)


def test_seeded_and_the_same_after_reloading():
    data = simulate(lambda x, c: np.sin(2 * x), covariate=True)
    fit = Sieve().fit(data, seed=4)
    again = Sieve().fit(data, seed=4)
    np.testing.assert_array_equal(fit.coefficients, again.coefficients)
    state = fit.state()
    back = response_from_state(state.kind, state.arrays, state.settings, state.record)
    x = grid(data)
    np.testing.assert_array_equal(back.avg_iv_reg_function(x).low, fit.avg_iv_reg_function(x).low)


def test_options_by_name():
    assert make_method("sieve", {"n_functions": "12", "modification": "none"}).n_functions == 12
    assert make_method("sieve", {"covariate_functions": "none"}).covariate_functions is None
    with pytest.raises(InputError, match="no option 'n_function'; did you mean 'n_functions'"):
        make_method("sieve", {"n_function": 3})
    with pytest.raises(InputError, match="must be int; got 'many'"):
        make_method("sieve", {"n_functions": "many"})
    with pytest.raises(InputError, match="method must be one of"):
        fit_response(simulate(lambda x, c: x), method="seive")


def test_data_that_cannot_be_used():
    with pytest.raises(InputError, match="covariate_functions must be at least 2; got 0"):
        Sieve(covariate_functions=0).fit(simulate(lambda x, c: x, n=200, covariate=True))
    data = simulate(lambda x, c: x)
    with pytest.raises(InputError, match="exposure must vary; all 4000 samples have 1"):
        replace(data, exposure=np.ones(4000))
    with pytest.raises(InputError, match="outcome must be 0 or 1"):
        replace(data, outcome_type="binary")
    with pytest.raises(InputError, match="outcome must vary"):
        replace(data, outcome=np.ones(4000), outcome_type="binary")


@pytest.mark.slow
def test_bands_cover():
    """Nominal 90 %: points, on average over the exposure, 85-99 %; the whole curve 85 % or more; 100 sets each."""
    for f in (lambda x, c: 0.3 * x, lambda x, c: 0.4 * x**2 - x, lambda x, c: np.sin(3 * x)):
        point, whole = [], []
        for seed in range(100):
            data = simulate(f, seed=seed)
            x = grid(data)
            fit = Sieve().fit(data)
            curve, band, truth = fit.avg_iv_reg_function(x, level=0.9), fit.uniform_band(x, level=0.9), f(x, 0)
            point.append(np.mean((curve.low < truth) & (truth < curve.high)))
            whole.append(np.all((band.low < truth) & (truth < band.high)))
        assert 0.85 <= np.mean(point) <= 0.99
        assert np.mean(whole) >= 0.85
