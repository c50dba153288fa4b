"""Profile equations of several exposures whose instruments are in linkage disequilibrium, with squares for a loss.

With R the correlation of the instruments and e = y - X b, V = Cov(e) + tau2 I and C_p = Cov(errors of x_p, e) are
dense; z = V^-1 e, g_p = x_p - C_p z, and the score of b is g_p' z: minus half the gradient of e' V^-1 e.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from deepmr.mr.multivariable.profiles import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedProfile:
    """A block of loci, as `Profile`.

    Attributes
    ----------
    plain : effects and errors of every instrument.
    roots : L_j with L_j L_j' the error covariance of instrument j; the covariance of trait p at j and q at l is
        R_jl (L_j L_l')_pq.
    correlation : R; the identity for padding.
    """

    plain: Profile
    roots: Float[np.ndarray, "block width traits traits"]
    correlation: Float[np.ndarray, "block width width"]

    @classmethod
    def of(cls, plain: Profile, correlation: Float[np.ndarray, "block width width"]) -> "LinkedProfile":
        """Return the equations of instruments that would be independent otherwise."""
        tiny = np.finfo(float).tiny * np.eye(plain.errors.shape[-1])
        return cls(plain=plain, roots=np.linalg.cholesky(plain.errors + tiny), correlation=correlation)

    @property
    def x(self) -> Float[np.ndarray, "block width exposures"]:
        """Effects on the exposures."""
        return self.plain.x

    @property
    def errors(self) -> Float[np.ndarray, "block width traits traits"]:
        """Covariance of the errors of an instrument."""
        return self.plain.errors

    @property
    def known(self) -> Float[np.ndarray, "block width"]:
        """1, and 0 for padding."""
        return self.plain.known

    @property
    def df(self) -> Float[np.ndarray, "block"]:
        """J less the degrees of freedom spent."""
        return self.plain.df

    @property
    def overdispersed(self) -> bool:
        """Whether tau2 is estimated."""
        return self.plain.overdispersed

    def undispersed(self) -> "LinkedProfile":
        """Return the equations with a tau2 of 0."""
        return replace(self, plain=self.plain.undispersed())

    def take(self, index: Int[np.ndarray, "picked"]) -> "LinkedProfile":
        """Return the equations of these loci of the block."""
        return LinkedProfile(plain=self.plain.take(index), roots=self.roots[index], correlation=self.correlation[index])

    def moved(
        self, by_x: Float[np.ndarray, "block width exposures"], by_y: Float[np.ndarray, "block width"]
    ) -> "LinkedProfile":
        """Return the equations with other effects."""
        return replace(self, plain=self.plain.moved(by_x, by_y))

    def terms(self, beta: Float[np.ndarray, "block exposures"], tau2: Float[np.ndarray, "block"]) -> "LinkedTerms":
        """Return e, V, V^-1 e, C and g."""
        mix = np.concatenate([-beta, np.ones((len(beta), 1))], axis=1)
        turned = np.einsum("bjpm,bp->bjm", self.roots, mix)
        own = (tau2[:, None] * self.known)[..., None] * np.eye(self.known.shape[1])
        v = self.correlation * (turned @ turned.swapaxes(1, 2)) + own
        e = self.plain.y - np.einsum("bjp,bp->bj", self.x, beta)
        z = np.linalg.solve(v, e[..., None])[..., 0]
        exposures = self.roots[:, :, :-1]
        c = self.correlation[:, None] * np.einsum("bjpm,blm->bpjl", exposures, turned)
        return LinkedTerms(e=e, v=v, z=z, c=c, g=self.x - np.einsum("bpjl,bl->bjp", c, z))

    def evaluate(
        self, beta: Float[np.ndarray, "block exposures"], tau2: Float[np.ndarray, "block"]
    ) -> tuple[Float[np.ndarray, "block exposures"], Float[np.ndarray, "block"], Float[np.ndarray, "block"]]:
        """Return the score of beta, (e' V^-1 e - df) / 2, and its slope in tau2."""
        at = self.terms(beta, tau2)
        score = np.einsum("bjp,bj->bp", at.g, at.z)
        if not self.overdispersed:
            return score, np.zeros_like(tau2), np.zeros_like(tau2)
        square, slope = np.einsum("bj,bj->b", at.e, at.z), np.einsum("bj,bj->b", at.z, at.z * self.known)
        return score, (square - self.df) / 2, -slope / 2

    def curvature(
        self, beta: Float[np.ndarray, "block exposures"], tau2: Float[np.ndarray, "block"]
    ) -> Float[np.ndarray, "block exposures exposures"]:
        """Return G' V^-1 G."""
        at = self.terms(beta, tau2)
        return at.g.swapaxes(1, 2) @ np.linalg.solve(at.v, at.g)

    def information(
        self, beta: Float[np.ndarray, "block exposures"], tau2: Float[np.ndarray, "block"]
    ) -> Float[np.ndarray, "block exposures exposures"]:
        """Return X' V^-1 X."""
        at = self.terms(beta, tau2)
        return self.x.swapaxes(1, 2) @ np.linalg.solve(at.v, self.x)

    def q(
        self, beta: Float[np.ndarray, "block exposures"], tau2: Float[np.ndarray, "block"]
    ) -> Float[np.ndarray, "block"]:
        """Return e' V^-1 e."""
        at = self.terms(beta, tau2)
        return np.einsum("bj,bj->b", at.e, at.z)

    def losses(
        self, beta: Float[np.ndarray, "block exposures"], tau2: Float[np.ndarray, "block"]
    ) -> Float[np.ndarray, "block"]:
        """Return e' V^-1 e / 2."""
        return self.q(beta, tau2) / 2

    def contributions(
        self, beta: Float[np.ndarray, "block exposures"], tau2: Float[np.ndarray, "block"]
    ) -> tuple[Float[np.ndarray, "block width exposures"], Float[np.ndarray, "block width"]]:
        """Return what every instrument adds to both equations, once turned so that residuals are independent."""
        at = self.terms(beta, tau2)
        values, vectors = np.linalg.eigh(at.v)
        # The symmetric root: no other is the same whatever the order of the instruments.
        root = (vectors / np.sqrt(values)[:, None]) @ vectors.swapaxes(1, 2)
        both = root @ np.concatenate([at.g, at.e[..., None]], axis=2)
        g, e = both[..., :-1], both[..., -1]
        share = (self.df / self.known.sum(axis=1))[:, None]
        return g * e[..., None], self.known * (e**2 - share) / 2

    def sandwich(
        self, beta: Float[np.ndarray, "block exposures"], tau2: Float[np.ndarray, "block"]
    ) -> Float[np.ndarray, "block exposures"]:
        """Return the variance (A - N)^-1 A (A - N)^-1: A = G' V^-1 G, N the share of A that is the error of G."""
        at = self.terms(beta, tau2)
        size = at.g.swapaxes(1, 2) @ np.linalg.solve(at.v, at.g)
        exposures = self.roots[:, :, :-1]
        own = self.correlation[:, None, None] * np.einsum("bjpm,blqm->bpqjl", exposures, exposures)
        precision = np.linalg.inv(at.v)
        left = np.einsum("bpjl,blm->bpjm", at.c, precision)
        # Cov(g_p, g_q) = S_pq - C_p V^-1 C_q'
        noise = np.einsum("bjl,bpqlj->bpq", precision, own) - np.einsum(
            "bij,bpjm,bqim->bpq", precision, left, at.c, optimize=True
        )
        signal = size - (noise + noise.swapaxes(1, 2)) / 2
        singular = ~(np.abs(np.linalg.det(signal)) > 0)
        bread = np.linalg.inv(np.where(singular[:, None, None], np.eye(beta.shape[1]), signal))
        return np.einsum("bpq,bqr,bpr->bp", bread, size, bread)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedTerms:
    """What variance formulas are made of; see the top of this file."""

    e: Float[np.ndarray, "block width"]
    v: Float[np.ndarray, "block width width"]
    z: Float[np.ndarray, "block width"]
    c: Float[np.ndarray, "block exposures width width"]
    g: Float[np.ndarray, "block width exposures"]
