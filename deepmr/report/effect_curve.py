"""How an effect goes with context: the curve with its bands, and effects of loci foreseen against estimated."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepmr.report.style import CYCLE, INK, MUTED, PAPER, new_figure, settle, styled, wrapped

MANY_VALUES = 12  # of a context, above which it is drawn as a line
NARROW_BAND, WIDE_BAND = 0.34, 0.18  # opacity of the band point by point and of that along the whole curve
SPREAD = 0.16  # points of one value are spread by so much of the distance of values to each side
SMALLEST, LARGEST = 5.0, 70.0  # area of points, by precision
ROOM = 0.06  # of the plotted range, above and below what has to be seen


@styled
def effect_curve(
    curve: pd.DataFrame, points: pd.DataFrame, *, mean: float, exposure: str, outcome: str, unit: str = ""
) -> Figure:
    """Draw the effect along one context, all others at their median, with both bands and the loci.

    Parameters
    ----------
    curve : columns context, value, beta, ci_low, ci_high, band_low, band_high, outside; of one context.
    points : columns value, beta, se; a row a locus, with what its other contexts do taken off.
    mean : effect by random effects, without contexts.
    exposure, outcome : names of the marks.
    unit : of the context, for the axis.
    """
    figure = new_figure(5.2, 3.6)
    axes = figure.add_subplot()
    order = np.argsort(curve["value"].to_numpy())
    curve = curve.iloc[order]
    axes.axhline(mean, color=MUTED, lw=0.9, ls=(0, (5, 2)), gid="mean", label="without contexts")
    values = curve["value"].to_numpy(float)
    smooth = len(curve) > MANY_VALUES
    _loci(axes, points, values, smooth=smooth)
    (_line if smooth else _steps)(axes, curve)
    _limit(axes, curve, points)
    name = str(curve["context"].iloc[0])
    axes.set(xlabel=wrapped(f"{name} ({unit})" if unit else name), ylabel=wrapped(f"effect of {exposure} on {outcome}"))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, handlelength=2.4)
    return settle(figure)


def _line(axes: Axes, curve: pd.DataFrame) -> None:
    value = curve["value"].to_numpy(float)
    axes.fill_between(
        value, curve["band_low"], curve["band_high"], color=CYCLE[0], alpha=WIDE_BAND, lw=0, gid="simultaneous",
        label="band for the whole curve",
    )  # fmt: skip
    axes.fill_between(
        value, curve["ci_low"], curve["ci_high"], color=CYCLE[0], alpha=NARROW_BAND, lw=0, gid="pointwise",
        label="interval at each value",
    )  # fmt: skip
    outside = curve["outside"].to_numpy(bool)
    beta = curve["beta"].to_numpy(float)
    axes.plot(value, np.where(outside, np.nan, beta), color=CYCLE[0], gid="effect", label="effect")
    if outside.any():
        axes.plot(value, np.where(outside, beta, np.nan), color=CYCLE[0], ls=":", gid="outside", label="no locus near")


def _steps(axes: Axes, curve: pd.DataFrame) -> None:
    """Draw an interval a value: an indicator has nothing in between."""
    value, beta = curve["value"].to_numpy(float), curve["beta"].to_numpy(float)
    for low, high, width, alpha, label in (
        ("band_low", "band_high", 8.0, WIDE_BAND + 0.1, "band for all values"),
        ("ci_low", "ci_high", 3.0, 1.0, "interval at each value"),
    ):
        axes.vlines(value, curve[low], curve[high], color=CYCLE[0], lw=width, alpha=alpha, label=label, gid=low)
    axes.plot(value, beta, "o", color=PAPER, mec=CYCLE[0], mew=1.6, ms=6, label="effect", gid="effect", zorder=4)
    axes.set_xticks(value, [f"{one:g}" for one in value])


def _loci(axes: Axes, points: pd.DataFrame, values: Float[np.ndarray, "values"], *, smooth: bool) -> None:
    place = points["value"].to_numpy(float)
    if not smooth:  # side by side, in the order of the table: where exactly says nothing
        gap = float(np.diff(np.sort(values)).min()) if len(values) > 1 else 1.0
        turn = np.arange(len(place)) * 0.6180339887 % 1  # golden ratio: neighbours lie apart
        place = place + SPREAD * gap * (2 * turn - 1) + (SPREAD + 0.06) * gap
    axes.scatter(
        place, points["beta"], s=_areas(points["se"].to_numpy(float)), color=INK, alpha=0.28, lw=0, gid="loci",
        label="one locus, large where it is precise", zorder=1,
    )  # fmt: skip


def _areas(se: Float[np.ndarray, "loci"]) -> Float[np.ndarray, "loci"]:
    precision = 1 / np.maximum(se, np.quantile(se, 0.02)) if len(se) else se
    top = precision.max(initial=0.0)
    return SMALLEST + (LARGEST - SMALLEST) * (precision / top if top > 0 else precision)


def _limit(axes: Axes, curve: pd.DataFrame, points: pd.DataFrame) -> None:
    """Show the curve and nearly all loci: a few wild ones would press the rest flat; how many are cut is written."""
    seen = points["beta"].to_numpy(float)
    low, high = np.quantile(seen, [0.01, 0.99]) if len(seen) else (np.inf, -np.inf)
    low, high = min(low, float(curve["ci_low"].min())), max(high, float(curve["ci_high"].max()))
    room = ROOM * (high - low) if high > low else 1.0
    axes.set_ylim(low - room, high + room)
    cut = int(((seen < low - room) | (seen > high + room)).sum())
    if cut:
        said = "1 locus lies beyond" if cut == 1 else f"{cut} loci lie beyond"
        axes.text(1, 1.01, said, transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color=MUTED)


@styled
def foreseen(loci: pd.DataFrame, *, level: float, coverage: float) -> Figure:
    """Draw the estimate of every locus against what a fit without its chromosome had said.

    Parameters
    ----------
    loci : columns held_out_beta, beta, se.
    level : of the predictive intervals.
    coverage : share of them that hold the estimate.
    """
    figure = new_figure(4.6, 3.8)
    axes = figure.add_subplot()
    said, seen = loci["held_out_beta"].to_numpy(float), loci["beta"].to_numpy(float)
    low, high = np.quantile(np.concatenate([said, seen]), [0.01, 0.99])
    room = ROOM * (high - low) if high > low else 1.0
    ends = [low - room, high + room]
    axes.plot(ends, ends, color=MUTED, lw=0.8, ls=":", gid="identity")
    axes.scatter(said, seen, s=_areas(loci["se"].to_numpy(float)), color=CYCLE[0], alpha=0.35, lw=0, gid="loci")
    axes.set(xlim=(min(said.min(), ends[0]), max(said.max(), ends[1])), ylim=ends)
    axes.set(xlabel="foreseen without the locus", ylabel="estimate of the locus")
    text = f"{100 * coverage:.0f} % of estimates in the {100 * level:g} % interval"
    axes.text(0, 1.02, text, transform=axes.transAxes, fontsize=8, color=MUTED)
    return settle(figure)
