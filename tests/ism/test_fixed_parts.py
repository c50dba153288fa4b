"""Parts of a network that do not depend on the sequence: joined to what does, they have no change."""

import numpy as np
import pytest
import torch
from torch import nn

from deepmr.ism.mutate import mutate
from deepmr.sequence.ensemble import Ensemble
from deepmr.sequence.measured import Measured
from deepmr.sequence.published import BPNet
from deepmr.sequence.scalars import LogCount
from deepmr.types import Task
from tests.ism.stubs import random_sequences

LENGTH = 60


class Joined(nn.Module):
    """Learned channels beside convolved ones, and learned numbers beside their mean, joined or stacked."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.first, self.second = nn.Conv1d(4, 8, 5, padding=2), nn.Conv1d(11, 8, 5, padding=2)
        self.channels, self.numbers = nn.Parameter(torch.randn(1, 3, LENGTH)), nn.Parameter(torch.randn(1, 8))
        self.output = nn.Linear(16, 2)

    def forward(self, x):
        h = torch.cat([self.channels.expand(x.shape[0], 3, LENGTH), torch.relu(self.first(x))], 1)
        h = torch.relu(self.second(h)).mean(2)
        numbers = self.numbers.expand(x.shape[0], 8)
        joined = torch.cat([numbers, h], 1) if self.how == "cat" else torch.stack([h, numbers], 2).flatten(1)
        return self.output(joined)


def largest_error(network, length, tasks):
    ensemble = Ensemble.of([network], tasks=[Task(name=str(k)) for k in range(tasks)], length=length, device="cpu")
    sequences = random_sequences(2, length, seed=0)
    within = np.zeros(sequences.codes.shape, dtype=bool)
    within[:, :: length // 10] = True
    found = mutate(ensemble, sequences, within=within, engine="windowed").delta
    exact = mutate(ensemble, sequences, within=within, engine="naive", precision="double").delta
    return np.abs(found - exact).max() / np.abs(exact).max()


@pytest.mark.parametrize("how", ["cat", "stack"])
def test_what_does_not_depend_on_the_sequence_has_no_change(how):
    torch.manual_seed(0)
    assert largest_error(Joined(how).eval(), LENGTH, 2) < 1e-5


def test_control_tracks_that_are_not_given_leave_nothing_at_full_length(caplog):
    torch.manual_seed(0)
    network = Measured(BPNet(n_filters=8, n_layers=2, length=200), [LogCount(output=1)]).eval()
    with caplog.at_level("INFO", logger="deepmr"):
        assert largest_error(network, 200, 1) < 1e-5
    assert "no operation left out" in caplog.text
