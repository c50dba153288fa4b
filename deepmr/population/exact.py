"""Tests of markers, each at its own gamma, fitted under the model with the marker; all of a block at once."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from jaxtyping import Bool, Float, Int

from deepmr.population import chebyshev
from deepmr.population.exact_model import HALF, REGIONS, Exact, Points, outside, points_of
from deepmr.population.log_tails import log_tail_chi_sq
from deepmr.population.marker_moments import Moments, rotated_moments
from deepmr.population.marker_statistics import COLLINEAR, EXPLAINED, Tested, marker_statistics

ERROR = 1e-7  # of log gamma: interpolants that may be further off are made again over a shorter interval
LOWER = 1e-8  # log units: a point of the coarse grid this much below the minimum says that it is not the least


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
    restriction (log |V| + n log rss_1) / 2, n as in `maximum_likelihood`, with
    P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1 and rss_1 = y'Py - (a'Py)^2 / a'Pa. Both depend on a through a'V^-1 a,
    X'V^-1 a and a'Py alone, which for all markers and 13 Chebyshev points of log gamma are products of squared rotated
    markers with weights, and of rotated markers with columns. Being analytic in log gamma within pi of the real line,
    the criterion and its parts are interpolated. A coarse grid over all of the bounds tells whose minimum lies outside
    of the first interval; these, and those whose interpolant is not good enough, are fitted again.

    f and wald: beta^2 / se^2 at gamma by REML; lrt: twice the gain in log likelihood, each model at its own gamma;
    score: n beta a'Py / rss_0 at gamma of the null model by maximum likelihood, against F(1, n - f - 1). These are
    the tests of GEMMA, but for traits whose likelihood grows with gamma without end. A gamma that lies at a bound,
    1e-5 or 1e5 of K of mean diagonal 1, stays there, whatever becomes of the null model's.

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
    grid = np.flatnonzero(outside(exact.edges, low))
    coarse = fits.value[:, chebyshev.POINTS :]
    beyond = _falls_out(exact, minima, low, low + 2 * HALF)
    lower = coarse.min(1) < best.value - LOWER
    best.value[beyond] = np.inf
    todo = np.zeros((len(at), REGIONS), dtype=bool)
    lowest = grid[coarse.argmin(1)]
    for regions, rows in (
        (lowest - 1, beyond | lower),
        (lowest, beyond | lower),
        (np.searchsorted(exact.edges, at, side="right") - 1, beyond),
    ):
        todo[rows, np.clip(regions[rows], 0, REGIONS - 1)] = True
    _over_regions(exact, k, rotated, markers, todo, best, at, error)
    for row in np.flatnonzero(error > ERROR):
        _refine(exact, k, rotated, markers, int(row), best, at)
    return best, at


def _over_regions(
    exact: Exact, k: int, rotated: Any, markers: Any, todo: np.ndarray, best: Fits, at: np.ndarray, error: np.ndarray
) -> None:
    """Fit markers over the regions that are to be searched, and over those towards which the criterion falls there."""
    done = np.zeros_like(todo)
    while todo.any():
        for region in np.flatnonzero(todo.any(0)):
            rows = np.flatnonzero(todo[:, region])
            ends = float(exact.edges[region]), float(exact.edges[region + 1])
            found, minima = _over(exact, k, ends, rotated, markers, rows)
            _keep(best, at, error, rows, found, minima, minima.value < best.value[rows])
            todo[rows, region], done[rows, region] = False, True
            out = _falls_out(exact, minima, *ends)
            following = region + minima.edge[out].astype(int)
            todo[rows[out], following] = ~done[rows[out], following]


def _refine(exact: Exact, k: int, rotated: Any, markers: Any, row: int, best: Fits, at: np.ndarray) -> None:
    """Fit one marker again, over shorter and shorter intervals about its minimum."""
    half, rows, error = 0.25 * HALF, np.array([row]), np.zeros(len(at))
    for _ in range(8):
        low = float(np.clip(at[row] - half, exact.edges[0], exact.edges[-1] - 2 * half))
        ends = low, low + 2 * half
        found, minima = _over(exact, k, ends, rotated, markers, rows)
        _keep(best, at, error, rows, found, minima, np.array([True]))
        if _falls_out(exact, minima, *ends)[0]:
            continue
        if error[row] <= ERROR:
            break
        half *= 0.25


def _over(
    exact: Exact, k: int, ends: tuple[float, float], rotated: Any, markers: Any, rows: Int[np.ndarray, "rows"]
) -> tuple[Fits, chebyshev.Minima]:
    """Return some of the markers at the minimum within an interval."""
    points = points_of(exact, k, chebyshev.nodes(*ends))
    return _minimum(_measure(exact, points, _rows(rotated, rows), _rows(markers, rows)), *ends)


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
        value = points.shared + 0.5 * points.counted * log_left
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


def _falls_out(exact: Exact, minima: chebyshev.Minima, low: float, high: float) -> Bool[np.ndarray, "functions"]:
    """Return whose minimum lies outside of an interval, yet within the bounds."""
    return ((minima.edge < 0) & (low > exact.edges[0])) | ((minima.edge > 0) & (high < exact.edges[-1]))


def _rows(values: Any, rows: Int[np.ndarray, "rows"]) -> Any:
    if values is None:
        return None
    xp = array_namespace(values)
    return xp.take(values, xp.asarray(rows, device=device(values)), axis=0)
