"""How smooth a response is, learned from the data: many coefficients, shrunk by groups towards a line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve

_WEAKEST, _STRONGEST = 1e-8, 1e8  # precision of a group's coefficients, relative to that of the noise
_STEP = 20.0  # most by which a precision changes in one step
_ROUNDS = 100
_SAME = 1e-3  # relative change of all precisions that ends the search


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Coefficients that share a variance: each is normal about 0 with that variance, divided by its weight.

    Attributes
    ----------
    columns : which they are.
    weights : relative precision of each, such as the roughness of its function.
    """

    columns: Int[np.ndarray, "columns"]
    weights: Float[np.ndarray, "columns"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothed:
    """Coefficients after shrinkage.

    Attributes
    ----------
    coefficients : their posterior mean.
    inverse : inverse of the penalised information, G / variance + penalty: the posterior covariance.
    penalty : diagonal of the prior precision.
    variance : of the noise.
    precisions : of the groups.
    effective : degrees of freedom that each group uses.
    """

    coefficients: Float[np.ndarray, "terms"]
    inverse: Float[np.ndarray, "terms terms"]
    penalty: Float[np.ndarray, "terms"]
    variance: float
    precisions: Float[np.ndarray, "groups"]
    effective: Float[np.ndarray, "groups"]


def smooth(
    gram: Float[np.ndarray, "terms terms"],
    moment: Float[np.ndarray, "terms"],
    groups: Sequence[Group],
    *,
    residual: Callable[[Float[np.ndarray, "terms"]], float],
    variance: float,
    precisions: Float[np.ndarray, "groups"] | None = None,
) -> Smoothed:
    """Estimate coefficients of G b = g, with the variance of each group of them chosen by marginal likelihood.

    Parameters
    ----------
    gram, moment : G and g; the error of g has covariance variance * G.
    groups : coefficients that are shrunk; those in none are free.
    residual : variance of the noise, given coefficients.
    variance : where the search for it starts.
    precisions : of the groups, where they are given rather than learned.

    Notes
    -----
    Precisions move by the generalised Fellner-Schall step of Wood & Fasiolo, p <- p (r / p - tr(W H^-1)) / b'Wb with H
    the penalised information, r the number of coefficients and W their weights, which increases the restricted
    likelihood. It needs the likelihood to be that of a normal outcome, roughly; the estimate is a generalised ridge
    estimate whatever the distribution.

    References
    ----------
    Wood & Fasiolo (2017) doi:10.1111/biom.12666.
    """
    terms = len(moment)
    scale = max(float(np.trace(gram)) / terms / variance, 1e-300)  # precisions are searched relative to this
    chosen = np.full(len(groups), 1e-3) if precisions is None else np.asarray(precisions) / scale
    for _ in range(_ROUNDS):
        penalty = _penalty(groups, chosen * scale, terms)
        inverse = invert(gram / variance, penalty)
        coefficients = inverse @ (moment / variance)
        left = residual(coefficients)
        if precisions is not None:
            moved = chosen
        else:
            moved = np.array([_step(p, g, coefficients, inverse, scale) for p, g in zip(chosen, groups, strict=True)])
        still = np.abs(left / variance - 1) < _SAME and bool(np.all(np.abs(np.log(moved / chosen)) < _SAME))
        variance, chosen = left, moved
        if still:
            break
    penalty = _penalty(groups, chosen * scale, terms)
    inverse = invert(gram / variance, penalty)
    share = np.einsum("ij,ji->i", inverse, gram / variance)
    return Smoothed(
        coefficients=inverse @ (moment / variance),
        inverse=inverse,
        penalty=penalty,
        variance=variance,
        precisions=chosen * scale,
        effective=np.array([share[g.columns].sum() for g in groups]),
    )


def left_over(
    total: float, moment: Float[np.ndarray, "terms"], gram: Float[np.ndarray, "terms terms"], n: int | float
) -> Callable[[Float[np.ndarray, "terms"]], float]:
    """Return the mean square that coefficients leave of an outcome, as `smooth` asks for it, from sums made once.

    Parameters
    ----------
    total : sum of squares of the outcome.
    moment, gram : products of the columns with the outcome and with each other.
    n : samples, or the sum of their weights.
    """

    def residual(coefficients: Float[np.ndarray, "terms"]) -> float:
        left = total - 2 * float(coefficients @ moment) + float(coefficients @ gram @ coefficients)
        return max(left, 1e-12 * total) / n

    return residual


def _penalty(
    groups: Sequence[Group], precisions: Float[np.ndarray, "groups"], terms: int
) -> Float[np.ndarray, "terms"]:
    penalty = np.zeros(terms)
    for group, precision in zip(groups, precisions, strict=True):
        penalty[group.columns] += precision * group.weights
    return penalty


def invert(
    information: Float[np.ndarray, "terms terms"], penalty: Float[np.ndarray, "terms"]
) -> Float[np.ndarray, "terms terms"]:
    """Invert information + penalty, scaled to a unit diagonal first: penalties differ by many orders of size.

    Parameters
    ----------
    information : a Gram matrix.
    penalty : added to its diagonal.
    """
    full = information + np.diag(penalty)
    root = 1 / np.sqrt(np.maximum(np.diagonal(full), 1e-300))
    scaled = full * root[:, None] * root
    factor = cho_factor(scaled + 1e-11 * np.eye(len(scaled)))
    return cho_solve(factor, np.eye(len(scaled))) * root[:, None] * root


def _step(
    precision: float,
    group: Group,
    coefficients: Float[np.ndarray, "terms"],
    inverse: Float[np.ndarray, "terms terms"],
    scale: float,
) -> float:
    unexplained = len(group.columns) / (precision * scale) - group.weights @ np.diagonal(inverse)[group.columns]
    size = group.weights @ coefficients[group.columns] ** 2
    factor = np.clip(max(unexplained, 1e-300) / max(size, 1e-300), 1 / _STEP, _STEP)
    return float(np.clip(precision * factor, _WEAKEST, _STRONGEST))
