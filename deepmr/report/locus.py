"""The locus view: what every edit of a locus does to each task, and how sure the ensemble is of it."""

from collections.abc import Mapping, Sequence

import logomaker
import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import ConnectionPatch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deepmr.report import words
from deepmr.report.style import BASE_COLOURS, DIVERGING, GRID, INK, MUTED, ON_DARK, ON_LIGHT, WIDTH, settle, styled
from deepmr.types import ALPHABET, MASKED

LOGO, HEAT, SPREAD, GAP = 1.0, 0.62, 0.15, 0.38  # heights of the rows of a task, inches
WINDOW = 100  # most bases of a logo
MAX_COLUMNS = 640  # of a heatmap: more are put together, the largest effect of each group is kept
FINE = 150  # up to this length, instruments are marked in their cells
MASK = "#b4bac2"  # of positions that were not edited: no shade of the map of effects


@styled
def locus_view(
    mean: Float[np.ndarray, "tasks length 3"],
    spread: Float[np.ndarray, "tasks length 3"],
    codes: UInt8[np.ndarray, "length"],
    *,
    tasks: Sequence[str],
    chrom: str = "",
    start: int = 0,
    instruments: Mapping[str, Int[np.ndarray, "instruments 2"]] | None = None,
) -> Figure:
    """Draw a locus: per task a logo of the reference bases, a heatmap of all edits, and their uncertainty.

    Parameters
    ----------
    mean : mean effect of the edit to each of the other three bases, in the order A C G T.
    spread : standard deviation of that effect over members.
    codes : the reference, 0 to 3 for A C G T, 4 for a position that was not edited.
    tasks : names of the first axis, one row of panels each.
    chrom : chromosome, empty where unknown.
    start : 0-based start on it.
    instruments : per task the instruments that it has as an exposure: offset in the locus and code of the new base.

    Notes
    -----
    The height of a letter is minus the mean effect over the three edits of that base: what the reference base
    contributes. Loci longer than 100 bases show the logo of the 100 with the largest effects.
    """
    length = len(codes)
    first = best_window(mean, WINDOW)
    marks = instruments or {}
    layout = ConstrainedLayoutEngine(h_pad=0.03, hspace=0.02, wspace=0.01)
    figure = Figure(figsize=(WIDTH, len(tasks) * (LOGO + HEAT + SPREAD + GAP) + 0.55), layout=layout)
    heights = [LOGO, HEAT, SPREAD] * len(tasks)
    grid = figure.add_gridspec(3 * len(tasks), 2, height_ratios=heights, width_ratios=[1, 0.016])
    base = start + 1  # positions are 1-based
    ends = (base - 0.5, base + length - 0.5)
    for k, task in enumerate(tasks):
        logo, heat, strip = (figure.add_subplot(grid[3 * k + i, 0]) for i in range(3))
        key, note = (figure.add_subplot(grid[3 * k + i, 1]) for i in (1, 2))
        draw_logo(logo, -mean[k].mean(axis=1), codes, slice(first, first + WINDOW), base)
        logo.set_title(task)
        _heatmap(figure, heat, key, four_rows(mean[k], codes), codes, ends)
        _uncertainty(strip, note, spread[k], codes, ends)
        _instruments(heat, marks.get(task, np.empty((0, 2), dtype=int)), base, length)
        if length > WINDOW:
            _link(figure, logo, heat)
        for axes in (logo, heat, strip):
            axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
            axes.tick_params(axis="x", labelbottom=axes is strip, length=0 if axes is heat else 3)
    strip.set_xlabel(f"position on {chrom}" if chrom else "position in the locus")
    return settle(figure)


