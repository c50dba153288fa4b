"""Networks of the field at a small size, each reading (batch, 4, length): what an engine of mutagenesis has to take.

`ZOO["basset"]()` makes one, in evaluation mode and with statistics of its normalisations that are not trivial. Those
with several outputs return a tuple, and have a variant `<name>_count` that computes all and returns the counts alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from deepmr.sequence.models import PaperCNN

GAIN = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """How to make one network.

    Attributes
    ----------
    build : length -> network.
    length : bases that it reads by default; the profile networks need more than 1114.
    must_fall_back : one of its operations reads every position and changes every position (attention, recurrence,
        statistics over the length), or it cannot be captured. False says that windows can carry it to its end, not
        that an engine has to.
    captured : whether `torch.export` takes it.
    n_outputs : tensors that it returns; a tuple above 1.
    """

    build: Callable[[int], nn.Module]
    length: int
    must_fall_back: bool = False
    captured: bool = True
    n_outputs: int = 1

    def __call__(self, *, seed: int = 0, length: int | None = None) -> nn.Module:
        return settle(lambda: self.build(length or self.length), seed, gain=GAIN)


def settle(build: Callable[[], nn.Module], seed: int, *, gain: float = 1) -> nn.Module:
    """Make a network from a seed, with statistics as after training, in evaluation mode.

    `gain` multiplies the weights of convolutions and dense layers: those that PyTorch draws shrink the signal with
    every layer, until effects are lost in the rounding of the output.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build()
        with torch.no_grad():
            for layer in network.modules():
                if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
                    layer.weight *= gain
                if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                    layer.running_mean.uniform_(-0.2, 0.2)
                    layer.running_var.uniform_(0.5, 1.5)
                if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm | nn.InstanceNorm1d):
                    layer.weight.uniform_(0.5, 1.5)
                    layer.bias.uniform_(-0.2, 0.2)
    return network.eval().requires_grad_(False)


class Output(nn.Module):
    """One output of a network that returns several: it computes all and keeps one, as users do."""

    def __init__(self, network, index):
        super().__init__()
        self.network, self.index = network, index

    def forward(self, x):
        return self.network(x)[self.index]


class Residual(nn.Sequential):
    """Layers whose output is added to their input."""

    def forward(self, x):
        return x + super().forward(x)


class Mean(nn.Module):
    """Mean over positions."""

    def forward(self, x):
        return x.mean(dim=-1)


# Profiles and counts


class BPNet(nn.Module):
    """BPNet: padded dilated residual convolutions; profiles and counts of several tasks, both strands.

    Avsec et al. (2021), doi:10.1038/s41588-021-00782-6.
    """

    def __init__(self, n_tasks=2, filters=8, n_dilated=9, width=25, profile_width=25):
        super().__init__()
        self.first = nn.Conv1d(4, filters, width, padding="same")
        self.dilated = nn.ModuleList(
            nn.Conv1d(filters, filters, 3, padding="same", dilation=2**k) for k in range(1, n_dilated + 1)
        )
        self.profile = nn.Conv1d(filters, 2 * n_tasks, profile_width, padding="same")
        self.counts = nn.Linear(filters, 2 * n_tasks)

    def forward(self, x):
        x = F.relu(self.first(x))
        for conv in self.dilated:
            x = x + F.relu(conv(x))
        return self.profile(x), self.counts(x.mean(dim=2))


