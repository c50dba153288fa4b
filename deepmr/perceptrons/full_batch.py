"""Training of few samples to great accuracy: L-BFGS on all samples at once, stopped by the validation loss."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize

from deepmr import checks
from deepmr.errors import InputError
from deepmr.perceptrons.split import Split
from deepmr.perceptrons.training import Batch, EarlyStopping, Objective, Trained, TrainingLog, Trains

_MEMORY = 20  # steps whose curvature is remembered
_EXACT = 1e-9  # largest element of a gradient at a minimum


def train_full_batch(
    stack: Trains,
    objective: Objective[Trains],
    *,
    split: Split,
    epochs: int,
    patience: int,
    weight_decay: float,
    stage: str,
) -> Trained[Trains]:
    """Train every member by L-BFGS until its validation loss no longer falls; nothing here is random.

    Parameters
    ----------
    stack : members as they start, best in float64; left as they are. They must have no batch norms.
    objective : loss a member of a batch (see `training`), smooth in the parameters.
    split : samples of each member, as many members as the stack has.
    epochs : most iterations, each of which sees all samples about once.
    patience : iterations without a better validation loss after which a member stops.
    weight_decay : half of it times the sum of squared parameters is added to the loss, as Adam does.
    stage : its name in the log.

    Raises
    ------
    InputError
        When a member has no finite loss where it starts.

    Notes
    -----
    Members are trained one after the other: line searches of members side by side would wait for each other.

    References
    ----------
    Liu and Nocedal (1989) doi:10.1007/BF01589116.
    """
    checks.at_least("epochs", epochs, 1)
    checks.at_least("patience", patience, 1)
    checks.at_least("weight_decay", weight_decay, 0)
    kept = EarlyStopping(stack, patience=patience)
    logs: list[TrainingLog] = []
    for k in range(len(stack)):
        members = torch.tensor([k])
        own = split.take(members)
        training = Batch(members, own.training, own.training_weights, True)
        watching = Batch(members, own.validation, own.validation_weights, False)
        logs += _descend(stack.take(members), objective, training, watching, kept, epochs, weight_decay, stage)
    return Trained(kept.best, kept.losses, kept.epochs, tuple(logs))


def _descend(
    start: Trains,
    objective: Objective[Trains],
    training: Batch,
    watching: Batch,
    kept: EarlyStopping[Trains],
    epochs: int,
    weight_decay: float,
    stage: str,
) -> list[TrainingLog]:
    """Minimise the loss of one member, whose best parameters `kept` remembers; return its losses."""
    member, kind = int(training.members[0]), start.parameters.dtype
    logs: list[TrainingLog] = []

    def at(point: np.ndarray) -> Trains:
        return start.with_parameters(torch.from_numpy(point[None].copy()).to(kind))

    def loss(point: Float[np.ndarray, "parameters"]) -> tuple[float, Float[np.ndarray, "parameters"]]:
        here = at(point)
        here.parameters.requires_grad_()
        value = objective(here, training)[0] + 0.5 * weight_decay * (here.parameters**2).sum()
        (slope,) = torch.autograd.grad(value, here.parameters)
        return float(value.detach()), slope[0].double().numpy()

    def watch(point: np.ndarray, trained: float, epoch: int) -> bool:
        here = at(point)
        with torch.no_grad():
            judged = objective(here, watching)
        if epoch:
            logs.append(TrainingLog(stage, member, epoch, trained, float(judged[0])))
        return bool(kept.update(training.members, judged, here, epoch)[0])

    first = start.parameters[0].detach().double().numpy()
    value, _ = loss(first)
    if not np.isfinite(value):
        raise InputError(f"the {stage} network of member {member} has no finite loss to start from; got {value}")
    watch(first, value, 0)
    minimize(
        loss,
        first,
        jac=True,
        method="L-BFGS-B",
        callback=_until(watch),
        options={"maxiter": epochs, "maxfun": 20 * epochs, "maxcor": _MEMORY, "ftol": 0.0, "gtol": _EXACT},
    )
    return logs


def _until(watch: Callable[[np.ndarray, float, int], bool]) -> Callable[..., None]:
    """Return what SciPy calls after an iteration: it counts them, and ends the search when `watch` says no."""
    epoch = 0

    def step(intermediate_result: object) -> None:
        nonlocal epoch
        epoch += 1
        if not watch(intermediate_result.x, float(intermediate_result.fun), epoch):  # type: ignore[attr-defined]
            raise StopIteration

    return step
