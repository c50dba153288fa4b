"""Heterogeneity, strength and outliers."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from deepmr.mr.sensitivity import heterogeneity, q_outliers, strength
from tests.mr.builders import deviations, locus, pack, reordered, rescaled, simulated


def test_heterogeneity_is_least_squares_by_hand():
    given = simulated(counts=(8,), noise=0.2)
    x, y, w = (
        np.abs(given.beta_exposure[:, 0]),
        given.beta_outcome * np.sign(given.beta_exposure[:, 0]),
        given.se_outcome,
    )
    row = heterogeneity(given).table.iloc[0]
    rest = [np.linalg.lstsq(m / w[:, None], y / w, rcond=None)[1][0] for m in (x[:, None], np.column_stack([x, x**0]))]
    assert (row["q_ivw"], row["q_egger"]) == pytest.approx(tuple(rest))
    assert (row["q_ivw_df"], row["q_egger_df"]) == (7, 6)
    assert row["q_ivw_pvalue"] == pytest.approx(stats.chi2.sf(rest[0], 7))
    assert row["q_difference_pvalue"] == pytest.approx(stats.chi2.sf(rest[0] - rest[1], 1))
    assert row["i2_ivw"] == pytest.approx(max(0, (rest[0] - 7) / rest[0]))


@pytest.mark.parametrize(
    ("shift", "scatter", "model"),
    [(0.0, 0.0, "ivw_fixed"), (5.0, 0.0, "egger_fixed"), (0.0, 4.0, "ivw_random"), (30.0, 4.0, "egger_random")],
)
def test_ruckers_rule(shift, scatter, model):
    x = np.linspace(1, 3, 12)
    around = np.array([1, -1, -1, 1] * 3)  # has no slope and no mean
    y = 0.5 * x + 0.1 * shift + 0.1 * (0.9 + scatter) * around
    assert heterogeneity(pack(x, y)).table["model"][0] == model


def test_strength_by_hand():
    given = pack([1.0, 2, 3, 4], np.ones(4), [0.5, 1, 1, 4], 1.0, counts=[3, 1], n=(1000, 1000))
    row = strength(given).table.iloc[0]
    f = np.array([4.0, 4, 9])
    assert (row["f_statistic"], row["f_median"], row["f_min"], row["n_weak"]) == (f.mean(), 4, 4, 3)
    assert row["relative_bias"] == pytest.approx(1 / f.mean())
    assert row["r2_exposure"] == pytest.approx((f / (998 + f)).sum())
    assert strength(given).table["f_median"][1] == 1
    even = strength(pack([1.0, 2, 3, 4], np.ones(4), 1.0))
    assert even.table["f_median"][0] == 6.5
    assert "r2_exposure" not in even.table


def test_outliers_stand_apart_and_are_corrected_for():
    x = np.linspace(1, 2, 10)
    y = 0.5 * x
    y[4] += 0.35
    given = pack(x, y, 0.01, 0.1)
    table = q_outliers(given).table
    slope = (x @ y) / (x @ x)
    assert table["q"].to_numpy() == pytest.approx(((y - slope * x) / 0.1) ** 2)
    assert table.loc[table["outlier"], "variant_id"].tolist() == ["v4"]
    strict = q_outliers(given, significance=1e-4)
    assert not strict.table["outlier"].any()
    border = stats.chi2.sf(table["q"][4], 1) * 1.001
    assert q_outliers(given, significance=border, correction="none").table["outlier"].sum() == 1
    assert not q_outliers(given, significance=border).table["outlier"].any()


@pytest.mark.parametrize("find", [heterogeneity, strength, q_outliers])
def test_invariance_batches_and_reasons(find):
    given = simulated()
    base = find(given)
    alone = pd.concat([find(locus(given, i)).table for i in range(6)], ignore_index=True)
    pd.testing.assert_frame_equal(base.table, alone, rtol=1e-9, check_dtype=False)
    signs = np.where(np.arange(len(given.variants)) % 2, -1.0, 1.0)
    moved = find(rescaled(given, exposure=2 * signs, outcome=2 * signs)).table
    columns = [c for c in base.table if not c.startswith("intercept") or c.endswith("pvalue")]
    pd.testing.assert_frame_equal(moved[columns], base.table[columns], rtol=1e-9)
    if find is not q_outliers:
        shuffled = find(reordered(given)).table
        pd.testing.assert_frame_equal(shuffled, base.table, rtol=1e-9)
    assert base.skipped["locus"].tolist() == (["locus0"] if find is strength else ["locus0", "locus3"])
    assert base.skipped["reason"][0].startswith("needs at least")
    assert len(find(simulated(counts=(0, 0)))) == 0
    assert not base.table.isna().any().any()


def test_data_without_noise_have_no_heterogeneity():
    row = heterogeneity(pack([1.0, 2, 3, 4], [0.5, 1, 1.5, 2])).table.iloc[0]
    assert row["q_ivw"] == pytest.approx(0, abs=1e-20)
    assert (row["i2_ivw"], row["model"]) == (0, "ivw_fixed")
    assert not q_outliers(pack([1.0, 2, 3, 4], [0.5, 1, 1.5, 2])).table["outlier"].any()


def test_under_the_null_tests_reject_as_often_as_they_say():
    rng = np.random.default_rng(7)
    loci, each = 4000, 12
    x = rng.uniform(0.5, 2, loci * each)
    given = pack(x, 0.4 * x + 0.1 * rng.normal(size=loci * each), 1e-3, 0.1, counts=[each] * loci)
    table = heterogeneity(given).table
    error = 4 * np.sqrt(0.05 * 0.95 / loci)
    for name in ("q_ivw_pvalue", "q_egger_pvalue", "q_difference_pvalue"):
        assert (table[name] < 0.05).mean() == pytest.approx(0.05, abs=error), name
    assert (table["intercept_pvalue"] < 0.05).mean() < 0.05  # allows for scatter that is not there
    found = q_outliers(given).table
    assert found.groupby("locus")["outlier"].any().mean() < 0.05 + error


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_with_members_outliers_and_intercepts_keep_their_level(shared):
    """The truth is one more draw of what the members are draws of, exactly on a line."""
    rng = np.random.default_rng(3)
    loci, each, members = 1000, 20, 5
    x = np.tile(rng.uniform(0.5, 2, loci * each), (members, 1))

    def draw():
        common = np.repeat(rng.normal(size=loci), each)
        return np.sqrt(1 - shared) * rng.normal(size=loci * each) + np.sqrt(shared) * common

    truth = draw()
    y = np.stack([0.5 * x[0] + 0.1 * (draw() - truth) for _ in range(members)])
    factors = deviations(np.stack([x, y], axis=-1))
    se = np.sqrt((factors[:, :, 1] ** 2).sum(axis=0))
    given = pack(x[0], y.mean(axis=0), 1e-3, se, counts=[each] * loci, factors=factors)
    assert q_outliers(given).table.groupby("locus")["outlier"].any().mean() < 0.07
    rejected = (heterogeneity(given).table["intercept_pvalue"] < 0.05).mean()
    assert 0.03 < rejected < 0.12