class BPNetLite(nn.Module):
    """BPNet as bpnet-lite has it: the profile is of the middle, and counts read what the profile reads."""

    def __init__(self, filters=8, n_dilated=8, n_outputs=2, trim=557):
        super().__init__()
        self.trim = trim  # 2114 to 1000
        self.iconv = nn.Conv1d(4, filters, 21, padding=10)
        self.irelu = nn.ReLU()
        self.rconvs = nn.ModuleList(
            nn.Conv1d(filters, filters, 3, padding=2**k, dilation=2**k) for k in range(1, n_dilated + 1)
        )
        self.rrelus = nn.ModuleList(nn.ReLU() for _ in range(n_dilated))
        self.fconv = nn.Conv1d(filters, n_outputs, 75, padding=37)
        self.linear = nn.Linear(filters, 1)

    def forward(self, x):
        first, last = self.trim, x.shape[2] - self.trim
        x = self.irelu(self.iconv(x))
        for conv, relu in zip(self.rconvs, self.rrelus, strict=True):
            x = torch.add(x, relu(conv(x)))
        profile = self.fconv(x)[:, :, first:last]
        counts = self.linear(torch.mean(x[:, :, first - 37 : last + 37], dim=2)).reshape(x.shape[0], 1)
        return profile, counts


class Cropped(nn.Module):
    """A branch of ChromBPNet: no padding anywhere, so the residual path is cropped to what a convolution leaves."""

    def __init__(self, filters, n_dilated, middle):
        super().__init__()
        self.middle = middle
        self.first = nn.Conv1d(4, filters, 21)
        self.dilated = nn.ModuleList(nn.Conv1d(filters, filters, 3, dilation=2**k) for k in range(1, n_dilated + 1))
        self.profile = nn.Conv1d(filters, 1, 75)
        self.counts = nn.Linear(filters, 1)

    def forward(self, x):
        x = F.relu(self.first(x))
        for conv in self.dilated:
            new = F.relu(conv(x))
            crop = (x.shape[-1] - new.shape[-1]) // 2
            x = x[..., crop:-crop] + new
        profile = self.profile(x).squeeze(1)
        crop = (profile.shape[-1] - self.middle) // 2
        return profile[:, crop : crop + self.middle], self.counts(F.adaptive_avg_pool1d(x, 1).flatten(1))


class ChromBPNet(nn.Module):
    """Accessibility and the enzyme's bias in two branches: profiles add as logits, counts as counts.

    Pampari et al. (2024), doi:10.1101/2024.12.25.630221.
    """

    def __init__(self, length=2114, filters=8, bias_filters=4):
        super().__init__()
        self.accessibility = Cropped(filters, 8, length - 1114)
        self.bias = Cropped(bias_filters, 4, length - 1114)

    def forward(self, x):
        profile, counts = self.accessibility(x)
        bias_profile, bias_counts = self.bias(x)
        return profile + bias_profile, torch.logsumexp(torch.cat([counts, bias_counts], dim=1), dim=1, keepdim=True)


# Convolutions, pooling, dense layers


