"""The runs of a sweep: what they are compared by, against each parameter."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from deepmr.errors import InputError
from deepmr.report.style import CYCLE, GRID, INK, MUTED, VERMILLION, panel_grid, settle, styled, wrapped

MAX_PANELS = 12  # most parameters that one figure shows
WIDE = 20.0  # a range of positive values from this ratio on is drawn on a log axis
FAR = 6.0  # runs worse than the best by so many times what three in four are within are drawn at the edge
TOLD = 2.0  # standard errors of the difference from which on a run is worse than the best
PALE = 0.35
_JITTER = 0.18


@styled
def sweep_figure(runs: pd.DataFrame, parameters: list[str], *, metric: str) -> Figure:
    """Draw what runs are compared by against each parameter that they differ in; the best run is marked.

    Parameters
    ----------
    runs : a row a finished run: the parameters, `metric`, and where they have them `above_best`, by how much the run is
        worse than the best, and `above_best_se`.
    parameters : columns; those with one value are left out, and the first twelve of the others are drawn.
    metric : its name, for the axes.

    Raises
    ------
    InputError
        When no run is finished.

    Notes
    -----
    Runs that are worse than the best by more than two standard errors of the difference are pale. Those far worse than
    most are triangles at the upper edge. Where there are several methods, colours tell them apart.
    """
    runs = runs[runs["metric"].notna()].reset_index(drop=True)
    if runs.empty:
        raise InputError("no run of the sweep is finished: there is nothing to draw")
    varied = [name for name in parameters if len(set(runs[name].dropna())) > 1][:MAX_PANELS]
    shown = varied or ["run"]
    values = runs["metric"].to_numpy(float)
    top = _top(values)
    worse = _worse(runs)
    figure, panels = panel_grid(len(shown), columns=3, height=2.6)
    best = int(np.argmin(values))
    methods = list(dict.fromkeys(runs["method"])) if "method" in runs else []
    colours = [CYCLE[methods.index(one) % len(CYCLE)] for one in runs["method"]] if methods else [CYCLE[0]] * len(runs)
    for k, (axes, name) in enumerate(zip(panels, shown, strict=True)):
        _points(axes, runs[name], values, top, colours, worse, best)
        axes.set_xlabel(wrapped(name, width=28))
        axes.set_ylabel(metric.replace("_", " ") if k % 3 == 0 else "")
        axes.grid(axis="y", color=GRID)
        axes.set_axisbelow(True)
        low = min(values[best], values.min())
        margin = 0.06 * (top - low) or max(abs(top), 1e-12) * 0.1
        axes.set_ylim(low - margin, top + margin)
    if methods and len(methods) > 1:
        for one in methods:
            panels[0].plot([], [], "o", ms=4, color=CYCLE[methods.index(one) % len(CYCLE)], label=one)
    panels[0].plot([], [], "o", ms=7, mfc="none", mec=VERMILLION, mew=1.4, label=f"best: run {runs['run'][best]}")
    if worse.any():
        panels[0].plot([], [], "o", ms=4, mew=0, color=MUTED, alpha=PALE, label="worse, by two standard errors")
    if (values > top).any():
        panels[0].plot([], [], "^", ms=4, mew=0, color=MUTED, alpha=PALE, label="far worse")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=4)
    return settle(figure)


def _top(values: Float[np.ndarray, "runs"]) -> float:
    """Return where the axis ends: at the worst run, or before those that would flatten all the others."""
    low, most = float(values.min()), float(np.quantile(values, 0.75))
    return min(float(values.max()), low + FAR * (most - low)) if most > low else float(values.max())


def _worse(runs: pd.DataFrame) -> Bool[np.ndarray, "runs"]:
    if "above_best" not in runs:
        return np.zeros(len(runs), dtype=bool)
    return (runs["above_best"] > TOLD * runs["above_best_se"]).to_numpy(bool)


def _points(
    axes: Axes,
    column: pd.Series,
    values: Float[np.ndarray, "runs"],
    top: float,
    colours: list[str],
    worse: Bool[np.ndarray, "runs"],
    best: int,
) -> None:
    at = _abscissa(axes, column)
    for k in np.flatnonzero(np.isfinite(at)):
        marker, alpha = "^" if values[k] > top else "o", PALE if worse[k] else 0.9
        axes.plot(at[k], min(values[k], top), marker, ms=3.5, color=colours[k], alpha=alpha, mew=0, gid="run")
    if np.isfinite(at[best]):
        axes.plot(at[best], values[best], "o", ms=7, mfc="none", mec=VERMILLION, mew=1.4, zorder=4, gid="best")


def _abscissa(axes: Axes, column: pd.Series) -> Float[np.ndarray, "runs"]:
    """Place values on an axis: numbers where they are, words side by side; NaN where there is none."""
    given = column.notna().to_numpy()
    found = np.full(len(column), np.nan)
    kept = [one for one, there in zip(column, given, strict=True) if there]
    if all(isinstance(one, int | float | np.number) and not isinstance(one, bool | np.bool_) for one in kept):
        numbers = np.array([float(one) for one in kept])
        found[given] = numbers
        if numbers.min() > 0 and numbers.max() / numbers.min() >= WIDE:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        if len(np.unique(numbers)) <= 5:
            axes.set_xticks(np.unique(numbers), [f"{one:g}" for one in np.unique(numbers)])
            axes.minorticks_off()
        return found
    words = [str(one) for one in kept]
    order = sorted(dict.fromkeys(words))
    seen = dict.fromkeys(order, 0)
    counts = {word: words.count(word) for word in order}
    places = []
    for word in words:  # evenly spread about the tick, in order of the runs
        share = (seen[word] + 0.5) / counts[word] - 0.5
        places.append(order.index(word) + 2 * _JITTER * share)
        seen[word] += 1
    found[given] = places
    turned = max(map(len, order)) * len(order) > 24
    labels = [wrapped(word, width=14) for word in order]
    axes.set_xticks(range(len(order)), labels, rotation=30 if turned else 0, ha="right" if turned else "center")
    axes.set_xlim(-0.5, len(order) - 0.5)
    axes.tick_params(axis="x", colors=MUTED, labelcolor=INK)
    return found
