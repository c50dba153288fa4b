"""Which seqlet carries the effect of its locus, and which contradicts it, in a word each."""

import numpy as np
from jaxtyping import Int
from scipy import stats

from deepmr.linalg import segment_repeat
from deepmr.mr.seqlets.between import Between
from deepmr.mr.seqlets.collapse import Collapsed
from deepmr.mr.seqlets.families import Families

ENOUGH = 3  # seqlets of a locus from which on they outvote one of their own


def judge_seqlets(
    seqlets: Collapsed,
    between: Between,
    *,
    families: Families,
    family: Int[np.ndarray, "seqlets"],
    level: float = 0.95,
) -> np.ndarray:
    """Say of every seqlet what part it has in the effect of its locus.

    Parameters
    ----------
    seqlets : from `collapse`, a cluster a seqlet.
    between : from `compare_seqlets`.
    families : from `judge_families`.
    family : of each seqlet, -1 for none.
    level : 1 less the false discovery rate among seqlets that are called discordant.

    Returns
    -------
    A word each: "contradicts", when its family contradicts the plurality over loci; or, at a locus that this does not
    explain, when its slope differs from that of the others (false discovery rate of 1 - level over all seqlets), and it
    is the one of at least three without which the others scatter least, or the others belong to the plurality and it
    was never compared. "disputed" where two differ and nothing tells which is right. "carries": of the rest, the
    largest share. "agrees": others. "alone": the only seqlet of its locus.
    """
    offsets, count = seqlets.instruments.offsets, len(seqlets.n)
    if not count:
        return np.zeros(0, dtype="<U11")
    group = families.of(family)
    outside = group == "contradicts"
    pvalue = between.discordance_pvalue
    tested = np.isfinite(pvalue)
    rate = np.ones(count)
    if tested.any():
        rate[tested] = stats.false_discovery_control(pvalue[tested])
    explained = _any(outside, offsets)
    apart = (rate < 1 - level) & ~explained
    several = segment_repeat(seqlets.instruments.counts, offsets) >= ENOUGH
    # How much of the scatter between seqlets goes with it, not its z: a few members say little of single errors.
    gap = np.nan_to_num(between.discordance)
    size = np.where(tested, between.share * (1 - between.share) * gap**2, -1.0)
    furthest = size >= _largest(size, offsets)
    stranger = (group == "untested") & _any(group != "untested", offsets)
    wrong = outside | (apart & several & furthest) | (apart & ~several & stranger)
    settled = _any(wrong, offsets)
    disputed = apart & ~several & ~settled
    word = np.full(count, "agrees", dtype="<U11")
    share = np.where(wrong | disputed, -1.0, between.share)
    word[(share >= _largest(share, offsets)) & (share > 0)] = "carries"
    word[segment_repeat(seqlets.instruments.counts, offsets) == 1] = "alone"
    word[disputed], word[wrong] = "disputed", "contradicts"
    return word


def _any(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Say of every seqlet whether any of its locus has it."""
    return _largest(values.astype(float), offsets) > 0


def _largest(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the largest value of its locus for every seqlet."""
    counts = np.diff(offsets)
    filled = counts > 0
    return np.repeat(np.maximum.reduceat(values, offsets[:-1][filled]), counts[filled])
