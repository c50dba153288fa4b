"""Effects that vary with context: curves with their bands, surfaces over two contexts, relevance of contexts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepmr.contextual.effects import EffectCurve
from deepmr.errors import InputError
from deepmr.report import words
from deepmr.report.style import (
    CYCLE,
    DIVERGING,
    GRID,
    INK,
    MUTED,
    SHADE,
    WIDTH,
    new_figure,
    panel_grid,
    settle,
    styled,
    wrapped,
)

MOST_PANELS = 12
_RUG = 400  # samples that a rug shows


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """A coefficient on a grid of two contexts.

    Attributes
    ----------
    label : of the coefficient.
    x_name, y_name : of the contexts.
    x, y : grid lines.
    estimate : a row a value of `y`, a column a value of `x`.
    se : its standard error, where there is one.
    truth : where it is known.
    outside : where the fit extrapolates.
    places : contexts of the samples, where they are to be shown.
    """

    label: str
    x_name: str
    y_name: str
    x: Float[np.ndarray, "columns"]
    y: Float[np.ndarray, "rows"]
    estimate: Float[np.ndarray, "rows columns"]
    se: Float[np.ndarray, "rows columns"] | None = None
    truth: Float[np.ndarray, "rows columns"] | None = None
    outside: np.ndarray | None = None
    places: Float[np.ndarray, "samples two"] | None = None


@styled
def effect_curves_figure(
    curves: Sequence[EffectCurve], *, truths: Mapping[int, Float[np.ndarray, "_"]] | None = None
) -> Figure:
    """Draw effect curves, a panel each: estimate, limits of points and of the whole curve, and where samples are.

    Parameters
    ----------
    curves : the first twelve are drawn.
    truths : by position among the curves, the truth at its grid.

    Raises
    ------
    InputError
        When there is no curve.
    """
    if not curves:
        raise InputError("there is no effect to draw")
    shown = list(curves)[:MOST_PANELS]
    figure, panels = panel_grid(len(shown), columns=3 if len(shown) > 4 else 2, height=2.7)
    several = len({curve.outcome for curve in shown}) > 1
    for k, (axes, curve) in enumerate(zip(panels, shown, strict=True)):
        _draw_curve(axes, curve, None if truths is None else truths.get(k))
        axes.set_title(wrapped(_title(curve, several=several), width=28))
        axes.set_xlabel(wrapped(curve.along, width=34))
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(str(label), handle)
    figure.legend(list(handles.values()), list(handles), loc="outside upper left", ncols=3)
    return settle(figure)


def _title(curve: EffectCurve, *, several: bool) -> str:
    text = {
        "context": "level of the outcome",
        "predictor": f"average effect of {curve.coefficient}",
        "heterogeneous": f"effect of {curve.coefficient}",
    }[curve.kind]
    return f"{curve.outcome}: {text}" if several else text


def _draw_curve(axes: Axes, curve: EffectCurve, truth: np.ndarray | None) -> None:
    level = words.percent(curve.level)
    if curve.uniform_low is not None and curve.uniform_high is not None:
        label = f"{level} for the whole curve"
        axes.fill_between(
            curve.grid,
            curve.uniform_low,
            curve.uniform_high,
            color=CYCLE[0],
            alpha=0.14,
            lw=0,
            label=label,
            gid="uniform",
        )
    if curve.low is not None and curve.high is not None:
        label = f"{level} at each point"
        axes.fill_between(curve.grid, curve.low, curve.high, color=CYCLE[0], alpha=0.28, lw=0, label=label, gid="band")
    axes.plot(curve.grid, curve.estimate, color=CYCLE[0], label="estimate", gid="estimate")
    if truth is not None:
        axes.plot(curve.grid, truth, color=INK, lw=1.1, ls="--", label="truth", gid="truth")
    for start, stop in _runs(curve.grid, curve.outside):
        axes.axvspan(start, stop, color=GRID, alpha=0.6, lw=0, zorder=0, label="extrapolation", gid="outside")
    axes.set_xlim(curve.grid[0], curve.grid[-1])
    seen = curve.observed[np.linspace(0, len(curve.observed) - 1, min(len(curve.observed), _RUG)).astype(int)]
    seen = seen[(seen >= curve.grid[0]) & (seen <= curve.grid[-1])]
    axes.plot(
        seen,
        np.full(len(seen), 0.015),
        "|",
        color=MUTED,
        ms=5,
        mew=0.6,
        transform=axes.get_xaxis_transform(),
        gid="rug",
    )
    if curve.pvalue_flat is not None and curve.kind != "predictor":
        value = words.pvalue(curve.pvalue_flat)
        axes.annotate(
            f"not flat: P = {value}",
            (0.98, 0.97),
            xycoords="axes fraction",
            ha="right",
            va="top",
            fontsize=7,
            color=MUTED,
        )
    axes.margins(y=0.14)


def _runs(grid: np.ndarray, true: np.ndarray) -> list[tuple[float, float]]:
    """Return the stretches of a grid where something is true, to half way to the next point."""
    edges = np.concatenate([grid[:1], (grid[1:] + grid[:-1]) / 2, grid[-1:]])
    change = np.flatnonzero(np.diff(np.concatenate([[0], true.astype(int), [0]])))
    return [(float(edges[a]), float(edges[b])) for a, b in zip(change[::2], change[1::2], strict=True)]


@styled
def surface_figure(surfaces: Sequence[Surface]) -> Figure:
    """Draw coefficients over two contexts, a row each: estimate, truth where known, standard error where there is one.

    Parameters
    ----------
    surfaces : of two contexts; extrapolations are hatched.

    Raises
    ------
    InputError
        When there is none.
    """
    if not surfaces:
        raise InputError("there is no surface to draw")
    columns = 1 + any(s.truth is not None for s in surfaces) + any(s.se is not None for s in surfaces)
    figure = new_figure(min(WIDTH, 0.6 + 2.4 * columns), 0.3 + 2.35 * len(surfaces))
    panels = figure.subplots(len(surfaces), columns, squeeze=False)
    for row, surface in zip(panels, surfaces, strict=True):
        values = [surface.estimate] if surface.truth is None else [surface.estimate, surface.truth]
        most = max(float(np.abs(v).max()) for v in values) or 1.0
        left = list(row)
        for name, shown in zip(("estimate", "truth"), values, strict=False):
            axes = left.pop(0)
            image = axes.pcolormesh(
                surface.x, surface.y, shown, cmap=DIVERGING, vmin=-most, vmax=most, gid=name, rasterized=True
            )
            _surface_axes(axes, surface, f"{surface.label}: {name}", hatched=name == "estimate")
            if name == "estimate":
                figure.colorbar(image, ax=row.tolist()[: len(values)], shrink=0.85, pad=0.02)
        if surface.se is not None:
            axes = left.pop(0)
            image = axes.pcolormesh(surface.x, surface.y, surface.se, cmap=SHADE, vmin=0, gid="se", rasterized=True)
            _surface_axes(axes, surface, "standard error", hatched=False)
            figure.colorbar(image, ax=axes, shrink=0.85, pad=0.02)
        for axes in left:
            axes.set_visible(False)
    return settle(figure)


def _surface_axes(axes: Axes, surface: Surface, title: str, *, hatched: bool) -> None:
    axes.set_title(wrapped(title, width=26))
    axes.set(xlabel=wrapped(surface.x_name, width=24), ylabel=wrapped(surface.y_name, width=24))
    if hatched and surface.outside is not None and surface.outside.any():
        where = np.where(surface.outside, 1.0, 0.0)
        axes.contourf(surface.x, surface.y, where, levels=[0.5, 1.5], colors="none", hatches=["////"])
    if surface.places is not None:
        axes.plot(surface.places[:, 0], surface.places[:, 1], ".", ms=1.5, color=INK, alpha=0.5, gid="places")
        axes.set(xlim=(surface.x[0], surface.x[-1]), ylim=(surface.y[0], surface.y[-1]))


@styled
def relevance_figure(
    relevance: Mapping[str, float], *, pvalues: Mapping[str, float] | None = None, level: float = 0.95
) -> Figure:
    """Draw how much coefficients vary with each context as bars, with P values where they were tested.

    Parameters
    ----------
    relevance : by context, as in the record of a fit.
    pvalues : by context, adjusted for there being several.
    level : 1 less the P value from which on a bar is coloured.

    Raises
    ------
    InputError
        When no context has a relevance.
    """
    if not relevance:
        raise InputError("this method says nothing of the relevance of contexts")
    order = sorted(relevance, key=lambda name: relevance[name])
    known = {} if pvalues is None else dict(pvalues)
    figure = new_figure(4.8, 0.9 + 0.28 * len(order))
    axes = figure.subplots()
    colours = [CYCLE[0] if known.get(name, 0.0) <= 1 - level else MUTED for name in order]
    axes.barh(range(len(order)), [relevance[name] for name in order], color=colours, height=0.62, gid="relevance")
    axes.set_yticks(range(len(order)), [words.shorten(name, 40) for name in order])
    top = max(max(relevance.values()), 1e-12)
    for k, name in enumerate(order):
        if name in known:
            text = f"P = {words.pvalue(known[name])}"
            axes.text(relevance[name] + 0.02 * top, k, text, va="center", fontsize=7, color=MUTED)
    axes.set(xlim=(0, top * (1.25 if known else 1.05)), xlabel="relevance (0: no variation with it)")
    return settle(figure)
