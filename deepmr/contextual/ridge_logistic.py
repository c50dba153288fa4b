"""Penalised logistic regression by Newton's method, its penalty by approximate leave-one-out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit

from deepmr.contexts import ContextData
from deepmr.errors import InputError

_STEPS, _DONE = 50, 1e-12  # of Newton's method: at most, and the relative fall of the objective that ends it
_FAR = 30.0  # log odds beyond which a probability is 0 or 1 in float64
_OWN = 1e-8  # share of itself that a row may still not explain, below which it cannot be left out
_BETTER = 1e-6  # relative fall of the criterion that a higher degree must bring


@dataclass(frozen=True, slots=True, kw_only=True)
class Logistic:
    """The chosen regression.

    Attributes
    ----------
    degree, penalty : the chosen ones.
    coefficient : of constants, then of varying columns.
    covariance : inverse of the penalised information, a normal approximation of the posterior.
    measures : `alo_log_loss`, mean of -log p of rows left out approximately; `edf`, `deviance`, degree and penalty.
    """

    degree: int
    penalty: float
    coefficient: Float[np.ndarray, "coefficients"]
    covariance: Float[np.ndarray, "coefficients coefficients"]
    measures: Mapping[str, float]


def choose_logistic(
    data: ContextData,
    constants: Float[np.ndarray, "samples constants"],
    designs: Mapping[int, Float[np.ndarray, "samples _"]],
    penalty: float | None,
) -> Logistic:
    """Fit every degree and penalty, and keep the one whose left-out rows are most likely.

    Parameters
    ----------
    data : samples of one binary outcome.
    constants : columns that are not penalised.
    designs : varying columns of each degree.
    penalty : the only one to use; None to choose.

    Raises
    ------
    InputError
        When no penalty has finite coefficients.
    """
    best: Logistic | None = None
    score = np.inf
    for degree, varying in designs.items():
        columns = np.column_stack([constants, varying])
        size = 0.25 * float((data.counts @ columns**2).sum()) / columns.shape[1]
        grid = size * 10.0 ** np.arange(3, -4.5, -0.5) if varying.shape[1] else np.zeros(1)
        start = np.zeros(columns.shape[1])
        for one in grid if penalty is None else [float(penalty)]:
            ridge = np.concatenate([np.zeros(constants.shape[1]), np.full(varying.shape[1], one)])
            found = newton(data, columns, ridge, start)
            if found is None:
                break  # smaller penalties leave coefficients still larger
            start = found
            made = _describe(data, columns, ridge, found, degree)
            loss = made.measures["alo_log_loss"]
            if best is None or loss < score * (1 - _BETTER):
                best, score = made, loss
    if best is None:
        raise InputError("outcomes of 0 and of 1 are separated: no finite coefficients exist; raise the penalty")
    return best


def newton(
    data: ContextData,
    columns: Float[np.ndarray, "samples coefficients"],
    ridge: Float[np.ndarray, "coefficients"],
    start: Float[np.ndarray, "coefficients"],
) -> Float[np.ndarray, "coefficients"] | None:
    """Maximise the penalised likelihood; None where coefficients run away.

    Parameters
    ----------
    data : samples of one binary outcome.
    columns : of the design.
    ridge : penalty on half the square of each coefficient.
    start : where to begin.
    """
    y, counts, offset = data.outcomes[:, 0], data.counts, _offset(data)

    def objective(at: Float[np.ndarray, "coefficients"]) -> tuple[float, Float[np.ndarray, "samples"]]:
        eta = columns @ at + offset
        return float(counts @ (np.logaddexp(0, eta) - y * eta) + 0.5 * ridge @ at**2), eta

    at = start
    value, eta = objective(at)
    for _ in range(_STEPS):
        p = expit(eta)
        information = columns.T @ (columns * (counts * p * (1 - p))[:, None]) + np.diag(ridge)
        slope = columns.T @ (counts * (y - p)) - ridge * at
        try:
            step = np.linalg.solve(information, slope)
        except np.linalg.LinAlgError:
            return None
        for shorter in 0.5 ** np.arange(12):
            ahead, found = objective(at + shorter * step)
            if ahead <= value:
                break
        else:
            return at
        at, eta = at + shorter * step, found
        if np.abs(eta - offset).max() > _FAR:
            return None
        if value - ahead <= _DONE * (abs(ahead) + 1):
            return at
        value = ahead
    return at


def leave_out_approximately(
    eta: Float[np.ndarray, "samples"],
    y: Float[np.ndarray, "samples"],
    counts: Float[np.ndarray, "samples"],
    half: Float[np.ndarray, "samples coefficients"],
    groups: Int[np.ndarray, "samples"] | None = None,
) -> Float[np.ndarray, "samples"] | None:
    """Return log odds of each row by one Newton step of the fit without it; None where a row explains itself.

    Parameters
    ----------
    eta : log odds of the fit.
    y : 0 or 1.
    counts : how many rows each stands for; one of them is left out.
    half : design times a root of the inverse of the penalised information, so that half half' is its hat matrix.
    groups : number of each row's group, which is left out whole.

    Notes
    -----
    With H = X (X'WX + penalty)^-1 X' and w = p (1 - p), eta_i - H_ii (y_i - p_i) / (1 - w_i H_ii), and for groups the
    same in blocks.

    References
    ----------
    Rahnama Rad K, Maleki A (2020). J R Stat Soc B 82:965. doi:10.1111/rssb.12374
    """
    p = expit(eta)
    w, gap = p * (1 - p), y - p
    if groups is None:
        hat = (half**2).sum(axis=1)
        left = 1 - w * hat
        return eta - hat * gap / left if left.min() > _OWN else None
    made = eta.copy()
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        own = half[rows]
        inner = np.eye(own.shape[1]) - own.T @ (own * (counts * w)[rows, None])
        if np.linalg.eigvalsh(inner)[0] < _OWN:
            return None
        made[rows] -= own @ np.linalg.solve(inner, own.T @ (counts * gap)[rows])
    return made


def _describe(
    data: ContextData,
    columns: Float[np.ndarray, "samples coefficients"],
    ridge: Float[np.ndarray, "coefficients"],
    at: Float[np.ndarray, "coefficients"],
    degree: int,
) -> Logistic:
    y, counts = data.outcomes[:, 0], data.counts
    eta = columns @ at + _offset(data)
    p = expit(eta)
    weight = counts * p * (1 - p)
    values, vectors = np.linalg.eigh(columns.T @ (columns * weight[:, None]) + np.diag(ridge))
    root = vectors / np.sqrt(np.maximum(values, 1e-12 * values[-1]))
    half = columns @ root
    left = leave_out_approximately(eta, y, counts, half, data.groups)
    loss = np.inf if left is None else float(counts @ (np.logaddexp(0, left) - y * left) / counts.sum())
    penalty = float(ridge[-1])
    return Logistic(
        degree=degree,
        penalty=penalty,
        coefficient=at,
        covariance=root @ root.T,
        measures={
            "degree": float(degree),
            "penalty": penalty,
            "edf": float(weight @ (half**2).sum(axis=1)),
            "deviance": 2 * float(counts @ (np.logaddexp(0, eta) - y * eta)),
            "alo_log_loss": loss,
        },
    )


def _offset(data: ContextData) -> Float[np.ndarray, "samples"]:
    return np.zeros(len(data)) if data.offset is None else data.offset[:, 0]
