"""How slopes miss from locus to locus: a scale on the members' variance and a floor."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import optimize

PULL = 0.5  # standard deviation of log a about 0 that the pull to 1 amounts to
WIDEST = 3.0  # largest |log a|


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """Local variance a^2 B + h^2.

    Attributes
    ----------
    scale : a, what the members' standard error is multiplied by.
    floor : h, standard deviation of the miss that the members do not show.
    """

    scale: float
    floor: float


def fit_components(
    miss: Float[np.ndarray, "loci"], noise: Float[np.ndarray, "loci"], member: Float[np.ndarray, "loci"]
) -> Components:
    """Fit a and h of e ~ N(delta, noise + a^2 member + h^2) by restricted maximum likelihood.

    Parameters
    ----------
    miss : e, at least two.
    noise : known variance of its measurement.
    member : variance of the slope over members.

    Notes
    -----
    The likelihood has the mean profiled out (REML), so that few loci do not make the variances small, and a normal
    penalty on log a of standard deviation 0.5: where members' variances hardly differ between loci, a and h cannot be
    told apart, and the members are then taken at their word.
    """
    size = float(np.var(miss, ddof=1))
    if not size > 0:
        return Components(scale=1.0, floor=0.0)

    def loss(theta: Float[np.ndarray, "2"]) -> float:
        total = noise + np.exp(2 * theta[0]) * member + size * theta[1]
        total = np.maximum(total, 1e-9 * size)
        weight = 1 / total
        mean = np.sum(weight * miss) / weight.sum()
        fit = np.sum(np.log(total)) + np.sum(weight * (miss - mean) ** 2) + np.log(weight.sum())
        return float(0.5 * fit + 0.5 * (theta[0] / PULL) ** 2)

    bounds = [(-WIDEST, WIDEST), (0.0, 4.0)]
    starts = [np.array([a, h]) for a in (-0.7, 0.0, 0.7) for h in (0.01, 0.5)]
    found = [optimize.minimize(loss, start, method="L-BFGS-B", bounds=bounds) for start in starts]
    best = min(found, key=lambda result: result.fun).x
    return Components(scale=float(np.exp(best[0])), floor=float(np.sqrt(size * best[1])))
