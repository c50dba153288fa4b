"""Which samples, or groups of samples, each member of an ensemble learns from, and which it is watched on."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Int

from deepmr.contexts import ContextData
from deepmr.errors import InputError
from deepmr.perceptrons.split import Split, member_seeds, split_held

Resampling = Literal["bootstrap", "split"]
RESAMPLINGS = ("bootstrap", "split")
_DEAL = 1001  # a stage of no network


def deal(data: ContextData, *, resampling: Resampling, validation: float, n_members: int, seed: int) -> Split:
    """Deal samples to members; whole groups, where there are groups.

    Parameters
    ----------
    data : the samples.
    resampling : bootstrap, as many samples as there are, drawn with replacement, and watched on those never drawn;
        split, a share taken out at random, on which the member is watched.
    validation : that share; 0 for members that learn from all samples and are watched on these too.
    n_members : how many.
    seed : of the draws; a member's are the same however many there are.

    Notes
    -----
    A sample drawn twice has twice its weight. Samples are drawn alike, whatever their weights.

    Raises
    ------
    InputError
        When there is nothing to learn from or nothing to be watched on.
    """
    units = _units(data)
    n_units = int(units.max()) + 1
    weights = data.counts / data.counts.mean()
    if resampling == "split" and validation == 0:
        every = torch.arange(len(data)).expand(n_members, -1)
        alike = torch.from_numpy(weights.astype(np.float32)).expand(n_members, -1)
        return Split(every, alike, every, alike)
    kind = "samples" if data.groups is None else "groups"
    n_held = round(validation * n_units)
    if n_units < 2 or (resampling == "split" and not 0 < n_held < n_units):
        raise InputError(
            f"networks need some {kind} to learn from and others to be watched on; got {n_units}"
            + (f" and a validation share of {validation:g}" if resampling == "split" else "")
        )
    drawn = np.stack(
        [
            _bootstrap(n_units, one) if resampling == "bootstrap" else _split(n_units, n_held, one)
            for one in member_seeds(n_members, seed=seed, stage=_DEAL)
        ]
    )[:, units]
    return split_held(drawn == 0, drawn * weights, np.broadcast_to(weights, drawn.shape))


def _units(data: ContextData) -> Int[np.ndarray, "samples"]:
    if data.groups is None:
        return np.arange(len(data))
    return np.unique(data.groups, return_inverse=True)[1].reshape(-1)


def _bootstrap(n_units: int, seed: int) -> Int[np.ndarray, "units"]:
    """Return how often each is drawn; draws that leave none out, which happens with very few, are made again."""
    rng = np.random.default_rng(seed)
    while True:
        counts = np.bincount(rng.integers(0, n_units, n_units), minlength=n_units)
        if (counts == 0).any():
            return counts


def _split(n_units: int, n_held: int, seed: int) -> Int[np.ndarray, "units"]:
    counts = np.ones(n_units, dtype=np.int64)
    counts[np.random.default_rng(seed).permutation(n_units)[:n_held]] = 0
    return counts
