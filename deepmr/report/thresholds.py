"""How the pooled effect depends on the rule by which instruments are chosen, and on how strict it is."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from deepmr import checks, schema
from deepmr.errors import InputError
from deepmr.instruments.strength import THRESHOLDS
from deepmr.report import words
from deepmr.report.style import CYCLE, GRID, INK, MUTED, WIDTH, new_figure, settle, styled, wrapped

AXES = {
    "relative": "share of the 99th percentile",
    "f": "least F statistic",
    "zscore": "least pooled z-score",
    "motif": "in motifs: share of the\n99th percentile",
}
WIDE = 5.0  # a range of thresholds from this ratio on, without a 0, is drawn on a log axis


@styled
def threshold_figure(table: pd.DataFrame, *, exposure: str, outcome: str, truth: float | None = None) -> Figure:
    """Draw the pooled effect with its interval against the threshold, a line and a panel a rule; instruments below.

    Parameters
    ----------
    table : columns of `schema.THRESHOLDS`, as `deepmr thresholds` writes it.
    exposure, outcome : which rows.
    truth : true effect, where it is known.

    Raises
    ------
    InputError
        When there are no such rows.

    Notes
    -----
    The dotted line is each rule's default. Thresholds of different rules have different units, so that every rule has
    an axis of its own; effects and numbers share theirs.
    """
    checks.columns("thresholds", table.columns, schema.THRESHOLDS)
    rows = table[(table["exposure"] == exposure) & (table["outcome"] == outcome)]
    if rows.empty:
        raise InputError(f"{exposure} on {outcome}: there is no effect to draw")
    rules = list(dict.fromkeys(rows["rule"]))
    figure = new_figure(WIDTH if len(rules) > 1 else 4.6, 4.2)
    panels = figure.subplots(2, len(rules), sharex="col", sharey="row", squeeze=False, height_ratios=[2.2, 1])
    for k, rule in enumerate(rules):
        mine = rows[rows["rule"] == rule].sort_values("threshold")
        colour = CYCLE[list(THRESHOLDS).index(rule) % len(CYCLE)] if rule in THRESHOLDS else INK
        _effects(panels[0, k], mine, colour, truth)
        _numbers(panels[1, k], mine, colour)
        _abscissa(panels[1, k], mine["threshold"].to_numpy(float), rule)
        for axes in panels[:, k]:
            if rule in THRESHOLDS:
                axes.axvline(THRESHOLDS[rule], color=MUTED, lw=0.8, ls=":", zorder=0, gid="default")
        panels[0, k].set_title(rule)
    panels[0, 0].set_ylim(_limits(rows, truth))
    panels[0, 0].set_ylabel("effect, mean over loci")
    panels[1, 0].set_ylabel("instruments a locus\n(numbers: loci)", fontsize=7.5)
    panels[1, 0].set_ylim(bottom=0)
    method = words.method_name(str(rows["method"].iloc[0]))
    estimand = str(rows["estimand"].iloc[0])
    figure.suptitle(
        wrapped(f"{exposure} → {outcome}, {method}: effect ({estimand}) by the choice of instruments", width=90)
    )
    return settle(figure)


def _limits(rows: pd.DataFrame, truth: float | None) -> tuple[float, float]:
    """Return the range of effects: every estimate, and intervals that are not far longer than the typical one."""
    beta, low, high = (rows[name].to_numpy(float) for name in ("beta", "ci_low", "ci_high"))
    reach = 4 * float(np.median(high - low))
    start, stop = max(low.min(), beta.min() - reach), min(high.max(), beta.max() + reach)
    if truth is not None:
        start, stop = min(start, truth), max(stop, truth)
    margin = 0.06 * (stop - start) or 1.0
    return float(start - margin), float(stop + margin)


def _effects(axes: Axes, rows: pd.DataFrame, colour: str, truth: float | None) -> None:
    at, beta = rows["threshold"].to_numpy(float), rows["beta"].to_numpy(float)
    axes.vlines(at, rows["ci_low"], rows["ci_high"], color=colour, lw=1.6, gid="intervals")
    axes.plot(at, beta, color=colour, marker="o", ms=4, lw=1.0, gid="effects")
    if truth is not None:
        axes.axhline(truth, color=INK, lw=0.9, ls="--", zorder=0, gid="truth")
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _numbers(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    """Draw instruments a locus, with the number of loci where it changes."""
    at, loci = rows["threshold"].to_numpy(float), rows["n_loci"].to_numpy(int)
    each = rows["n_instruments"].to_numpy(float) / loci
    axes.plot(at, each, color=colour, marker="o", ms=3, lw=1.0, gid="instruments")
    new = [0] + [i for i, (a, b) in enumerate(pairwise(loci.tolist()), 1) if a != b]
    for i in new:
        where: dict[str, Any] = {"textcoords": "offset points", "xytext": (0, 5), "ha": "center"}
        axes.annotate(f"{loci[i]:,}", (at[i], each[i]), fontsize=6.5, color=MUTED, gid="loci", **where)
    axes.grid(axis="y", color=GRID)
    axes.margins(x=0.1, y=0.3)


def _abscissa(axes: Axes, at: np.ndarray, rule: str) -> None:
    axes.set_xlabel(AXES.get(rule, rule), fontsize=8)
    if at.min() > 0 and at.max() / at.min() >= WIDE:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.set_xticks(at, [f"{value:g}" for value in at], fontsize=7)
    axes.minorticks_off()
