"""Seqlets in figures: where they lie in a locus, what each says of the effect, and what their families say."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deepmr.errors import InputError
from deepmr.instruments.seqlets import Tracks
from deepmr.report import words
from deepmr.report.locus import draw_logo
from deepmr.report.style import (
    CYCLE,
    GRID,
    INK,
    MUTED,
    NARROW,
    PAPER,
    VERMILLION,
    WIDTH,
    new_figure,
    settle,
    styled,
    wrapped,
)
from deepmr.types import Instruments

LOGO = 120  # up to this length a track is a logo
SHADE = 0.16
OTHERS = [colour for colour in CYCLE if colour != VERMILLION]  # vermillion is for what contradicts
MARKERS = {"contradicts": "X", "disputed": "D"}
MAX_FAMILIES = 8
ZOOM = 6.0  # slopes further from the middle than this many interquartile ranges are drawn at the edge


@styled
def seqlet_view(
    tracks: Sequence[Tracks],
    table: pd.DataFrame,
    instruments: Instruments,
    label: Int[np.ndarray, "instruments"],
    *,
    locus: str,
) -> Figure:
    """Draw a locus: what its bases contribute to exposure and outcome, its seqlets, and their slopes.

    Parameters
    ----------
    tracks : effects on the exposure and on the outcome, both with the locus.
    table : columns of `schema.SEQLET_EFFECTS`, a row a seqlet, of all loci.
    instruments : of all loci.
    label : row of `table` that each instrument lies in, -1 for none.
    locus : which one.
    """
    rows = table[table["locus"] == locus]
    figure = new_figure(WIDTH, 5.6)
    grid = figure.add_gridspec(3, 1, height_ratios=[1, 1, 2.3])
    names = (instruments.exposure, instruments.outcome)
    colours = _colours(rows)
    for k, (given, name) in enumerate(zip(tracks, names, strict=True)):
        axes = figure.add_subplot(grid[k])
        _track(axes, given, locus)
        _shade(axes, rows, colours, named=k == 0)
        axes.set_title(wrapped(name), pad=14 if k == 0 else None)  # numbers of the seqlets lie below the first
        axes.tick_params(axis="x", labelbottom=k == 1)
    axes.set_xlabel("position in the locus")
    _slopes(figure.add_subplot(grid[2]), rows, colours, instruments, label, locus)
    figure.suptitle(wrapped(words.pair_at(*names, locus), width=80), x=0.01, ha="left", size=9.5, weight="bold")
    return settle(figure)


def _colours(rows: pd.DataFrame) -> dict[int, str]:
    """Give every seqlet of a locus a colour; what contradicts is vermillion."""
    free = iter(OTHERS * (1 + len(rows) // len(OTHERS)))
    words_of = zip(rows.index.tolist(), rows["verdict"], strict=True)
    return {i: VERMILLION if word == "contradicts" else next(free) for i, word in words_of}


def _track(axes: Axes, tracks: Tracks, locus: str) -> None:
    i = tracks.loci.index(locus)
    height, codes = tracks.contribution[i], tracks.codes[i]
    if len(codes) <= LOGO:
        draw_logo(axes, height, codes, slice(0, len(codes)), 1)
    else:
        place = np.arange(1, len(codes) + 1)
        axes.fill_between(place, height, step="mid", color=MUTED, lw=0)
        axes.axhline(0, color=MUTED, lw=0.6)
        axes.set_xlim(0.5, len(codes) + 0.5)
        axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_ylabel("contribution\nof the base", size=8)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


def _shade(axes: Axes, rows: pd.DataFrame, colours: dict[int, str], *, named: bool) -> None:
    """Shade the spans of the seqlets, and number them above."""
    for i, row in zip(rows.index.tolist(), rows.to_dict("records"), strict=True):
        axes.axvspan(row["start"] + 0.5, row["end"] + 0.5, color=colours[i], alpha=SHADE, lw=0, gid="seqlet")
        if named:
            middle = (row["start"] + row["end"] + 1) / 2
            axes.text(
                middle, 1.0, f"{row['seqlet']}", transform=axes.get_xaxis_transform(), ha="center", va="bottom",
                size=8, weight="bold", color=colours[i],
            )  # fmt: skip


def _slopes(
    axes: Axes,
    rows: pd.DataFrame,
    colours: dict[int, str],
    instruments: Instruments,
    label: Int[np.ndarray, "instruments"],
    locus: str,
) -> None:
    """Draw the instruments in the colour of their seqlet, and the slope of each."""
    k = instruments.loci.index(locus)
    mine = slice(instruments.offsets[k], instruments.offsets[k + 1])
    x, y, at = instruments.beta_exposure[mine, 0], instruments.beta_outcome[mine], label[mine]
    sign = np.where(x < 0, -1.0, 1.0)
    x, y = sign * x, sign * y
    ends = np.array([0.0, 1.06 * float(np.max(x, initial=0.0)) or 1.0])
    if np.any(at < 0):
        axes.plot(x[at < 0], y[at < 0], "o", ms=3.5, mfc=PAPER, mec=MUTED, mew=0.8, label="in no seqlet", gid="none")
    for i, row in zip(rows.index.tolist(), rows.to_dict("records"), strict=True):
        here = at == i
        if not here.any():
            continue
        name = f"{row['seqlet']}  {_short(row['sequence'])}: {words.estimate(row)}, {row['verdict']}"
        marker = MARKERS.get(row["verdict"], "o")
        axes.plot(x[here], y[here], marker, ms=4.5, mfc=colours[i], mec=PAPER, mew=0.4, ls="", gid="points", zorder=3)
        axes.plot(ends, row["beta"] * ends, color=colours[i], label=name, gid="slope", zorder=2)
    axes.axhline(0, color=GRID, lw=0.8, zorder=0)
    axes.set_xlim(-0.02 * ends[1], ends[1])
    axes.set(xlabel=wrapped(f"effect on {instruments.exposure}; edits that lower it turned about 0", width=44))
    axes.set_ylabel(wrapped(f"effect on {instruments.outcome}", width=40))
    if axes.get_legend_handles_labels()[0]:
        key = axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.22), fontsize=8, handlelength=2.2, title_fontsize=8
        )
        key.set_title(f"seqlet: slope {words.WHERE[instruments.estimand]} ({_interval_name(rows)}), verdict")


def _interval_name(rows: pd.DataFrame) -> str:
    """Return "95 % interval"."""
    return f"{100 * rows['level'].iloc[0]:g} % interval" if len(rows) else "interval"


def _short(sequence: str, most: int = 24) -> str:
    return sequence if len(sequence) <= most else sequence[: most - 1] + "…"


@styled
def family_view(table: pd.DataFrame, families: pd.DataFrame, *, exposure: str, outcome: str) -> Figure:
    """Draw the slopes of all seqlets by family: the plurality, and what contradicts it.

    Parameters
    ----------
    table : columns of `schema.SEQLET_EFFECTS`.
    families : columns of `schema.SEQLET_FAMILIES`, the first eight are drawn.
    exposure, outcome : their names.

    Raises
    ------
    InputError
        When no seqlet has a slope.

    Notes
    -----
    A dot is a seqlet of one locus, the bar the slope of the whole family with its interval of two standard errors.
    """
    shown = families.head(MAX_FAMILIES)
    known = table[np.isfinite(table["beta"]) & table["family"].isin(shown["family"])]
    if not len(known):
        raise InputError("no seqlet has instruments: there is no slope to draw")
    low, middle, high = np.quantile(known["beta"], [0.25, 0.5, 0.75])
    reach = ZOOM * max(high - low, 0.05 * abs(middle), 1e-12)
    figure = new_figure(NARROW, 1.3 + 0.55 * len(shown))
    axes = figure.add_subplot()
    for k, family in enumerate(shown.to_dict("records")):
        mine = known[known["family"] == family["family"]]
        value = np.clip(mine["beta"].to_numpy(), middle - reach, middle + reach)
        # The golden ratio spreads dots evenly, whatever their number, without random numbers.
        spread = (np.arange(len(value)) * 0.618034 % 1 - 0.5) * 0.5
        colour = {"contradicts": VERMILLION, "untested": MUTED}.get(family["verdict"], CYCLE[0])
        axes.plot(value, k + spread, "o", ms=3, color=colour, alpha=0.45, mew=0, gid="seqlets")
        half = 2 * family["se"]
        axes.errorbar(
            family["beta"], k, xerr=half, fmt="|", ms=16, color=INK, mew=1.8, lw=1.2, capsize=3, gid="family", zorder=3
        )
    names = [
        f"{_short(row['sequence'])}\n{words.count(int(row['n_loci']), 'locus')}, {row['verdict']}"
        for row in shown.to_dict("records")
    ]
    axes.set_yticks(np.arange(len(shown)), names, size=7.5)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.axvline(0, color=GRID, lw=0.8, zorder=0)
    where = words.WHERE[known["estimand"].iloc[0]]
    axes.set_xlabel(wrapped(f"slope {where}: change of {outcome} per unit of {exposure}", width=44))
    axes.set_title(wrapped("Seqlets by family: a dot a locus, the bar ± 2 standard errors", width=34))
    return settle(figure)
