"""A fit on top of another: what the first leaves is modelled by the second, and both are added."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from deepmr.contexts import Coefficients, ContextData, ContextRecord, ContextState, ContextualFit
from deepmr.contextual.columns import means
from deepmr.contextual.nesting import pack, unpack
from deepmr.errors import InputError

_SAID = "Errors are of the second part alone: the base, {}, is taken as known."


@dataclass(frozen=True, slots=True, kw_only=True)
class StackedFit:
    """The sum of the coefficients of two fits.

    Attributes
    ----------
    base : the first, which the second was fitted on top of.
    second : what it left.
    record : of the second, and the sentence about errors.
    """

    kind: ClassVar[str] = "stacked"

    base: ContextualFit = field(repr=False)
    second: ContextualFit = field(repr=False)
    record: ContextRecord

    def coefficients(self, contexts: Float[np.ndarray, "points contexts"]) -> Coefficients:
        """Return sums of beta and mu, with the errors of the second part.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        one, two = self.base.coefficients(contexts), self.second.coefficients(contexts)
        return replace(two, beta=one.beta + two.beta, mu=one.mu + two.mu, outside=one.outside | two.outside)

    def means(self, contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points outcomes columns"]:
        """Return sums of mu (column 0) and beta (the rest) without errors.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        return means(self.base, contexts) + means(self.second, contexts)

    def draws(
        self, contexts: Float[np.ndarray, "points contexts"], *, n_draws: int = 1000, seed: int = 0
    ) -> Float[np.ndarray, "draws points outcomes columns"]:
        """Draw the second part, and add the base as it is.

        Parameters
        ----------
        contexts : in the unit of the fit.
        n_draws : how many.
        seed : of the draws.
        """
        return means(self.base, contexts) + self.second.draws(contexts, n_draws=n_draws, seed=seed)

    def state(self) -> ContextState:
        """Return all of it as arrays and plain values."""
        arrays, plain = pack({"base": self.base, "second": self.second})
        return ContextState(kind=self.kind, arrays=arrays, settings={"fits": plain}, record=self.record)

    @classmethod
    def from_state(cls, arrays: Mapping[str, Any], settings: Mapping[str, Any], record: ContextRecord) -> "StackedFit":
        """Make it again from what `state` returned.

        Parameters
        ----------
        arrays, settings, record : as they were.
        """
        parts = unpack(arrays, settings["fits"])
        return cls(base=parts["base"], second=parts["second"], record=record)


def with_offset(data: ContextData, base: ContextualFit) -> ContextData:
    """Return samples whose offset contains what a fit says of them.

    Parameters
    ----------
    data : samples.
    base : a fit of the same contexts, predictors and outcomes.

    Raises
    ------
    InputError
        When it is of others.
    """
    for name in ("context_names", "predictor_names", "outcome_names", "outcome_type"):
        own, other = getattr(data, name), getattr(base.record, name)
        if own != other:
            raise InputError(f"the base must have the {name} of the data, {own}; it has {other}")
    eta = np.einsum("pok,pk->po", means(base, data.contexts), data.design)
    return replace(data, offset=eta if data.offset is None else data.offset + eta)


def stack(base: ContextualFit, second: ContextualFit) -> StackedFit:
    """Put a fit on top of the one whose predictions were its offset.

    Parameters
    ----------
    base : the first.
    second : a fit of `with_offset`.
    """
    said = _SAID.format(base.record.method)
    record = replace(second.record, warnings=(*second.record.warnings, said))
    return StackedFit(base=base, second=second, record=record)
