"""Least squares and logistic regression of one outcome on its design, each row as often as its weight says."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from deepmr.contexts import ContextData
from deepmr.errors import InputError

_DEPENDENT = 1e-10  # smallest over largest singular value of a design of columns of one size, for it to be singular
_STEPS, _DONE = 100, 1e-12  # of Newton's method: at most, and the relative fall of the deviance that ends it
_FAR = 30.0  # log odds beyond which a probability is 0 or 1 in float64: the classes are separated


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """Coefficients of one outcome.

    Attributes
    ----------
    coefficient : of every column of the design.
    covariance : of these.
    measures : `sigma` and `loo_mse` of continuous outcomes, `deviance` of binary ones, and `edf`.
    """

    coefficient: Float[np.ndarray, "columns"]
    covariance: Float[np.ndarray, "columns columns"]
    measures: dict[str, float]


def solve(data: ContextData) -> Solved:
    """Fit the only outcome of these samples on ones and the predictors.

    Parameters
    ----------
    data : samples with one outcome.

    Raises
    ------
    InputError
        When columns depend on each other, rows are fewer than columns, or 0 and 1 can be told apart without error.

    Notes
    -----
    Known standard errors are taken as they are; an error variance is estimated where there are none.
    """
    design = data.design
    check_design(design, data.predictor_names)
    check_spare(data)
    return _logistic(data, design) if data.outcome_type == "binary" else _linear(data, design)


def unmodelled(data: ContextData) -> tuple[str, ...]:
    """Return sentences about what data say of their errors and regressions like these do not use.

    Parameters
    ----------
    data : samples of a fit.
    """
    said = inexact(data)
    if data.groups is not None:
        said = (*said, "Standard errors take the samples of a group as independent of each other.")
    return said


def inexact(data: ContextData) -> tuple[str, ...]:
    """Return the sentence that errors of contexts are not used, where there are any.

    Parameters
    ----------
    data : samples of a fit.
    """
    if data.context_se is None or not (data.context_se > 0).any():
        return ()
    return ("Contexts are taken as exact: their standard errors are not used.",)


def check_spare(data: ContextData) -> None:
    """Refuse samples that leave nothing to estimate an error variance from, where one is to be estimated.

    Parameters
    ----------
    data : samples.

    Raises
    ------
    InputError
        When they are no more than coefficients: the fit would be exact, and its standard errors 0.
    """
    columns, total = 1 + data.predictors.shape[1], float(data.counts.sum())
    if data.outcome_type == "continuous" and data.se_outcome is None and total < columns + 1:
        got = f"{total:g}" if data.weights is None else f"weights, which count rows, that add up to {total:g}"
        raise InputError(f"{columns} coefficients and an error variance need at least {columns + 1} samples; got {got}")


def check_design(design: Float[np.ndarray, "rows columns"], predictor_names: tuple[str, ...]) -> None:
    """Refuse a design whose coefficients cannot be told apart.

    Parameters
    ----------
    design : ones, then predictors.
    predictor_names : of its columns from the second on.

    Raises
    ------
    InputError
        When rows are fewer than columns, or columns depend on each other.
    """
    n, columns = design.shape
    if n < columns:
        raise InputError(f"{columns} coefficients need at least {columns} samples; got {n}")
    size = np.linalg.norm(design, axis=0)
    if (size == 0).any():
        zero = ", ".join(predictor_names[k - 1] for k in np.flatnonzero(size == 0))
        raise InputError(f"a predictor must not be 0 in every sample; {zero} is")
    values = np.linalg.svd(design / size, compute_uv=False)
    if values[-1] < _DEPENDENT * values[0]:
        raise InputError(_dependence(design / size, predictor_names))


def _dependence(design: Float[np.ndarray, "rows columns"], predictor_names: tuple[str, ...]) -> str:
    """Return the sentence that names the predictors that are constant, or the first that depends on those before."""
    spread = np.ptp(design[:, 1:], axis=0)
    flat = [name for name, one in zip(predictor_names, spread, strict=True) if one <= _DEPENDENT]
    if flat:
        return f"predictors must not depend on each other or be constant; {', '.join(flat)} does not vary"
    for k in range(2, design.shape[1]):
        values = np.linalg.svd(design[:, : k + 1], compute_uv=False)
        if values[-1] < _DEPENDENT * values[0]:
            before = ", ".join(predictor_names[: k - 1])
            name = predictor_names[k - 1]
            return f"predictors must not depend on each other; {name} is a sum of multiples of {before} and of 1"
    return f"predictors must not depend on each other or be constant; those of {len(design)} samples do"


def _linear(data: ContextData, design: Float[np.ndarray, "rows columns"]) -> Solved:
    y = data.outcomes[:, 0] - (0.0 if data.offset is None else data.offset[:, 0])
    known = None if data.se_outcome is None else data.se_outcome[:, 0]
    root = np.sqrt(data.counts) / (1.0 if known is None else known)
    q, r = np.linalg.qr(design * root[:, None])
    coefficient = np.linalg.solve(r, q.T @ (y * root))
    residual = y - design @ coefficient
    inverse = np.linalg.inv(r)
    total = float(data.counts.sum())
    # Leaving out a copy of a row, of which there are as many as its weight says.
    leverage = (q**2).sum(axis=1) / data.counts
    left = np.maximum(1 - leverage, 1e-12)
    measures = {"edf": float(design.shape[1]), "loo_mse": float(data.counts @ (residual / left) ** 2 / total)}
    variance = 1.0
    if known is None:
        variance = float(data.counts @ residual**2) / max(total - design.shape[1], 1.0)
        measures["sigma"] = float(np.sqrt(variance))
    return Solved(coefficient=coefficient, covariance=variance * inverse @ inverse.T, measures=measures)


def _logistic(data: ContextData, design: Float[np.ndarray, "rows columns"]) -> Solved:
    y, counts = data.outcomes[:, 0], data.counts
    offset = np.zeros(len(y)) if data.offset is None else data.offset[:, 0]
    coefficient = np.zeros(design.shape[1])
    deviance = np.inf
    for _ in range(_STEPS):
        eta = design @ coefficient + offset
        previous, deviance = deviance, -2 * float(counts @ (y * eta - np.logaddexp(0, eta)))
        p = expit(eta)
        information = design.T @ (design * (counts * p * (1 - p))[:, None])
        if np.abs(eta).max() > _FAR or np.linalg.cond(information) > 1e14:
            raise InputError("outcomes of 0 and of 1 are separated by the predictors: no finite coefficients exist")
        if previous - deviance < _DONE * (abs(deviance) + 1):
            break
        coefficient = coefficient + np.linalg.solve(information, design.T @ (counts * (y - p)))
    covariance = np.linalg.inv(information)
    return Solved(
        coefficient=coefficient, covariance=covariance, measures={"edf": float(len(coefficient)), "deviance": deviance}
    )
