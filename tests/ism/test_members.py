"""Pooling of members against arithmetic done by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from deepmr.errors import InputError
from deepmr.ism.calibration import Calibration
from deepmr.ism.coverage import LEVELS, IntervalCalibration
from deepmr.ism.members import merge_members, pool_members, same_effects, split_members
from deepmr.ism.reliability import ProbabilityCalibration
from deepmr.schema import VARIANTS
from deepmr.types import MemberEffects, Task


def member_effects(delta, *, scale="identity"):
    n = delta.shape[1]
    frame = pd.DataFrame(dict.fromkeys(VARIANTS, "x"), index=range(n)).assign(pos=np.arange(1, n + 1), offset=range(n))
    tasks = tuple(Task(name=f"t{k}", scale=scale) for k in range(delta.shape[2]))
    return MemberEffects(variants=frame, tasks=tasks, delta=delta)


def interval_calibration(task, *, raw_scale, n=99, stretch=1.0):
    scores = stats.norm.isf(stats.t.sf(stretch * stats.t.isf((1 - LEVELS) / 2, 4), 4))
    return IntervalCalibration(
        task=task, targets="value", noise="none", n=n, raw_scale=raw_scale, raw_scale_se=0.1, levels=LEVELS,
        before=LEVELS, variance=LEVELS, isotonic=LEVELS, scores=scores,
    )  # fmt: skip


def probability_calibration(task, temperature):
    grid = np.linspace(0, 1, 3)
    return ProbabilityCalibration(
        task=task, n=60, n_positive=30, temperature=temperature, probability=grid, isotonic=grid, curves=()
    )


def test_by_hand():
    stats = pool_members(member_effects(np.array([1.0, 2.0, 6.0], dtype=np.float32).reshape(3, 1, 1)))
    assert stats.beta[0, 0] == 3
    assert stats.spread[0, 0] == pytest.approx(np.sqrt(7))  # (4 + 1 + 9) / 2
    assert stats.se[0, 0] == pytest.approx(np.sqrt(7 * 4 / 3))
    np.testing.assert_allclose(stats.error_factors[:, 0, 0], np.array([-2, -1, 3]) * np.sqrt(4 / 3 / 2))
    assert stats.traits == ("t0",)
    assert stats.estimand == "model"
    assert stats.beta.dtype == stats.se.dtype == stats.error_factors.dtype == np.float64


def test_factors_hold_the_covariance_of_the_errors():
    delta = np.random.default_rng(0).normal(size=(5, 40, 3)).astype(np.float32)
    stats = pool_members(member_effects(delta))
    np.testing.assert_allclose((stats.error_factors**2).sum(axis=0), stats.se**2, rtol=1e-12)
    factors = stats.error_factors.reshape(5, -1)
    expected = np.cov(delta.reshape(5, -1).astype(float), rowvar=False) * (1 + 1 / 5)
    np.testing.assert_allclose(factors.T @ factors, expected, atol=1e-12)


def test_digits_survive_a_large_common_part():
    tiny = np.array([1.0, -1.0, 0.0])[:, None, None] * 2.0**-20
    delta = (1.0 + tiny).astype(np.float32)  # exact in float32
    assert pool_members(member_effects(delta)).spread[0, 0] == pytest.approx(2.0**-20, rel=1e-9)


def test_edit_that_no_member_sees_is_exactly_zero():
    stats = pool_members(member_effects(np.zeros((5, 2, 1), dtype=np.float32)))
    assert not stats.beta.any()
    assert not stats.se.any()


def test_single_member_is_refused_with_the_reason():
    with pytest.raises(InputError, match=r"1 ensemble member.*spread over members.*at least 2"):
        pool_members(member_effects(np.ones((1, 2, 1), dtype=np.float32)))


@pytest.mark.parametrize(("raw_scale", "factor"), [(4.0, 2.0), (0.25, 1.0), (0.0, 1.0)])
def test_variance_scaling_never_narrows(raw_scale, factor):
    effects = member_effects(np.random.default_rng(1).normal(size=(5, 6, 2)).astype(np.float32))
    calibration = Calibration(tasks=(interval_calibration("t1", raw_scale=raw_scale),), n_members=5)
    plain, scaled = pool_members(effects), pool_members(effects, calibration=calibration)
    np.testing.assert_array_equal(scaled.beta, plain.beta)
    np.testing.assert_array_equal(scaled.spread, plain.spread)
    np.testing.assert_array_equal(scaled.se[:, 0], plain.se[:, 0])
    np.testing.assert_allclose(scaled.se[:, 1], factor * plain.se[:, 1])
    np.testing.assert_allclose((scaled.error_factors**2).sum(axis=0), scaled.se**2)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_isotonic_scaling_is_the_factor_at_the_level(level):
    effects = member_effects(np.random.default_rng(1).normal(size=(5, 6, 1)).astype(np.float32))
    for stretch, factor in [(3.0, 3.0), (0.5, 1.0)]:
        calibration = Calibration(tasks=(interval_calibration("t0", raw_scale=1.0, stretch=stretch),), n_members=5)
        scaled = pool_members(effects, calibration=calibration, scaling="isotonic", level=level)
        np.testing.assert_allclose(scaled.se, factor * pool_members(effects).se, rtol=1e-6)


def test_isotonic_scaling_refuses_a_level_beyond_the_data():
    calibration = Calibration(tasks=(interval_calibration("t0", raw_scale=1.0, n=10),), n_members=5)
    effects = member_effects(np.ones((5, 1, 1), dtype=np.float32))
    with pytest.raises(InputError, match=r"10 sequences serves levels .* 0\.9091; got 0\.95"):
        pool_members(effects, calibration=calibration, scaling="isotonic", level=0.95)


def test_binary_effects_are_divided_by_the_temperature():
    effects = member_effects(np.random.default_rng(2).normal(size=(5, 6, 2)).astype(np.float32), scale="logit")
    calibration = Calibration(tasks=(probability_calibration("t0", 2.0),), n_members=5)
    plain, cooled = pool_members(effects), pool_members(effects, calibration=calibration)
    for name in ("beta", "se", "spread"):
        np.testing.assert_allclose(getattr(cooled, name)[:, 0], getattr(plain, name)[:, 0] / 2)
        np.testing.assert_array_equal(getattr(cooled, name)[:, 1], getattr(plain, name)[:, 1])
    np.testing.assert_allclose(cooled.error_factors[:, :, 0], plain.error_factors[:, :, 0] / 2)


def test_same_effects_are_found_and_zeros_are_not_compared():
    rng = np.random.default_rng(0)
    delta = rng.normal(size=(4, 6, 2)).astype(np.float32)
    delta[3] = delta[1]
    assert same_effects(member_effects(delta)).tolist() == [0, 1, 2, 1]
    delta[3, 5, 1] += 1e-6
    assert same_effects(member_effects(delta)).tolist() == [0, 1, 2, 3]
    assert same_effects(member_effects(0 * delta)).tolist() == [0, 1, 2, 3]


def test_masks_are_averaged_and_the_spread_is_that_of_networks():
    rng = np.random.default_rng(1)
    networks = rng.normal(size=(3, 1, 1, 1))
    delta = (networks + 0.5 * rng.normal(size=(3, 4, 5, 1))).reshape(12, 5, 1).astype(np.float32)
    merged = merge_members(member_effects(delta), np.repeat(np.arange(3), 4))
    np.testing.assert_allclose(merged.delta, delta.reshape(3, 4, 5, 1).mean(axis=1), rtol=1e-6)
    pooled, naive = pool_members(merged), pool_members(member_effects(delta))
    np.testing.assert_allclose(pooled.beta, naive.beta, rtol=1e-6)
    expected = np.sqrt((1 + 1 / 3) * merged.delta.astype(float).var(axis=0, ddof=1))
    np.testing.assert_allclose(pooled.se, expected, rtol=1e-5)


def test_masks_counted_as_trainings_do_not_cover_another_training():
    """Coverage of the mean of masks of one more network: per network as promised, per mask too low."""
    rng = np.random.default_rng(2)
    n, networks, masks = 4000, 4, 10
    of_network = rng.normal(size=(networks + 1, 1, n, 1))
    delta = of_network + 0.5 * rng.normal(size=(networks + 1, masks, n, 1))
    truth = delta[-1].mean(axis=0)[:, 0]
    effects = member_effects(delta[:-1].reshape(-1, n, 1).astype(np.float32))
    held = {}
    for name, pooled in (
        ("network", pool_members(merge_members(effects, np.repeat(np.arange(networks), masks)))),
        ("mask", pool_members(effects)),
    ):
        t = stats.t.isf(0.025, len(pooled.error_factors) - 1)
        held[name] = np.mean(np.abs(pooled.beta[:, 0] - truth) <= t * pooled.se[:, 0])
    assert held["network"] == pytest.approx(0.95, abs=0.012)
    assert held["mask"] < 0.9


def test_halves_hold_every_member_once():
    delta = np.arange(5, dtype=np.float32).reshape(5, 1, 1)
    halves = split_members(member_effects(delta))
    assert [half.delta.ravel().tolist() for half in halves] == [[0, 2, 4], [1, 3]]
    with pytest.raises(InputError, match="at least 4, two for each half; the effects come from 3"):
        split_members(member_effects(delta[:3]))
