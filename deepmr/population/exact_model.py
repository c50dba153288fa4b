"""Null models made ready for tests in which each marker has its own gamma: several log gamma of a trait at once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from deepmr.population import chebyshev
from deepmr.population.marker_moments import Weighted, weigh
from deepmr.population.marker_statistics import MarkerTest, Precision
from deepmr.population.null_model import NEAR, NullModel, fit_null
from deepmr.population.projection import Projected
from deepmr.population.reml import criterion, solve

BOUNDS = (float(np.log(1e-5)), float(np.log(1e5)))  # of log gamma, K in its unit; GEMMA's, of K as it is
REGIONS = 10  # of those bounds, each searched where a coarse grid finds its lowest point there; GEMMA's too
HALF = 1.0  # of the interval about the null model's log gamma, where most markers have theirs
EDGES = np.linspace(*BOUNDS, REGIONS + 1)
NULL = 1e-8  # of the largest eigenvalue: a direction with less variance is a null vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Several log gamma of one trait, ready for products with markers.

    Attributes
    ----------
    weighted : the null model at each, in the place of traits.
    shared : what the criterion of every marker has in common.
    counted : n of the likelihood (`maximum_likelihood`).
    """

    weighted: Weighted
    shared: Float[np.ndarray, "points"]
    counted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """What exact tests need of the null models: made once, used for every block, never changed.

    Attributes
    ----------
    null : of all traits.
    y, x : traits and covariates before rotation, in a model of low rank.
    test, precision, to_device : as in `prepare_exact`.
    log_gamma : of each null model, by the likelihood of the test.
    value, counted : minus that log likelihood, less constants, and its n; used by `lrt` alone.
    edges : of the regions of log gamma.
    starts : lower ends of the intervals that are tried first.
    first : points of those intervals, and of the coarse grid outside of them.
    """

    null: NullModel
    y: Float[np.ndarray, "samples traits"] | None
    x: Float[np.ndarray, "samples fixed"] | None
    test: MarkerTest
    precision: Precision
    to_device: Callable[[np.ndarray], Any] | None
    log_gamma: Float[np.ndarray, "traits"]
    value: Float[np.ndarray, "traits"]
    counted: Float[np.ndarray, "traits"]
    edges: Float[np.ndarray, "_"]
    starts: Float[np.ndarray, "traits"]
    first: tuple[Points, ...]


def maximum_likelihood(
    null: NullModel,
) -> tuple[Float[np.ndarray, "traits"], Float[np.ndarray, "traits"], Float[np.ndarray, "traits"]]:
    """Fit log gamma of each trait by maximum likelihood: where, minus the log likelihood there, and its n.

    Parameters
    ----------
    null : of which only the data are used.

    Notes
    -----
    (log |V| + n log rss) / 2, less what does not depend on gamma. Where K has null vectors in the span of the
    covariates, as a centred K and an intercept have one, it falls without end as gamma grows, by half a log unit for
    each, and of traits whose gamma the data tell badly the least is at the bound, where GEMMA leaves them with an h2 of
    1. Of such a trait, n here is that without these k vectors, which covariates fit whatever gamma is: the likelihood
    of all else, (log |V| + (n - k) log rss) / 2.
    """
    model = null.projected
    counted = np.full(model.traits, float(model.n))
    found, values = _likeliest(model, counted)
    without_end = found > _edges(model)[-1] - NEAR
    if not without_end.any():
        return found, values, counted
    counted = np.where(without_end, counted - _unseen(model), counted)
    return *_likeliest(model, counted), counted


def score_gamma(null: NullModel) -> Float[np.ndarray, "traits"]:
    """Return log gamma at which a score test is made: by maximum likelihood, or -inf where the model is least squares.

    Parameters
    ----------
    null : the model without markers.
    """
    return np.where(np.isneginf(null.log_gamma), -np.inf, maximum_likelihood(null)[0])


