"""How every figure looks: palette, fonts, sizes. The one place where a colour is named."""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

# name: (on light paper, on dark paper). The page turns the first into a CSS variable, so that figures follow the
# reader's setting. Okabe and Ito's colours, which stay apart for the colour blind.
PALETTE = {
    "ink": ("#1c2128", "#e8ebef"),
    "muted": ("#59626e", "#a8b1bc"),
    "grid": ("#dde1e6", "#363d47"),
    "paper": ("#ffffff", "#171b20"),
    "blue": ("#0072b2", "#5bb0ea"),
    "vermillion": ("#d55e00", "#f58b4c"),
    "green": ("#009e73", "#35c49b"),
    "amber": ("#e69f00", "#f2bb45"),
    "pink": ("#cc79a7", "#e6a6c9"),
    "violet": ("#6f4fa8", "#b7a0e6"),
    "sky": ("#3f97c9", "#8fd0f5"),
}
INK, MUTED, GRID, PAPER = (PALETTE[name][0] for name in ("ink", "muted", "grid", "paper"))
ON_DARK, ON_LIGHT = "#fefefe", "#111111"  # on a cell of a heatmap, which is the same on light and dark paper
VERMILLION = PALETTE["vermillion"][0]
CYCLE = tuple(PALETTE[name][0] for name in ("blue", "vermillion", "green", "amber", "pink", "violet", "sky"))
METHOD_COLOURS = {
    method: PALETTE[name][0]
    for method, name in {
        "ivw": "blue",
        "ivw_fixed": "sky",
        "ivw_random": "violet",
        "wald": "green",
        "wald_weighted": "amber",
        "egger": "vermillion",
        "egger_robust": "pink",
    }.items()
}
BASE_COLOURS = {
    base: PALETTE[name][0] for base, name in zip("ACGT", ("green", "blue", "amber", "vermillion"), strict=True)
}
DIVERGING = mpl.colormaps["RdBu_r"]  # white at zero: every use gives it symmetric limits
DENSITY = LinearSegmentedColormap.from_list("density", mpl.colormaps["viridis"](np.linspace(0.2, 1, 128)))
SHADE = LinearSegmentedColormap.from_list("shade", [GRID, MUTED])  # many samples, behind lines that matter

WIDTH = 7.2  # inches: one page column
NARROW = 4.0  # what a phone shows without swiping
DPI = 200  # of figures written as PNG

RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib; wider than what a browser puts in its place
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,  # a dollar in the name of a locus is a dollar
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.formatter.useoffset": False,
    "figure.facecolor": PAPER,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "deepmr",  # the same figure gives the same bytes
}
styled = mpl.rc_context(RC)  # a decorator; nothing of pyplot's global state


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure whose layout keeps labels apart; sizes in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def panel_grid(n: int, *, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of n panels, at most `columns` side by side; panels of one column keep their width.

    Parameters
    ----------
    n : panels.
    columns : most panels in a row.
    height : of one row, in inches.
    """
    across = min(n, columns)
    down = -(-n // across)
    figure = new_figure(WIDTH if across > 1 else 4.6, height * down)
    axes = figure.subplots(down, across, squeeze=False).ravel().tolist()
    for spare in axes[n:]:
        spare.set_visible(False)
    return figure, axes[:n]


def plain_log_ticks(axis: Axes) -> None:
    """Write the ticks of log axes as plain numbers; matplotlib's own are mathematical markup."""
    for side in (axis.xaxis, axis.yaxis):
        if side.get_scale() == "log":
            side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            side.set_minor_formatter(FuncFormatter(lambda *_: ""))


def method_colour(method: str, methods: Sequence[str]) -> str:
    """Return the colour of a method; one unknown to the palette gets one that no other of `methods` has, if it can.

    Parameters
    ----------
    methods : all that are drawn together, in order.
    """
    if method in METHOD_COLOURS:
        return METHOD_COLOURS[method]
    unknown = [name for name in dict.fromkeys(methods) if name not in METHOD_COLOURS]
    taken = {METHOD_COLOURS[name] for name in methods if name in METHOD_COLOURS}
    free = [colour for colour in CYCLE if colour not in taken] or list(CYCLE)
    return free[unknown.index(method) % len(free)]


def wrapped(text: str, *, width: int = 56) -> str:
    """Break a title or a label into lines: the name of a GWAS trait can be a sentence."""
    return textwrap.fill(text, width)


def settle(figure: Figure) -> Figure:
    """Lay the figure out once and return it: a layout moves ticks, whose new labels only the next layout knows."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    return figure
