"""Encoders of context: one perceptron, a perceptron a feature whose outputs are summed, or a linear map."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from deepmr import checks
from deepmr.perceptrons.split import member_seeds
from deepmr.perceptrons.stack import Activation, Architecture, Stack

EncoderKind = Literal["mlp", "ngam", "linear"]
ENCODERS = ("mlp", "ngam", "linear")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """What turns features into numbers, for each member of an ensemble.

    Attributes
    ----------
    kind : mlp is one perceptron of all features; ngam one perceptron a feature, summed, so that features do not
        interact; linear has no hidden layer.
    n_inputs, n_outputs : features and numbers.
    hidden : units of each hidden layer.
    activation : after each.
    """

    kind: EncoderKind
    n_inputs: int
    n_outputs: int
    hidden: tuple[int, ...]
    activation: Activation

    def __post_init__(self) -> None:
        checks.one_of("encoder", self.kind, ENCODERS)

    @property
    def copies(self) -> int:
        """Perceptrons of a member."""
        return self.n_inputs if self.kind == "ngam" else 1

    @property
    def architecture(self) -> Architecture:
        """What each of them is made of."""
        return Architecture(
            n_inputs=1 if self.kind == "ngam" else self.n_inputs,
            n_outputs=self.n_outputs,
            hidden=() if self.kind == "linear" else self.hidden,
            activation=self.activation,
        )

    @property
    def size(self) -> int:
        """Parameters of a member."""
        return self.copies * sum(self.architecture.parameter_sizes())

    @property
    def last(self) -> int:
        """Parameters of the last layer of one perceptron, which stand at its end."""
        return sum(self.architecture.parameter_sizes()[-2:])

    def fresh(self, seeds: Sequence[int]) -> Tensor:
        """Draw the parameters of members, (members, `size`).

        Parameters
        ----------
        seeds : one a member.
        """
        own = [one for seed in seeds for one in member_seeds(self.copies, seed=seed)]
        return Stack.fresh(self.architecture, own).parameters.reshape(len(seeds), self.size)

    def silenced(self, parameters: Tensor) -> Tensor:
        """Return parameters whose last layers are 0, as is then every output.

        Parameters
        ----------
        parameters : of members.
        """
        made = parameters.reshape(len(parameters) * self.copies, -1).clone()
        made[:, -self.last :] = 0
        return made.reshape(parameters.shape)

    def __call__(self, parameters: Tensor, z: Tensor) -> Tensor:
        """Return outputs, (members, rows, outputs).

        Parameters
        ----------
        parameters : of members.
        z : features, (members, rows, inputs).
        """
        n, copies = len(parameters), self.copies
        stacked = parameters.reshape(n * copies, -1)
        stack = Stack(self.architecture, stacked, stacked.new_empty(n * copies, 0))
        if self.kind != "ngam":
            return stack(z)
        each = stack(z.transpose(1, 2).reshape(n * copies, -1, 1))
        return each.view(n, copies, z.shape[1], -1).sum(dim=1)


def one_hot(tasks: int, like: Tensor) -> Tensor:
    """Return an indicator a task, (tasks, tasks), of the type of another tensor.

    Parameters
    ----------
    tasks : how many.
    like : any tensor.
    """
    return torch.eye(tasks, dtype=like.dtype, device=like.device)
