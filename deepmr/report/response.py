"""How an outcome responds to an exposure: curves with their bands, several fits, members, curves given covariates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepmr.errors import InputError
from deepmr.individual import Curve
from deepmr.report import words
from deepmr.report.style import CYCLE, INK, MUTED, WIDTH, new_figure, settle, styled, wrapped

MOST_PANELS = 9  # fits that have a panel each; more are lines in one
MOST_LABELS = 10  # lines that a legend names
_REACH = 3.0  # times the height of the curves that bands may add on either side


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnCurve:
    """A curve as it is drawn.

    Attributes
    ----------
    label : what it is of.
    x : exposures.
    curve : response at these, with intervals of single points where there are any.
    uniform : with the band of the whole curve, where there is one.
    truth : where it is known.
    """

    label: str
    x: Float[np.ndarray, "points"]
    curve: Curve
    uniform: Curve | None = None
    truth: Float[np.ndarray, "points"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How many samples have which exposure."""

    edges: Float[np.ndarray, "edges"]
    counts: Float[np.ndarray, "bins"]


@styled
def response_figure(
    drawn: DrawnCurve, *, exposure: str, outcome: str, binary: bool = False, histogram: Histogram | None = None
) -> Figure:
    """Draw one response with its interval at every point and the band of the whole curve, above the exposures.

    Parameters
    ----------
    drawn : the curve.
    exposure, outcome : names of the axes.
    binary : whether the response is a probability.
    histogram : of the exposure.
    """
    figure = new_figure(4.8, 3.8 if histogram is not None else 3.2)
    if histogram is None:
        top = bottom = figure.subplots()
    else:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[4.2, 1])
        _histogram(bottom, histogram)
    _curve(top, drawn, CYCLE[0])
    top.set_ylim(_limits([drawn]))
    top.set(xlim=(drawn.x[0], drawn.x[-1]), ylabel=wrapped(_outcome(outcome, binary=binary), width=34))
    bottom.set_xlabel(wrapped(exposure))
    top.set_title(wrapped(drawn.label))
    top.legend(loc="best")
    return settle(figure)


@styled
def fits_figure(fits: Sequence[DrawnCurve], *, exposure: str, outcome: str, binary: bool = False) -> Figure:
    """Draw several fits: up to nine side by side on the same axes, more as lines in one panel.

    Parameters
    ----------
    fits : one or more.
    exposure, outcome : names of the axes.
    binary : whether the response is a probability.
    """
    if not fits:
        raise InputError("there is no fit to draw")
    if len(fits) > MOST_PANELS:
        return _together(fits, exposure=exposure, outcome=outcome, binary=binary)
    panels, figure = _panels(len(fits))
    for axes, drawn in zip(panels, fits, strict=True):
        _curve(axes, drawn, CYCLE[0])
        axes.set_title(_title(drawn.label, len(fits)))
    panels[0].set_ylim(_limits(fits))
    panels[0].set_xlim(min(f.x[0] for f in fits), max(f.x[-1] for f in fits))
    figure.supxlabel(exposure, fontsize=9)
    figure.supylabel(_outcome(outcome, binary=binary), fontsize=9)
    handles, labels = _every(panels)
    figure.legend(handles, labels, loc="outside upper right", ncols=4)
    return settle(figure)


@styled
def conditional_figure(
    fits: Sequence[Sequence[DrawnCurve]], *, titles: Sequence[str], exposure: str, outcome: str, binary: bool = False
) -> Figure:
    """Draw the response under several conditions: a panel a fit, a line a condition.

    Parameters
    ----------
    fits : of each fit the curves, whose label is the condition; `uniform` of a curve is not drawn.
    titles : of the fits.
    exposure, outcome : names of the axes.
    binary : whether the response is a probability.
    """
    if not fits or not fits[0]:
        raise InputError("there is no fit to draw")
    if len(fits) > MOST_PANELS:
        raise InputError(f"curves given covariates are drawn of at most {MOST_PANELS} fits; got {len(fits)}")
    panels, figure = _panels(len(fits))
    for axes, curves, title in zip(panels, fits, titles, strict=True):
        axes.set_title(_title(title, len(fits)))
        for k, drawn in enumerate(curves):
            colour = CYCLE[k % len(CYCLE)]
            if drawn.curve.low is not None and drawn.curve.high is not None:
                axes.fill_between(drawn.x, drawn.curve.low, drawn.curve.high, color=colour, alpha=0.16, lw=0)
            axes.plot(drawn.x, drawn.curve.estimate, color=colour, label=drawn.label, gid="condition")
            if drawn.truth is not None:
                axes.plot(drawn.x, drawn.truth, color=INK, lw=1.1, ls="--", gid="truth")
    every = [drawn for curves in fits for drawn in curves]
    panels[0].set_ylim(_limits(every))
    panels[0].set_xlim(min(f.x[0] for f in every), max(f.x[-1] for f in every))
    figure.supxlabel(exposure, fontsize=9)
    figure.supylabel(_outcome(outcome, binary=binary), fontsize=9)
    handles, labels = _every(panels)
    level = words.percent(every[0].curve.level)
    figure.legend(handles, labels, loc="outside upper right", ncols=4, title=f"given (shaded: {level} at each point)")
    return settle(figure)


