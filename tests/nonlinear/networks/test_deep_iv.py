"""Deep IV: known slopes and curves, with every density and either second stage."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.nonlinear import make_method, response_from_state
from deepmr.nonlinear.networks.deep_iv import DeepIV
from deepmr.nonlinear.networks.density_stage import fit_densities
from deepmr.nonlinear.networks.response import Scaling
from deepmr.nonlinear.networks.stages import Plan, stage_of

QUICK = {
    "exposure_hidden": (16,),
    "outcome_hidden": (16,),
    "exposure_epochs": 10,
    "outcome_epochs": 15,
    "n_folds": 2,
    "n_components": 2,
    "n_functions": 8,
    "covariate_functions": 4,
}
DENSITIES = ["mixture", "gaussian", "ridge"]
X = np.linspace(-1, 1, 5)


def samples(n=1500, seed=0, *, noise=1.0, curve=0.0, n_covariates=1, binary=False):
    rng = np.random.default_rng(seed)
    z, c, u = rng.normal(size=(n, 3)), rng.normal(size=(n, n_covariates)), rng.normal(size=n)
    x = z @ [0.6, 0.4, 0.3] + 0.3 * c.sum(axis=1) + noise * (0.5 * u + 0.4 * rng.normal(size=n))
    y = 1 + 0.5 * x + curve * x**2 + 0.4 * c.sum(axis=1) + noise * (-0.7 * u + 0.5 * rng.normal(size=n))
    if binary:
        y = (rng.random(n) < 1 / (1 + np.exp(-1.5 * (y - 1)))).astype(float)
    return IVData(
        instruments=z,
        exposure=x,
        outcome=y,
        covariates=c,
        instrument_names=("z1", "z2", "z3"),
        covariate_names=tuple(f"c{k}" for k in range(n_covariates)),
        outcome_type="binary" if binary else "continuous",
    )


def fit(data, **options):
    more = {key: options.pop(key) for key in ("outcome_data", "seed") if key in options}
    return DeepIV(**{**QUICK, **options}).fit(data, **more)


def densities(first, second=None, *, density="mixture", **options):
    method = DeepIV(**{**QUICK, **options})
    second = first if second is None else second
    return fit_densities(
        first,
        second,
        density=density,
        n_components=3,
        n_nodes=5,
        stage=stage_of(method, "exposure"),
        plan=Plan(n_replicates=method.n_boot, n_folds=method.n_folds, validation_share=0.2),
        scaling=Scaling.of(first, second),
        seed=0,
    )


@pytest.mark.parametrize("stage2", ["network", "splines"])
@pytest.mark.parametrize("density", DENSITIES)
def test_without_noise_a_line_is_found(density, stage2):
    curve = fit(samples(noise=1e-3), density=density, stage2=stage2).avg_iv_reg_function(X)
    assert np.diff(curve.estimate) / np.diff(X) == pytest.approx(np.full(4, 0.5), abs=0.02)


@pytest.mark.parametrize("stage2", ["network", "splines"])
def test_confounding_is_taken_out(stage2):
    data = samples(4000, 1)
    got = fit(data, stage2=stage2).ate(np.array([0.0]), np.array([1.0]))
    plain = np.linalg.lstsq(np.c_[np.ones(4000), data.exposure, data.covariates], data.outcome, rcond=None)[0][1]
    assert plain < 0.35
    assert got.estimate[0] == pytest.approx(0.5, abs=0.08)
    if stage2 == "splines":
        assert got.low[0] < 0.5 < got.high[0]


@pytest.mark.parametrize("stage2", ["network", "splines"])
def test_a_curve_is_found(stage2):
    curve = fit(samples(5000, 2, curve=0.5, n_covariates=0), stage2=stage2, outcome_epochs=40).avg_iv_reg_function(X)
    assert curve.estimate == pytest.approx(1 + 0.5 * X + 0.5 * X**2, abs=0.2)


def test_nodes_have_the_moments_of_the_exposure():
    rng = np.random.default_rng(3)
    data = samples(4000, 3, n_covariates=0)
    high = rng.random(4000) < 0.5
    data = replace(data, exposure=data.instruments[:, 0] + np.where(high, 2.0, -2.0) + 0.3 * rng.normal(size=4000))
    scaling = Scaling.of(data, data)
    nodes = densities(data, exposure_hidden=(32,), exposure_epochs=30).second[0]
    values = scaling.exposure[0] + scaling.exposure[1] * nodes.values
    mean = (nodes.weights * values).sum(axis=1)
    spread = np.sqrt((nodes.weights * (values - mean[:, None]) ** 2).sum(axis=1))
    assert np.abs(mean - data.instruments[:, 0]).mean() < 0.15
    assert spread.mean() == pytest.approx(np.sqrt(4.09), rel=0.05)
    inner = nodes.weights[np.abs(values - data.instruments[:, :1]) < 1].sum() / 4000
    assert inner < 0.15  # there is nothing between the two humps


def test_mixture_explains_two_humps_better_than_one_normal():
    rng = np.random.default_rng(4)
    data = samples(3000, 4, n_covariates=0)
    high = rng.random(3000) < 0.5
    data = replace(data, exposure=data.instruments[:, 0] + np.where(high, 2.0, -2.0) + 0.3 * rng.normal(size=3000))
    losses = [densities(data, density=density, exposure_epochs=20).loss for density in DENSITIES]
    assert losses[0] < losses[1] - 0.3
    assert losses[1] == pytest.approx(losses[2], abs=0.05)


@pytest.mark.parametrize("density", DENSITIES)
def test_no_network_gives_the_nodes_of_a_sample_that_it_learned_from(density):
    """A sample's own exposure may change its own nodes by way of what the networks of the other folds stop at alone."""
    data = replace(samples(600), clusters=np.arange(600) // 3)
    one = densities(data, density=density, exposure_epochs=1)
    changed = replace(data, exposure=np.where(np.arange(600) < 3, data.exposure[::-1], data.exposure))
    two = densities(changed, density=density, exposure_epochs=1)
    moved = np.abs(one.second[0].values - two.second[0].values).max(axis=1) / np.ptp(one.second[0].values)
    assert moved[:3].max() < 0.02  # scaling and the amount of shrinkage, which are of all samples


@pytest.mark.parametrize("stage2", ["network", "splines"])
def test_reloaded_response_is_identical_and_the_seed_decides(stage2):
    data = samples(800)
    response = fit(data, stage2=stage2, seed=1)
    state = response.state()
    again = response_from_state(state.kind, state.arrays, state.settings, state.record)
    covars = np.linspace(-1, 1, 5)[:, None]
    assert response.avg_iv_reg_function(X).to_frame().equals(again.avg_iv_reg_function(X).to_frame())
    assert response.iv_reg_function(X, covars).to_frame().equals(again.iv_reg_function(X, covars).to_frame())
    same, other = (fit(data, stage2=stage2, seed=seed).avg_iv_reg_function(X).estimate for seed in (1, 2))
    assert np.array_equal(response.avg_iv_reg_function(X).estimate, same)
    assert not np.array_equal(same, other)


def test_binary_outcome_is_a_probability():
    curve = fit(samples(5000, 5, binary=True)).avg_iv_reg_function(np.array([-9.0, -1.0, 0.0, 1.0, 9.0]))
    assert ((curve.estimate > 0) & (curve.estimate < 1)).all()
    assert curve.estimate[2] == pytest.approx(0.5, abs=0.06)
    assert 0.05 < curve.estimate[3] - curve.estimate[2] < 0.25


@pytest.mark.parametrize("stage2", ["network", "splines"])
@pytest.mark.parametrize("density", ["mixture", "ridge"])
def test_two_samples_find_the_slope(density, stage2):
    first, second = replace(samples(3000, 6), outcome=None), replace(samples(2500, 7), exposure=None)
    got = fit(first, outcome_data=second, density=density, stage2=stage2).ate(np.array([0.0]), np.array([1.0]))
    assert got.estimate[0] == pytest.approx(0.5, abs=0.12)
    if stage2 == "splines":
        assert got.low[0] < 0.5 < got.high[0]


def test_replicates_have_intervals():
    response = fit(samples(1000, 8), n_boot=6, outcome_epochs=5, exposure_epochs=3)
    got = response.ate(np.array([0.0]), np.array([1.0]))
    assert response.n_replicates == 6
    assert got.low[0] < got.estimate[0] < got.high[0]


def test_weights_are_used():
    data = samples(2000, 9)
    half = np.arange(2000) < 1000
    wrong = replace(data, outcome=np.where(half, data.outcome, data.outcome + 3 * data.exposure))
    down = replace(wrong, weights=np.where(half, 1.0, 1e-4))
    for stage2 in ("network", "splines"):
        assert fit(down, stage2=stage2).ate(np.array([0.0]), np.array([1.0])).estimate[0] == pytest.approx(0.5, abs=0.2)


def test_what_cannot_be_is_said_in_a_line():
    with pytest.raises(InputError, match="n_boot must be 1 with splines"):
        fit(samples(300), stage2="splines", n_boot=2)
    with pytest.raises(InputError, match="n_nodes must be at least 1"):
        fit(samples(300), n_nodes=0)
    with pytest.raises(InputError, match="density must be one of mixture, gaussian, ridge; got 'normal'"):
        make_method("deep_iv", {"density": "normal"})
