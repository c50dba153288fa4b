"""Halves of an ensemble averaged: error factors against arithmetic, loci joined by name, coverage."""

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.inference import interval
from deepmr.mr import METHODS, estimate_effects
from deepmr.mr.splitting import average_halves
from deepmr.schema import SKIPPED
from deepmr.types import Estimates, Instruments


def factors_of(slopes):
    """Error factors (members, loci) of slopes of members, as `pool_members` scales them."""
    k = len(slopes)
    return (slopes - slopes.mean(axis=0)) * np.sqrt((1 + 1 / k) / (k - 1))


def part(slopes, *, loci=None, n=9, sampling=0.0, skipped=()):
    """Estimates whose only error is that of members with these slopes (members, loci)."""
    factors = factors_of(slopes)
    count = slopes.shape[1]
    table = pd.DataFrame(
        {"method": "ivw", "exposure": "x", "outcome": "y", "locus": loci or [f"l{i}" for i in range(count)],
         "estimand": "model", "beta": slopes.mean(axis=0), "se": np.sqrt((factors**2).sum(axis=0)), "ci_low": -9.0,
         "ci_high": 9.0, "pvalue": 1.0, "n": n, "se_sampling": sampling}
    )  # fmt: skip
    gone = pd.DataFrame([("ivw", "x", "y", name, "has 0") for name in skipped], columns=list(SKIPPED))
    return Estimates(table=table, skipped=gone, error_factors=factors)


def test_two_members_a_half_by_hand():
    both = average_halves([part(np.array([[1.0], [3.0]])), part(np.array([[4.0], [8.0]]))])
    row = both.table.iloc[0]
    # within halves: deviations -1, 1 and -2, 2: variance 10 / (4 - 2) = 5, times 1 + 1/4
    assert row["beta"] == 4
    assert row["se"] == pytest.approx(np.sqrt(5 * 1.25))
    assert row["df"] == pytest.approx(2)
    assert both.error_factors.shape == (3, 1)
    assert both.error_factors.sum() == pytest.approx(0)
    low, high = interval(np.array([4.0]), np.array([np.sqrt(6.25)]), df=2.0, level=0.95)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low[0], high[0]))


def test_halves_of_unequal_size_and_products_between_loci():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 4)), rng.normal(size=(2, 4))
    both = average_halves([part(a), part(b)])
    within = np.vstack([a - a.mean(axis=0), b - b.mean(axis=0)])
    expected = (1 + (1 / 3 + 1 / 2) / 4) / (5 - 2) * within.T @ within
    np.testing.assert_allclose(both.error_factors.T @ both.error_factors, expected)
    assert both.error_factors.shape == (4, 4)


def test_loci_are_joined_by_name():
    one = part(np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]), loci=["a", "b", "c"], skipped=["d"])
    two = part(np.array([[30.0, 10.0], [50.0, 30.0]]), loci=["c", "a"], skipped=["b", "d"], n=4)
    both = average_halves([one, two])
    assert both.table[["locus", "beta", "n"]].to_numpy().tolist() == [["a", 11.0, 6], ["c", 22.0, 6]]
    assert both.skipped["locus"].tolist() == ["d", "b"]
    assert both.skipped["reason"].tolist() == ["half 1 of the members: has 0", "half 2 of the members: has 0"]


def test_scatter_of_the_halves_is_taken_as_common():
    one, two = part(np.ones((2, 1)), sampling=0.1), part(np.ones((2, 1)), sampling=0.3)
    assert average_halves([one, two]).table["se"].tolist() == pytest.approx([0.2])


def test_coverage_of_one_more_member():
    """With 5 members of one population, the interval of the mean holds one more member's slope."""
    rng = np.random.default_rng(1)
    slopes = rng.normal(size=(5, 4000))
    truth = rng.normal(size=4000)
    table = average_halves([part(slopes[::2]), part(slopes[1::2])]).table
    held = np.mean((table["ci_low"] <= truth) & (truth <= table["ci_high"]))
    assert held == pytest.approx(0.95, abs=0.012)  # 3 standard errors


def test_every_method_that_gives_a_standard_error():
    rng = np.random.default_rng(2)
    parts, refused = [], []
    for k in (3, 2):
        x = rng.normal(size=12) * 3
        members = np.stack([x, 2 * x], axis=-1) + 0.05 * rng.normal(size=(k, 12, 2))
        factors = factors_of(members)
        se = np.sqrt((factors**2).sum(axis=0)) + 1e-3
        names = ["variant_id", "locus", "chrom", "pos", "effect_allele", "other_allele"]
        parts.append(
            Instruments(
                loci=("a",), offsets=np.array([0, 12]), exposures=("x",), outcome="y",
                variants=pd.DataFrame({name: [f"v{i}" for i in range(12)] for name in names}),
                beta_exposure=members.mean(axis=0)[:, [0]], se_exposure=se[:, [0]],
                beta_outcome=members.mean(axis=0)[:, 1], se_outcome=se[:, 1], error_factors=factors,
            )
        )  # fmt: skip
    for method in METHODS:
        found = [estimate_effects(p, methods=[method]) for p in parts]
        if any("n_intervals" in f.table and f.table["n_intervals"].notna().any() for f in found):
            with pytest.raises(InputError, match=f"{method} gives confidence sets"):
                average_halves(found)
            refused.append(method)
        elif all(len(f) for f in found):
            beta = average_halves(found).table["beta"]
            assert beta.iloc[0] == pytest.approx(2, abs=0.2), method
        else:
            assert average_halves(found).skipped["locus"].tolist() == ["a"], method
    assert set(refused) <= {"contamination_mixture", "anderson_rubin", "clr"}


def test_halves_without_members():
    bare = part(np.ones((2, 1)))
    with pytest.raises(InputError, match="need the errors of their members"):
        average_halves([Estimates(table=bare.table), Estimates(table=bare.table)])
