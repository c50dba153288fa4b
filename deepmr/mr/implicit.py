"""How the solution of estimating equations moves with its data: the implicit function theorem, by differences."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from deepmr.mr.roots import Equations

_STEP = 1e-6  # of the size of effects, and of tau2


@dataclass(frozen=True, slots=True, kw_only=True)
class Jacobian:
    """Derivatives of the score (b.) and of the equation of tau2 (t.) with respect to beta (.b) and tau2 (.t).

    `free` is False where tau2 is not estimated, or 0, and stays so.
    """

    bb: Float[np.ndarray, "block"]
    bt: Float[np.ndarray, "block"]
    tb: Float[np.ndarray, "block"]
    tt: Float[np.ndarray, "block"]
    free: Bool[np.ndarray, "block"]

    def solved(
        self, first: Float[np.ndarray, "*lead block"], second: Float[np.ndarray, "*lead block"]
    ) -> Float[np.ndarray, "*lead block"]:
        """Return the beta part of J^-1 (first, second); where tau2 is not free, first / bb."""
        with np.errstate(divide="ignore", invalid="ignore"):
            both = (self.tt * first - self.bt * second) / (self.bb * self.tt - self.bt * self.tb)
            return np.where(self.free, both, first / self.bb)


def jacobian(
    equations: Equations,
    beta: Float[np.ndarray, "block"],
    tau2: Float[np.ndarray, "block"],
    *,
    scale: Float[np.ndarray, "block"],
    unit: Float[np.ndarray, "block"],
) -> Jacobian:
    """Return the derivatives of both equations by central differences, given the sizes of beta and tau2."""
    beta_step, tau2_step = _STEP * scale, _STEP * (unit + tau2)
    up, down = equations.evaluate(beta + beta_step, tau2), equations.evaluate(beta - beta_step, tau2)
    more, less = equations.evaluate(beta, tau2 + tau2_step), equations.evaluate(beta, tau2 - tau2_step)
    return Jacobian(
        bb=(up[0] - down[0]) / (2 * beta_step),
        tb=(up[1] - down[1]) / (2 * beta_step),
        bt=(more[0] - less[0]) / (2 * tau2_step),
        tt=(more[1] - less[1]) / (2 * tau2_step),
        free=(tau2 > 0) & equations.overdispersed,
    )


def member_moves(
    equations: Equations,
    slopes: Jacobian,
    beta: Float[np.ndarray, "block"],
    tau2: Float[np.ndarray, "block"],
    factors: Float[np.ndarray, "factors block width traits"],
) -> Float[np.ndarray, "factors block"]:
    """Return how far the error of every member moves the solution.

    Half the change of the equations between effects moved by the member's factor and moved back, times minus the
    inverse of their derivatives.
    """
    moves = np.zeros((len(factors), len(beta)))
    for k, factor in enumerate(factors):
        up = equations.moved(factor[..., 0], factor[..., 1]).evaluate(beta, tau2)
        down = equations.moved(-factor[..., 0], -factor[..., 1]).evaluate(beta, tau2)
        moves[k] = -slopes.solved((up[0] - down[0]) / 2, (up[1] - down[1]) / 2)
    return moves
