"""What masks can stand for, and what they cannot: every network that would be predicted wrongly is refused."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from deepmr.errors import InputError
from deepmr.sequence.dropout_sites import find_sites

from .networks import Returns


def net(*layers, length=10):
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(4 * length, 1))


class Functional(nn.Module):
    """F.dropout in its forward, with or without a module beside it."""

    def __init__(self, p=0.5, *more, **options):
        super().__init__()
        self.p, self.more, self.options = p, nn.Sequential(*more), options

    def forward(self, x):
        return F.dropout(self.more(x.sum(2)), self.p, **{"training": self.training, **self.options})


class Shared(nn.Module):
    """One dropout module after two layers."""

    def __init__(self):
        super().__init__()
        self.dense, self.drop = nn.Linear(40, 40), nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.dense(self.drop(x.flatten(1))))


class Training(nn.Module):
    """Dropout that evaluation mode passes by."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        x = x.sum(2)
        return self.drop(x) if self.training else x


class Attention(nn.Module):
    """A transformer layer, whose fast path in evaluation mode knows no dropout modules."""

    def __init__(self, inside):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.5, batch_first=True)
        self.layer.self_attn.dropout = inside

    def forward(self, x):
        return self.layer(x.transpose(1, 2)).mean(1)


class ReadsP(nn.Module):
    """Hands the probability of a dropout module to a function, as attention often does."""

    def __init__(self):
        super().__init__()
        self.first, self.drop = nn.Dropout(0.1), nn.Dropout(0.5)

    def forward(self, x):
        return self.first(F.dropout(x.sum(2), self.drop.p if self.training else 0.0))


class NumpyNoise(nn.Module):
    """Random by another generator than PyTorch's."""

    def __init__(self):
        super().__init__()
        self.drop, self.rng = nn.Dropout(0.5), np.random.default_rng()

    def __deepcopy__(self, memo):
        copy = NumpyNoise()
        copy.drop = memo.get(id(self.drop), copy.drop)
        return copy

    def forward(self, x):
        return self.drop(x.sum(2)) + (float(self.rng.random()) if self.training else 0.0)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (net(), "has no dropout with p > 0 in its forward pass"),
        (net(nn.Dropout(0.0)), "has no dropout with p > 0"),
        (Functional(), "draws random numbers in training outside of nn.Dropout modules, such as by F.dropout"),
        (Functional(0.5, nn.Dropout(0.5)), "outside of nn.Dropout modules"),
        (Functional(0.001, nn.Dropout(0.5)), "outside of nn.Dropout modules"),  # most passes would not show it
        (Functional(0.5, nn.Dropout(0.5), training=True), "outside of nn.Dropout modules"),
        (ReadsP(), "outside of nn.Dropout modules"),
        (NumpyNoise(), "outside of nn.Dropout modules"),
        (Attention(0.5), "outside of nn.Dropout modules"),
        (Attention(0.0), "dropout 'layer.dropout' is used 1 times .* in training mode but 0 times in evaluation mode"),
        (Training(), "dropout 'drop' is used 1 times .* in training mode but 0 times in evaluation mode"),
        (Shared(), "dropout 'drop' is used 2 times in a forward pass, .*: give every use an nn.Dropout of its own"),
        (net(nn.AlphaDropout(0.1)), "dropout '1' must be a product with a mask; AlphaDropout shifts too"),
        (net(nn.FeatureAlphaDropout(0.1)), "FeatureAlphaDropout shifts too"),
        (net(nn.Dropout1d(0.1)), r"must not drop whole sequences; Dropout1d does, of a tensor \(2, 40\)"),
        (
            nn.Sequential(nn.Unflatten(2, (2, 5)), nn.Dropout3d(0.5), nn.Flatten(), nn.Linear(40, 1)),
            "must not drop whole sequences; Dropout3d does",
        ),
        (
            nn.Sequential(Returns(lambda x: x.transpose(0, 1)), nn.Dropout(0.5), Returns(lambda x: x[:2].sum(2).T)),
            r"must see tensors \(batch, ...\); for 2 and 3 sequences it saw \(4, 2, 10\) and \(4, 3, 10\)",
        ),
        (
            nn.Sequential(nn.Flatten(0, 1), nn.Dropout(0.5), nn.Unflatten(0, (-1, 4)), nn.Flatten()),
            r"it saw \(8, 10\) and \(12, 10\)",
        ),
        (
            nn.Sequential(Returns(lambda x: x.new_ones(len(x), 4, len(x))), nn.Dropout(0.5)),
            r"it saw \(2, 4, 2\) and \(3, 4, 3\)",
        ),
    ],
)
def test_networks_that_masks_cannot_stand_for(network, said):
    with pytest.raises(InputError, match=said):
        find_sites(network.eval(), 10)


@pytest.mark.parametrize("length", [9, 11])
def test_another_length_is_refused(length):
    with pytest.raises(InputError, match=rf"cannot read \(2, 4, {length}\) in training mode: mat1 and mat2"):
        find_sites(net(nn.Dropout(0.5)), length)


def test_dropout_that_takes_no_part_is_left_out():
    network = net(nn.Dropout(0.5))
    network[1].spare = nn.Dropout(0.5)
    (site,) = find_sites(network, 10)
    assert site.module is network[1]
    assert (site.p, site.shape, site.dtype) == (0.5, (40,), torch.float32)


def test_functional_dropout_that_is_off_does_not_matter():
    assert len(find_sites(Functional(0.0, nn.Dropout(0.5)), 10)) == 1
    assert len(find_sites(Functional(0.5, nn.Dropout(0.5), training=False), 10)) == 1


def test_a_class_with_a_forward_of_its_own_is_not_taken_for_dropout():
    class Scaled(nn.Dropout):
        def forward(self, x):
            return 2 * x

    class Renamed(nn.Dropout):
        pass

    (site,) = find_sites(net(Scaled(0.5), Renamed(0.5)), 10)
    assert type(site.module) is Renamed


def test_training_that_changes_buffers_is_not_taken_for_chance():
    layers = nn.utils.parametrizations.spectral_norm(nn.Linear(40, 40)), nn.BatchNorm1d(40), nn.Dropout(0.5)
    assert len(find_sites(net(*layers), 10)) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_masks_are_on_the_device_of_the_network():
    (site,) = find_sites(net(nn.Dropout(0.5)).cuda(), 10)
    assert site.device.type == "cuda"
    with pytest.raises(InputError, match="draws random numbers in training"):
        find_sites(nn.Sequential(nn.Conv1d(4, 4, 1), Functional(0.001, nn.Dropout(0.5))).cuda(), 10)
