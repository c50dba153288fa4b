"""What a run says of each pair of marks, in words: the effect, what speaks for it and what against it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import binom

from deepmr.labelled.units import NEEDED as UNIT_NEEDED
from deepmr.mr.lines import WEAK
from deepmr.mr.sensitivity.phrases import listed, of_loci
from deepmr.mr.sensitivity.suite import compare_methods
from deepmr.report import words
from deepmr.report.content import Run

Grade = Literal["effect", "doubtful", "none", "open"]
GRADES: dict[Grade, str] = {
    "effect": "no reason for doubt found",
    "doubtful": "doubtful",
    "none": "no effect seen",
    "open": "no estimate",
}
CHANCE = 0.05  # share of loci whose scatter or sign stands out when nothing is wrong
SURE = 0.01  # P value below which a share is more than that
SCATTERED = 0.1  # least share of loci that makes scatter a reason for doubt
FAR = 0.1  # share of the effect by which methods must differ to be a reason for doubt: tight intervals differ by less
FEW = 10  # loci below which an answer rests on few
DOUBTS = {
    "labels": "the labelled loci are unlike those analysed",
    "units": "labels may be in another unit than the predictions",
    "weak": "instruments are weak",
    "few": "few loci",
    "methods": "methods contradict each other",
    "scatter": "edits scatter within loci",
    "sign": "at a new locus the sign may be the other",
    "fdr": "it is not clear among so many pairs",
    "echo": "it may be an echo of the reverse effect",
}


LABELS_ARE = {"labels": "unlike those analysed", "units": UNIT_NEEDED}  # what sentences of the record say


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is found of one ordered pair.

    Attributes
    ----------
    estimand : what the effect is one in.
    grade : an effect without reason for doubt, a doubtful one, none seen, or no estimate.
    sentence : the answer with its interval, the estimand and the shortest reason.
    reasons : what it rests on, a sentence each.
    doubts : keys of `DOUBTS`.
    judgement, diagnosed : what diagnostics judged, and of the effect in what; "" where there are none.
    """

    exposure: str
    outcome: str
    estimand: str
    grade: Grade
    sentence: str
    reasons: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    judgement: str = ""
    diagnosed: str = ""

    @property
    def pair(self) -> str:
        """The pair as "exposure → outcome"."""
        return words.pair_at(self.exposure, self.outcome, "genome")

    @property
    def label(self) -> str:
        """The judgement of the diagnostics where there is one, else the grade in words."""
        return self.judgement or GRADES[self.grade]

    @property
    def questioned(self) -> bool:
        """Whether diagnostics do not support the effect: they speak against it, or leave it undecided."""
        return bool(self.judgement) and not self.judgement.startswith("supported")


def pair_verdicts(run: Run) -> tuple[Verdict, ...]:
    """Judge every ordered pair of a run of in-silico edits by its tables alone, in their order.

    Parameters
    ----------
    run : what the page shows; the leading method is judged, the others are compared with it.

    Notes
    -----
    Reasons for doubt: another method's interval leaves the estimate out, by a tenth of it at least; edits scatter about
    the line of their locus more than their errors explain (Cochran's Q, P < 0.05) at more loci than chance allows
    (binomial, P < 0.01) and at a tenth of them at least; the prediction interval of a new locus holds 0 where that of
    the mean does not; mean F below 10; fewer than ten loci; a false-discovery rate above 0.05 where the table has one.
    Where the reverse pair has no such scatter, the effect may be its echo: sites of the cause move both marks. An error
    that all members share shows in none of these. Of a calibrated effect: labelled loci unlike those analysed.
    """
    judged = [_judge(run, row) for row in run.headline.table.to_dict("records")]
    known = {(one.exposure, one.outcome, one.estimand): one for one in judged}
    pairs = {(one.exposure, one.outcome) for one in judged}
    gone = run.local.skipped[["exposure", "outcome"]].drop_duplicates().itertuples(index=False, name=None)
    lost = [_without(run, *pair) for pair in gone if pair not in pairs]
    return (*(_with_echo(one, known.get((one.outcome, one.exposure, one.estimand))) for one in judged), *lost)


