"""Global effects: one row a pair and method, or one cell a pair."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deepmr.report import words
from deepmr.report.style import (
    DIVERGING,
    GRID,
    INK,
    MUTED,
    ON_DARK,
    ON_LIGHT,
    PAPER,
    WIDTH,
    method_colour,
    new_figure,
    settle,
    styled,
    wrapped,
)
from deepmr.types import Estimates

ROW, HEADING = 0.26, 0.3  # height of a row and of a pair's heading, inches
FAR = 4.0  # an interval that reaches this many times the typical one is cut off with an arrow
FOUND = 0.05  # largest false-discovery rate of a pair that counts as found
NOTHING = 1e-6  # share of the largest true effect below which one is what a simulator's arithmetic leaves of 0
ANNOTATED = 12  # most tasks whose cells still hold a number


@styled
def forest(estimates: Estimates, *, truth: pd.DataFrame | None = None, counted: str = "locus") -> Figure:
    """Draw pooled effects with their confidence and prediction intervals.

    Parameters
    ----------
    estimates : one row per exposure, outcome and method, in the order in which pairs and methods are drawn; a row
        whose `pi_low` is empty gets no prediction interval.
    truth : true effects of a simulation, columns exposure, outcome and beta.
    counted : what `n` counts: locus, of pooled effects; instrument, of effects that were not pooled.

    Notes
    -----
    The confidence interval (thick) is of the mean over loci; the prediction interval (thin, capped) is where the effect
    at a new locus lies. Ends further out than four times the typical one are cut off and marked by an arrow.
    """
    table = estimates.table
    methods = list(dict.fromkeys(table["method"]))
    pairs = list(dict.fromkeys(zip(table["exposure"], table["outcome"], strict=True)))
    true = by_pair(truth)
    figure = new_figure(WIDTH, 1.25 + (HEADING * len(pairs) if len(methods) > 1 else 0) + ROW * len(table))
    axes = figure.subplots()
    limits = _limits(table, [true[pair] for pair in pairs if pair in true])
    several, both = len(methods) > 1, len(set(table["estimand"])) > 1
    y, labels, numbers = 0.0, {}, {}
    for exposure, outcome in pairs:
        if several:
            y += HEADING / ROW
            _heading(axes, y, f"{exposure} → {outcome}")
        top = y
        for row in table[(table["exposure"] == exposure) & (table["outcome"] == outcome)].to_dict("records"):
            y += 1
            _draw_row(axes, row, y, limits, method_colour(row["method"], methods))
            pair = f"{words.shorten(exposure, 20)} → {words.shorten(outcome, 20)}"
            labels[y] = words.method_name(row["method"]) if several else pair
            labels[y] += f" ({row['estimand']})" if both else ""
            numbers[y] = f"{words.estimate(row)}, {words.count(int(row['n']), counted)}"
        if (exposure, outcome) in true:
            axes.vlines(true[exposure, outcome], top + 0.5, y + 0.4, color=INK, lw=1.4, ls=(0, (2, 1.5)), zorder=1)
            axes.plot(true[exposure, outcome], y + 0.5, marker="^", color=INK, ms=5, clip_on=False, gid="truth")
    axes.axvline(0, color=MUTED, lw=0.8, zorder=0)
    axes.set(xlim=limits, ylim=(y + 0.9, 0.3))
    axes.set_yticks(list(labels), list(labels.values()))
    side = axes.secondary_yaxis("right")
    side.set_yticks(list(numbers), list(numbers.values()))
    for axis in (axes, side):
        axis.tick_params(axis="y", length=0)
        axis.spines[["left", "right"]].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    where = " and ".join(words.EFFECTS[name] for name in dict.fromkeys(table["estimand"]))
    axes.set_xlabel(wrapped(f"{where}: change of the outcome per unit change of the exposure", width=80))
    figure.legend(
        handles=_forest_legend(table, bool(true), counted), loc="outside upper left", ncols=3, handlelength=2.4
    )
    return settle(figure)


def _heading(axes: Axes, y: float, text: str) -> None:
    """Write the name of a pair over the rows of its methods, at the left border, where it takes no width away."""
    box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}
    axes.text(0.004, y, text, transform=axes.get_yaxis_transform(), va="center", weight="bold", size=8.5, bbox=box)


def by_pair(truth: pd.DataFrame | None) -> dict[tuple[str, str], float]:
    """Return true effects by exposure and outcome; what is next to nothing beside the largest of them is 0."""
    if truth is None:
        return {}
    beta = truth["beta"].to_numpy(float)
    kept = np.where(np.abs(beta) < NOTHING * np.abs(beta).max(initial=0.0), 0.0, beta)
    return {(e, o): float(b) for e, o, b in zip(truth["exposure"], truth["outcome"], kept, strict=True)}


def _draw_row(axes: Axes, row: dict[Hashable, Any], y: float, limits: tuple[float, float], colour: str) -> None:
    """Draw one estimate: a square on a thick line, the prediction interval thin behind it."""
    low, high = limits
    pi_low, pi_high = row.get("pi_low", np.nan), row.get("pi_high", np.nan)
    if np.isfinite([pi_low, pi_high]).all():
        ends = np.clip([pi_low, pi_high], low, high)
        axes.plot(ends, [y, y], color=colour, lw=0.9, gid="prediction", solid_capstyle="butt")
        for end, whole in zip(ends, (pi_low, pi_high), strict=True):
            if end == whole:
                axes.plot([end, end], [y - 0.2, y + 0.2], color=colour, lw=0.9, gid="cap")
    ci = np.array([row["ci_low"], row["ci_high"]])
    axes.plot(np.clip(ci, low, high), [y, y], color=colour, lw=3.6, gid="confidence", solid_capstyle="butt")
    if low <= row["beta"] <= high:
        axes.plot(row["beta"], y, marker="s", ms=5.5, color=colour, mec=PAPER, mew=0.8, gid="estimate", clip_on=False)
    if np.fmin(ci[0], pi_low) < low:
        axes.plot(low, y, marker="<", ms=4.5, color=colour, clip_on=False, gid="arrow")
    if np.fmax(ci[1], pi_high) > high:
        axes.plot(high, y, marker=">", ms=4.5, color=colour, clip_on=False, gid="arrow")


def _limits(table: pd.DataFrame, true: Sequence[float]) -> tuple[float, float]:
    """Return the range of the axis: every interval, but none that is far longer than the typical one."""
    names = [name for name in ("ci_low", "ci_high", "pi_low", "pi_high") if name in table]
    ends = np.where(np.isfinite(values := table[names].to_numpy(float)), values, np.nan)
    reach = FAR * float(np.nanmedian(np.nanmax(np.abs(ends), axis=1)))
    low = max(np.nanmin([np.nanmin(ends), 0, *true]), min(-reach, *true, 0))
    high = min(np.nanmax([np.nanmax(ends), 0, *true]), max(reach, *true, 0))
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


def _forest_legend(table: pd.DataFrame, has_truth: bool, counted: str) -> list[Line2D]:
    level = words.percent(float(table["level"].iloc[0])) if "level" in table else "95 %"
    mean = f"{'mean over loci' if counted == 'locus' else 'estimate'}, {level} confidence interval"
    handles = [Line2D([], [], color=MUTED, lw=3.6, marker="s", ms=5.5, mec=PAPER, label=mean)]
    if "pi_low" in table and table["pi_low"].notna().any():
        new = f"{level} prediction interval (a new locus)"
        handles.append(Line2D([], [], color=MUTED, lw=0.9, marker="|", markevery=1, ms=6, label=new))
    if has_truth:
        handles.append(Line2D([], [], color=INK, lw=1.4, ls=(0, (2, 1.5)), label="true effect"))
    return handles


@styled
def pair_heatmap(estimates: Estimates, *, tasks: Sequence[str]) -> Figure:
    """Draw the pooled effect of every ordered pair as a matrix, exposure down, outcome across.

    Parameters
    ----------
    estimates : of one method, one row a pair.
    tasks : order of rows and columns.

    Notes
    -----
    Colours are symmetric around 0. Numbers are bold where the confidence interval leaves 0 out or, where the table has
    false-discovery rates (`fdr`), where that is at most 0.05; a cell without a number has no estimate.
    """
    n = len(tasks)
    beta, clear = _matrices(estimates, tasks)
    cell = 0.95 if n <= 3 else 0.62 if n <= ANNOTATED else max(0.12, 6.0 / n)
    figure = new_figure(min(WIDTH, cell * n + 2.6), cell * 0.75 * n + 1.5)
    axes = figure.subplots()
    axes.set_facecolor(GRID)  # of cells without an estimate: one in the image would not follow the reader's setting
    largest = float(np.nanmax(np.abs(beta), initial=0.0)) or 1.0
    norm = TwoSlopeNorm(0, -largest, largest)
    image = axes.imshow(
        np.ma.masked_invalid(beta),
        cmap=DIVERGING.with_extremes(bad=(0, 0, 0, 0)),
        norm=norm,
        aspect=0.75,
        interpolation="none",
    )
    if n <= ANNOTATED:
        digits = words.decimals_for(largest / 10)
        for i, j in np.argwhere(np.isfinite(beta)):
            dark = abs(beta[i, j]) > 0.6 * largest
            axes.text(
                j,
                i,
                words.number(beta[i, j], digits),
                ha="center",
                va="center",
                color=ON_DARK if dark else ON_LIGHT,
                weight="bold" if clear[i, j] else "normal",
                size=9 if n <= 6 else 7.8,
            )
    names = [words.shorten(task, 24) for task in tasks]
    slanted = max(map(len, names)) * n > 24
    axes.set_xticks(
        range(n), names, rotation=45 if slanted else 0, rotation_mode="anchor", ha="right" if slanted else "center"
    )
    axes.set_yticks(range(n), names)
    axes.set(xlabel="outcome", ylabel="exposure")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=PAPER, lw=2 if n <= ANNOTATED else 0.5)
    axes.tick_params(which="minor", length=0)
    bar = figure.colorbar(image, ax=axes, shrink=0.85, aspect=14, pad=0.03)
    bar.outline.set_edgecolor(GRID)
    bar.set_label(wrapped(words.EFFECTS[estimates.table["estimand"].iloc[0]], width=30))
    return settle(figure)


def _matrices(
    estimates: Estimates, tasks: Sequence[str]
) -> tuple[Float[np.ndarray, "tasks tasks"], Float[np.ndarray, "tasks tasks"]]:
    """Return the effects, NaN where there is none, and 1 where they are found: by their FDR or their interval."""
    beta, clear = np.full((2, len(tasks), len(tasks)), np.nan)
    place = {task: i for i, task in enumerate(tasks)}
    for row in estimates.table.to_dict("records"):
        if row["exposure"] in place and row["outcome"] in place:
            cell = place[row["exposure"]], place[row["outcome"]]
            rate = row.get("fdr", np.nan)
            found = rate <= FOUND if np.isfinite(rate) else row["ci_low"] > 0 or row["ci_high"] < 0
            beta[cell], clear[cell] = row["beta"], float(found)
    return beta, np.nan_to_num(clear)
