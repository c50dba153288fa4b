"""What each diagnostic of a pair says, and how much that weighs: `docs/diagnostics.md` gives every limit its reason."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import pandas as pd

from deepmr import checks
from deepmr.inference import quantile
from deepmr.mr.lines import WEAK
from deepmr.mr.sensitivity.phrases import number, probability, share

Severity = Literal["fine", "note", "doubt", "undecided", "against"]
Tables = Mapping[str, pd.DataFrame]

SIGNIFICANT = 0.05
NEGLIGIBLE = 0.05  # standardised effect, in units of large effects on both traits, that does not matter
ROOM = 0.1  # standardised effect beyond chance that permutations must rule out to speak against one
BENT = 0.1  # share of the slope by which it may change between small and large, single and double edits
OWN = 0.1  # share of squared effects that makes exclusive instruments worth asking
MIXED = 0.5  # share of the whole slope below which exclusive instruments leave open whose edits make it
SILENT = 0.25  # share of the whole slope below which that of exclusive instruments contradicts it
TWICE = 2.0  # times the nominal rate that rejections must exceed, with the whole of their interval
NARROW = 3.0  # effective positions below which a locus rests on next to nothing
ODD = 0.05  # share of instruments that may be unusual
OVERLAP = 0.5  # share of the slope that chance overlap may give
ONE_LEVEL = 0.2  # coefficient of variation of exposure effects below which a bend looks like an intercept
MOST = 0.5  # share of MR-Egger's difference that a bend must explain, of squared effects that are the most
SITELESS = 0.5  # ratio of effects in shuffled to those in real sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one diagnostic says of a pair.

    Attributes
    ----------
    check : the diagnostic.
    severity : fine; note, worth knowing; doubt, weakens; undecided, the question cannot be answered; against, the
        effect is not supported.
    sentence : in words, with its numbers.
    """

    check: str
    severity: Severity
    sentence: str

    def __post_init__(self) -> None:
        checks.one_of("severity", self.severity, get_args(Severity))


def judge(tables: Tables, *, exposure: str, outcome: str, unit: float = 1.0) -> Iterator[Finding]:
    """Yield what the tables of a pair say; a table that is not there says nothing.

    Parameters
    ----------
    tables : by name, as `schema.DIAGNOSTICS` declares them, of one pair.
    exposure, outcome : of the pair.
    unit : as for `judge_effect`.
    """
    curve = tables.get("curvature")
    bent = curve is not None and len(curve) > 0 and not _whole(curve)["reason"] and _bent(_whole(curve))
    said: tuple[tuple[str, Callable[[pd.DataFrame, str, str], Iterator[Finding]]], ...] = (
        ("strength", _strength),
        ("permutation", partial(_permutation, unit=unit)),
        ("direction", _direction),
        ("asymmetry", partial(_asymmetry, bent=bent)),
        ("rejections", _rejections),
        ("curvature", _curvature),
        ("doubles", _doubles),
        ("threshold_trends", _thresholds),
        ("unusual", _unusual),
        ("members", _members),
        ("shuffled", _shuffled),
    )
    for name, say in said:
        if name in tables and len(tables[name]):
            yield from say(tables[name], exposure, outcome)


def judge_effect(row: Mapping[str, Any] | None, *, outcome: str, unit: float) -> Finding:
    """Say what the pooled interval says of 0, and of effects that matter.

    Parameters
    ----------
    row : a pooled row of `Estimates`; None where there is none.
    outcome : of the pair.
    unit : pooled 99th percentile of the sizes of outcome effects over that of exposure effects: a standardised effect
        is beta / unit.
    """
    if row is None:
        return Finding(check="effect", severity="undecided", sentence="no locus has an estimate")
    low, high = float(row["ci_low"]), float(row["ci_high"])
    reach = max(abs(low), abs(high)) / (unit or 1.0)
    interval = f"{number(float(row['beta']))} ({number(low)} to {number(high)})"
    small = f"less than {share(NEGLIGIBLE)} of a large effect on {outcome} per large effect on the exposure"
    if low <= 0 <= high:
        if reach < NEGLIGIBLE:
            return Finding(check="effect", severity="against", sentence=f"the interval {interval} holds 0 and "
                           f"reaches no effect that matters ({small})")  # fmt: skip
        return Finding(check="effect", severity="undecided", sentence=f"the interval {interval} holds 0, and effects "
                       "that matter too")  # fmt: skip
    if reach < NEGLIGIBLE:
        return Finding(check="effect", severity="against", sentence=f"the effect {interval} is too small to matter: "
                       f"{small}")  # fmt: skip
    return Finding(check="effect", severity="fine", sentence=f"the interval {interval} leaves 0 out")


