"""Profile equations of several exposures' direct effects, with errors in all effects; see `deepmr.mr.profiles`.

With e_j = y_j - x_j' b, v_j = Var(e_j) + tau2 and C_j = Cov(errors of x_j, e_j), the best guess of the true effects on
the exposures given b is g_j = x_j - C_j e_j / v_j, and the score of b is sum_j g_j rho'(z_j) / sqrt(v_j),
z_j = e_j / sqrt(v_j): minus the gradient of sum_j rho(z_j).
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from deepmr.mr.losses import Loss

_STEP = 1e-5  # of differences, where effects have a size of 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A block of loci: effects, the covariance of their errors, and which equations hold.

    Attributes
    ----------
    x, y : effects on exposures and outcome; 0 for padding.
    errors : covariance of their errors, exposures first; for padding a variance of the outcome of 1, and 0 else.
    known : 1, and 0 for padding.
    df : J less the degrees of freedom spent.
    loss : rho.
    overdispersed : estimate tau2 by sum rho(z_j) = df E rho(Z); else it is 0.
    """

    x: Float[np.ndarray, "block width exposures"]
    y: Float[np.ndarray, "block width"]
    errors: Float[np.ndarray, "block width traits traits"]
    known: Float[np.ndarray, "block width"]
    df: Float[np.ndarray, "block"]
    loss: Loss
    overdispersed: bool

    def take(self, index: Int[np.ndarray, "picked"]) -> "Profile":
        """Return the equations of these loci of the block."""
        names = ("x", "y", "errors", "known", "df")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def moved(
        self, by_x: Float[np.ndarray, "block width exposures"], by_y: Float[np.ndarray, "block width"]
    ) -> "Profile":
        """Return the equations with other effects."""
        return replace(self, x=self.x + by_x, y=self.y + by_y)

    def terms(self, beta: Float[np.ndarray, "block exposures"], tau2: Float[np.ndarray, "block"]) -> "Terms":
        """Return e, C, v and g of every instrument."""
        k = self.x.shape[2]
        between = self.errors[:, :, :k, k]
        cov = between - np.einsum("bjpq,bq->bjp", self.errors[:, :, :k, :k], beta)
        e = self.y - np.einsum("bjp,bp->bj", self.x, beta)
        v = self.errors[:, :, k, k] - np.einsum("bjp,bp->bj", between + cov, beta) + tau2[:, None]
        return Terms(e=e, c=cov, v=v, g=self.x - cov * (e / v)[..., None])

    def evaluate(
        self, beta: Float[np.ndarray, "block exposures"], tau2: Float[np.ndarray, "block"]
    ) -> tuple[Float[np.ndarray, "block exposures"], Float[np.ndarray, "block"], Float[np.ndarray, "block"]]:
        """Return the score of beta, the equation of tau2 (positive where tau2 is too small), and its slope in tau2."""
        at = self.terms(beta, tau2)
        square = at.e**2 / at.v
        weight = self.loss.weight(square)
        score = np.einsum("bjp,bj->bp", at.g, weight * at.e / at.v)
        if not self.overdispersed:
            return score, np.zeros_like(tau2), np.zeros_like(tau2)
        excess = np.einsum("bj,bj->b", self.loss.rho(square), self.known) - self.df * self.loss.mean
        return score, excess, -np.einsum("bj,bj->b", weight * square, 1 / at.v) / 2

    def contributions(
        self, beta: Float[np.ndarray, "block exposures"], tau2: Float[np.ndarray, "block"]
    ) -> tuple[Float[np.ndarray, "block width exposures"], Float[np.ndarray, "block width"]]:
        """Return what every instrument adds to both equations."""
        at = self.terms(beta, tau2)
        square = at.e**2 / at.v
        score = at.g * (self.loss.weight(square) * at.e / at.v)[..., None]
        share = self.df / self.known.sum(axis=1)
        return score, self.known * (self.loss.rho(square) - share[:, None] * self.loss.mean)

    def losses(
        self, beta: Float[np.ndarray, "block exposures"], tau2: Float[np.ndarray, "block"]
    ) -> Float[np.ndarray, "block"]:
        """Return the sum of losses."""
        at = self.terms(beta, tau2)
        return self.loss.rho(at.e**2 / at.v).sum(axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What variance formulas are made of; see `Profile`."""

    e: Float[np.ndarray, "block width"]
    c: Float[np.ndarray, "block width exposures"]
    v: Float[np.ndarray, "block width"]
    g: Float[np.ndarray, "block width exposures"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slopes:
    """Derivatives of the score (b.) and of the equation of tau2 (t.); `free` where tau2 is above 0."""

    bb: Float[np.ndarray, "block exposures exposures"]
    bt: Float[np.ndarray, "block exposures"]
    tb: Float[np.ndarray, "block exposures"]
    tt: Float[np.ndarray, "block"]
    free: Bool[np.ndarray, "block"]

    @classmethod
    def of(
        cls, profile: Profile, beta: Float[np.ndarray, "block exposures"], tau2: Float[np.ndarray, "block"]
    ) -> "Slopes":
        """Return the derivatives by central differences; effects have a size of 1."""
        bb, tb = np.zeros((*beta.shape, beta.shape[1])), np.zeros_like(beta)
        for i in range(beta.shape[1]):
            step = _STEP * (1 + np.abs(beta[:, i]))
            shift = np.zeros_like(beta)
            shift[:, i] = step
            up, down = profile.evaluate(beta + shift, tau2), profile.evaluate(beta - shift, tau2)
            bb[:, :, i] = (up[0] - down[0]) / (2 * step[:, None])
            tb[:, i] = (up[1] - down[1]) / (2 * step)
        # No smaller than rounding, no larger than keeps every variance positive.
        step = _STEP * (tau2 + profile.errors[..., -1, -1].min(axis=1))
        more, less = profile.evaluate(beta, tau2 + step), profile.evaluate(beta, tau2 - step)
        return cls(
            bb=bb,
            tb=tb,
            bt=(more[0] - less[0]) / (2 * step[:, None]),
            tt=(more[1] - less[1]) / (2 * step),
            free=(tau2 > 0) & profile.overdispersed,
        )

    def solved(
        self, first: Float[np.ndarray, "*lead block exposures"], second: Float[np.ndarray, "*lead block"]
    ) -> Float[np.ndarray, "*lead block exposures"]:
        """Return the beta part of J^-1 (first, second); where tau2 is not free, of bb^-1 first."""
        tt = np.where(self.free & (self.tt != 0), self.tt, 1.0)
        pull = np.where(self.free[:, None], self.bt / tt[:, None], 0.0)
        total = self.bb - pull[:, :, None] * self.tb[:, None, :]
        singular = ~(np.abs(np.linalg.det(total)) > 0)
        inverse = np.linalg.inv(np.where(singular[:, None, None], np.eye(total.shape[1]), total))
        found = np.einsum("bpq,...bq->...bp", inverse, first - pull * second[..., None])
        return np.where(singular[:, None], np.nan, found)


def sandwich(
    profile: Profile, beta: Float[np.ndarray, "block exposures"], tau2: Float[np.ndarray, "block"]
) -> Float[np.ndarray, "block exposures"]:
    """Return the variance of the effects from the score's derivative and its variance, with tau2's part."""
    at, loss, k = profile.terms(beta, tau2), profile.loss, beta.shape[1]
    pull = loss.weight(at.e**2 / at.v) * at.e / at.v
    scaled = at.g / at.v[..., None]
    size = scaled.swapaxes(1, 2) @ at.g
    # The score's derivative, without the part that has a mean of 0 since g and e are independent.
    turn = np.einsum("bjpq,bj->bpq", profile.errors[:, :, :k, :k], at.e / at.v * pull)
    turn -= np.einsum("bjp,bjq,bj->bpq", at.c, profile.x, pull / at.v)
    own = loss.delta * size - turn
    singular = ~(np.abs(np.linalg.det(own)) > 0)
    bread = np.linalg.inv(np.where(singular[:, None, None], np.eye(k), own))
    cross = loss.delta * np.einsum("bjp,bj->bp", at.c, profile.known / at.v**2)
    slope = loss.delta / 2 * np.sum(profile.known / at.v, axis=1)
    dispersion = np.where(tau2 > 0, profile.known.sum(axis=1) * loss.variance / slope**2, 0.0)
    meat = loss.score_square * size + cross[:, :, None] * cross[:, None, :] * dispersion[:, None, None]
    return np.einsum("bpq,bqr,bpr->bp", bread, meat, bread)


def scatter(
    profile: Profile, slopes: Slopes, beta: Float[np.ndarray, "block exposures"], tau2: Float[np.ndarray, "block"]
) -> Float[np.ndarray, "block exposures"]:
    """Return the variance of the solution by the scatter of the instruments' contributions, times J / (J - K)."""
    score, excess = profile.contributions(beta, tau2)
    each = slopes.solved(np.moveaxis(score, 1, 0), excess.T)
    n = profile.known.sum(axis=1)
    return np.sum(each**2, axis=0) * (n / np.maximum(profile.df, 1.0))[:, None]


def member_moves(
    profile: Profile,
    slopes: Slopes,
    beta: Float[np.ndarray, "block exposures"],
    tau2: Float[np.ndarray, "block"],
    factors: Float[np.ndarray, "factors block width traits"],
) -> Float[np.ndarray, "factors block exposures"]:
    """Return how far the error of every member moves the solution; see `deepmr.mr.implicit.member_moves`."""
    moves = np.zeros((len(factors), *beta.shape))
    for i, factor in enumerate(factors):
        up = profile.moved(factor[..., :-1], factor[..., -1]).evaluate(beta, tau2)
        down = profile.moved(-factor[..., :-1], -factor[..., -1]).evaluate(beta, tau2)
        moves[i] = -slopes.solved((up[0] - down[0]) / 2, (up[1] - down[1]) / 2)
    return moves
