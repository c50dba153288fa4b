"""Sums of squares of what samples contribute to an equation, with clusters of them counted as one."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from deepmr.nonlinear.first_stage import blocks

Contributions = Callable[[slice], Float[np.ndarray, "_ terms"]]


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
