"""Edits put together into windows: neighbours of each other, in many loci at once. Imports no torch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from deepmr.ism.intervals import Interval
from deepmr.ism.variants import Edits


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Edits that go through the network together.

    Attributes
    ----------
    window : positions between the first and the last of them.
    loci : rows of the loci that have such edits.
    variants : row of the variant in each slot of each of these loci; -1 where a locus has fewer than others.
    offset, slot, column, base : of each substitution: position in the window, slot, which of `loci`, code of the new
        base.
    """

    window: Interval
    loci: Int[np.ndarray, "chosen"]
    variants: Int[np.ndarray, "slots chosen"]
    offset: Int[np.ndarray, "substitutions"]
    slot: Int[np.ndarray, "substitutions"]
    column: Int[np.ndarray, "substitutions"]
    base: Int[np.ndarray, "substitutions"]


def groups_of(edits: Edits, *, width: int, n_loci: int) -> Iterator[tuple[slice, list[Group]]]:
    """Group the edits of `n_loci` loci at a time by blocks of `width` positions.

    Parameters
    ----------
    edits : substitutions, by locus.
    width : positions of a block. A variant belongs to the block of its first position; those that reach much further
        than their neighbours make a group of their own.
    n_loci : loci whose references are held together.

    Yields
    ------
    The run of loci and its groups, from left to right.
    """
    if not len(edits):
        return
    starts = edits.start[:-1]
    first = np.minimum.reduceat(edits.offset, starts)
    last = np.maximum.reduceat(edits.offset, starts)
    batch, block, reach = edits.locus // n_loci, first // width, (last - first) // width
    order = np.lexsort((edits.locus, reach, block, batch))
    keys = np.stack([batch, block, reach])[:, order]
    edges = np.flatnonzero(np.append(True, np.any(keys[:, 1:] != keys[:, :-1], axis=0)))
    stops = np.append(edges[1:], len(order))
    current = int(keys[0, 0])
    found: list[Group] = []
    for a, b in zip(edges.tolist(), stops.tolist(), strict=True):
        if keys[0, a] != current:
            yield slice(current * n_loci, (current + 1) * n_loci), found
            current, found = int(keys[0, a]), []
        rows = order[a:b]
        found.append(_group(edits, rows, Interval(int(first[rows].min()), int(last[rows].max()) + 1)))
    yield slice(current * n_loci, (current + 1) * n_loci), found


def _group(edits: Edits, rows: Int[np.ndarray, "variants"], window: Interval) -> Group:
    """Number the slots of each locus; `rows` are sorted by locus."""
    loci, begin, counts = np.unique(edits.locus[rows], return_index=True, return_counts=True)
    column = np.repeat(np.arange(len(loci)), counts)
    slot = np.arange(len(rows)) - np.repeat(begin, counts)
    variants = np.full((int(counts.max()), len(loci)), -1)
    variants[slot, column] = rows
    sizes = edits.start[rows + 1] - edits.start[rows]
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    taken = np.repeat(edits.start[rows], sizes) + within
    return Group(
        window=window,
        loci=loci,
        variants=variants,
        offset=edits.offset[taken] - window.start,
        slot=np.repeat(slot, sizes),
        column=np.repeat(column, sizes),
        base=edits.base[taken].astype(np.int64),
    )
