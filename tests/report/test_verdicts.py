"""What is said of each pair: grades, doubts and their reasons, on tables whose answer is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepmr.report.content import Run
from deepmr.report.verdicts import pair_verdicts
from deepmr.types import Estimates, Task

TASKS = (Task(name="A"), Task(name="B"))


def pooled(*rows):
    """Rows of exposure, outcome, method, estimand, beta, half width, half width of the prediction interval, loci."""
    table = pd.DataFrame(rows, columns=["exposure", "outcome", "method", "estimand", "beta", "half", "pi", "n"])
    ends = {
        f"{kind}_{side}": table["beta"] + sign * table[half]
        for kind, half in (("ci", "half"), ("pi", "pi"))
        for side, sign in (("low", -1), ("high", 1))
    }
    return Estimates(table=table.drop(columns=["half", "pi"]).assign(locus="*", se=0.1, pvalue=0.5, **ends))


def local(pair=("A", "B"), *, n=40, scattered=0, beta=3.0, f=50.0, method="ivw", estimand="model"):
    return pd.DataFrame(
        {
            "method": method, "exposure": pair[0], "outcome": pair[1], "locus": [f"l{i}" for i in range(n)],
            "estimand": estimand, "beta": beta, "se": 0.2, "ci_low": beta - 0.4, "ci_high": beta + 0.4, "pvalue": 0.01,
            "n": 10, "q_pvalue": np.where(np.arange(n) < scattered, 0.001, 0.5), "f_statistic": f,
        }
    )  # fmt: skip


def judged(*rows, tables=None, skipped=None):
    frames = [local()] if tables is None else tables
    gone = {} if skipped is None else {"skipped": skipped}
    run = Run(tasks=TASKS, pooled=pooled(*rows), local=Estimates(table=pd.concat(frames, ignore_index=True), **gone))
    return pair_verdicts(run)


GOOD = ("A", "B", "ivw", "model", 3.0, 0.2, 0.5, 40)


def test_a_clear_effect_that_nothing_speaks_against():
    (one,) = judged(GOOD, ("A", "B", "egger", "model", 3.5, 1.0, 1.0, 40))
    assert (one.grade, one.doubts, one.pair) == ("effect", (), "A → B")
    assert one.sentence == (
        "A raises B in the model: 3 (2.8 to 3.2) per unit, 40 loci; nothing here speaks against it, which is no proof."
    )
    text = " ".join(one.reasons)
    assert "Too imprecise to confirm or contradict it: MR-Egger 3.5 (2.5 to 4.5)." in text
    assert "sign of the mean at 40 of 40 loci; at a new locus it is expected between 2.5 and 3.5" in text
    assert "lie on one line as closely as their errors allow, at all 40 loci" in text
    assert "Instruments are strong: the median over loci of their mean F is 50." in text


def test_no_effect_is_not_called_doubtful():
    (one,) = judged(("A", "B", "ivw", "model", 0.05, 0.2, 0.5, 40), tables=[local(scattered=20)])
    assert one.grade == "none"
    assert one.sentence == "No effect of A on B is seen in the model: 0.05 (−0.15 to 0.25), 40 loci."


@pytest.mark.parametrize(
    ("rows", "tables", "doubt", "reason"),
    [
        ([GOOD, ("A", "B", "egger", "model", 4.0, 0.3, 1.0, 40)], None, "methods", "Against it"),
        ([GOOD], [local(scattered=10)], "scatter", "at 10 of 40 loci (5 % would by chance)"),
        ([("A", "B", "ivw", "model", 3.0, 0.2, 4.0, 40)], None, "sign", "between −1 and 7"),
        ([GOOD], [local(f=4.0)], "weak", "median F 4 (below 10)"),
        ([("A", "B", "ivw", "model", 3.0, 0.2, 0.5, 4)], [local(n=4)], "few", "rests on 4 loci"),
    ],
)
def test_each_reason_for_doubt(rows, tables, doubt, reason):
    (one,) = judged(*rows, tables=tables)
    assert (one.grade, one.doubts) == ("doubtful", (doubt,))
    assert "but this is doubtful" in one.sentence
    assert any(reason in text for text in one.reasons)


def test_what_chance_makes_is_no_doubt():
    (one,) = judged(GOOD, tables=[local(scattered=3)])  # 3 of 40 at P < 0.05
    assert one.grade == "effect"
    assert any("but at 3 of 40 loci" in text for text in one.reasons)
    (one,) = judged(GOOD, ("A", "B", "wald", "model", 3.1, 0.05, 0.5, 40))
    assert one.grade == "effect", "methods that differ by less than a tenth do not contradict each other"
    assert any("but by less than 10 %" in text for text in one.reasons)


def test_an_echo_of_the_reverse_is_named():
    back = ("B", "A", "ivw", "model", 0.2, 0.02, 0.1, 40)
    forward, reverse = judged(GOOD, back, tables=[local(), local(("B", "A"), scattered=30, beta=0.2)])
    assert forward.grade == "effect"
    assert reverse.doubts == ("scatter", "echo")
    assert "The reverse, A → B, has no such scatter" in reverse.reasons[-1]
    assert reverse.sentence.endswith("edits scatter within loci; it may be an echo of the reverse effect.")
    both = [local(scattered=30), local(("B", "A"), scattered=30, beta=0.2)]
    assert all("echo" not in one.doubts for one in judged(GOOD, back, tables=both))


def test_the_calibrated_effect_is_the_answer_and_the_one_in_the_model_is_said_beside_it():
    calibrated = ("A", "B", "ivw", "calibrated", 3.3, 0.2, 0.5, 40)
    tables = [local(), local(estimand="calibrated", beta=3.3).assign(q_pvalue=np.nan)]
    run = Run(tasks=TASKS, pooled=pooled(GOOD, calibrated), local=Estimates(table=pd.concat(tables)))
    assert run.estimand == "calibrated"
    assert list(run.headline.table["beta"]) == [3.3]
    assert len(run.leads) == 2
    (one,) = pair_verdicts(run)
    assert one.sentence.startswith("A raises B in the data-generating process (calibrated): 3.3 (3.1 to 3.5) per unit")
    assert one.reasons[0] == (
        "The effect in the model is 3 (2.8 to 3.2): outside the interval of the calibrated effect, 0.3 from it."
    )
    assert any("at all 40 loci" in text for text in one.reasons), "scatter is of the edits as predicted"


def test_pairs_without_an_estimate_have_their_reason():
    skipped = pd.DataFrame(
        {"method": "ivw", "exposure": "B", "outcome": "A", "locus": ["a", "b"], "reason": ["few", "few"]}
    )
    one, other = judged(GOOD, skipped=skipped)
    assert (one.grade, other.grade) == ("effect", "open")
    assert other.sentence == "Of B on A there is no estimate; the commonest reason: few."


def test_a_false_discovery_rate_is_heeded_where_there_is_one(monkeypatch):
    from deepmr import schema

    monkeypatch.setitem(schema.EXTRA, "fdr", "false-discovery rate over pairs")
    run = Run(tasks=TASKS, pooled=pooled(GOOD), local=Estimates(table=local()))
    for rate, grade in ((0.2, "doubtful"), (0.01, "effect")):
        rated = replace(run, pooled=Estimates(table=run.pooled.table.assign(fdr=rate)))
        (one,) = pair_verdicts(rated)
        assert one.grade == grade
        assert any("false-discovery rate" in text for text in one.reasons)
