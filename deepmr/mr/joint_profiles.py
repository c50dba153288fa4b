"""Profile equations of a line through the origin with any joint covariance of all effects of a locus.

With e = y - b x, V = Cov(e) + tau2 I, C = Cov(error of x, e) and z = V^-1 e: the best guess of the true exposure
effects given b is g = x - C z, independent of e under normal errors, and the profile score of b is g'z. Robust losses
act on whitened residuals r = M e, M'M = V^-1: the score is then sum_j rho'(r_j) (M g)_j.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from deepmr.mr.errors import JointErrors, Structured, dot, joint_errors
from deepmr.mr.implicit import jacobian, member_moves
from deepmr.mr.lines import exposure_of
from deepmr.mr.losses import Loss, LossName, loss_of
from deepmr.mr.profiles import Scales, scales_of
from deepmr.mr.roots import Chosen, find_roots, nearest, smallest
from deepmr.packed import Block, blocks
from deepmr.types import Instruments

_DEPTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class JointProfile:
    """A block of loci: effects (0 for padding), the joint covariance of their errors, and which equations hold.

    With l2 loss tau2 solves e'V^-1 e = J - 1, and with another sum rho(r_j) = (J - 1) E rho(Z), which is the same then.
    """

    x: Float[np.ndarray, "block width"]
    y: Float[np.ndarray, "block width"]
    known: Float[np.ndarray, "block width"]
    errors: JointErrors
    overdispersed: bool = False
    loss: Loss = field(default_factory=lambda: loss_of("l2"))

    def take(self, index: Int[np.ndarray, "picked"]) -> "JointProfile":
        """Return the equations of these loci of the block."""
        return replace(self, x=self.x[index], y=self.y[index], known=self.known[index], errors=self.errors.take(index))

    def moved(self, by_x: Float[np.ndarray, "block width"], by_y: Float[np.ndarray, "block width"]) -> "JointProfile":
        """Return the equations with other effects."""
        return replace(self, x=self.x + by_x, y=self.y + by_y)

    def terms(self, beta: Float[np.ndarray, "block"], tau2: Float[np.ndarray, "block"]) -> "JointTerms":
        """Return e, C, V^-1, z and g."""
        exposure, residual = mixtures(beta)
        precision = self.errors.between(residual, residual).shifted(tau2[:, None] * self.known).inverse()
        e = self.y - beta[:, None] * self.x
        cross = self.errors.between(exposure, residual)
        z = precision.times(e[..., None])
        return JointTerms(e=e, c=cross, precision=precision, z=z[..., 0], g=self.x - cross.times(z)[..., 0])

    def whitened(self, beta: Float[np.ndarray, "block"], tau2: Float[np.ndarray, "block"]) -> "Whitened":
        """Return M, M e and M g."""
        exposure, residual = mixtures(beta)
        root = self.errors.between(residual, residual).shifted(tau2[:, None] * self.known).inverse_root()
        e = (self.y - beta[:, None] * self.x)[..., None]
        r = root.times(e)
        g = self.x[..., None] - self.errors.between(exposure, residual).times(root.turned().times(r))
        return Whitened(root=root, r=r[..., 0], h=root.times(g)[..., 0])

    def evaluate(
        self, beta: Float[np.ndarray, "block"], tau2: Float[np.ndarray, "block"]
    ) -> tuple[Float[np.ndarray, "block"], Float[np.ndarray, "block"], Float[np.ndarray, "block"]]:
        """Return the score of beta, the equation of tau2, and the latter's slope in tau2."""
        free = self.known.sum(axis=1) - 1
        if self.loss.name == "l2":
            at = self.terms(beta, tau2)
            return dot(at.g, at.z), dot(at.e, at.z) - free, -dot(at.z, at.z)
        white = self.whitened(beta, tau2)
        square = white.r**2
        pull = self.loss.weight(square) * white.r
        back = white.root.turned()
        # The slope is exact where M changes with tau2 in its own eigenspaces, as for independent errors.
        slope = -dot(back.times(pull[..., None])[..., 0], back.times(white.r[..., None])[..., 0]) / 2
        return dot(white.h, pull), dot(self.loss.rho(square), self.known) - free * self.loss.mean, slope

    def losses(self, beta: Float[np.ndarray, "block"]) -> Float[np.ndarray, "block"]:
        """Return the sum of losses without overdispersion."""
        if self.loss.name == "l2":
            return self.heterogeneity(beta) / 2
        return dot(self.loss.rho(self.whitened(beta, np.zeros_like(beta)).r ** 2), self.known)

    def heterogeneity(self, beta: Float[np.ndarray, "block"]) -> Float[np.ndarray, "block"]:
        """Return e'V^-1 e without overdispersion."""
        at = self.terms(beta, np.zeros_like(beta))
        return dot(at.e, at.z)

    def scales(self) -> Scales:
        """Return the sizes of the locus's numbers."""
        covariance = self.errors.own + np.einsum("bjtk,bjuk->bjtu", self.errors.shared, self.errors.shared)
        return scales_of(self.x, self.y, covariance[..., 0, 0] * self.known, covariance[..., 1, 1], self.known)


