"""The second stage for any columns: coefficients by two-stage least squares, shrunk by groups, with robust errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from deepmr.errors import InputError
from deepmr.nonlinear.averaging import average_precisions
from deepmr.nonlinear.smoothing import Group, Smoothed, left_over, smooth
from deepmr.nonlinear.strength import score_covariance

_BIAS_SHARE = 0.5  # of the expected squared bias of shrinkage in intervals


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Columns of a response over one sample.

    Attributes
    ----------
    expected : what instruments and covariates say of each column; of a sample, by what was learned from others.
    seen : the columns themselves, or None in a sample without the exposure.
    weights : of samples, with mean 1.
    clusters : of samples, or None.
    """

    expected: Float[np.ndarray, "samples terms"]
    seen: Float[np.ndarray, "samples terms"] | None
    weights: Float[np.ndarray, "samples"]
    clusters: Int[np.ndarray, "samples"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SolvedFeatures:
    """Coefficients of columns and their errors.

    Attributes
    ----------
    coefficients : averaged over how much they may be shrunk.
    covariance : robust, by cluster where there are clusters, with what shrinkage may take away.
    smoothed : the fit at the most likely shrinkage.
    """

    coefficients: Float[np.ndarray, "terms"]
    covariance: Float[np.ndarray, "terms terms"]
    smoothed: Smoothed


@dataclass(frozen=True, slots=True)
class _Equations:
    """G b = g, with what they shrink by."""

    gram: Float[np.ndarray, "terms terms"]
    moment: Float[np.ndarray, "terms"]
    groups: Sequence[Group]
    variance: float  # of the outcome

    def smooth(self, residual: Callable[[Float[np.ndarray, "terms"]], float]) -> Smoothed:
        return smooth(self.gram, self.moment, self.groups, residual=residual, variance=self.variance)


def solve_features(
    columns: Columns,
    outcome: Float[np.ndarray, "samples"],
    groups: Sequence[Group],
    *,
    first: Columns | None = None,
) -> SolvedFeatures:
    """Estimate the coefficients of columns F that solve P'(y - F b) = 0, with P what is expected of them.

    Parameters
    ----------
    columns : of the samples with the outcome.
    outcome : of these.
    groups : coefficients that shrink towards 0, each group averaged over how much (`averaging`).
    first : columns of the samples with the exposure, where those are others; then P'(y - P b) = 0 is solved.

    Raises
    ------
    InputError
        When the equations have no finite solution.

    Notes
    -----
    The covariance is the sandwich. In two samples, the error of the first stage is in it: residuals F b - P b of the
    first sample, with its own size, as in two-sample two-stage least squares (Inoue & Solon). The columns count as
    given: that they may have been learned from the same outcomes is not in it.

    References
    ----------
    Inoue & Solon (2010) doi:10.1162/REST_a_00011.
    """
    solved = _one_sample(columns, outcome, groups) if first is None else _two_samples(columns, outcome, groups, first)
    if not (np.isfinite(solved.coefficients).all() and np.isfinite(solved.covariance).all()):
        size = len(solved.coefficients)
        raise InputError(f"the equations of {size} coefficients have no finite solution; fewer features may help")
    return solved


def _one_sample(columns: Columns, outcome: Float[np.ndarray, "samples"], groups: Sequence[Group]) -> SolvedFeatures:
    assert columns.seen is not None
    seen, weighted = columns.seen, columns.expected * columns.weights[:, None]
    project = np.linalg.lstsq(weighted.T @ columns.expected, weighted.T @ seen, rcond=1e-10)[0]
    gram = (weighted.T @ seen).T @ project
    equations = _Equations(
        (gram + gram.T) / 2, project.T @ (weighted.T @ outcome), groups, _variance(outcome, columns.weights)
    )
    found = equations.smooth(_residual(seen, outcome, columns.weights))
    errors = (outcome - seen @ found.coefficients) * columns.weights
    return _solved(equations, found, score_covariance((columns.expected @ project) * errors[:, None], columns.clusters))


def _two_samples(
    columns: Columns, outcome: Float[np.ndarray, "samples"], groups: Sequence[Group], first: Columns
) -> SolvedFeatures:
    assert first.seen is not None
    expected, weighted = columns.expected, columns.expected * columns.weights[:, None]
    equations = _Equations(weighted.T @ expected, weighted.T @ outcome, groups, _variance(outcome, columns.weights))
    of_second, about = _residual(expected, outcome, columns.weights), first.seen - first.expected
    missed = (about * first.weights[:, None]).T @ about * len(outcome) / len(about) ** 2
    found = equations.smooth(lambda b: of_second(b) + float(b @ missed @ b))
    b = found.coefficients
    meat = score_covariance(expected * ((outcome - expected @ b) * columns.weights)[:, None], columns.clusters)
    errors = (about @ b) * first.weights * (len(outcome) / len(about))
    return _solved(equations, found, meat + score_covariance(first.expected * errors[:, None], first.clusters))


def _residual(
    columns: Float[np.ndarray, "samples terms"],
    outcome: Float[np.ndarray, "samples"],
    weights: Float[np.ndarray, "samples"],
) -> Callable[[Float[np.ndarray, "terms"]], float]:
    """Return the mean squared error of coefficients, from sums made once."""
    weighted = columns * weights[:, None]
    gram, crossed = weighted.T @ columns, weighted.T @ outcome
    total, n = float(weights @ outcome**2), float(weights.sum())
    return left_over(total, crossed, gram, n)


def _variance(outcome: Float[np.ndarray, "samples"], weights: Float[np.ndarray, "samples"]) -> float:
    return float(np.average((outcome - np.average(outcome, weights=weights)) ** 2, weights=weights))


def _solved(equations: _Equations, found: Smoothed, meat: Float[np.ndarray, "terms terms"]) -> SolvedFeatures:
    def covariance(
        inverse: Float[np.ndarray, "terms terms"], penalty: Float[np.ndarray, "terms"]
    ) -> Float[np.ndarray, "terms terms"]:
        inner = inverse / found.variance
        return inner @ meat @ inner + _BIAS_SHARE * inverse @ (penalty[:, None] * inverse)

    averaged = average_precisions(
        equations.gram,
        equations.moment,
        equations.groups,
        found,
        together=[[k] for k in range(len(equations.groups))],
        spread=float(np.sqrt(equations.variance)),
        covariance=covariance,
    )
    return SolvedFeatures(coefficients=averaged.coefficients, covariance=averaged.covariance, smoothed=found)
