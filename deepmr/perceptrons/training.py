"""Training of many small networks side by side: Adam on minibatches, every member stopped by its own validation loss.

To train something, give `train` a fresh `Stack`, a `Split` (of `split.py`) and an objective: a function of the stack
and of a `Batch` that returns a loss a member. For a regression of `y` on `x`, both tensors of all samples:

    def objective(stack: Stack, batch: Batch) -> Tensor:
        predicted = stack(x[batch.rows], training=batch.training)  # (members, rows, outputs)
        return weighted_mean((predicted[..., 0] - y[batch.rows]) ** 2, batch.weights)

Members that have stopped leave the stack, so an objective with a tensor of each member's own picks from it by
`own[batch.members[:, None], batch.rows]`. Everything random comes from a generator a member, so a member is the same in
any company. For loops of another shape, `minibatches` and `EarlyStopping` stand alone.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from deepmr import checks
from deepmr.errors import InputError
from deepmr.perceptrons.split import Split

_BLOCK = 1 << 16  # rows of all members at a time where nothing is learned


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How a stack is trained.

    Attributes
    ----------
    epochs : most passes over the training samples.
    batch_size : samples a step; None for all of them.
    learning_rate, weight_decay : of Adam.
    patience : epochs without a better validation loss after which a member stops.
    averaging : decay a step of a running average of the weights, which is what is validated and kept; 0 for none.
        Networks with batch norm have none: what their norms remember is of the weights as they are.
    """

    epochs: int = 1000
    batch_size: int | None = 512
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    patience: int = 20
    averaging: float = 0.0

    def __post_init__(self) -> None:
        checks.at_least("epochs", self.epochs, 1)
        checks.at_least("batch_size", self.batch_size, 2)
        checks.at_least("patience", self.patience, 1)
        checks.at_least("weight_decay", self.weight_decay, 0)
        if not (0 < self.learning_rate < math.inf and 0 <= self.averaging < 1):
            raise InputError(
                "the learning rate must be positive and averaging from 0 to below 1; "
                f"got {self.learning_rate:g} and {self.averaging:g}"
            )


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one step.

    Attributes
    ----------
    members : positions, in the stack as it was given, of the members still in training.
    rows : (members, samples), positions of samples.
    weights : the same shape.
    training : whether the step learns.
    """

    members: Tensor
    rows: Tensor
    weights: Tensor
    training: bool


_Own = TypeVar("_Own", bound="Trainable")


@runtime_checkable
class Trainable(Protocol):
    """Members in training: a `Stack`, or what is made of several; member k's parameters are row k.

    Attributes
    ----------
    parameters : (members, all parameters of one).
    buffers : (members, what they remember and do not learn), without columns where there are no batch norms.
    """

    @property
    def parameters(self) -> Tensor:
        """A row a member."""

    @property
    def buffers(self) -> Tensor:
        """A row a member."""

    def __len__(self) -> int:
        """Count the members."""

    def take(self: _Own, members: Tensor) -> _Own:
        """Return copies of some members."""

    def with_parameters(self: _Own, parameters: Tensor) -> _Own:
        """Return the same members with other parameters."""


Trains = TypeVar("Trains", bound=Trainable)
Objective = Callable[[Trains, Batch], Tensor]


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """Losses of a member after an epoch."""

    stage: str
    member: int
    epoch: int
    training_loss: float
    validation_loss: float


@dataclass(frozen=True, slots=True)
class Trained(Generic[Trains]):
    """A trained stack.

    Attributes
    ----------
    stack : every member with its best weights.
    losses : (members,), best validation losses.
    epochs : (members,), the epochs they were reached in; 0 where the start was best.
    logs : of every member and epoch.
    """

    stack: Trains
    losses: Tensor
    epochs: Tensor
    logs: tuple[TrainingLog, ...]


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean of every member.

    Parameters
    ----------
    losses, weights : (members, samples).
    """
    return (losses * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1e-12)


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """Return a generator a member.

    Parameters
    ----------
    seeds : one a member.
    """
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def minibatches(
    split: Split, drawn: Sequence[torch.Generator], *, batch_size: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield rows and weights of one epoch, (members, samples), every member in an order of its own.

    Parameters
    ----------
    split : of these members.
    drawn : a generator a member.
    batch_size : samples a step; batches are of equal size, up to one sample. None for all at once.
    """
    n = split.training.shape[1]
    n_batches = 1 if batch_size is None else max(1, round(n / batch_size))
    if n_batches == 1:
        yield split.training, split.training_weights
        return
    order = torch.stack([torch.randperm(n, generator=generator) for generator in drawn])
    for part in order.tensor_split(n_batches, dim=1):
        yield split.training.gather(1, part), split.training_weights.gather(1, part)


def validate(stack: Trains, objective: Objective[Trains], split: Split, members: Tensor) -> Tensor:
    """Return the loss of every member on its validation samples, in blocks.

    Parameters
    ----------
    stack : the members.
    objective : of a block.
    split : of these members.
    members : their positions.
    """
    width = max(1, _BLOCK // len(stack))
    total, weight = torch.zeros(len(stack)), torch.zeros(len(stack))
    with torch.no_grad():
        for rows, weights in zip(
            torch.split(split.validation, width, dim=1),
            torch.split(split.validation_weights, width, dim=1),
            strict=True,
        ):
            mass = weights.sum(dim=1)
            total += mass * objective(stack, Batch(members, rows, weights, False))
            weight += mass
    return total / weight.clamp_min(1e-12)


class EarlyStopping(Generic[Trains]):
    """Keeps the best weights of every member, and says who has not improved for too long.

    Parameters
    ----------
    stack : the members as they start.
    patience : epochs without improvement that are allowed.
    """

    def __init__(self, stack: Trains, *, patience: int) -> None:
        self.best = stack.take(torch.arange(len(stack)))
        self.losses = torch.full((len(stack),), math.inf, dtype=stack.parameters.dtype)
        self.epochs = torch.zeros(len(stack), dtype=torch.int64)
        self._patience = patience

    def update(self, members: Tensor, losses: Tensor, stack: Trains, epoch: int) -> Tensor:
        """Take the losses of an epoch; return which of these members go on.

        Parameters
        ----------
        members : positions of the members of `stack` among all.
        losses : their validation losses.
        stack : with their weights now.
        epoch : its number.
        """
        better = losses < self.losses[members]
        which = members[better]
        self.losses[which] = losses[better]
        self.epochs[which] = epoch
        self.best.parameters[which] = stack.parameters.detach()[better]
        self.best.buffers[which] = stack.buffers[better]
        return epoch - self.epochs[members] < self._patience


def train(
    stack: Trains, objective: Objective[Trains], *, split: Split, schedule: Schedule, seeds: Sequence[int], stage: str
) -> Trained[Trains]:
    """Train every member of a stack until its validation loss no longer falls.

    Parameters
    ----------
    stack : members as they start; left as they are.
    objective : loss a member of a batch (see the module's first lines).
    split : samples of each member, as many members as the stack has.
    schedule : how.
    seeds : of the order of samples, one a member.
    stage : its name in the log.

    Raises
    ------
    InputError
        When a member has no finite validation loss after its first epoch.
    """
    members = torch.arange(len(stack))
    live, drawn, logs = _learner(stack, members, schedule), generators(seeds), []
    kept = EarlyStopping(stack, patience=schedule.patience)
    kept.update(members, validate(live.stack, objective, split, members), live.stack, 0)
    for epoch in range(1, schedule.epochs + 1):
        losses = torch.zeros(len(members))
        steps = 0
        for rows, weights in minibatches(split, drawn, batch_size=schedule.batch_size):
            losses += live.step(objective, Batch(members, rows, weights, True))
            steps += 1
        judged = live.averaged()
        validation = validate(judged, objective, split, members)
        _finite(validation, epoch, stage, schedule)
        goes_on = kept.update(members, validation, judged, epoch)
        logs += [
            TrainingLog(stage, *row)
            for row in zip(
                members.tolist(), [epoch] * len(members), (losses / steps).tolist(), validation.tolist(), strict=True
            )
        ]
        if not goes_on.any():
            break
        if not goes_on.all():
            left = torch.nonzero(goes_on)[:, 0]
            members, split, live = members[left], split.take(left), live.take(left)
            drawn = [drawn[k] for k in left.tolist()]
    return Trained(kept.best, kept.losses, kept.epochs, tuple(logs))


def _finite(validation: Tensor, epoch: int, stage: str, schedule: Schedule) -> None:
    """Stop where the first epoch already has no finite loss; a later one merely is no improvement."""
    if epoch == 1 and not torch.isfinite(validation).all():
        worst = int(torch.nonzero(~torch.isfinite(validation))[0])
        raise InputError(
            f"the {stage} network of member {worst} has no finite loss after an epoch; "
            f"a smaller learning rate than {schedule.learning_rate:g} may help"
        )


@dataclass(slots=True)
class _Learner(Generic[Trains]):
    """Members in training: their weights, the optimizer's moments and the running average."""

    stack: Trains
    optimizer: torch.optim.Adam
    average: Tensor | None
    schedule: Schedule
    steps: int = 0

    def step(self, objective: Objective[Trains], batch: Batch) -> Tensor:
        losses = objective(self.stack, batch)
        (self.stack.parameters.grad,) = torch.autograd.grad(losses.sum(), self.stack.parameters)
        self.optimizer.step()
        self.steps += 1
        if self.average is not None:
            decay = min(self.schedule.averaging, self.steps / (self.steps + 9))  # short at first
            self.average.lerp_(self.stack.parameters.detach(), 1 - decay)
        return losses.detach()

    def averaged(self) -> Trains:
        return self.stack if self.average is None else self.stack.with_parameters(self.average)

    def take(self, left: Tensor) -> "_Learner[Trains]":
        stack = self.stack.take(left)
        made = _learner(stack, torch.arange(len(stack)), self.schedule)
        old = self.optimizer.state[self.stack.parameters]
        made.optimizer.state[made.stack.parameters] = {
            name: value[left] if value.ndim else value.clone() for name, value in old.items()
        }
        made.average, made.steps = None if self.average is None else self.average[left], self.steps
        return made


def _learner(stack: Trains, members: Tensor, schedule: Schedule) -> _Learner[Trains]:
    own = stack.take(members)
    own = own.with_parameters(own.parameters.requires_grad_())
    optimizer = torch.optim.Adam(
        [own.parameters], lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True
    )
    average = None
    if schedule.averaging > 0 and not own.buffers.shape[1]:
        average = own.parameters.detach().clone()
    return _Learner(own, optimizer, average, schedule)
