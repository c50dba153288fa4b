"""The second stage of two-stage least squares on many functions: moments, a smooth fit, robust errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from deepmr.individual import IVData
from deepmr.nonlinear.averaging import average_precisions
from deepmr.nonlinear.basis import Terms
from deepmr.nonlinear.first_stage import FirstStage, blocks
from deepmr.nonlinear.moments import summed_squares
from deepmr.nonlinear.smoothing import Group, Smoothed, left_over, smooth


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondStage:
    """Coefficients of a response and their errors.

    Attributes
    ----------
    coefficients : averaged over precisions.
    covariance : robust, with the spread of fits over precisions.
    smoothed : the fit at the most likely precisions, to the outcome less its mean.
    """

    coefficients: Float[np.ndarray, "terms"]
    covariance: Float[np.ndarray, "terms terms"]
    smoothed: Smoothed


@dataclass(frozen=True, slots=True)
class _Design:
    """Columns of a response, as they are and as instruments and covariates let expect them."""

    data: IVData
    fitted: Float[np.ndarray, "samples functions"]
    terms: Terms
    level: float  # of the outcome, which is counted from it: sums of squares lose their digits to a large mean

    def outcome(self, rows: slice) -> Float[np.ndarray, "_"]:
        assert self.data.outcome is not None
        return self.data.outcome[rows] - self.level

    def seen(self, rows: slice) -> Float[np.ndarray, "_ terms"]:
        assert self.data.exposure is not None
        return self.terms(self.data.exposure[rows], self.data.covariates[rows])

    def expected(self, rows: slice) -> Float[np.ndarray, "_ terms"]:
        fitted = self.fitted[rows].copy()
        fitted[:, 0] = 1.0  # the constant is known
        return self.terms.combine(fitted, self.terms.covariates(self.data.covariates[rows]))


@dataclass(frozen=True, slots=True)
class _Moments:
    """Sums over samples of products of columns: E expected, B seen, y the outcome."""

    cross: Float[np.ndarray, "terms terms"]  # E'B
    squares: Float[np.ndarray, "terms terms"]  # E'E
    own: Float[np.ndarray, "terms terms"]  # B'B
    outcome: Float[np.ndarray, "terms"]  # E'y
    seen_outcome: Float[np.ndarray, "terms"]  # B'y
    total: float  # y'y


def solve_second_stage(
    first: IVData, second: IVData, *, terms: Terms, groups: Sequence[Group], stage: FirstStage
) -> SecondStage:
    """Fit the response to the outcome.

    Parameters
    ----------
    first, second : samples of the two stages, the same where there is one sample.
    terms : columns of the response, the first of them 1.
    groups : of its coefficients.
    stage : the first stage.

    Notes
    -----
    X, the columns projected on their expectations, takes their place in least squares, as in two-stage least squares
    with as many instruments as columns. Of two samples the error of the first stage is added: its part of the variance
    of y - X b is b'Vb n2 / n1, with V the variance of the columns about X in the first sample.

    References
    ----------
    Pacini & Windmeijer (2016) doi:10.1016/j.econlet.2016.06.033.
    """
    assert second.outcome is not None
    level = float(np.average(second.outcome, weights=second.weights))
    design = _Design(first, stage.fitted, terms, level)
    of_first = _moments(design)
    project = np.linalg.lstsq(of_first.squares, of_first.cross, rcond=1e-10)[0]
    if stage.second is None:
        gram = _symmetric(of_first.cross.T @ project)
        moment, total = project.T @ of_first.outcome, of_first.total
        residual = left_over(total, of_first.seen_outcome, of_first.own, len(first))
    else:
        other = _Design(second, stage.second, terms, level)
        moments = _moments(other)
        gram = _symmetric(project.T @ moments.squares @ project)
        moment, total = project.T @ moments.outcome, moments.total
        about = (of_first.own - _symmetric(of_first.cross.T @ project)) * (len(second) / len(first)) ** 2
        residual = left_over(total, moment, gram + about, len(second))
    variance = total / len(second)
    found = smooth(gram, moment, groups, residual=residual, variance=variance)
    if stage.second is None:
        meat = _meat(design, project, _left(design, found.coefficients))
    else:
        meat = _meat(other, project, _left(other, project @ found.coefficients, seen=False))
        about_first = _meat(design, project, _about(design, project, found.coefficients))
        meat += about_first * (len(second) / len(first)) ** 2

    def covariance(
        inverse: Float[np.ndarray, "terms terms"], penalty: Float[np.ndarray, "terms"]
    ) -> Float[np.ndarray, "terms terms"]:
        # Of the sampling alone: what smoothing takes away is in the spread of fits that are averaged, and expected
        # squared bias on top of it makes intervals longer than they need be in simulations (docs/iv.md).
        inner = inverse / found.variance
        return inner @ meat @ inner

    curve = [k for k, g in enumerate(groups) if (terms.pairs[g.columns, 1] == 0).all()]
    rest = [[k] for k in range(len(groups)) if k not in curve]
    averaged = average_precisions(
        gram,
        moment,
        groups,
        found,
        together=[one for one in (curve, *rest) if one],
        spread=float(np.sqrt(variance)),
        covariance=covariance,
    )
    coefficients = averaged.coefficients.copy()
    coefficients[0] += level
    return SecondStage(coefficients=coefficients, covariance=averaged.covariance, smoothed=found)


def _moments(design: _Design) -> _Moments:
    data, size = design.data, len(design.terms.pairs)
    cross, squares, own = (np.zeros((size, size)) for _ in range(3))
    outcome, seen_outcome, total = np.zeros(size), np.zeros(size), 0.0
    weights = data.scaled_weights
    for rows in blocks(len(data)):
        expected = design.expected(rows)
        weighted = expected * weights[rows, None]
        squares += weighted.T @ expected
        if data.outcome is not None:
            outcome += weighted.T @ design.outcome(rows)
            total += float(weights[rows] @ design.outcome(rows) ** 2)
        if data.exposure is not None:
            seen = design.seen(rows)
            cross += weighted.T @ seen
            own += (seen * weights[rows, None]).T @ seen
            if data.outcome is not None:
                seen_outcome += seen.T @ (weights[rows] * design.outcome(rows))
    return _Moments(cross, squares, own, outcome, seen_outcome, total)


def _symmetric(matrix: Float[np.ndarray, "terms terms"]) -> Float[np.ndarray, "terms terms"]:
    return (matrix + matrix.T) / 2


def _left(
    design: _Design, coefficients: Float[np.ndarray, "terms"], *, seen: bool = True
) -> Callable[[slice], Float[np.ndarray, "_"]]:
    """Return what coefficients leave of the outcome, a block of samples at a time."""

    def errors(rows: slice) -> Float[np.ndarray, "_"]:
        columns = design.seen(rows) if seen else design.expected(rows)
        return design.outcome(rows) - columns @ coefficients

    return errors


def _about(
    design: _Design, project: Float[np.ndarray, "terms terms"], coefficients: Float[np.ndarray, "terms"]
) -> Callable[[slice], Float[np.ndarray, "_"]]:
    """Return the error of the first stage in the unit of the outcome, a block of samples at a time."""

    def errors(rows: slice) -> Float[np.ndarray, "_"]:
        return (design.seen(rows) - design.expected(rows) @ project) @ coefficients

    return errors


def _meat(
    design: _Design, project: Float[np.ndarray, "terms terms"], errors: Callable[[slice], Float[np.ndarray, "_"]]
) -> Float[np.ndarray, "terms terms"]:
    """Sum squares of the moments' errors over samples, or over clusters of them."""
    weights = design.data.scaled_weights

    def scores(rows: slice) -> Float[np.ndarray, "_ terms"]:
        return (design.expected(rows) @ project) * (errors(rows) * weights[rows])[:, None]

    return summed_squares(scores, len(design.data), clusters=design.data.clusters)
