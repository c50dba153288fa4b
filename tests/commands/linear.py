"""Ensembles of linear networks, whose effects and causal slopes are known: outcome = SLOPE x exposure."""

import numpy as np
import torch

from deepmr.io.models import write_ensemble
from deepmr.sequence.ensemble import MemberInfo
from deepmr.types import ALPHABET, Task

LENGTH, SITES, SLOPE = 30, slice(8, 16), 2.0
TASKS = (Task(name="X"), Task(name="Y"))
CODE = """
import torch

class Line(torch.nn.Module):
    def __init__(self, n_tasks, length):
        super().__init__()
        self.line = torch.nn.Linear(4 * length, n_tasks)

    def forward(self, x):
        return self.line(x.flatten(1))
"""


class Line(torch.nn.Module):
    """The network that `CODE` defines, with given weights (tasks, 4, length)."""

    def __init__(self, weights):
        super().__init__()
        self.line = torch.nn.Linear(weights[0].size, len(weights))
        with torch.no_grad():
            self.line.weight.copy_(torch.tensor(weights.reshape(len(weights), -1)))
            self.line.bias.zero_()


def draw_weights(n_members, *, seed=0, error=0.05):
    """Weights of members around one truth; both tasks read the same sites, and no other edit is seen."""
    rng = np.random.default_rng(seed)
    sites = np.zeros((4, LENGTH))
    sites[:, SITES] = np.random.default_rng(99).normal(size=(4, SITES.stop - SITES.start)) * 3
    truth = np.stack([sites, SLOPE * sites])
    noise = rng.normal(size=(n_members, 2, 4, LENGTH)) * error
    noise[..., : SITES.start], noise[..., SITES.stop :] = 0, 0
    return truth + noise


def write_two_sites(path, *, n_members=5, error=0.02):
    """Write an ensemble in which X has a site, and Y moves by SLOPE with X and has a site of its own."""
    rng = np.random.default_rng(5)
    truth = np.zeros((2, 4, LENGTH))
    truth[0][:, 2:10] = 3 * rng.normal(size=(4, 8))
    truth[1] = SLOPE * truth[0]
    truth[1][:, 18:26] = 6 * rng.normal(size=(4, 8))
    weights = truth + error * rng.normal(size=(n_members, *truth.shape))
    code = path.parent / "model.py"
    code.write_text(CODE)
    members = [MemberInfo(name=f"m{k}", seed=k) for k in range(n_members)]
    options = {"architecture": "model.py:Line", "arguments": {}, "length": LENGTH, "code": code}
    write_ensemble(path, [Line(w) for w in weights], tasks=TASKS, members=members, **options)


def write_linear(path, *, n_members=5, seed=0, error=0.05, tasks=TASKS, held_out=(), counts=()):
    """Write the ensemble and return its weights."""
    weights = draw_weights(n_members, seed=seed, error=error)[:, : len(tasks)]
    code = path.parent / "model.py"
    code.write_text(CODE)
    members = [MemberInfo(name=f"m{k}", seed=k, held_out=held_out) for k in range(n_members)]
    options = {"architecture": "model.py:Line", "arguments": {}, "length": LENGTH, "code": code, "counts": counts}
    write_ensemble(path, [Line(w) for w in weights], tasks=tasks, members=members, **options)
    return weights


def write_fasta(path, n, *, seed, chroms=("",)):
    """Write random sequences and return their names and one-hot arrays (loci, 4, length)."""
    codes = np.random.default_rng(seed).integers(0, 4, size=(n, LENGTH))
    where = [chroms[i % len(chroms)] for i in range(n)]
    names = [f"s{seed}_{i}" + (f"::{c}:{100 * i}-{100 * i + LENGTH}" if c else "") for i, c in enumerate(where)]
    rows = ("".join(ALPHABET[c] for c in row) for row in codes)
    path.write_text("".join(f">{name}\n{row}\n" for name, row in zip(names, rows, strict=True)))
    return names, np.eye(4)[codes].transpose(0, 2, 1)
