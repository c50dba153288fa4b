"""Networks that read one-hot sequences: (batch, 4, length) -> (batch, tasks), their last layer called `output`."""

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import nn

from deepmr.errors import InputError


class PaperCNN(nn.Module):
    """Convolutions with batch normalisation, then two dense layers: the network of the DeepMR article.

    Parameters
    ----------
    n_tasks : outputs.
    length : bases of a sequence.
    filters : channels of every convolution.
    width : bases that a filter covers; there is no padding, so every convolution shortens by width - 1.
    hidden : units of each of the two dense layers.
    n_convs : number of convolutions.

    Raises
    ------
    InputError
        When the sequence is too short for the convolutions.

    References
    ----------
    Malina S, Cizin D, Knowles DA (2022). Deep Mendelian randomization: investigating the causal knowledge of genomic
    deep learning models. PLoS Comput Biol 18:e1009880. doi:10.1371/journal.pcbi.1009880
    """

    learning_rate: ClassVar[float] = 1e-2  # to train it with; batch normalisation bears so large a one

    def __init__(
        self, n_tasks: int, length: int = 100, filters: int = 15, width: int = 7, hidden: int = 30, n_convs: int = 3
    ) -> None:
        super().__init__()
        left = length - n_convs * (width - 1)
        if left < 1:
            raise InputError(
                f"{n_convs} convolutions of width {width} need more than {length - left} bases; got {length}"
            )
        layers: list[nn.Module] = []
        for k in range(n_convs):
            layers += [nn.Conv1d(filters if k else 4, filters, width), nn.BatchNorm1d(filters), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.dense = nn.Sequential(
            nn.Flatten(),
            nn.Linear((filters if n_convs else 4) * left, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
        )
        self.output = nn.Linear(hidden, n_tasks)

    def forward(self, x: Float[torch.Tensor, "batch 4 length"]) -> Float[torch.Tensor, "batch tasks"]:
        """Predict every task."""
        tasks: torch.Tensor = self.output(self.dense(self.convolutions(x)))
        return tasks


class DilatedCNN(nn.Module):
    """A convolution, dilated residual convolutions and the mean over positions, as the count head of BPNet.

    Parameters
    ----------
    n_tasks : outputs.
    length : bases of a sequence; the weights do not depend on it.
    filters : channels of every convolution.
    n_dilated : residual convolutions of width 3, with dilations 2, 4, 8, ...
    width : bases that a filter of the first convolution covers; odd.

    Raises
    ------
    InputError
        When `width` is even: padding could not keep the length.

    References
    ----------
    Avsec Z, Weilert M, Shrikumar A, et al. (2021). Base-resolution models of transcription-factor binding reveal soft
    motif syntax. Nat Genet 53:354-366. doi:10.1038/s41588-021-00782-6
    """

    def __init__(self, n_tasks: int, length: int, filters: int = 32, n_dilated: int = 4, width: int = 21) -> None:
        super().__init__()
        if width % 2 == 0:
            raise InputError(f"width of the first convolution must be odd; got {width}")
        self.length = length
        self.first = nn.Sequential(nn.Conv1d(4, filters, width, padding=width // 2), nn.ReLU())
        dilations = [2**k for k in range(1, n_dilated + 1)]
        self.dilated = nn.ModuleList(
            nn.Sequential(nn.Conv1d(filters, filters, 3, padding=d, dilation=d), nn.ReLU()) for d in dilations
        )
        self.output = nn.Linear(filters, n_tasks)

    def forward(self, x: Float[torch.Tensor, "batch 4 length"]) -> Float[torch.Tensor, "batch tasks"]:
        """Predict every task."""
        x = self.first(x)
        for layer in self.dilated:
            x = x + layer(x)
        tasks: torch.Tensor = self.output(x.mean(dim=2))
        return tasks


ARCHITECTURES: dict[str, type[nn.Module]] = {"paper_cnn": PaperCNN, "dilated": DilatedCNN}


def build_network(
    architecture: type[nn.Module], arguments: Mapping[str, Any], *, n_tasks: int, length: int
) -> nn.Module:
    """Make a network with fresh weights from the global generator of PyTorch.

    Parameters
    ----------
    architecture : class of the network.
    arguments : what its constructor is called with. `n_tasks` and `length` are added where it has parameters of these
        names.
    n_tasks : outputs.
    length : bases of a sequence.

    Raises
    ------
    InputError
        When the constructor does not take the arguments.
    """
    known = inspect.signature(architecture).parameters
    implied = {name: value for name, value in (("n_tasks", n_tasks), ("length", length)) if name in known}
    try:
        network = architecture(**{**implied, **arguments})
    except InputError as error:
        raise InputError(f"{architecture.__name__}: {error}") from error
    except (TypeError, ValueError, RuntimeError) as error:
        given = ", ".join(f"{name} = {value!r}" for name, value in arguments.items()) or "none"
        raise InputError(
            f"{architecture.__name__} takes the arguments {', '.join(known)}; got {given}: {error}"
        ) from error
    return network
