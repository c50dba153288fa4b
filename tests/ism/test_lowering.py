"""Operations that a network may have after or between its convolutions, against the definition: no way to be wrong."""

import logging

import pytest
import torch
from torch import nn
from torch.nn import functional

from deepmr.ism.graph import CaptureError
from deepmr.ism.lowering import capture
from deepmr.ism.variants import single_edits
from tests.ism.definition import CPU, defined_effects, engine_of, largest_error, random_codes, window_effects
from tests.ism.zoo import settle

logging.getLogger("torch").setLevel(logging.ERROR)
LENGTH = 24


class Ending(nn.Module):
    """A convolution, something, a dense layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.conv = nn.Conv1d(4, 6, 5, padding=2)
        self.token, self.mix = nn.Parameter(torch.randn(1, 3)), nn.Parameter(torch.randn(6, 1))
        self.dense = nn.LazyLinear(2)

    def forward(self, x):
        return self.dense(self.function(self, torch.relu(self.conv(x))))


def made(function):
    def build():
        network = Ending(function)
        network.eval()(torch.zeros(2, 4, LENGTH))
        return network

    return settle(build, 1, gain=2)


def side_by_side(*functions):
    return lambda self, x: torch.cat([function(self, x).flatten(1) for function in functions], dim=1)


def rows_of(value, x):
    return value.expand(x.shape[0], -1)


ENDINGS = {
    "twice the same vector": side_by_side(
        lambda _, x: x.mean(2) + x.amax(2),
        lambda _, x: (lambda v: v + v)(x.mean(2)),
        lambda _, x: (lambda v: v - v)(x.mean(2)),
        lambda _, x: (lambda v: torch.sub(v, v, alpha=3))(x.mean(2)),
    ),
    "a constant": side_by_side(
        lambda self, x: torch.cat([x.mean(2), rows_of(self.token, x)], 1),
        lambda self, x: torch.stack([x.mean(2), rows_of(self.mix.T, x)], 1),
        lambda _, x: functional.pad(x.mean(2), (1, 2), value=1.5),
        lambda self, x: torch.sub(self.token[:, :1], x.mean(2), alpha=3),
        lambda self, x: torch.add(self.token[:, :1], x.mean(2), alpha=3),
        lambda _, x: 1.5 - x.mean(2),
        lambda _, x: x.mean(2) * torch.ones(x.shape[0], 6),
    ),
    "rounding": lambda _, x: torch.div(x.mean(2) * 50, 3, rounding_mode="floor"),
    "the largest, adaptively": lambda _, x: torch.tanh(functional.adaptive_max_pool1d(x, 1)).squeeze(-1),
    "the largest, keeping the axis": lambda _, x: x.max(dim=2, keepdim=True)[0].squeeze(2),
    "comparison": side_by_side(
        lambda _, x: torch.where(x > 0.5, x, 0.1 * x).mean(2),
        lambda _, x: (x > 0.5).to(x.dtype).mean(2),
        lambda _, x: x.argmax(2).to(x.dtype),
    ),
    "batch and positions in one axis": lambda self, x: self.mix.T.matmul(x.transpose(1, 2).reshape(-1, 6).T).reshape(
        x.shape[0], -1
    ),
    "reductions": side_by_side(
        lambda _, x: torch.logsumexp(x, dim=2),
        lambda _, x: torch.cat(torch.var_mean(x, dim=2), 1),
        lambda _, x: x.topk(3, dim=2)[0],
        lambda _, x: functional.max_pool1d(x, x.shape[2]),
        lambda _, x: functional.adaptive_max_pool2d(x.unsqueeze(-1), 1),
        lambda _, x: x.amax(1),
        lambda _, x: x.sum((1, 2)).unsqueeze(1),
        lambda _, x: torch.bmm(x, x.transpose(1, 2)) / LENGTH,
    ),
    "positions moved": side_by_side(
        lambda _, x: torch.roll(x, 3, 2),
        lambda _, x: x[:, :, ::2],
        lambda _, x: x[:, :, [0, 7, -1]],
        lambda _, x: x.unfold(2, 4, 4).amax(3),
        lambda _, x: functional.pad(x, (-3, -2)),
        lambda _, x: functional.interpolate(x, scale_factor=2, mode="linear"),
        lambda _, x: torch.tanh(x[:, :, :6].reshape(x.shape[0], 6, 6)),
        lambda _, x: (lambda a, b: a + b)(*x.split(LENGTH // 2, 2)),
        lambda _, x: (lambda a, b: a * torch.sigmoid(b))(*x.chunk(2, 1)).mean(2),
    ),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_endings_are_those_of_the_definition(name):
    network = made(ENDINGS[name])
    codes = random_codes(1, 3, LENGTH, 0.05)
    edits = single_edits(codes)
    engine = engine_of(network, LENGTH, n_tasks=2)
    found = window_effects(engine, codes, edits, width=5)
    assert largest_error(found, defined_effects(network, codes, edits)) < 1e-9


class Whole(nn.Module):
    """Whole numbers out: their change is a difference too."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 3, 5)

    def forward(self, x):
        return self.conv(x).argmax(2)


def test_an_output_of_whole_numbers():
    network = settle(Whole, 0)
    codes = random_codes(1, 2, LENGTH)
    edits = single_edits(codes)
    found = window_effects(engine_of(network, LENGTH, n_tasks=3), codes, edits)
    assert (found == defined_effects(network, codes, edits)).all()
    assert found.any()


class Heads(nn.Module):
    """A short head and a long one; the second runs at full length."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv1d(4, 6, 5), nn.InstanceNorm1d(6)

    def forward(self, x):
        x = self.conv(x)
        return x.mean(2), self.norm(x).amax(2)


def test_heads_that_nobody_wants_are_left_out():
    both, first = (
        capture(Heads().eval(), LENGTH, dtype=torch.float32, device=CPU, outputs=outputs) for outputs in (None, [0])
    )
    assert len(both.at_full_length()) > 0
    assert first.at_full_length() == []
    assert len(first.nodes) == 3
    with pytest.raises(CaptureError, match="it returns 2 outputs; output 2 is wanted"):
        capture(Heads().eval(), LENGTH, dtype=torch.float32, device=CPU, outputs=[2])


def test_an_output_without_the_sequence_is_refused():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.ones(x.shape[0], 2)

    with pytest.raises(CaptureError, match="does not depend on the sequence"):
        capture(Constant().eval(), LENGTH, dtype=torch.float32, device=CPU)
