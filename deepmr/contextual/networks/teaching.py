"""Two ways to train networks: on all samples at once, or on minibatches."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from deepmr import checks
from deepmr.perceptrons.full_batch import train_full_batch
from deepmr.perceptrons.split import Split
from deepmr.perceptrons.training import Objective, Schedule, Trained, TrainingLog, Trains, train

log = logging.getLogger(__name__)

Optimizer = Literal["auto", "lbfgs", "adam"]
OPTIMIZERS = ("auto", "lbfgs", "adam")
_FEW = 10_000  # samples to which all of them at once are as fast
_BATCH = 256
_LBFGS_PATIENCE, _ADAM_PATIENCE = 100, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """How networks are trained.

    Attributes
    ----------
    optimizer, learning_rate, batch_size, epochs, patience, weight_decay : as in `ContextNetworks`.
    """

    optimizer: Optimizer
    learning_rate: float
    batch_size: int | None
    epochs: int
    patience: int | None
    weight_decay: float

    def __post_init__(self) -> None:
        checks.one_of("optimizer", self.optimizer, OPTIMIZERS)
        checks.at_least("patience", self.patience, 1)
        _ = self.schedule

    @property
    def schedule(self) -> Schedule:
        """How Adam goes on."""
        return Schedule(
            epochs=self.epochs,
            batch_size=self.batch_size or _BATCH,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=self.patience or _ADAM_PATIENCE,
        )

    def at_once(self, n: int) -> bool:
        """Return whether so many samples are taken all at once.

        Parameters
        ----------
        n : samples.
        """
        return self.optimizer == "lbfgs" or (self.optimizer == "auto" and self.batch_size is None and n <= _FEW)


def teach(
    start: Trains,
    objective_of: Callable[[torch.dtype], Objective[Trains]],
    *,
    split: Split,
    lessons: Lessons,
    n: int,
    seeds: Sequence[int],
    stage: str,
) -> Trained[Trains]:
    """Train every member; return them in float64.

    Parameters
    ----------
    start : members.
    objective_of : the loss of samples of a type of number.
    split : samples of each member.
    lessons : how.
    n : samples there are.
    seeds : of the order of samples, one a member.
    stage : name in the log.
    """
    if lessons.at_once(n):
        found = train_full_batch(
            start.with_parameters(start.parameters.double()),
            objective_of(torch.float64),
            split=split,
            epochs=lessons.epochs,
            patience=lessons.patience or _LBFGS_PATIENCE,
            weight_decay=lessons.weight_decay,
            stage=stage,
        )
    else:
        objective = objective_of(torch.float32)
        found = train(start, objective, split=split, schedule=lessons.schedule, seeds=seeds, stage=stage)
    log.info(
        "%s: %d networks trained for %.0f epochs, validation loss %.3g",
        stage,
        len(start),
        float(found.epochs.double().mean()),
        float(found.losses.mean()),
    )
    stack = found.stack.with_parameters(found.stack.parameters.double())
    return replace(found, stack=stack, losses=found.losses.double())


def history(logs: Sequence[TrainingLog]) -> Float[np.ndarray, "entries 4"]:
    """Return member, epoch, training loss and validation loss, a row each time that they were taken.

    Parameters
    ----------
    logs : of all members.
    """
    rows = [(one.member, one.epoch, one.training_loss, one.validation_loss) for one in logs]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)
