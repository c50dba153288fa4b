"""Direct effects from total ones: answers by hand, the delta method, coverage, gaps, cycles, sparse networks."""

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.inference import interval, two_sided
from deepmr.mr.network import direct_moves, direct_of, find_direct_effects
from deepmr.mr.network_sparse import sparse_network, total_of
from deepmr.mr.network_totals import common_loci, locus_correlation
from deepmr.types import Estimates

CHAIN = np.zeros((3, 3))
CHAIN[0, 1], CHAIN[1, 2] = 2.0, 0.5


def table_of(total, se, *, names="ABCDEFGHIJ", n=50, locus="*", factors=None):
    """Estimates of all pairs that are not NaN."""
    at = [(i, j) for i in range(len(total)) for j in range(len(total)) if i != j and np.isfinite(total[i, j])]
    beta = np.array([total[i, j] for i, j in at])
    se = np.array([se[i, j] for i, j in at])
    low, high = interval(beta, se)
    frame = pd.DataFrame({"method": "ivw", "exposure": [names[i] for i, _ in at], "outcome": [names[j] for _, j in at]})
    frame = frame.assign(locus=locus, estimand="model", beta=beta, se=se, ci_low=low, ci_high=high)
    frame = frame.assign(pvalue=two_sided(beta, se), n=n)
    own = None if factors is None else np.stack([[f[i, j] for i, j in at] for f in factors])
    return Estimates(table=frame, error_factors=own)


def flat(value, p=3):
    return np.full((p, p), value)


