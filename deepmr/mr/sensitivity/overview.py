"""What sensitivity analyses of many loci say together, in words."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from deepmr.mr.lines import WEAK
from deepmr.mr.sensitivity.findings import Findings
from deepmr.mr.sensitivity.phrases import MEMBERS, number, of_loci, share, trait
from deepmr.mr.sensitivity.strength import read_instead

SIGNIFICANT = 0.05
Table = Mapping[str, Findings]


def many_loci(table: pd.DataFrame, findings: Table, lead: str, shared: bool) -> Iterator[str]:
    """Yield what the analyses of one pair of traits say, as shares of its loci; `describe` has the parameters."""
    ours = table[table["method"] == lead]
    n = len(ours)
    clear = int(((ours["ci_low"] > 0) | (ours["ci_high"] < 0)).sum())
    positive = int((ours["beta"] > 0).sum())
    exposure, outcome = (trait(ours[name].iloc[0]) for name in ("exposure", "outcome"))
    yield (
        f"{lead} estimates the effect of {exposure} on {outcome} at {n:,} loci: median "
        f"{number(float(ours['beta'].median()))}, above 0 at {of_loci(positive, n)}; the interval leaves 0 out at "
        f"{of_loci(clear, n)}."
    )
    agreement = findings["agreement"].table
    for method, part in agreement.groupby("method", sort=False):
        counts = part["verdict"].value_counts()
        yield (
            f"{method} has the same sign at {of_loci(int(part['same_sign'].sum()), len(part))}, agrees at "
            f"{of_loci(int(counts.get('agrees', 0)), len(part))}, is too imprecise at "
            f"{of_loci(int(counts.get('imprecise', 0)), len(part))} and differs at "
            f"{of_loci(int(counts.get('differs', 0)), len(part))}."
        )
    if len(findings["strength"]):
        strong = findings["strength"].table
        weak = int((strong["f_statistic"] < WEAK).sum())
        middle = number(float(strong["f_statistic"].median()))
        yield f"Median over loci of the mean F: {middle}; below {WEAK:g} at {of_loci(weak, len(strong))}."
    if len(findings["heterogeneity"]):
        spread = findings["heterogeneity"].table
        q, a = (int((spread[name] < SIGNIFICANT).sum()) for name in ("q_ivw_pvalue", "intercept_pvalue"))
        expected = f"{100 * SIGNIFICANT:.0f} % are expected by chance"
        yield (
            f"Ratios scatter more than their errors explain at {of_loci(q, len(spread))}, and MR-Egger's intercept is "
            f"not 0 at {of_loci(a, len(spread))} (P < {SIGNIFICANT}; {expected})."
        )
        if shared:
            yield MEMBERS
    yield from _many_rows(findings, ours)
    if agreement.empty:
        yield f"Only {lead} was run, so nothing is compared."
        return
    differs = float((agreement["verdict"] == "differs").mean())
    if differs > 2 * SIGNIFICANT:
        yield f"Methods differ at {share(differs)} of comparisons, more than by chance: look at loci one by one."
    elif len(findings["strength"]) and float(findings["strength"].table["f_statistic"].median()) < WEAK:
        run = list(dict.fromkeys(table["method"]))
        yield f"Instruments are weak: read {read_instead(run, lead, shared=shared)}, and pool loci by meta-analysis."
    else:
        yield f"Methods differ at {share(differs)} of comparisons: read {lead}, and pool loci by meta-analysis."


def _many_rows(findings: Table, ours: pd.DataFrame) -> Iterator[str]:
    """Yield what analyses of a row an instrument say of many loci."""
    left = findings["leave_one_out"].table
    each = left[left["left_out"] != "*"]
    if len(each):
        signs = ours.set_index("locus")["beta"]
        turned = each[np.sign(each["beta"]) != np.sign(each["locus"].map(signs))]
        where = of_loci(turned["locus"].nunique(), each["locus"].nunique())
        yield f"Leaving out one instrument turns the sign at {where}."
    if "outliers" in findings and len(findings["outliers"]):
        for test, part in findings["outliers"].table.groupby("method", sort=False):
            far = part[part["outlier"]]
            where = of_loci(far["locus"].nunique(), part["locus"].nunique())
            yield f"Outliers ({test}): {len(far):,} instruments, at {where}."
    direction = findings["steiger"]
    if len(direction):
        wrong = int((~direction.table["forward"].astype(bool)).sum())
        yield f"Instruments explain more of the outcome at {of_loci(wrong, len(direction))} (Steiger)."
    elif len(direction.skipped):
        yield f"Steiger's test of the direction could not be done: {direction.skipped['reason'].iloc[0]}."
