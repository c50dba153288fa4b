"""The two stages of estimators with networks: what instruments say of the exposure, then outcome networks."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

from deepmr import checks
from deepmr.individual import IVData
from deepmr.nonlinear.networks.members import fold_replicates, split_members
from deepmr.nonlinear.networks.response import Scaling, predict, standardised
from deepmr.perceptrons.split import Split, member_seeds
from deepmr.perceptrons.stack import Activation, Architecture, Stack
from deepmr.perceptrons.training import Batch, Schedule, Trained, train, weighted_mean

_EXPOSURE, _OUTCOME = 1, 2  # stages, by which networks draw apart
_RARE = 1e-6  # probabilities are kept this far from 0 and 1 in a loss
_BLOCK = 1 << 16

RowLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many networks there are, and what they are validated on.

    Attributes
    ----------
    n_replicates : bootstrap replicates of the whole fit.
    n_folds : folds of a fit; 1 for a network a stage, validated on a share of the samples.
    validation_share : that share; also of outcome networks of replicates, of which each has one.
    """

    n_replicates: int
    n_folds: int
    validation_share: float

    def __post_init__(self) -> None:
        checks.at_least("n_boot", self.n_replicates, 1)
        checks.at_least("n_folds", self.n_folds, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Networks of a stage: their layers and their training."""

    hidden: tuple[int, ...]
    activation: Activation
    batch_norm: bool
    input_batch_norm: bool
    schedule: Schedule


def stage_of(options: Any, prefix: str) -> Stage:
    """Gather the options of one stage of a method.

    Parameters
    ----------
    options : the method.
    prefix : "exposure" or "outcome", with which the names of its options start.
    """

    def named(name: str) -> Any:
        return getattr(options, f"{prefix}_{name}")

    return Stage(
        hidden=named("hidden"),
        activation=options.activation,
        batch_norm=named("batch_norm"),
        input_batch_norm=named("input_batch_norm"),
        schedule=Schedule(
            epochs=named("epochs"),
            batch_size=named("batch_size"),
            learning_rate=named("learning_rate"),
            weight_decay=named("weight_decay"),
            patience=named("patience"),
            averaging=options.averaging,
        ),
    )


@dataclass(frozen=True, slots=True)
class Exposed:
    """What the first stage says of the samples of the second.

    Attributes
    ----------
    outputs : (replicates, samples of the second stage, outputs of a network).
    trained : its networks.
    """

    outputs: Tensor
    trained: Trained


def fit_exposure(
    first: IVData,
    second: IVData,
    *,
    stage: Stage,
    plan: Plan,
    n_outputs: int,
    loss: RowLoss,
    scaling: Scaling,
    seed: int,
) -> Exposed:
    """Train networks of instruments and covariates on the exposure; a sample's outputs are from one without its fold.

    Parameters
    ----------
    first, second : samples of the two stages, the same where there is one sample. Two are not dealt to folds, as no
        sample of the second is in the training of the first.
    stage, plan : how.
    n_outputs : of a network.
    loss : of outputs (members, rows, outputs) and exposures (members, rows): (members, rows).
    scaling : of the data.
    seed : of everything random.
    """
    assert first.exposure is not None
    inputs = np.hstack([first.instruments, first.covariates])
    x, z = scaling.exposure_in(first.exposure), standardised(inputs, inputs)
    architecture = Architecture(
        n_inputs=inputs.shape[1],
        n_outputs=n_outputs,
        hidden=stage.hidden,
        activation=stage.activation,
        batch_norm=stage.batch_norm,
        input_batch_norm=stage.input_batch_norm,
    )

    def objective(stack: Stack, batch: Batch) -> Tensor:
        outputs = stack(z[batch.rows], training=batch.training)
        return weighted_mean(loss(outputs, x[batch.rows]), batch.weights)

    def trained_on(split: Split) -> Trained:
        seeds = member_seeds(len(split), seed=seed, stage=_EXPOSURE)
        fresh = Stack.fresh(architecture, seeds)
        schedule = _sized(stage.schedule, split)
        return train(fresh, objective, split=split, schedule=schedule, seeds=seeds, stage="exposure")

    if first is second and plan.n_folds > 1:
        split, folds = fold_replicates(first, n_replicates=plan.n_replicates, n_folds=plan.n_folds, seed=seed)
        trained = trained_on(split)
        return Exposed(_out_of_fold(trained.stack, z, torch.from_numpy(folds)), trained)
    drawn = seed if first is second else seed + 1  # samples of their own have weights of their own
    trained = trained_on(split_members(first, n_members=plan.n_replicates, seed=drawn, share=plan.validation_share))
    other = z if first is second else standardised(np.hstack([second.instruments, second.covariates]), inputs)
    return Exposed(_outputs(trained.stack, other), trained)


def _outputs(stack: Stack, z: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([stack(part) for part in torch.split(z, max(1, _BLOCK // len(stack)))], dim=1)


def _out_of_fold(stack: Stack, z: Tensor, folds: Tensor) -> Tensor:
    """Return outputs (replicates, samples, outputs), every sample's from the network that is validated on its fold."""
    n_folds = len(stack) // len(folds)
    found = torch.empty(len(folds), len(z), stack.architecture.n_outputs)
    for k in range(len(stack)):
        replicate, fold = divmod(k, n_folds)
        rows = torch.nonzero(folds[replicate] == fold)[:, 0]
        found[replicate, rows] = _outputs(stack.take(torch.tensor([k])), z[rows])[0]
    return found


@dataclass(frozen=True, slots=True)
class Responded:
    """Trained outcome networks and the linear part beside each, (networks, 2 + covariates)."""

    trained: Trained
    linear: Float[np.ndarray, "networks terms"]


def fit_outcome(
    second: IVData,
    *,
    nodes: Tensor,
    node_weights: Tensor,
    stage: Stage,
    plan: Plan,
    linear_start: bool,
    scaling: Scaling,
    seed: int,
) -> Responded:
    """Train networks h(x, c) so that the weighted mean of h over a sample's nodes is its outcome.

    Parameters
    ----------
    second : samples of the second stage.
    nodes : (replicates, samples, nodes), exposures in the unit of the scaling.
    node_weights : (nodes,), or the shape of `nodes`; of sum 1 over nodes.
    stage, plan : how.
    linear_start : whether networks start as a straight line fitted to the nodes' means, to which they add.
    scaling : of the data.
    seed : of everything random.

    Notes
    -----
    A continuous outcome has squared errors; of a binary one, the mean is of probabilities and the loss logistic.
    """
    assert second.outcome is not None
    binary = second.outcome_type == "binary"
    y, covariates = _outcomes(second, scaling), scaling.covariates_in(second.covariates)
    if plan.n_replicates == 1 and plan.n_folds > 1:
        split, _ = fold_replicates(second, n_replicates=1, n_folds=plan.n_folds, seed=seed)
    else:
        split = split_members(second, n_members=plan.n_replicates, seed=seed, share=plan.validation_share)
    own = nodes.expand(len(split), -1, -1)
    shares = node_weights if node_weights.ndim == 1 else node_weights.expand(len(split), -1, -1)
    means = (own * shares).sum(dim=2)
    linear = torch.zeros(len(split), 2 + covariates.shape[1])
    for k in range(len(split)) if linear_start else ():
        rows, weights = split.training[k], split.training_weights[k]
        linear[k] = _line(means[k, rows], covariates[rows], y[rows], weights, binary=binary)
    architecture = Architecture(
        n_inputs=1 + covariates.shape[1],
        n_outputs=1,
        hidden=stage.hidden,
        activation=stage.activation,
        batch_norm=stage.batch_norm,
        input_batch_norm=stage.input_batch_norm,
    )

    def objective(stack: Stack, batch: Batch) -> Tensor:
        where = batch.members[:, None]
        x = own[where, batch.rows]
        given, lines = covariates[batch.rows], linear[batch.members]
        values = predict(stack, lines, x, given, binary=binary, training=batch.training)
        share = shares if shares.ndim == 1 else shares[where, batch.rows]
        mean = values @ share if share.ndim == 1 else (values * share).sum(dim=2)
        return weighted_mean(_row_losses(mean, y[batch.rows], binary=binary), batch.weights)

    seeds = member_seeds(len(split), seed=seed, stage=_OUTCOME)
    stack = Stack.fresh(architecture, seeds)
    if linear_start:
        stack.parameters[:, -architecture.parameter_sizes()[-2] - 1 :] = 0  # the last layer: nothing is added yet
    schedule = _sized(stage.schedule, split)
    trained = train(stack, objective, split=split, schedule=schedule, seeds=seeds, stage="outcome")
    return Responded(trained, linear.numpy())


def _sized(schedule: Schedule, split: Split) -> Schedule:
    """Choose the samples of a step where they are not said: sixteen steps an epoch or more, of 32 to 512 samples."""
    if schedule.batch_size is not None:
        return schedule
    return replace(schedule, batch_size=max(32, min(512, split.training.shape[1] // 16)))


def _outcomes(second: IVData, scaling: Scaling) -> Tensor:
    return torch.tensor((second.outcome - scaling.outcome[0]) / scaling.outcome[1], dtype=torch.float32)


def _row_losses(predicted: Tensor, y: Tensor, *, binary: bool) -> Tensor:
    if binary:
        return functional.binary_cross_entropy(predicted.clamp(_RARE, 1 - _RARE), y, reduction="none")
    return (predicted - y) ** 2


def _line(x: Tensor, covariates: Tensor, y: Tensor, weights: Tensor, *, binary: bool) -> Tensor:
    """Regress outcomes on 1, exposure and covariates, by logistic regression where they are binary."""
    columns = torch.cat([torch.ones(len(x), 1), x[:, None], covariates], dim=1).double()
    if not binary:
        root = weights.double().sqrt()[:, None]
        solution = torch.linalg.lstsq(columns * root, y.double()[:, None] * root, driver="gelsd").solution
        return solution[:, 0].float()
    found = torch.zeros(columns.shape[1])
    if torch.unique(y[weights > 0]).numel() == 2:
        model = LogisticRegression(C=1000.0).fit(columns[:, 1:].numpy(), y.numpy(), sample_weight=weights.numpy())
        found[0], found[1:] = float(model.intercept_[0]), torch.from_numpy(model.coef_[0])
    return found
