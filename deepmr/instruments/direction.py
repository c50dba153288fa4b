"""Whose edit it is: which task an edit moves most, in units of how far edits move each task at that locus."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from deepmr import checks
from deepmr.errors import InputError
from deepmr.types import SummaryStats

Assignment = Literal["none", "steiger", "most"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocusSizes:
    """How far the edits of a locus move every trait.

    Attributes
    ----------
    loci, traits : names.
    size : root mean square of the effects of all edits of the locus; 0 where none has an effect.
    """

    loci: tuple[str, ...]
    traits: tuple[str, ...]
    size: Float[np.ndarray, "loci traits"]

    def __post_init__(self) -> None:
        checks.shape("size", self.size, (len(self.loci), len(self.traits)))
        checks.non_negative("size", self.size)


def locus_sizes(blocks: Iterable[SummaryStats], *, loci: Sequence[str]) -> LocusSizes:
    """Measure how far the edits of every locus move every trait.

    Parameters
    ----------
    blocks : all edits, in any order of loci.
    loci : all loci, also those without edits.

    Raises
    ------
    InputError
        For an edit of a locus that is not among them, or no edits.
    """
    index = pd.Index(loci)
    squares, counts = None, np.zeros(len(index))
    traits: tuple[str, ...] = ()
    for block in blocks:
        at = index.get_indexer(pd.Index(block.variants["locus"].astype(str)))
        if np.any(at < 0):
            raise InputError(f"locus {block.variants['locus'].iloc[int(np.argmax(at < 0))]!r} is not among the loci")
        if squares is None:
            squares, traits = np.zeros((len(index), len(block.traits))), block.traits
        np.add.at(squares, at, np.square(block.beta, dtype=float))
        counts += np.bincount(at, minlength=len(index))
    if squares is None:
        raise InputError("there are no edits to measure")
    return LocusSizes(
        loci=tuple(str(locus) for locus in loci),
        traits=traits,
        size=np.sqrt(squares / np.maximum(counts, 1.0)[:, None]),
    )


def shares(stats: SummaryStats, sizes: LocusSizes) -> Float[np.ndarray, "variants traits"]:
    """Return |effect| over the size of effects on that trait at the edit's locus; 0 where there is no effect.

    Parameters
    ----------
    stats : effects of some edits.
    sizes : of all edits; must know the loci and traits.
    """
    at = pd.Index(sizes.loci).get_indexer(pd.Index(stats.variants["locus"].astype(str)))
    columns = [sizes.traits.index(trait) for trait in stats.traits]
    size = sizes.size[at][:, columns]
    return np.divide(np.abs(stats.beta), size, out=np.zeros_like(size), where=size > 0)


def is_own(
    stats: SummaryStats, *, exposures: Sequence[str], outcome: str, sizes: LocusSizes, assign: Assignment
) -> Bool[np.ndarray, "variants"]:
    """Return which edits may serve as instruments of the exposures for this outcome.

    Parameters
    ----------
    stats : effects of strong edits on all traits.
    exposures, outcome : traits.
    sizes : how far all edits of every locus move every trait.
    assign : "none": all. "steiger": those that move one of the exposures more than the outcome. "most": those that of
        all traits of `stats` move one of the exposures most.

    Notes
    -----
    The share of edit j is |b_jt| / sqrt(mean over the edits of the locus of b_t^2). It is Steiger's comparison with a
    random edit of the locus in the place of a random person: the squared share is what the edit explains of the
    variance of trait t under mutagenesis. Where t acts on u linearly, u varies with all that moves t and with what is
    its own besides, so an edit of t explains less of u than of t, whatever the strength of the effect and the units;
    the edits of u do not move t at all. Where u has no edits of its own at the locus (no motif, or one too redundant
    for one substitution to matter), both shares are equal and the direction is not identified: chance decides.

    The outcome has a part in this choice. That is its point, and its price: among edits whose shares are alike,
    those with small effects on the outcome stay.

    References
    ----------
    Hemani G, Tilling K, Davey Smith G. Orienting the causal relationship between imprecisely measured traits using GWAS
    summary data. PLoS Genet 2017. https://doi.org/10.1371/journal.pgen.1007081
    """
    checks.one_of("assign", assign, get_args(Assignment))
    if assign == "none":
        return np.ones(len(stats.variants), dtype=bool)
    share = shares(stats, sizes)
    mine = [stats.traits.index(name) for name in exposures]
    others = [stats.traits.index(outcome)]
    if assign == "most":
        others = [k for k in range(len(stats.traits)) if k not in mine]
    best = share[:, mine].max(axis=1)
    own: np.ndarray = best > share[:, others].max(axis=1)
    if assign == "most":
        own &= best > 0
    return own
