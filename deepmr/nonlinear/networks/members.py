"""What distinguishes the members of a stack: seeds, the samples they validate on, weights in place of resampled rows."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deepmr.errors import InputError
from deepmr.individual import IVData


@dataclass(frozen=True, slots=True)
class Split:
    """Samples that each member learns from, and those on which it is watched; no sample is both of one member.

    Attributes
    ----------
    training, validation : (members, rows), positions of samples.
    training_weights, validation_weights : the same shape; 0 fills up a member with fewer samples than another.
    """

    training: Tensor
    training_weights: Tensor
    validation: Tensor
    validation_weights: Tensor

    def __len__(self) -> int:
        return len(self.training)

    def take(self, members: Tensor) -> "Split":
        """Return the split of some members.

        Parameters
        ----------
        members : positions.
        """
        return Split(
            self.training[members],
            self.training_weights[members],
            self.validation[members],
            self.validation_weights[members],
        )


def member_seeds(n_members: int, *, seed: int, stage: int = 0) -> list[int]:
    """Return a seed a member, the same for a member however many there are.

    Parameters
    ----------
    n_members : how many.
    seed : that of the fit.
    stage : number of what is trained, so that stages draw apart.
    """
    return [int(np.random.SeedSequence([seed, stage, k]).generate_state(1)[0]) for k in range(n_members)]


def split_members(
    data: IVData, *, n_members: int, seed: int, share: float = 0.2, bootstrap: bool | None = None
) -> Split:
    """Deal the samples of every member to training and validation, whole clusters where there are any.

    Parameters
    ----------
    data : the samples.
    n_members : how many members.
    seed : of the deals and of the weights; a member's are the same however many there are.
    share : of the samples, or clusters, that a member validates on.
    bootstrap : whether members weigh samples at random; None is yes where there are several members.

    Notes
    -----
    A bootstrapped member multiplies the weight of each sample, or cluster, by a draw from the standard exponential
    distribution: the Bayesian bootstrap. A sample stays one row, in training or in validation.

    References
    ----------
    Rubin (1981) doi:10.1214/aos/1176345338.
    """
    n = len(data)
    units = np.arange(n) if data.clusters is None else np.unique(data.clusters, return_inverse=True)[1].reshape(-1)
    n_units = int(units.max()) + 1
    n_validation = round(share * n_units)
    if not 0 < n_validation < n_units:
        raise InputError(
            f"validation needs some of {n_units} samples or clusters but not all; got a share of {share:g}"
        )
    chosen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for one in member_seeds(n_members, seed=seed, stage=_SPLIT):
        rng = np.random.default_rng(one)
        held = np.zeros(n_units, dtype=bool)
        held[rng.permutation(n_units)[:n_validation]] = True
        weights = data.scaled_weights
        if n_members > 1 if bootstrap is None else bootstrap:
            weights = weights * rng.standard_exponential(n_units)[units]
        chosen.append((np.flatnonzero(~held[units]), np.flatnonzero(held[units]), weights))
    training, training_weights = _padded([(rows, w[rows]) for rows, _, w in chosen])
    validation, validation_weights = _padded([(rows, w[rows]) for _, rows, w in chosen])
    return Split(training, training_weights, validation, validation_weights)


def fold_members(data: IVData, folds: np.ndarray) -> Split:
    """Make a member a fold: it learns from the samples of all others and is watched on those of its fold.

    Parameters
    ----------
    data : the samples.
    folds : number of the fold of every sample.
    """
    weights, parts = data.scaled_weights, range(int(folds.max()) + 1)
    training, training_weights = _padded([(r, weights[r]) for r in (np.flatnonzero(folds != k) for k in parts)])
    validation, validation_weights = _padded([(r, weights[r]) for r in (np.flatnonzero(folds == k) for k in parts)])
    return Split(training, training_weights, validation, validation_weights)


_SPLIT = 1000  # a stage of no network


def _padded(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor]:
    longest = max(len(rows) for rows, _ in parts)
    positions = np.zeros((len(parts), longest), dtype=np.int64)
    weights = np.zeros((len(parts), longest), dtype=np.float32)
    for k, (rows, given) in enumerate(parts):
        positions[k, : len(rows)] = rows
        positions[k, len(rows) :] = rows[0]
        weights[k, : len(rows)] = given
    return torch.from_numpy(positions), torch.from_numpy(weights)
