"""The second stage of kernel estimators: moment equations of many columns, shrunk, with leave-one-out and errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from deepmr.nonlinear.first_stage import blocks
from deepmr.nonlinear.smoothing import invert


@dataclass(frozen=True, slots=True, kw_only=True)
class Equations:
    """Samples' parts of the equations  sum w q (y - f'b) = 0.

    Attributes
    ----------
    instruments : q, a row a sample.
    columns : f, of the response; the expected ones where the sample has no exposure.
    outcome : y.
    weights : w, with mean 1.
    """

    instruments: Float[np.ndarray, "samples terms"]
    columns: Float[np.ndarray, "samples terms"]
    outcome: Float[np.ndarray, "samples"]
    weights: Float[np.ndarray, "samples"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Sums over samples.

    Attributes
    ----------
    squares : of instruments, Q'WQ.
    cross : of instruments with columns, Q'WF.
    own : of columns, F'WF.
    outcome, seen : of the outcome with instruments and with columns.
    total : of the squared outcome.
    n : samples.
    missed : of two samples, what the first stage's error adds to the variance of what is left: b'Mb; else 0.
    """

    squares: Float[np.ndarray, "terms terms"]
    cross: Float[np.ndarray, "terms terms"]
    own: Float[np.ndarray, "terms terms"]
    outcome: Float[np.ndarray, "terms"]
    seen: Float[np.ndarray, "terms"]
    total: float
    n: int
    missed: Float[np.ndarray, "terms terms"]

    def reduced_variance(self, coefficients: Float[np.ndarray, "terms"]) -> float:
        """Return the variance of what is left of the reduced form, y - q'b, with the error of q of another sample."""
        b = coefficients
        left = self.total - 2 * float(b @ self.outcome) + float(b @ self.squares @ b)
        return max(left, 1e-12 * self.total) / self.n + float(b @ self.missed @ b)


def moments_of(
    equations: Callable[[slice], Equations],
    n: int,
    n_terms: int,
    *,
    first: tuple[Callable[[slice], Equations], int] | None = None,
) -> Moments:
    """Add up the equations over blocks of samples.

    Parameters
    ----------
    equations : of a block.
    n : samples.
    n_terms : columns.
    first : the same of the first stage's sample and its size, where it is another sample.
    """
    squares, cross, own = (np.zeros((n_terms, n_terms)) for _ in range(3))
    outcome, seen, total = np.zeros(n_terms), np.zeros(n_terms), 0.0
    for rows in blocks(n):
        part = equations(rows)
        weighted = part.instruments * part.weights[:, None]
        squares += weighted.T @ part.instruments
        cross += weighted.T @ part.columns
        own += (part.columns * part.weights[:, None]).T @ part.columns
        outcome += weighted.T @ part.outcome
        seen += part.columns.T @ (part.outcome * part.weights)
        total += float(part.outcome**2 @ part.weights)
    missed = np.zeros((n_terms, n_terms))
    if first is not None:
        of_first, n_first = moments_of(first[0], first[1], n_terms), first[1]
        missed = (of_first.own - of_first.cross - of_first.cross.T + of_first.squares) * n / n_first**2
    return Moments(squares=squares, cross=cross, own=own, outcome=outcome, seen=seen, total=total, n=n, missed=missed)


def symmetric_inverse(matrix: Float[np.ndarray, "terms terms"]) -> Float[np.ndarray, "terms terms"]:
    """Invert a positive definite matrix.

    Parameters
    ----------
    matrix : what is inverted.
    """
    return invert(matrix, np.zeros(len(matrix)))


def left_out(
    inverse: Float[np.ndarray, "terms terms"],
    coefficients: Float[np.ndarray, "terms"],
    *,
    into: Sequence[Float[np.ndarray, "samples terms"]],
    out: Sequence[Float[np.ndarray, "samples terms"]],
    right: Sequence[Float[np.ndarray, "samples"]],
    at: Float[np.ndarray, "samples terms"],
) -> Float[np.ndarray, "samples"]:
    """Return the value at a row of each sample of the response that is fitted without that sample.

    Parameters
    ----------
    inverse : H of the equations H^-1 b = g with all samples.
    coefficients : b.
    into, out, right : a sample's part in them is sum_k into_k out_k' on the left and sum_k into_k right_k on the right.
    at : rows whose value is wanted.

    Notes
    -----
    With U the columns into_k, W the columns out_k and r the numbers right_k of a sample, the Woodbury identity gives
    b - H U (I - W'HU)^-1 (r - W'b), exactly.
    """
    parts = len(into)
    moved = [u @ inverse.T for u in into]
    small = np.empty((len(at), parts, parts))
    gap = np.empty((len(at), parts))
    for j, w in enumerate(out):
        gap[:, j] = right[j] - w @ coefficients
        for k in range(parts):
            small[:, j, k] = (j == k) - np.einsum("ij,ij->i", w, moved[k])
    step = np.linalg.solve(small, gap[:, :, None])[:, :, 0]
    value = at @ coefficients
    for k in range(parts):
        value -= np.einsum("ij,ij->i", at, moved[k]) * step[:, k]
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """How samples' parts of the equations scatter.

    Attributes
    ----------
    meat : sum of squares of their scores; of clusters' sums of scores, where there are clusters.
    variance : mean squared error.
    """

    meat: Float[np.ndarray, "terms terms"]
    variance: float


def scatter(
    scores: Callable[[slice], tuple[Float[np.ndarray, "samples terms"], Float[np.ndarray, "samples"]]],
    weights: Float[np.ndarray, "samples"],
    *,
    n_terms: int,
    clusters: Int[np.ndarray, "samples"] | None,
) -> Scatter:
    """Add up the scores w q e of samples.

    Parameters
    ----------
    scores : q and e of a block of samples.
    weights : w.
    n_terms : columns of q.
    clusters : of the samples.
    """
    total, squares = np.zeros((n_terms, n_terms)), 0.0
    names, number = np.unique(np.zeros(0) if clusters is None else clusters, return_inverse=True)
    sums = np.zeros((len(names), n_terms))
    for rows in blocks(len(weights)):
        instruments, errors = scores(rows)
        score = instruments * (errors * weights[rows])[:, None]
        squares += float(weights[rows] @ errors**2)
        if clusters is None:
            total += score.T @ score
        else:
            np.add.at(sums, number[rows], score)
    if clusters is not None:
        total = sums.T @ sums * len(names) / max(len(names) - 1, 1)
    return Scatter(meat=total, variance=squares / len(weights))
