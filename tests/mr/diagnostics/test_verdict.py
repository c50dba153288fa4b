"""Direction, permutation, members, thresholds, unusual edits, and the verdict, where the truth is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepmr import schema
from deepmr.errors import InputError
from deepmr.meta import pool_estimates
from deepmr.mr.diagnostics import (
    Evidence,
    asymmetry,
    compare_members,
    diagnose_pair,
    effect_direction,
    judge_thresholds,
    locus_totals,
    permute_outcomes,
    relate,
    shuffled_motifs,
    spread_trend,
    unusual_edits,
)
from deepmr.mr.diagnostics.findings import judge, judge_effect
from deepmr.mr.diagnostics.unusual import RARE, disagreement
from deepmr.mr.ivw import ivw
from tests.mr.builders import deviations, pack
from tests.mr.diagnostics.toy import both_ways, effects, sizes


def whole(table):
    return table[table["locus"] == "*"].iloc[0]


def diagnosed(seed=0, **truth):
    stats = effects(seed=seed, **truth)
    forward, backward = both_ways(stats)
    totals, size = locus_totals([stats], loci=forward.loci), sizes(stats)
    found = []
    for one, other, unit in ((forward, backward, size), (backward, forward, size[::-1])):
        local = ivw(one)
        row = dict(pool_estimates(local).table.iloc[0])
        evidence = Evidence(instruments=one, backward=other, totals=totals, background=stats, sizes=unit)
        found.append(diagnose_pair(evidence, estimates=local, pooled=row, n_draws=199, seed=seed))
    return found


@pytest.mark.parametrize(
    ("truth", "judgements", "related"),
    [
        ({"x_to_y": 0.8}, ("supported", "not supported"), "one direction only, X -> Y."),
        ({"y_to_x": 0.8}, ("not supported", "supported"), "one direction only, Y -> X."),
        ({"x_to_y": 0.8, "y_sites": 0.0}, ("undecided", "undecided"), "both directions: shared instruments"),
        ({"common": 1.0}, ("not supported", "not supported"), "no effect in either direction; sites that move both"),
    ],
)
def test_the_verdict_finds_the_truth(truth, judgements, related):
    one, other = diagnosed(**truth)
    assert tuple(v.verdict.judgement.replace(" with doubts", "") for v in (one, other)) == judgements
    assert related in relate(one.verdict, other.verdict)
    assert "error that all members of the ensemble share" in one.verdict.caveat
    assert "effect in the model" in one.verdict.sentence


def test_no_effect_is_never_supported():
    """5 ensembles without an effect, both ways: 10 verdicts, of which 5 % may be wrong: at most one."""
    words = [v.verdict.judgement for seed in range(5) for v in diagnosed(100 + seed)]
    assert sum(word.startswith("supported") for word in words) <= 1


def test_tables_are_declared_and_loci_all_there():
    one, _ = diagnosed(x_to_y=0.8)
    for name, table in one.tables.items():
        assert list(table.columns) == list(schema.DIAGNOSTICS[name]), name
    loci = one.tables["loci"]
    assert len(loci) == 30
    assert (loci["verdict"] == "supported").mean() > 0.7
    assert one.to_frame()["severity"].isin(["fine", "note", "doubt", "undecided", "against"]).all()


def test_a_locus_is_never_surer_than_the_pair():
    one, _ = diagnosed(common=1.0)
    assert not (one.tables["loci"]["verdict"] == "supported").any()


def test_shares_by_hand():
    stats = effects(n_loci=2, x_to_y=0.8)
    forward, _ = both_ways(stats)
    table = effect_direction(forward, locus_totals([stats], loci=forward.loci))
    rows = slice(forward.offsets[0], forward.offsets[1])
    share = np.sum(forward.beta_outcome[rows] ** 2) / np.sum(stats.beta[:300, 1] ** 2)
    np.testing.assert_allclose(table["share_outcome"][0], share)
    with pytest.raises(InputError, match="not among the totals"):
        effect_direction(replace(forward, loci=("locus0", "elsewhere")), locus_totals([stats], loci=forward.loci))


def test_asymmetry_counts_and_refuses_another_pair():
    forward, backward = both_ways(effects(x_to_y=0.8))
    row = whole(asymmetry(forward, backward))
    assert row["n_shared"] + row["n_exclusive"] == len(forward.variants)
    assert row["n_shared"] + row["n_outcome_exclusive"] == len(backward.variants)
    with pytest.raises(InputError, match="both directions"):
        asymmetry(forward, forward)


@pytest.mark.parametrize(
    ("exclusive", "part", "pvalue", "bends", "severity"),
    [
        (0.1, 0.4, 1e-6, False, "against"),
        (0.42, 0.4, 1e-6, False, "undecided"),
        (0.42, 0.6, 1e-6, True, "note"),  # weak instruments of a bent line have another slope, whoever's they are
        (0.42, 0.4, 0.2, False, "note"),
        (0.42, 0.6, 0.2, False, "undecided"),  # own and shared ones are not at the same loci
        (1.1, 0.6, 1e-6, False, "note"),
    ],
)
def test_an_estimate_that_mixes_edits_of_both_marks_is_no_support(exclusive, part, pvalue, bends, severity):
    """The whole slope is 1.3, over shared instruments 1.65; X's own, `part` of its squared effects, have another."""
    row = dict.fromkeys(schema.DIAGNOSTICS["asymmetry"], 0.0) | {
        "locus": "*", "n_shared": 2000, "n_exclusive": 2500, "n_outcome_exclusive": 2100, "share_exclusive": part,
        "beta": 1.3, "beta_shared": 1.65, "beta_exclusive": exclusive, "difference_pvalue": pvalue, "n_both": 149,
    }  # fmt: skip
    bend = dict.fromkeys(schema.DIAGNOSTICS["curvature"], 0.0) | {
        "locus": "*", "reason": "", "slope": 1.3, "difference": 0.5 * bends, "difference_pvalue": 0.001,
    }  # fmt: skip
    tables = {"asymmetry": pd.DataFrame([row]), "curvature": pd.DataFrame([bend])}
    (found,) = [f for f in judge(tables, exposure="X", outcome="Y") if f.check in ("asymmetry", "mixture")]
    assert found.severity == severity
    assert ("mixes edits of X with edits of Y" in found.sentence) == (severity == "undecided" or bends)


