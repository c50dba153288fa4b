"""The first stage as residuals show it: what is left of the exposure, against what instruments predict of it."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepmr.errors import InputError
from deepmr.report import words
from deepmr.report.style import CYCLE, INK, MUTED, SHADE, VERMILLION, new_figure, settle, styled, wrapped

_POINTS = 2000  # samples up to which each is a point; more are a density
_BINS = 12  # groups of predictions, of which mean and spread of residuals are drawn
_TAIL = 0.002  # share of residuals on either side that the axis leaves out


@styled
def first_stage_figure(
    predicted: Float[np.ndarray, "samples"], exposure: Float[np.ndarray, "samples"], *, name: str
) -> Figure:
    """Draw residuals of the linear first stage against its predictions, with their mean and spread along these.

    Parameters
    ----------
    predicted : of the exposure by instruments and covariates.
    exposure : itself.
    name : of the exposure.

    Raises
    ------
    InputError
        When there are no samples.

    Notes
    -----
    A mean that bends away from 0 says that the first stage is curved; a spread that changes says that the effects of
    instruments differ between people or that the noise does, which methods with a control function do not allow for.
    """
    if not len(predicted):
        raise InputError("there is no sample to draw")
    residual = exposure - predicted
    figure = new_figure(4.8, 3.6)
    axes = figure.subplots()
    low, high = np.quantile(residual, [_TAIL, 1 - _TAIL])
    inside = (residual >= low) & (residual <= high)
    if len(predicted) <= _POINTS:
        axes.scatter(predicted, residual, s=6, color=MUTED, alpha=0.5, lw=0, gid="samples")
    else:
        axes.hexbin(
            predicted[inside], residual[inside], gridsize=46, mincnt=1, cmap=SHADE, bins="log", lw=0, gid="samples"
        )
    axes.axhline(0, color=INK, lw=0.8, zorder=2)
    _along(axes, predicted, residual)
    r2 = 1 - float(np.var(residual) / np.var(exposure))
    axes.set_title(wrapped(f"Linear first stage: R² = {words.number(r2)}, {words.count(len(predicted), 'sample')}"))
    axes.set(xlabel=wrapped(f"{name}, predicted by instruments and covariates"), ylabel="residual")
    figure.legend(loc="outside lower center", ncols=2)
    return settle(figure)


def _along(axes: Axes, predicted: Float[np.ndarray, "samples"], residual: Float[np.ndarray, "samples"]) -> None:
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, _BINS + 1)))
    group = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, max(len(edges) - 2, 0))
    rows = [
        (predicted[mine].mean(), residual[mine].mean(), residual[mine].std())
        for k in range(max(len(edges) - 1, 1))
        if (mine := group == k).sum() > 2
    ]
    if not rows:
        return
    at, mean, spread = np.array(rows).T
    axes.plot(at, mean, color=VERMILLION, marker="o", ms=3.5, lw=1.4, label="mean", zorder=3, gid="mean")
    for sign in (-1, 1):
        label = "mean ± standard deviation" if sign > 0 else None
        axes.plot(at, mean + sign * spread, color=CYCLE[0], ls="--", lw=1.1, label=label, zorder=3, gid="spread")
