"""The verdict in words: of every locus, of a pair, and of both directions of a pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from deepmr import schema
from deepmr.mr.diagnostics.declared import declared, records
from deepmr.mr.diagnostics.findings import NARROW, NEGLIGIBLE, SIGNIFICANT, Finding, Tables, contradicts
from deepmr.mr.lines import WEAK
from deepmr.mr.sensitivity.phrases import number
from deepmr.types import Estimand, Estimates

Judgement = Literal["supported", "supported with doubts", "undecided", "not supported"]

SUPPORT = ("permutation", "direction", "asymmetry", "rejections")  # what a verdict of support names as its reasons
MANY_DOUBTS = 3  # doubts that together leave a pair undecided
ESTIMANDS: dict[str, str] = {
    "model": "effect in the model",
    "calibrated": "calibrated effect, in the data-generating process",
    "population": "effect in the population",
}
SHARED = (
    "An error that all members of the ensemble share is in none of this: only measured effects of edits can show it."
)
LABELLED = (
    "Calibrated intervals rest on measured edits and allow for an error that all members of the ensemble share; "
    "intervals of effects in the model, and the diagnostics, which are of the model, do not show it."
)
SCATTERED = 0.01  # P value of a locus's test of scatter that counts as a doubt
BENT_LOCUS = 0.25  # share of a locus's slope by which it may change between small and large effects
UNUSUAL = 0.2  # share of a locus's instruments that may be unusual


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What all diagnostics of a pair say together.

    Attributes
    ----------
    judgement : supported, supported with doubts, undecided, or not supported.
    estimand : of the effect that is judged.
    effect : that effect with its interval, as it stands in the sentence; "" where there is none.
    sentence : the judgement with its reasons.
    caveat : what no diagnostic can see.
    findings : behind it.
    """

    exposure: str
    outcome: str
    judgement: Judgement
    estimand: Estimand
    effect: str
    sentence: str
    caveat: str
    findings: tuple[Finding, ...]


def conclude(
    findings: Sequence[Finding], *, exposure: str, outcome: str, estimand: Estimand, row: Mapping[str, Any] | None
) -> Verdict:
    """Put findings together to a verdict.

    Parameters
    ----------
    findings : of the pair.
    exposure, outcome : its traits.
    estimand : of the pooled effect.
    row : the pooled effect, beta, ci_low and ci_high; None where there is none.

    Notes
    -----
    Not supported: any finding against it. Undecided: else any that leaves it undecided, or three doubts from different
    checks. Supported, with doubts where there are any: else. Reasons are the findings of the greatest weight.
    """
    weights = {kind: [f for f in findings if f.severity == kind] for kind in ("against", "undecided", "doubt", "fine")}
    doubts = {f.check for f in weights["doubt"]}
    judgement: Judgement = "supported"
    because = list({f.check: f for f in reversed(weights["fine"]) if f.check in SUPPORT}.values())[::-1]
    if weights["against"]:
        judgement, because = "not supported", weights["against"]
    elif weights["undecided"]:
        judgement, because = "undecided", weights["undecided"]
    elif len(doubts) >= MANY_DOUBTS:
        judgement, because = "undecided", weights["doubt"]
    elif doubts:
        judgement = "supported with doubts"
    name = ESTIMANDS[estimand]
    size = ""
    if row is not None:
        size = f"{name} {number(row['beta'])} ({number(row['ci_low'])} to {number(row['ci_high'])})"
    reasons = "; ".join(f.sentence for f in because) or "nothing speaks against it"
    sentence = f"{exposure} -> {outcome}: {judgement}{', ' if size else ''}{size}, because {reasons}."
    if judgement == "supported with doubts":
        sentence += f" Doubts: {'; '.join(f.sentence for f in weights['doubt'])}."
    return Verdict(
        exposure=exposure,
        outcome=outcome,
        judgement=judgement,
        estimand=estimand,
        effect=size,
        sentence=sentence,
        caveat=LABELLED if estimand == "calibrated" else SHARED,
        findings=tuple(findings),
    )


