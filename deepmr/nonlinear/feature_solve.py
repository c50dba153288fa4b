"""The second stage for any columns: coefficients by two-stage least squares, shrunk by groups, with robust errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from deepmr.errors import InputError
from deepmr.nonlinear.smoothing import Group, Smoothed, smooth


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
    smoothed : the coefficients.
    covariance : robust, by cluster where there are clusters, with the expected squared bias of shrinkage.
    """

    smoothed: Smoothed
    covariance: Float[np.ndarray, "terms terms"]


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
    groups : coefficients that shrink towards 0, each group as the marginal likelihood asks for.
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
    if not (np.isfinite(solved.smoothed.coefficients).all() and np.isfinite(solved.covariance).all()):
        size = len(solved.smoothed.coefficients)
        raise InputError(f"the equations of {size} coefficients have no finite solution; fewer features may help")
    return solved


def _one_sample(columns: Columns, outcome: Float[np.ndarray, "samples"], groups: Sequence[Group]) -> SolvedFeatures:
    assert columns.seen is not None
    seen, weighted = columns.seen, columns.expected * columns.weights[:, None]
    project = np.linalg.lstsq(weighted.T @ columns.expected, weighted.T @ seen, rcond=1e-10)[0]
    gram = (weighted.T @ seen).T @ project
    found = smooth(
        (gram + gram.T) / 2,
        project.T @ (weighted.T @ outcome),
        groups,
        residual=_Residual(seen, outcome, columns.weights),
        variance=_variance(outcome, columns.weights),
    )
    errors = (outcome - seen @ found.coefficients) * columns.weights
    return _solved(found, _meat((columns.expected @ project) * errors[:, None], columns.clusters))


def _two_samples(
    columns: Columns, outcome: Float[np.ndarray, "samples"], groups: Sequence[Group], first: Columns
) -> SolvedFeatures:
    assert first.seen is not None
    expected, weighted = columns.expected, columns.expected * columns.weights[:, None]
    found = smooth(
        weighted.T @ expected,
        weighted.T @ outcome,
        groups,
        residual=_Residual(expected, outcome, columns.weights),
        variance=_variance(outcome, columns.weights),
    )
    b = found.coefficients
    meat = _meat(expected * ((outcome - expected @ b) * columns.weights)[:, None], columns.clusters)
    missed = ((first.seen - first.expected) @ b) * first.weights * (len(outcome) / len(first.seen))
    return _solved(found, meat + _meat(first.expected * missed[:, None], first.clusters))


class _Residual:
    """Mean squared error of coefficients, from sums made once."""

    def __init__(
        self,
        columns: Float[np.ndarray, "samples terms"],
        outcome: Float[np.ndarray, "samples"],
        weights: Float[np.ndarray, "samples"],
    ) -> None:
        weighted = columns * weights[:, None]
        self.gram, self.moment = weighted.T @ columns, weighted.T @ outcome
        self.total, self.n = float(weights @ outcome**2), float(weights.sum())

    def __call__(self, coefficients: Float[np.ndarray, "terms"]) -> float:
        """Return it."""
        left = self.total - 2 * float(coefficients @ self.moment) + float(coefficients @ self.gram @ coefficients)
        return max(left, 1e-12 * self.total) / self.n


def _variance(outcome: Float[np.ndarray, "samples"], weights: Float[np.ndarray, "samples"]) -> float:
    return float(np.average((outcome - np.average(outcome, weights=weights)) ** 2, weights=weights))


def _meat(
    scores: Float[np.ndarray, "samples terms"], clusters: Int[np.ndarray, "samples"] | None
) -> Float[np.ndarray, "terms terms"]:
    if clusters is None:
        return scores.T @ scores
    _, number = np.unique(clusters, return_inverse=True)
    sums = np.zeros((int(number.max()) + 1, scores.shape[1]))
    np.add.at(sums, number, scores)
    return sums.T @ sums * len(sums) / max(len(sums) - 1, 1)


def _solved(found: Smoothed, meat: Float[np.ndarray, "terms terms"]) -> SolvedFeatures:
    inner = found.inverse / found.variance
    covariance = inner @ meat @ inner + found.inverse @ (found.penalty[:, None] * found.inverse)
    return SolvedFeatures(smoothed=found, covariance=covariance)
