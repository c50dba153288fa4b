from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm

from deepmr.mr.ivw import ivw, ivw_fixed, ivw_random
from tests.mr.builders import deviations, locus, pack, simulated


def test_equal_weights_by_hand():
    row = ivw(pack([1.0, 2.0, 3.0], [1.0, 2.0, 4.0], 0.1, [0.1, 0.2, 0.3])).table.iloc[0]
    slope = 17 / 14
    squares = (1 - slope) ** 2 + (2 - 2 * slope) ** 2 + (4 - 3 * slope) ** 2
    assert row["beta"] == pytest.approx(slope)
    assert row["se"] == pytest.approx(np.sqrt(squares / 2 / 14))
    assert row["sigma"] == pytest.approx(np.sqrt(squares / 2 / np.mean([0.01, 0.04, 0.09])))
    assert row["f_statistic"] == pytest.approx(np.mean([100, 400, 900]))
    weighted = (100 + 100 + 12 / 0.09) / (100 + 100 + 100)
    assert row["q"] == pytest.approx(
        np.sum(((np.array([1, 2, 4]) - weighted * np.arange(1, 4)) / [0.1, 0.2, 0.3]) ** 2)
    )


def test_equal_weights_equal_ordinary_least_squares():
    given = simulated()
    table = ivw(given).table.set_index("locus")
    for i, name in enumerate(given.loci):
        if name in table.index:
            one = locus(given, i)
            other = sm.OLS(one.beta_outcome, one.beta_exposure).fit()
            assert table.loc[name, "beta"] == pytest.approx(other.params[0])
            assert table.loc[name, "se"] == pytest.approx(other.bse[0])
            assert table.loc[name, "pvalue"] == pytest.approx(other.pvalues[0])
            assert table.loc[name, ["ci_low", "ci_high"]].tolist() == pytest.approx(other.conf_int()[0])


def test_one_instrument_is_its_wald_ratio():
    given = pack([2.0], [3.0], 0.1, 0.4)
    for method in (ivw, ivw_fixed, ivw_random):
        row = method(given, min_instruments=1).table.iloc[0]
        assert (row["beta"], row["se"]) == pytest.approx((1.5, 0.2))
        assert np.isinf(row["df"])


def test_one_instrument_with_members_has_their_error_alone():
    factors = np.full((4, 1, 2), 0.1)
    row = ivw(pack([2.0], [3.0], factors=factors), min_instruments=1).table.iloc[0]
    assert row["se"] == pytest.approx(2 * abs(0.1 - 1.5 * 0.1) / 2)
    assert (row["se_sampling"], row["df"]) == (0, 3)


def test_the_floor_counts_only_below_one():
    given = simulated(counts=(30,), noise=0.05)
    calm = pack(given.beta_exposure[:, 0], given.beta_outcome, 0.1, given.se_outcome * 3)
    floored, free, fixed = (m.table.iloc[0] for m in (ivw_random(calm), ivw_random(calm, floor=False), ivw_fixed(calm)))
    assert floored["sigma"] < 1
    assert floored["se"] == pytest.approx(fixed["se"])
    assert free["se"] == pytest.approx(fixed["se"] * fixed["sigma"])
    wild = pack(given.beta_exposure[:, 0], given.beta_outcome, 0.1, given.se_outcome / 3)
    assert ivw_random(wild).table["se"][0] == pytest.approx(ivw_random(wild, floor=False).table["se"][0])
    t = ivw_random(wild, distribution="t").table.iloc[0]
    assert t["df"] == 29
    assert t["pvalue"] > ivw_random(wild).table["pvalue"][0]


def test_delta_weights_leave_out_what_has_no_ratio():
    given = pack([0.0, 1.0, 2.0, 3.0], [0.1, 1.0, 2.0, 3.1])
    for method in (ivw_fixed, ivw_random):
        assert method(given, weights="delta").table["n"][0] == 3
        assert method(given).table["n"][0] == 4