def _of(check: str, severity: Severity, sentence: str) -> Finding:
    return Finding(check=check, severity=severity, sentence=sentence)


def _whole(table: pd.DataFrame) -> "pd.Series":
    """Return the row of all loci together."""
    return table[table["locus"] == "*"].iloc[0]


def _strength(table: pd.DataFrame, exposure: str, outcome: str) -> Iterator[Finding]:
    full = table[table["n"] > 0]
    lost = len(table) - len(full)
    if full.empty:
        yield _of("strength", "undecided", f"no locus has an instrument for {exposure}")
        return
    f, places = float(full["f_statistic"].median()), float(full["effective_positions"].median())
    severity: Severity = "doubt" if f < WEAK or places < NARROW else "fine"
    yield _of(
        "strength",
        severity,
        f"instruments {'are weak' if f < WEAK else 'are strong'}, median F {number(f)}, and rest on "
        f"{'only ' if places < NARROW else ''}{places:.1f} positions of a locus (effective number, median)",
    )
    if lost:
        severity = "note" if lost <= len(table) / 2 else "doubt"
        yield _of("strength", severity, f"{lost:,} of {len(table):,} loci have no instrument and are not spoken of")


def _permutation(table: pd.DataFrame, exposure: str, outcome: str, *, unit: float) -> Iterator[Finding]:
    for row in table.to_dict("records"):
        whose = "of other loci" if row["control"] == "loci" else "from elsewhere at the locus"
        words = (
            f"the slope is {number(row['beta'])}, and {number(row['null_mean'])} (sd {number(row['null_sd'])}) when "
            f"edits are given the outcome effects {whose} instead, {probability(row['pvalue'])}"
        )
        chance = row["null_mean"] / row["beta"] if row["beta"] else 1.0
        if row["pvalue"] >= SIGNIFICANT:
            reach = (abs(row["beta"] - row["null_mean"]) + float(quantile(0.95)) * row["null_sd"]) / (unit or 1.0)
            ruled = reach < ROOM
            tail = f"with no more than {share(reach)} of a large effect beyond it" if ruled else "with room for more"
            severity: Severity = "against" if ruled else "undecided"
            yield _of("permutation", severity, f"{words}: like that of sites that meet by chance, {tail}")
        elif chance > OVERLAP:
            yield _of("permutation", "doubt", f"{words}: {share(chance)} of it is what sites that meet by chance give")
        else:
            yield _of("permutation", "fine", words)
    often = float(table["false_positives"].max())
    if often > TWICE * SIGNIFICANT:
        yield _of(
            "permutation",
            "note",
            f"the nominal interval leaves 0 out in {share(often)} of these permutations: that it does so for the data "
            "is no evidence by itself",
        )


_DIRECTION_WORDS: dict[str, tuple[Severity, str]] = {
    "forward": ("fine", ""),
    "reversed": ("against", ": they are rather instruments of the outcome"),
    "undecided": ("undecided", ": as much those of the one as of the other"),
}


def _direction(table: pd.DataFrame, exposure: str, outcome: str) -> Iterator[Finding]:
    row = _whole(table)
    severity, tail = _DIRECTION_WORDS[row["direction"]]
    yield _of(
        "direction",
        severity,
        f"the instruments have {share(row['share_exposure'])} of the squared effects on {exposure} and "
        f"{share(row['share_outcome'])} of those on {outcome}{tail}",
    )


def contradicts(row: Any) -> bool:
    """Say whether exclusive instruments contradict the slope of the shared ones, of a locus or of all together."""
    return bool(
        row["n_both"] > 0
        and row["share_exclusive"] >= OWN
        and abs(row["beta_exclusive"]) < SILENT * abs(row["beta"])
        and row["difference_pvalue"] < SIGNIFICANT
    )


