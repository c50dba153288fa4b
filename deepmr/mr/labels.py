"""Valid and invalid instruments as hidden labels: the effect on which most of the valid weight agrees."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

from deepmr.linalg import divide

_STARTS = 6
_STEPS = 200
_EPS = 1e-14


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Ratios r_j with variances v_j, and the log odds that j is valid were its ratio exactly the effect.

    At an effect b, instrument j is valid with log odds `log_odds` - (r_j - b)^2 / (2 v_j). Padding has -inf.
    """

    ratios: Float[np.ndarray, "block width"]
    variances: Float[np.ndarray, "block width"]
    log_odds: Float[np.ndarray, "block width"]

    def log_density(self, at: Float[np.ndarray, "block"]) -> Float[np.ndarray, "block"]:
        """Return sum_j log(1 + odds_j), at one effect a locus."""
        return np.logaddexp(0.0, self._log_odds(at)).sum(axis=-1)

    def _log_odds(self, at: Float[np.ndarray, "block"]) -> Float[np.ndarray, "block width"]:
        return self.log_odds - (self.ratios - at[:, None]) ** 2 / (2 * self.variances)

    def derivatives(
        self, at: Float[np.ndarray, "block"]
    ) -> tuple[
        Float[np.ndarray, "block"], Float[np.ndarray, "block"], Float[np.ndarray, "block"], Float[np.ndarray, "block"]
    ]:
        """Return slope and curvature of the log density, the weight of the valid, and the sum of squared slopes."""
        valid = expit(self._log_odds(at))
        score = (self.ratios - at[:, None]) / self.variances
        weight = (valid / self.variances).sum(axis=-1)
        slope = (valid * score).sum(axis=-1)
        curve = (valid * (1 - valid) * score**2).sum(axis=-1) - weight
        return slope, curve, weight, ((valid * score) ** 2).sum(axis=-1)


def largest_modes(labels: Labels, known: Bool[np.ndarray, "block width"]) -> Float[np.ndarray, "block"]:
    """Return where the log density is highest.

    Sought from the ratios where it is highest and from the inverse-variance mean, by EM steps to the mean of the ratios
    under their probabilities of being valid, then Newton's. Of equal maxima the one nearer that mean is taken.
    """
    weights = np.where(known, 1 / labels.variances, 0.0)
    mean = (weights * labels.ratios).sum(axis=-1) / weights.sum(axis=-1)
    heights = np.stack([labels.log_density(column) for column in labels.ratios.T], axis=-1)
    best = np.argsort(-np.where(known, heights, -np.inf), axis=-1, kind="stable")[:, :_STARTS]
    starts = [mean, *np.take_along_axis(labels.ratios, best, axis=-1).T]
    places = np.stack([_climb(labels, start) for start in starts], axis=-1)
    height = np.stack([labels.log_density(place) for place in places.T], axis=-1)
    equal = height >= height.max(axis=-1, keepdims=True) - 1e-9
    far = np.abs(places - mean[:, None]) * np.sqrt(weights.max(axis=-1, keepdims=True))
    chosen = np.lexsort((places, np.where(equal, np.round(far, 6), np.inf)), axis=-1)[:, :1]
    return np.take_along_axis(places, chosen, axis=-1)[:, 0]


def _climb(labels: Labels, at: Float[np.ndarray, "block"]) -> Float[np.ndarray, "block"]:
    for step in range(_STEPS):
        slope, curve, weight, _ = labels.derivatives(at)
        em = divide(slope, weight, otherwise=0.0)
        newton = divide(slope, -curve, otherwise=0.0)
        near = (step >= 5) & (curve < 0) & (np.abs(newton) * np.sqrt(weight) < 0.5)
        moved = np.where(near, newton, em)
        at = at + moved
        if np.all(np.abs(moved) * np.sqrt(weight) < _EPS):
            break
    return at