def relate(one: Verdict, other: Verdict) -> str:
    """Say in a sentence what both directions of a pair are together.

    Parameters
    ----------
    one, other : verdicts of the two directions.
    """
    name = f"{one.exposure} and {one.outcome}"
    both = (one, other)
    held = [v for v in both if v.judgement.startswith("supported")]
    gone = [v for v in both if v.judgement == "not supported"]
    if len(gone) == 2:
        heavy = [{f.check for f in v.findings if f.severity in ("against", "undecided")} for v in both]
        mixed = all("asymmetry" in names and "permutation" not in names for names in heavy)
        tail = "; sites that move both are there, which a third mark may bind, or sites that overlap" if mixed else ""
        return f"{name}: no effect in either direction{tail}."
    if len(held) == 2:
        return f"{name}: both directions."
    if len(held) == 1 and len(gone) == 1:
        return f"{name}: one direction only, {held[0].exposure} -> {held[0].outcome}."
    if len(held) == 1:
        return (
            f"{name}: {held[0].exposure} -> {held[0].outcome}; whether {held[0].outcome} acts on {held[0].exposure} "
            "too is undecided."
        )
    same = all(any(f.check == "asymmetry" and f.severity == "undecided" for f in v.findings) for v in both)
    if same:
        return f"{name}: both directions: shared instruments, so the direction is undecided."
    if len(gone) == 1:
        rest = next(v for v in both if v is not gone[0])
        return f"{name}: not {gone[0].exposure} -> {gone[0].outcome}; {rest.exposure} -> {rest.outcome} is undecided."
    return f"{name}: undecided in both directions."


def judge_loci(estimates: Estimates, tables: Tables, *, verdict: Verdict, method: str, unit: float) -> pd.DataFrame:
    """Judge every locus of a pair, never more confidently than the pair as a whole.

    Parameters
    ----------
    estimates : local ones of the pair, of one estimand.
    tables : of the pair.
    verdict : of the pair.
    method : whose estimates are judged.
    unit : as for `findings.judge_effect`.

    Returns
    -------
    Table "loci" of `schema.DIAGNOSTICS`, also of loci without an estimate (undecided, with the reason).

    Notes
    -----
    *Not supported*: the interval reaches no effect that matters, exclusive instruments contradict the slope, or the
    direction is reversed. *Undecided*: the interval holds 0, two doubts, or the pair as a whole is not supported or
    undecided. Doubts: instruments disagree (P < 0.01), weak, fewer than two effective positions, a bend, or more than a
    fifth unusual.
    """
    said = _by_locus(tables)
    held = verdict.judgement.startswith("supported")
    rows = []
    mine = estimates.table[estimates.table["method"] == method]
    for row in records(mine):
        against, undecided, doubts = _weigh(row, said.get(str(row["locus"]), {}), unit)
        if against:
            word, why = "not supported", against
        elif undecided or len(doubts) > 1:
            word, why = "undecided", undecided + doubts
        elif not held:
            word, why = "undecided", [f"over all loci it is {verdict.judgement}"]
        else:
            word, why = "supported", doubts
        rows.append(row | {"verdict": word, "reasons": "; ".join(why)})
    for row in records(estimates.skipped[estimates.skipped["method"] == method]):
        rows.append(row | {"estimand": verdict.estimand, "n": 0, "verdict": "undecided", "reasons": row["reason"]})
    return declared("loci", pd.DataFrame(rows).reindex(columns=list(schema.DIAGNOSTICS["loci"])))


def _by_locus(tables: Tables) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the rows of a locus by table."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name in ("strength", "direction", "asymmetry", "curvature", "unusual"):
        for row in records(tables.get(name, pd.DataFrame())):
            found.setdefault(str(row["locus"]), {})[name] = row
    return found


def _weigh(row: dict[str, Any], said: dict[str, dict[str, Any]], unit: float) -> tuple[list[str], list[str], list[str]]:
    """Return the reasons against a locus, those that leave it undecided, and the doubts."""
    against, undecided, doubts = [], [], []
    if max(abs(row["ci_low"]), abs(row["ci_high"])) < NEGLIGIBLE * unit:
        against.append("no effect that matters")
    elif row["ci_low"] <= 0 <= row["ci_high"]:
        undecided.append("the interval holds 0")
    if "asymmetry" in said and contradicts(said["asymmetry"]):
        against.append(f"{row['exposure']}'s own instruments do not move {row['outcome']}")
    if said.get("direction", {}).get("direction") == "reversed":
        against.append("direction reversed")
    if row.get("q_pvalue", 1.0) < SCATTERED:
        doubts.append("instruments disagree")
    strong = said.get("strength", {})
    if strong.get("f_statistic", WEAK) < WEAK:
        doubts.append("weak instruments")
    if strong.get("effective_positions", NARROW) < NARROW - 1:
        doubts.append("rests on next to one position")
    bend = said.get("curvature", {})
    if bend and not bend["reason"] and bend["difference_pvalue"] < SIGNIFICANT:
        doubts += ["the response bends"] if abs(bend["difference"]) > BENT_LOCUS * abs(bend["slope"]) else []
    odd = said.get("unusual", {})
    if odd and max(odd["n_spread_exposure"], odd["n_spread_outcome"]) > UNUSUAL * odd["n"]:
        doubts.append("members disagree unusually")
    return against, undecided, doubts
