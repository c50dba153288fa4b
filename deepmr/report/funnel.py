"""Ratios of single instruments against how precise they are: funnel, radial plot and density."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepmr.errors import InputError
from deepmr.inference import quantile
from deepmr.mr.density import bandwidths
from deepmr.mr.sensitivity.findings import Findings
from deepmr.report import words
from deepmr.report.scatter import DASHES, LINE
from deepmr.report.style import GRID, INK, MUTED, PAPER, VERMILLION, method_colour, new_figure, settle, styled, wrapped
from deepmr.types import Estimates, Instruments

SIZE = (5.4, 4.2)
NAMED = 6  # most outliers that have their name
BELOW = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17), "fontsize": 8, "handlelength": 2.8}


@styled
def funnel(single: Findings, estimates: Estimates, *, locus: str) -> Figure:
    """Draw the ratio of every instrument of a locus against its precision, with the estimates as upright lines.

    Parameters
    ----------
    single : what `single_instruments` found for one pair of traits.
    estimates : of that pair; rows of this locus are drawn.
    locus : which one.

    Notes
    -----
    The dotted funnel holds 95 % of the ratios when the first method's estimate is the truth for each of them.
    """
    ratios, methods = _of_locus(single, estimates, locus)
    beta, precision = ratios["beta"].to_numpy(float), 1 / ratios["se"].to_numpy(float)
    figure, axes = _axes(len(methods))
    limits = _ratio_limits(beta, precision, methods["beta"].to_numpy(float))
    if len(methods):
        heights = np.linspace(max(precision.max() * 0.02, 1e-300), precision.max() * 1.05, 200)
        for sign in (-1, 1):
            edge = methods["beta"].iloc[0] + sign * float(quantile(0.95)) / heights
            axes.plot(edge, heights, color=MUTED, lw=0.8, ls=":", gid="funnel")
    outside = _points(axes, beta, precision, limits)
    _upright(axes, methods)
    axes.set(xlim=limits, ylim=(0, precision.max() * 1.06))
    axes.set_xlabel(f"ratio of one instrument{outside}")
    axes.set_ylabel("precision (1 / standard error)")
    return _finish(figure, axes, ratios, locus)


@styled
def radial(instruments: Instruments, estimates: Estimates, *, locus: str, outliers: Findings | None = None) -> Figure:
    """Draw the instruments of a locus so that their distance from the line shows what each adds to Cochran's Q.

    Parameters
    ----------
    instruments : of one pair of traits.
    estimates : of that pair; rows of this locus without an intercept are drawn as lines.
    locus : which one.
    outliers : what a test for outliers found; those are marked.

    Notes
    -----
    Across: square root of the weight, |x| / se_y. Up: ratio times that, which has variance 1; the slope of a line from
    0 is an effect. The band holds 95 % of the instruments when the first method's estimate is the truth.
    """
    i = instruments.loci.index(locus)
    rows = slice(instruments.offsets[i], instruments.offsets[i + 1])
    x, y, se = (a[rows] for a in (instruments.beta_exposure[:, 0], instruments.beta_outcome, instruments.se_outcome))
    if len(x) == 0:
        raise InputError(f"{locus}: there is no instrument to draw")
    across, up = np.abs(x) / se, np.where(x < 0, -1.0, 1.0) * y / se
    table = _of_pair(estimates.table, instruments.exposure, instruments.outcome, locus)
    flat = table if "intercept" not in table else table[table["intercept"].isna()]
    names = instruments.variants["variant_id"].to_numpy(object)[rows]
    far = np.zeros(len(x), dtype=bool) if outliers is None else _marked(outliers, instruments, locus, names)
    figure, axes = _axes(len(flat) + 1)
    ends = np.array([0.0, float(across.max()) * 1.06])
    if len(flat):
        half = float(quantile(0.95))
        middle = flat["beta"].iloc[0] * ends
        axes.fill_between(ends, middle - half, middle + half, color=GRID, lw=0, alpha=0.7, zorder=0, gid="band")
    methods = list(dict.fromkeys(table["method"]))
    for k, row in enumerate(flat.to_dict("records")):
        label = f"{words.method_name(row['method'])}: {words.estimate(row)}"
        colour = method_colour(row["method"], methods)
        axes.plot(ends, row["beta"] * ends, color=colour, ls=DASHES[k % len(DASHES)], label=label, gid=row["method"])
    size = _size(len(x))
    axes.scatter(across[~far], up[~far], s=size, color=INK, lw=0, alpha=0.75, zorder=3, gid="points")
    if far.any():
        label = f"outlier ({far.sum()})"
        axes.scatter(
            across[far], up[far], s=size + 16, marker="D", color=VERMILLION, edgecolor=PAPER, lw=0.5, zorder=4,
            label=label, gid="outliers",
        )  # fmt: skip
        slope = flat["beta"].iloc[0] if len(flat) else 0.0
        order = np.argsort(-np.abs(up - slope * across), kind="stable")
        for j in order[far[order]][:NAMED]:
            left = across[j] > 0.75 * ends[1]
            axes.annotate(
                words.shorten(str(names[j]), 20), (across[j], up[j]), xytext=(-6 if left else 6, 0), va="center",
                ha="right" if left else "left", textcoords="offset points", fontsize=7.8, color=INK, zorder=5,
            )  # fmt: skip
    axes.axhline(0, color=MUTED, lw=0.8, zorder=0)
    axes.set_xlim(0, ends[1])
    axes.set_xlabel("square root of the weight, |effect on exposure| / se of outcome")
    axes.set_ylabel("ratio × square root of the weight")
    who = pd.DataFrame({"exposure": instruments.exposure, "outcome": instruments.outcome}, index=range(len(x)))
    return _finish(figure, axes, who, locus)


@styled
def ratio_density(single: Findings, estimates: Estimates, *, locus: str) -> Figure:
    """Draw how the ratios of a locus's instruments are spread, with their modes and the estimates.

    Parameters
    ----------
    single : what `single_instruments` found for one pair of traits.
    estimates : of that pair; rows of this locus are drawn as upright lines.
    locus : which one.

    Notes
    -----
    Gaussian kernel of bandwidth 0.9 min(sd, MAD) J^(-1/5), as the mode-based estimate takes; ratios weighted by their
    inverse variances, and all alike. Triangles mark the modes.
    """
    ratios, methods = _of_locus(single, estimates, locus)
    beta, se = ratios["beta"].to_numpy(float), ratios["se"].to_numpy(float)
    limits = _ratio_limits(beta, 1 / se, methods["beta"].to_numpy(float))
    figure, axes = _axes(len(methods) + 2)
    grid = np.linspace(*limits, 600)
    highest = 0.0
    for weights, colour, dash, what in (
        (se**-2, INK, "-", "weighted by inverse variance"),
        (np.ones_like(beta), MUTED, (0, (4, 2)), "all alike"),
    ):
        density = kernel_density(beta, weights, grid)
        mode = int(np.argmax(density))
        label = f"{what}: mode {words.number(float(grid[mode]))}"
        axes.plot(grid, density, color=colour, ls=dash, label=label, gid="density")
        axes.plot(grid[mode], density[mode], marker="v", ms=6, color=colour, mec=PAPER, mew=0.6, gid="mode")
        highest = max(highest, float(density.max()))
    inside = (beta >= limits[0]) & (beta <= limits[1])
    rug = np.column_stack([beta[inside], beta[inside], np.full(inside.sum(), np.nan)]).ravel()
    marks = np.tile([-0.05 * highest, -0.01 * highest, np.nan], int(inside.sum()))
    axes.plot(rug, marks, color=INK, lw=0.7, alpha=0.7, gid="rug")
    _upright(axes, methods)
    axes.set(xlim=limits, ylim=(-0.06 * highest, 1.1 * highest))
    left_out = f" ({(~inside).sum():,} further out)" if not inside.all() else ""
    axes.set_xlabel(f"ratio of one instrument{left_out}")
    axes.set_ylabel("density")
    axes.set_yticks([])
    return _finish(figure, axes, ratios, locus)


def kernel_density(
    values: Float[np.ndarray, "values"], weights: Float[np.ndarray, "values"], grid: Float[np.ndarray, "grid"]
) -> Float[np.ndarray, "grid"]:
    """Return a Gaussian kernel density at the points of a grid; a single value, or equal ones, get a narrow bell."""
    share = weights / weights.sum()
    usual = float(bandwidths(values[None], np.ones((1, len(values)), dtype=bool), phi=1.0)[0])
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    width = usual or 0.9 * spread * len(values) ** -0.2 or float(grid[-1] - grid[0]) / 50
    z = (grid[:, None] - values) / width
    return np.exp(-0.5 * z**2) @ share / (width * np.sqrt(2 * np.pi))


def _axes(n_methods: int) -> tuple[Figure, Axes]:
    """Return a figure as high as its legend needs."""
    figure = new_figure(SIZE[0], SIZE[1] + LINE * max(0, n_methods - 3))
    return figure, figure.subplots()


def _finish(figure: Figure, axes: Axes, rows: pd.DataFrame, locus: str) -> Figure:
    """Add a title that counts the instruments, a row each, and the legend."""
    who = words.pair_at(rows["exposure"].iloc[0], rows["outcome"].iloc[0], locus)
    axes.set_title(wrapped(f"{who}: {words.count(len(rows), 'instrument')}"))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**BELOW)
    return settle(figure)


def _of_pair(table: pd.DataFrame, exposure: str, outcome: str, locus: str) -> pd.DataFrame:
    return table[(table["exposure"] == exposure) & (table["outcome"] == outcome) & (table["locus"] == locus)]


def _marked(outliers: Findings, instruments: Instruments, locus: str, names: np.ndarray) -> np.ndarray:
    """Say which of the locus's instruments any test calls an outlier."""
    here = _of_pair(outliers.table, instruments.exposure, instruments.outcome, locus)
    return np.isin(names, here.loc[here["outlier"].astype(bool), "variant_id"].to_numpy(object))


