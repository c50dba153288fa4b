"""A fitted ensemble of networks: coefficients at any context, their spread over members, and its state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from deepmr import checks
from deepmr.contexts import Coefficients, ContextRecord, ContextState
from deepmr.contextual.columns import as_coefficients
from deepmr.contextual.networks.surface import Surface
from deepmr.contextual.scaling import Scaling, check_contexts
from deepmr.contextual.units import Units
from deepmr.errors import InputError

_BLOCK = 1 << 14  # rows of all members at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextNetworksFit:
    """Coefficients as functions of context, a function a member; their mean is the fit.

    Attributes
    ----------
    surface : all members, in standardised units.
    units : of each outcome.
    scaling : of contexts.
    history : member, epoch, training loss and validation loss, a row an epoch of a member, in standardised units.
    record : what it was made of.
    """

    kind: ClassVar[str] = "networks"

    surface: Surface = field(repr=False)
    units: tuple[Units, ...] = field(repr=False)
    scaling: Scaling = field(repr=False)
    history: Float[np.ndarray, "entries 4"] = field(repr=False)
    record: ContextRecord

    @property
    def has_errors(self) -> bool:
        """Whether members are of bootstrap samples, so that their spread is that of sampling."""
        return len(self.surface) > 1 and self.record.options["resampling"] == "bootstrap"

    def members(
        self, contexts: Float[np.ndarray, "points contexts"]
    ) -> Float[np.ndarray, "members points outcomes columns"]:
        """Return the coefficients of every member, mu first.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        check_contexts(contexts, self.record.context_names)
        made = evaluate(self.surface, torch.from_numpy(standardised(self.scaling, contexts))).numpy()
        return np.stack([unit.coefficients(made[:, :, k]) for k, unit in enumerate(self.units)], axis=2)

    def coefficients(self, contexts: Float[np.ndarray, "points contexts"]) -> Coefficients:
        """Return mean coefficients of the members; with bootstrap samples, their standard deviation is the error.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        each = self.members(contexts)
        mean = each.mean(axis=0)
        se = each.std(axis=0, ddof=1) if self.has_errors else None
        return as_coefficients(
            mean,
            se,
            outside=self.scaling.outside(contexts),
        )

    def draws(
        self, contexts: Float[np.ndarray, "points contexts"], *, n_draws: int = 1000, seed: int = 0
    ) -> Float[np.ndarray, "draws points outcomes columns"]:
        """Draw members with replacement: there are no more different draws than members.

        Parameters
        ----------
        contexts : in the unit of the fit.
        n_draws : how many.
        seed : of the draws.

        Raises
        ------
        InputError
            When members are not of bootstrap samples.
        """
        if not self.has_errors:
            raise InputError(
                "draws need several networks of bootstrap samples (n_members above 1, resampling bootstrap); got "
                f"{len(self.surface)} with resampling {self.record.options['resampling']}"
            )
        checks.at_least("n_draws", n_draws, 1)
        return self.members(contexts)[np.random.default_rng(seed).integers(0, len(self.surface), n_draws)]

    def state(self) -> ContextState:
        """Return all of it as arrays and plain values."""
        arrays = {
            **self.scaling.arrays(),
            "parameters": self.surface.parameters.numpy().copy(),
            "history": self.history,
        }
        for k, unit in enumerate(self.units):
            arrays |= {f"{k}_{name}": value for name, value in unit.arrays().items()}
        return ContextState(
            kind=self.kind, arrays=arrays, settings={"plan": self.surface.settings()}, record=self.record
        )

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, Any], settings: Mapping[str, Any], record: ContextRecord
    ) -> "ContextNetworksFit":
        """Make it again from what `state` returned.

        Parameters
        ----------
        arrays, settings, record : as they were.
        """
        return cls(
            surface=Surface.from_state(arrays["parameters"], settings["plan"]),
            units=units_from(arrays, len(record.outcome_names)),
            scaling=Scaling.from_arrays(arrays),
            history=np.asarray(arrays["history"]),
            record=record,
        )


def units_from(arrays: Mapping[str, Any], n_outcomes: int) -> tuple[Units, ...]:
    """Return the units of each outcome from arrays whose names begin with its number.

    Parameters
    ----------
    arrays : among others.
    n_outcomes : how many.
    """
    return tuple(
        Units.from_arrays({name.removeprefix(f"{k}_"): v for name, v in arrays.items() if name.startswith(f"{k}_unit")})
        for k in range(n_outcomes)
    )


def standardised(
    scaling: Scaling, contexts: Float[np.ndarray, "points contexts"]
) -> Float[np.ndarray, "points features"]:
    """Return standardised contexts; a column of zeros where none varies, as a network needs an input.

    Parameters
    ----------
    scaling : of the fit.
    contexts : in its unit.
    """
    z = scaling(contexts)
    return np.ascontiguousarray(z) if z.shape[1] else np.zeros((len(z), 1))


def evaluate(surface: Surface, z: Tensor) -> Tensor:
    """Return coefficients in standardised units, (members, points, outcomes, columns), in blocks of points.

    Parameters
    ----------
    surface : all members.
    z : standardised contexts.
    """
    width = max(1, _BLOCK // len(surface))
    with torch.no_grad():
        return torch.cat([surface(part) for part in torch.split(z, width)], dim=1)


def relevance_of(surface: Surface, z: Tensor, *, seed: int) -> list[float]:
    """Return how much standardised coefficients change, as root mean square, when a context's values trade places.

    Parameters
    ----------
    surface : all members.
    z : standardised contexts of the fit.
    seed : of the order they are put in.
    """
    rng = np.random.default_rng(seed)
    mean = evaluate(surface, z).mean(dim=0)
    found = []
    for k in range(z.shape[1]):
        moved = z.clone()
        moved[:, k] = z[rng.permutation(len(z)), k]
        found.append(float(((evaluate(surface, moved).mean(dim=0) - mean) ** 2).mean().sqrt()))
    return found
