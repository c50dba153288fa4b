from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm

from deepmr.mr.egger import egger, egger_robust
from tests.mr.builders import deviations, pack, rescaled, simulated


def test_a_line_with_a_direct_effect_by_hand():
    # Oriented: x = 1, 2, 3 and y = 1, 3, 2, of which the line is 1 + x / 2.
    row = egger(pack([1.0, -2.0, 3.0], [1.0, -3.0, 2.0], 0.1, 1.0)).table.iloc[0]
    assert (row["beta"], row["intercept"]) == pytest.approx((0.5, 1.0))
    assert row["sigma"] == pytest.approx(np.sqrt(1.5))
    assert row["se"] == pytest.approx(np.sqrt(1.5 / 2))
    assert row["intercept_se"] == pytest.approx(np.sqrt(1.5 * (1 / 3 + 2)))
    assert (row["q"], row["q_df"], row["df"]) == pytest.approx((1.5, 1, 1))


def test_equals_weighted_least_squares_of_statsmodels():
    given = simulated(counts=(25,), noise=0.2, seed=4)
    wild = pack(given.beta_exposure[:, 0], given.beta_outcome, 0.1, given.se_outcome / 2)  # scatter above the floor
    sign = np.sign(wild.beta_exposure[:, 0])
    design = sm.add_constant(np.abs(wild.beta_exposure[:, 0]))
    other = sm.WLS(wild.beta_outcome * sign, design, weights=wild.se_outcome**-2.0).fit()
    row = egger(wild).table.iloc[0]
    assert [row["intercept"], row["beta"]] == pytest.approx(other.params)
    assert [row["intercept_se"], row["se"]] == pytest.approx(other.bse)
    assert [row["intercept_pvalue"], row["pvalue"]] == pytest.approx(other.pvalues)
    assert row["sigma"] ** 2 == pytest.approx(other.scale)


def test_normal_and_t():
    given = simulated(counts=(6,))
    normal, t = egger(given, distribution="normal").table.iloc[0], egger(given).table.iloc[0]
    assert (np.isinf(normal["df"]), t["df"]) == (True, 4)
    assert t["pvalue"] > normal["pvalue"]


@pytest.mark.parametrize("method", [egger, egger_robust])
@pytest.mark.parametrize("n", [3, 12])
def test_exposure_effects_of_one_size_do_not_identify_it(method, n):
    estimates = method(pack(np.full(n, 0.3) * np.where(np.arange(n) % 2, 1, -1), np.arange(n)))
    assert len(estimates) == 0
    assert estimates.skipped["reason"][0].startswith("not identified: all exposure effects have the same size")


def test_two_instruments_are_too_few_whatever_is_asked():
    reason = egger(pack([1.0, 2.0], [1.0, 2.0]), min_instruments=1).skipped["reason"][0]
    assert reason == "needs at least 3 instruments; has 2"


def test_i2_gx_is_high_for_strong_and_low_for_weak_spread():
    x = np.linspace(1, 2, 10)
    assert egger(pack(x, x, 0.01)).table["i2_gx"][0] > 0.99
    assert egger(pack(x, x, 5.0)).table["i2_gx"][0] == 0


@pytest.mark.parametrize("method", [egger, egger_robust])
def test_members_move_slope_and_intercept_as_they_would_by_themselves(method):
    """Small deviations: against each member's own fit (plain for both methods, with so few instruments)."""
    rng = np.random.default_rng(2)
    members, n = 6, 10
    x = rng.uniform(0.5, 2, n)
    y = 0.3 + 0.8 * x + 0.1 * rng.normal(size=n)
    effects = np.stack([x, y], axis=-1) + 1e-4 * rng.normal(size=(members, n, 2))
    mean = effects.mean(axis=0)
    row = method(pack(mean[:, 0], mean[:, 1], factors=deviations(effects))).table.iloc[0]
    fits = [method(pack(e[:, 0], e[:, 1])).table.iloc[0] for e in effects]
    slope_var, intercept_var = (
        (1 + 1 / members) * np.var([fit[name] for fit in fits], ddof=1) for name in ("beta", "intercept")
    )
    assert row["se_member"] == pytest.approx(np.sqrt(slope_var), rel=1e-3)
    design = sm.add_constant(mean[:, 0])
    scatter = row["sigma"] ** 2 * 0.1**2 * np.linalg.inv(design.T @ design)[0, 0]
    assert row["intercept_se"] == pytest.approx(np.sqrt(scatter + intercept_var), rel=1e-6)


def test_orientation_turns_the_members_too():
    given = simulated(counts=(8,), members=4)
    signs = np.where(np.arange(8) % 2, 1.0, -1.0)
    ours = egger(rescaled(given, exposure=signs, outcome=signs))
    assert ours.error_factors == pytest.approx(egger(given).error_factors)


def test_outliers_hardly_move_the_robust_line():
    given = simulated(counts=(40,), noise=0.02, seed=3)
    y = given.beta_outcome.copy()
    largest = np.argsort(np.abs(given.beta_exposure[:, 0]))[-8:]
    y[largest] += 3 * np.sign(given.beta_exposure[largest, 0])
    spoiled = pack(given.beta_exposure[:, 0], y, 0.02, given.se_outcome)
    assert egger_robust(spoiled).table["beta"][0] == pytest.approx(0.5, abs=0.03)
    assert abs(egger(spoiled).table["beta"][0] - 0.5) > 0.5


def test_clean_data_give_nearly_the_plain_line():
    given = simulated(counts=(200,), seed=9)
    plain, robust = egger(given).table.iloc[0], egger_robust(given).table.iloc[0]
    assert abs(robust["beta"] - plain["beta"]) < 0.5 * plain["se"]
    assert robust["se"] == pytest.approx(plain["se"], rel=0.25)


def test_few_instruments_get_the_plain_line():
    given = simulated(counts=(10, 11))
    plain, robust = egger(given, distribution="normal"), egger_robust(given)
    assert robust.table["beta"][0] == plain.table["beta"][0]
    assert robust.table["se"][0] == plain.table["se"][0]
    assert robust.table["beta"][1] != plain.table["beta"][1]
    always = egger_robust(given, n_robust=3).table
    assert always["beta"][0] != plain.table["beta"][0]
    assert always["beta"][1] == robust.table["beta"][1]


def test_robust_with_members_has_no_floor():
    given = simulated(counts=(30,), members=5)
    calm = replace(given, se_outcome=given.se_outcome * 3)
    with_members, without = (egger_robust(i).table.iloc[0] for i in (calm, replace(calm, error_factors=None)))
    assert with_members["sigma"] == pytest.approx(without["sigma"])
    assert without["sigma"] < 1
    assert with_members["se_sampling"] == pytest.approx(without["se"] * without["sigma"])
