"""Packed loci as rectangles: for methods that sort, iterate or draw over the instruments of many loci at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Shaped

_CELLS = 2_000_000  # numbers of one array that a block may hold
_WASTE = 1.25  # a block's widest locus has at most this many times the rows of its narrowest


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some loci side by side, each padded to the width of the widest.

    Attributes
    ----------
    loci : numbers of the loci.
    rows : row number of every cell; padding repeats the locus's first row.
    known : False for padding.
    """

    loci: Int[np.ndarray, "block"]
    rows: Int[np.ndarray, "block width"]
    known: Bool[np.ndarray, "block width"]

    def of(
        self, values: Shaped[np.ndarray, "*lead rows"], *, padding: float | None = None
    ) -> Shaped[np.ndarray, "*lead block width"]:
        """Lay out one number a row; padding repeats the first row's number, or is the number given."""
        cells = values[..., self.rows]
        return cells if padding is None else np.where(self.known, cells, padding)


def blocks(
    offsets: Int[np.ndarray, "loci_plus_one"], *, loci: Bool[np.ndarray, "loci"] | None = None, depth: int = 1
) -> Iterator[Block]:
    """Yield the loci that have rows, those of like size together.

    Parameters
    ----------
    offsets : locus i owns rows offsets[i] to offsets[i + 1].
    loci : which to take; default all.
    depth : numbers that the caller holds for every cell, such as bootstrap draws: blocks shrink accordingly.
    """
    counts = np.diff(offsets)
    chosen = np.flatnonzero((counts > 0) if loci is None else (counts > 0) & loci)
    chosen = chosen[np.argsort(counts[chosen], kind="stable")]
    start = 0
    while start < len(chosen):
        ahead = counts[chosen[start:]]
        # Rows ascend, so a block of the next k loci is as wide as its last.
        cells = ahead * np.arange(1, len(ahead) + 1) * depth
        fits = int(np.searchsorted(cells, _CELLS, side="right"))
        alike = int(np.searchsorted(ahead, _WASTE * ahead[0], side="right"))
        taken = chosen[start : start + max(1, min(fits, alike))]
        start += len(taken)
        within = np.arange(counts[taken[-1]])
        known = within < counts[taken][:, None]
        yield Block(loci=taken, rows=offsets[taken][:, None] + np.where(known, within, 0), known=known)
