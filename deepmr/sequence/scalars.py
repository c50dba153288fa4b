"""What is measured of an output: small modules that turn one output of a network into numbers (batch, tasks).

`forward` of a scalar is its definition on whole outputs. `effect` is the same difference from the change of the output
alone, for engines that compute no more than the positions that an edit reaches; `prepare` does what depends on the
reference once for many of them. A scalar without `effect` needs whole outputs.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import torch
from jaxtyping import Float
from torch import nn

from deepmr.errors import InputError
from deepmr.sequence.profiles import FixedProfileScore, ProfileScore
from deepmr.types import Scale


class Scalar(Protocol):
    """What every scalar has.

    Attributes
    ----------
    output : number of the network's output that it reads, 0 for a network that returns one tensor.
    relative : whether it uses the output of the unedited sequence.
    scale : of the numbers, as `Task.scale`.
    """

    output: int
    relative: bool
    scale: Scale

    def __call__(
        self, value: Float[torch.Tensor, "batch ..."], reference: Float[torch.Tensor, "batch ..."]
    ) -> Float[torch.Tensor, "batch tasks"]:
        """Measure an output; `reference` is the same output for the unedited sequence of each row."""


class Tasks(nn.Module):
    """An output (batch, n) as it is.

    Parameters
    ----------
    output : number of the output that is read.
    columns : which of the n numbers; all by default.
    """

    relative: ClassVar[bool] = False
    scale: ClassVar[Scale] = "identity"

    def __init__(self, output: int = 0, columns: Sequence[int] | None = None) -> None:
        super().__init__()
        self.output, self.columns = output, _checked(columns)

    def forward(
        self, value: Float[torch.Tensor, "batch ..."], reference: Float[torch.Tensor, "batch ..."]
    ) -> Float[torch.Tensor, "batch tasks"]:
        """Return the numbers."""
        return _pick(self, value)

    def prepare(self, reference: Float[torch.Tensor, "loci n"]) -> Float[torch.Tensor, "loci n"]:
        """Return the reference: there is nothing to do once."""
        return reference

    def effect(
        self, reference: Float[torch.Tensor, "loci n"], delta: Float[torch.Tensor, "loci edits n"], start: object = 0
    ) -> Float[torch.Tensor, "loci edits tasks"]:
        """Return the change of the numbers, which is that of the output."""
        return _pick(self, delta, axes=3)

    def extra_repr(self) -> str:
        """Name the options."""
        return f"output={self.output}, columns={self.columns}"


class LogCount(nn.Module):
    """An output (batch, n) of log counts as it is: the count head of BPNet and ChromBPNet.

    Parameters
    ----------
    output : number of the output that is read.
    columns : which of the n numbers; all by default.

    References
    ----------
    Avsec Z, Weilert M, Shrikumar A, et al. (2021). Base-resolution models of transcription-factor binding reveal soft
    motif syntax. Nat Genet 53:354-366. doi:10.1038/s41588-021-00782-6
    """

    relative: ClassVar[bool] = False
    scale: ClassVar[Scale] = "log"

    def __init__(self, output: int = 0, columns: Sequence[int] | None = None) -> None:
        super().__init__()
        self.output, self.columns = output, _checked(columns)

    def forward(
        self, value: Float[torch.Tensor, "batch ..."], reference: Float[torch.Tensor, "batch ..."]
    ) -> Float[torch.Tensor, "batch tasks"]:
        """Return the numbers."""
        return _pick(self, value)

    def prepare(self, reference: Float[torch.Tensor, "loci n"]) -> Float[torch.Tensor, "loci n"]:
        """Return the reference: there is nothing to do once."""
        return reference

    def effect(
        self, reference: Float[torch.Tensor, "loci n"], delta: Float[torch.Tensor, "loci edits n"], start: object = 0
    ) -> Float[torch.Tensor, "loci edits tasks"]:
        """Return the change of the numbers, which is that of the output."""
        return _pick(self, delta, axes=3)

    def extra_repr(self) -> str:
        """Name the options."""
        return f"output={self.output}, columns={self.columns}"


class Logit(nn.Module):
    """The log odds of an output (batch, n) of probabilities.

    Parameters
    ----------
    output : number of the output that is read.
    columns : which of the n numbers; all by default.

    Notes
    -----
    log p - log(1 - p), infinite at 0 and 1. An effect is log1p(d / p) - log1p(-d / (1 - p)), d the change of p.
    """

    relative: ClassVar[bool] = False
    scale: ClassVar[Scale] = "logit"

    def __init__(self, output: int = 0, columns: Sequence[int] | None = None) -> None:
        super().__init__()
        self.output, self.columns = output, _checked(columns)

    def forward(
        self, value: Float[torch.Tensor, "batch ..."], reference: Float[torch.Tensor, "batch ..."]
    ) -> Float[torch.Tensor, "batch tasks"]:
        """Return the log odds."""
        return torch.logit(_pick(self, value))

    def prepare(self, reference: Float[torch.Tensor, "loci n"]) -> Float[torch.Tensor, "loci n"]:
        """Return the reference: there is nothing to do once."""
        return reference

    def effect(
        self, reference: Float[torch.Tensor, "loci n"], delta: Float[torch.Tensor, "loci edits n"], start: object = 0
    ) -> Float[torch.Tensor, "loci edits tasks"]:
        """Return the change of the log odds."""
        p, d = _pick(self, reference)[:, None], _pick(self, delta, axes=3)
        return torch.log1p(d / p) - torch.log1p(-d / (1 - p))

    def extra_repr(self) -> str:
        """Name the options."""
        return f"output={self.output}, columns={self.columns}"


class Probability(nn.Module):
    """The probability of an output (batch, n) of log odds.

    Parameters
    ----------
    output : number of the output that is read.
    columns : which of the n numbers; all by default.

    Notes
    -----
    s(z) = 1 / (1 + e^-z). An effect is s(z + d) s(-z) (1 - e^-d) for d > 0 and s(z) s(-z - d) (e^d - 1) else: the
    difference of two saturated probabilities keeps its digits, and nothing overflows.
    """

    relative: ClassVar[bool] = False
    scale: ClassVar[Scale] = "identity"

    def __init__(self, output: int = 0, columns: Sequence[int] | None = None) -> None:
        super().__init__()
        self.output, self.columns = output, _checked(columns)

    def forward(
        self, value: Float[torch.Tensor, "batch ..."], reference: Float[torch.Tensor, "batch ..."]
    ) -> Float[torch.Tensor, "batch tasks"]:
        """Return the probabilities."""
        return torch.sigmoid(_pick(self, value))

    def prepare(self, reference: Float[torch.Tensor, "loci n"]) -> Float[torch.Tensor, "loci n"]:
        """Return the reference: there is nothing to do once."""
        return reference

    def effect(
        self, reference: Float[torch.Tensor, "loci n"], delta: Float[torch.Tensor, "loci edits n"], start: object = 0
    ) -> Float[torch.Tensor, "loci edits tasks"]:
        """Return the change of the probabilities."""
        z, d = _pick(self, reference)[:, None], _pick(self, delta, axes=3)
        low, high = z + d.clamp(max=0), z + d.clamp(min=0)
        return -torch.sign(d) * torch.expm1(-d.abs()) * torch.sigmoid(high) * torch.sigmoid(-low)

    def extra_repr(self) -> str:
        """Name the options."""
        return f"output={self.output}, columns={self.columns}"


SCALARS: dict[str, type[Any]] = {
    "tasks": Tasks,
    "log_count": LogCount,
    "profile_score": ProfileScore,
    "fixed_profile_score": FixedProfileScore,
    "logit": Logit,
    "probability": Probability,
}


def _checked(columns: Sequence[int] | None) -> tuple[int, ...] | None:
    """Return columns as a tuple of numbers from 0."""
    if columns is None:
        return None
    if isinstance(columns, str) or not columns or not all(type(k) is int and k >= 0 for k in columns):
        raise InputError(f"columns must be a list of numbers from 0; got {columns!r}")
    return tuple(columns)


def _pick(scalar: Tasks | LogCount | Logit | Probability, value: torch.Tensor, *, axes: int = 2) -> torch.Tensor:
    """Return the chosen columns of an output (batch, n), or with three axes of its change (loci, edits, n)."""
    if value.ndim != axes:
        raise InputError(f"{type(scalar).__name__} reads an output (batch, n); got shape {tuple(value.shape)}")
    if scalar.columns is None:
        return value
    if max(scalar.columns) >= value.shape[-1]:
        raise InputError(f"there is no column {max(scalar.columns)}: output {scalar.output} has {value.shape[-1]}")
    return value[..., list(scalar.columns)]
