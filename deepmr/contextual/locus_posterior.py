"""What a Gaussian-process model of effects of loci says of the effect of a locus itself, old or new."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import special
from scipy.linalg import cho_solve

from deepmr.contextual.kernel_errors import expected_smooth
from deepmr.contextual.kernel_mixture import Component
from deepmr.contextual.kernel_posterior import cross_covariance
from deepmr.contextual.kernel_rows import Factored
from deepmr.contextual.kernel_shapes import kernels
from deepmr.errors import InputError

_ROUNDS = 80  # of halving the bracket of a quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalMixture:
    """Normal distributions, a row a component, one a column.

    Attributes
    ----------
    weights : of the components; a column for all points, or one each.
    means, sds : of each.
    """

    weights: Float[np.ndarray, "components _"]
    means: Float[np.ndarray, "components points"]
    sds: Float[np.ndarray, "components points"]

    @property
    def mean(self) -> Float[np.ndarray, "points"]:
        """Means of the mixtures."""
        found: np.ndarray = (self.weights * self.means).sum(axis=0)
        return found

    @property
    def sd(self) -> Float[np.ndarray, "points"]:
        """Standard deviations of the mixtures."""
        spread: np.ndarray = np.sqrt((self.weights * (self.sds**2 + (self.means - self.mean) ** 2)).sum(axis=0))
        return spread

    def interval(self, level: float) -> tuple[Float[np.ndarray, "points"], Float[np.ndarray, "points"]]:
        """Return the quantiles between which a share `level` lies, as much beyond either."""
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)

    def quantile(self, share: float) -> Float[np.ndarray, "points"]:
        """Return where a share of each mixture lies below, by halving."""
        each = self.means + special.ndtri(share) * self.sds
        low, high = each.min(axis=0), each.max(axis=0)
        for _ in range(_ROUNDS):
            middle = (low + high) / 2
            below = self.below(middle) < share
            low, high = np.where(below, middle, low), np.where(below, high, middle)
            if np.all(high - low <= 1e-12 * (np.abs(middle) + 1e-300)):
                break
        return (low + high) / 2

    def below(self, values: Float[np.ndarray, "points"]) -> Float[np.ndarray, "points"]:
        """Return the share of each mixture below a value."""
        off = np.where(self.means <= values, np.inf, -np.inf)
        z = np.divide(values - self.means, self.sds, out=off, where=self.sds > 0)
        found: np.ndarray = (self.weights * special.ndtr(z)).sum(axis=0)
        return found

    def log_density(self, values: Float[np.ndarray, "points"]) -> Float[np.ndarray, "points"]:
        """Return the log density of each mixture at a value."""
        each = -0.5 * ((values - self.means) / self.sds) ** 2 - np.log(self.sds * np.sqrt(2 * np.pi))
        found: np.ndarray = special.logsumexp(each, b=self.weights, axis=0)
        return found

    def scaled(self, centre: float, size: float) -> "NormalMixture":
        """Return the distributions of centre + size times what these are of."""
        return NormalMixture(weights=self.weights, means=centre + size * self.means, sds=abs(size) * self.sds)


def dense(one: Component) -> Factored:
    """Return a component's model, factored with all pairs of rows.

    Parameters
    ----------
    one : component.
    """
    if not isinstance(one.at, Factored):
        raise InputError("what loci say of each other needs all pairs of them; this fit has inducing contexts")
    return one.at


def old_loci(components: Sequence[Component]) -> NormalMixture:
    """Return the distribution of each fitted locus's own effect, f(c_l) + u_l, given all effects.

    Parameters
    ----------
    components : of a mixture with one column of ones.

    Notes
    -----
    With N = diag(noise) + F'F the covariance of the errors, the mean is y - N P y and the covariance N - N P N, where
    P = V^-1 - V^-1 x (x' V^-1 x)^-1 x' V^-1.
    """
    means, sds = [], []
    for one in components:
        model, at = one.model, dense(one)
        errors = np.diag(model.noise)
        if model.factors is not None:
            errors = errors + model.factors.T @ model.factors
        means.append(model.y - errors @ at.weights)
        solved = cho_solve(at.chol, errors, check_finite=False)
        moved = at.solved_x.T @ errors
        left = np.einsum("ij,ij->j", errors, solved) - np.einsum("ai,ab,bi->i", moved, at.covariance, moved)
        sds.append(np.sqrt(np.maximum(np.diag(errors) - left, 0.0)))
    return NormalMixture(weights=_weights(components), means=np.array(means), sds=np.array(sds))


def new_loci(
    components: Sequence[Component],
    z: Float[np.ndarray, "points contexts"],
    *,
    scatter: bool,
    noise: Float[np.ndarray, "points"] | None = None,
    factors: Float[np.ndarray, "factors points"] | None = None,
    z_variance: Float[np.ndarray, "points contexts"] | None = None,
) -> NormalMixture:
    """Return the distribution of f at contexts; with the scatter of loci and errors, that of what would be seen.

    Parameters
    ----------
    components : of a mixture with one column of ones.
    z : standardised contexts; expected ones where they have errors.
    scatter : whether a locus's own deviation from f is added, with variance tau^2.
    noise : error variances that are added; None for none.
    factors : of errors that the new loci share with the fitted ones; None for none.
    z_variance : of the contexts; None where they are exact, and not heeded unless those of the rows have some.
    """
    means, sds = [], []
    for one in components:
        model, at = one.model, dense(one)
        lengths, linear, smooth, tau2, _ = model.layout.split(at.theta)
        cross, before = np.zeros((len(z), len(model.y))), np.zeros(len(z))
        if len(lengths):
            lin, sq, _ = kernels(model.shape, lengths, z, model.z)
            own = z**2
            if model.z_variance is not None:
                new = np.zeros_like(z) if z_variance is None else z_variance
                sq, own = expected_smooth(lengths, z, model.z, new, model.z_variance), z**2 + new
            cross = linear[0] * lin
            before = linear[0] * (own / lengths**2).sum(axis=1)
            if len(smooth):
                cross, before = cross + smooth[0] * sq, before + smooth[0]
        if scatter and len(tau2):
            before = before + tau2[0]
        if noise is not None:
            before = before + noise
        if factors is not None and model.factors is not None:
            cross, before = cross + factors.T @ model.factors, before + (factors**2).sum(axis=0)
        r = 1.0 - cross @ at.solved_x[:, 0]
        learned = np.einsum("pi,ip->p", cross, cho_solve(at.chol, cross.T, check_finite=False))
        means.append(at.constant[0] + cross @ at.weights)
        sds.append(np.sqrt(np.maximum(before - learned + r**2 * at.covariance[0, 0], 0.0)))
    return NormalMixture(weights=_weights(components), means=np.array(means), sds=np.array(sds))


def moved_by_factors(
    one: Component, factors: Float[np.ndarray, "factors rows"], z: Float[np.ndarray, "points contexts"] | None = None
) -> Float[np.ndarray, "factors points"]:
    """Return how errors that loci share move f at points, or, without points, the fitted loci's own effects.

    Parameters
    ----------
    one : component.
    factors : of the shared errors.
    z : standardised contexts.
    """
    model, at = one.model, dense(one)
    solved = cho_solve(at.chol, factors.T, check_finite=False)
    constant = at.covariance[0, 0] * (at.solved_x[:, 0] @ factors.T)
    projected = solved - np.outer(at.solved_x[:, 0], constant)  # P F'
    if z is None:
        errors = np.diag(model.noise)
        if model.factors is not None:
            errors = errors + model.factors.T @ model.factors
        return (factors.T - errors @ projected).T
    moved: np.ndarray = (constant + cross_covariance(model, at.theta, z)[0][:, 0] @ projected).T
    return moved


def _weights(components: Sequence[Component]) -> Float[np.ndarray, "components 1"]:
    return np.array([[one.weight] for one in components])
