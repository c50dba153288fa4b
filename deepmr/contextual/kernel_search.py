"""Hyper-parameters of a Gaussian-process model: the maximum of its restricted likelihood, from a few starts."""

import numpy as np
from jaxtyping import Float
from scipy import optimize

from deepmr.contextual.kernel_model import Factored, KernelModel, evaluate
from deepmr.contextual.kernel_shapes import Layout
from deepmr.contextual.kernel_sparse import SparseFactored
from deepmr.errors import InputError

_LOW, _HIGH = np.log(1e-11), np.log(1e6)  # of variances, against that of the outcome; float64 has no less
_SHORT, _LONG = np.log(1e-2), np.log(1e3)  # of length scales, in standard deviations of a context
_INFEASIBLE = 1e3  # how much the log likelihood falls where there is none
_SLOPE, _SLOPE_TURNED = 1e-6, 1e-3  # of the log likelihood, and a standard deviation of its hyper-parameters
_LEAST = 1e-3  # curvature
_TRIED = 15  # steps from each of several starts, the best of which then goes on
_FALL, _FALL_EXACT = 1e-9, 1e-14  # relative rise that ends a search; that of few variances costs nothing


def search(
    model: KernelModel,
    *,
    starts: Float[np.ndarray, "starts size"] | None = None,
    curvature: Float[np.ndarray, "size size"] | None = None,
    n_steps: int = 200,
) -> Factored | SparseFactored:
    """Maximise the restricted likelihood, with its prior where there is one.

    Parameters
    ----------
    model : rows, with outcome and columns of variances near 1.
    starts : vectors to start from; a few sensible ones where none are given.
    curvature : about minus the second derivatives, where they are known; fewer steps are needed then.
    n_steps : at most.

    Raises
    ------
    InputError
        When no start has a likelihood in float64.
    """
    layout = model.layout
    if layout.size == 0:
        return evaluate(model, np.zeros(0))
    bounds = limits(layout)

    given = default_starts(layout) if starts is None else starts
    first = [
        _climb(model, np.asarray(start), bounds, n_steps if len(given) == 1 else _TRIED, curvature) for start in given
    ]
    tried = [at for at in first if at is not None]
    if not tried:
        raise InputError("no hyper-parameters give these rows a likelihood; are predictors or outcomes of huge range?")
    best = max(tried, key=lambda at: at.value)
    if len(given) == 1:
        return best
    return _climb(model, best.theta, bounds, n_steps, curvature) or best


def _climb(
    model: KernelModel,
    start: Float[np.ndarray, "size"],
    bounds: list[tuple[float, float]],
    n_steps: int,
    curvature: Float[np.ndarray, "size size"] | None,
) -> Factored | SparseFactored | None:
    """Return the model at the maximum near a start, or None where there is no likelihood at it.

    The first step of the search is as long as the gradient, which ends far outside of what float64 can factor; values
    are therefore divided by that length. Where there is no likelihood, a value somewhat below that of the start makes
    the line search turn back. A curvature that is known, and is not near a bound, gives coordinates in which it is 1,
    and a few steps do; there, a bound is where there is no likelihood.
    """
    try:
        best = first = evaluate(model, start)
    except np.linalg.LinAlgError:
        return None
    low, high = np.array(bounds).T
    turn: np.ndarray | None = None
    unit = max(1.0, float(np.linalg.norm(first.gradient)))
    if curvature is not None and bool(((start > low + 1) & (start < high - 1)).all()):
        values, vectors = np.linalg.eigh(curvature)
        turn, unit = vectors / np.sqrt(np.maximum(values, _LEAST)), 1.0

    def objective(point: Float[np.ndarray, "size"]) -> tuple[float, Float[np.ndarray, "size"]]:
        nonlocal best
        theta = point if turn is None else start + turn @ point
        if np.array_equal(theta, start):
            at = first
        elif ((theta < low) | (theta > high)).any():
            return (_INFEASIBLE - first.value) / unit, np.zeros_like(theta)
        else:
            try:
                at = evaluate(model, theta)
            except np.linalg.LinAlgError:
                return (_INFEASIBLE - first.value) / unit, np.zeros_like(theta)
        if at.value > best.value:
            best = at
        return -at.value / unit, -(at.gradient if turn is None else turn.T @ at.gradient) / unit

    fall = _FALL if model.layout.lengths else _FALL_EXACT
    optimize.minimize(
        objective,
        start if turn is None else np.zeros_like(start),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds if turn is None else None,
        options={"ftol": fall, "gtol": _SLOPE / unit if turn is None else _SLOPE_TURNED, "maxiter": n_steps},
    )
    return best


def limits(layout: Layout) -> list[tuple[float, float]]:
    """Return the smallest and largest value of each log hyper-parameter.

    Parameters
    ----------
    layout : which there are.
    """
    variances = layout.size - layout.lengths
    return [(_SHORT, _LONG)] * layout.lengths + [(_LOW, _HIGH)] * variances


def default_starts(layout: Layout) -> Float[np.ndarray, "starts size"]:
    """Return where to start: with little noise and long scales, and with half of the variance noise and shorter ones.

    Parameters
    ----------
    layout : which there are.
    """
    root = np.sqrt(max(layout.lengths, 1))
    rows = [
        np.concatenate(
            [
                np.full(layout.lengths, np.log(length * root)),
                np.full(layout.linear, np.log(linear)),
                np.full(layout.smooth, np.log(smooth)),
                np.full(layout.scatter, np.log(tau2)),
                np.full(layout.residual, np.log(sigma2)),
            ]
        )
        for length, linear, smooth, tau2, sigma2 in ((2.0, 0.3, 0.3, 0.01, 0.02), (1.0, 0.1, 0.5, 0.1, 0.5))
    ]
    return np.array(rows) if layout.lengths else np.array(rows[1:])