def _mixed(row: Any) -> bool:
    """Say whether the shared instruments, and not the exposure's own, make most of the slope.

    Seen within loci; or, where own and shared ones are mostly at different loci, in that the own are the most by far.
    """
    apart = row["difference_pvalue"] < SIGNIFICANT or row["share_exclusive"] >= MOST
    small = abs(row["beta_exclusive"]) < MIXED * abs(row["beta"])
    return bool(row["n_both"] > 0 and row["share_exclusive"] >= OWN and small and apart)


def _asymmetry(table: pd.DataFrame, exposure: str, outcome: str, *, bent: bool) -> Iterator[Finding]:
    row = _whole(table)
    count, part = f"{row['n_exclusive']:,}", share(row["share_exclusive"])
    own = f"{count} instruments of {exposure} that are none of {outcome}'s, {part} of its squared effects,"
    slopes = f"slope {number(row['beta_exclusive'])}, against {number(row['beta_shared'])} over the shared ones"
    if contradicts(row):
        yield _of(
            "asymmetry",
            "against",
            f"{own} do not move {outcome} in proportion: {slopes}",
        )
    elif _mixed(row):
        # On a bent line weak instruments have another slope than strong ones, and exclusive ones are the weak: that the
        # line is bent is doubted already.
        severity: Severity = "note" if bent else "undecided"
        yield _of(
            "mixture",
            severity,
            f"{own} move {outcome} less than the whole says: {slopes}; so the estimate mixes "
            f"edits of {exposure} with edits of {outcome}: choose instruments by motif, or assign them to marks",
        )
    elif row["share_exclusive"] < OWN and row["n_outcome_exclusive"] < OWN * max(row["n_shared"], 1):
        yield _of("asymmetry", "undecided", f"{exposure} and {outcome} have the same instruments, so either may act on "
                  "the other, or a third on both")  # fmt: skip
    elif row["share_exclusive"] < OWN:
        yield _of(
            "asymmetry",
            "fine",
            f"{outcome} has {row['n_outcome_exclusive']:,} instruments of its own, and nearly all of {exposure}'s move "
            f"{outcome} too",
        )
    else:
        yield _of(
            "asymmetry",
            "note",
            f"{row['n_exclusive']:,} of the instruments of {exposure} are none of {outcome}, and nothing tells that "
            f"they leave the line by much (slope {number(row['beta_exclusive'])})",
        )


def _rejections(table: pd.DataFrame, exposure: str, outcome: str) -> Iterator[Finding]:
    row = table.iloc[0]
    if not row["n"]:
        return
    words = (
        f"instruments of a locus disagree at {row['n_rejected']:,} of {row['n']:,} loci ({share(row['rate'])}; "
        f"{share(row['nominal'])} are expected by chance)"
    )
    yield _of("rejections", "doubt" if row["rate_low"] > TWICE * row["nominal"] else "fine", words)


def _bent(row: Any, of: str = "slope") -> bool:
    large = abs(row["difference"]) > BENT * abs(row[of])
    return bool(large and row["difference_pvalue"] < SIGNIFICANT)


def _curvature(table: pd.DataFrame, exposure: str, outcome: str) -> Iterator[Finding]:
    row = _whole(table)
    if row["reason"]:
        yield _of("curvature", "note", f"whether the dose response bends cannot be told: {row['reason']}")
        return
    slopes = f"slope {number(row['slope_small'])} over small and {number(row['slope_large'])} over large effects"
    if _bent(row):
        yield _of("curvature", "doubt", f"the slope is not one within the instruments: {slopes}, "
                  f"{probability(row['difference_pvalue'])}")  # fmt: skip
    else:
        yield _of("curvature", "fine", f"the dose response is straight within the instruments: {slopes}")
    gap = row["egger_difference"]
    if abs(gap) > BENT * abs(row["slope"]):
        explained = min(max(row["egger_explained"] / gap, 0.0), 1.0)
        words = f"MR-Egger's slope differs by {number(gap)}, of which a bend explains {share(explained)}"
        flat = row["spread"] < ONE_LEVEL
        level = f"exposure effects vary by {share(row['spread'])} in size" + (", too little to tell" if flat else "")
        if explained > MOST:
            yield _of("curvature", "note", f"{words} ({level}): by itself no sign of direct effects")
        else:
            yield _of("curvature", "doubt", f"{words} ({level}): direct effects may be at work")


