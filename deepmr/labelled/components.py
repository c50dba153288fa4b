"""How slopes miss from locus to locus: a scale on the members' variance and a floor."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

PULL = 0.5  # standard deviation of log a about 0: the pull of a to 1
WIDEST = 2.0  # largest |log a|
GRID = 33, 65  # values of log a, of h


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
    """Estimate a and h of e ~ N(delta, noise + a^2 member + h^2).

    Parameters
    ----------
    miss : e, at least two.
    noise : known variance of its measurement.
    member : variance of the slope over members.

    Notes
    -----
    log a and h^2 are their means under the restricted likelihood (the mean delta is profiled out, so that few loci do
    not make the variances small), with a normal prior on log a of standard deviation 0.5 and a flat one on h, by sums
    over a grid. Where members' variances hardly differ between loci, a and h cannot be told apart, and the members are
    then taken at their word. The most likely h is often exactly 0 where labels are noisy; the mean is not, and
    intervals made of it cover where those of the mode are too short.
    """
    size = float(np.std(miss, ddof=1))
    if not size > 0:
        return Components(scale=1.0, floor=0.0)
    log_a = np.linspace(-WIDEST, WIDEST, GRID[0])
    h = np.linspace(0.0, 2 * size, GRID[1])
    local = np.exp(2 * log_a)[:, None, None] * member + (h**2)[:, None]
    weight = 1 / np.maximum(noise + local, 1e-12 * size**2)
    total = weight.sum(axis=-1)
    centre = (weight @ miss) / total
    squares = weight @ miss**2 - total * centre**2
    fit = np.log(weight).sum(axis=-1) - squares - np.log(total)
    log_posterior = 0.5 * fit - 0.5 * (log_a[:, None] / PULL) ** 2
    posterior = np.exp(log_posterior - log_posterior.max())
    posterior /= posterior.sum()
    return Components(
        scale=float(np.exp(posterior.sum(axis=1) @ log_a)),
        floor=float(np.sqrt(posterior.sum(axis=0) @ h**2)),
    )
