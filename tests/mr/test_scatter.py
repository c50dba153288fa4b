"""Scatter about a line where ensemble members share errors."""

import numpy as np
import pytest
from scipy import stats

from deepmr.mr import METHODS
from deepmr.mr.sensitivity import heterogeneity
from tests.mr.builders import deviations, locus, pack, reordered, rescaled, simulated

TESTED = ("ivw", "ivw_fixed", "ivw_random", "egger", "wald_weighted", "wald")


def measured(loci, *, members=5, n=20, shared=0.0, direct=0.0, own=0.0, seed=0):
    """Loci whose members have independent (0) to shared (1) errors of 0.1; the truth differs from them as they do."""
    rng = np.random.default_rng(seed)
    shape = (members + 1, loci, n, 2)
    every = np.sqrt(1 - shared) * rng.normal(size=shape) + np.sqrt(shared) * rng.normal(size=(*shape[:2], 1, 2))
    every *= 0.1
    x = rng.choice([-1, 1], (loci, n)) * rng.uniform(0.5, 2, (loci, n))
    error = every[:-1].mean(axis=0) - every[-1] + own * rng.normal(size=shape[1:])
    y = 0.4 * x + error[..., 1] + direct * rng.normal(size=x.shape)
    factors = deviations(every[:-1])
    se = np.sqrt((factors**2).sum(axis=0) + own**2).reshape(-1, 2)
    x = (x + error[..., 0]).ravel()
    return pack(x, y.ravel(), *se.T, counts=[n] * loci, factors=factors.reshape(members, -1, 2))


@pytest.mark.parametrize("method", TESTED)
@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_few_members_do_not_look_like_direct_effects(method, shared):
    rejected = (METHODS[method](measured(1000, shared=shared)).table["q_pvalue"] < 0.05).mean()
    assert 0.01 < rejected < 0.09


@pytest.mark.parametrize("members", [3, 10])
@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_the_level_with_fewer_and_more_members(members, shared):
    assert (METHODS["egger"](measured(1000, shared=shared, members=members)).table["q_pvalue"] < 0.05).mean() < 0.12


@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_error_of_the_instruments_own_is_allowed_for(shared):
    given = measured(1000, shared=shared, own=0.1)
    assert (METHODS["ivw"](given).table["q_pvalue"] < 0.05).mean() < 0.12
    assert METHODS["ivw"](given).table["q"].mean() == pytest.approx(19, rel=0.15)


def test_direct_effects_are_found():
    assert (METHODS["ivw"](measured(300, direct=0.3)).table["q_pvalue"] < 0.05).mean() > 0.9
    found = heterogeneity(measured(300, direct=0.3)).table
    assert (found["model"] != "ivw_fixed").mean() > 0.9
    assert (heterogeneity(measured(300)).table["model"] == "ivw_fixed").mean() > 0.9


def test_one_shared_direction_by_hand():
    """Three members, errors of y alone and all along d: e'e over what members make it, against F(1, 2)."""
    x, d = np.array([1.0, 2, 3, 4]), np.array([1.0, -1, 1, 0])
    z = deviations(np.array([1.0, 0, -1])[:, None])[:, 0]
    y = 0.5 * x + d
    factors = np.zeros((3, 4, 2))
    factors[:, :, 1] = 0.1 * z[:, None] * d
    # A direction that errors never take has a standard error of almost nothing of its own.
    se_y = np.maximum(0.1 * np.sqrt((z**2).sum()) * np.abs(d), 1e-9)
    row = METHODS["ivw"](pack(x, y, 1e-9, se_y, factors=factors)).table.iloc[0]
    ratio = 1 / (0.01 * (z**2).sum())
    assert row["q"] == pytest.approx(3 * ratio)
    assert row["q_pvalue"] == pytest.approx(stats.f.sf(ratio, 1, 2))


def test_no_p_value_where_chi_square_does_not_hold():
    given, exact = locus(simulated(members=5), 0), locus(simulated(), 0)
    for method in set(METHODS) - {"mrmix"}:  # slow, and without Q
        table = METHODS[method](given).table
        if "q" in table:
            pvalue = table.get("q_pvalue")
            assert pvalue is None or pvalue.between(0, 1).all(), method
    for method in (
        "max_likelihood",
        "profile_score",
        "ivw_gls",
        "egger_gls",
        "ivw_pca",
        "pc_gmm",
        "egger_radial",
        "grip",
    ):
        assert "q_pvalue" not in METHODS[method](given).table, method
        assert "q_pvalue" in METHODS[method](exact).table, method


@pytest.mark.parametrize("method", TESTED)
def test_coding_order_and_units_do_not_matter(method):
    given = measured(3, shared=0.5, own=0.05)
    base = METHODS[method](given).table[["q", "q_pvalue"]].to_numpy()
    signs = np.where(np.arange(60) % 2, -1.0, 1.0)
    for other in (reordered(given), rescaled(given, exposure=1e-8 * signs, outcome=1e8 * signs)):
        assert METHODS[method](other).table[["q", "q_pvalue"]].to_numpy() == pytest.approx(base, rel=1e-9)
    alone = np.concatenate([METHODS[method](locus(given, i)).table[["q", "q_pvalue"]] for i in range(3)])
    assert alone == pytest.approx(base, rel=1e-9)


def test_the_error_of_mrbee_has_room_for_members_beside_the_scatter():
    """Members shift all outcomes of a locus alike, which its scatter does not show."""
    rng = np.random.default_rng(2)
    loci, n, members = 400, 20, 8
    x = rng.uniform(0.5, 2, (loci, n))
    every = 0.05 * rng.normal(size=(members + 1, loci, 1)) * np.ones((1, 1, n))
    y = 0.4 * x + 0.1 * rng.normal(size=x.shape) + every[:-1].mean(axis=0) - every[-1]
    shifts = deviations(every[:-1].reshape(members, -1))
    se_y = np.sqrt(0.01 + (shifts**2).sum(axis=0))
    factors = np.stack([np.zeros_like(shifts), shifts], axis=-1)
    table = METHODS["mrbee"](pack(x.ravel(), y.ravel(), 1e-4, se_y, counts=[n] * loci, factors=factors)).table
    assert np.hypot(table["se_sampling"], table["se_member"]).to_numpy() == pytest.approx(table["se"].to_numpy())
    assert ((table["ci_low"] <= 0.4) & (table["ci_high"] >= 0.4)).mean() > 0.93
