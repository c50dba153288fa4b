"""Coefficients that are known and not fitted, the same for every context: something to build on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.contexts import Coefficients, ContextData, ContextRecord, ContextState, record_of
from deepmr.contextual.scaling import check_contexts
from deepmr.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCoefficients:
    """Coefficients as they were given, without errors.

    Attributes
    ----------
    beta, mu : of every outcome.
    record : whose coefficients they are.
    """

    kind: ClassVar[str] = "known"

    beta: Float[np.ndarray, "outcomes predictors"]
    mu: Float[np.ndarray, "outcomes"]
    record: ContextRecord

    def __post_init__(self) -> None:
        outcomes, predictors = len(self.record.outcome_names), len(self.record.predictor_names)
        checks.shape("beta", self.beta, (outcomes, predictors))
        checks.shape("mu", self.mu, (outcomes,))
        checks.finite("beta", self.beta)
        checks.finite("mu", self.mu)

    def coefficients(self, contexts: Float[np.ndarray, "points contexts"]) -> Coefficients:
        """Return them for every point.

        Parameters
        ----------
        contexts : in any unit.
        """
        check_contexts(contexts, self.record.context_names)
        n = len(contexts)
        return Coefficients(
            beta=np.broadcast_to(self.beta, (n, *self.beta.shape)).copy(),
            mu=np.broadcast_to(self.mu, (n, *self.mu.shape)).copy(),
            outside=np.zeros(n, dtype=bool),
        )

    def draws(
        self, contexts: Float[np.ndarray, "points contexts"], *, n_draws: int = 1000, seed: int = 0
    ) -> Float[np.ndarray, "draws points outcomes columns"]:
        """Refuse: what is known has no errors to draw from.

        Parameters
        ----------
        contexts, n_draws, seed : as of other fits.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError("known coefficients have no errors, so there is nothing to draw")

    def state(self) -> ContextState:
        """Return all of it as arrays and plain values."""
        return ContextState(kind=self.kind, arrays={"beta": self.beta, "mu": self.mu}, settings={}, record=self.record)

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, Any], settings: Mapping[str, Any], record: ContextRecord
    ) -> "KnownCoefficients":
        """Make it again from what `state` returned.

        Parameters
        ----------
        arrays, settings, record : as they were.
        """
        return cls(beta=arrays["beta"], mu=arrays["mu"], record=record)


def known_coefficients(
    data: ContextData, *, beta: Float[np.ndarray, "outcomes predictors"], mu: Float[np.ndarray, "outcomes"]
) -> KnownCoefficients:
    """Take coefficients as known, for data like these.

    Parameters
    ----------
    data : for names and the type of outcomes.
    beta : slope of each predictor, on the scale of the link.
    mu : values at predictors of 0.

    Raises
    ------
    InputError
        When there are not as many as outcomes and predictors.
    """
    return KnownCoefficients(beta=beta, mu=mu, record=record_of(data, method="known", options={}, seed=0))
