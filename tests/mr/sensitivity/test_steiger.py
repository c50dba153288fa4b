"""Steiger's test, and the shares of variance behind it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from deepmr.errors import InputError
from deepmr.mr.sensitivity import steiger, steiger_filter, steiger_variants
from deepmr.mr.sensitivity.explained import r_from_beta, r_from_log_odds, r_from_pvalue
from tests.mr.builders import locus, pack, reordered, rescaled, simulated


def test_r_is_that_of_a_regression():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    y = 0.3 * x + rng.normal(size=200)
    fit = stats.linregress(x, y)
    n = np.array([200.0])
    assert r_from_beta(np.array([fit.slope]), np.array([fit.stderr]), n)[0] == pytest.approx(fit.rvalue)
    assert r_from_pvalue(np.array([fit.pvalue]), n)[0] == pytest.approx(fit.rvalue)
    assert r_from_beta(np.array([-fit.slope]), np.array([fit.stderr]), n)[0] == pytest.approx(-fit.rvalue)


def test_r_from_a_p_value_as_two_sample_mr_has_it():
    p, n = np.array([1e-8]), np.array([1000.0])
    f = stats.f.isf(1e-8, 1, 999)
    assert r_from_pvalue(p, n, df="n-1")[0] == pytest.approx(np.sqrt(f / (998 + f)))
    with pytest.raises(InputError, match="underflown"):
        r_from_pvalue(np.array([0.0]), n)
    with pytest.raises(InputError, match="sample sizes must be above 2"):
        r_from_pvalue(p, np.array([2.0]))


@pytest.mark.parametrize("odds", [0.2, 0.9, 1.0, 1.0 + 1e-12, 1.5, 8.0])
def test_liability_from_a_table_whose_cells_are_known(odds):
    controls, cases, prevalence = 0.3, 0.25, 0.1  # frequency in controls, share of cases
    in_cases = odds * controls / (1 - controls + odds * controls)
    eaf = cases * in_cases + (1 - cases) * controls
    beta = np.array([np.log(odds)])
    r = r_from_log_odds(
        beta, np.array([eaf]), n_cases=np.array([250.0]), n_controls=np.array([750.0]), prevalence=prevalence
    )
    p = (1 - prevalence) * controls + prevalence * in_cases
    v = 2 * p * (1 - p) * beta**2
    assert r == pytest.approx(np.sign(beta) * np.sqrt(v / (v + np.pi**2 / 3)), abs=1e-12)
    one = r_from_log_odds(
        beta, np.array([eaf]), n_cases=np.array([250.0]), n_controls=np.array([750.0]), prevalence=prevalence, copies=1
    )
    assert one == pytest.approx(np.sign(beta) * np.sqrt(v / 2 / (v / 2 + np.pi**2 / 3)), abs=1e-12)


def test_liability_refuses_what_is_no_frequency():
    one = np.array([0.1])
    for changed, words in (({"eaf": 1.0}, "eaf"), ({"prevalence": 0.0}, "prevalence"), ({"n_cases": 0.0}, "cases")):
        given = {"eaf": 0.3, "n_cases": 10.0, "n_controls": 10.0, "prevalence": 0.1} | changed
        with pytest.raises(InputError, match=words):
            r_from_log_odds(
                one, np.array([given["eaf"]]), n_cases=np.array([given["n_cases"]]),
                n_controls=np.array([given["n_controls"]]), prevalence=given["prevalence"],
            )  # fmt: skip


def given(counts=(3, 0, 4), seed=0):
    one = simulated(counts=counts, seed=seed)
    rng = np.random.default_rng(seed)
    n = np.column_stack([rng.uniform(5e3, 1e4, sum(counts)), rng.uniform(1e4, 2e4, sum(counts))])
    return replace(one, n=n, estimand="population")


def test_the_test_is_fishers_z():
    pair = given()
    table = steiger_variants(pair).table
    x, se, n = pair.beta_exposure[0, 0], pair.se_exposure[0, 0], pair.n[0]
    rx = np.sqrt((x / se) ** 2 / (n[0] - 2 + (x / se) ** 2))
    f = (pair.beta_outcome[0] / pair.se_outcome[0]) ** 2
    ry = np.sqrt(f / (n[1] - 2 + f))
    z = (np.arctanh(rx) - np.arctanh(ry)) / np.sqrt(1 / (n[0] - 3) + 1 / (n[1] - 3))
    assert table["z"][0] == pytest.approx(z)
    assert table["pvalue"][0] == pytest.approx(2 * stats.norm.sf(abs(z)))
    assert table["forward"][0] == (rx > ry)
    assert (table["r2_exposure"][0], table["r2_outcome"][0]) == pytest.approx((rx**2, ry**2))


def test_shares_of_a_locus_add_up_and_sizes_are_means():
    pair = given()
    each, whole = steiger_variants(pair).table, steiger(pair)
    sums = each.groupby("locus", sort=False)[["r2_exposure", "r2_outcome"]].sum()
    np.testing.assert_allclose(whole.table[["r2_exposure", "r2_outcome"]], sums)
    n = pair.n[:3].mean(axis=0)
    z = np.arctanh(np.sqrt(sums.iloc[0])) @ [1, -1] / np.sqrt((1 / (n - 3)).sum())
    assert whole.table["z"][0] == pytest.approx(z)
    assert whole.table["tipping_reliability"].tolist() == pytest.approx(
        (sums["r2_outcome"] / sums["r2_exposure"]).tolist()
    )
    assert whole.skipped["locus"].tolist() == ["locus1"]
    assert whole.table["n_reversed"].tolist() == (~each["forward"]).groupby(each["locus"], sort=False).sum().tolist()


def test_order_coding_units_and_batches_do_not_matter():
    pair = given()
    base = steiger(pair).table
    signs = np.where(np.arange(7) % 2, -1.0, 1.0)
    for other in (reordered(pair), rescaled(pair, exposure=signs * 10, outcome=signs * 3)):
        pd.testing.assert_frame_equal(steiger(other).table, base, rtol=1e-9)
    alone = [steiger(locus(pair, i)).table for i in (0, 2)]
    pd.testing.assert_frame_equal(pd.concat(alone, ignore_index=True), base, rtol=1e-9)


def test_filter_drops_what_explains_more_of_the_outcome_and_says_so():
    pair = pack([0.5, 0.1, 0.5], [0.1, 0.5, 0.4], 0.05, 0.05, n=(1000, 1000))
    found = steiger_filter(pair)
    assert found.kept.variants["variant_id"].tolist() == ["v0", "v2"]
    assert found.dropped["variant_id"].tolist() == ["v1"]
    assert found.dropped["reason"][0].startswith("explains more of outcome (r2 = 0.091")
    assert len(steiger_filter(pair, significance=1e-30).dropped) == 0


def test_without_sample_sizes_there_is_a_reason():
    edits = replace(simulated(counts=(3,)), n=None)
    assert "edits in a model do not vary" in steiger(edits).skipped["reason"][0]
    assert "n_exposure and n_outcome" in steiger(replace(edits, estimand="population")).skipped["reason"][0]
    assert len(steiger_variants(edits)) == 0
    assert steiger_filter(edits).kept is edits


def test_correlations_can_be_given_and_more_than_everything_is_refused():
    pair = pack([1.0, 1, 1], [1.0, 1, 1], n=(100, 100))
    table = steiger_variants(pair, r_outcome=np.array([0.0, 0.1, -0.2])).table
    assert table["r2_outcome"].tolist() == pytest.approx([0, 0.01, 0.04])
    whole = steiger(pair, r_exposure=np.full(3, 0.8))
    reason = whole.skipped["reason"][0]
    assert (
        "add up to more than 1; either instruments are not independent, or effects are not those of one more" in reason
    )
