"""What a network is trained for: kinds of targets, their scale, and a loss that leaves unknown targets out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from deepmr import checks
from deepmr.anscombe import anscombe
from deepmr.errors import InputError
from deepmr.types import Scale, Task

Kind = Literal["anscombe", "poisson", "continuous", "binary"]
_SCALES: dict[Kind, Scale] = {"anscombe": "identity", "poisson": "log", "continuous": "identity", "binary": "logit"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """A task and how it is learned.

    Attributes
    ----------
    name : of the task.
    kind : "anscombe": counts y, learned as 2 sqrt(y + 3/8) with squared error; "poisson": counts, learned as the log of
        their rate with the Poisson likelihood; "continuous": learned as they are with squared error; "binary": 0 or 1,
        learned as log odds with cross-entropy.
    """

    name: str
    kind: Kind

    def __post_init__(self) -> None:
        checks.one_of(f"kind of task {self.name!r}", self.kind, get_args(Kind))

    @property
    def task(self) -> Task:
        """The task as a network predicts it."""
        return Task(name=self.name, scale=_SCALES[self.kind])


def infer_kind(values: Float[np.ndarray, "loci"]) -> Kind:
    """Guess the kind of targets: 0 and 1 only are binary, other whole numbers from 0 are counts, the rest continuous.

    Parameters
    ----------
    values : targets; NaN where unknown.
    """
    known = values[~np.isnan(values)]
    if np.isin(known, (0, 1)).all():
        return "binary"
    return "anscombe" if (known >= 0).all() and (known == np.round(known)).all() else "continuous"


def to_learned_scale(
    targets: Float[np.ndarray, "loci tasks"], tasks: Sequence[TaskSpec]
) -> Float[np.ndarray, "loci tasks"]:
    """Check targets and bring counts of kind "anscombe" to their square-root scale.

    Parameters
    ----------
    targets : as measured; NaN where unknown.
    tasks : one a column.

    Returns
    -------
    What the loss compares predictions with, float32.

    Raises
    ------
    InputError
        Naming the task and the row of the first value that its kind cannot have.
    """
    checks.shape("targets", targets, (len(targets), len(tasks)))
    learned = targets.astype(np.float32)
    for k, spec in enumerate(tasks):
        values = np.where(np.isnan(targets[:, k]), 0.0, targets[:, k])
        checks.finite(f"targets of task {spec.name!r}", values)
        if spec.kind == "binary" and not np.isin(values, (0, 1)).all():
            first = int(np.argmax(~np.isin(values, (0, 1))))
            raise InputError(f"targets of binary task {spec.name!r} must be 0 or 1; row {first} is {values[first]:g}")
        if spec.kind in {"anscombe", "poisson"}:
            checks.non_negative(f"counts of task {spec.name!r}", values)
        if spec.kind == "anscombe":
            learned[:, k] = anscombe(targets[:, k])
    return learned


class Objective:
    """The loss of a network whose output u means the prediction center + spread * u.

    Every task counts the same: its loss is in units of what predicting the best constant costs, so that 1 is nothing
    learned. Unknown targets (NaN) have no weight and no gradient.

    Attributes
    ----------
    center, spread : turn the network's output into the prediction; mean and standard deviation of squared-error tasks,
        the constant prediction and 1 for the others.
    """

    def __init__(
        self,
        learned: Float[np.ndarray, "loci tasks"],
        tasks: Sequence[TaskSpec],
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        for spec, column in zip(tasks, learned.T, strict=True):
            _check_variation(spec, column[~np.isnan(column)])
        self.tasks = tuple(tasks)
        mean, deviation = np.nanmean(learned, axis=0, dtype=float), np.nanstd(learned, axis=0, dtype=float)
        center, spread = mean.copy(), np.ones_like(mean)
        for k, spec in enumerate(tasks):
            if spec.kind == "poisson":
                center[k] = np.log(mean[k])
            elif spec.kind == "binary":
                center[k] = np.log(mean[k] / (1 - mean[k]))
            else:
                spread[k] = deviation[k]
        most = np.log(np.maximum(np.nanmax(learned, axis=0), 1.0)) + 1
        self.center, self.spread, self.most = (
            torch.tensor(values, dtype=torch.float32, device=device) for values in (center, spread, most)
        )
        target = torch.tensor(learned, device=device)
        constant = self.losses(self.center.expand_as(target), target).sum(dim=0)  # over known targets only
        self.weight = len(learned) / (constant * len(tasks))

    def __call__(
        self, output: Float[torch.Tensor, "batch tasks"], target: Float[torch.Tensor, "batch tasks"]
    ) -> Float[torch.Tensor, ""]:
        """Return the mean loss of a batch, from the network's output in standardised units."""
        losses = self.losses(self.center + self.spread * output, target)
        return (losses * self.weight).sum() / len(output)

    def losses(
        self, prediction: Float[torch.Tensor, "batch tasks"], target: Float[torch.Tensor, "batch tasks"]
    ) -> Float[torch.Tensor, "batch tasks"]:
        """Return the loss of every prediction, in the unit of its kind; 0 where the target is unknown."""
        known = ~torch.isnan(target)
        filled = torch.where(known, target, 0.0)
        columns = [self._loss(k, prediction[:, k], filled[:, k]) for k in range(len(self.tasks))]
        return torch.where(known, torch.stack(columns, dim=1), 0.0)

    def _loss(
        self, k: int, prediction: Float[torch.Tensor, "batch"], target: Float[torch.Tensor, "batch"]
    ) -> Float[torch.Tensor, "batch"]:
        match self.tasks[k].kind:
            case "binary":
                return functional.binary_cross_entropy_with_logits(prediction, target, reduction="none")
            case "poisson":  # half the deviance; the rate goes on as a line past the counts seen, so it cannot overflow
                rate = prediction.clamp(max=self.most[k]).exp() * (1 + (prediction - self.most[k]).clamp(min=0))
                return rate - target * prediction + torch.xlogy(target, target) - target
            case _:
                return (prediction - target) ** 2

    def explained(
        self, prediction: Float[torch.Tensor, "loci tasks"], target: Float[torch.Tensor, "loci tasks"]
    ) -> Float[np.ndarray, "tasks"]:
        """Return, per task, the share of the loss of the best constant that a prediction takes away; NaN if unknown."""
        achieved = self.losses(prediction, target).sum(dim=0)
        constant = self.losses(self.center.expand_as(target), target).sum(dim=0)
        share: np.ndarray = (1 - achieved / constant).cpu().numpy()
        return share

    def fold_into(self, output: nn.Linear) -> None:
        """Change a last layer so that it gives predictions in place of standardised units."""
        with torch.no_grad():
            output.weight.mul_(self.spread[:, None])
            output.bias.mul_(self.spread).add_(self.center)


def _check_variation(spec: TaskSpec, values: Float[np.ndarray, "known"]) -> None:
    if not len(values):
        raise InputError(f"task {spec.name!r} has no known target among the training loci")
    if values.min() == values.max():
        hint = "; add shuffled sequences as negatives (--negatives 1)" if spec.kind == "binary" else ""
        raise InputError(
            f"all {len(values)} known training targets of task {spec.name!r} are {values[0]:g}: nothing to learn{hint}"
        )