@dataclass(frozen=True, slots=True, kw_only=True)
class JointTerms:
    """What variance formulas are made of; see `JointProfile`."""

    e: Float[np.ndarray, "block width"]
    c: Structured
    precision: Structured
    z: Float[np.ndarray, "block width"]
    g: Float[np.ndarray, "block width"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whitened:
    """M with M'M = V^-1, residuals r = M e with independent errors of variance 1, and h = M g."""

    root: Structured
    r: Float[np.ndarray, "block width"]
    h: Float[np.ndarray, "block width"]


def mixtures(beta: Float[np.ndarray, "block"]) -> tuple[Float[np.ndarray, "block 2"], Float[np.ndarray, "block 2"]]:
    """Return the exposure and the residual y - b x as mixtures of exposure and outcome."""
    one = np.ones_like(beta)
    return np.stack([one, 0 * one], axis=1), np.stack([-beta, one], axis=1)


def joint_blocks(
    instruments: Instruments, *, overdispersed: bool, loci: Bool[np.ndarray, "loci"], loss: LossName = "l2"
) -> Iterator[tuple[Block, JointProfile]]:
    """Yield these loci, block by block, with their equations."""
    x, _ = exposure_of(instruments)
    factors = instruments.error_factors
    depth = _DEPTH * (1 + (0 if factors is None else len(factors)))
    if instruments.correlation is not None:
        depth = max(depth, int(instruments.counts.max(initial=1)))
    for block in blocks(instruments.offsets, loci=loci, depth=depth):
        yield (
            block,
            JointProfile(
                x=block.of(x, padding=0.0),
                y=block.of(instruments.beta_outcome.astype(float), padding=0.0),
                known=block.known.astype(float),
                errors=joint_errors(instruments, block),
                overdispersed=overdispersed,
                loss=loss_of(loss),
            ),
        )


def solve_joint(profile: JointProfile) -> Chosen:
    """Find all solutions for every locus of a block and choose one, as `deepmr.mr.profiles.solve_profiles` does."""
    sizes = profile.scales()
    grid = {"scale": sizes.effect, "centre": sizes.centre, "width": sizes.width, "unit": sizes.tau2}
    first = find_roots(replace(profile, overdispersed=False), **grid)
    best = smallest(first, profile.take(first.home).losses(first.beta), len(sizes.effect))
    if not profile.overdispersed:
        return best
    return nearest(find_roots(profile, **grid), np.where(best.found, best.beta, sizes.centre), sizes.effect)


def joint_moves(
    profile: JointProfile,
    beta: Float[np.ndarray, "block"],
    tau2: Float[np.ndarray, "block"],
    factors: Float[np.ndarray, "factors block width traits"],
) -> Float[np.ndarray, "factors block"]:
    """Return how far the error of every member moves the solution."""
    sizes = profile.scales()
    slopes = jacobian(profile, beta, tau2, scale=sizes.effect, unit=sizes.tau2)
    return member_moves(profile, slopes, beta, tau2, factors)


def score_variance(
    profile: JointProfile, beta: Float[np.ndarray, "block"], tau2: Float[np.ndarray, "block"]
) -> Float[np.ndarray, "block"]:
    """Return the variance of a solution under normal errors; NaN where the exposure effects are lost in their errors.

    With A = g'V^-1 g, E over a standard normal Z and delta = E Z rho'(Z): the score's variance is E rho'(Z)^2 A, its
    slope delta (A - tr(V^-1 (S_xx - C V^-1 C'))). Where tau2 is above 0, its own variance adds to that of the score.
    """
    at, loss = profile.terms(beta, tau2), profile.loss
    exposure, _ = mixtures(beta)
    strength = dot(at.g, at.precision.times(at.g[..., None])[..., 0])
    left, right = at.precision.after(at.c), at.precision.after(at.c.turned())
    noise = at.precision.after(profile.errors.between(exposure, exposure)).trace() - left.after(right).trace()
    signal = loss.delta * (strength - noise)
    # Padding has an error of the outcome alone, of variance 1.
    count, total = profile.known.sum(axis=1), at.precision.trace() - (1 - profile.known).sum(axis=1)
    cross = loss.delta * left.after(at.precision).trace()
    dispersion = np.where(tau2 > 0, count * loss.variance / (loss.delta / 2 * total) ** 2, 0.0)
    score = loss.score_square * strength + cross**2 * dispersion
    return np.where(signal > 0, score / np.where(signal > 0, signal, 1.0) ** 2, np.nan)
