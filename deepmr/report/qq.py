"""The P values of a scan against those that no association at all would give."""

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy import stats

from deepmr.errors import InputError
from deepmr.population.inflation import Spread
from deepmr.report import words
from deepmr.report.style import CYCLE, GRID, MUTED, new_figure, settle, styled, wrapped

SIDE = 3.7  # inches
EVERY, DRAWN = 400, 1_200  # the smallest P values, each of which is drawn; points in all
BAND = 0.95


@styled
def qq(spread: Spread, *, title: str = "") -> Figure:
    """Draw the quantiles of -log10 P against those of the uniform distribution, with lambda GC.

    Parameters
    ----------
    spread : P values of one trait.
    title : usually the trait.

    Raises
    ------
    InputError
        When nothing was tested.

    Notes
    -----
    The k-th smallest of n P values is expected at (k - 1/2) / n. The band holds 95 % of it, point by point, were all n
    independent and none associated: quantiles of Beta(k, n + 1 - k).
    """
    n = spread.n
    if not n:
        raise InputError("no variant was tested: there is no quantile to draw")
    ranks = drawn_ranks(n)
    expected = -np.log10((ranks - 0.5) / n)
    observed = spread.ranked(ranks)
    low, high = (-np.log10(stats.beta.ppf(q, ranks, n + 1 - ranks)) for q in ((1 + BAND) / 2, (1 - BAND) / 2))
    figure = new_figure(SIDE, SIDE)
    axes = figure.subplots()
    axes.fill_between(expected, low, high, color=GRID, lw=0, gid="band")
    end = float(expected[0])
    axes.plot([0, end], [0, end], color=MUTED, lw=0.9, ls=":", gid="identity")
    axes.scatter(expected, observed, s=7, color=CYCLE[0], lw=0, zorder=3, gid="points")
    axes.set(xlabel="expected −log10 P", ylabel="observed −log10 P")
    axes.set_xlim(0, end * 1.04)
    axes.set_ylim(0, max(float(observed.max()), float(high.max())) * 1.05)
    said = f"λ GC {words.number(spread.inflation(), 3)}\n{words.count(n, 'variant')}"
    axes.text(0.04, 0.96, said, transform=axes.transAxes, ha="left", va="top", fontsize=8.5, gid="lambda")
    if title:
        axes.set_title(wrapped(title, width=40))
    return settle(figure)


def drawn_ranks(n: int) -> Float[np.ndarray, "points"]:
    """Return which of n ordered P values are drawn: the smallest each, the others ever further apart.

    Parameters
    ----------
    n : how many there are.
    """
    if n <= DRAWN:
        return np.arange(1.0, n + 1)
    rest = np.geomspace(EVERY + 1, n, DRAWN - EVERY).round()
    return np.unique(np.concatenate([np.arange(1.0, EVERY + 1), rest]))
