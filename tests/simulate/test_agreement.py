"""Truth joined to estimates by locus: by hand, whatever the order, and refused where ids do not fit."""

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.instruments.strength import select_instruments
from deepmr.ism.members import pool_members
from deepmr.mr import estimate_effects
from deepmr.simulate.agreement import join_truth, summarise_agreement
from deepmr.simulate.options import TASKS, SimulationOptions
from deepmr.simulate.oracle import oracle_effects, oracle_predictor
from deepmr.simulate.sequences import simulate_loci
from deepmr.simulate.truth import true_effects


def estimates(loci, beta, method="ivw", exposure="GATA", outcome="TAL1"):
    who = {"method": method, "exposure": exposure, "outcome": outcome, "locus": list(loci)}
    values = np.array(beta, dtype=float)
    return pd.DataFrame(who).assign(beta=values, ci_low=values - 0.5, ci_high=values + 0.5)


TRUTH = pd.DataFrame(
    {
        "locus": ["c", "a", "b", "a"],
        "kind": ["both", "both", "both", "both"],
        "exposure": ["GATA", "GATA", "GATA", "TAL1"],
        "outcome": ["TAL1", "TAL1", "TAL1", "GATA"],
        "definition": "averaged",
        "beta": [30.0, 1.0, 2.0, 0.0],
    }
)


def test_truth_follows_the_locus_and_the_direction():
    joined = join_truth(estimates("ba", [2.5, 1.0]), TRUTH)
    assert joined["truth"].tolist() == [2.0, 1.0]
    assert joined["locus"].tolist() == ["b", "a"]
    reverse = join_truth(estimates("a", [0.1], exposure="TAL1", outcome="GATA"), TRUTH)
    assert reverse["truth"].tolist() == [0.0]
    shuffled = join_truth(estimates("ba", [2.5, 1.0]), TRUTH.sample(frac=1, random_state=1))
    assert shuffled["truth"].tolist() == [2.0, 1.0]
    categorical = estimates("ba", [2.5, 1.0]).astype({"locus": "category"})
    assert join_truth(categorical, TRUTH)["truth"].tolist() == [2.0, 1.0]


def test_summary_is_over_the_loci_estimated():
    both = pd.concat([estimates("ba", [2.5, 1.1]), estimates("abc", [1.0, 2.0, 40.0], method="wald")])
    table = summarise_agreement(both, TRUTH).set_index("method")
    ivw, wald = table.loc["ivw"], table.loc["wald"]
    assert (ivw["n_loci"], ivw["n_left_out"], ivw["truth"], ivw["truth_all"]) == (2, 1, 1.5, 11.0)
    assert ivw["difference"] == pytest.approx(0.3)
    assert ivw["rmse"] == pytest.approx(np.sqrt((0.25 + 0.01) / 2))
    assert (ivw["coverage"], wald["coverage"]) == (1.0, pytest.approx(2 / 3))
    assert (wald["n_left_out"], wald["truth"]) == (0, 11.0)


def test_ids_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"1 of 2 estimates have no true effect.*'d'.*same loci"):
        join_truth(estimates("ad", [1.0, 2.0]), TRUTH)
    with pytest.raises(InputError, match="no true effect"):
        join_truth(estimates("b", [1.0], exposure="TAL1", outcome="GATA"), TRUTH)
    with pytest.raises(InputError, match="'c' has several true effects of GATA on TAL1"):
        join_truth(estimates("a", [1.0]), pd.concat([TRUTH, TRUTH.head(1)]))
    with pytest.raises(InputError, match="ivw has several estimates of locus 'a'"):
        summarise_agreement(estimates("aa", [1.0, 1.0]), TRUTH)
    with pytest.raises(InputError, match="estimates needs the column"):
        join_truth(estimates("a", [1.0]).drop(columns="method"), TRUTH)


def test_a_whole_analysis_agrees_with_the_truth_of_its_loci(motifs):
    """Near-perfect members: the mean over the loci estimated is the truth of these, not that of all loci."""
    options = SimulationOptions(motifs=motifs, scenario="both")
    loci = simulate_loci(400, options=options, split="test", seed=2)
    loci = loci.take(loci.kind == "both")
    predictor = oracle_predictor(options, n_members=3, member_error=0.002)
    stats = pool_members(oracle_effects(loci.sequences, options=options, predictor=predictor))
    found = estimate_effects(select_instruments(stats, exposure=TASKS[0], outcome=TASKS[1]), methods=["ivw"])
    row = summarise_agreement(found.table, true_effects(loci, options=options)).iloc[0]
    assert row["n_left_out"] > 0
    assert abs(row["difference"]) < 0.01
    assert abs(row["truth"] - row["truth_all"]) > 0.01
