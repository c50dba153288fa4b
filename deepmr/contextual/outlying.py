"""Loci that lie farther from f than the scatter of loci allows, and what is then said of their own effects."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats
from scipy.linalg import cho_solve

from deepmr.contextual.kernel_mixture import Mixture
from deepmr.contextual.locus_posterior import NormalMixture, dense, old_loci

_GAIN = 5.0  # log likelihood that two more parameters have to add before loci count as outlying
_ROUNDS, _DONE = 500, 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlying:
    """Deviations of loci from f as a mixture of two normal distributions, the wider one for a few.

    Attributes
    ----------
    probability : of each locus, that it is of the wider one; 0 where one distribution does.
    share, size : how many are, and the standard deviation that it adds.
    kurtosis : excess kurtosis of `residual`, 0 of normal ones.
    residual : of each estimate about what all other loci say of it, over its standard deviation.
    spread : that standard deviation.
    """

    probability: Float[np.ndarray, "loci"]
    share: float
    size: float
    kurtosis: float
    residual: Float[np.ndarray, "loci"]
    spread: Float[np.ndarray, "loci"]

    @property
    def warning(self) -> tuple[str, ...]:
        """What a reader has to know, in a sentence; none where nothing lies off."""
        if not self.share:
            return ()
        n, far = len(self.residual), int((self.probability > 0.5).sum())
        return (
            f"{far} of {n} loci lie farther from f than the scatter of loci allows (excess kurtosis of residuals "
            f"{self.kurtosis:.1f}): their own effects stay near their estimates, and intervals of new loci, which tau "
            "makes, miss more of such loci than their level says.",
        )


def find_outlying(mixture: Mixture) -> Outlying:
    """Find loci that lie farther from f than its scatter allows.

    Parameters
    ----------
    mixture : fit of effects of loci.

    Notes
    -----
    With P of the heaviest component, r = (P y)_l / P_ll is the residual of a locus about what all others say, with
    variance s^2 = 1 / P_ll. r ~ (1 - p) N(0, s^2) + p N(0, s^2 + w^2), p and w^2 by EM; taken up if it adds at
    least 5 to the log likelihood of r ~ N(0, s^2), so that normal scatter is left alone.
    """
    one = max(mixture.components, key=lambda component: component.weight)
    at = dense(one)
    inverse = np.diag(cho_solve(at.chol, np.eye(len(one.model.y)), check_finite=False))
    precision = np.maximum(inverse - np.einsum("ij,jk,ik->i", at.solved_x, at.covariance, at.solved_x), 1e-300)
    spread = 1 / np.sqrt(precision)
    residual = at.weights * spread  # P y over the root of the diagonal of P
    share, size, chance, gain = _two_normals(residual * spread, spread)
    found = gain > _GAIN and size > 0
    return Outlying(
        probability=chance if found else np.zeros_like(chance),
        share=share if found else 0.0,
        size=size if found else 0.0,
        kurtosis=float(stats.kurtosis(residual)),
        residual=residual,
        spread=spread,
    )


def _two_normals(
    r: Float[np.ndarray, "loci"], spread: Float[np.ndarray, "loci"]
) -> tuple[float, float, Float[np.ndarray, "loci"], float]:
    share, wide = 0.05, float(np.max((r / spread) ** 2) * np.median(spread**2)) / 2
    before = -np.inf
    narrow = np.asarray(stats.norm.logpdf(r, scale=spread))
    chance, value = np.zeros_like(r), float(narrow.sum())
    for _ in range(_ROUNDS):
        whole = spread**2 + wide
        each = np.stack([np.log1p(-share) + narrow, np.log(share) + stats.norm.logpdf(r, scale=np.sqrt(whole))])
        total = np.logaddexp(each[0], each[1])
        value, chance = float(total.sum()), np.exp(each[1] - total)
        if value - before < _DONE:
            break
        before = value
        share = float(np.clip(chance.mean(), 1e-12, 0.5))
        squared = (wide / whole * r) ** 2 + wide * spread**2 / whole
        wide = float(chance @ squared / max(chance.sum(), 1e-300))
    return share, float(np.sqrt(wide)), chance, value - float(narrow.sum())


def own_effects(mixture: Mixture, outlying: Outlying) -> NormalMixture:
    """Return the distribution of each fitted locus's own effect, whether it lies off f or not.

    Parameters
    ----------
    mixture : fit of effects of loci.
    outlying : of this fit.

    Notes
    -----
    With the probability that a locus is outlying, its own effect is that under a scatter larger by w^2 at this locus:
    the estimate less r times noise / (s^2 + w^2), with variance noise (1 - noise / (s^2 + w^2)).
    """
    near = old_loci(mixture.components)
    if not outlying.share:
        return near
    model = max(mixture.components, key=lambda component: component.weight).model
    noise = model.noise if model.factors is None else model.noise + (model.factors**2).sum(axis=0)
    left = noise / (outlying.spread**2 + outlying.size**2)
    means = model.y - left * outlying.residual * outlying.spread
    return NormalMixture(
        weights=np.vstack([near.weights * (1 - outlying.probability), outlying.probability]),
        means=np.vstack([near.means, means]),
        sds=np.vstack([near.sds, np.sqrt(np.maximum(noise * (1 - left), 0.0))]),
    )
