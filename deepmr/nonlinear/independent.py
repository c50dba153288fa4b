"""Which instruments say something that the others do not: constant and collinear ones are left out, and named."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import lapack, qr

from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.nonlinear.first_stage import blocks

_SAME = 1e-7  # what is left of a column, relative to its spread, when the others predict it but for rounding
_FAR = 0.01  # what is left of a column, relative to its size, from which on squares are precise enough
_NAMED = 10  # most names in a sentence


def triangular(columns: Callable[[slice], Float[np.ndarray, "_ columns"]], n: int) -> Float[np.ndarray, "rows columns"]:
    """Return R of the QR decomposition of many rows, a block of them at a time.

    Parameters
    ----------
    columns : of a block of rows.
    n : how many rows there are.

    Notes
    -----
    By Cholesky's decomposition of the Gram matrix, several times as fast, where the columns are far from collinear.
    """
    size = columns(slice(0, 1)).shape[1]
    gram = np.zeros((size, size))
    for rows in blocks(n):
        block = columns(rows)
        gram += block.T @ block
    scale = np.sqrt(np.diagonal(gram))
    if size and scale.min() > 0:
        root, failed = lapack.dpotrf(gram / scale[:, None] / scale, lower=False, clean=True)
        if not failed and np.diagonal(root).min() > _FAR:
            return np.asarray(root * scale)
    found: list[np.ndarray] = []
    for rows in blocks(n):
        found = [np.asarray(np.linalg.qr(np.vstack([*found, columns(rows)]), mode="r"))]
    return found[0]


def independent_columns(
    columns: Float[np.ndarray, "samples columns"],
    *,
    given: Float[np.ndarray, "samples given"] | None = None,
    weights: Float[np.ndarray, "samples"] | None = None,
) -> Bool[np.ndarray, "columns"]:
    """Say which columns to keep, so that none is a combination of others, of `given` and of a constant.

    Parameters
    ----------
    columns : to choose from.
    given : columns that are kept whatever they are.
    weights : of the samples.

    Notes
    -----
    A pivoted QR decomposition of the columns, standardised and freed of the given ones: it takes at each step the
    column of which most is left, and ends where no more than rounding is left.

    Examples
    --------
    >>> one = np.array([[0.0, 0.0, 5.0], [1.0, 2.0, 5.0], [3.0, 6.0, 5.0], [2.0, 4.0, 5.0]])
    >>> int(independent_columns(one).sum())
    1
    """
    n, size = columns.shape
    first = np.empty((n, 0)) if given is None else given
    w = np.ones(n) if weights is None else weights / weights.mean()
    every = [_standardised(part, w) for part in (first, columns)]
    center, spread = (np.concatenate([a, b]) for a, b in zip(*every, strict=True))
    scale = np.where(spread > 0, spread, 1.0)

    def block(rows: slice) -> Float[np.ndarray, "_ columns"]:
        both = (np.hstack([first[rows], columns[rows]]) - center) / scale * (spread > 0)
        return np.hstack([np.ones((len(both), 1)), both]) * np.sqrt(w[rows, None])

    rest = triangular(block, n)[1 + first.shape[1] :, 1 + first.shape[1] :]
    kept = np.zeros(size, dtype=bool)
    if not rest.size:
        return kept
    r, pivots = qr(rest, mode="r", pivoting=True)
    left = np.abs(np.diagonal(r)) / np.sqrt(n)
    kept[pivots[: len(left)][left > _SAME]] = True
    return kept & (spread[first.shape[1] :] > 0)


def _standardised(
    columns: Float[np.ndarray, "samples columns"], weights: Float[np.ndarray, "samples"]
) -> tuple[Float[np.ndarray, "columns"], Float[np.ndarray, "columns"]]:
    """Return mean and standard deviation of every column; a deviation of 0 where there is no more than rounding."""
    if not columns.shape[1]:
        return np.zeros(0), np.zeros(0)
    center = weights @ columns / weights.sum()
    square = np.zeros(columns.shape[1])
    for rows in blocks(len(columns)):
        square += weights[rows] @ (columns[rows] - center) ** 2
    spread = np.sqrt(square / weights.sum())
    return center, np.where(spread > 1e-12 * np.maximum(np.abs(columns).max(axis=0), 1e-300), spread, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndependentInstruments:
    """Samples with instruments that are independent of each other and of the covariates.

    Attributes
    ----------
    data, outcome_data : with the instruments that are kept; one object where there is one sample.
    dropped : names of the others.
    warnings : a sentence that names them, or none.
    """

    data: IVData
    outcome_data: IVData
    dropped: tuple[str, ...]
    warnings: tuple[str, ...]


def independent_instruments(data: IVData, outcome_data: IVData | None = None) -> IndependentInstruments:
    """Drop instruments that are constant, or combinations of other instruments and covariates, in either sample.

    Parameters
    ----------
    data : of the first stage.
    outcome_data : of the second, where it is another sample.

    Raises
    ------
    InputError
        When none is left.
    """
    second = data if outcome_data is None else outcome_data
    constant = np.ptp(data.instruments, axis=0) == 0
    kept = independent_columns(data.instruments, given=data.covariates, weights=data.weights)
    if second is not data:
        constant |= np.ptp(second.instruments, axis=0) == 0
        kept[kept] = independent_columns(second.instruments[:, kept], given=second.covariates, weights=second.weights)
    names = np.array(data.instrument_names)
    if not kept.any():
        raise InputError(
            f"an instrument must vary apart from the covariates; none of {len(kept)} does: {listed(names.tolist())}"
        )
    if kept.all():
        return IndependentInstruments(data=data, outcome_data=second, dropped=(), warnings=())
    chosen = [_only(one, kept) for one in ((data,) if second is data else (data, second))]
    return IndependentInstruments(
        data=chosen[0],
        outcome_data=chosen[-1],
        dropped=tuple(names[~kept].tolist()),
        warnings=(dropped_sentence("instrument", names[constant].tolist(), names[~kept & ~constant].tolist()),),
    )


def _only(data: IVData, kept: Bool[np.ndarray, "instruments"]) -> IVData:
    names = tuple(name for name, keep in zip(data.instrument_names, kept, strict=True) if keep)
    return replace(data, instruments=data.instruments[:, kept], instrument_names=names)


def dropped_sentence(what: str, constant: Sequence[str], collinear: Sequence[str]) -> str:
    """Say in a sentence which columns were left out.

    Parameters
    ----------
    what : "instrument" or "covariate".
    constant : those without variation.
    collinear : those that the others predict.
    """
    count, parts = len(constant) + len(collinear), []
    if constant:
        parts.append(f"{listed(constant)} {'is' if len(constant) == 1 else 'are'} constant")
    if collinear:
        are = "is a combination" if len(collinear) == 1 else "are combinations"
        parts.append(f"{listed(collinear)} {are} of other instruments and covariates")
    return f"{count} {what}{'s' * (count > 1)} left out: {'; '.join(parts)}."


def listed(names: Sequence[str]) -> str:
    """Join names, the first ten where there are many.

    Parameters
    ----------
    names : to join.
    """
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