def test_a_chain_by_hand():
    total = total_of(CHAIN)
    assert total.tolist() == [[1.0, 2.0, 1.0], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(direct_of(total), CHAIN, atol=1e-14)


def test_feedback_by_hand():
    # A acts on B by 0.5 and B on A by 0.4: an edit of A moves A by 1 / 0.8, and B by 0.5 / 0.8.
    loop = np.array([[0.0, 0.5], [0.4, 0.0]])
    np.testing.assert_allclose(total_of(loop), [[1.0, 0.5], [0.4, 1.0]])
    found = find_direct_effects(table_of(total_of(loop), flat(0.01, 2)))
    np.testing.assert_allclose(found.direct, loop, atol=1e-12)
    assert found.spectral_radius == pytest.approx(np.sqrt(0.2))
    assert found.settles
    assert found.loops == (("A", "B"),)


def test_feedback_that_does_not_settle_is_told():
    loop = np.array([[0.0, 2.0], [1.5, 0.0]])
    assert not find_direct_effects(table_of(total_of(loop), flat(0.01, 2))).settles


@pytest.mark.parametrize("p", [2, 3, 6])
def test_inversion_returns_any_network(p):
    rng = np.random.default_rng(p)
    direct = rng.normal(size=(p, p)) * 0.4 * (1 - np.eye(p))
    np.testing.assert_allclose(direct_of(total_of(direct)), direct, atol=1e-10)


def test_moves_are_derivatives():
    rng = np.random.default_rng(0)
    away = 1 - np.eye(4)
    total = total_of(rng.normal(size=(4, 4)) * 0.3 * away)
    move = rng.normal(size=(4, 4)) * away
    slow = (direct_of(total + 1e-6 * move) - direct_of(total - 1e-6 * move)) / 2e-6
    np.testing.assert_allclose(direct_moves(total, move[None])[0], slow, atol=1e-7)


def test_errors_that_members_share_cancel():
    # Every member has the same chain, at a scale of its own of B: A on C is direct in none of them.
    total = total_of(CHAIN)
    members = []
    for scale in (0.98, 1.0, 1.02):
        own = CHAIN.copy()
        own[0, 1] *= scale
        own[1, 2] /= scale
        members.append(total_of(own) - total)
    factors = np.stack(members)
    se = np.maximum(np.sqrt(np.sum(factors**2, axis=0)), 1e-9)
    row = find_direct_effects(table_of(total, se, factors=factors)).table.set_index(["exposure", "outcome"])
    assert row.loc[("A", "B"), "direct_se"] == pytest.approx(2 * np.sqrt(2) * 0.02, rel=0.01)
    assert row.loc[("A", "C"), "direct_se"] < 1e-3  # apart, errors of A on B and of B on C would make 0.03


def test_table_has_total_direct_and_mediated():
    found = find_direct_effects(table_of(total_of(CHAIN), flat(0.02)))
    rows = found.table.set_index(["exposure", "outcome"])
    assert rows["edge"].to_dict() == {
        ("A", "B"): "direct", ("A", "C"): "total", ("B", "A"): "none",
        ("B", "C"): "direct", ("C", "A"): "none", ("C", "B"): "none",
    }  # fmt: skip
    np.testing.assert_allclose(rows["total"], rows["direct"] + rows["mediated"])
    assert rows.loc[("A", "C"), "mediated"] == pytest.approx(1.0)
    assert found.loops == ()


@pytest.mark.parametrize("uncertainty", ["delta", "draws"])
def test_what_rounding_leaves_of_a_mediated_effect_is_nought(uncertainty):
    total = np.array([[1.0, 3.315573857527246], [0.18512999866655327, 1.0]])  # rounding left 4e-16 of this one
    table = find_direct_effects(table_of(total, flat(0.02, 2)), uncertainty=uncertainty).table
    assert (table[["mediated", "mediated_se", "mediated_ci_low", "mediated_ci_high"]] == 0).all(axis=None)
    np.testing.assert_allclose(table["direct"], table["total"], rtol=1e-12)
    chain = total_of(CHAIN * 1e-4)  # a mediated effect of 5e-9 is small, and no rounding
    rows = find_direct_effects(table_of(chain, flat(1e-9))).table.set_index(["exposure", "outcome"])
    assert rows.loc[("A", "C"), "mediated"] == pytest.approx(1e-8, rel=1e-3)


def test_draws_agree_with_the_delta_method():
    estimates = table_of(total_of(CHAIN), flat(0.01), n=10_000)
    delta = find_direct_effects(estimates).table
    drawn = find_direct_effects(estimates, uncertainty="draws", n_draws=4000).table
    np.testing.assert_allclose(drawn["direct_se"], delta["direct_se"], rtol=0.08)
    np.testing.assert_allclose(drawn["mediated_se"], delta["mediated_se"], rtol=0.1, atol=5e-4)


def test_a_missing_pair_takes_a_task_out():
    total = total_of(np.zeros((4, 4)))
    total[3, 0] = np.nan
    total[1, 3] = np.nan
    found = find_direct_effects(table_of(total, flat(0.1, 4)))
    assert found.tasks == ("A", "B", "C")
    assert found.skipped.to_dict("records")[0]["exposure"] == "D"
    assert "no total effect of" in found.skipped["reason"][0]


def test_copies_are_refused():
    total = np.ones((2, 2))
    with pytest.raises(InputError, match="cannot be inverted"):
        find_direct_effects(table_of(total, flat(0.1, 2)))


def test_a_pair_twice_and_two_methods_are_refused():
    one = table_of(total_of(CHAIN), flat(0.1))
    twice = Estimates(table=pd.concat([one.table, one.table.iloc[:1]], ignore_index=True))
    with pytest.raises(InputError, match="more than one row"):
        find_direct_effects(twice)
    mixed = Estimates(table=one.table.assign(method=["ivw"] * 5 + ["egger"]))
    with pytest.raises(InputError, match="of one method"):
        find_direct_effects(mixed)


def test_sparse_finds_the_network_and_leaves_the_rest_out():
    rng = np.random.default_rng(1)
    p = 8
    direct = np.zeros((p, p))
    for i, j in [(0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (6, 7)]:
        direct[i, j] = rng.choice([-1, 1]) * rng.uniform(0.4, 0.9)
    noise = 0.02 * rng.normal(size=(p, p)) * (1 - np.eye(p))
    fit = sparse_network(total_of(direct) + noise, flat(0.02, p), n=100.0)
    assert np.array_equal(fit.direct != 0, direct != 0)
    exact = direct_of(total_of(direct) + noise)
    assert np.sum((fit.direct - direct) ** 2) < np.sum((exact - direct) ** 2) / 2


def test_sparse_does_without_missing_pairs():
    total = total_of(CHAIN)
    total[0, 2] = np.nan
    found = find_direct_effects(table_of(total, flat(0.02)), estimator="sparse", n_draws=50)
    np.testing.assert_allclose(found.direct, CHAIN, atol=0.02)
    assert found.skipped.iloc[0].to_dict() == {"exposure": "A", "outcome": "C", "reason": "it has no total effect"}
    stable = found.table.set_index(["exposure", "outcome"])["stability"]
    assert stable[("A", "B")] == 1
    assert stable[("C", "A")] < 0.2


def test_correlation_of_loci():
    rng = np.random.default_rng(2)
    shared = rng.normal(size=(200, 1))
    values = {("A", "B"): shared[:, 0], ("A", "C"): -shared[:, 0], ("B", "A"): rng.normal(size=200)}
    parts = [
        pd.DataFrame({"exposure": e, "outcome": o, "beta": v, "locus": [f"l{i}" for i in range(200)]})
        for (e, o), v in values.items()
    ]
    frame = pd.concat(parts, ignore_index=True).assign(method="ivw", estimand="model", se=1.0, pvalue=0.5, n=3)
    frame = frame.assign(ci_low=frame["beta"] - 2, ci_high=frame["beta"] + 2)
    local = Estimates(table=frame)
    pooled = Estimates(table=frame.drop_duplicates(["exposure", "outcome"]).assign(locus="*").reset_index(drop=True))
    corr = locus_correlation(local, pooled)
    np.testing.assert_allclose(corr[0, 1], -1, atol=1e-6)
    assert abs(corr[0, 2]) < 0.2
    lacking = local.take(((frame["locus"] != "l0") | (frame["outcome"] != "C")).to_numpy())
    kept = common_loci(lacking).table
    assert len(kept) == 3 * 199
    assert "l0" not in set(kept["locus"])


def test_direct_effects_are_covered_and_absent_ones_rarely_found():
    rng = np.random.default_rng(3)
    total, away = total_of(CHAIN), 1 - np.eye(3)
    covered, found, rounds = [], [], 400
    for _ in range(rounds):
        shared = rng.normal(size=(30, 3, 3)) * 0.03 * away  # many members: the t is nearly normal
        factors = shared / np.sqrt(30)
        error = np.tensordot(rng.normal(size=30), factors, axes=1) + 0.02 * rng.normal(size=(3, 3)) * away
        se = np.sqrt(np.sum(factors**2, axis=0) + 0.02**2)
        rows = find_direct_effects(table_of(total + error, se, factors=factors)).table
        truth = np.array(
            [CHAIN["ABC".index(e), "ABC".index(o)] for e, o in zip(rows["exposure"], rows["outcome"], strict=True)]
        )
        covered.append(((rows["direct_ci_low"] <= truth) & (truth <= rows["direct_ci_high"])).mean())
        found.append((rows["edge"] == "direct")[truth == 0].any())
    assert 0.93 < np.mean(covered) < 0.97
    assert np.mean(found) < 0.09  # any of four, at a false discovery rate of 5 %, with two true ones
