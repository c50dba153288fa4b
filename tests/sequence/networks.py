"""Networks and data for tests, small and with answers known by hand."""

import numpy as np
import pandas as pd
import torch
from torch import nn

from deepmr.types import Sequences


class CountBases(nn.Module):
    """Task k is how often base k occurs, times a factor."""

    def __init__(self, n_tasks=2, factor=1.0):
        super().__init__()
        self.n_tasks = n_tasks
        self.factor = nn.Parameter(torch.tensor(float(factor)))

    def forward(self, x):
        return self.factor * x.sum(dim=2)[:, : self.n_tasks]


class Returns(nn.Module):
    """Whatever a function makes of the input."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def norm_network(length, **options):
    """A network whose batch normalisation has seen data, so that its statistics matter."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv1d(4, 6, 5),
        nn.BatchNorm1d(6, **options),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(6 * (length - 4), 2),
    )
    network(torch.rand(32, 4, length))
    return network


def random_sequences(n, length, seed=0, chroms=("",)):
    rng = np.random.default_rng(seed)
    loci = pd.DataFrame(
        {
            "locus": [f"l{i}" for i in range(n)],
            "chrom": [chroms[i % len(chroms)] for i in range(n)],
            "start": -1,
            "end": -1,
        }
    )
    return Sequences(loci=loci, codes=rng.integers(0, 4, (n, length)).astype(np.uint8))
