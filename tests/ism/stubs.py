"""Networks with answers known by hand, and an ensemble of them."""

import numpy as np
import pandas as pd
import torch
from torch import nn

from deepmr.types import Sequences, Task


def make_sequences(*texts, chrom="", start=-1):
    codes = np.array([["ACGTN".index(base) for base in text] for text in texts], dtype=np.uint8)
    rows = range(len(texts))
    loci = pd.DataFrame(
        {
            "locus": [f"l{i}" for i in rows],
            "chrom": [chrom for _ in rows],
            "start": [start if start < 0 else start + 1000 * i for i in rows],
            "end": [start if start < 0 else start + 1000 * i + codes.shape[1] for i in rows],
        }
    )
    return Sequences(loci=loci, codes=codes)


def random_sequences(n, length, seed=0, masked=0.0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, length)).astype(np.uint8)
    codes[rng.random(codes.shape) < masked] = 4
    loci = pd.DataFrame({"locus": [f"l{i}" for i in range(n)], "chrom": "chr1", "start": np.arange(n) * length})
    return Sequences(loci=loci.assign(end=loci["start"] + length), codes=codes)


class Linear(nn.Module):
    """A weight for every base, position and task: the effect of an edit is the difference of two weights."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(torch.as_tensor(weight), requires_grad=False)
        self.rows = []

    def forward(self, x):
        self.rows.append(x.clone())
        return torch.einsum("bcl,clt->bt", x, self.weight)


def linear(length, n_tasks=1, seed=0, dtype=torch.float32):
    return Linear(torch.randn((4, length, n_tasks), generator=torch.Generator().manual_seed(seed), dtype=dtype)).eval()


def small_cnn(length, n_tasks=2, seed=0):
    torch.manual_seed(seed)
    layers = (nn.Conv1d(4, 8, 5), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 8, 5), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(8 * (length - 8), 16), nn.ReLU(), nn.Linear(16, n_tasks)).eval()


class Stub:
    """The least that mutagenesis asks of an ensemble."""

    def __init__(self, modules, n_tasks=1):
        self.modules = list(modules)
        self.tasks = tuple(Task(name=f"t{k}") for k in range(n_tasks))
        self.device = torch.device("cpu")

    def predict(self, codes):
        x = (torch.tensor(codes)[:, None] == torch.arange(4)[:, None]).float()
        with torch.inference_mode():
            return np.stack([module(x).numpy() for module in self.modules])
