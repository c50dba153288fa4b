"""Less weight for instruments whose ratio or residual is far from the others."""

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from deepmr.linalg import segment_sum
from deepmr.mr.density import known_medians
from deepmr.packed import blocks


def penalties(squares: Float[np.ndarray, "rows"], *, factor: float) -> Float[np.ndarray, "rows"]:
    """Return min(1, factor p), with p the upper tail of chi-square with one degree of freedom; never quite zero."""
    return np.clip(factor * special.erfc(np.sqrt(squares / 2)), 1e-200, 1.0)


def used_up(penalty: Float[np.ndarray, "rows"], offsets: Int[np.ndarray, "loci_plus_one"], *, needed: int) -> list[str]:
    """Say for every locus whether penalties leave less of its instruments than a line needs; empty where they do not.

    The standard error takes penalised weights for inverse variances, and would be as large as penalties are small.
    """
    why = f"its instruments scatter so far beyond their errors that penalties leave less than {needed} of them"
    return [why if left < needed * (1 - 1e-9) else "" for left in segment_sum(penalty, offsets)]


def medians(values: Float[np.ndarray, "rows"], offsets: Int[np.ndarray, "loci_plus_one"]) -> Float[np.ndarray, "loci"]:
    """Return the median of the rows of each locus; NaN for a locus without rows."""
    found = np.full(len(offsets) - 1, np.nan)
    for block in blocks(offsets):
        found[block.loci] = known_medians(block.of(values), block.known)
    return found