def test_permutation_finds_an_effect_and_is_repeatable():
    stats = effects(n_loci=20, x_to_y=0.8)
    forward, _ = both_ways(stats)
    for control in ("loci", "within"):
        found = permute_outcomes(forward, stats, control=control, n_draws=99, seed=4)
        assert found.table["pvalue"][0] == 0.01
        again = permute_outcomes(forward, stats, control=control, n_draws=99, seed=4)
        np.testing.assert_array_equal(found.draws, again.draws)
        mean = np.mean([ivw(forward).table["beta"]])
        np.testing.assert_allclose(found.table["beta"], mean)


def test_permutation_under_the_null():
    """P values of 60 ensembles whose sites lie independently: at most 5 % below 0.05, up to binomial error."""
    pvalues = []
    for seed in range(60):
        stats = effects(n_loci=8, seed=seed)
        pvalues.append(permute_outcomes(both_ways(stats)[0], stats, n_draws=59, seed=seed).table["pvalue"][0])
    assert 0.0 <= np.mean(np.array(pvalues) < 0.05) <= 0.14
    assert 0.35 < np.mean(pvalues) < 0.65


def test_members_agree_or_one_stands_out():
    rng = np.random.default_rng(0)
    x = rng.uniform(1, 2, 100)

    def ensemble(slopes):
        delta = np.stack([np.stack([x, slope * x], axis=1) for slope in slopes])
        mean, factors = delta.mean(axis=0), deviations(delta)
        return pack(mean[:, 0], mean[:, 1], counts=[20] * 5, factors=factors)

    table = compare_members(ensemble([1.0, 1.02, 0.99, 1.01, 2.0]))
    np.testing.assert_allclose(table["beta"], [1.0, 1.02, 0.99, 1.01, 2.0])
    np.testing.assert_allclose(table["beta_without"][4], 1.005)
    assert (table["flagged"] != "").tolist() == [False] * 4 + [True]
    alarms = [(compare_members(ensemble(1 + 0.3 * rng.normal(size=5)))["flagged"] != "").any() for _ in range(200)]
    assert np.mean(alarms) <= 0.09
    metrics = pd.DataFrame({"task": "exposure", "member": [f"member_{k}" for k in range(5)],
                            "r2": [0.9, 0.9, 0.5, 0.91, 0.89], "auroc": np.nan})  # fmt: skip
    flagged = compare_members(ensemble([1.0] * 5), metrics=metrics)["flagged"]
    assert flagged[2] == "is behind in exposure: 0.500, the median member 0.900"
    assert compare_members(pack([1.0], [1.0])).empty