def test_correlated_errors_shrink_delta_weights():
    given = simulated(counts=(20,), slope=1.0)
    shared = replace(given, error_corr=np.array([[1.0, 0.9], [0.9, 1.0]]))
    apart, together = (ivw_fixed(g, weights="delta").table["se"][0] for g in (given, shared))
    assert together < apart


@pytest.mark.parametrize("method", [ivw, ivw_fixed, ivw_random])
def test_member_part_equals_the_members_own_slopes(method):
    """With small deviations, (1 + 1/K) times the variance over members of each member's slope."""
    rng = np.random.default_rng(2)
    members, n = 6, 25
    x, se_y = rng.uniform(0.5, 2, n), rng.uniform(0.05, 0.15, n)
    y = 0.8 * x + 0.1 * rng.normal(size=n)
    effects = np.stack([x, y], axis=-1) + 1e-4 * rng.normal(size=(members, n, 2))
    mean = effects.mean(axis=0)
    given = pack(mean[:, 0], mean[:, 1], 0.1, se_y, factors=deviations(effects))
    slopes = [method(pack(e[:, 0], e[:, 1], 0.1, se_y)).table["beta"][0] for e in effects]
    expected = np.sqrt((1 + 1 / members) * np.var(slopes, ddof=1))
    assert method(given).table["se_member"][0] == pytest.approx(expected, rel=1e-3)


def test_shared_error_shows_where_scatter_cannot():
    """One factor moves every outcome effect alike: no scatter, and yet the slope is uncertain."""
    x = np.array([1.0, 1.0, 1.0, 1.0])
    factors = np.zeros((5, 4, 2))
    factors[:, :, 1] = deviations(np.array([-2.0, -1.0, 0.0, 1.0, 2.0]))[:, None]
    row = ivw(pack(x, 2 * x, factors=factors)).table.iloc[0]
    assert row["se_sampling"] == pytest.approx(0, abs=1e-12)
    assert row["se"] == pytest.approx(np.sqrt(1.2 * 2.5))
    assert row["df"] == pytest.approx(4)


def test_fixed_effect_with_members_has_no_sampling_part():
    estimates = ivw_fixed(simulated(members=5))
    assert (estimates.table["se_sampling"] == 0).all()
    assert (estimates.table["df"] == 4).all()


@pytest.mark.slow
@pytest.mark.parametrize(("method", "low", "high"), [(ivw, 0.935, 0.965), (ivw_random, 0.92, 0.965)])
def test_coverage_with_independent_errors(method, low, high):
    """4000 loci of 12 instruments; 95 % intervals cover the slope within 1.5 points (normal, floored: within 3)."""
    given = simulated(counts=(12,) * 4000, slope=0.5, noise=0.05, seed=7)
    exact = method(given)
    covered = (exact.table["ci_low"] <= 0.5) & (exact.table["ci_high"] >= 0.5)
    assert low < covered.mean() < high


@pytest.mark.slow
def test_type_one_error_with_shared_errors():
    """Errors that come from the members alone: 5 % tests of a true null reject 3 to 7 %; without members, most."""
    rng = np.random.default_rng(11)
    loci, n, members = 3000, 10, 5
    x = rng.uniform(0.5, 2, loci * n)
    common = rng.normal(size=(members + 1, loci)).repeat(n, axis=1)  # one move of all of a locus's effects a member
    effects = 0.3 * common * x + 0.02 * rng.normal(size=(members + 1, loci * n))
    y = effects[1:].mean(axis=0) - effects[0]  # the truth is one more draw
    stacked = np.stack([np.zeros_like(effects[1:]), effects[1:]], axis=-1)
    counts = [n] * loci
    honest = ivw(pack(x, y, counts=counts, factors=deviations(stacked))).table
    naive = ivw(pack(x, y, counts=counts)).table
    assert 0.03 < (honest["pvalue"] < 0.05).mean() < 0.07
    assert (naive["pvalue"] < 0.05).mean() > 0.8
