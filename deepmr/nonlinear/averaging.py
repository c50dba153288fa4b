"""Uncertainty about how smooth a response is: fits averaged over the precisions that the data leave possible."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve

from deepmr.nonlinear.smoothing import Group, Smoothed

_SPREADS = np.geomspace(0.003, 10.0, 12)  # of coefficients, relative to that of the outcome: all are as likely
Covariance = Callable[[Float[np.ndarray, "terms terms"], Float[np.ndarray, "terms"]], Float[np.ndarray, "terms terms"]]
_NEGLIGIBLE = 1e-3  # share of a precision in the average below which it is left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Averaged:
    """Coefficients averaged over precisions.

    Attributes
    ----------
    coefficients : their mean.
    covariance : mean of the covariances, and covariance of the means.
    """

    coefficients: Float[np.ndarray, "terms"]
    covariance: Float[np.ndarray, "terms terms"]


def average_precisions(
    gram: Float[np.ndarray, "terms terms"],
    moment: Float[np.ndarray, "terms"],
    groups: Sequence[Group],
    smoothed: Smoothed,
    *,
    together: Sequence[Sequence[int]],
    spread: float,
    covariance: Covariance,
) -> Averaged:
    """Average fits over the precisions of groups of coefficients, weighted by their marginal likelihood.

    Parameters
    ----------
    gram, moment : as for `smoothing.smooth`.
    groups : of coefficients.
    smoothed : the fit at the most likely precisions.
    together : groups whose precisions vary together, on a grid of all combinations; those of others stay as they are.
    spread : standard deviation of the outcome, the unit of the grid.
    covariance : of the coefficients, given the inverse of the penalised information and the penalty.

    Notes
    -----
    The standard deviation of a group's coefficients is as likely a priori at every point of a grid on the log scale,
    from 0.003 of that of the outcome, a response about as straight as the data can tell, to 10 times it. A lower end
    makes straight responses cheaper and intervals of slight bends too short. What each set of groups does to the mean
    and to the covariance is added up.
    """
    terms = len(moment)
    information, score = gram / smoothed.variance, moment / smoothed.variance
    start = covariance(smoothed.inverse, smoothed.penalty)
    mean, total = smoothed.coefficients.copy(), start.copy()
    for some in together:
        fits = _fits(information, score, [groups[k] for k in some], smoothed.penalty, spread)
        weights = np.exp(np.array([fit.evidence for fit in fits]) - max(fit.evidence for fit in fits))
        kept = np.flatnonzero(weights > _NEGLIGIBLE * weights.sum())
        weights = weights[kept] / weights[kept].sum()
        centre = weights @ np.array([fits[k].coefficients for k in kept])
        between = np.array([fits[k].coefficients - centre for k in kept]) * np.sqrt(weights)[:, None]
        mean += centre - smoothed.coefficients
        total += between.T @ between - start
        for weight, k in zip(weights, kept, strict=True):
            root, factor = fits[k].root, fits[k].factor
            inverse = cho_solve(factor, np.eye(terms)) * root[:, None] * root
            total += weight * covariance(inverse, fits[k].penalty)
    values, vectors = np.linalg.eigh((total + total.T) / 2)
    return Averaged(coefficients=mean, covariance=(vectors * np.clip(values, 0, None)) @ vectors.T)


@dataclass(frozen=True, slots=True)
class _Fit:
    coefficients: Float[np.ndarray, "terms"]
    penalty: Float[np.ndarray, "terms"]
    evidence: float  # logarithm of the marginal likelihood, but for a constant
    factor: tuple[Float[np.ndarray, "terms terms"], bool]
    root: Float[np.ndarray, "terms"]


def _fits(
    information: Float[np.ndarray, "terms terms"],
    score: Float[np.ndarray, "terms"],
    groups: Sequence[Group],
    penalty: Float[np.ndarray, "terms"],
    spread: float,
) -> list[_Fit]:
    """Fit at every combination of spreads of these groups' coefficients."""
    found = []
    for spreads in product(_SPREADS, repeat=len(groups)):
        changed, evidence = penalty.copy(), 0.0
        for group, one in zip(groups, spreads, strict=True):
            precision = 1 / (one * spread) ** 2
            changed[group.columns] = precision * group.weights
            evidence += len(group.columns) * np.log(precision) / 2
        full = information + np.diag(changed)
        root = 1 / np.sqrt(np.maximum(np.diagonal(full), 1e-300))
        factor = cho_factor(full * root[:, None] * root + 1e-11 * np.eye(len(full)))
        coefficients = cho_solve(factor, score * root) * root
        evidence += float(np.log(root).sum() - np.log(np.diagonal(factor[0])).sum() + score @ coefficients / 2)
        found.append(_Fit(coefficients, changed, evidence, factor, root))
    return found
