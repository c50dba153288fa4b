"""How errors that ensemble members share move an estimate that has no formula for it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from deepmr.types import Instruments

Point = Callable[[Instruments], Float[np.ndarray, "loci"]]


def member_factors(instruments: Instruments, point: Point) -> Float[np.ndarray, "factors loci"] | None:
    """Return how far the error of every member moves the estimate of every locus; None without shared errors.

    Parameters
    ----------
    instruments : with `error_factors` F.
    point : the estimate of every locus, NaN where there is none.

    Notes
    -----
    Half the difference of the estimates from effects shifted by F_k and by -F_k: a jackknife over members, in which
    squares add up to the members' part of the variance, and products to covariances between loci. For a linear
    estimator it is the delta method without error. A locus that a shift leaves without estimate counts as not moved.
    """
    factors = instruments.error_factors
    if factors is None:
        return None

    def moved(factor: Float[np.ndarray, "rows traits"]) -> Float[np.ndarray, "loci"]:
        return point(
            replace(
                instruments,
                beta_exposure=instruments.beta_exposure + factor[:, :-1],
                beta_outcome=instruments.beta_outcome + factor[:, -1],
            )
        )

    halves = np.stack([(moved(factor) - moved(-factor)) / 2 for factor in factors])
    return np.where(np.isfinite(halves), halves, 0.0)
