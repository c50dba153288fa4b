"""Leaving one locus out: the quick way, by sums less a term, against pooling the others."""

import time
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from deepmr.meta import leave_one_out, pool_estimates
from deepmr.meta.curves import fit_curves
from deepmr.meta.evidence import Packed, within_variances
from deepmr.meta.kernel import pool_groups
from deepmr.meta.leave_one_out import without
from deepmr.meta.left_out import left_out
from deepmr.meta.tau2 import Tau2
from deepmr.types import concat_estimates
from tests.meta.builders import studies

K = 70  # above the number up to which all is done the long way
NAMES = ["method", "exposure", "outcome", "estimand", "locus", "n_skipped"]


def packed(kind):
    """One group of effects of a kind."""
    rng = np.random.default_rng(0)
    se, factors = 10.0 ** rng.uniform(-1, 0.3, K), np.zeros((0, K))
    beta = 1 + 0.3 * rng.normal(size=K) * (kind != "null") + se * rng.normal(size=K)
    if kind == "wild":
        se = 10.0 ** rng.uniform(-4, 2, K)
        beta = rng.standard_t(2, K) + se * rng.normal(size=K)
    elif kind == "outlier":
        beta[5] = 1e6
    elif kind == "far from zero":
        beta += 1e6
    elif kind == "equal":
        beta[:] = 2.0
    elif kind == "imprecise":
        se[8] = 1e5
    elif kind == "no errors":
        se[:] = 0
    elif kind == "members":
        factors = 0.2 * rng.normal(size=(4, 1)) + 0.1 * rng.normal(size=(4, K))
        se = np.sqrt(se**2 + np.sum(factors**2, axis=0))
    return Packed(beta=beta, se=se, factors=factors, offsets=np.array([0, K]))


def assert_same(found, expected, rel):
    for name, theirs in expected.columns.items():
        tiny = 1e-14 * np.abs(theirs[np.isfinite(theirs)]).max(initial=0)
        np.testing.assert_allclose(found.columns[name], theirs, rtol=rel, atol=tiny, err_msg=name)
    np.testing.assert_allclose(found.factors, expected.factors, rtol=rel, atol=1e-14)


@pytest.mark.parametrize("tau2", get_args(Tau2))
@pytest.mark.parametrize(
    "kind", ["plain", "null", "wild", "outlier", "far from zero", "equal", "imprecise", "no errors", "members"]
)
def test_the_quick_way_is_the_long_way(kind, tau2):
    loci = packed(kind)
    within = within_variances(loci)
    quick, _ = left_out(loci, within, level=0.95)
    assert len(quick.out) > K - 8
    options = [("HK_IQWiG6", "inverse_variance", "HK"), ("normal", "equal", "V"), ("KR", "inverse_variance", "KR")]
    for ci, weights, prediction in options if tau2 == "REML" else options[:1]:
        chosen = {"tau2": tau2, "ci": ci, "weights": weights, "prediction": prediction, "level": 0.95}
        slow = pool_groups(without(loci, within, quick.out), **chosen)
        assert_same(pool_groups(quick, **chosen), slow, 1e-9)


@pytest.mark.parametrize("k", [12, K])
@pytest.mark.parametrize("tau2", ["REML", "DL", "PM"])
def test_leaving_one_out_is_pooling_the_others(k, tau2):
    rng = np.random.default_rng(5)
    se = rng.uniform(0.1, 0.5, k)
    given = studies(1 + 0.5 * rng.standard_t(3, k) + se * rng.normal(size=k), se)
    found = leave_one_out(given, tau2=tau2)
    assert found.table["locus"].tolist() == [f"l{i}" for i in range(k)]
    for i in range(0, k, 9):
        others = pool_estimates(given.take(np.arange(k) != i), tau2=tau2)
        for name in others.table.columns.drop(NAMES):
            assert found.table[name][i] == pytest.approx(others.table[name][0], rel=1e-9), name