def best_window(mean: Float[np.ndarray, "tasks length 3"], width: int) -> int:
    """Return the first position of the `width` bases with the largest effects, tasks counting alike."""
    size = np.square(mean).max(axis=2)
    largest = size.max(axis=1, keepdims=True)
    total = np.sum(size / np.where(largest > 0, largest, 1.0), axis=0)
    sums = np.convolve(total, np.ones(min(width, len(total))), mode="valid")
    good = np.flatnonzero(sums >= 0.97 * sums.max())
    return int(good[len(good) // 2])  # not the first: that would put the strongest site at the edge


def four_rows(
    values: Float[np.ndarray, "length 3"], codes: UInt8[np.ndarray, "length"]
) -> Float[np.ndarray, "4 length"]:
    """Lay effects out with one row a base A C G T: 0 at the reference base, NaN where nothing was edited."""
    rows = np.zeros((len(codes), 4))
    known = codes != MASKED
    other = np.arange(4) != codes[:, None]
    rows[known[:, None] & other] = values[known].ravel()
    rows[~known] = np.nan
    return rows.T


def draw_logo(
    axes: Axes, height: Float[np.ndarray, "length"], codes: UInt8[np.ndarray, "length"], window: slice, base: int
) -> None:
    """Draw the reference bases of a window, as tall as they contribute.

    Parameters
    ----------
    axes : where.
    height : of every base of the locus.
    codes : every base of the locus; those that were not edited are left out.
    window : the positions to draw.
    base : 1-based position of the first base of the locus.
    """
    code, tall = codes[window], np.array(height[window], dtype=float)
    letters = np.zeros((len(code), 4))
    known = np.flatnonzero(code != MASKED)
    letters[known, code[known]] = tall[known]
    letters[np.abs(letters) < 1e-3 * np.abs(letters).max(initial=0.0)] = 0  # too flat to see: keep the page small
    frame = pd.DataFrame(letters, columns=list(ALPHABET), index=np.arange(len(code)) + base + window.start)
    if letters.any():
        look = {"color_scheme": BASE_COLOURS, "font_name": "DejaVu Sans"}
        logomaker.Logo(frame, ax=axes, show_spines=False, baseline_width=0, **look)
    axes.axhline(0, color=MUTED, lw=0.6)
    axes.spines["left"].set(visible=True, color=MUTED, linewidth=0.8)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_ylabel("contribution\nof the base", size=8)
    axes.set_xlim(frame.index[0] - 0.5, frame.index[-1] + 0.5)


def _columns(values: Float[np.ndarray, "rows length"]) -> Float[np.ndarray, "rows columns"]:
    """Put neighbouring positions together where there are more than a screen shows; the largest of a group stays."""
    group = -(-values.shape[1] // MAX_COLUMNS)
    if group == 1:
        return values
    padded = np.pad(np.nan_to_num(values), ((0, 0), (0, -values.shape[1] % group)))
    grouped = padded.reshape(len(values), -1, group)
    largest = np.abs(grouped).argmax(axis=2)[..., None]
    return np.take_along_axis(grouped, largest, axis=2)[..., 0]


def _heatmap(
    figure: Figure,
    axes: Axes,
    bar: Axes,
    rows: Float[np.ndarray, "4 length"],
    codes: UInt8[np.ndarray, "length"],
    ends: tuple[float, float],
) -> None:
    largest = float(np.nanmax(np.abs(rows), initial=0.0)) or 1.0
    colours = ScalarMappable(Normalize(-largest, largest), DIVERGING)
    image = colours.to_rgba(_columns(rows))
    if image.shape[1] == len(codes):
        image[:, codes == MASKED] = to_rgba(MASK)
    axes.imshow(image, aspect="auto", interpolation="none", extent=(*ends, 3.5, -0.5))
    axes.set_yticks(range(4), list(ALPHABET), size=7.8)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set(visible=True, color=GRID)
    key = figure.colorbar(colours, cax=bar, ticks=[-largest, 0, largest])
    key.ax.set_yticklabels([words.number(value) for value in (-largest, 0.0, largest)], size=7.8)
    key.outline.set_edgecolor(GRID)


def _uncertainty(
    axes: Axes,
    note: Axes,
    spread: Float[np.ndarray, "length 3"],
    codes: UInt8[np.ndarray, "length"],
    ends: tuple[float, float],
) -> None:
    size = np.where(codes != MASKED, spread.max(axis=1), 0.0)[None]
    largest = float(size.max(initial=0.0)) or 1.0
    image = ScalarMappable(Normalize(0, largest), "Greys").to_rgba(_columns(size))
    axes.imshow(image, aspect="auto", interpolation="none", extent=(*ends, 1, 0))
    axes.set_yticks([0.5], ["sd"], size=7.8)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set(visible=True, color=GRID)
    note.axis("off")
    note.text(0, 0.5, f"≤ {words.number(largest)}", va="center", size=7.8)


def _instruments(axes: Axes, edits: Int[np.ndarray, "instruments 2"], base: int, length: int) -> None:
    """Mark instruments: a wedge above their position, a dot in their cell where cells are large enough."""
    if not len(edits):
        return
    places = np.unique(edits[:, 0]) + base
    top = np.full(len(places), -0.62)
    axes.plot(places, top, "v", ms=3, color=INK, mew=0, clip_on=False, gid="instruments")
    if length <= FINE:
        axes.plot(edits[:, 0] + base, edits[:, 1], "o", ms=2.4, mfc=ON_DARK, mec=ON_LIGHT, mew=0.5, gid="edits")
    axes.set_ylim(3.5, -0.5)


def _link(figure: Figure, logo: Axes, heat: Axes) -> None:
    """Show which part of the heatmap the logo enlarges."""
    low, high = logo.get_xlim()
    logo.set_title(f"enlarged: {low + 0.5:,.0f} to {high - 0.5:,.0f}", loc="right", size=8, weight="normal")
    heat.add_patch(Rectangle((low, -0.5), high - low, 4, fill=False, ec=INK, lw=0.9, gid="window"))
    for end, corner in ((low, 0), (high, 1)):
        line = ConnectionPatch(
            (end, -0.5), (corner, 0), "data", logo.transAxes, axesA=heat, axesB=logo, color=MUTED, lw=0.7
        )
        line.set_in_layout(False)
        figure.add_artist(line)
