"""Perceptrons of one architecture side by side: every layer is one batched product for all members."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deepmr import checks
from deepmr.errors import InputError

Activation = Literal["GELU", "ReLU", "Tanh", "SiLU", "ELU", "LeakyReLU", "Softplus", "Sigmoid"]

ACTIVATIONS = {
    "GELU": functional.gelu,
    "ReLU": torch.relu,
    "Tanh": torch.tanh,
    "SiLU": functional.silu,
    "ELU": functional.elu,
    "LeakyReLU": functional.leaky_relu,
    "Softplus": functional.softplus,
    "Sigmoid": torch.sigmoid,
}
_EPS, _MOMENTUM = 1e-5, 0.1  # of batch norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What a perceptron is made of.

    Attributes
    ----------
    n_inputs, n_outputs : columns in and out.
    hidden : units of each hidden layer; none for a linear model.
    activation : after every hidden layer, as in `ACTIVATIONS`.
    batch_norm : whether to normalise after every activation.
    input_batch_norm : whether to normalise inputs.
    """

    n_inputs: int
    n_outputs: int
    hidden: tuple[int, ...] = ()
    activation: Activation = "GELU"
    batch_norm: bool = False
    input_batch_norm: bool = False

    def __post_init__(self) -> None:
        checks.one_of("activation", self.activation, ACTIVATIONS)
        if any(units < 1 for units in self.sizes):
            raise InputError(f"every layer of a network needs a unit; got {', '.join(map(str, self.sizes))}")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Columns of every layer, first to last."""
        return (self.n_inputs, *self.hidden, self.n_outputs)

    @property
    def normalised(self) -> tuple[int, ...]:
        """Columns of every batch norm, in order."""
        first = (self.n_inputs,) if self.input_batch_norm else ()
        return first + (self.hidden if self.batch_norm else ())

    def parameter_sizes(self) -> list[int]:
        """Numbers of parameters: of scales and shifts of each batch norm, then of weights and bias of each layer."""
        norms = [2 * units for units in self.normalised]
        layers = [n for a, b in zip(self.sizes[:-1], self.sizes[1:], strict=True) for n in (a * b, b)]
        return norms + layers


@dataclass(frozen=True, slots=True)
class Stack:
    """Members of one architecture; member k's parameters are row k.

    Attributes
    ----------
    architecture : of every member.
    parameters : (members, all parameters of one), a leaf of the graph while it is trained.
    buffers : (members, running means and variances of the batch norms).
    """

    architecture: Architecture
    parameters: Tensor
    buffers: Tensor

    @classmethod
    def fresh(cls, architecture: Architecture, seeds: Sequence[int]) -> "Stack":
        """Draw members as `torch.nn.Linear` draws its weights, each from a generator of its own.

        Parameters
        ----------
        architecture : of every member.
        seeds : one a member, so that a member is the same in any company.
        """
        parameters = torch.stack([_drawn(architecture, seed) for seed in seeds])
        norms = architecture.normalised
        running = torch.cat([torch.zeros(sum(norms)), torch.ones(sum(norms))])
        return cls(architecture, parameters, running.expand(len(seeds), -1).clone())

    def __len__(self) -> int:
        return len(self.parameters)

    def __call__(self, x: Tensor, *, training: bool = False) -> Tensor:
        """Return outputs (members, rows, outputs) of inputs (rows, inputs), or (members, rows, inputs) of their own.

        Parameters
        ----------
        x : inputs, which all members share where there are two axes.
        training : whether batch norms use the batch, and remember it; otherwise what they remember.
        """
        made, n_norms = self.architecture, len(self.architecture.normalised)
        parts = torch.split(self.parameters, made.parameter_sizes(), dim=1)
        norms, layers = parts[:n_norms], parts[n_norms:]
        h = x.expand(len(self), -1, -1) if x.ndim == 2 else x
        used = 0
        if made.input_batch_norm:
            h, used = self._normalise(h, norms[0], 0, training), 1
        activation = ACTIVATIONS[made.activation]
        for k, (rows, columns) in enumerate(zip(made.sizes[:-1], made.sizes[1:], strict=True)):
            h = torch.baddbmm(layers[2 * k + 1].unsqueeze(1), h, layers[2 * k].view(-1, rows, columns))
            if k < len(made.hidden):
                h = activation(h)
                if made.batch_norm:
                    h, used = self._normalise(h, norms[used], used, training), used + 1
        return h

    def _normalise(self, h: Tensor, parameters: Tensor, which: int, training: bool) -> Tensor:
        units = self.architecture.normalised
        start, width, half = sum(units[:which]), units[which], sum(units)
        means = self.buffers[:, start : start + width]
        variances = self.buffers[:, half + start : half + start + width]
        if not training:
            scale = parameters[:, :width] * torch.rsqrt(variances + _EPS)
            shift = parameters[:, width:] - means * scale
            return torch.addcmul(shift.unsqueeze(1), h, scale.unsqueeze(1).expand_as(h))
        # PyTorch's own kernel, members and units as its channels: several times as fast as mean and variance by hand.
        flat = h.transpose(0, 1).reshape(h.shape[1], -1)
        mean, variance = torch.zeros_like(flat[0]), torch.ones_like(flat[0])
        weight, bias = parameters[:, :width].reshape(-1), parameters[:, width:].reshape(-1)
        made = functional.batch_norm(flat, mean, variance, weight, bias, training=True, momentum=1.0, eps=_EPS)
        with torch.no_grad():  # with momentum 1 the kernel leaves the batch's own mean and (unbiased) variance
            n = h.shape[1]
            means.lerp_(mean.view(-1, width), _MOMENTUM)
            variances.lerp_(variance.view(-1, width) * ((n - 1) / n), _MOMENTUM)
        return made.view(n, -1, width).transpose(0, 1)

    def take(self, members: Tensor) -> "Stack":
        """Return copies of some members.

        Parameters
        ----------
        members : positions.
        """
        return replace(self, parameters=self.parameters.detach()[members], buffers=self.buffers[members])

    def with_parameters(self, parameters: Tensor) -> "Stack":
        """Return the same members with other parameters.

        Parameters
        ----------
        parameters : as many.
        """
        return replace(self, parameters=parameters)

    def state(self, prefix: str = "") -> dict[str, np.ndarray]:
        """Return parameters and buffers as arrays.

        Parameters
        ----------
        prefix : of their names.
        """
        return {
            f"{prefix}parameters": self.parameters.detach().numpy().copy(),
            f"{prefix}buffers": self.buffers.numpy().copy(),
        }

    def settings(self) -> dict[str, Any]:
        """Return the architecture as plain values."""
        return {**asdict(self.architecture), "hidden": list(self.architecture.hidden)}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any], prefix: str = "") -> "Stack":
        """Make a stack from what `state` and `settings` returned.

        Parameters
        ----------
        arrays, settings : as they were.
        prefix : of the names of the arrays.
        """
        made = Architecture(**{**settings, "hidden": tuple(settings["hidden"])})
        parameters, buffers = (torch.from_numpy(np.array(arrays[prefix + name])) for name in ("parameters", "buffers"))
        return cls(made, parameters, buffers)


def _drawn(architecture: Architecture, seed: int) -> Tensor:
    """Draw the parameters of one member, in the order of `parameter_sizes`."""
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.cat([torch.ones(units), torch.zeros(units)]) for units in architecture.normalised]
    for rows, columns in zip(architecture.sizes[:-1], architecture.sizes[1:], strict=True):
        bound = 1 / math.sqrt(rows)
        parts.append((2 * torch.rand(rows * columns + columns, generator=generator) - 1) * bound)
    return torch.cat(parts)