def _judge(run: Run, row: Mapping[Any, Any]) -> Verdict:
    local = run.local.table
    mine = local[(local["exposure"] == row["exposure"]) & (local["outcome"] == row["outcome"])]
    of_method = mine[mine["method"] == row["method"]]
    lead = of_method[of_method["estimand"] == row["estimand"]]
    edits = of_method[of_method["estimand"] == "model"] if row["estimand"] == "calibrated" else lead  # as predicted
    doubts: list[str] = []
    reasons = (
        *_in_model(row, run.pooled.table),
        *_labelled_loci(run, row, doubts),
        *_coverage(run, row, lead, doubts),
        *_agreement(run, row, doubts),
        *_signs(row, lead, doubts),
        *_scatter(row, edits, doubts),
        *_strength(edits, doubts),
        *_discovery(row, doubts),
    )
    clear = row["ci_low"] > 0 or row["ci_high"] < 0
    grade: Grade = "none" if not clear else "doubtful" if doubts else "effect"
    return _said(row, grade, tuple(reasons), tuple(doubts))


def _said(row: Mapping[Any, Any], grade: Grade, reasons: tuple[str, ...], doubts: tuple[str, ...]) -> Verdict:
    where, number = words.WHERE[row["estimand"]], words.estimate(row)
    exposure, outcome = row["exposure"], row["outcome"]
    loci = words.count(int(row["n"]), "locus")
    if grade == "none":
        sentence = f"No effect of {exposure} on {outcome} is seen {where}: {number}, {loci}."
    else:
        change = "raises" if row["beta"] > 0 else "lowers"
        sentence = f"{exposure} {change} {outcome} {where}: {number} per unit, {loci}"
        why = "; ".join(text for key, text in DOUBTS.items() if key in doubts)
        sentence += f", but this is doubtful: {why}." if why else "; nothing here speaks against it, which is no proof."
    return Verdict(
        exposure=exposure, outcome=outcome, estimand=str(row["estimand"]), grade=grade, sentence=sentence,
        reasons=reasons, doubts=doubts,
    )  # fmt: skip


def _without(run: Run, exposure: str, outcome: str) -> Verdict:
    gone = run.local.skipped
    mine = gone[(gone["exposure"] == exposure) & (gone["outcome"] == outcome)]
    common = mine["reason"].value_counts()
    why = f"; the commonest reason: {common.index[0]}" if len(common) else ""
    sentence = f"Of {exposure} on {outcome} there is no estimate{why}."
    return Verdict(exposure=exposure, outcome=outcome, estimand=run.estimand, grade="open", sentence=sentence)


def _coverage(run: Run, row: Mapping[Any, Any], lead: pd.DataFrame, doubts: list[str]) -> Iterator[str]:
    gone = run.local.skipped
    lost = gone[
        (gone["exposure"] == row["exposure"]) & (gone["outcome"] == row["outcome"]) & (gone["method"] == row["method"])
    ]
    asked = len(lead) + len(lost)
    if len(lead) and len(lost):
        yield f"{of_loci(len(lead), asked)} have an estimate; the answer speaks of these."
    if row["n"] < FEW:
        doubts.append("few")
        yield f"The answer rests on {words.count(int(row['n']), 'locus')}: few to judge by."


def _agreement(run: Run, row: Mapping[Any, Any], doubts: list[str]) -> Iterator[str]:
    table = run.pooled.table
    mine = (table["exposure"] == row["exposure"]) & (table["outcome"] == row["outcome"])
    same = run.pooled.take((mine & (table["estimand"] == row["estimand"])).to_numpy(bool))
    against = compare_methods(same, reference=row["method"]).table
    numbers = {one["method"]: one for one in same.table.to_dict("records")}
    named = {
        verdict: listed([f"{words.method_name(m)} {words.estimate(numbers[m])}" for m in part["method"]])
        for verdict, part in against.groupby("verdict", sort=False)
    }
    name = words.method_name(row["method"])
    if "agrees" in named:
        yield f"In agreement with {name}, each estimate inside the other's interval: {named['agrees']}."
    if "imprecise" in named:
        yield f"Too imprecise to confirm or contradict it: {named['imprecise']}."
    if "differs" in named:
        apart = (against["beta"] - row["beta"]).abs()[against["verdict"] == "differs"].max() > FAR * abs(row["beta"])
        doubts += ["methods"] if apart else []
        little = "" if apart else f", but by less than {words.percent(FAR)}"
        yield f"Against it, their intervals leave {words.number(row['beta'])} out{little}: {named['differs']}."


