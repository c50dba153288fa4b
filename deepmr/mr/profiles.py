"""Profile equations of a line through the origin with errors in both effects, independent between instruments.

With e_j = y_j - b x_j, v_j = Var(e_j) + tau2 and c_j = Cov(error of x_j, e_j), the best guess of the true exposure
effect given b is g_j = x_j - c_j e_j / v_j, which is independent of e_j under normal errors, and the profile score of b
is sum_j g_j rho'(z_j) / sqrt(v_j), z_j = e_j / sqrt(v_j).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from deepmr.inference import TotalError
from deepmr.linalg import segment_repeat, segment_sum
from deepmr.mr.errors import marginal_covariance
from deepmr.mr.implicit import jacobian, member_moves
from deepmr.mr.lines import exposure_of, standard_error
from deepmr.mr.losses import Loss
from deepmr.mr.roots import Chosen, Roots, find_roots, nearest, smallest
from deepmr.packed import Block, blocks
from deepmr.types import Instruments

Overdispersion = Literal["none", "score", "loss"]
_DEPTH = 40  # keeps a block's arrays within a processor's cache: the equations are evaluated hundreds of times


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A block of loci: effects, the variances of their errors, and which equations hold.

    Attributes
    ----------
    x, y : effects on exposure and outcome; 0 for padding.
    xx, yy, xy : variances and covariance of their errors.
    known : 1, and 0 for padding.
    share : weight of an instrument in the equation of tau2.
    loss : rho.
    overdispersion : none; `score`, sum share_j (z_j rho'(z_j) - E Z rho'(Z)) / v_j = 0; or `loss`,
        sum rho(z_j) = (J - 1) E rho(Z).
    """

    x: Float[np.ndarray, "block width"]
    y: Float[np.ndarray, "block width"]
    xx: Float[np.ndarray, "block width"]
    yy: Float[np.ndarray, "block width"]
    xy: Float[np.ndarray, "block width"]
    known: Float[np.ndarray, "block width"]
    share: Float[np.ndarray, "block width"]
    loss: Loss
    overdispersion: Overdispersion = "none"

    @property
    def overdispersed(self) -> bool:
        """Whether tau2 is estimated."""
        return self.overdispersion != "none"

    def take(self, index: Int[np.ndarray, "picked"]) -> "Profile":
        """Return the equations of these loci of the block."""
        names = ("x", "y", "xx", "yy", "xy", "known", "share")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def moved(self, by_x: Float[np.ndarray, "block width"], by_y: Float[np.ndarray, "block width"]) -> "Profile":
        """Return the equations with other effects."""
        return replace(self, x=self.x + by_x, y=self.y + by_y)

    def terms(self, beta: Float[np.ndarray, "block"], tau2: Float[np.ndarray, "block"]) -> "Terms":
        """Return e, c, v and g of every instrument."""
        b = beta[:, None]
        cov = self.xy - b * self.xx
        e = self.y - b * self.x
        v = self.yy - b * (self.xy + cov) + tau2[:, None]
        return Terms(e=e, c=cov, v=v, g=self.x - cov * e / v)

    def evaluate(
        self, beta: Float[np.ndarray, "block"], tau2: Float[np.ndarray, "block"]
    ) -> tuple[Float[np.ndarray, "block"], Float[np.ndarray, "block"], Float[np.ndarray, "block"]]:
        """Return the score of beta, the equation of tau2, and the latter's slope in tau2."""
        b = beta[:, None]
        cov = self.xy - b * self.xx
        e = self.y - b * self.x
        precision = 1 / (self.yy - b * (self.xy + cov) + tau2[:, None])
        scaled = e * precision
        square = scaled * e
        weight = self.loss.weight(square)
        score = np.einsum("bj,bj->b", self.x - cov * scaled, scaled * weight)
        if self.overdispersion == "none":
            return score, np.zeros_like(score), np.zeros_like(score)
        if self.overdispersion == "loss":
            expected = (self.known.sum(axis=1) - 1) * self.loss.mean
            excess = np.einsum("bj,bj->b", self.loss.rho(square), self.known) - expected
            return score, excess, -np.einsum("bj,bj->b", weight * square, precision) / 2
        share = self.share * precision
        rest = weight * square - self.loss.delta
        slope = np.einsum("bj,bj->b", share * precision, rest + square * self.loss.slope(square))
        return score, np.einsum("bj,bj->b", share, rest), -slope

    def contributions(
        self, beta: Float[np.ndarray, "block"], tau2: Float[np.ndarray, "block"]
    ) -> tuple[Float[np.ndarray, "block width"], Float[np.ndarray, "block width"]]:
        """Return what every instrument adds to both equations."""
        at = self.terms(beta, tau2)
        square = at.e**2 / at.v
        weight = self.loss.weight(square)
        score = at.g * weight * at.e / at.v
        if self.overdispersion == "loss":
            n = self.known.sum(axis=1, keepdims=True)
            return score, self.known * (self.loss.rho(square) - (n - 1) / n * self.loss.mean)
        return score, self.share * (weight * square - self.loss.delta) / at.v

    def losses(self, beta: Float[np.ndarray, "block"]) -> Float[np.ndarray, "block"]:
        """Return the sum of losses without overdispersion."""
        at = self.terms(beta, np.zeros_like(beta))
        return self.loss.rho(at.e**2 / at.v).sum(axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What variance formulas are made of; see `Profile`."""

    e: Float[np.ndarray, "block width"]
    c: Float[np.ndarray, "block width"]
    v: Float[np.ndarray, "block width"]
    g: Float[np.ndarray, "block width"]


def profile_blocks(
    instruments: Instruments,
    loss: Loss,
    *,
    overdispersion: Overdispersion,
    by_exposure_error: bool = False,
    loci: Bool[np.ndarray, "loci"],
) -> Iterator[tuple[Block, Profile]]:
    """Yield these loci, block by block, with their equations.

    Parameters
    ----------
    by_exposure_error : instruments weigh in the equation of tau2 by the error variance of their exposure effect
        (relative to the locus's mean); else all weigh the same.
    """
    x, _ = exposure_of(instruments)
    y, offsets = instruments.beta_outcome.astype(float), instruments.offsets
    errors = marginal_covariance(instruments)
    share = np.ones_like(x)
    if by_exposure_error:
        mean = segment_sum(errors[:, 0, 0], offsets) / np.maximum(instruments.counts, 1)
        share = errors[:, 0, 0] / segment_repeat(mean, offsets)
    for block in blocks(offsets, loci=loci, depth=_DEPTH):
        yield (
            block,
            Profile(
                x=block.of(x, padding=0.0),
                y=block.of(y, padding=0.0),
                xx=block.of(errors[:, 0, 0], padding=1.0),
                yy=block.of(errors[:, 1, 1], padding=1.0),
                xy=block.of(errors[:, 0, 1], padding=0.0),
                known=block.known.astype(float),
                share=block.of(share, padding=0.0),
                loss=loss,
                overdispersion=overdispersion,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """Sizes that belong to the data alone, for grids that no unit moves."""

    effect: Float[np.ndarray, "block"]
    centre: Float[np.ndarray, "block"]
    width: Float[np.ndarray, "block"]
    tau2: Float[np.ndarray, "block"]


def scales_of(
    x: Float[np.ndarray, "block width"],
    y: Float[np.ndarray, "block width"],
    xx: Float[np.ndarray, "block width"],
    yy: Float[np.ndarray, "block width"],
    known: Float[np.ndarray, "block width"],
) -> Scales:
    """Return the size of effects, the inverse-variance slope, six of its standard errors, and the size of tau2."""
    weight = known / yy
    strength = (weight * x**2).sum(axis=1)
    safe = np.where(strength > 0, strength, 1.0)
    centre = (weight * x * y).sum(axis=1) / safe
    scatter = (weight * (y - centre[:, None] * x) ** 2).sum(axis=1) / np.maximum(known.sum(axis=1) - 1, 1)
    effect = np.sqrt((weight * (y**2 + yy)).sum(axis=1) / (weight * (x**2 + xx)).sum(axis=1))
    return Scales(
        effect=effect,
        centre=centre,
        width=6 * np.minimum(np.sqrt(np.maximum(scatter, 1.0) / safe), effect),
        tau2=(known * yy).sum(axis=1) / known.sum(axis=1),
    )


def solve_profiles(profile: Profile) -> tuple[Chosen, Roots]:
    """Find all solutions for every locus of a block and choose one.

    Without overdispersion the choice is the solution with the smallest loss, the maximum of the profile; with it, the
    solution nearest to that one.
    """
    sizes = scales_of(profile.x, profile.y, profile.xx, profile.yy, profile.known)

    def found(equations: Profile) -> Roots:
        return find_roots(equations, scale=sizes.effect, centre=sizes.centre, width=sizes.width, unit=sizes.tau2)

    plain = replace(profile, overdispersion="none")
    first = found(plain)
    best = smallest(first, plain.take(first.home).losses(first.beta), len(sizes.effect))
    if not profile.overdispersed:
        return best, first
    roots = found(profile)
    target = np.where(best.found, best.beta, sizes.centre)
    return nearest(roots, target, sizes.effect), roots


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """How a solution answers to its data: what gives its errors where the data share some.

    Attributes
    ----------
    members : how far the error of every member moves the solution.
    scatter : variance of the solution by the scatter of the instruments' contributions.
    """

    members: Float[np.ndarray, "factors block"]
    scatter: Float[np.ndarray, "block"]


def sensitivity(
    profile: Profile,
    beta: Float[np.ndarray, "block"],
    tau2: Float[np.ndarray, "block"],
    factors: Float[np.ndarray, "factors block width traits"],
) -> Sensitivity:
    """Return how members and instruments move the solution, by the implicit function theorem.

    Notes
    -----
    An instrument moves the solution by its contribution to the equations times minus the inverse of their derivatives;
    the squares of these moves sum to the scatter's variance (times J / (J - 1)).
    """
    sizes = scales_of(profile.x, profile.y, profile.xx, profile.yy, profile.known)
    slopes = jacobian(profile, beta, tau2, scale=sizes.effect, unit=sizes.tau2)
    each = slopes.solved(*(part.T for part in profile.contributions(beta, tau2)))
    n = profile.known.sum(axis=1)
    return Sensitivity(
        members=member_moves(profile, slopes, beta, tau2, factors),
        scatter=np.sum(each**2, axis=0) * n / np.maximum(n - 1, 1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Solutions:
    """What a method found at every locus; NaN where it found nothing.

    Attributes
    ----------
    beta, tau2, n_roots : the chosen solution, and among how many it was chosen.
    quantities : further numbers, a row each.
    sensitivity : where errors are shared, else None.
    reason : why there is no estimate; empty where there is one.
    """

    beta: Float[np.ndarray, "loci"]
    tau2: Float[np.ndarray, "loci"]
    n_roots: Float[np.ndarray, "loci"]
    quantities: Float[np.ndarray, "quantities loci"]
    sensitivity: Sensitivity | None
    reason: list[str]


Quantities = Callable[[Profile, Float[np.ndarray, "block"], Float[np.ndarray, "block"]], list[np.ndarray]]


def solve_loci(
    instruments: Instruments,
    loss: Loss,
    *,
    overdispersion: Overdispersion,
    reason: list[str],
    quantities: Quantities,
    n_quantities: int,
    by_exposure_error: bool = False,
) -> Solutions:
    """Solve the equations of every locus without a reason not to.

    Parameters
    ----------
    quantities : computes from a block's equations and solutions what the method needs beside them.
    """
    x, _ = exposure_of(instruments)
    n_loci, shared = len(instruments.loci), instruments.error_factors
    zero = segment_sum(np.abs(x), instruments.offsets) == 0
    beta, tau2, n_roots, scatter = (np.full(n_loci, np.nan) for _ in range(4))
    more = np.full((n_quantities, n_loci), np.nan)
    members = np.zeros((0 if shared is None else len(shared), n_loci))
    wanted = np.array([not why for why in reason], dtype=bool) & ~zero
    for block, profile in profile_blocks(
        instruments, loss, overdispersion=overdispersion, by_exposure_error=by_exposure_error, loci=wanted
    ):
        chosen, _ = solve_profiles(profile)
        good = np.flatnonzero(chosen.found)
        loci, own = block.loci[good], profile.take(good)
        beta[loci], tau2[loci] = chosen.beta[good], chosen.tau2[good]
        n_roots[block.loci] = chosen.count
        more[:, loci] = np.stack(quantities(own, beta[loci], tau2[loci]))
        if shared is not None:
            factors = shared[:, block.rows[good]] * block.known[good][..., None]
            answer = sensitivity(own, beta[loci], tau2[loci], factors.astype(float))
            members[:, loci], scatter[loci] = answer.members, answer.scatter
    none = "not identified: every exposure effect is zero"
    lost = "not identified: the profile likelihood has no maximum at a finite effect"
    return Solutions(
        beta=beta,
        tau2=tau2,
        n_roots=n_roots,
        quantities=more,
        sensitivity=None if shared is None else Sensitivity(members=members, scatter=scatter),
        reason=[
            why or (none if empty else lost if np.isnan(found) else "")
            for why, empty, found in zip(reason, zero, beta, strict=True)
        ],
    )


def total_errors(
    solutions: Solutions, variance: Float[np.ndarray, "loci"], counts: Int[np.ndarray, "loci"]
) -> tuple[TotalError, Float[np.ndarray, "factors loci"] | None]:
    """Return the standard errors, by a variance formula or, with shared errors, by scatter and members; and moves."""
    answer, df = solutions.sensitivity, np.maximum(counts - 1.0, 0.0)
    if answer is None:
        return standard_error(variance, df, None, distribution="normal"), None
    return standard_error(answer.scatter, df, answer.members, distribution="normal"), answer.members
