"""What sensitivity analyses say, in words: short sentences with the numbers behind them."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from deepmr.mr.lines import WEAK
from deepmr.mr.sensitivity.overview import SIGNIFICANT, Table, many_loci
from deepmr.mr.sensitivity.phrases import MEMBERS, effect, listed, number, probability, share, trait
from deepmr.mr.sensitivity.strength import FOR_WEAK, FOR_WEAK_SHARED, read_instead
from deepmr.types import Estimates

# Methods to read beside the leading one where there may be other paths to the outcome, the first two that were run.
BESIDE = ("median_weighted", "mode_weighted", "contamination_mixture", "egger")


def describe(estimates: Estimates, findings: Table, *, lead: str, shared: bool = False) -> tuple[str, ...]:
    """Return what the analyses of one pair of traits say: of one locus its numbers, of many their shares.

    Parameters
    ----------
    estimates : of every method.
    findings : by name of the analysis, as `check_sensitivity` has them.
    lead : the method that the others are compared with.
    shared : whether ensemble members share errors.
    """
    table = estimates.table
    loci = int((table["method"] == lead).sum())
    if loci == 0:
        reasons = estimates.skipped.loc[estimates.skipped["method"] == lead, "reason"]
        why = reasons.value_counts().index[0] if len(reasons) else "there is no locus"
        return (f"{lead} has no estimate: {why}.",)
    if loci == 1:
        return tuple(_one(table, findings, lead, shared))
    return tuple(many_loci(table, findings, lead, shared))


def _one(table: pd.DataFrame, findings: Table, lead: str, shared: bool) -> Iterator[str]:
    row = table[table["method"] == lead].iloc[0]
    yield (
        f"{lead} estimates the effect of {trait(row['exposure'])} on {trait(row['outcome'])} as {effect(row)} "
        f"from {row['n']:,} instrument{'' if row['n'] == 1 else 's'}."
    )
    doubts: list[str] = []
    strong = findings["strength"].table if "strength" in findings else pd.DataFrame(columns=["locus", "f_statistic"])
    weak = bool((strong.loc[strong["locus"] == row["locus"], "f_statistic"] < WEAK).any())
    yield from _agreement(table, findings["agreement"].table, row, doubts, weak=weak)
    for name, say in (
        ("strength", _strength),
        ("heterogeneity", _heterogeneity),
        ("leave_one_out", _leave_one_out),
        ("outliers", _outliers),
        ("steiger", _steiger),
    ):
        if name in findings:
            here = findings[name]
            here_table = here.table[here.table["locus"] == row["locus"]] if len(here) else here.table
            if len(here_table):
                yield from say(here_table, row, doubts, shared)
            elif name in _UNTESTED:
                reasons = here.skipped.loc[here.skipped["locus"] == row["locus"], "reason"]
                yield from (f"{_UNTESTED[name]} {reason}." for reason in reasons)
                if name == "heterogeneity":
                    doubts.append("untested")
    yield _reading(table, lead, doubts, shared)


def _agreement(
    table: pd.DataFrame, agreement: pd.DataFrame, row: Any, doubts: list[str], *, weak: bool
) -> Iterator[str]:
    by_method = table[table["locus"] == row["locus"]].set_index("method")
    groups = {verdict: list(part["method"]) for verdict, part in agreement.groupby("verdict", sort=False)}
    named = {k: listed([f"{m} {effect(by_method.loc[m])}" for m in names]) for k, names in groups.items()}
    if "agrees" in groups:
        yield f"In agreement, each estimate inside the other's interval: {named['agrees']}."
    if "imprecise" in groups:
        yield f"Too imprecise to confirm or contradict it: {named['imprecise']}."
    if "differs" in groups:
        # Weak instruments pull every other method towards 0: that they differ from one that allows for it is no news.
        beta = by_method.loc[groups["differs"], "beta"].astype(float)
        fit = {*FOR_WEAK, *FOR_WEAK_SHARED}
        allowed = weak and row["method"] in fit and not fit & set(groups["differs"])
        pulled = allowed and bool(((beta * row["beta"] >= 0) & (beta.abs() < abs(row["beta"]))).all())
        why = ", nearer to 0 as weak instruments make them" if pulled else ""
        yield f"Against it, their intervals leave {number(row['beta'])} out: {named['differs']}{why}."
        doubts += [] if pulled else ["pleiotropy"]
    flipped = list(agreement.loc[~agreement["same_sign"], "method"])
    if flipped:
        yield f"The sign is the other in {listed(flipped)}."


def _strength(table: pd.DataFrame, row: Any, doubts: list[str], shared: bool) -> Iterator[str]:
    it = table.iloc[0]
    weak = f"{it['n_weak']:,} of {it['n']:,} instruments have F below {WEAK:g}"
    one = it["n"] == 1
    errors = "the error of its exposure effect pulls" if one else "errors of the exposure effects pull"
    dilution = f"{errors} IVW towards 0 by about {share(it['relative_bias'])}"
    if it["i2_gx"] > 0 and it["n"] >= 3:
        dilution += f", MR-Egger's slope by about {share(1 - it['i2_gx'])}"
    if one:
        size = "weak" if it["f_statistic"] < WEAK else "strong"
        doubts += ["weak"] if size == "weak" else []
        yield f"The instrument is {size}, F = {number(it['f_statistic'])}: {dilution}."
    elif it["f_statistic"] < WEAK:
        doubts.append("weak")
        yield f"Instruments are weak: mean F is {number(it['f_statistic'])}; {dilution}; {weak}."
    elif it["f_median"] < WEAK:
        middle = f"mean F {number(it['f_statistic'])}, median {number(it['f_median'])}"
        yield f"Few strong instruments make up for many weak ones, {middle}: {dilution}; {weak}."
    else:
        yield f"Instruments are strong on average, mean F {number(it['f_statistic'])}: {dilution}; {weak}."
    if 0 < it["i2_gx"] < 0.9 and it["n"] >= 3:
        percent = math.floor(1000 * it["i2_gx"]) / 10  # never rounded up to the limit
        yield f"I2_GX is {percent:.1f} %, below 90 %: MR-Egger is diluted, trust its slope little."


def _heterogeneity(table: pd.DataFrame, row: Any, doubts: list[str], shared: bool) -> Iterator[str]:
    it = table.iloc[0]
    test = f"Q = {number(it['q_ivw'])} on {it['q_ivw_df']:.0f} degrees of freedom, {probability(it['q_ivw_pvalue'])}"
    if it["q_ivw_pvalue"] < SIGNIFICANT:
        doubts.append("scatter")
        yield f"Ratios scatter more than their errors explain ({test}, I2 = {share(it['i2_ivw'])})."
    else:
        yield f"Ratios scatter no more than their errors explain ({test})."
    if shared:
        yield MEMBERS
    where = f"intercept {number(it['intercept'])}, {probability(it['intercept_pvalue'])}"
    if it["intercept_pvalue"] < SIGNIFICANT:
        doubts.append("pleiotropy")
        yield f"Instruments reach the outcome another way on average: MR-Egger's intercept is not 0 ({where})."
    else:
        yield f"MR-Egger shows no direct effect common to all instruments ({where})."


def _leave_one_out(table: pd.DataFrame, row: Any, doubts: list[str], shared: bool) -> Iterator[str]:
    each = table[table["left_out"] != "*"]
    if each.empty:
        return
    low, high = each["beta"].min(), each["beta"].max()
    yield f"Without any one instrument the estimate stays between {number(low)} and {number(high)}."
    excludes = row["ci_low"] > 0 or row["ci_high"] < 0
    holds_zero = (each["ci_low"] <= 0) & (each["ci_high"] >= 0)
    turned = each[holds_zero == excludes]
    if len(turned):
        doubts.append("one instrument")
        change = "would hold 0" if excludes else "would leave 0 out"
        names = listed(list(turned["left_out"]), "or")
        yield f"It hangs on single instruments: the interval {change} without {names}."


def _outliers(table: pd.DataFrame, row: Any, doubts: list[str], shared: bool) -> Iterator[str]:
    found: dict[tuple[str, ...], list[str]] = {}  # tests that find the same
    for test, part in table.groupby("method", sort=False):
        far = part[part["outlier"]].sort_values("pvalue")
        same = next((names for names in found if set(names) == set(far["variant_id"])), tuple(far["variant_id"]))
        found.setdefault(same, []).append(str(test))
    for names, tests in found.items():
        by = listed(tests)
        if names:
            doubts.append("outliers")
            of = f"{len(names):,} of {table['variant_id'].nunique():,} instruments lie"
            yield f"{of} too far from the line for chance ({by}): {listed(list(names))}."
        else:
            yield f"No instrument lies too far from the line for chance ({by})."


def _steiger(table: pd.DataFrame, row: Any, doubts: list[str], shared: bool) -> Iterator[str]:
    it, exposure, outcome = table.iloc[0], trait(row["exposure"]), trait(row["outcome"])
    shares = (
        f"the instruments explain {share(it['r2_exposure'])} of {exposure} and {share(it['r2_outcome'])} of "
        f"{outcome}, {probability(it['pvalue'])}"
    )
    if it["forward"] and it["pvalue"] < SIGNIFICANT:
        least = share(it["tipping_reliability"])
        turns = f"it would turn if {outcome} were measured with less than {least} of {exposure}'s reliability"
        alone = f"{it['n_reversed']:,} of {it['n']:,} by themselves explain more of the outcome"
        yield f"The direction holds: {shares}; {turns}; {alone}."
    elif it["forward"]:
        yield f"The direction is not certain: {shares}."
    else:
        doubts.append("direction")
        yield f"The direction may be the other: {shares}."


LEAST = 3  # instruments that methods for weak ones need to say anything
FEW = 10  # instruments below which tests miss most of what there is to find
# What could not be done, with the reason after it.
_UNTESTED = {
    "heterogeneity": "Heterogeneity and the intercept could not be tested:",
    "steiger": "Steiger's test of the direction could not be done:",
}
_FIXED = ("ivw_fixed", "wald_weighted")  # methods whose intervals do not grow with the scatter
_DOUBTS = {
    "untested": "little could be tested",
    "weak": "instruments are weak",
    "pleiotropy": "methods or the intercept point to other paths to the outcome",
    "scatter": "ratios scatter",
    "outliers": "there are outliers",
    "one instrument": "the answer hangs on single instruments",
    "direction": "the direction is open",
}


def _reading(table: pd.DataFrame, lead: str, doubts: list[str], shared: bool) -> str:
    most = int(table.loc[table["method"] == lead, "n"].iloc[0])
    run = set(table["method"])
    if not doubts and most < FEW:
        return f"Nothing here gives reason for doubt, but {most} instruments can show little: read {lead}."
    if not doubts:
        return f"Nothing here gives reason for doubt, which is no proof: read {lead}."
    why = "; ".join(text for key, text in _DOUBTS.items() if key in doubts)
    other_paths = "pleiotropy" in doubts or "outliers" in doubts
    beside = [name for name in BESIDE if other_paths and name in run and name != lead][:2]
    if "weak" in doubts and most >= LEAST:
        and_only = f", and only beside {listed(beside)}" if beside else ""
        return f"Reason for doubt: {why}. Read {read_instead(run, lead, shared=shared)}{and_only}."
    if beside:
        return f"Reason for doubt: {why}. Read {lead} only beside {listed(beside)}."
    if set(doubts) == {"scatter"} and lead in _FIXED:
        return f"Reason for doubt: {why}. The interval of {lead} does not allow for it: read ivw_random."
    if set(doubts) == {"scatter"}:
        return f"Reason for some care: {why}. Read {lead}, whose interval should allow for it."
    return f"Reason for doubt: {why}. Read {lead} with that in mind."
