"""Quantile IV on data whose response is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from deepmr.errors import InputError
from deepmr.individual import DoseResponse, IVData
from deepmr.nonlinear import make_method, response_from_state
from deepmr.nonlinear.networks.quantile_iv import QuantileIV, ordered, quantile_levels

FAST = {"exposure_hidden": (16,), "outcome_hidden": (16,), "n_folds": 2, "exposure_epochs": 30, "outcome_epochs": 30}
FAST |= {"exposure_learning_rate": 0.01, "outcome_learning_rate": 0.01}


def sample(n=1500, seed=0, *, noise=1.0, covariates=0, binary=False, slope=1.0, **more):
    """Exposure z1 + z2 + noise, outcome slope * exposure, confounded, covariates change the slope."""
    rng = np.random.default_rng(seed)
    z, u, c = rng.standard_normal((n, 2)), rng.standard_normal(n), rng.standard_normal((n, covariates))
    x = z.sum(axis=1) + noise * (u + 0.5 * rng.standard_normal(n))
    y = slope * x + (x * c[:, 0] if covariates else 0) - noise * (u + 0.2 * rng.standard_normal(n))
    if binary:
        y = (rng.random(n) < 1 / (1 + np.exp(-y))).astype(float)
    return IVData(
        instruments=z,
        exposure=x,
        outcome=y,
        covariates=c,
        instrument_names=("z1", "z2"),
        covariate_names=tuple(f"c{k}" for k in range(covariates)),
        outcome_type="binary" if binary else "continuous",
        **more,
    )


def slope_of(response):
    return response.ate(np.array([-1.0]), np.array([1.0])).estimate[0] / 2


@pytest.mark.parametrize("non_crossing", [False, True])
def test_noiseless_linear_data_give_the_slope(non_crossing):
    response = QuantileIV(**FAST, non_crossing=non_crossing).fit(sample(noise=0.0, slope=2.0))
    assert isinstance(response, DoseResponse)
    assert slope_of(response) == pytest.approx(2.0, rel=0.03)


def test_confounding_is_taken_away_and_a_curve_found():
    data = sample(n=3000, noise=0.5)
    data = replace(data, outcome=data.outcome + data.exposure**2)
    response = QuantileIV(**{**FAST, "outcome_epochs": 80, "exposure_epochs": 80}).fit(data)
    x = np.linspace(-2, 2, 9)
    assert np.sqrt(np.mean((response.avg_iv_reg_function(x).estimate - x - x**2) ** 2)) < 0.35


def test_effects_vary_with_covariates():
    response = QuantileIV(**{**FAST, "outcome_hidden": (64, 32)}).fit(sample(covariates=1))
    ends = np.array([-1.0, -1.0]), np.array([1.0, 1.0])
    effects = response.cate(*ends, np.array([[-1.0], [1.0]])).estimate / 2
    assert effects == pytest.approx([0.0, 2.0], abs=0.4)
    given = response.iv_reg_function(np.zeros(3), np.zeros((3, 1))).estimate
    assert given == pytest.approx(np.full(3, given[0]))
    with pytest.raises(InputError, match="needs values of its covariates: c0"):
        response.iv_reg_function(np.zeros(3))


def test_an_average_is_that_of_the_rows_it_is_over():
    response = QuantileIV(**FAST).fit(sample(n=300, covariates=1, weights=np.linspace(1, 2, 300)))
    rows, x = response.covariates, np.array([0.3])
    each = response.iv_reg_function(np.repeat(x, len(rows)), rows).estimate
    assert response.avg_iv_reg_function(x).estimate[0] == pytest.approx(np.average(each, weights=response.weights))


@pytest.mark.parametrize("covariates", [0, 1])
@pytest.mark.parametrize("linear_start", [False, True])
def test_a_binary_outcome_is_a_probability(covariates, linear_start):
    data = sample(n=2000, binary=True, covariates=covariates)
    response = QuantileIV(**FAST, linear_start=linear_start).fit(data)
    values = response.avg_iv_reg_function(np.linspace(-3, 3, 7)).estimate
    assert values.min() > 0
    assert values.max() < 1
    assert values[5] - values[1] > 0.3


@pytest.mark.parametrize(
    "options", [{}, {"n_boot": 2}, {"outcome_batch_norm": True, "exposure_input_batch_norm": True}]
)
def test_it_comes_back_to_the_bit(options):
    response = QuantileIV(**FAST, **options).fit(sample(n=300, covariates=2))
    state = response.state()
    settings = json.loads(json.dumps(state.settings))
    again = response_from_state(state.kind, {k: v.copy() for k, v in state.arrays.items()}, settings, state.record)
    x, c = np.linspace(-2, 2, 11), np.ones((11, 2))
    for one, two in (
        (response.avg_iv_reg_function(x), again.avg_iv_reg_function(x)),
        (response.cate(x, x + 1, c), again.cate(x, x + 1, c)),
    ):
        assert (one.estimate == two.estimate).all()
        assert one.low is None or (one.low == two.low).all()


def test_seeds_decide():
    data = sample(n=300)
    one, two, three = (slope_of(QuantileIV(**FAST).fit(data, seed=seed)) for seed in (1, 1, 2))
    assert one == two
    assert one != three


def test_replicates_give_intervals():
    response = QuantileIV(**FAST, n_boot=8).fit(sample())
    x = np.linspace(-1, 1, 5)
    curve, members = response.avg_iv_reg_function(x, level=0.9), response.members(x)
    assert members.shape == (8, 5)
    assert curve.estimate == pytest.approx(members.mean(axis=0))
    assert (curve.low < curve.estimate).all()
    assert (curve.estimate < curve.high).all()
    assert "replicate" in response.record.warnings[0]
    assert slope_of(response) == pytest.approx(1.0, abs=0.15)


def test_one_fit_has_no_interval_and_a_log():
    response = QuantileIV(**FAST).fit(sample(n=300))
    assert response.avg_iv_reg_function(np.zeros(2)).low is None
    log = response.training_log()
    assert list(log.stage.unique()) == ["exposure", "outcome"]
    assert set(response.record.losses) == {"exposure", "outcome"}
    assert np.isfinite(log[["training_loss", "validation_loss"]]).all(axis=None)


def test_two_samples():
    first, second = sample(seed=1), sample(seed=2)
    response = QuantileIV(**FAST).fit(replace(first, outcome=None), outcome_data=replace(second, exposure=None))
    assert slope_of(response) == pytest.approx(1.0, abs=0.2)
    assert response.record.n_outcome == 1500
    with pytest.raises(InputError, match="the second stage needs the outcome"):
        QuantileIV(**FAST).fit(first, outcome_data=replace(second, outcome=None))


def test_weights_and_clusters_are_heard():
    one, two = sample(seed=1, slope=0.0), sample(seed=2, slope=2.0)
    joined = {name: np.concatenate([getattr(one, name), getattr(two, name)]) for name in ("exposure", "outcome")}
    both = replace(
        one,
        instruments=np.vstack([one.instruments, two.instruments]),
        covariates=np.empty((3000, 0)),
        weights=np.repeat([1e-6, 1.0], 1500),
        clusters=np.repeat(np.arange(300), 10),
        **joined,
    )
    assert slope_of(QuantileIV(**FAST).fit(both)) == pytest.approx(2.0, abs=0.25)


def test_levels_of_quantiles():
    taus, weights = quantile_levels(5, "midpoints")
    assert taus.tolist() == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    assert weights.tolist() == pytest.approx([0.2] * 5)
    taus, weights = quantile_levels(5, "gauss")
    assert (weights * taus**4).sum().item() == pytest.approx(1 / 5)
    steps = ordered(torch.tensor([[0.0, -9.0, -9.0, 3.0]])).diff()
    assert (steps > 0).all()


def test_options_come_as_text_and_bad_ones_are_told():
    made = make_method("quantile_iv", {"outcome_hidden": "8,4", "exposure_batch_size": "none", "n_boot": "3"})
    assert (made.outcome_hidden, made.exposure_batch_size, made.n_boot) == ((8, 4), None, 3)
    with pytest.raises(InputError, match="did you mean 'n_quantiles'"):
        make_method("quantile_iv", {"n_quantile": 3})
    with pytest.raises(InputError, match="activation must be one of GELU"):
        make_method("quantile_iv", {"activation": "gelu"})
    for options, words in (
        ({"n_quantiles": 0}, "n_quantiles must be at least 1"),
        ({"n_boot": 0}, "n_boot must be at least 1"),
        ({"n_folds": 301}, "n_folds must be from 2 to the 300"),
    ):
        with pytest.raises(InputError, match=words):
            QuantileIV(**{**FAST, **options}).fit(sample(n=300))
