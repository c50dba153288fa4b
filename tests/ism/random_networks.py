"""Random networks: every operation that the windowed engine confines to a window, in random combination."""

import torch
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

ACTIVATIONS = (nn.ReLU, nn.GELU, nn.ELU, nn.Sigmoid, nn.SiLU, nn.LeakyReLU, nn.Softplus, nn.Tanh)


class Residual(nn.Module):
    """A dilated convolution added to what it reads, cropped where the convolution is not padded."""

    def __init__(self, channels: int, width: int, dilation: int, padded: bool) -> None:
        super().__init__()
        self.crop = 0 if padded else (width - 1) * dilation // 2
        self.conv = nn.Conv1d(channels, channels, width, dilation=dilation, padding="same" if padded else 0)

    def forward(self, x):
        y = functional.relu(self.conv(x))
        return x[:, :, self.crop : x.shape[2] - self.crop] + y


class Gate(nn.Module):
    """One convolution opens or shuts another."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.value = nn.Conv1d(channels, channels, width, padding="same")
        self.gate = nn.Conv1d(channels, channels, 1)

    def forward(self, x):
        return self.value(x) * torch.sigmoid(self.gate(x)) - 0.5 * x


class Branches(nn.Module):
    """Convolutions of different widths side by side."""

    def __init__(self, channels: int, widths: list[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv1d(channels, 3, w, padding=w // 2) for w in widths)

    def forward(self, x):
        parts = [branch(x)[:, :, : x.shape[2]] for branch in self.branches]
        return torch.cat([x, *parts], dim=1)


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each position, and a dense layer on them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.dense = nn.Linear(channels, channels)

    def forward(self, x):
        y = self.dense(self.norm(x.transpose(1, 2)))
        return x + y.permute(0, 2, 1).softmax(dim=1)


class Pad(nn.Module):
    """Zeros, or another number, on either side."""

    def __init__(self, left: int, right: int, value: float) -> None:
        super().__init__()
        self.sides, self.value = (left, right), value

    def forward(self, x):
        return functional.pad(x, self.sides, value=self.value)


class Both(nn.Module):
    """A layer and the same layer on the reversed sequence."""

    def forward(self, x):
        return x + 0.3 * x.flip(-1)


class Heads(nn.Module):
    """Ways to make a vector of positions, side by side."""

    def __init__(self, channels: int, length: int, kinds: list[str], n_tasks: int) -> None:
        super().__init__()
        self.kinds = kinds
        sizes = {"mean": channels, "max": channels, "flat": channels * length, "adaptive": channels, "middle": channels}
        self.hidden = nn.ModuleList(nn.Linear(sizes[kind], 7) for kind in kinds)
        self.norm = nn.BatchNorm1d(7 * len(kinds))
        self.out = nn.Linear(7 * len(kinds), n_tasks)

    def forward(self, x):
        ways = {
            "mean": lambda: x.mean(-1),
            "max": lambda: x.amax(2),
            "flat": lambda: x.flatten(1),
            "adaptive": lambda: functional.adaptive_avg_pool1d(x, 1).squeeze(-1),
            "middle": lambda: x[:, :, x.shape[2] // 3 : x.shape[2] // 3 + 1].sum(2),
        }
        hidden = torch.cat([layer(ways[kind]()) for kind, layer in zip(self.kinds, self.hidden, strict=True)], dim=1)
        return self.out(functional.relu(self.norm(hidden)))


LAYERS = (
    *("conv", "strided", "grouped", "norm", "activation", "max_pool", "avg_pool", "residual", "gate", "branches"),
    *("channel_norm", "pad", "both", "dropout", "scale", "soft_pool", "upsample"),
)


class SoftPool(nn.Module):
    """A mean of neighbours with weights from a softmax among them."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.logits = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        x = x[:, :, : x.shape[2] // self.size * self.size].unflatten(2, (-1, self.size))
        return (x * self.logits(x).softmax(dim=-1)).sum(dim=-1)


class Scale(nn.Module):
    """A learned factor and offset of each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.rand(channels, 1) + 0.5)
        self.offset = nn.Parameter(torch.randn(channels, 1))

    def forward(self, x):
        return (x - self.offset) * self.factor / 1.5 + 0.1


@st.composite
def networks(draw, max_layers: int = 6):
    """Return a network in evaluation mode and the length that it reads."""
    length = draw(st.integers(12, 60))
    channels, now = 4, length
    torch.manual_seed(draw(st.integers(0, 2**16)))
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, max_layers))):
        kind = draw(st.sampled_from(LAYERS if layers else ("conv", "strided")))
        layer = draw(layer_of(kind, channels, now))
        if layer is None:
            continue
        with torch.no_grad():
            shape = layer.eval()(torch.zeros(2, channels, now)).shape
        if shape[2] < 2:
            continue
        layers.append(layer)
        channels, now = shape[1], shape[2]
    kinds = draw(st.lists(st.sampled_from(["mean", "max", "flat", "adaptive", "middle"]), min_size=1, max_size=2))
    network = nn.Sequential(*layers, Heads(channels, now, kinds, 3))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 1.5)
    return network.eval().requires_grad_(False), length


@st.composite
def layer_of(draw, kind: str, channels: int, length: int):
    """Return a layer of a kind, None where the sequence is too short for it."""
    width = draw(st.integers(1, 7))
    dilation = draw(st.sampled_from([1, 1, 2, 5]))
    span = (width - 1) * dilation
    if kind in ("conv", "strided"):
        stride = draw(st.integers(2, 3)) if kind == "strided" else 1
        padding = draw(st.sampled_from(["same", 0, 1, 3])) if stride == 1 else draw(st.integers(0, 3))
        if padding != "same" and length + 2 * padding - span < 2 * stride:
            return None
        return nn.Conv1d(channels, draw(st.integers(2, 8)), width, stride=stride, dilation=dilation, padding=padding)
    if kind == "grouped":
        return nn.Conv1d(channels, 2 * channels, width, groups=channels, padding="same", dilation=dilation)
    if kind in ("max_pool", "avg_pool"):
        size = draw(st.integers(2, 4))
        stride, padding = draw(st.integers(1, 4)), draw(st.integers(0, size // 2))
        ceil = draw(st.booleans())
        if length + 2 * padding < 2 * size + stride:
            return None
        if kind == "max_pool":
            return nn.MaxPool1d(size, stride, padding, ceil_mode=ceil)
        return nn.AvgPool1d(size, stride, padding, ceil_mode=ceil, count_include_pad=draw(st.booleans()))
    if kind == "residual":
        padded = draw(st.booleans())
        width = 2 * draw(st.integers(0, 2)) + 1
        if not padded and length - (width - 1) * dilation < 3:
            return None
        return Residual(channels, width, dilation, padded)
    return {
        "norm": lambda: nn.BatchNorm1d(channels),
        "activation": draw(st.sampled_from(ACTIVATIONS)),
        "gate": lambda: Gate(channels, width),
        "branches": lambda: Branches(channels, [1, width, 4]),
        "channel_norm": lambda: ChannelNorm(channels),
        "pad": lambda: Pad(draw(st.integers(0, 3)), draw(st.integers(0, 3)), draw(st.sampled_from([0.0, 1.5]))),
        "both": Both,
        "dropout": nn.Dropout,
        "scale": lambda: Scale(channels),
        "soft_pool": lambda: SoftPool(channels, draw(st.integers(2, 3))),
        "upsample": lambda: nn.Upsample(scale_factor=2),
    }[kind]()
