"""Less weight for instruments whose ratio or residual is far from the others."""

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from deepmr.mr.density import known_medians
from deepmr.packed import blocks


def penalties(squares: Float[np.ndarray, "rows"], *, factor: float) -> Float[np.ndarray, "rows"]:
    """Return min(1, factor p), with p the upper tail of chi-square with one degree of freedom; never quite zero."""
    return np.clip(factor * special.erfc(np.sqrt(squares / 2)), 1e-200, 1.0)


def medians(values: Float[np.ndarray, "rows"], offsets: Int[np.ndarray, "loci_plus_one"]) -> Float[np.ndarray, "loci"]:
    """Return the median of the rows of each locus; NaN for a locus without rows."""
    found = np.full(len(offsets) - 1, np.nan)
    for block in blocks(offsets):
        found[block.loci] = known_medians(block.of(values), block.known)
    return found
