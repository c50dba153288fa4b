"""Intervals of edges at each point, from draws."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from scipy.stats import norm

from deepmr import checks

_ONE = 1 - 1e-9


@runtime_checkable
class DrawnGraph(Protocol):
    """A graph that says how uncertain its edges are."""

    @property
    def bounded(self) -> bool:
        """Whether edges lie between -1 and 1."""

    def graphs(self, contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points nodes nodes"]:
        """Return edges."""

    def draws(
        self, contexts: Float[np.ndarray, "points contexts"], *, n_draws: int = 500, seed: int = 0
    ) -> Float[np.ndarray, "draws points nodes nodes"]:
        """Draw edges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphIntervals:
    """Edges with standard errors and an interval each."""

    estimate: Float[np.ndarray, "points nodes nodes"]
    se: Float[np.ndarray, "points nodes nodes"]
    low: Float[np.ndarray, "points nodes nodes"]
    high: Float[np.ndarray, "points nodes nodes"]


def graph_intervals(
    fit: DrawnGraph,
    contexts: Float[np.ndarray, "points contexts"],
    *,
    level: float = 0.95,
    n_draws: int = 500,
    seed: int = 0,
) -> GraphIntervals:
    """Return each edge's standard error and interval at each point.

    Parameters
    ----------
    fit : with draws.
    contexts : in the unit of the fit.
    level : of the intervals, pointwise.
    n_draws : draws of the edges.
    seed : of these.

    Notes
    -----
    Of edges between -1 and 1 the interval is tanh(z -+ q s), z = arctanh of the edge (Fisher) and s the standard
    deviation of arctanh of its draws; of others, the edge -+ q s.
    """
    checks.level(level)
    estimate = fit.graphs(contexts)
    drawn = fit.draws(contexts, n_draws=n_draws, seed=seed)
    q = float(norm.isf((1 - level) / 2))
    se = drawn.std(axis=0)
    if not fit.bounded:
        return GraphIntervals(estimate=estimate, se=se, low=estimate - q * se, high=estimate + q * se)
    middle = np.arctanh(np.clip(estimate, -_ONE, _ONE))
    spread = np.arctanh(np.clip(drawn, -_ONE, _ONE)).std(axis=0)
    low, high = np.tanh(middle - q * spread), np.tanh(middle + q * spread)
    own = np.arange(estimate.shape[1])
    low[:, own, own] = high[:, own, own] = estimate[:, own, own]
    return GraphIntervals(estimate=estimate, se=se, low=low, high=high)