def test_unusual_disagreement_is_rare_by_chance_and_found_where_planted():
    stats = effects(n_loci=60, x_to_y=0.8, seed=5)
    trend = spread_trend(stats.beta[:, 0], stats.se[:, 0], df=4.0)
    rate = np.mean(disagreement(trend, stats.beta[:, 0], stats.se[:, 0]) < RARE)
    assert rate < 0.004
    forward, _ = both_ways(stats)
    se = forward.se_exposure.copy()
    se[:5] *= 20
    table = unusual_edits(replace(forward, se_exposure=se), trends=(trend, None))
    assert table["n_spread_exposure"].iloc[0] >= 5
    assert spread_trend(stats.beta[:10, 0], stats.se[:10, 0], df=4.0) is None


def test_edits_outside_the_range_of_references():
    given = pack([-3.0, -0.5], [1.0, 1.0], counts=[1, 1])
    table = unusual_edits(given, trends=(None, None), reference=np.array([[1.0, 0.0], [2.0, 5.0]]))
    assert table["n_outside_exposure"].tolist() == [1, 0]
    assert table["n_outside_outcome"].tolist() == [0, 1]


def thresholds(beta, half=0.1):
    beta = np.asarray(beta)
    return pd.DataFrame({"rule": "relative", "threshold": [0.1, 0.25, 0.5], "exposure": "X", "outcome": "Y",
                         "method": "ivw", "beta": beta, "ci_low": beta - half, "ci_high": beta + half, "n_loci": 5,
                         "n_instruments": [9, 6, 3]})  # fmt: skip


@pytest.mark.parametrize(
    ("beta", "judgement"),
    [([1.0, 1.01, 1.02], "stable"), ([0.5, 1.0, 1.6], "drifts"), ([0.05, 1.0, 1.0], "decides"),
     ([-1.0, 1.0, 1.0], "decides"), ([0.01, 0.02, 0.01], "stable")],
)  # fmt: skip
def test_thresholds(beta, judgement):
    row = judge_thresholds(thresholds(beta)).iloc[0]
    assert row["judgement"] == judgement
    assert row["beta"] == beta[1]


def test_shuffled_sequences():
    stats = effects(n_loci=4, x_to_y=0.8)
    forward, _ = both_ways(stats)
    row = whole(shuffled_motifs(forward, replace(stats, beta=np.zeros_like(stats.beta))))
    assert row["ratio_exposure"] == 0
    other = replace(stats, variants=stats.variants.assign(locus="elsewhere"))
    with pytest.raises(InputError, match="no locus has both"):
        shuffled_motifs(forward, other)


@pytest.mark.parametrize(
    ("low", "high", "severity"),
    [(0.5, 1.5, "fine"), (-1.0, 2.0, "undecided"), (-0.01, 0.02, "against"), (0.01, 0.03, "against")],
)
def test_the_interval(low, high, severity):
    row = {"beta": (low + high) / 2, "ci_low": low, "ci_high": high}
    assert judge_effect(row, outcome="Y", unit=1.0).severity == severity
    assert judge_effect(None, outcome="Y", unit=1.0).severity == "undecided"
