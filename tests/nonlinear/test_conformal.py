"""Bands of the outcome: ranks by hand, then coverage by simulation."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.individual import Curve, IVData
from deepmr.nonlinear.conformal import band_from_arrays, conformal_band, fit_with_conformal, hold_out


@dataclass(frozen=True)
class Zero:
    """The response 0."""

    record: object = None

    def iv_reg_function(self, x, covars=None, *, level=0.95):
        return Curve(estimate=np.zeros(len(x)))

    avg_iv_reg_function = ate = cate = state = iv_reg_function


def samples(n, seed, *, with_covariate=True, **changes):
    """A quadratic response, noise that grows with the exposure."""
    rng = np.random.default_rng(seed)
    z, c, u = rng.normal(size=(n, 2)), rng.normal(size=n), rng.normal(size=n)
    x = z @ [0.6, 0.4] + 0.3 * c + 0.5 * u + 0.5 * rng.normal(size=n)
    y = 0.3 * x**2 + 0.5 * c - 0.7 * u + (0.5 + 0.4 * np.abs(x)) * rng.normal(size=n)
    data = IVData(
        instruments=z,
        exposure=x,
        outcome=y,
        covariates=c[:, None] if with_covariate else np.empty((n, 0)),
        instrument_names=("z1", "z2"),
        covariate_names=("c",) if with_covariate else (),
    )
    return replace(data, **changes)


def toy(y, **changes):
    y = np.asarray(y, float)
    n = len(y)
    return IVData(
        instruments=np.arange(n, dtype=float)[:, None],
        exposure=np.arange(n, dtype=float),
        outcome=y,
        covariates=np.empty((n, 0)),
        instrument_names=("z",),
        **changes,
    )


def test_factor_is_the_residual_of_the_right_rank():
    band = conformal_band(Zero(), toy([1, -2, 3, -4, 5, -6, 7, -8, 9]), level=0.9)
    assert band.factor == 9  # rank ceil(10 * 0.9)
    assert conformal_band(Zero(), toy([1, -2, 3, -4, 5, -6, 7, -8, 9]), level=0.8).factor == 8
    got = band.interval(np.array([0.0, 1.0]))
    assert got.outcome_low.tolist() == [-9, -9]
    assert got.outcome_high.tolist() == [9, 9]
    assert list(got.to_frame()) == ["centre", "outcome_low", "outcome_high"]


def test_equal_weights_change_nothing_and_others_move_the_rank():
    y = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert conformal_band(Zero(), toy(y, weights=np.full(9, 3.0)), level=0.8).factor == 8
    heavy = np.array([10.0, 1, 1, 1, 1, 1, 1, 1, 1])
    # shares of 18 + 108 / 18 = 24: 10, 11, 12, 13, ... -> 0.5 is reached by the third
    assert conformal_band(Zero(), toy(y, weights=heavy), level=0.5).factor == 3


def test_refusals_say_what_is_needed():
    with pytest.raises(InputError, match="needs 9 samples of calibration at least; got 8"):
        conformal_band(Zero(), toy(np.arange(8)), level=0.9)
    with pytest.raises(InputError, match="outcome is binary"):
        conformal_band(Zero(), toy(np.arange(20) % 2, outcome_type="binary"))
    with pytest.raises(InputError, match="exposure and outcome of the same samples"):
        conformal_band(Zero(), replace(toy(np.arange(20)), exposure=None))
    with pytest.raises(InputError, match="between 0 and 1; got 1"):
        fit_with_conformal(samples(100, 0), share=1.0)


def test_held_out_samples_are_the_share_and_clusters_stay_together():
    data = samples(300, 1)
    assert hold_out(data, share=0.2, seed=0).sum() == 60
    clustered = replace(data, clusters=np.arange(300) // 3)
    held = hold_out(clustered, share=0.2, seed=0)
    assert held.sum() == 60
    assert all(len(set(held[clustered.clusters == k])) == 1 for k in range(100))


def test_held_out_samples_do_not_touch_the_fit():
    data = samples(1500, 2)
    held = hold_out(data, share=0.2, seed=3)
    outcome = np.where(held, data.outcome * 5, data.outcome)
    one, two = (
        fit_with_conformal(d, options={"n_functions": 6, "covariate_functions": 3}, seed=3)
        for d in (data, replace(data, outcome=outcome))
    )
    x = np.linspace(-2, 2, 9)
    curves = [band.response.avg_iv_reg_function(x).estimate for band in (one, two)]
    assert np.array_equal(*curves)
    assert two.factor > 2 * one.factor


@pytest.mark.parametrize("scale", ["constant", "modelled"])
def test_reloaded_band_is_identical(scale):
    band = fit_with_conformal(samples(1500, 4), options={"n_functions": 6, "covariate_functions": 3}, scale=scale)
    again = band_from_arrays(band.response, band.arrays())
    x, c = np.linspace(-2, 2, 9), np.linspace(-1, 1, 9)[:, None]
    assert again.interval(x, c).to_frame().equals(band.interval(x, c).to_frame())


def cover(n, seeds, scale):
    inside, width = [], []
    for seed in seeds:
        band = fit_with_conformal(
            samples(n, seed), options={"n_functions": 6, "covariate_functions": 3}, seed=seed, scale=scale
        )
        new = samples(4000, 10_000 + seed)
        got = band.interval(new.exposure, new.covariates)
        hit = (got.outcome_low <= new.outcome) & (new.outcome <= got.outcome_high)
        inside.append([hit.mean(), *(hit[k].mean() for k in (np.abs(new.exposure) < 0.5, np.abs(new.exposure) > 1.5))])
        width.append((got.outcome_high - got.outcome_low).mean())
    return np.mean(inside, axis=0), np.mean(width)


def test_band_holds_the_share_of_new_outcomes():
    assert cover(1000, range(8), "constant")[0][0] == pytest.approx(0.9, abs=0.025)


@pytest.mark.slow
def test_band_holds_the_share_of_new_outcomes_closely():
    constant, modelled = (cover(2000, range(100), scale) for scale in ("constant", "modelled"))
    assert constant[0][0] == pytest.approx(0.9, abs=0.015)
    assert modelled[0][0] == pytest.approx(0.9, abs=0.015)
    assert np.abs(modelled[0] - 0.9).max() < 0.04  # in the middle and at the ends of the exposure, too
    assert np.abs(constant[0] - 0.9).max() > 0.06
