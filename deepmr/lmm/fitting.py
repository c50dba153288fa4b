"""Fit of one trait: gamma by a grid, then by a bounded search within the best bracket of it."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy import optimize

from deepmr.lmm.errors import FitError
from deepmr.population.marker_moments import Weighted
from deepmr.population.null_model import OnBoundary
from deepmr.population.projection import Projected
from deepmr.population.reml import criterion, criterion_grid, slope, solve

GRID = 65  # points over the bounds
STEP = 1e-4  # in log gamma, of Hail's second difference
SeMethod = Literal["analytic", "hail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Parameters of one trait at one gamma.

    Attributes
    ----------
    log_gamma : of sigma_sq / tau_sq; -inf without random effects.
    beta : of the fixed effects.
    sigma_sq, tau_sq : variances of K and of the residuals.
    neg_log_reml : the criterion.
    """

    log_gamma: float
    beta: Float[np.ndarray, "fixed"]
    sigma_sq: float
    tau_sq: float
    neg_log_reml: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What `LinearMixedModel.fit` found; replaced as a whole, so that no reader sees half of it.

    Attributes
    ----------
    estimate : None where the search failed.
    weighted : the model made ready for alternatives.
    se : of h2; None where gamma was given, NaN at a bound.
    boundary : `lower` or `upper` where the optimum lies at a bound; otherwise empty.
    search : scipy's result; None where gamma was given.
    """

    estimate: Estimate | None = None
    weighted: Weighted | None = None
    se: float | None = None
    boundary: str = ""
    search: Any = None


def estimate_at(model: Projected, log_gamma: float) -> Estimate:
    """Return the best parameters at a given gamma.

    Parameters
    ----------
    model : of one trait.
    log_gamma : -inf for ordinary least squares.
    """
    at = np.array([log_gamma])
    solved = solve(model, at)
    tau_sq = float(solved.rss[0]) / (model.n - model.fixed)
    coefficients = model.start[:, 0] + solved.coefficients[0]
    return Estimate(
        log_gamma=log_gamma,
        beta=np.linalg.solve(model.triangle, coefficients) if model.fixed else coefficients,
        sigma_sq=float(np.exp(log_gamma)) * tau_sq,
        tau_sq=tau_sq,
        neg_log_reml=float(criterion(model, at)[0]),
    )


def search(model: Projected, bounds: tuple[float, float], tol: float, maxiter: int) -> Any:
    """Return scipy's result of a search for the best log gamma.

    Parameters
    ----------
    model : of one trait.
    bounds : of log gamma.
    tol : absolute error of log gamma.
    maxiter : most iterations.

    Notes
    -----
    The criterion may have several minima: the best of 65 points over the bounds brackets the one that is searched.
    A minimum of a criterion is known to the square root of its rounding only; Newton steps on its derivative then
    give the digits that are left.
    """
    grid = np.linspace(*bounds, GRID)
    best = int(criterion_grid(model, grid)[:, 0].argmin())
    bracket = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, GRID - 1)])
    found = optimize.minimize_scalar(
        lambda log_gamma: float(criterion(model, np.array([log_gamma]))[0]),
        method="bounded",
        bounds=bracket,
        options={"xatol": tol, "maxiter": maxiter},
    )
    if found.success:
        best_found = _polish(model, float(found.x), bracket)
        found.update(x=best_found, fun=float(criterion(model, np.array([best_found]))[0]))
    return found


def at_boundary(log_gamma: float, bounds: tuple[float, float], near: float) -> str:
    """Return `lower` or `upper` where an optimum lies at a bound, otherwise nothing.

    Parameters
    ----------
    log_gamma : the optimum.
    bounds : of log gamma.
    near : distance from a bound.
    """
    if log_gamma - bounds[0] < near:
        return "lower"
    return "upper" if bounds[1] - log_gamma < near else ""


def settle(log_gamma: float, bounds: tuple[float, float], boundary: str, on_boundary: OnBoundary, near: float) -> float:
    """Return log gamma after the rule for an optimum at a bound.

    Parameters
    ----------
    log_gamma : the optimum.
    bounds : of log gamma.
    boundary : which of them it lies at; empty for none.
    on_boundary : as in `fit_null`.
    near : distance from a bound, for the message.

    Raises
    ------
    FitError
        When it lies at a bound and the rule is `raise`.
    """
    if not boundary:
        return log_gamma
    if on_boundary == "raise":
        raise FitError(
            f"failed to fit log_gamma: optimum within {near:g} of {boundary} bound. "
            "on_boundary='clamp' or 'ols' goes on from there"
        )
    if on_boundary == "ols" and boundary == "lower":
        return -np.inf
    return bounds[0] if boundary == "lower" else bounds[1]


def h_sq_error(model: Projected, log_gamma: float, method: SeMethod) -> float:
    """Return the standard error of h2 from the curvature of the criterion; NaN where it does not curve upwards.

    Parameters
    ----------
    model : of one trait.
    log_gamma : the optimum.
    method : `analytic`, the second derivative; `hail`, a second difference in h2 at log gamma +- 1e-4.

    Raises
    ------
    FitError
        By `hail`, when the criterion is lower beside the optimum.
    """
    if method == "analytic":
        h_sq = 1 / (1 + np.exp(-log_gamma))
        curvature = float(slope(model, np.array([log_gamma])).second[0])
        return float(h_sq * (1 - h_sq) / np.sqrt(curvature)) if curvature > 0 else np.nan
    at = log_gamma + np.array([-STEP, 0.0, STEP])
    values = criterion_grid(model, at)[:, 0]
    if values[1] > min(values[0], values[2]):
        beside = 0 if values[0] < values[1] else 2
        raise FitError(
            f"the criterion is {values[1]:.10g} at the optimum, log_gamma {at[1]:.8g}, and lower beside it: "
            f"{values[beside]:.10g} at {at[beside]:.8g}; se_method='analytic' needs no difference"
        )
    return _by_parabola(1 / (1 + np.exp(-at)), values)


def normalized_likelihood(model: Projected) -> Float[np.ndarray, "percentiles"]:
    """Return the likelihood of h2 at 0, .01, ..., 1, of sum 1; NaN at both ends.

    Parameters
    ----------
    model : of one trait.
    """
    h_sq = np.arange(1, 100) / 100
    log_likelihood = -criterion_grid(model, np.log(h_sq / (1 - h_sq)))[:, 0]
    likelihood = np.exp(log_likelihood - log_likelihood.max())
    return np.concatenate([[np.nan], likelihood / likelihood.sum(), [np.nan]])


def _polish(model: Projected, log_gamma: float, bracket: tuple[float, float]) -> float:
    for _ in range(4):
        at = slope(model, np.array([log_gamma]))
        if not at.second[0] > 0:
            break
        moved = log_gamma - float(at.first[0] / at.second[0])
        # Farther than the search could have missed by: the criterion is no parabola here.
        if abs(moved - log_gamma) > 1e-3 or not bracket[0] < moved < bracket[1]:
            break
        done, log_gamma = abs(moved - log_gamma) < 1e-12, moved
        if done:
            break
    return log_gamma


def _by_parabola(h_sq: Float[np.ndarray, "three"], values: Float[np.ndarray, "three"]) -> float:
    """Return 1 / sqrt(2 c), c the quadratic coefficient through three points, by divided differences."""
    left = (values[1] - values[0]) / (h_sq[1] - h_sq[0])
    right = (values[2] - values[1]) / (h_sq[2] - h_sq[1])
    curvature = (right - left) / (h_sq[2] - h_sq[0])
    return float(1 / np.sqrt(2 * curvature)) if curvature > 0 else np.nan