class Basset(nn.Sequential):
    """Basset: three convolutions with max pooling, two dense layers with dropout.

    Kelley, Snoek, Rinn (2016), doi:10.1101/gr.200535.115.
    """

    def __init__(self, length=192, filters=(12, 8, 8), hidden=16, n_tasks=3):
        sizes = (4, *filters)
        layers = []
        for k, (width, pool) in enumerate([(19, 3), (11, 4), (7, 4)]):
            layers += [nn.Conv1d(sizes[k], sizes[k + 1], width, padding=width // 2), nn.BatchNorm1d(sizes[k + 1])]
            layers += [nn.ReLU(), nn.MaxPool1d(pool)]
        layers.append(nn.Flatten())
        for size in (filters[-1] * (length // 3 // 4 // 4), hidden):
            layers += [nn.Linear(size, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.3)]
        super().__init__(*layers, nn.Linear(hidden, n_tasks))


class Basset2d(nn.Module):
    """Basset as ported networks have it: two-dimensional, the length first, the second axis of size 1."""

    def __init__(self, length=192, filters=12, hidden=16, n_tasks=3):
        super().__init__()
        layers = []
        for k, (width, pool) in enumerate([(19, 3), (11, 4), (7, 4)]):
            layers.append(nn.Conv2d(filters if k else 4, filters, (width, 1), padding=(width // 2, 0)))
            layers += [nn.BatchNorm2d(filters), nn.ReLU(), nn.MaxPool2d((pool, 1), (pool, 1))]
        self.convolutions = nn.Sequential(*layers)
        self.dense = nn.Sequential(nn.Linear(filters * (length // 48), hidden), nn.BatchNorm1d(hidden), nn.ReLU())
        self.output = nn.Linear(hidden, n_tasks)

    def forward(self, x):
        x = self.convolutions(x.unsqueeze(3))
        return self.output(self.dense(x.view(x.size(0), -1)))


class DeepSEA(nn.Sequential):
    """DeepSEA: unpadded convolutions, pooling that drops the tail, sigmoid outputs. Zhou, Troyanskaya (2015)."""

    def __init__(self, length=200, filters=(8, 12, 24), hidden=16, n_tasks=5):
        a, b, c = filters
        left = ((length - 7) // 4 - 7) // 4 - 7
        super().__init__(
            *(nn.Conv1d(4, a, 8), nn.ReLU(), nn.MaxPool1d(4), nn.Dropout(0.2)),
            *(nn.Conv1d(a, b, 8), nn.ReLU(), nn.MaxPool1d(4), nn.Dropout(0.2)),
            *(nn.Conv1d(b, c, 8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()),
            *(nn.Linear(c * left, hidden), nn.ReLU(), nn.Linear(hidden, n_tasks), nn.Sigmoid()),
        )


class Beluga(nn.Module):
    """DeepSEA of 2018, "Beluga": pairs of (1, 8) convolutions on an input with a second axis. Zhou et al. (2018)."""

    def __init__(self, length=300, filters=(8, 12, 16), hidden=16, n_tasks=5):
        super().__init__()
        a, b, c = filters
        left = ((length - 14) // 4 - 14) // 4 - 14
        self.convolutions = nn.Sequential(
            nn.Sequential(nn.Conv2d(4, a, (1, 8)), nn.ReLU(), nn.Conv2d(a, a, (1, 8)), nn.ReLU()),
            nn.Sequential(nn.Dropout(0.2), nn.MaxPool2d((1, 4), (1, 4))),
            nn.Sequential(nn.Conv2d(a, b, (1, 8)), nn.ReLU(), nn.Conv2d(b, b, (1, 8)), nn.ReLU()),
            nn.Sequential(nn.Dropout(0.2), nn.MaxPool2d((1, 4), (1, 4))),
            nn.Sequential(nn.Conv2d(b, c, (1, 8)), nn.ReLU(), nn.Conv2d(c, c, (1, 8)), nn.ReLU()),
        )
        self.dense = nn.Sequential(nn.Linear(c * left, hidden), nn.ReLU(), nn.Linear(hidden, n_tasks))

    def forward(self, x):
        x = self.convolutions(x.unsqueeze(2))
        return torch.sigmoid(self.dense(x.reshape(x.shape[0], -1)))


class DanQ(nn.Module):
    """DanQ: a convolution, then a recurrence over positions in both directions. Quang, Xie (2016)."""

    def __init__(self, length=220, filters=8, hidden=6, n_tasks=3):
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(4, filters, 26), nn.ReLU(), nn.MaxPool1d(13), nn.Dropout(0.2))
        self.recurrent = nn.LSTM(filters, hidden, bidirectional=True, batch_first=True)
        self.dense = nn.Sequential(nn.Linear(2 * hidden * ((length - 25) // 13), 16), nn.ReLU(), nn.Linear(16, n_tasks))

    def forward(self, x):
        x, _ = self.recurrent(self.first(x).transpose(1, 2))
        return torch.sigmoid(self.dense(x.flatten(1)))


class DeepBind(nn.Module):
    """DeepBind: the best match of every filter, and its mean. Alipanahi et al. (2015)."""

    def __init__(self, filters=8, n_tasks=2):
        super().__init__()
        self.first = nn.Conv1d(4, filters, 24, padding=23)
        self.dense = nn.Sequential(nn.Linear(2 * filters, 16), nn.ReLU(), nn.Linear(16, n_tasks))

    def forward(self, x):
        x = F.relu(self.first(x))
        return self.dense(torch.cat([x.amax(dim=2), x.mean(dim=2)], dim=1))


class ExplaiNN(nn.Module):
    """ExplaiNN: one small network a filter, as grouped convolutions of a repeated input. Novakovsky et al. (2023)."""

    def __init__(self, length=120, units=6, n_tasks=2):
        super().__init__()
        left = (length - 18) // 7
        self.units = units
        self.layers = nn.Sequential(
            *(nn.Conv1d(4 * units, units, 19, groups=units), nn.BatchNorm1d(units), Exponential()),
            *(nn.MaxPool1d(7, 7), nn.Flatten(), nn.Unflatten(1, (units * left, 1))),
            *(nn.Conv1d(units * left, 5 * units, 1, groups=units), nn.BatchNorm1d(5 * units), nn.ReLU()),
            *(nn.Conv1d(5 * units, units, 1, groups=units), nn.BatchNorm1d(units), nn.ReLU(), nn.Flatten()),
        )
        self.output = nn.Linear(units, n_tasks)

    def forward(self, x):
        return self.output(self.layers(x.repeat(1, self.units, 1)))


class Exponential(nn.Module):
    """Exponential activation, of networks whose first filters are to look like motifs. Koo, Ploenzke (2021)."""

    def forward(self, x):
        return torch.exp(x)


# Longer contexts


class QuickGELU(nn.Module):
    """The approximation of GELU that Basenji has."""

    def forward(self, x):
        return torch.sigmoid(1.702 * x) * x


def basenji(length=256, filters=12, n_tasks=3):
    """Return a trunk in the style of Basenji: normalised pooling tower, dilated residuals, pointwise head.

    Kelley et al. (2018), doi:10.1101/gr.227819.117.
    """
    layers = [nn.Conv1d(4, filters, 15, padding=7), nn.MaxPool1d(2)]
    for _ in range(2):
        layers += [nn.BatchNorm1d(filters), QuickGELU(), nn.Conv1d(filters, filters, 5, padding=2, bias=False)]
        layers.append(nn.MaxPool1d(2))
    half = filters // 2
    layers += [
        Residual(
            *(QuickGELU(), nn.Conv1d(filters, half, 3, padding=d, dilation=d, bias=False), nn.BatchNorm1d(half)),
            *(QuickGELU(), nn.Conv1d(half, filters, 1, bias=False), nn.BatchNorm1d(filters), nn.Dropout(0.3)),
        )
        for d in (1, 2, 4)
    ]
    layers += [QuickGELU(), nn.Conv1d(filters, 2 * filters, 1), nn.BatchNorm1d(2 * filters), nn.Dropout(0.05)]
    return nn.Sequential(*layers, QuickGELU(), nn.Conv1d(2 * filters, n_tasks, 1), nn.Softplus(), Mean())


class AttentionPool(nn.Module):
    """Mean of neighbouring positions with weights from a softmax among them."""

    def __init__(self, filters, size=2):
        super().__init__()
        self.size = size
        self.logits = nn.Conv2d(filters, filters, 1, bias=False)

    def forward(self, x):
        x = x.unflatten(2, (-1, self.size))
        return (x * self.logits(x).softmax(dim=-1)).sum(dim=-1)


class Enformer(nn.Module):
    """In the style of Enformer: a convolution tower with attention pooling, then attention over positions.

    Avsec et al. (2021), doi:10.1038/s41592-021-01252-x.
    """

    def __init__(self, filters=8, n_tasks=3):
        super().__init__()

        def block(width):
            conv = nn.Conv1d(filters, filters, width, padding=width // 2)
            return [nn.BatchNorm1d(filters), nn.GELU(), conv]

        self.stem = nn.Sequential(nn.Conv1d(4, filters, 15, padding=7), Residual(*block(1)), AttentionPool(filters))
        self.tower = nn.Sequential(
            *(nn.Sequential(*block(5), Residual(*block(1)), AttentionPool(filters)) for _ in "ab")
        )
        self.before, self.after = nn.LayerNorm(filters), nn.LayerNorm(filters)
        self.attention = nn.MultiheadAttention(filters, 2, dropout=0.1, batch_first=True)
        self.dense = nn.Sequential(nn.Linear(filters, 2 * filters), nn.ReLU(), nn.Linear(2 * filters, filters))
        self.output = nn.Sequential(nn.GELU(), nn.Linear(filters, n_tasks), nn.Softplus())

    def forward(self, x):
        x = self.tower(self.stem(x)).transpose(1, 2)
        z = self.before(x)
        x = x + self.attention(z, z, z, need_weights=False)[0]
        x = x + self.dense(self.after(x))
        return self.output(x[:, 4:-4]).mean(dim=1)


class ConvNeXt(nn.Module):
    """A block that mixes positions channel by channel, then channels position by position. Liu et al. (2022)."""

    def __init__(self, filters):
        super().__init__()
        self.depthwise = nn.Conv1d(filters, filters, 7, padding=3, groups=filters)
        self.norm = nn.LayerNorm(filters)
        self.wide, self.narrow = nn.Linear(filters, 4 * filters), nn.Linear(4 * filters, filters)
        self.scale = nn.Parameter(0.5 + torch.rand(filters))

    def forward(self, x):
        z = self.norm(self.depthwise(x).transpose(1, 2))
        return x + (self.scale * self.narrow(F.gelu(self.wide(z)))).transpose(1, 2)


class SpliceAI(nn.Module):
    """Residual blocks with normalisation first, skip connections, class probabilities of the middle position.

    Jaganathan et al. (2019), doi:10.1016/j.cell.2018.12.015.
    """

    def __init__(self, filters=8):
        super().__init__()
        self.first, self.skip = nn.Conv1d(4, filters, 1), nn.Conv1d(filters, filters, 1)
        blocks, skips = [], []
        for width, dilation in ((11, 1), (11, 4)):
            norm = [nn.BatchNorm1d(filters), nn.ReLU()]
            again = [nn.BatchNorm1d(filters), nn.ReLU()]
            convs = [nn.Conv1d(filters, filters, width, dilation=dilation, padding="same") for _ in "ab"]
            blocks.append(Residual(*norm, convs[0], *again, convs[1]))
            skips.append(nn.Conv1d(filters, filters, 1))
        self.blocks, self.skips = nn.ModuleList(blocks), nn.ModuleList(skips)
        self.output = nn.Conv1d(filters, 3, 1)

    def forward(self, x):
        x = self.first(x)
        total = self.skip(x)
        for block, skip in zip(self.blocks, self.skips, strict=True):
            x = block(x)
            total += skip(x)
        classes = F.softmax(self.output(total[:, :, 100:-100]), dim=1)
        return classes[:, :, classes.shape[2] // 2]


class UNet(nn.Module):
    """Down by pooling, up by repetition, joined to what was there before: as Borzoi. Linder et al. (2025)."""

    def __init__(self, filters=8, n_tasks=2):
        super().__init__()
        self.down = nn.Sequential(nn.Conv1d(4, filters, 7, padding=3), nn.ReLU())
        self.deep = nn.Sequential(nn.MaxPool1d(4), nn.Conv1d(filters, filters, 5, padding=2), nn.ReLU())
        self.up = nn.Sequential(nn.Upsample(scale_factor=4), nn.Conv1d(filters, filters, 1))
        self.output = nn.Sequential(
            nn.Conv1d(filters, filters, 3, padding=1), nn.ReLU(), Mean(), nn.Linear(filters, n_tasks)
        )

    def forward(self, x):
        x = self.down(x)
        return self.output(x + self.up(self.deep(x)))


# One property each


class SqueezeExcite(nn.Module):
    """Channels weighted by a function of their mean over positions. Hu et al. (2018)."""

    def __init__(self, filters):
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(filters, 4), nn.ReLU(), nn.Linear(4, filters), nn.Sigmoid())

    def forward(self, x):
        return x * self.gate(x.mean(dim=2)).unsqueeze(2)


class Inception(nn.Module):
    """Filters of several widths side by side, and pooling beside them."""

    def __init__(self, filters=4, n_tasks=2):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(4, filters, width, padding=width // 2) for width in (1, 5, 11))
        self.pooled = nn.Sequential(nn.MaxPool1d(3, stride=1, padding=1), nn.Conv1d(4, filters, 1))
        self.rest = nn.Sequential(nn.Conv1d(4 * filters, 8, 3, padding=1), nn.ReLU(), Mean(), nn.Linear(8, n_tasks))

    def forward(self, x):
        return self.rest(F.relu(torch.cat([*(conv(x) for conv in self.convs), self.pooled(x)], dim=1)))


class DenseNet(nn.Module):
    """Every layer reads what all before it found."""

    def __init__(self, growth=4, n_tasks=2):
        super().__init__()
        self.first = nn.Conv1d(4, growth, 9, padding=4)
        self.norms = nn.ModuleList(nn.BatchNorm1d(k * growth) for k in range(1, 4))
        self.convs = nn.ModuleList(nn.Conv1d(k * growth, growth, 3, padding=k, dilation=k) for k in range(1, 4))
        self.output = nn.Sequential(nn.AvgPool1d(4), nn.Flatten(), nn.LazyLinear(n_tasks))

    def forward(self, x):
        x = self.first(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = torch.cat([x, conv(F.relu(norm(x)))], dim=1)
        return self.output(x)


class Gated(nn.Module):
    """The product of two branches: neither is linear in the other's presence."""

    def __init__(self, filters=8, n_tasks=2):
        super().__init__()
        self.value, self.gate = nn.Conv1d(4, filters, 9, padding=4), nn.Conv1d(4, filters, 9, padding=4)
        self.value2, self.gate2 = nn.Conv1d(filters, filters, 3, padding=1), nn.Conv1d(filters, filters, 3, padding=1)
        self.output = nn.Linear(filters, n_tasks)

    def forward(self, x):
        x = torch.tanh(self.value(x)) * torch.sigmoid(self.gate(x))
        return self.output((self.value2(x) * torch.sigmoid(self.gate2(x))).sum(dim=2))


class Positional(nn.Module):
    """Positions with a bias and a weight of their own: parameters that have a length."""

    def __init__(self, length=120, filters=6, n_tasks=2):
        super().__init__()
        self.first, self.second = nn.Conv1d(4, filters, 7, padding=3), nn.Conv1d(filters, filters, 5, padding=2)
        self.bias = nn.Parameter(0.3 * torch.randn(1, filters, length))
        self.weight = nn.Parameter(torch.randn(filters, length, n_tasks) / length**0.5)

    def forward(self, x):
        x = F.elu(self.second(F.silu(self.first(x) + self.bias)))
        return torch.einsum("bcl,clt->bt", x, self.weight)


class InPlace(nn.Module):
    """Activations and sums that overwrite their input."""

    def __init__(self, filters=8, n_tasks=2):
        super().__init__()
        self.first, self.second = nn.Conv1d(4, filters, 9, padding=4), nn.Conv1d(filters, filters, 5, padding=2)
        self.third, self.relu = nn.Conv1d(filters, filters, 5, padding=2), nn.ReLU(inplace=True)
        self.output = nn.Linear(filters, n_tasks)

    def forward(self, x):
        x = self.relu(self.first(x))
        y = self.second(x)
        y += x
        z = self.third(self.relu(y))
        z.mul_(0.5).add_(x).clamp_(min=0)
        return self.output(z.mean(2))


class Shared(nn.Module):
    """One convolution and one normalisation, used three times."""

    def __init__(self, filters=8, n_tasks=2):
        super().__init__()
        self.first, self.conv = nn.Conv1d(4, filters, 5, padding=2), nn.Conv1d(filters, filters, 3, padding="same")
        self.norm, self.output = nn.BatchNorm1d(filters), nn.Linear(filters, n_tasks)

    def forward(self, x):
        x = self.first(x)
        for _ in range(3):
            x = F.leaky_relu(self.norm(self.conv(x)), 0.1)
        return self.output(x.mean(dim=2))


class Branching(nn.Module):
    """Control flow that depends on values, so it cannot be captured; every one-hot sequence takes the same way."""

    def __init__(self):
        super().__init__()
        self.body = plain()

    def forward(self, x):
        return self.body(x) if x.sum() > 0 else self.body(1 - x)


class BothStrands(nn.Module):
    """The mean of the predictions for a sequence and for its reverse complement."""

    def __init__(self):
        super().__init__()
        self.body = plain()

    def forward(self, x):
        return (self.body(x) + self.body(x.flip((1, 2)))) / 2


def plain(*middle, filters=8, n_tasks=2):
    """Return a convolution, some layers, a second convolution, the mean and a dense layer."""
    first = nn.Conv1d(4, filters, 9, padding=4)
    last = (nn.Conv1d(filters, filters, 5, padding=2), nn.ReLU(), Mean(), nn.Linear(filters, n_tasks))
    return nn.Sequential(first, *(middle or (nn.ReLU(),)), *last)


def flat(*layers, n_tasks=2):
    """Return layers whose output is flattened and read by two dense layers."""
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), nn.Linear(16, n_tasks))


def sized(build):
    """Give the lazy layers of what `build` makes their size, by a first input."""

    def made(length):
        network = build(length)
        network.eval()(torch.zeros(2, 4, length))
        return network

    return made


def normed_weights():
    conv = [
        weight_norm(nn.Conv1d(4, 8, 9, padding=4)),
        nn.ReLU(),
        weight_norm(nn.Conv1d(8, 8, 5, padding=4, dilation=2)),
    ]
    return nn.Sequential(*conv, nn.ReLU(), Mean(), weight_norm(nn.Linear(8, 2)))


def strided():
    convs = (nn.Conv1d(4, 8, 9, stride=2, padding=4), nn.ReLU(), nn.Conv1d(8, 8, 5, stride=3, padding=1), nn.ReLU())
    return flat(*convs, nn.Conv1d(8, 8, 3, dilation=2))


def grouped():
    return plain(nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 8, 7, padding=3, groups=4), nn.GELU())


def odd_pools():
    overlapping = (nn.MaxPool1d(5, stride=2, padding=2), nn.MaxPool1d(3, stride=4, ceil_mode=True))
    return flat(nn.Conv1d(4, 8, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2, stride=1, dilation=3), *overlapping)


def average_pools():
    pools = (nn.AvgPool1d(4, padding=1), nn.AvgPool1d(3, stride=2, padding=1, count_include_pad=False, ceil_mode=True))
    return flat(nn.Conv1d(4, 8, 7, padding=3), nn.ReLU(), pools[0], nn.Conv1d(8, 8, 3, padding=1), nn.ReLU(), pools[1])


def activations():
    odd = (
        nn.Softplus(),
        nn.Conv1d(8, 8, 3, padding=1),
        nn.SiLU(),
        nn.BatchNorm1d(8),
        nn.Hardtanh(),
        nn.ELU(),
        nn.PReLU(8),
    )
    return plain(*odd)


def flat_entry(build, length=120):
    return Entry(build=sized(lambda _: build()), length=length)


ZOO: dict[str, Entry] = {
    "paper_cnn": Entry(build=lambda length: PaperCNN(n_tasks=2, length=length), length=100),
    "bpnet": Entry(build=lambda _: BPNet(), length=1000, n_outputs=2),
    "bpnet_lite": Entry(build=lambda _: BPNetLite(), length=2114, n_outputs=2),
    "chrombpnet": Entry(build=lambda length: ChromBPNet(length), length=2114, n_outputs=2),
    "basset": Entry(build=Basset, length=192),
    "basset_2d": Entry(build=Basset2d, length=192),
    "deepsea": Entry(build=DeepSEA, length=200),
    "beluga": Entry(build=Beluga, length=320),
    "danq": Entry(build=DanQ, length=220, must_fall_back=True),
    "deepbind": Entry(build=lambda _: DeepBind(), length=100),
    "explainn": Entry(build=ExplaiNN, length=120),
    "basenji": Entry(build=basenji, length=256),
    "enformer": Entry(build=lambda _: Enformer(), length=256, must_fall_back=True),
    "convnext": Entry(
        build=lambda _: nn.Sequential(
            nn.Conv1d(4, 8, 9, padding=4), ConvNeXt(8), ConvNeXt(8), Mean(), nn.LayerNorm(8), nn.Linear(8, 2)
        ),
        length=120,
    ),
    "spliceai": Entry(build=lambda _: SpliceAI(), length=401),
    "unet": Entry(build=lambda _: UNet(), length=128),
    "squeeze_excite": Entry(build=lambda _: plain(nn.ReLU(), SqueezeExcite(8)), length=120, must_fall_back=True),
    "inception": Entry(build=lambda _: Inception(), length=120),
    "densenet": Entry(build=sized(lambda _: DenseNet()), length=120),
    "gated": Entry(build=lambda _: Gated(), length=120),
    "positional": Entry(build=Positional, length=120),
    "in_place": Entry(build=lambda _: InPlace(), length=120),
    "shared": Entry(build=lambda _: Shared(), length=120),
    "weight_norm": Entry(build=lambda _: normed_weights(), length=120),
    "strided": flat_entry(strided, length=121),
    "grouped": Entry(build=lambda _: grouped(), length=120),
    "odd_pools": flat_entry(odd_pools, length=122),
    "average_pools": flat_entry(average_pools, length=121),
    "adaptive_pool": flat_entry(lambda: flat(nn.Conv1d(4, 8, 7), nn.ReLU(), nn.AdaptiveAvgPool1d(4))),
    "even_same": Entry(build=lambda _: plain(nn.ReLU(), nn.Conv1d(8, 8, 6, padding="same"), nn.ReLU()), length=120),
    "activations": Entry(build=lambda _: activations(), length=120),
    "circular": Entry(
        build=lambda _: plain(nn.ReLU(), nn.Conv1d(8, 8, 5, padding=2, padding_mode="circular"), nn.ReLU()), length=120
    ),
    "reflected": Entry(
        build=lambda _: plain(nn.ReLU(), nn.Conv1d(8, 8, 5, padding=2, padding_mode="reflect"), nn.ReLU()), length=120
    ),
    "instance_norm": Entry(
        build=lambda _: plain(nn.InstanceNorm1d(8, affine=True), nn.ReLU()), length=120, must_fall_back=True
    ),
    "group_norm": Entry(build=lambda _: plain(nn.GroupNorm(2, 8), nn.ReLU()), length=120, must_fall_back=True),
    "branching": Entry(build=lambda _: Branching(), length=120, must_fall_back=True, captured=False),
    "both_strands": Entry(build=lambda _: BothStrands(), length=120),
}


def count_only(entry):
    return Entry(
        build=lambda length: Output(entry.build(length), 1),
        length=entry.length,
        must_fall_back=entry.must_fall_back,
        captured=entry.captured,
    )


ZOO |= {f"{name}_count": count_only(entry) for name, entry in ZOO.items() if entry.n_outputs > 1}
