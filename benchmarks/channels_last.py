"""The same network with channels last: what a user can do against PyTorch's slow one-dimensional convolutions on a CPU.

Every one-dimensional convolution, batch normalisation and pooling becomes a two-dimensional one over (1, width), in the
memory order position, channel. Tensors keep their three axes for the rest of the network, so `forward` stays as it is.
"""

import copy
from collections.abc import Callable

import torch
from torch import nn


class TwoDimensional(nn.Module):
    """A two-dimensional layer that takes and returns (batch, channels, length), stored channels last."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layer; a dense (batch, channels) is a sequence of length 1."""
        if x.dim() == 2:
            return self.layer(x[:, :, None, None])[:, :, 0, 0]
        return self.layer(x.unsqueeze(2)).squeeze(2)


def to_channels_last(network: nn.Module) -> nn.Module:
    """Return a copy of a network whose one-dimensional layers are two-dimensional and store their channels last."""
    network = copy.deepcopy(network)
    converted: dict[int, nn.Module] = {}  # a layer may be used in several places
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            convert = next((convert for kind, convert in CONVERTERS.items() if isinstance(layer, kind)), None)
            if convert is not None:
                if id(layer) not in converted:
                    converted[id(layer)] = TwoDimensional(convert(layer))
                setattr(parent, name, converted[id(layer)])
    return network.eval().requires_grad_(False)


def convolution(layer: nn.Conv1d) -> nn.Conv2d:
    """Return a convolution over (1, width) with the same weights."""
    new = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        (1, *layer.kernel_size),
        stride=(1, *layer.stride),
        padding=layer.padding if isinstance(layer.padding, str) else (0, *layer.padding),
        dilation=(1, *layer.dilation),
        groups=layer.groups,
        bias=layer.bias is not None,
        padding_mode=layer.padding_mode,
        dtype=layer.weight.dtype,
        device=layer.weight.device,
    )
    with torch.no_grad():
        new.weight.copy_(layer.weight.unsqueeze(2))
        if new.bias is not None:
            new.bias.copy_(layer.bias)
    return new


def normalisation(layer: nn.BatchNorm1d) -> nn.BatchNorm2d:
    """Return a batch normalisation with the same statistics."""
    new = nn.BatchNorm2d(layer.num_features, eps=layer.eps, affine=layer.affine).to(layer.running_var)
    new.load_state_dict(layer.state_dict())
    return new


def maximum(layer: nn.MaxPool1d) -> nn.MaxPool2d:
    """Return a max pooling over (1, width)."""
    return nn.MaxPool2d(
        (1, one(layer.kernel_size)),
        (1, one(layer.stride)),
        (0, one(layer.padding)),
        (1, one(layer.dilation)),
        ceil_mode=layer.ceil_mode,
    )


def average(layer: nn.AvgPool1d) -> nn.AvgPool2d:
    """Return an average pooling over (1, width)."""
    kernel, stride, padding = (one(n) for n in (layer.kernel_size, layer.stride, layer.padding))
    return nn.AvgPool2d((1, kernel), (1, stride), (0, padding), layer.ceil_mode, layer.count_include_pad)


def one(size: int | tuple[int, ...]) -> int:
    """Return a size that is a number, or a tuple of one."""
    return size if isinstance(size, int) else size[0]


CONVERTERS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Conv1d: convolution,
    nn.BatchNorm1d: normalisation,
    nn.MaxPool1d: maximum,
    nn.AvgPool1d: average,
}