def _signs(row: Mapping[Any, Any], lead: pd.DataFrame, doubts: list[str]) -> Iterator[str]:
    if len(lead) < 2:
        return
    same = int((np.sign(lead["beta"]) == np.sign(row["beta"])).sum())
    said = f"The effect has the sign of the mean at {of_loci(same, len(lead))}"
    low, high = row.get("pi_low", np.nan), row.get("pi_high", np.nan)
    if not np.isfinite([low, high]).all():
        yield f"{said}."
        return
    yield f"{said}; at a new locus it is expected between {words.number(low)} and {words.number(high)}."
    clear = row["ci_low"] > 0 or row["ci_high"] < 0
    if clear and low <= 0 <= high:
        doubts.append("sign")


def _in_model(row: Mapping[Any, Any], pooled: pd.DataFrame) -> Iterator[str]:
    """Yield what the effect in the model is where the answer is the calibrated one."""
    same = [
        other
        for other in pooled.to_dict("records")
        if all(other[name] == row[name] for name in ("method", "exposure", "outcome")) and other["estimand"] == "model"
    ]
    if row["estimand"] != "calibrated" or not same:
        return
    other = same[0]
    inside = row["ci_low"] <= other["beta"] <= row["ci_high"]
    yield (
        f"The effect in the model is {words.estimate(other)}: "
        f"{'inside' if inside else 'outside'} the interval of the calibrated effect, "
        f"{words.number(row['beta'] - other['beta'])} from it."
    )


def _labelled_loci(run: Run, row: Mapping[Any, Any], doubts: list[str]) -> Iterator[str]:
    """Yield that a calibrated effect has the shift of loci unlike those analysed, or of labels in another unit."""
    said = run.unlike.get((row["exposure"], row["outcome"]))
    if said and row["estimand"] == "calibrated":
        doubts += [key for key, words_of_it in LABELS_ARE.items() if words_of_it in said]
        yield said


def _scatter(row: Mapping[Any, Any], lead: pd.DataFrame, doubts: list[str]) -> Iterator[str]:
    if "q_pvalue" not in lead or lead["q_pvalue"].isna().all():
        return
    p = lead["q_pvalue"].dropna().to_numpy(float)
    k, n = int((p < CHANCE).sum()), len(p)
    more = k >= SCATTERED * n and float(binom.sf(k - 1, n, CHANCE)) < SURE
    expected = f"{words.percent(CHANCE)} would by chance"
    if more:
        doubts.append("scatter")
        yield (
            f"Within loci, edits scatter about the line more than their errors explain at {of_loci(k, n)} ({expected}):"
            f" some reach {row['outcome']} by another way than {row['exposure']}, or the response is curved."
        )
    else:
        but = f", but at {of_loci(k, n)} ({expected})" if k else f", at all {words.count(n, 'locus')}"
        yield f"Within loci, edits lie on one line as closely as their errors allow{but}."


def _strength(lead: pd.DataFrame, doubts: list[str]) -> Iterator[str]:
    if "f_statistic" not in lead or lead["f_statistic"].isna().all():
        return
    middle = float(lead["f_statistic"].median())
    if middle < WEAK:
        doubts.append("weak")
        yield f"Instruments are weak, median F {words.number(middle)} (below {WEAK:g}): the estimate is drawn to 0."
    else:
        yield f"Instruments are strong: the median over loci of their mean F is {words.number(middle)}."


def _discovery(row: Mapping[Any, Any], doubts: list[str]) -> Iterator[str]:
    rate = row.get("fdr", np.nan)
    if not np.isfinite(rate):
        return
    if rate > CHANCE and (row["ci_low"] > 0 or row["ci_high"] < 0):
        doubts.append("fdr")
    yield f"Among all pairs tested, the false-discovery rate at which it counts as found is {words.pvalue(rate)}."


def _with_echo(one: Verdict, reverse: Verdict | None) -> Verdict:
    """Add what the reverse pair says of one whose edits scatter."""
    if reverse is None or one.grade != "doubtful" or "scatter" not in one.doubts or reverse.grade != "effect":
        return one
    why = (
        f"The reverse, {reverse.pair}, has no such scatter: edits at sites of {one.outcome} move both marks, and serve "
        f"here as instruments of {one.exposure}. This effect may be their echo."
    )
    sentence = f"{one.sentence.removesuffix('.')}; {DOUBTS['echo']}."
    return replace(one, sentence=sentence, reasons=(*one.reasons, why), doubts=(*one.doubts, "echo"))
