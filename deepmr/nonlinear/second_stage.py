"""The second stage of two-stage least squares on many functions: moments, a smooth fit, robust errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from deepmr.individual import IVData
from deepmr.nonlinear.averaging import average_precisions
from deepmr.nonlinear.basis import Terms
from deepmr.nonlinear.first_stage import FirstStage, blocks
from deepmr.nonlinear.smoothing import Group, Smoothed, smooth


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondStage:
    """Coefficients of a response and their errors.

    Attributes
    ----------
    coefficients : averaged over precisions.
    covariance : robust, with the spread of fits over precisions.
    smoothed : the fit at the most likely precisions.
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
    terms : columns of the response.
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
    design = _Design(first, stage.fitted, terms)
    of_first = _moments(design, first)
    project = np.linalg.lstsq(of_first.squares, of_first.cross, rcond=1e-10)[0]
    if stage.second is None:
        gram = _symmetric(of_first.cross.T @ project)
        moment, weights = project.T @ of_first.outcome, first.scaled_weights
        residual = _residual(of_first.total, of_first.seen_outcome, of_first.own, len(first))
    else:
        other = _Design(second, stage.second, terms)
        moments = _moments(other, second)
        gram = _symmetric(project.T @ moments.squares @ project)
        moment, weights = project.T @ moments.outcome, second.scaled_weights
        about = (of_first.own - _symmetric(of_first.cross.T @ project)) * (len(second) / len(first)) ** 2
        residual = _residual(moments.total, moment, gram + about * len(first) / len(second), len(second))
    assert second.outcome is not None
    level = np.average(second.outcome, weights=weights)
    variance = float(np.average((second.outcome - level) ** 2, weights=weights))
    found = smooth(gram, moment, groups, residual=residual, variance=variance)
    if stage.second is None:
        meat = _meat(design, project, _left(design, second, found.coefficients), first)
    else:
        expected = _left(other, second, project @ found.coefficients, seen=False)
        meat = _meat(other, project, expected, second)
        meat += (
            _meat(design, project, _about(design, project, found.coefficients), first) * (len(second) / len(first)) ** 2
        )

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
    return SecondStage(coefficients=averaged.coefficients, covariance=averaged.covariance, smoothed=found)


def _moments(design: _Design, data: IVData) -> _Moments:
    size = len(design.terms.pairs)
    cross, squares, own = (np.zeros((size, size)) for _ in range(3))
    outcome, seen_outcome, total = np.zeros(size), np.zeros(size), 0.0
    weights = data.scaled_weights
    for rows in blocks(len(data)):
        expected = design.expected(rows)
        weighted = expected * weights[rows, None]
        squares += weighted.T @ expected
        if data.outcome is not None:
            outcome += weighted.T @ data.outcome[rows]
            total += float(weights[rows] @ data.outcome[rows] ** 2)
        if data.exposure is not None:
            seen = design.seen(rows)
            cross += weighted.T @ seen
            own += (seen * weights[rows, None]).T @ seen
            if data.outcome is not None:
                seen_outcome += seen.T @ (weights[rows] * data.outcome[rows])
    return _Moments(cross, squares, own, outcome, seen_outcome, total)


def _symmetric(matrix: Float[np.ndarray, "terms terms"]) -> Float[np.ndarray, "terms terms"]:
    return (matrix + matrix.T) / 2


def _residual(
    total: float, moment: Float[np.ndarray, "terms"], gram: Float[np.ndarray, "terms terms"], n: int
) -> Callable[[Float[np.ndarray, "terms"]], float]:
    """Return the mean square of what coefficients leave, from sums of products."""

    def residual(coefficients: Float[np.ndarray, "terms"]) -> float:
        left = total - 2 * float(coefficients @ moment) + float(coefficients @ gram @ coefficients)
        return max(left, 1e-12 * total) / n

    return residual


def _left(
    design: _Design, data: IVData, coefficients: Float[np.ndarray, "terms"], *, seen: bool = True
) -> Callable[[slice], Float[np.ndarray, "_"]]:
    """Return what coefficients leave of the outcome, a block of samples at a time."""

    def errors(rows: slice) -> Float[np.ndarray, "_"]:
        assert data.outcome is not None
        columns = design.seen(rows) if seen else design.expected(rows)
        return data.outcome[rows] - columns @ coefficients

    return errors


def _about(
    design: _Design, project: Float[np.ndarray, "terms terms"], coefficients: Float[np.ndarray, "terms"]
) -> Callable[[slice], Float[np.ndarray, "_"]]:
    """Return the error of the first stage in the unit of the outcome, a block of samples at a time."""

    def errors(rows: slice) -> Float[np.ndarray, "_"]:
        return (design.seen(rows) - design.expected(rows) @ project) @ coefficients

    return errors


def _meat(
    design: _Design,
    project: Float[np.ndarray, "terms terms"],
    errors: Callable[[slice], Float[np.ndarray, "_"]],
    data: IVData,
) -> Float[np.ndarray, "terms terms"]:
    """Sum squares of the moments' errors over samples, or over clusters of them."""
    size, weights = len(project), data.scaled_weights
    number = _clusters(data)
    meat = np.zeros((size, size))
    sums = None if number is None else np.zeros((int(number.max()) + 1, size))
    for rows in blocks(len(data)):
        scores = (design.expected(rows) @ project) * (errors(rows) * weights[rows])[:, None]
        if sums is None:
            meat += scores.T @ scores
        else:
            assert number is not None
            np.add.at(sums, number[rows], scores)
    if sums is None:
        return meat
    return sums.T @ sums * (len(sums) / max(len(sums) - 1, 1))


def _clusters(data: IVData) -> Int[np.ndarray, "samples"] | None:
    return None if data.clusters is None else np.unique(data.clusters, return_inverse=True)[1]
