"""Tests of markers, each at its own gamma, fitted under the model with the marker; all of a block at once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from jaxtyping import Bool, Float, Int

from deepmr.population import chebyshev
from deepmr.population.log_tails import log_tail_chi_sq
from deepmr.population.marker_moments import Moments, Weighted, rotated_moments, weigh
from deepmr.population.marker_statistics import COLLINEAR, EXPLAINED, MarkerTest, Precision, Tested, marker_statistics
from deepmr.population.null_model import NullModel, fit_null
from deepmr.population.projection import Projected
from deepmr.population.reml import criterion, solve

BOUNDS = (float(np.log(1e-5)), float(np.log(1e5)))  # of log gamma; GEMMA's
REGIONS = 10  # of those bounds, each searched where a coarse grid finds its lowest point there; GEMMA's too
HALF = 1.0  # of the interval about the null model's log gamma, where most markers have theirs
ERROR = 1e-7  # of log gamma: interpolants that may be further off are made again over a shorter interval
LOWER = 1e-8  # log units: a point of the coarse grid this much below the minimum says that it is not the least
_EDGES = np.linspace(*BOUNDS, REGIONS + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Several log gamma of one trait, ready for products with markers.

    Attributes
    ----------
    weighted : the null model at each, in the place of traits.
    shared : what the criterion of every marker has in common.
    """

    weighted: Weighted
    shared: Float[np.ndarray, "points"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """What exact tests need of the null models: made once, used for every block, never changed.

    Attributes
    ----------
    null : of all traits.
    y, x : traits and covariates before rotation, in a model of low rank.
    test, precision, to_device : as in `prepare_exact`.
    log_gamma, value : where the criterion of each null model has its minimum within the bounds, and how low it is.
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
    starts: Float[np.ndarray, "traits"]
    first: tuple[Points, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fits:
    """Markers at several points, or, in arrays of one dimension, each at its own.

    Attributes
    ----------
    value : of the criterion.
    log_see : logarithm of a'Pa.
    product : a'Py.
    rss : of the null model.
    collinear, no_variance : as in `Tested`.
    """

    value: np.ndarray
    log_see: np.ndarray
    product: np.ndarray
    rss: np.ndarray
    collinear: np.ndarray
    no_variance: np.ndarray


def maximum_likelihood(
    null: NullModel,
) -> tuple[Float[np.ndarray, "traits"], Float[np.ndarray, "traits"]]:
    """Fit log gamma of each trait by maximum likelihood: where, and minus the log likelihood there.

    Parameters
    ----------
    null : of which only the data are used.

    Notes
    -----
    (log |V| + n log rss) / 2, less what does not depend on gamma. Where K has a null vector in the span of the
    covariates, as a centred K and an intercept have, it falls without end as gamma grows, by half a log unit for each
    such vector; bounds keep gamma at 1e5 or below, as GEMMA does.
    """
    model = null.projected
    found, values = np.empty(model.traits), np.full(model.traits, np.inf)
    for low, high in pairwise(_EDGES.tolist()):
        at = chebyshev.nodes(low, high)
        table = np.stack([_unrestricted(_repeated(model, k, len(at)), at) for k in range(model.traits)])
        minima = chebyshev.minimise(table, low, high)
        better = minima.value < values
        found, values = np.where(better, minima.at, found), np.where(better, minima.value, values)
    return found, values


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
        `f` and `wald` fit gamma by restricted maximum likelihood, `lrt` by maximum likelihood; `score` keeps that of
        the null model by maximum likelihood.
    y, x
        Traits and covariates before rotation, needed in a model of low rank.
    precision
        Of the rotated markers; sums are in double precision.
    to_device
        Puts an array where rotated markers are.
    """
    log_gamma, value = maximum_likelihood(null)
    if test in ("f", "wald"):
        log_gamma = null.log_gamma
    starts = np.clip(log_gamma - HALF, BOUNDS[0], BOUNDS[1] - 2 * HALF)
    exact = Exact(
        null=null,
        y=y,
        x=x,
        test=test,
        precision=precision,
        to_device=to_device,
        log_gamma=log_gamma,
        value=value,
        starts=starts,
        first=(),
    )
    if test == "score":
        return replace(exact, first=tuple(_points(exact, k, log_gamma[k : k + 1]) for k in range(len(starts))))
    first = []
    for k, low in enumerate(starts):
        inside = chebyshev.nodes(low, low + 2 * HALF)
        first.append(_points(exact, k, np.concatenate([inside, _EDGES[_outside(low)]])))
    return replace(exact, first=tuple(first))


def exact_statistics(
    exact: Exact, rotated: Any, markers: Any = None
) -> tuple[Tested, Float[np.ndarray, "variants traits"]]:
    """Test rotated markers, each at its own gamma: the tests, and log gamma of each.

    Parameters
    ----------
    exact
        Of `prepare_exact`.
    rotated
        P a of each marker, (variants, rank), of any array-API namespace; products are made there.
    markers
        The markers before rotation, (variants, samples), needed in a model of low rank.

    Notes
    -----
    The criterion of a marker a is (log |V| + log |X'V^-1 X| + log a'Pa + (n - f - 1) log rss_1) / 2, or without
    restriction (log |V| + n log rss_1) / 2, with P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1 and rss_1 = y'Py - (a'Py)^2 /
    a'Pa. Both depend on a through a'V^-1 a, X'V^-1 a and a'Py alone, which for all markers and 13 Chebyshev points of
    log gamma are products of squared rotated markers with weights, and of rotated markers with columns. Being
    analytic in log gamma within pi of the real line, the criterion and its parts are interpolated. A coarse grid over
    all of the bounds tells whose minimum lies outside of the first interval; these, and those whose interpolant is
    not good enough, are fitted again.

    f and wald: beta^2 / se^2 at gamma by REML; lrt: twice the gain in log likelihood, each model at its own gamma;
    score: n beta a'Py / rss_0 at gamma of the null model by maximum likelihood, against F(1, n - f - 1). These are
    the tests of GEMMA. A gamma that lies at a bound stays there.

    References
    ----------
    Zhou & Stephens (2012) Nature Genetics 44:821-824, 10.1038/ng.2310.
    """
    each = [_trait(exact, k, rotated, markers) for k in range(len(exact.log_gamma))]
    names = ("beta", "se", "sigma_sq", "chi_sq", "log_p", "collinear", "no_variance")
    columns = {name: np.stack([getattr(tested, name)[0] for tested, _ in each], axis=1) for name in names}
    return Tested(**columns), np.stack([log_gamma for _, log_gamma in each], axis=1)


def _trait(exact: Exact, k: int, rotated: Any, markers: Any) -> tuple[Tested, Float[np.ndarray, "variants"]]:
    """Return the tests of one trait, markers in the place of traits."""
    if exact.test == "score":
        fits = _measure(exact, exact.first[k], rotated, markers)
        fits = _own(fits, 0)
        log_gamma = np.full(len(fits.value), exact.log_gamma[k])
    else:
        fits, log_gamma = _search(exact, k, rotated, markers)
    moments = Moments(
        own=np.exp(fits.log_see)[None],
        covariates=np.zeros((1, len(log_gamma), 0)),
        residual=fits.product[None],
    )
    n, fixed = exact.null.projected.n, exact.null.projected.fixed
    # Covariates are in a'Pa already, so that of the marker's own products none is left; they still count as effects.
    tested = marker_statistics(moments, fits.rss, n=n, fixed=fixed, test=exact.test, precision=exact.precision)
    if exact.test == "lrt":
        chi_sq = np.maximum(2 * (exact.value[k] - fits.value), 0.0)[None]
        tested = replace(tested, chi_sq=chi_sq, log_p=log_tail_chi_sq(chi_sq))
    unusable = tested.no_variance | fits.no_variance[None]
    return replace(tested, collinear=fits.collinear[None], no_variance=unusable & ~fits.collinear), log_gamma


def _search(exact: Exact, k: int, rotated: Any, markers: Any) -> tuple[Fits, Float[np.ndarray, "variants"]]:
    """Return each marker at the minimum of its criterion, and where that is."""
    low = float(exact.starts[k])
    fits = _measure(exact, exact.first[k], rotated, markers)
    best, minima = _minimum(fits, low, low + 2 * HALF)
    at, error = minima.at.copy(), minima.error.copy()
    grid = np.flatnonzero(_outside(low))
    coarse = fits.value[:, chebyshev.POINTS :]
    beyond = _falls_out(minima, low, low + 2 * HALF)
    again = np.flatnonzero(beyond | (coarse.min(1) < best.value - LOWER))
    lowest = grid[coarse[again].argmin(1)]
    best.value[again[beyond[again]]] = np.inf
    for region in range(REGIONS):
        rows = again[(lowest == region) | (lowest == region + 1)]
        if len(rows):
            ends = float(_EDGES[region]), float(_EDGES[region + 1])
            found, minima = _over(exact, k, ends, rotated, markers, rows)
            _keep(best, at, error, rows, found, minima, minima.value < best.value[rows])
    for row in np.flatnonzero(error > ERROR):
        _refine(exact, k, rotated, markers, int(row), best, at)
    return best, at


def _refine(exact: Exact, k: int, rotated: Any, markers: Any, row: int, best: Fits, at: np.ndarray) -> None:
    """Fit one marker again, over shorter and shorter intervals about its minimum."""
    half, rows, error = 0.25 * HALF, np.array([row]), np.zeros(len(at))
    for _ in range(8):
        low = float(np.clip(at[row] - half, BOUNDS[0], BOUNDS[1] - 2 * half))
        ends = low, low + 2 * half
        found, minima = _over(exact, k, ends, rotated, markers, rows)
        _keep(best, at, error, rows, found, minima, np.array([True]))
        if _falls_out(minima, *ends)[0]:
            continue
        if error[row] <= ERROR:
            break
        half *= 0.25


def _over(
    exact: Exact, k: int, ends: tuple[float, float], rotated: Any, markers: Any, rows: Int[np.ndarray, "rows"]
) -> tuple[Fits, chebyshev.Minima]:
    """Return some of the markers at the minimum within an interval."""
    points = _points(exact, k, chebyshev.nodes(*ends))
    return _minimum(_measure(exact, points, _rows(rotated, rows), _rows(markers, rows)), *ends)


def _points(exact: Exact, k: int, at: Float[np.ndarray, "points"]) -> Points:
    model = _repeated(exact.null.projected, k, len(at))
    y = None if exact.y is None else np.repeat(exact.y[:, k : k + 1], len(at), axis=1)
    weighted = weigh(fit_null(model, log_gamma=at), y=y, x=exact.x)
    shared = _unrestricted(model, at) if exact.test == "lrt" else criterion(model, at) - 0.5 * np.log(weighted.rss)
    return Points(weighted=weighted if exact.to_device is None else weighted.placed(exact.to_device), shared=shared)


def _measure(exact: Exact, points: Points, rotated: Any, markers: Any) -> Fits:
    """Return markers at every one of the points."""
    weighted, precision = points.weighted, exact.precision
    moments = rotated_moments(weighted, rotated, markers)
    see = moments.own - np.einsum("vpf,vpf->vp", moments.covariates, moments.covariates)
    collinear = ~(see > COLLINEAR[precision] * moments.own).all(1)
    see[collinear] = 1.0
    product = np.where(collinear[:, None], 0.0, moments.residual)
    explained = product**2 / (see * weighted.rss)
    no_variance = ~(explained < 1 - EXPLAINED[precision]).all(1)
    explained[no_variance] = 0.0
    log_see, log_left = np.log(see), np.log1p(-explained)
    if exact.test == "lrt":
        value = points.shared + 0.5 * weighted.n * log_left
    else:
        value = points.shared + 0.5 * (log_see + (weighted.n - weighted.fixed - 1) * log_left)
    return Fits(
        value=value,
        log_see=log_see,
        product=product,
        rss=np.broadcast_to(weighted.rss, value.shape),
        collinear=collinear,
        no_variance=no_variance,
    )


def _minimum(fits: Fits, low: float, high: float) -> tuple[Fits, chebyshev.Minima]:
    """Return each marker at the minimum within an interval, whose points come first."""
    inside = slice(chebyshev.POINTS)
    minima = chebyshev.minimise(fits.value[:, inside], low, high)
    parts = (np.ascontiguousarray(part[:, inside]) for part in (fits.log_see, fits.product, fits.rss))
    log_see, product, rss = (chebyshev.interpolate(part, minima.at, low, high) for part in parts)
    return replace(fits, value=minima.value, log_see=log_see, product=product, rss=rss), minima


def _keep(
    best: Fits,
    at: np.ndarray,
    error: np.ndarray,
    rows: Int[np.ndarray, "rows"],
    found: Fits,
    minima: chebyshev.Minima,
    better: Bool[np.ndarray, "rows"],
) -> None:
    """Write what was found of some markers over what was there."""
    to = rows[better]
    for name in ("value", "log_see", "product", "rss"):
        getattr(best, name)[to] = getattr(found, name)[better]
    best.collinear[rows] |= found.collinear
    best.no_variance[rows] |= found.no_variance
    at[to], error[to] = minima.at[better], minima.error[better]


def _own(fits: Fits, point: int) -> Fits:
    columns = (part[:, point] for part in (fits.value, fits.log_see, fits.product, fits.rss))
    value, log_see, product, rss = (np.ascontiguousarray(column) for column in columns)
    return replace(fits, value=value, log_see=log_see, product=product, rss=rss)


def _falls_out(minima: chebyshev.Minima, low: float, high: float) -> Bool[np.ndarray, "functions"]:
    """Return whose minimum lies outside of an interval, yet within the bounds."""
    return ((minima.edge < 0) & (low > BOUNDS[0])) | ((minima.edge > 0) & (high < BOUNDS[1]))


def _outside(low: float) -> Bool[np.ndarray, "_"]:
    return (low > _EDGES) | (low + 2 * HALF < _EDGES)


def _unrestricted(model: Projected, at: Float[np.ndarray, "points"]) -> Float[np.ndarray, "points"]:
    """Return minus the log likelihood of each response at its own log gamma, less constants."""
    volume = np.log1p(np.exp(at)[:, None] * model.s).sum(1)
    return 0.5 * (volume + model.n * np.log(solve(model, at).rss))


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


def _rows(values: Any, rows: Int[np.ndarray, "rows"]) -> Any:
    if values is None:
        return None
    xp = array_namespace(values)
    return xp.take(values, xp.asarray(rows, device=device(values)), axis=0)
