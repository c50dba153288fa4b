"""Whose edit it is: which task an edit moves most, in units of how far edits move each task at that locus."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from deepmr import checks
from deepmr.errors import InputError
from deepmr.types import SummaryStats

Assignment = Literal["none", "steiger", "most"]
MARGIN = 1.5  # times its share of another task that an edit's share of its own must be
AHEAD = 0.1  # least difference of the shares of edits that move the other task, for one of two to be upstream
MOVES = 0.25  # times its share of one task that an edit's share of another must be to count as moving both


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


def precedence(
    stats: SummaryStats, *, strong: Bool[np.ndarray, "variants traits"], sizes: LocusSizes
) -> Int[np.ndarray, "traits traits"]:
    """Tell from all loci together which of two traits is upstream: 1 where the first is, -1 the second, 0 unknown.

    Parameters
    ----------
    stats : effects of the edits that are strong on any trait.
    strong : on which traits they are.
    sizes : how far all edits of every locus move every trait.

    Notes
    -----
    If t acts on u, every edit of t moves u, while u has edits of its own that leave t alone. At a locus where edits
    move both, let c_tu be the share of the edits strong on t that move u too (by at least a quarter of their share of
    t). t is upstream of u where the mean of c_tu - c_ut over such loci is above 0 by twice its standard error, and by
    0.1: over many loci the slightest difference between two outputs is significant.
    """
    share = shares(stats, sizes)
    at = pd.Index(sizes.loci).get_indexer(pd.Index(stats.variants["locus"].astype(str)))
    count = len(stats.traits)
    order = np.zeros((count, count), dtype=int)
    for t in range(count):
        for u in range(t):
            both = (share[:, t] >= MOVES * share[:, u]) & (share[:, u] >= MOVES * share[:, t])
            of_t, of_u, of_both = (
                np.bincount(at[mask], minlength=len(sizes.loci)).astype(float)
                for mask in (strong[:, t], strong[:, u], both)
            )
            linked = (of_t > 0) & (of_u > 0) & (of_both > 0)
            moved = [np.bincount(at[strong[:, k] & both], minlength=len(linked))[linked] for k in (t, u)]
            excess = moved[0] / of_t[linked] - moved[1] / of_u[linked]
            if len(excess) > 1 and abs(excess.mean()) > max(AHEAD, 2 * excess.std(ddof=1) / np.sqrt(len(excess))):
                order[t, u] = int(np.sign(excess.mean()))
                order[u, t] = -order[t, u]
    return order


def is_own(
    stats: SummaryStats,
    *,
    exposures: Sequence[str],
    outcome: str,
    sizes: LocusSizes,
    order: Int[np.ndarray, "traits traits"],
    assign: Assignment,
) -> Bool[np.ndarray, "variants"]:
    """Return which edits may serve as instruments of the exposures for this outcome.

    Parameters
    ----------
    stats : effects of strong edits on all traits.
    exposures, outcome : traits.
    sizes : how far all edits of every locus move every trait.
    order : which of two traits is upstream, see `precedence`.
    assign : "none": all. "steiger": those that belong to one of the exposures rather than to the outcome. "most": those
        that belong to one of the exposures rather than to any other trait of `stats`.

    Notes
    -----
    The share of edit j is |b_jt| / sqrt(mean over the edits of the locus of b_t^2). It is Steiger's comparison with a
    random edit of the locus in the place of a random person: the squared share is what the edit explains of the
    variance of trait t under mutagenesis. Where t acts on u linearly, u varies with all that moves t and with what is
    its own besides, so an edit of t explains less of u than of t, whatever the strength of the effect and the units;
    the edits of u do not move t at all. An edit belongs to t rather than u where its share of t is 1.5 times that of u.
    Where u has few edits of its own at the locus (no motif, or one too redundant for one substitution to matter),
    shares are about equal and the locus alone cannot tell: such edits belong to the trait that is upstream at all loci
    together, and to neither where that is unknown.

    The outcome has a part in this choice: that is its point.

    References
    ----------
    Hemani G, Tilling K, Davey Smith G. Orienting the causal relationship between imprecisely measured traits using GWAS
    summary data. PLoS Genet 2017. https://doi.org/10.1371/journal.pgen.1007081
    """
    checks.one_of("assign", assign, get_args(Assignment))
    own = np.ones(len(stats.variants), dtype=bool)
    if assign == "none":
        return own
    share = shares(stats, sizes)
    mine = [stats.traits.index(name) for name in exposures]
    others = [k for k in range(len(stats.traits)) if k not in mine] if assign == "most" else [_index(stats, outcome)]
    for other in others:
        beats = np.zeros_like(own)
        for k in mine:
            clear = share[:, k] >= MARGIN * share[:, other]
            alike = ~clear & (share[:, other] < MARGIN * share[:, k])
            beats |= clear | (alike & (order[k, other] > 0))
        own &= beats
    return own


def _index(stats: SummaryStats, trait: str) -> int:
    checks.one_of("trait", trait, stats.traits)
    return stats.traits.index(trait)
