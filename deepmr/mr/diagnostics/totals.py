"""Sums over all edits of every locus, gathered block by block: what instruments are a part of."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks
from deepmr.errors import InputError
from deepmr.types import SummaryStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Over all edits of each locus, instruments or not.

    Attributes
    ----------
    loci, traits : of the axes.
    squares : sum of squared effects.
    moves : how members move half of it: sum of effect times shared error; no row without shared errors.
    largest : largest size of an effect.
    """

    loci: tuple[str, ...]
    traits: tuple[str, ...]
    squares: Float[np.ndarray, "loci traits"]
    moves: Float[np.ndarray, "factors loci traits"]
    largest: Float[np.ndarray, "loci traits"]

    def column(self, trait: str) -> int:
        """Return the number of a trait."""
        checks.one_of("trait", trait, self.traits)
        return self.traits.index(trait)


def locus_totals(blocks: Iterable[SummaryStats], *, loci: Sequence[str]) -> Totals:
    """Sum over all edits of every locus; keeps a few numbers a locus, whatever the number of edits.

    Parameters
    ----------
    blocks : all edits, in any order of the loci.
    loci : their names.

    Raises
    ------
    InputError : when there is no block, or an edit is of another locus.
    """
    place = pd.Index(loci)
    squares = moves = largest = None
    traits: tuple[str, ...] = ()
    for block in blocks:
        home = place.get_indexer(pd.Index(block.variants["locus"].astype(str)))
        if np.any(home < 0):
            raise InputError(f"locus {block.variants['locus'].iloc[int(np.argmax(home < 0))]!r} is not among the loci")
        shape = (len(loci), len(block.traits))
        n_factors = 0 if block.error_factors is None else len(block.error_factors)
        if squares is None or moves is None or largest is None:
            traits = block.traits
            squares, largest, moves = np.zeros(shape), np.zeros(shape), np.zeros((n_factors, *shape))
        np.add.at(squares, home, block.beta**2)
        np.maximum.at(largest, home, np.abs(block.beta))
        if block.error_factors is not None:
            products = np.moveaxis(block.beta * block.error_factors, 1, 0)
            np.add.at(np.moveaxis(moves, 1, 0), home, products)
    if squares is None or moves is None or largest is None:
        raise InputError("there are no edits to sum over")
    return Totals(loci=tuple(loci), traits=traits, squares=squares, moves=moves, largest=largest)


def sample_edits(blocks: Iterable[SummaryStats], *, loci: Collection[str]) -> SummaryStats:
    """Put all edits of some loci together, for controls that need every edit.

    Parameters
    ----------
    blocks : all edits, every locus whole in one block.
    loci : which to keep.

    Raises
    ------
    InputError : when no edit is of one of them.
    """
    wanted = set(loci)
    parts = []
    for block in blocks:
        rows = block.variants["locus"].astype(str).isin(wanted).to_numpy(bool)
        if rows.any():
            parts.append((block, rows))
    if not parts:
        raise InputError("none of the loci has an edit")
    first, _ = parts[0]
    factors = [block.error_factors[:, rows] for block, rows in parts if block.error_factors is not None]
    return replace(
        first,
        variants=pd.concat([block.variants[rows] for block, rows in parts], ignore_index=True),
        beta=np.concatenate([block.beta[rows] for block, rows in parts]),
        se=np.concatenate([block.se[rows] for block, rows in parts]),
        spread=None,
        error_factors=np.concatenate(factors, axis=1) if factors else None,
        n=None,
    )
