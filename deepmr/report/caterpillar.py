"""Rows of estimates with their intervals, few with names or many without: what all our forests share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes

from deepmr.report import words
from deepmr.report.style import INK, MUTED, PAPER, VERMILLION

NAMED = 45  # most rows that each have a name
ROW, DENSE = 0.19, 5.4  # height of a row with a name, and of all rows without, inches
FAR = 4.0  # an interval that reaches this many times the typical one is cut off with an arrow
CROWDED = 150  # rows above which lines run together and are drawn paler
OUTERMOST = 3  # names of rows at either end where not all have one
LEADER = 0.025  # width of the lines from those rows to their names, which are higher than rows; in widths of the axes


def rows_height(n: int) -> float:
    """Return how high so many rows stand, in inches."""
    return ROW * n if n <= NAMED else DENSE


def clip_limits(
    low: Float[np.ndarray, "rows"], high: Float[np.ndarray, "rows"], also: Sequence[float] = ()
) -> tuple[float, float]:
    """Return the range of the axis: every interval but those far longer than the typical one, and 0 where it is near.

    Parameters
    ----------
    low, high : ends of the intervals.
    also : values that must be inside.
    """
    inside = [float(v) for v in also if np.isfinite(v)]
    centre, half = (low + high) / 2, (high - low) / 2
    middle = float(np.median(centre))
    typical = max(float(np.median(half)), float(np.median(np.abs(centre - middle))))
    near = np.abs(centre - middle) <= 3 * FAR * typical  # an estimate that lies apart is shown, one far off is an arrow
    reach = max(FAR * typical, float(np.max(np.abs(centre[near] - middle), initial=0.0)) + typical)
    start = min(max(float(low.min()), middle - reach), *inside, middle)
    stop = max(min(float(high.max()), middle + reach), *inside, middle)
    if 0 < start < FAR * (stop - start) / 2:  # 0 is shown where it is not so far that nothing else could be seen
        start = 0.0
    elif 0 < -stop < FAR * (stop - start) / 2:
        stop = 0.0
    margin = 0.04 * (stop - start) or 1.0
    return start - margin, stop + margin


def draw_rows(
    axes: Axes,
    rows: pd.DataFrame,
    names: Sequence[str],
    *,
    limits: tuple[float, float],
    marked: Sequence[bool] | None = None,
    sizes: Float[np.ndarray, "rows"] | None = None,
) -> dict[float, str]:
    """Draw estimates from the top, at 1, 2, ... down, and return the labels by height.

    Parameters
    ----------
    rows : columns beta, ci_low, ci_high.
    names : of the rows; where there are too many for a label each, those at both ends, each with a line to its row.
    limits : of the axis; what goes on outside gets an arrow.
    marked : rows in another colour.
    sizes : of the squares, in points.
    """
    n, (low, high) = len(rows), limits
    beta, ends = rows["beta"].to_numpy(float), rows[["ci_low", "ci_high"]].to_numpy(float)
    at = np.arange(1.0, n + 1)
    few = n <= NAMED
    flags = np.zeros(n, dtype=bool) if marked is None else np.asarray(marked, dtype=bool)
    for chosen, colour in ((~flags, MUTED), (flags, VERMILLION)):
        if not chosen.any():
            continue
        spans = np.column_stack([np.clip(ends[chosen], low, high), np.full(chosen.sum(), np.nan)]).ravel()
        heights = np.repeat(at[chosen], 3)
        width = 1.3 if few else float(np.clip(250 / n, 0.25, 1.0))
        shade = 1.0 if n <= CROWDED else 0.5
        axes.plot(spans, heights, color=colour, lw=width, alpha=shade, gid="intervals", solid_capstyle="butt")
        seen = chosen & (beta >= low) & (beta <= high)
        face = INK if colour == MUTED else colour
        size = np.full(n, 22.0 if few else float(np.clip(1500 / n, 1.2, 12))) if sizes is None else sizes**2
        axes.scatter(beta[seen], at[seen], s=size[seen], marker="s", color=face, lw=0, zorder=3, gid="estimates")
        for marker, outside, where in (("<", ends[:, 0] < low, low), (">", ends[:, 1] > high, high)):
            cut = chosen & outside
            axes.plot(
                np.full(cut.sum(), where), at[cut], marker, ms=3.2 if few else 1.8, color=colour, mec=PAPER, mew=0,
                clip_on=False, gid="arrows",
            )  # fmt: skip
    if few:
        return {float(y): words.shorten(str(name), 26) for y, name in zip(at, names, strict=True)}
    labels: dict[float, str] = {}
    step = 0.022 * n  # the height of a line of text, more than that of a row
    across = axes.get_yaxis_transform()
    for k in range(OUTERMOST):
        for row, height in ((k, 1 + k * step), (n - 1 - k, n - k * step)):
            labels[height] = words.shorten(str(names[row]), 26)
            axes.plot(
                [0, -LEADER], [at[row], height], color=MUTED, lw=0.6, transform=across, clip_on=False, gid="leaders"
            )
    axes.tick_params(axis="y", pad=12)
    return dict(sorted(labels.items()))


def draw_total(axes: Axes, y: float, half: float, row: pd.Series, *, colour: str, limits: tuple[float, float]) -> None:
    """Draw a pooled estimate as a diamond as wide as its confidence interval.

    Parameters
    ----------
    y : its height on the axis; `half` half the height of the diamond.
    row : beta, ci_low, ci_high, and pi_low and pi_high where it has a prediction interval.
    """
    low, high = np.clip([row["ci_low"], row["ci_high"]], *limits)
    middle = float(np.clip(row["beta"], *limits))
    if np.isfinite(row.get("pi_low", np.nan)):
        ends = np.clip([row["pi_low"], row["pi_high"]], *limits)
        axes.plot(ends, [y, y], color=colour, lw=1.0, marker="|", ms=6, gid="prediction")
    axes.fill([low, middle, high, middle], [y, y - half, y, y + half], color=colour, lw=0, zorder=3, gid="total")


def finish_rows(
    axes: Axes,
    labels: dict[float, str],
    *,
    limits: tuple[float, float],
    depth: float,
    numbers: dict[float, str] | None = None,
) -> None:
    """Set limits, names to the left and numbers to the right of rows that have been drawn down to `depth`."""
    axes.set(xlim=limits, ylim=(depth, 0.0))
    axes.set_yticks(list(labels), list(labels.values()))
    sides: list[Any] = [axes]
    if numbers:
        side = axes.secondary_yaxis("right")
        side.set_yticks(list(numbers), list(numbers.values()))
        sides.append(side)
    for axis in sides:
        axis.tick_params(axis="y", length=0)
        axis.spines[["left", "right"]].set_visible(False)
    if limits[0] < 0 < limits[1]:
        axes.axvline(0, color=MUTED, lw=0.8, zorder=0)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
