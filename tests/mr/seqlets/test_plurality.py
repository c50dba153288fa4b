"""Families over loci, the plurality, and the words."""

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.mr.ivw import ivw
from deepmr.mr.seqlets import (
    collapse,
    compare_seqlets,
    judge_families,
    judge_seqlets,
    seqlet_plurality,
    seqlet_slopes,
    usable,
)
from tests.mr.seqlets.builders import clustered


def judged(slopes, family, **options):
    given, label = clustered(slopes, **{"noise": 0.03, "members": 5} | options)
    collapsed = collapse(given, label)
    family = np.asarray(family)
    families = judge_families(collapsed, family)
    between = compare_seqlets(collapsed)
    return given, label, families, judge_seqlets(collapsed, between, families=families, family=family)


def test_the_family_of_the_most_loci_leads_and_the_other_contradicts():
    slopes = [[2.0, 5.0]] * 10 + [[2.0]] * 10
    family = [0, 1] * 10 + [0] * 10
    given, label, families, words = judged(slopes, family)
    assert families.leader == 0
    assert families.verdict.tolist() == ["leads", "contradicts"]
    assert families.n_loci.tolist() == [20, 10]
    assert families.votes.tolist() == [20, 10]
    assert families.n_compared.tolist() == [0, 10]
    assert families.contrast[1] == pytest.approx(3.0, abs=0.1)
    assert families.beta == pytest.approx([2.0, 5.0], abs=0.1)
    assert words.tolist() == ["carries", "contradicts"] * 10 + ["alone"] * 10
    valid = usable(families, np.asarray(family))
    found = seqlet_plurality(given, label, valid=valid)
    assert found.table["beta"].to_numpy() == pytest.approx(np.full(20, 2.0), abs=0.15)
    assert set(found.table["method"]) == {"seqlet_plurality"}
    assert found.table["n_seqlets"].tolist() == [1.0] * 20


def test_families_that_agree_stay_together():
    slopes = [[2.0, 2.0]] * 10 + [[2.0]] * 10
    _, _, families, words = judged(slopes, [0, 1] * 10 + [0] * 10)
    assert families.verdict.tolist() == ["leads", "agrees"]
    assert families.votes.tolist() == [30, 10]
    assert set(words) == {"carries", "agrees", "alone"}


def test_effects_that_differ_between_loci_are_no_contradiction():
    rng = np.random.default_rng(0)
    slopes = [[b, b] for b in rng.uniform(1, 4, 20)]
    assert judged(slopes, [0, 1] * 20)[2].verdict.tolist() == ["leads", "agrees"]


def test_two_smaller_families_that_agree_outvote_a_larger_one():
    slopes = [[5.0, 2.0, 2.0]] * 6 + [[5.0]] * 3 + [[2.0, 2.0]] * 2
    family = [0, 1, 2] * 6 + [0] * 3 + [1, 2] * 2
    families = judged(slopes, family)[2]
    assert families.n_loci.tolist() == [9, 8, 8]
    assert families.votes.tolist() == [9, 16, 16]
    assert families.verdict[0] == "contradicts"
    assert sorted(families.verdict[1:]) == ["agrees", "leads"]


def test_a_rare_family_is_not_elected_by_the_votes_of_a_frequent_one():
    slopes = [[2.0, 2.0]] * 2 + [[2.0, 5.0]] * 8
    families = judged(slopes, [0, 1, 0, 1] + [0, 2] * 8)[2]
    assert families.leader == 0


def test_a_difference_within_the_tolerance_is_none():
    slopes = [[2.0, 2.1]] * 30
    given, label = clustered(slopes, noise=0.01, members=5)
    collapsed, family = collapse(given, label), np.array([0, 1] * 30)
    assert judge_families(collapsed, family).verdict.tolist() == ["leads", "agrees"]
    assert judge_families(collapsed, family, tolerance=0.0).verdict.tolist() == ["leads", "contradicts"]


def test_families_that_never_meet_are_untested_and_kept():
    _, _, families, words = judged([[2.0], [2.0], [5.0]], [0, 0, 1])
    assert families.verdict.tolist() == ["leads", "untested"]
    assert usable(families, np.array([0, 1, -1])).tolist() == [True, True, True]
    assert words.tolist() == ["alone"] * 3


def test_two_that_differ_without_families_are_disputed():
    words = judged([[2.0, 5.0]] * 3, [-1] * 6, noise=0.01)[3]
    assert words.tolist() == ["disputed"] * 6


def test_of_three_the_one_that_differs_contradicts():
    words = judged([[2.0, 5.0, 2.0]] * 3, [-1] * 9, noise=0.01)[3]
    assert words.reshape(3, 3)[:, 1].tolist() == ["contradicts"] * 3
    assert all(sorted(row) == ["agrees", "carries"] for row in words.reshape(3, 3)[:, [0, 2]].tolist())


def test_a_stranger_beside_the_plurality_contradicts():
    words = judged([[2.0, 2.0]] * 8 + [[2.0, 6.0]], [0, 1] * 8 + [0, -1], noise=0.01)[3]
    assert words[-1] == "contradicts"


def test_a_locus_of_invalid_seqlets_is_skipped_with_a_reason():
    slopes = [[2.0, 5.0]] * 8 + [[2.0]] * 2 + [[5.0], []]
    given, label, families, _ = judged(slopes, [0, 1] * 8 + [0, 0] + [1])
    valid = usable(families, np.array([0, 1] * 8 + [0, 0] + [1]))
    found = seqlet_plurality(given, label, valid=valid)
    reasons = found.skipped.set_index("locus")["reason"]
    assert reasons["locus10"] == "every seqlet contradicts the plurality over loci"
    assert reasons["locus11"] == "no seqlet holds an instrument"
    assert len(found) == 10


def test_all_seqlets_are_ivw_with_a_test_between_them():
    given, label = clustered([[2.0, 5.0], [2.0]], noise=0.03, members=5)
    found, plain = seqlet_slopes(given, label), ivw(given)
    np.testing.assert_allclose(found.table["beta"], plain.table["beta"])
    np.testing.assert_allclose(found.error_factors, plain.error_factors)
    assert found.table["n_seqlets"].tolist() == [2.0, 1.0]
    assert found.table["q_seqlets_pvalue"][0] < 0.05
    assert found.table["q_seqlets_pvalue"][1] == 1.0
    assert found.table["q_seqlets_df"].tolist() == [1.0, 0.0]


def test_no_families_no_seqlets():
    given, label = clustered([[], []], members=5)
    collapsed = collapse(given, label)
    families = judge_families(collapsed, np.zeros(0, dtype=int))
    assert families.leader == -1
    assert families.of(np.array([-1])).tolist() == ["untested"]
    assert len(judge_seqlets(collapsed, compare_seqlets(collapsed), families=families, family=label)) == 0
    assert len(seqlet_slopes(given, label)) == 0


def test_options():
    given, label = clustered([[2.0]])
    with pytest.raises(InputError, match="tolerance"):
        judge_families(collapse(given, label), np.zeros(1, dtype=int), tolerance=-0.1)


def test_families_that_agree_are_seldom_called_contradicting():
    """Type-I error over 200 runs of 12 loci: at most 5 % of them, with a Monte-Carlo error of 1.5 %."""
    wrong = 0
    for seed in range(200):
        given, label = clustered([[2.0, 2.0]] * 12, noise=0.1, common=0.2, members=5, seed=seed)
        found = judge_families(collapse(given, label), np.array([0, 1] * 12), tolerance=0.0)
        wrong += "contradicts" in found.verdict.tolist()
    assert wrong <= 19
