"""One call that runs everything, its words, and both directions."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepmr import schema
from deepmr.errors import InputError
from deepmr.mr import METHODS as ALL
from deepmr.mr.sensitivity import Findings, check_sensitivity, compare_directions, compare_methods, usual_methods
from deepmr.mr.sensitivity.outliers import outlier_findings
from deepmr.mr.sensitivity.phrases import listed
from deepmr.mr.sensitivity.suite import QUICK
from deepmr.types import Estimates
from tests.mr.builders import pack, simulated

METHODS = ("ivw_random", "egger", "wald_weighted")


def clean(n=30, *, scatter=1.0, seed=1, **options):
    rng = np.random.default_rng(seed)
    x = rng.uniform(1, 3, n)
    return pack(x, 0.5 * x + 0.1 * scatter * rng.normal(size=n), 0.05, 0.1, **options)


def words(instruments, **options):
    return " ".join(check_sensitivity(instruments, methods=METHODS, **options).sentences)


def test_clean_data_give_no_reason_for_doubt():
    found = check_sensitivity(replace(clean(n=30), n=np.full((30, 2), 1e5)), methods=METHODS)
    assert set(found.findings) == set(schema.SENSITIVITY)
    said = found.sentences
    assert said[0].startswith("ivw_random estimates the effect of exposure on outcome as 0.5")
    assert said[0].endswith("from 30 instruments.")
    assert said[1].startswith("In agreement, each estimate inside the other's interval: egger")
    assert said[-1] == "Nothing here gives reason for doubt, which is no proof: read ivw_random."


def test_an_outlier_is_named():
    given = clean()
    y = given.beta_outcome.copy()
    y[7] += 1.0
    said = words(replace(given, beta_outcome=y))
    assert "1 of 30 instruments lie too far from the line for chance (q and presso): v7." in said
    assert "Ratios scatter more than their errors explain" in said
    assert "Reason for doubt: ratios scatter; there are outliers." in said


def test_directional_pleiotropy_sends_the_reader_to_egger():
    given = clean()
    said = words(replace(given, beta_outcome=given.beta_outcome + 0.5))
    assert "Instruments reach the outcome another way on average" in said
    assert "Against it, their intervals leave" in said
    assert "Read ivw_random only beside egger." in said


def test_weak_instruments_and_a_direction_that_is_the_other():
    weak = replace(clean(n=30), se_exposure=np.full((30, 1), 1.0), n=np.full((30, 2), 1e4))
    said = words(weak)
    assert "Instruments are weak: mean F is" in said
    assert "The direction may be the other: the instruments explain" in said
    assert "instruments are weak; " in said
    assert "the direction is open" in said


def test_an_answer_that_hangs_on_one_instrument():
    x, y = np.array([1.0, 1, 1.2, 1, 8]), np.array([0.1, -0.1, 0.05, 0.02, 1.4])
    said = words(pack(x, y, 0.1, 0.3))
    assert "It hangs on single instruments: the interval would hold 0 without v4." in said


def test_many_loci_are_summed_up():
    found = check_sensitivity(replace(simulated(members=5), n=None))
    assert found.lead == "ivw"
    text = " ".join(found.sentences)
    assert "at 4 loci: median 0.5" in text
    assert "has the same sign at 4 of 4 loci" in text
    assert "Steiger's test of the direction could not be done: needs sample sizes: edits in a model" in text
    assert "Q allows for errors that ensemble members share" in text


def test_no_estimate_is_said_with_its_reason():
    assert check_sensitivity(simulated(counts=(0,))).sentences == (
        "ivw_random has no estimate: needs at least 3 instruments; has 0.",
    )


def test_the_leading_method_depends_on_the_errors():
    assert usual_methods(simulated())[0] == "ivw_random"
    assert usual_methods(simulated(members=3))[0] == "ivw"
    shared = replace(simulated(), error_corr=np.array([[1.0, 0.3], [0.3, 1.0]]))  # the same samples
    assert usual_methods(shared)[0] == "raps"
    assert usual_methods(simulated(counts=(3,) * 200)) == tuple(m for m in QUICK if m in ALL)
    with pytest.raises(InputError, match="at least one method"):
        check_sensitivity(simulated(), methods=[])
    with pytest.raises(InputError, match="outlier test must be one of"):
        check_sensitivity(simulated(), outlier_tests=["z"])


def test_agreement_by_hand():
    rows = [("a", 1.0, 0.5, 1.5), ("b", 1.2, 0.2, 2.2), ("c", 2.0, 0.0, 4.0), ("d", -1.0, -1.5, -0.5)]
    names = ["method", "beta", "ci_low", "ci_high"]
    table = pd.DataFrame(rows, columns=names).assign(
        exposure="X", outcome="Y", locus="l", estimand="population", se=1.0, pvalue=0.5, n=5
    )
    found = compare_methods(Estimates(table=table), reference="a").table
    assert found["verdict"].tolist() == ["agrees", "imprecise", "differs"]
    assert found["same_sign"].tolist() == [True, True, False]
    assert set(found["reference"]) == {"a"}


def test_findings_know_their_columns():
    with pytest.raises(InputError, match="columns declared for strength needs"):
        Findings(analysis="strength", table=pd.DataFrame({"pval": [1.0]}))
    with pytest.raises(InputError, match="analysis must be one of"):
        Findings(analysis="other", table=pd.DataFrame())


def reverse(instruments):
    return replace(instruments, exposures=("outcome",), outcome="exposure")


def test_both_directions():
    forward = clean()
    backward = reverse(pack([1.0, 2, 3, 4], [0.05, -0.05, 0.02, 0.0], 0.05, 0.1))
    found = compare_directions(forward, backward, methods=["ivw_random"])
    assert "this supports exposure as a cause of outcome, and not the reverse" in found.sentences[0]
    assert "4 instruments, of 4 on the side with fewer, serve both directions." in found.sentences[1]
    assert len(found.to_frame()) == 2
    both = compare_directions(forward, reverse(clean(seed=2)), methods=["ivw_random"])
    assert "causes in both directions" in both.sentences[0]
    many = compare_directions(simulated(), reverse(simulated(counts=(0, 0))), methods=["ivw"])
    assert "leaves 0 out at 4 of 4 loci; outcome on exposure has no estimate (needs at least 3" in many.sentences[0]
    with pytest.raises(InputError, match="the reverse of exposure on outcome is outcome on exposure"):
        compare_directions(forward, forward)


def test_other_tests_for_outliers_plug_in():
    given = simulated(counts=(0, 4, 2))
    table = pd.DataFrame({"pvalue": [0.5, 0.01, 1, 1, np.nan, np.nan], "outlier": [0, 1, 0, 0, 0, 0]})
    found = outlier_findings("other", given, table)
    assert found.table.loc[found.table["outlier"], "variant_id"].tolist() == ["v1"]
    assert found.table["locus"].tolist() == ["locus1"] * 4
    assert found.skipped["reason"].tolist() == [f"needs at least 3 instruments; has {n}" for n in (0, 2)]


def test_a_correlation_that_the_tests_overlook_is_said():
    given = clean(n=4, correlation=[np.eye(4)])
    assert "take instruments as independent" in check_sensitivity(given, methods=METHODS).sentences[-2]
    *_, overlap, reading = check_sensitivity(clean(overlap=0.3), methods=METHODS).sentences
    assert overlap.startswith("Samples overlap: weakness then pulls")
    assert reading.endswith("read ivw_random.")
    *_, overlap, reading = check_sensitivity(clean(overlap=0.3)).sentences
    assert overlap.startswith("Samples overlap: raps allows for errors that correlate, but not for the choice")
    assert reading.endswith("read raps.")


def test_too_little_to_test_is_no_comfort():
    said = check_sensitivity(pack([1.0], [0.5]), methods=["ivw_random"], min_instruments=1).sentences
    assert said[0].endswith("from 1 instrument.")
    assert "Heterogeneity and the intercept could not be tested: needs at least 3 instruments; has 1." in said
    assert said[-1] == "Reason for doubt: little could be tested. Read ivw_random with that in mind."
    alike = check_sensitivity(pack([1.0, 1, 1, 1], [0.5, 0.4, 0.6, 0.5]), methods=METHODS).sentences
    assert any("could not be tested: not identified: all exposure effects have the same size" in s for s in alike)


@pytest.mark.parametrize(("lead", "end"), [("ivw_fixed", "read ivw_random."), ("ivw_random", "should allow for it.")])
def test_scatter_alone(lead, end):
    x = np.linspace(1, 3, 12)
    given = pack(x, 0.5 * x + 0.2 * np.array([1, -1, -1, 1] * 3), 0.01, 0.1)
    assert check_sensitivity(given, methods=[lead], outlier_tests=[]).sentences[-1].endswith(end)


def test_names_numbers_and_tests_are_written_for_readers():
    """Identifiers of OpenGWAS, P values of 0, "and 1 more", and one finding of two tests said twice."""
    given = replace(clean(n=30), exposures=("Body mass index || id:ieu-a-2",), n=np.full((30, 2), 1e9))
    y = given.beta_outcome.copy()
    y[7] += 3
    text = words(replace(given, beta_outcome=y))
    assert "the effect of Body mass index on outcome" in text
    assert "id:ieu" not in text
    assert "P = 0" not in text.replace("P = 0.", "")
    assert "P < 1e-300" in text
    assert "1 of 30 instruments lie too far from the line for chance (q and presso): v7." in text
    assert listed(list("abcdef")) == "a, b, c, d, e and f"
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"


def test_a_few_strong_instruments_among_weak_ones_are_not_called_strong():
    x = np.r_[np.full(3, 3.0), np.linspace(0.06, 0.1, 20)]
    text = words(pack(x, 0.5 * x, 0.05, 0.1))
    assert "Few strong instruments make up for many weak ones, mean F 472, median 2.77: " in text
    assert "20 of 23 instruments have F below 10" in text


def test_one_and_few_instruments_promise_nothing():
    one = words(pack([1.0], [0.5], 0.1, 0.1), min_instruments=1)
    assert (
        "The instrument is strong, F = 100: the error of its exposure effect pulls IVW towards 0 by about 1 %." in one
    )
    two = words(pack([1.0, 1.5], [0.5, 0.7], 0.1, 0.1), min_instruments=2)
    assert "MR-Egger" not in two
    assert words(clean(n=4)).endswith(
        "Nothing here gives reason for doubt, but 4 instruments can show little: read ivw_random."
    )


def test_what_could_not_be_tested_comes_with_its_reason_after_a_colon():
    ratios = np.array([1.1, 0.9, 1.2, 0.95, 1.05])  # odds ratios in a column of effects
    given = replace(pack([0.1, 0.2, 0.15, 0.12, 0.3], ratios, 0.01, 0.005), n=np.full((5, 2), 1e4))
    assert "Steiger's test of the direction could not be done: shares of variance add up to more than 1" in words(given)
