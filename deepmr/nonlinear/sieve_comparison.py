"""Whether a control function and the sieve draw the same curve."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from deepmr.individual import IVData
from deepmr.nonlinear.controlled import Controlled
from deepmr.nonlinear.first_stage import FirstStage, blocks
from deepmr.nonlinear.moments import remembered, summed_squares
from deepmr.nonlinear.smoothing import invert

_POINTS = 20
_DRAWS = 4000
_TOLERANCE = 0.25  # share of the control function's variance that a difference does not count within


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Control function minus sieve, averaged over covariates, in the central 95 % of the exposure.

    Attributes
    ----------
    pvalue : of the two curves being the same.
    difference, se, at : where they differ most, in standard errors.
    effect, effect_se : difference of the effects of moving the exposure from its lower to its upper quartile.
    """

    pvalue: float
    difference: float
    se: float
    at: float
    effect: float
    effect_se: float


def compare_curves(data: IVData, found: Controlled, *, stage: FirstStage, seed: int) -> Comparison:
    """Test whether the curves of a control function and of the sieve are the same.

    Parameters
    ----------
    data : the sample, of both stages.
    found : the control function.
    stage : the first stage, shared by both.
    seed : of the draws.

    Notes
    -----
    After Hausman: where its assumption holds, the control function is the more precise of two consistent curves; the
    sieve is consistent either way. Here the sieve starts from the control function's curve b, as smooth as this is, so
    that shrinkage of its own is no part of the difference: d = (Psi'Psi + P)^-1 Psi'(y - B b), with Psi the expectation
    of the columns B given instruments. Its covariance is the sandwich of both influences together, and a quarter of the
    control function's own: where confounding is nearly linear in the residual both curves are nearly the same numbers,
    and the little in which they differ is of the size of what either is biased by in a finite sample. The P value is
    that of the largest difference on a grid, in standard errors, among draws of a normal variable with that covariance.

    References
    ----------
    Hausman (1978) doi:10.2307/1913827.
    """
    assert data.exposure is not None
    sieve = _Sieve(data, found, stage)
    quartiles = np.quantile(data.exposure, [0.25, 0.75])
    low, high = np.quantile(data.exposure, [0.025, 0.975])
    points = np.linspace(low, high, _POINTS)
    terms, weights = found.design.terms, data.scaled_weights
    mean = np.zeros(terms.covariates.size)
    for rows in blocks(len(data)):
        mean += weights[rows] @ terms.covariates(data.covariates[rows]) / len(data)
    curve, ends = terms.average(points, mean), terms.average(quartiles, mean)
    contrasts = np.vstack([curve, ends[1:] - ends[:1]])
    size = found.design.n_response
    moved = contrasts @ sieve.inner @ sieve.cross
    covariance = (
        summed_squares(lambda rows: sieve.contributions(rows, contrasts.T), len(data), clusters=data.clusters)
        + moved @ found.smoothing_bias[:size, :size] @ moved.T
    )
    covariance += _TOLERANCE * contrasts @ found.covariance[:size, :size] @ contrasts.T
    difference = -contrasts @ sieve.move
    se = np.sqrt(np.maximum(np.diagonal(covariance), 1e-300))
    sizes = np.abs(difference / se)[:_POINTS]
    largest = int(sizes.argmax())
    return Comparison(
        pvalue=_largest_pvalue(sizes[largest], covariance[:_POINTS, :_POINTS], seed),
        difference=float(difference[largest]),
        se=float(se[largest]),
        at=float(points[largest]),
        effect=float(difference[-1]),
        effect_se=float(se[-1]),
    )


def _largest_pvalue(largest: float, covariance: Float[np.ndarray, "points points"], seed: int) -> float:
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    se = np.sqrt(np.maximum(np.diagonal(covariance), 1e-300))
    draws = np.random.default_rng(seed).standard_normal((_DRAWS, len(values))) @ root.T
    above = int((np.abs(draws / se).max(axis=1) >= largest).sum())
    return (1 + above) / (1 + _DRAWS)


class _Sieve:
    """What the sieve's equations say of a curve: by how much it would have to move, and each sample's part in that."""

    def __init__(self, data: IVData, found: Controlled, stage: FirstStage) -> None:
        self.data, self.found, self.fitted = data, found, stage.fitted
        self.terms, self.weights = found.design.terms, data.scaled_weights
        width = len(self.terms.pairs)
        self.curve = found.smoothed.coefficients[:width]
        self.expected = remembered(self._expected, len(data))
        self.cross, squares, moment = np.zeros((width, width)), np.zeros((width, width)), np.zeros(width)
        for rows in blocks(len(data)):
            expected = self.expected(rows)
            weighted = expected * self.weights[rows, None]
            self.cross += weighted.T @ self.seen(rows)
            squares += weighted.T @ expected
            moment += weighted.T @ self.errors(rows)
        variance, penalty = found.smoothed.variance, found.smoothed.penalty[:width]
        self.inner = invert(squares / variance, penalty) / variance
        self.move = self.inner @ moment

    def seen(self, rows: slice) -> Float[np.ndarray, "_ terms"]:
        return self.found.design(rows)[:, : len(self.curve)]

    def _expected(self, rows: slice) -> Float[np.ndarray, "_ terms"]:
        fitted = self.fitted[rows].copy()
        fitted[:, 0] = 1.0
        return self.terms.combine(fitted, self.terms.covariates(self.data.covariates[rows]))

    def errors(self, rows: slice) -> Float[np.ndarray, "_"]:
        assert self.data.outcome is not None
        return self.data.outcome[rows] - self.seen(rows) @ self.curve

    def contributions(self, rows: slice, directions: Float[np.ndarray, "terms _"]) -> Float[np.ndarray, "_ directions"]:
        """Return what samples contribute to the error of directions of the move."""
        size = len(self.curve)
        own = (self.expected(rows) * (self.errors(rows) * self.weights[rows])[:, None]) @ (self.inner @ directions)
        curve = self.found.inner[:, :size] @ (self.cross.T @ (self.inner @ directions))
        return own - self.found.moments(rows) @ curve
