"""Minima of many smooth functions of one variable at once, each known at the same Chebyshev points."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.polynomial import chebyshev

POINTS = 13
ROUNDING = 1e-14  # of the largest value: a last coefficient below this is rounding, which more points would not mend
TOL = 1e-11  # of half an interval

_NODES = -np.cos(np.pi * (np.arange(POINTS) + 0.5) / POINTS)
_TO_COEFFICIENTS = np.linalg.inv(chebyshev.chebvander(_NODES, POINTS - 1)).T


@dataclass(frozen=True, slots=True, kw_only=True)
class Minima:
    """Minima of functions over one interval.

    Attributes
    ----------
    at, value : where, and how low.
    edge : -1 or 1 where the function falls towards an end of the interval, 0 inside.
    error : of `at`, as the decay of the coefficients of the interpolant suggests; 0 at an end.
    """

    at: Float[np.ndarray, "functions"]
    value: Float[np.ndarray, "functions"]
    edge: Float[np.ndarray, "functions"]
    error: Float[np.ndarray, "functions"]


def nodes(low: float, high: float) -> Float[np.ndarray, "points"]:
    """Return the Chebyshev points of the first kind of an interval, from the lowest.

    Parameters
    ----------
    low, high : ends.
    """
    return 0.5 * (low + high) + 0.5 * (high - low) * _NODES


def interpolate(
    values: Float[np.ndarray, "functions points"], at: Float[np.ndarray, "functions"], low: float, high: float
) -> Float[np.ndarray, "functions"]:
    """Return each function at a point of its own.

    Parameters
    ----------
    values : at `nodes(low, high)`.
    at : within the interval.
    low, high : ends.
    """
    x = (2 * at - low - high) / (high - low)
    return chebyshev.chebval(x, _coefficients(values), tensor=False)


def minimise(values: Float[np.ndarray, "functions points"], low: float, high: float) -> Minima:
    """Return the minimum of each function about its lowest point.

    Parameters
    ----------
    values : at `nodes(low, high)`.
    low, high : ends.

    Notes
    -----
    Newton's method on the derivative of the interpolating polynomial, with bisection where it leaves the bracket that
    the neighbours of the lowest point make. A function analytic within distance d of an interval of half-width h has
    coefficients that fall as rho^-k, rho = d / h + sqrt(1 + d^2 / h^2) (Trefethen, Approximation Theory and
    Approximation Practice, SIAM 2013, theorem 8.1; 10.1137/1.9781611975949 for the extended edition).
    """
    half = 0.5 * (high - low)
    c = _coefficients(values)
    first = chebyshev.chebder(c)
    second = chebyshev.chebder(first)
    x, edge = _newton(values, first, second)
    curvature = chebyshev.chebval(x, second, tensor=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = half * _slope_error(c, x) / np.maximum(curvature, 0.0)
    return Minima(
        at=0.5 * (low + high) + half * x,
        value=chebyshev.chebval(x, c, tensor=False),
        edge=edge,
        error=np.where(edge == 0, np.nan_to_num(error, nan=0.0), 0.0),
    )


def _coefficients(values: Float[np.ndarray, "functions points"]) -> Float[np.ndarray, "points functions"]:
    return np.ascontiguousarray((values @ _TO_COEFFICIENTS).T)


def _slope_error(
    c: Float[np.ndarray, "points functions"], x: Float[np.ndarray, "functions"]
) -> Float[np.ndarray, "functions"]:
    """Return what the first coefficient left out adds to the derivative at x, were it to fall as those before it."""
    size = np.abs(c)
    last, before = size[-2:].max(0), size[-4:-2].max(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        decay = np.minimum(np.sqrt(last / before), 1.0)
    left_out = np.where(last > ROUNDING * size.max(0), decay * np.maximum(size[-1], decay * last), 0.0)
    # The derivative of T_k is k sin(k u) / sin(u) at x = cos(u), at most k / sin(u) or k^2.
    return left_out * POINTS / np.sqrt(1 - x**2 + POINTS**-2.0)


def _newton(
    values: Float[np.ndarray, "functions points"],
    first: Float[np.ndarray, "_ functions"],
    second: Float[np.ndarray, "_ functions"],
) -> tuple[Float[np.ndarray, "functions"], Float[np.ndarray, "functions"]]:
    """Return minima within (-1, 1), and which of the ends a function falls towards."""
    best = values.argmin(1)
    padded = np.concatenate([[-1.0], _NODES, [1.0]])
    low, x, high = padded[best], padded[best + 1], padded[best + 2]
    ends = chebyshev.chebval(np.array([-1.0, 1.0]), first)
    edge = np.where((best == 0) & (ends[:, 0] >= 0), -1.0, 0.0)
    edge = np.where((best == POINTS - 1) & (ends[:, 1] <= 0), 1.0, edge)
    x = np.where(edge != 0, edge, x)
    active: Bool[np.ndarray, "functions"] = edge == 0
    for _ in range(60):
        rows = np.flatnonzero(active)
        if not len(rows):
            break
        here = x[rows]
        slope = chebyshev.chebval(here, first[:, rows], tensor=False)
        bend = chebyshev.chebval(here, second[:, rows], tensor=False)
        high[rows] = np.where(slope > 0, here, high[rows])
        low[rows] = np.where(slope > 0, low[rows], here)
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = here - slope / bend
        inside = (bend > 0) & (newton >= low[rows]) & (newton <= high[rows])
        x[rows] = np.where(inside, newton, 0.5 * (low[rows] + high[rows]))
        active[rows] = (np.abs(x[rows] - here) > TOL) & (high[rows] - low[rows] > TOL)
    return x, edge