def _doubles(table: pd.DataFrame, exposure: str, outcome: str) -> Iterator[Finding]:
    row = _whole(table)
    slopes = f"slope {number(row['slope_single'])} over single and {number(row['slope_double'])} over double edits"
    added = (
        f"a double edit has {share(row['additivity_exposure'])} of the sum of its parts' effects on {exposure}, "
        f"{share(row['additivity_outcome'])} on {outcome}"
    )
    if _bent(row, "slope_single"):
        yield _of("doubles", "doubt", f"double edits leave the line of single ones: {slopes}; {added}")
    else:
        yield _of("doubles", "fine", f"double edits keep to the line: {slopes}; {added}")


_THRESHOLD_WORDS: dict[str, tuple[Severity, str]] = {
    "stable": ("fine", "the threshold for instruments hardly matters"),
    "drifts": ("doubt", "the effect moves with the threshold for instruments"),
    "decides": ("undecided", "whether there is an effect depends on the threshold for instruments"),
}


def _thresholds(table: pd.DataFrame, exposure: str, outcome: str) -> Iterator[Finding]:
    for row in table[table["rule"] != "all"].to_dict("records"):
        severity, words = _THRESHOLD_WORDS[row["judgement"]]
        ends = f"from {number(row['lowest'])} to {number(row['highest'])}"
        yield _of("thresholds", severity, f"{words}: {ends} over {row['n']} thresholds ({row['method']})")


def _unusual(table: pd.DataFrame, exposure: str, outcome: str) -> Iterator[Finding]:
    n = int(table["n"].sum())
    for trait, column in ((exposure, "exposure"), (outcome, "outcome")):
        odd = int(table[f"n_spread_{column}"].sum())
        words = f"members disagree unusually on the effect on {trait} of {odd:,} of {n:,} instruments"
        yield _of("unusual", "doubt" if odd > ODD * n else "fine", words)
        outside = int(table[f"n_outside_{column}"].sum())
        if outside > ODD * n:
            yield _of(
                "unusual",
                "note",
                f"{outside:,} of {n:,} edited sequences are predicted outside the range of {trait} over the unedited "
                "ones: whether training reached there, the effects file does not say",
            )


def _members(table: pd.DataFrame, exposure: str, outcome: str) -> Iterator[Finding]:
    flagged = table[table["flagged"] != ""]
    ends = f"{number(table['beta_without'].min())} to {number(table['beta_without'].max())}"
    if len(flagged):
        each = "; ".join(f"{row['member']} {row['flagged']}" for row in flagged.to_dict("records"))
        yield _of("members", "doubt", f"{each} (slope without one member: {ends})")
    else:
        yield _of("members", "fine", f"members agree (slope without one of them: {ends})")


def _shuffled(table: pd.DataFrame, exposure: str, outcome: str) -> Iterator[Finding]:
    row = _whole(table)
    words = (
        f"in shuffled sequences edits of the same positions have {share(row['ratio_exposure'])} of the effect on "
        f"{exposure} and {share(row['ratio_outcome'])} on {outcome}"
    )
    yield _of("shuffled", "doubt" if row["ratio_exposure"] > SITELESS else "fine", words)


def findings_frame(findings: tuple[Finding, ...], *, exposure: str, outcome: str) -> pd.DataFrame:
    """Return findings of a pair as table "findings" of `schema.DIAGNOSTICS`.

    Parameters
    ----------
    findings : of the pair.
    exposure, outcome : its traits.
    """
    rows = [{"exposure": exposure, "outcome": outcome, "check": f.check, "severity": f.severity,
             "sentence": f.sentence} for f in findings]  # fmt: skip
    return pd.DataFrame(rows, columns=["exposure", "outcome", "check", "severity", "sentence"])