@styled
def members_figure(
    members: Sequence[Float[np.ndarray, "points"]],
    ensemble: DrawnCurve,
    *,
    exposure: str,
    outcome: str,
    binary: bool = False,
) -> Figure:
    """Draw the curves of members as thin lines and that of their ensemble over them.

    Parameters
    ----------
    members : response of each at the ensemble's points.
    ensemble : of them.
    exposure, outcome : names of the axes.
    binary : whether the response is a probability.
    """
    figure = new_figure(4.8, 3.4)
    axes = figure.subplots()
    for k, values in enumerate(members):
        label = f"each of {len(members)} members" if k == 0 else None
        axes.plot(ensemble.x, values, color=MUTED, lw=0.7, alpha=0.6, label=label, zorder=1, gid="member")
    _curve(axes, ensemble, CYCLE[0])
    each = [DrawnCurve(label="", x=ensemble.x, curve=Curve(estimate=values)) for values in members]
    axes.set_ylim(_limits([ensemble, *each]))
    axes.set_xlim(ensemble.x[0], ensemble.x[-1])
    axes.set(xlabel=wrapped(exposure), ylabel=wrapped(_outcome(outcome, binary=binary), width=34))
    axes.set_title(wrapped(ensemble.label))
    axes.legend(loc="best")
    return settle(figure)


def _together(fits: Sequence[DrawnCurve], *, exposure: str, outcome: str, binary: bool = False) -> Figure:
    figure = new_figure(WIDTH, 4.0)
    axes = figure.subplots()
    named = len(fits) <= MOST_LABELS
    for k, drawn in enumerate(fits):
        colour = CYCLE[k % len(CYCLE)] if named else CYCLE[0]
        label = words.shorten(drawn.label, 40) if named else f"{len(fits)} fits" if k == 0 else None
        dash = ("-", "--")[k // len(CYCLE) % 2] if named else "-"
        axes.plot(drawn.x, drawn.curve.estimate, color=colour, ls=dash, lw=0.9, alpha=0.75, label=label, gid="fit")
    known = [(drawn.x, drawn.truth) for drawn in fits if drawn.truth is not None]
    if known:  # one line over the exposures of all fits
        x, first = np.unique(np.concatenate([x for x, _ in known]), return_index=True)
        truth = np.concatenate([values for _, values in known])[first]
        axes.plot(x, truth, color=INK, lw=1.3, ls="--", label="truth", gid="truth")
    axes.set_ylim(_limits([replace(drawn, curve=Curve(estimate=drawn.curve.estimate), uniform=None) for drawn in fits]))
    axes.set_xlim(min(f.x[0] for f in fits), max(f.x[-1] for f in fits))
    axes.set(xlabel=wrapped(exposure), ylabel=_outcome(outcome, binary=binary))
    figure.legend(loc="outside right upper")
    return settle(figure)


def _panels(n: int) -> tuple[list[Axes], Figure]:
    """Return panels that share their axes, at most three in a row."""
    across = min(n, 3)
    down = -(-n // across)
    figure = new_figure(WIDTH if across > 1 else 4.8, 0.6 + (2.5 if across > 1 else 3.0) * down)
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel().tolist()
    for spare in axes[n:]:
        spare.set_visible(False)
    for one in axes[max(n - across, 0) : n]:  # the lowest of its column
        one.tick_params(labelbottom=True)
    return axes[:n], figure


def _curve(axes: Axes, drawn: DrawnCurve, colour: str) -> None:
    curve, uniform = drawn.curve, drawn.uniform
    if uniform is not None and uniform.low is not None and uniform.high is not None:
        label = f"{words.percent(uniform.level)} for the whole curve"
        axes.fill_between(
            drawn.x, uniform.low, uniform.high, color=colour, alpha=0.12, lw=0, label=label, gid="uniform"
        )
    if curve.low is not None and curve.high is not None:
        label = f"{words.percent(curve.level)} at each point"
        axes.fill_between(drawn.x, curve.low, curve.high, color=colour, alpha=0.26, lw=0, label=label, gid="band")
    axes.plot(drawn.x, curve.estimate, color=colour, label="estimate", gid="estimate")
    if drawn.truth is not None:
        axes.plot(drawn.x, drawn.truth, color=INK, lw=1.3, ls="--", label="truth", gid="truth")


def _histogram(axes: Axes, histogram: Histogram) -> None:
    axes.stairs(histogram.counts, histogram.edges, fill=True, color=MUTED, alpha=0.45, gid="exposures")
    axes.set_ylabel("samples")
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="y", nbins=3)
    axes.grid(visible=False)


def _limits(curves: Sequence[DrawnCurve]) -> tuple[float, float]:
    """Return the range of the curves and truths, and of bands as far as they do not dwarf these."""
    seen = [v for c in curves for v in (c.curve.estimate, *(() if c.truth is None else (c.truth,)))]
    low, high = min(float(v.min()) for v in seen), max(float(v.max()) for v in seen)
    bands = [band for c in curves for band in (c.curve, c.uniform) if band is not None]
    lows = [float(b.low.min()) for b in bands if b.low is not None]
    highs = [float(b.high.max()) for b in bands if b.high is not None]
    points = [c.curve for c in curves]
    widths = [float(np.median(b.high - b.low)) for b in points if b.low is not None and b.high is not None]
    reach = _REACH * max(high - low, *widths, 1e-12)
    start, stop = max(min([low, *lows]), low - reach), min(max([high, *highs]), high + reach)
    margin = 0.05 * (stop - start) or 1.0
    return start - margin, stop + margin


def _every(panels: Sequence[Axes]) -> tuple[list[Artist], list[str]]:
    """Return each kind of mark once, whichever panel has it."""
    found: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(str(label), handle)
    return list(found.values()), list(found)


def _title(text: str, n_panels: int) -> str:
    width = {1: 56, 2: 34}.get(n_panels, 22)
    return wrapped(words.shorten(text, 2 * width), width=width)


def _outcome(name: str, *, binary: bool) -> str:
    return f"{'probability of' if binary else 'expected'} {name}"
