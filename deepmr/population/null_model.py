"""The model without any marker: how much of each trait's variance the relationship matrix explains."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.errors import InputError
from deepmr.population.projection import Projected
from deepmr.population.reml import criterion_grid, slope, solve

OnBoundary = Literal["raise", "clamp", "ols"]
GRID = 65  # points over the bounds, before the search within the best of them
FLAT = 1e-9  # log units: a criterion that varies by less says nothing of gamma
NEAR = 0.001  # of a bound in log gamma: the optimum is taken to lie beyond it


@dataclass(frozen=True, slots=True, kw_only=True)
class NullModel:
    """REML fits of several traits with one relationship matrix and the same covariates.

    Attributes
    ----------
    projected : what was fitted.
    log_gamma : -inf where a trait is fitted by ordinary least squares.
    h_sq : gamma / (1 + gamma), a share of the variance where K has mean diagonal 1.
    h_sq_se : from the second derivative of the criterion; NaN at a bound.
    beta : coefficients of the covariates.
    tau_sq, sigma_sq : variances of the residuals and of K.
    boundary : `lower` or `upper` where the optimum lies at a bound, `lower` too where any gamma is as good, as when K
        is the identity matrix; otherwise empty.
    """

    projected: Projected
    log_gamma: Float[np.ndarray, "traits"]
    h_sq: Float[np.ndarray, "traits"]
    h_sq_se: Float[np.ndarray, "traits"]
    beta: Float[np.ndarray, "fixed traits"]
    tau_sq: Float[np.ndarray, "traits"]
    sigma_sq: Float[np.ndarray, "traits"]
    boundary: tuple[str, ...]

    def scaled_h_sq(self, mean_diagonal: float) -> tuple[Float[np.ndarray, "traits"], Float[np.ndarray, "traits"]]:
        """Return h2 and its standard error were K divided by its mean diagonal.

        Parameters
        ----------
        mean_diagonal : of the centred K that was decomposed; 1 changes nothing.
        """
        return scaled_h_sq(self.log_gamma, self.h_sq_se, mean_diagonal)


def scaled_h_sq(
    log_gamma: Float[np.ndarray, "traits"], se: Float[np.ndarray, "traits"], mean_diagonal: float
) -> tuple[Float[np.ndarray, "traits"], Float[np.ndarray, "traits"]]:
    """Return h2 and its standard error were K divided by its mean diagonal.

    Parameters
    ----------
    log_gamma : of K as it is.
    se : of its h2.
    mean_diagonal : of the centred K; 1 changes nothing.

    Notes
    -----
    A standard error is h2 (1 - h2) times that of log gamma, which K divided by a number only shifts.
    """
    gamma = np.exp(log_gamma)
    h_sq, scaled = (ratio / (1 + ratio) for ratio in (gamma, mean_diagonal * gamma))
    own = np.where(h_sq > 0, h_sq * (1 - h_sq), 1.0)
    return scaled, se * scaled * (1 - scaled) / own


def fit_null(
    model: Projected,
    *,
    log_gamma: Float[np.ndarray, "traits"] | None = None,
    bounds: tuple[float, float] = (-8.0, 8.0),
    tol: float = 1e-8,
    on_boundary: OnBoundary = "clamp",
) -> NullModel:
    """Fit gamma of every trait by restricted maximum likelihood.

    Parameters
    ----------
    model
        Rotated traits and covariates.
    log_gamma
        Fixed values, which are then not estimated.
    bounds
        Of log gamma, were K in its unit (`Projected.unit`).
    tol
        Largest error of log gamma.
    on_boundary
        Where the optimum lies within 0.001 of a bound: raise, stay at the bound, or, at the lower one, leave the
        relationship matrix out (`ols`; the upper bound stays).

    Raises
    ------
    InputError
        When an optimum lies at a bound and `on_boundary` is `raise`.

    Notes
    -----
    The best point of a grid brackets the optimum, which the criterion, not being convex, need not have alone; then
    Newton's method with bisection where it leaves the bracket. SE(h2) = h2 (1 - h2) / sqrt(f''(log gamma)).
    """
    if log_gamma is None:
        low, high = (bound - float(np.log(model.unit)) for bound in bounds)
        found, boundary = _search(model, (low, high), tol)
    else:
        checks.shape("log_gamma", log_gamma, (model.traits,))
        found, boundary = log_gamma.astype(float), ("",) * model.traits
    if on_boundary == "raise" and any(boundary):
        k = next(i for i, side in enumerate(boundary) if side)
        raise InputError(
            f"trait {k + 1} of {model.traits}: the optimum of log gamma lies at the {boundary[k]} bound, "
            f"{bounds[0 if boundary[k] == 'lower' else 1]:g}"
        )
    if on_boundary == "ols":
        found = np.where([side == "lower" for side in boundary], -np.inf, found)
    solved = solve(model, found)
    curvature = slope(model, found).second
    inside = np.array([not side for side in boundary]) & (curvature > 0)
    h_sq = 1 / (1 + np.exp(-found))
    dof = model.n - model.fixed
    tau_sq = solved.rss / dof
    coefficients = solved.coefficients.T + model.start
    return NullModel(
        projected=model,
        log_gamma=found,
        h_sq=h_sq,
        h_sq_se=np.where(inside, h_sq * (1 - h_sq) / np.sqrt(np.where(inside, curvature, 1.0)), np.nan),
        beta=np.linalg.solve(model.triangle, coefficients) if model.fixed else coefficients,
        tau_sq=tau_sq,
        sigma_sq=np.exp(found) * tau_sq,
        boundary=boundary,
    )


def _search(
    model: Projected, bounds: tuple[float, float], tol: float
) -> tuple[Float[np.ndarray, "traits"], tuple[str, ...]]:
    """Return the optimum of each trait within the bounds, and which bound it lies at."""
    grid = np.linspace(*bounds, GRID)
    values = criterion_grid(model, grid)
    best = values.argmin(0)
    low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, GRID - 1)]
    # A minimum at an end of the grid may still have its slope pointing inwards.
    found = grid[best]
    active: Int[np.ndarray, "active"] = np.arange(model.traits)
    for _ in range(60):
        at = slope(model, found[active], traits=active)
        rising = at.first > 0
        high[active] = np.where(rising, found[active], high[active])
        low[active] = np.where(rising, low[active], found[active])
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = found[active] - at.first / at.second
        good = (at.second > 0) & (newton > low[active]) & (newton < high[active])
        following = np.where(good, newton, 0.5 * (low[active] + high[active]))
        moved = np.abs(following - found[active])
        found[active] = following
        active = active[(moved > 0.1 * tol) & (high[active] - low[active] > 0.1 * tol)]
        if not len(active):
            break
    low_side = (found < bounds[0] + NEAR) | (np.ptp(values, axis=0) < FLAT)
    sides = np.where(low_side, "lower", np.where(found > bounds[1] - NEAR, "upper", ""))
    found = np.where(sides == "lower", bounds[0], np.where(sides == "upper", bounds[1], found))
    return found, tuple(str(side) for side in sides)