def _of_locus(single: Findings, estimates: Estimates, locus: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the ratios of a locus that have a standard error, and its rows of estimates."""
    here = single.table
    ratios = here[(here["locus"] == locus) & (here["variant_id"] != "*") & (here["se"] > 0)]
    if ratios.empty:
        raise InputError(f"{locus}: there is no ratio to draw")
    first = ratios.iloc[0]
    return ratios, _of_pair(estimates.table, first["exposure"], first["outcome"], locus)


def _ratio_limits(
    beta: Float[np.ndarray, "rows"], precision: Float[np.ndarray, "rows"], lines: Float[np.ndarray, "_"]
) -> tuple[float, float]:
    """Return the range that holds the ratios but for the few that weak instruments put far out."""
    middle = float(np.median(beta))
    spread = 1.4826 * float(np.median(np.abs(beta - middle))) or float(np.std(beta)) or abs(middle) or 1.0
    spread = max(spread, float(np.median(1 / precision)))
    near = beta[np.abs(beta - middle) <= (16 if len(beta) <= 10 else 8) * spread]
    inside = [*near.tolist(), *lines[np.abs(lines - middle) <= 12 * spread].tolist()]
    low, high = min(inside), max(inside)
    if 0 < low < 2 * (high - low) or 0 < -high < 2 * (high - low):  # 0 is shown where it is near
        low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin


def _points(axes: Axes, x: Float[np.ndarray, "rows"], y: Float[np.ndarray, "rows"], limits: tuple[float, float]) -> str:
    """Draw the points; those outside as arrows at the border. Return what to say of them."""
    inside = (x >= limits[0]) & (x <= limits[1])
    axes.scatter(x[inside], y[inside], s=_size(len(x)), color=INK, lw=0, alpha=0.75, zorder=3, gid="points")
    for marker, out, where in (("<", x < limits[0], limits[0]), (">", x > limits[1], limits[1])):
        axes.plot(np.full(out.sum(), where), y[out], marker, ms=4, color=MUTED, clip_on=False, gid="outside")
    return "" if inside.all() else f" (arrows: {(~inside).sum():,} further out)"


def _upright(axes: Axes, methods: pd.DataFrame) -> None:
    names = list(dict.fromkeys(methods["method"]))
    for k, row in enumerate(methods.to_dict("records")):
        label = f"{words.method_name(row['method'])}: {words.estimate(row)}"
        colour, dash = method_colour(row["method"], names), DASHES[k % len(DASHES)]
        axes.axvline(row["beta"], color=colour, ls=dash, label=label, lw=1.4, zorder=2, gid=row["method"])


def _size(n: int) -> float:
    return float(np.clip(1200 / n, 5, 26))
