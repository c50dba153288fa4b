"""Effects against effects: instruments of a locus with the slopes fitted to them, and errors against means."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from deepmr.report import words
from deepmr.report.style import (
    DENSITY,
    GRID,
    INK,
    MUTED,
    PAPER,
    method_colour,
    panel_grid,
    plain_log_ticks,
    settle,
    styled,
    wrapped,
)
from deepmr.types import Estimates, Instruments

DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
MAX_PANELS = 12
LINE = 0.14  # height of a line of the legend, inches
MANY = 100  # instruments above which points and bars shrink


@styled
def mr_scatter(instruments: Sequence[Instruments], estimates: Estimates, *, locus: str) -> Figure:
    """Draw the instruments of one locus and the slopes fitted to them, one panel a pair.

    Parameters
    ----------
    instruments : of one or more pairs with a single exposure, each holding the locus.
    estimates : local estimates; rows of this locus are drawn as lines.
    locus : which one.

    Notes
    -----
    Every instrument is turned so that its effect on the exposure is positive (both signs flip, the ratio stays), the
    orientation in which MR-Egger's intercept has a meaning. Bars are one standard error.
    """
    lines = max(0, estimates.table["method"].nunique() - 3)  # of the legend, beyond those that there is room for
    figure, panels = panel_grid(len(instruments), columns=2, height=3.6 + LINE * lines)
    for axes, pair in zip(panels, instruments, strict=True):
        _scatter(axes, pair, estimates.table, locus)
    return settle(figure)


def _scatter(axes: Axes, pair: Instruments, table: pd.DataFrame, locus: str) -> None:
    i = pair.loci.index(locus)
    rows = slice(pair.offsets[i], pair.offsets[i + 1])
    sign = np.where(pair.beta_exposure[rows, 0] < 0, -1.0, 1.0)
    x, y = sign * pair.beta_exposure[rows, 0], sign * pair.beta_outcome[rows]
    x_se, y_se = pair.se_exposure[rows, 0], pair.se_outcome[rows]
    many = len(x) > MANY
    for halves in ((x_se, np.zeros_like(y_se)), (np.zeros_like(x_se), y_se)):
        bars = _bars(x, y, *halves)
        axes.plot(*bars, color=MUTED, lw=0.4 if many else 0.7, alpha=0.5 if many else 1.0, gid="bars")
    kinds = [(sign < 0, INK, "edit lowers the exposure"), (sign > 0, PAPER, "edit raises it")]
    if pair.estimand == "population":  # which allele counts is a convention there
        kinds = [(np.ones(len(x), dtype=bool), INK, "variant, turned to raise the exposure")]
    for turned, fill, what in kinds:
        if turned.any():
            label = f"{what} ({turned.sum()})"
            size, edge = (2.2, 0.5) if many else (4, 0.9)
            axes.plot(
                x[turned], y[turned], "o", ms=size, mfc=fill, mec=INK, mew=edge, label=label, zorder=3, gid="points"
            )
    axes.axhline(0, color=GRID, lw=0.8, zorder=0)
    axes.axvline(0, color=GRID, lw=0.8, zorder=0)
    ends = np.array([0.0, 1.06 * float(np.max(x + x_se, initial=0.0)) or 1.0])
    axes.set_xlim(-0.04 * ends[1], ends[1])
    axes.autoscale(enable=False)
    here = table[(table["locus"] == locus) & (table["exposure"] == pair.exposure) & (table["outcome"] == pair.outcome)]
    methods = list(dict.fromkeys(table["method"]))
    for row in here.to_dict("records"):
        start = float(np.nan_to_num(row.get("intercept", 0.0)))
        name = f"{words.method_name(row['method'])}: {words.estimate(row)}"
        dash = DASHES[methods.index(row["method"]) % len(DASHES)]
        colour = method_colour(row["method"], methods)
        axes.plot(ends, start + row["beta"] * ends, color=colour, ls=dash, label=name, zorder=2, gid=row["method"])
    axes.set_title(wrapped(words.pair_at(pair.exposure, pair.outcome, words.shorten(locus, 32)), width=36))
    axes.set(xlabel=wrapped(f"effect on {pair.exposure}"), ylabel=wrapped(f"effect on {pair.outcome}", width=40))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=8, handlelength=2.8)


def _bars(
    x: Float[np.ndarray, "points"],
    y: Float[np.ndarray, "points"],
    x_half: Float[np.ndarray, "points"],
    y_half: Float[np.ndarray, "points"],
) -> tuple[Float[np.ndarray, "vertices"], Float[np.ndarray, "vertices"]]:
    """Return all error bars as one line with gaps: a tenth of the page that a line each would take."""
    gap = np.full_like(x, np.nan)
    across = np.stack([x - x_half, x + x_half, gap], axis=1)
    return across.ravel(), np.stack([y - y_half, y + y_half, gap], axis=1).ravel()


@styled
def se_against_mean(
    beta: Float[np.ndarray, "variants tasks"],
    se: Float[np.ndarray, "variants tasks"],
    *,
    tasks: Sequence[str],
) -> Figure:
    """Draw standard errors against the size of the mean effects as densities, one panel a task.

    Parameters
    ----------
    beta : mean effects.
    se : their standard errors.
    tasks : names of the last axis; the first twelve are drawn.

    Notes
    -----
    Both axes are logarithmic: edits whose effect or standard error is exactly 0 are left out, and counted in the title.
    """
    shown = list(tasks)[:MAX_PANELS]
    figure, panels = panel_grid(len(shown), columns=2, height=2.9)
    for k, (axes, task) in enumerate(zip(panels, shown, strict=True)):
        x, y = np.abs(beta[:, k]), se[:, k]
        drawn = (x > 0) & (y > 0)
        axes.set_title(task)
        left_out = "" if drawn.all() else f"\n({(~drawn).sum():,} of {len(x):,} are exactly 0: not drawn)"
        axes.set(xlabel=f"size of the mean effect{left_out}", ylabel="standard error" if k % 2 == 0 else "")
        if not drawn.any():
            continue
        x, y = x[drawn], y[drawn]
        x = np.maximum(x, np.quantile(x, 0.001)) if len(x) > 1000 else x  # a few edits next to 0 would fill the axis
        bins = axes.hexbin(
            x, y, xscale="log", yscale="log", gridsize=(36, 22), mincnt=1, bins="log", cmap=DENSITY, linewidths=0.2,
        )  # fmt: skip
        axes.axline((1, 0.5), (2, 1), color=INK, lw=1, ls="--", label="effect = 2 standard errors")
        axes.xaxis.set_major_locator(LogLocator(numticks=5))
        plain_log_ticks(axes)
        bar = axes.figure.colorbar(bins, ax=axes, aspect=25, pad=0.02)
        bar.set_label("edits")
        bar.outline.set_visible(False)
        plain_log_ticks(bar.ax)
    handles = panels[0].get_legend_handles_labels()
    if handles[0]:
        figure.legend(*handles, loc="outside upper right")
    return settle(figure)
