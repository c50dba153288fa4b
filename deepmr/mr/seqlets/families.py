"""Which families of seqlets agree with each other over loci: a plurality where a locus alone has too few seqlets."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from deepmr import checks
from deepmr.inference import total_error, two_sided
from deepmr.linalg import divide
from deepmr.mr.seqlets.collapse import Collapsed, collapse


@dataclass(frozen=True, slots=True, kw_only=True)
class Families:
    """What the families of seqlets say, one number a family, from 0.

    Attributes
    ----------
    n_seqlets, n_loci, share : size of each, and its share of the sum of squared exposure effects.
    beta, se : slope of all its instruments, and its standard error between loci and over members; NaN where none.
    n_compared : loci where it stands beside the leading family.
    contrast, contrast_se, contrast_pvalue : its slope less the leader's at those loci; NaN where there are none.
    votes : loci of the family and of those no larger that were found to agree with it.
    leader : number of the leading family, -1 without any.
    verdict : leads, agrees, contradicts or untested.
    """

    n_seqlets: Int[np.ndarray, "families"]
    n_loci: Int[np.ndarray, "families"]
    share: Float[np.ndarray, "families"]
    beta: Float[np.ndarray, "families"]
    se: Float[np.ndarray, "families"]
    n_compared: Int[np.ndarray, "families"]
    contrast: Float[np.ndarray, "families"]
    contrast_se: Float[np.ndarray, "families"]
    contrast_pvalue: Float[np.ndarray, "families"]
    votes: Int[np.ndarray, "families"]
    leader: int
    verdict: np.ndarray

    def of(self, family: Int[np.ndarray, "seqlets"]) -> np.ndarray:
        """Return the verdict on the family of each seqlet; untested where it has none."""
        return np.where(family >= 0, np.append(self.verdict, "untested")[family], "untested")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contrasts:
    """Pairs of families that share loci: means over these loci, `one` less `other`."""

    one: Int[np.ndarray, "pairs"]
    other: Int[np.ndarray, "pairs"]
    n: Int[np.ndarray, "pairs"]
    mean: Float[np.ndarray, "pairs"]
    se: Float[np.ndarray, "pairs"]
    pvalue: Float[np.ndarray, "pairs"]
    size: Float[np.ndarray, "pairs"]


def judge_families(
    seqlets: Collapsed, family: Int[np.ndarray, "seqlets"], *, level: float = 0.95, tolerance: float = 0.1
) -> Families:
    """Compare families of seqlets within loci, and find the plurality: the most loci whose families agree.

    Parameters
    ----------
    seqlets : from `collapse`, a cluster a seqlet.
    family : of each cluster, -1 for none.
    level : 1 less the level of the tests, before Bonferroni's correction for the number of pairs of families.
    tolerance : share of the larger of both slopes up to which a contrast does not count, however certain: a bent dose
        response makes small ones.

    Notes
    -----
    Two families contradict each other when, at loci that have both, their slopes differ: the mean of the differences,
    weighted by 1 / (1 / X_1^2 + 1 / X_2^2), with its scatter over loci and what members share. Within loci, since the
    effect itself may differ between loci. A family's votes are the loci of its seqlets, and the loci of each family, no
    larger than itself, that was compared with it and does not contradict it: a rare family, which agrees with all
    others for want of data, is not elected by the votes of a frequent one. The family with the most votes leads (with
    equal votes, the one with more of its own, then that of the larger exposure effects). What contradicts it is outside
    of the plurality.

    The assumption is that of a plurality, of families in place of variants: of all groups of families with one answer,
    the largest is valid. With one family, or families that never meet, nothing can be said and nothing is excluded.

    References
    ----------
    Guo Z, Kang H, Cai TT, Small DS. Confidence intervals for causal effects with invalid instruments by using two-stage
    hard thresholding with voting. J R Stat Soc B 2018. https://doi.org/10.1111/rssb.12275
    """
    checks.level(level)
    checks.non_negative("tolerance", np.array([tolerance]))
    count = int(family.max(initial=-1)) + 1
    merged = collapse(seqlets.instruments, family)
    n_loci = np.bincount(merged.label, minlength=count)
    size = np.bincount(merged.label, merged.x**2, minlength=count).astype(float)
    pairs = _contrasts(merged, count)
    cut = (1 - level) / max(len(pairs.one), 1)
    apart = (pairs.pvalue < cut) & (np.abs(pairs.mean) > tolerance * pairs.size)
    agree = np.eye(count, dtype=bool)
    agree[pairs.one[~apart], pairs.other[~apart]] = agree[pairs.other[~apart], pairs.one[~apart]] = True
    supports = agree & (n_loci[None] <= n_loci[:, None])
    votes = supports @ n_loci
    leader = int(np.lexsort((-size, -n_loci, -votes))[0]) if count else -1
    beta, se = _slopes(merged, count)
    verdict = np.full(count, "untested", dtype="<U11")
    found = {"contrast": np.full(count, np.nan), "contrast_se": np.full(count, np.nan)}
    found["contrast_pvalue"], compared = np.full(count, np.nan), np.zeros(count, dtype=np.int64)
    for sign, mine, leads in ((1.0, pairs.one, pairs.other), (-1.0, pairs.other, pairs.one)):
        at = leads == leader
        compared[mine[at]] = pairs.n[at]
        for name, values in zip(found, (sign * pairs.mean, pairs.se, pairs.pvalue), strict=True):
            found[name][mine[at]] = values[at]
        verdict[mine[at]] = np.where(apart[at], "contradicts", "agrees")
    if count:
        verdict[leader] = "leads"
    return Families(
        n_seqlets=np.bincount(family[family >= 0], minlength=count),
        n_loci=n_loci,
        share=divide(size, np.full(count, float(np.sum(seqlets.x**2)))),
        beta=beta,
        se=se,
        n_compared=compared,
        votes=votes,
        leader=leader,
        verdict=verdict,
        **found,
    )


def usable(families: Families, family: Int[np.ndarray, "seqlets"]) -> Bool[np.ndarray, "seqlets"]:
    """Return which seqlets do not belong to a family that contradicts the plurality.

    Parameters
    ----------
    families : from `judge_families`.
    family : of each seqlet, -1 for none.
    """
    good: np.ndarray = families.of(family) != "contradicts"
    return good


def _contrasts(merged: Collapsed, count: int) -> _Contrasts:
    """Compare every two families at the loci that have both."""
    offsets = merged.instruments.offsets
    one, other = _pairs_within(offsets)
    slope = divide(merged.instruments.beta_outcome, merged.x, otherwise=0.0)
    gap, moves, own = slope[one] - slope[other], merged.moves, merged.own / merged.x**2
    weight = 1 / (1 / merged.x[one] ** 2 + 1 / merged.x[other] ** 2)
    names, at = np.unique(merged.label[one] * max(count, 1) + merged.label[other], return_inverse=True)

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(at, values, minlength=len(names)).astype(float)

    total, n = summed(weight), summed(np.ones_like(weight))
    mean = summed(weight * gap) / total
    scatter = summed((weight * (gap - mean[at])) ** 2) / total**2 * divide(n, n - 1, otherwise=0.0)
    known = summed(weight**2 * (own[one] + own[other])) / total**2
    df = np.where((n > 1) & (scatter >= known), n - 1, np.inf)
    shared = np.stack([summed(weight * (m[one] - m[other])) / total for m in moves]) if len(moves) else moves[:, :0]
    if not len(shared):
        shared = np.zeros((1, len(names)))
    error = total_error(np.maximum(scatter, known), df, shared)
    sizes = [np.abs(summed(weight * slope[side]) / total) for side in (one, other)]
    return _Contrasts(
        one=names // max(count, 1),
        other=names % max(count, 1),
        n=n.astype(np.int64),
        mean=mean,
        se=error.se,
        pvalue=two_sided(mean, error.se, df=error.df),
        size=np.maximum(*sizes),
    )


def _pairs_within(offsets: Int[np.ndarray, "loci_plus_one"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the row numbers of every two rows of one locus, the first before the second."""
    counts = np.diff(offsets)
    last = np.repeat(offsets[1:], counts)
    row = np.arange(len(last))
    after = last - row - 1
    one = np.repeat(row, after)
    step = np.arange(len(one)) - np.repeat(np.cumsum(after) - after, after)
    return one, one + 1 + step


def _slopes(merged: Collapsed, count: int) -> tuple[Float[np.ndarray, "families"], Float[np.ndarray, "families"]]:
    """Return the slope of all instruments of each family, and its standard error between loci and over members."""
    x, y, at = merged.x, merged.instruments.beta_outcome, merged.label

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(at, values, minlength=count).astype(float)

    total, n = summed(x**2), summed(np.ones_like(x))
    beta = divide(summed(x * y), total)
    residual = x * (y - beta[at] * x)
    scatter = summed(residual**2) * divide(n, n - 1, otherwise=0.0)
    known = summed(x**2 * merged.own)
    variance = divide(np.maximum(scatter, known), total**2)
    moves = np.stack([divide(summed(x**2 * m), total, otherwise=0.0) for m in merged.moves]) if len(merged.moves) else 0
    return beta, np.sqrt(variance + np.sum(np.square(moves), axis=0))