def prepare_exact(
    null: NullModel,
    *,
    test: MarkerTest,
    y: Float[np.ndarray, "samples traits"] | None = None,
    x: Float[np.ndarray, "samples fixed"] | None = None,
    precision: Precision = "float64",
    to_device: Callable[[np.ndarray], Any] | None = None,
) -> Exact:
    """Make null models ready for exact tests.

    Parameters
    ----------
    null
        Fitted.
    test
        `f` and `wald` fit gamma by restricted maximum likelihood, `lrt` by maximum likelihood; `score` keeps
        `score_gamma`.
    y, x
        Traits and covariates before rotation, needed in a model of low rank.
    precision
        Of the rotated markers; sums are in double precision.
    to_device
        Puts an array where rotated markers are.
    """
    log_gamma = score_gamma(null) if test == "score" else null.log_gamma
    value = counted = np.zeros(len(log_gamma))
    if test == "lrt":
        log_gamma, value, counted = maximum_likelihood(null)
    edges = _edges(null.projected)
    starts = np.clip(log_gamma - HALF, edges[0], edges[-1] - 2 * HALF)
    exact = Exact(
        null=null,
        y=y,
        x=x,
        test=test,
        precision=precision,
        to_device=to_device,
        log_gamma=log_gamma,
        value=value,
        counted=counted,
        edges=edges,
        starts=starts,
        first=(),
    )
    if test == "score":
        return replace(exact, first=tuple(points_of(exact, k, log_gamma[k : k + 1]) for k in range(len(starts))))
    first = []
    for k, low in enumerate(starts):
        inside = chebyshev.nodes(low, low + 2 * HALF)
        first.append(points_of(exact, k, np.concatenate([inside, edges[outside(edges, low)]])))
    return replace(exact, first=tuple(first))


def points_of(exact: Exact, k: int, at: Float[np.ndarray, "points"]) -> Points:
    """Make several log gamma of one trait ready for markers.

    Parameters
    ----------
    exact : of `prepare_exact`.
    k : which trait.
    at : the log gamma.
    """
    model = _repeated(exact.null.projected, k, len(at))
    y = None if exact.y is None else np.repeat(exact.y[:, k : k + 1], len(at), axis=1)
    weighted = weigh(fit_null(model, log_gamma=at), y=y, x=exact.x)
    n = float(exact.counted[k])
    shared = _unrestricted(model, at, n) if exact.test == "lrt" else criterion(model, at) - 0.5 * np.log(weighted.rss)
    placed = weighted if exact.to_device is None else weighted.placed(exact.to_device)
    return Points(weighted=placed, shared=shared, counted=n)


def outside(edges: Float[np.ndarray, "edges"], low: float) -> Bool[np.ndarray, "edges"]:
    """Return which points of the coarse grid lie outside of the first interval.

    Parameters
    ----------
    edges : of the regions, which are the coarse grid.
    low : lower end of the interval.
    """
    return (low > edges) | (low + 2 * HALF < edges)


def _edges(model: Projected) -> Float[np.ndarray, "_"]:
    return EDGES - np.log(model.unit)


def _likeliest(
    model: Projected, counted: Float[np.ndarray, "traits"]
) -> tuple[Float[np.ndarray, "traits"], Float[np.ndarray, "traits"]]:
    """Return log gamma of the greatest likelihood within all regions, and minus its logarithm."""
    found, values = np.empty(model.traits), np.full(model.traits, np.inf)
    for low, high in pairwise(_edges(model).tolist()):
        at = chebyshev.nodes(low, high)
        table = [_unrestricted(_repeated(model, k, len(at)), at, n) for k, n in enumerate(counted.tolist())]
        minima = chebyshev.minimise(np.stack(table), low, high)
        better = minima.value < values
        found, values = np.where(better, minima.at, found), np.where(better, minima.value, values)
    return found, values


def _unseen(model: Projected) -> int:
    """Return how many directions of the covariates are null vectors of K."""
    variances = np.linalg.eigvalsh(model.q.T @ (model.s[:, None] * model.q))
    return int((variances <= NULL * model.s.max(initial=0.0)).sum())


def _unrestricted(model: Projected, at: Float[np.ndarray, "points"], n: float) -> Float[np.ndarray, "points"]:
    """Return minus the log likelihood of each response at its own log gamma, less constants."""
    volume = np.log1p(np.exp(at)[:, None] * model.s).sum(1)
    return 0.5 * (volume + n * np.log(solve(model, at).rss))


def _repeated(model: Projected, k: int, times: int) -> Projected:
    """Return one response, that many times."""
    chosen = np.full(times, k)
    return replace(
        model,
        e=model.e[:, chosen],
        start=model.start[:, chosen],
        outside_qe=model.outside_qe[:, chosen],
        outside_ee=model.outside_ee[chosen],
    )
