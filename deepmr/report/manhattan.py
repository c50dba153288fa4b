"""The P values of a scan along the genome."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deepmr.population.inflation import TAIL
from deepmr.report.genome import GenomeAxis
from deepmr.report.style import CYCLE, INK, MUTED, PALETTE, VERMILLION, WIDTH, new_figure, settle, styled, wrapped

GENOME_WIDE, SUGGESTIVE = 5e-8, 1e-5
COLOURS = (CYCLE[0], PALETTE["sky"][0])
HEIGHT = 3.0  # inches
ACROSS, STEP = 1_200, 0.03  # cells below -log10 P 2: along the genome, and in height
MANY = 3_000  # points from which on they are a picture within an SVG
NAMED = 12  # most lead variants that have their name
APART = 0.025  # of the genome: nearer to a stronger variant, a lead variant has no name
LETTER = 0.0098  # width of a letter of a label, as a share of the genome's width


@dataclass(slots=True, kw_only=True)
class Thinned:
    """The points of a scan that can be told apart in a figure, gathered block by block.

    All points from -log10 P 2 on are kept; below, the first of each cell of a fine grid, whose others would be drawn on
    top of it. So the same points are kept however the scan is cut into blocks.

    Attributes
    ----------
    index : of kept points, the variant's row.
    log10p : their heights.
    """

    index: list[np.ndarray] = field(default_factory=list)
    log10p: list[np.ndarray] = field(default_factory=list)
    taken: Bool[np.ndarray, "across up"] = field(
        default_factory=lambda: np.zeros((ACROSS, round(TAIL / STEP) + 1), dtype=bool)
    )

    def add(
        self,
        index: Int[np.ndarray, "variants"],
        place: Float[np.ndarray, "variants"],
        log10p: Float[np.ndarray, "variants"],
    ) -> None:
        """Add a block; what has no P value or no place is left out.

        Parameters
        ----------
        index : rows of the variants.
        place : on the axis of the genome, 0 to 1.
        log10p : -log10 P.
        """
        there = np.isfinite(log10p) & np.isfinite(place)
        keep = there & (log10p >= TAIL)
        low = np.flatnonzero(there & ~keep)
        across = np.clip((place[low] * ACROSS).astype(np.int64), 0, ACROSS - 1)
        up = np.clip((log10p[low] / STEP).astype(np.int64), 0, self.taken.shape[1] - 1)
        _, first = np.unique(across * self.taken.shape[1] + up, return_index=True)
        new = first[~self.taken[across[first], up[first]]]
        self.taken[across[new], up[new]] = True
        keep[low[new]] = True
        self.index.append(index[keep])
        self.log10p.append(log10p[keep])

    def points(self) -> tuple[Int[np.ndarray, "points"], Float[np.ndarray, "points"]]:
        """Return rows and heights of all kept points."""
        return np.concatenate([np.zeros(0, np.int64), *self.index]), np.concatenate([np.zeros(0), *self.log10p])


@styled
def manhattan(
    axis: GenomeAxis,
    codes: Int[np.ndarray, "points"],
    place: Float[np.ndarray, "points"],
    log10p: Float[np.ndarray, "points"],
    *,
    title: str = "",
    leads: pd.DataFrame | None = None,
) -> Figure:
    """Draw -log10 P along the genome: chromosomes in turn in two colours, lines at 5e-8 and 1e-5, lead variants named.

    Parameters
    ----------
    axis : of the genome.
    codes : chromosome of each point.
    place : on the axis.
    log10p : heights.
    title : usually the trait.
    leads : the strongest variant of each locus, the strongest first: variant_id, place and log10p. Twelve are named, if
        they stand apart from those that are and their names fit.
    """
    figure = new_figure(WIDTH, HEIGHT)
    axes = figure.subplots()
    for k, colour in enumerate(COLOURS):
        mine = codes % 2 == k
        axes.scatter(
            place[mine], log10p[mine], s=4.5, color=colour, lw=0, rasterized=len(log10p) > MANY, gid=f"points_{k}"
        )
    top = max(float(log10p.max(initial=0.0)), -np.log10(GENOME_WIDE))
    named = None if leads is None or not len(leads) else leads
    room = 1.06 if named is None else 1.2
    axes.set(xlim=(-0.008, 1.008), ylim=(0, top * room), ylabel="−log10 P")
    for level, colour, dash in ((GENOME_WIDE, VERMILLION, "-"), (SUGGESTIVE, MUTED, ":")):
        axes.axhline(-np.log10(level), color=colour, lw=0.9, ls=dash, gid=f"level_{level:g}", zorder=0.5)
    _chromosomes(axes, axis)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    if named is not None:
        _names(axes, named, top * room, place, log10p)
    if title:
        axes.set_title(wrapped(title, width=80))
    return settle(figure)


def _chromosomes(axes: Axes, axis: GenomeAxis) -> None:
    """Write the names of chromosomes below their middles, as many as fit."""
    middles = (axis.starts + axis.ends) / 2
    axes.set_xticks([])
    axes.set_xlabel("chromosome" if len(axis.chroms) != 1 else f"chromosome {axis.chroms[0]}")
    if len(axis.chroms) == 1:
        low, high = axis.first[0] / 1e6, axis.last[0] / 1e6
        if high > low:
            ticks = [t for t in MaxNLocator(8).tick_values(low, high) if low <= t <= high]
            axes.set_xticks([(t - low) / (high - low) for t in ticks], [f"{t:g}" for t in ticks])
            axes.set_xlabel(f"position on chromosome {axis.chroms[0]} (Mb)")
        return
    shown, end = [], -np.inf
    for k, middle in enumerate(middles):
        half = 0.5 * len(axis.chroms[k]) * LETTER
        if middle - half > end + 0.4 * LETTER:
            shown.append(k)
            end = middle + half
    axes.set_xticks(middles[shown], [axis.chroms[k] for k in shown])
    axes.tick_params(axis="x", length=0)


def _names(
    axes: Axes,
    leads: pd.DataFrame,
    top: float,
    place: Float[np.ndarray, "points"],
    log10p: Float[np.ndarray, "points"],
) -> None:
    """Name lead variants by their points, the strongest first, where neither names nor points are; else leave it out.

    Tried are the places above, to the right and to the left of a point, each also further up, with a line to the point.
    """
    line = 0.055 * top
    towers: list[float] = []
    taken: list[tuple[float, float, float]] = []
    rows = zip(leads["variant_id"].astype(str), leads["place"].to_numpy(), leads["log10p"].to_numpy(), strict=True)
    for name, x, y in rows:
        if any(abs(x - tower) < APART for tower in towers) or len(towers) == NAMED:
            continue
        towers.append(x)
        width = len(name) * LETTER
        sides = (x - width / 2, x + LETTER, x - width - LETTER)
        places = [(left, y + (0.35 if left == sides[0] else -0.5) * line) for left in sides]
        places += [(left, y + (1.2 + step) * line) for step in (0, 1) for left in sides]
        for left, foot in places:
            inside = (place > left) & (place < left + width) & (log10p > foot) & (log10p < foot + line)
            free = all(left > e or left + width < s or abs(foot - f) > line for s, e, f in taken)
            if free and not inside.any() and left > -LETTER and left + width < 1 + LETTER and foot + line < 1.03 * top:
                break
        else:
            continue
        taken.append((left - LETTER, left + width + LETTER, foot))
        if foot > y + line:
            axes.plot([x, left + width / 2], [y + 0.25 * line, foot], color=MUTED, lw=0.6, gid="leader")
        axes.text(left, foot, name, ha="left", va="bottom", fontsize=7.5, color=INK, gid="lead")
