"""What distinguishes the members of a stack: a seed, samples to learn from and samples to be watched on."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor


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


def split_held(
    held: Bool[np.ndarray, "members samples"],
    weights: Float[np.ndarray, "members samples"],
    judged: Float[np.ndarray, "members samples"],
) -> Split:
    """Split samples: a member is watched on those it holds out, and learns from the others.

    Parameters
    ----------
    held : which samples a member holds out.
    weights : of the samples a member learns from.
    judged : of those it is watched on.
    """
    training, training_weights = _padded(~held, weights)
    validation, validation_weights = _padded(held, judged)
    return Split(training, training_weights, validation, validation_weights)


def _padded(
    chosen: Bool[np.ndarray, "members samples"], weights: Float[np.ndarray, "members samples"]
) -> tuple[Tensor, Tensor]:
    """Return the positions of the chosen samples and their weights, members with fewer filled up."""
    longest = int(chosen.sum(axis=1).max())
    positions = np.zeros((len(chosen), longest), dtype=np.int64)
    kept = np.zeros((len(chosen), longest), dtype=np.float32)
    for k, mine in enumerate(chosen):
        rows = np.flatnonzero(mine)
        positions[k, : len(rows)], positions[k, len(rows) :] = rows, rows[0]
        kept[k, : len(rows)] = weights[k, rows]
    return torch.from_numpy(positions), torch.from_numpy(kept)
