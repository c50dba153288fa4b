"""What pooling needs to know of groups of effects: sums at given weights, and the variance between loci."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from deepmr.inference import moderate_variances
from deepmr.linalg import segment_repeat, segment_sum
from deepmr.meta.studies import Groups, Studies, centred
from deepmr.meta.tau2 import Tau2, between_variance, between_variance_se, solve_q

Weighting = Literal["auto", "inverse_variance", "equal"]

_FLOOR = 1e-12  # smallest within-locus variance, as a share of the largest or of the scatter
_ROUNDING = 1e-24  # share of a variance below which a difference is rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Effects of loci in groups of at least two.

    Attributes
    ----------
    beta, se : an effect and its whole standard error.
    factors : what members share of it; no rows without shared errors. `se` is that of the factors as they are: what
        moderation over loci did to the interval of a locus has no part in it.
    offsets : group i owns the loci offsets[i] to offsets[i + 1].
    """

    beta: Float[np.ndarray, "studies"]
    se: Float[np.ndarray, "studies"]
    factors: Float[np.ndarray, "factors studies"]
    offsets: Int[np.ndarray, "groups_plus_one"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """Variances within loci.

    Attributes
    ----------
    sampling : what shared errors leave of se^2.
    total : that and what members do at a locus but not at all of them; above zero.
    """

    sampling: Float[np.ndarray, "studies"]
    total: Float[np.ndarray, "studies"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """Weighted sums over the loci of every group; shares are weights that add up to 1.

    Attributes
    ----------
    total : sum of the weights.
    square, cube : sums of the shares to the power of two and three.
    centre : weighted mean, about the origin of the group.
    scatter : sum of share (effect - centre)^2.
    sampled : sum of share^2 times sampling variance.
    within : sum of share times variance within the locus.
    moved : how the errors of members move the mean.
    """

    total: Groups
    square: Groups
    cube: Groups
    centre: Groups
    scatter: Groups
    sampled: Groups
    within: Groups
    moved: Float[np.ndarray, "factors groups"]


@runtime_checkable
class Evidence(Protocol):
    """Groups of effects as pooling sees them: every group by itself, or all of one but a locus each."""

    @property
    def counts(self) -> Groups:
        """Number of loci of each group."""

    @property
    def origin(self) -> Groups:
        """Where effects are measured from."""

    def weighted(self, tau2: Groups, weights: Weighting) -> Weighted:
        """Return sums under the weights 1 / (variance + tau2), or equal ones."""

    def between(self, method: Tau2) -> Groups:
        """Estimate tau2."""

    def between_se(self, method: Tau2, tau2: Groups) -> Groups:
        """Return the standard error of tau2."""

    def solve(self, target: float | Groups) -> Groups:
        """Return the tau2 at which the generalised Q meets a target; 0 where it starts below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """Groups as they are.

    Attributes
    ----------
    studies : effects about their group's origin, with total variances within loci.
    sampling, factors : of the loci.
    origin : of the groups.
    """

    studies: Studies
    sampling: Float[np.ndarray, "studies"]
    factors: Float[np.ndarray, "factors studies"]
    origin: Groups

    @property
    def counts(self) -> Groups:
        """Number of loci of each group."""
        return self.studies.counts

    def weighted(self, tau2: Groups, weights: Weighting) -> Weighted:
        """Return sums under the weights 1 / (variance + tau2), or equal ones."""
        studies = self.studies
        raw = np.ones_like(studies.beta) if weights == "equal" else 1 / (studies.variance + studies.repeat(tau2))
        total = studies.sum(raw)
        share = raw / studies.repeat(total)
        centre = studies.sum(share * studies.beta)
        return Weighted(
            total=total,
            square=studies.sum(share**2),
            cube=studies.sum(share**3),
            centre=centre,
            scatter=studies.sum(share * (studies.beta - studies.repeat(centre)) ** 2),
            sampled=studies.sum(share**2 * self.sampling),
            within=studies.sum(share * studies.variance),
            moved=studies.sum(self.factors * share),
        )

    def between(self, method: Tau2) -> Groups:
        """Estimate tau2."""
        return between_variance(self.studies, method)

    def between_se(self, method: Tau2, tau2: Groups) -> Groups:
        """Return the standard error of tau2."""
        return between_variance_se(self.studies, method, tau2)

    def solve(self, target: float | Groups) -> Groups:
        """Return the tau2 at which the generalised Q meets a target; 0 where it starts below."""
        return solve_q(self.studies, target)


def whole(loci: Packed, within: Within | None = None) -> Whole:
    """Return groups as they are, about their means.

    Parameters
    ----------
    within : variances within loci; default those of the loci.
    """
    within = within_variances(loci) if within is None else within
    beta, origin = centred(loci.beta, loci.offsets)
    studies = Studies(beta=beta, variance=within.total, design=np.ones((1, len(beta))), offsets=loci.offsets)
    return Whole(studies=studies, sampling=within.sampling, factors=loci.factors, origin=origin)


def within_variances(loci: Packed) -> Within:
    """Return the variances that weights and heterogeneity go by."""
    sampling = np.maximum(loci.se**2 - np.sum(loci.factors**2, axis=0), 0.0)
    total = sampling + locus_specific(loci.factors, loci.offsets)
    beta, _ = centred(loci.beta, loci.offsets)
    spread = segment_sum(beta**2, loci.offsets) / np.diff(loci.offsets)
    largest = np.maximum(np.maximum.reduceat(total, loci.offsets[:-1]) if len(spread) else spread, spread)
    # Off zero, where weights are infinite; all 1 where nothing varies at all.
    largest = segment_repeat(largest, loci.offsets)
    return Within(sampling=sampling, total=np.where(largest > 0, np.maximum(total, _FLOOR * largest), 1.0))


def locus_specific(
    factors: Float[np.ndarray, "factors studies"], offsets: Int[np.ndarray, "groups_plus_one"]
) -> Float[np.ndarray, "studies"]:
    """Return the variance of every locus from what members do there but not at all loci of the group alike."""
    mean = segment_sum(factors, offsets) / np.diff(offsets)
    variance = np.sum((factors - segment_repeat(mean, offsets)) ** 2, axis=0)
    variance[variance <= _ROUNDING * np.sum(factors**2, axis=0)] = 0.0  # members who move all loci alike
    if len(factors) < 2:
        return variance
    # Rows of zeros only fill up a table in which other groups have more factors.
    counts = [int(np.any(factors[:, a:b] != 0, axis=1).sum()) for a, b in pairwise(offsets)]
    groups = zip(pairwise(offsets), counts, strict=True)
    parts = [moderate_variances(variance[a:b], max(n - 1.0, 1.0)) for (a, b), n in groups]
    return np.concatenate(parts) if parts else variance
