"""Sums of squares of what samples contribute to an equation, with clusters of them counted as one."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from deepmr.nonlinear.first_stage import blocks

_REMEMBERED = 20_000_000  # numbers that are kept rather than evaluated again
_RIDGE = 1e-8  # of a Gram matrix, relative to its diagonal

Contributions = Callable[[slice], Float[np.ndarray, "_ terms"]]


def remembered(columns: Contributions, n: int) -> Contributions:
    """Return the same columns, evaluated once and kept where they are no more than some 160 MB.

    Parameters
    ----------
    columns : of a block of samples.
    n : how many samples there are.
    """
    if n * columns(slice(0, 1)).shape[1] > _REMEMBERED:
        return columns
    whole = columns(slice(0, n))
    return lambda rows: whole[rows]


def summed_squares(
    contributions: Contributions, n: int, *, clusters: Int[np.ndarray, "samples"] | None = None
) -> Float[np.ndarray, "terms terms"]:
    """Return the sum of outer products of contributions, of their sums by cluster where there are clusters.

    Parameters
    ----------
    contributions : of a block of samples, a row a sample.
    n : how many samples there are.
    clusters : of the samples.

    Notes
    -----
    The middle of a sandwich covariance. With G clusters it is multiplied by G / (G - 1).
    """
    if clusters is None:
        total = np.zeros((0, 0))
        for rows in blocks(n):
            found = contributions(rows)
            total = found.T @ found if not total.size else total + found.T @ found
        return total
    names, number = np.unique(clusters, return_inverse=True)
    sums = np.zeros((0, 0))
    for rows in blocks(n):
        found = contributions(rows)
        if not sums.size:
            sums = np.zeros((len(names), found.shape[1]))
        np.add.at(sums, number[rows], found)
    return sums.T @ sums * len(names) / max(len(names) - 1, 1)


def left_over(
    values: Float[np.ndarray, "samples _"],
    columns: Contributions,
    weights: Float[np.ndarray, "samples"],
    *,
    ridge: Float[np.ndarray, "columns"] | float = 0.0,
) -> Float[np.ndarray, "samples _"]:
    """Return what a weighted regression on columns leaves of values.

    Parameters
    ----------
    values : a column each.
    columns : of a block of samples.
    weights : of the samples.
    ridge : penalty of each column.
    """
    gram, moment = np.zeros((0, 0)), np.zeros((0, 0))
    for rows in blocks(len(values)):
        weighted = columns(rows) * weights[rows, None]
        one, two = weighted.T @ columns(rows), weighted.T @ values[rows]
        gram, moment = (one, two) if not gram.size else (gram + one, moment + two)
    gram = gram + np.diag(_RIDGE * np.diagonal(gram) + ridge)
    coefficients = np.linalg.solve(gram, moment)
    found = np.empty_like(values)
    for rows in blocks(len(values)):
        found[rows] = values[rows] - columns(rows) @ coefficients
    return found