def test_members_errors_are_carried_on():
    """Moderated over all loci once, they move weights, hence all the rest, by a little."""
    loci = packed("members")
    given = studies(loci.beta, loci.se, factors=loci.factors)
    found = leave_one_out(given)
    for i in (0, 7, 33):
        others = pool_estimates(given.take(np.arange(K) != i))
        assert found.error_factors[:, i] == pytest.approx(others.error_factors[:, 0], rel=0.02, abs=0.002)
        for name in ("beta", "se", "tau2", "se_member", "pi_high"):
            assert found.table[name][i] == pytest.approx(others.table[name][0], rel=0.1 if name == "tau2" else 0.02), (
                name
            )


@pytest.mark.parametrize("members", [0, 3])
def test_many_groups_at_once_are_each_by_itself(members):
    rng = np.random.default_rng(4)
    sizes = [5, 2, K, 3, 1, 60, 5]
    parts = []
    for i, n in enumerate(sizes):
        factors = 0.1 * rng.normal(size=(members, n)) if members else None
        se = rng.uniform(0.3, 0.6, n)
        parts.append(studies(rng.normal(size=n), se, factors=factors, exposure=f"x{i}"))
    both = leave_one_out(concat_estimates(parts))
    alone = concat_estimates([leave_one_out(part) for part, n in zip(parts, sizes, strict=True) if n > 2])
    pd.testing.assert_frame_equal(both.table, alone.table, rtol=1e-9)
    if members:
        assert both.error_factors == pytest.approx(alone.error_factors)
    reasons = both.skipped[["exposure", "locus", "reason"]].to_numpy().tolist()
    few = "needs at least 3 loci; has"
    assert reasons == [["x1", "l0", f"{few} 2"], ["x1", "l1", f"{few} 2"], ["x4", "l0", f"{few} 1"]]


def test_nothing_to_leave_out():
    assert len(leave_one_out(studies([1.0], [1.0]).take(np.array([False])))) == 0


def test_two_loci_leave_too_few():
    found = leave_one_out(studies([1, 2], [1, 1]))
    assert len(found) == 0
    assert found.skipped["reason"].tolist() == ["needs at least 3 loci; has 2"] * 2


def test_one_precise_locus_is_left_out_the_long_way():
    loci = packed("plain")
    loci.se[7] = 1e-7
    groups, apart = left_out(loci, within_variances(loci), level=0.95)
    assert 7 in apart
    assert set(apart) | set(groups.out) == set(range(K))
    for i in (3, 7, 50):
        given = studies(loci.beta, loci.se)
        found, others = leave_one_out(given, tau2="DL").table, pool_estimates(given.take(np.arange(K) != i), tau2="DL")
        for name in ("beta", "tau2", "tau2_se", "i2_tau2"):
            assert found[name][i] == pytest.approx(others.table[name][0], rel=1e-9), name


def test_curves_are_the_sums():
    rng = np.random.default_rng(3)
    v, y, s = 10.0 ** rng.uniform(-6, 2, 40), rng.normal(size=40), rng.uniform(size=40)
    factors = rng.normal(size=(2, 40))
    curves, _ = fit_curves(y, v, s, factors, highest=50.0, dominant=0.99)
    tau2 = np.array([0.0, 1e-9, 1e-3, 0.4, 7.0, 50.0])
    u = (tau2 + v.min())[:, None] / (v + tau2[:, None])
    mean = u @ y / u.sum(axis=1)
    r = y - mean[:, None]
    sums = [u, u**2, u**3, None, u * r**2, u**2 * r, u**2 * r**2, u**3 * r, u**3 * r**2, u**2 * s, *(u * f for f in factors[:, None])]  # fmt: skip  # noqa: E501
    expected = [mean if terms is None else terms.sum(axis=1) for terms in sums]
    assert curves.at(tau2) == pytest.approx(np.array(expected), rel=1e-12, abs=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("tau2", ["DL", "HS", "HE", "SJ", "REML", "ML", "PM"])
def test_ten_thousand_loci_take_seconds(tau2):
    rng = np.random.default_rng(1)
    se = 10.0 ** rng.uniform(-1, 0, 10_000)
    given = studies(1 + 0.3 * rng.standard_t(4, 10_000) + se * rng.normal(size=10_000), se)
    start = time.process_time()
    leave_one_out(given, tau2=tau2)
    assert time.process_time() - start < 5
