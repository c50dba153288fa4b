"""Training of deep features: networks of instruments, covariates and exposure in turns, stages on samples apart."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from deepmr.errors import InputError
from deepmr.nonlinear.networks.feature_tensors import (
    Roles,
    Rows,
    Sample,
    Scaling,
    column_pairs,
    combined,
    instrument_design,
    instrument_features,
    ridge_factor,
    ridge_solve,
)
from deepmr.perceptrons.stack import Stack
from deepmr.perceptrons.training import TrainingLog

_FLOOR = 0.02  # share of the learning rates that is left at the end
_TURNS = 4  # fewest turns that make up an epoch
_FEWEST = 32  # samples of a member in a batch
_JUDGED = 10_000  # most training samples of a member that coefficients are solved from to validate


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """How the networks take turns; the options of `DeepFeatureIV` of these names."""

    epochs: int
    batch_size: int
    instrument_updates: int
    covariate_updates: int
    exposure_updates: int
    instrument_rate: float
    covariate_rate: float
    exposure_rate: float
    weight_decay: float
    instrument_ridge: float
    exposure_ridge: float
    patience: int


@dataclass(frozen=True, slots=True)
class Features:
    """The networks: of instruments, a member a fold; one of the exposure; one of covariates, or None."""

    instrument: Stack
    exposure: Stack
    covariate: Stack | None

    def copied(self) -> "Features":
        """Return copies that no longer learn."""
        made = [_copied(stack) for stack in (self.instrument, self.exposure)]
        return Features(made[0], made[1], None if self.covariate is None else _copied(self.covariate))


def _copied(stack: Stack) -> Stack:
    return stack.take(torch.arange(len(stack)))


@dataclass(frozen=True, slots=True)
class _Hat:
    """The matrix that predicts functions of the exposure of some samples from those of others, as two factors."""

    left: Tensor
    right: Tensor

    def __call__(self, targets: Tensor) -> Tensor:
        return (self.left @ (self.right @ targets)).flatten(0, 1)


class FeatureTrainer:
    """The networks in training.

    Parameters
    ----------
    features : as they start.
    first, second : samples of the two stages.
    turns : how.
    """

    def __init__(self, features: Features, first: Sample, second: Sample, turns: Turns) -> None:
        self.features, self.first, self.second, self.turns = features.copied(), first, second, turns
        self._rates = (turns.instrument_rate, turns.exposure_rate, turns.covariate_rate)
        stacks = (self.features.instrument, self.features.exposure, self.features.covariate)
        self._optimizers = [
            None
            if stack is None
            else torch.optim.Adam(
                [stack.parameters.requires_grad_()], lr=rate, weight_decay=turns.weight_decay, fused=True
            )
            for stack, rate in zip(stacks, self._rates, strict=True)
        ]
        n_free, n_learned = 2 + first.covariates.shape[1], features.instrument.architecture.n_outputs
        self._instrument_penalty = turns.instrument_ridge * (torch.arange(n_free + n_learned) >= n_free)
        n_learned = 0 if features.covariate is None else features.covariate.architecture.n_outputs
        pairs = column_pairs(features.exposure.architecture.n_outputs, n_learned, first.covariates.shape[1])
        free = torch.tensor([pair in {(0, 0), (1, 0)} for pair in pairs])
        self._exposure_penalty = turns.exposure_ridge * (~free)

    def turn(self, first: Rows, second: Rows) -> float:
        """Let every network learn from one batch; return the loss of the outcome.

        Parameters
        ----------
        first, second : samples of the two stages.
        """
        with torch.no_grad():
            targets = self._targets(first)
        for _ in range(self.turns.instrument_updates):
            self._step(0, self._instrument_loss(first, targets))
        hat = self._hat(first, second)
        if self.features.covariate is not None:
            for _ in range(self.turns.covariate_updates):
                self._step(2, self._outcome_loss(hat, first, second))
        for _ in range(self.turns.exposure_updates):
            loss = self._outcome_loss(hat, first, second)
            self._step(1, loss)
        return float(loss.detach())

    def slow_down(self, share: float) -> None:
        """Set all learning rates to a share of what they were at first.

        Parameters
        ----------
        share : of them.
        """
        for optimizer, rate in zip(self._optimizers, self._rates, strict=True):
            if optimizer is not None:
                optimizer.param_groups[0]["lr"] = rate * share

    def validate(self, roles: Roles) -> float:
        """Return the loss of the outcome of validation samples, with coefficients from the training samples.

        Parameters
        ----------
        roles : of the samples.
        """
        first = Rows(roles.first.index[:, :_JUDGED], roles.first.weights[:, :_JUDGED])
        second = Rows(roles.second.index[:, :_JUDGED], roles.second.weights[:, :_JUDGED])
        with torch.no_grad():
            targets = self._targets(first)
            parts = [self._hat(first, rows)(targets) for rows in (second, roles.validation)]
            index = torch.cat([second.index.reshape(-1), roles.validation.index.reshape(-1)])
            learns = torch.cat([second.weights.reshape(-1), torch.zeros(roles.validation.weights.numel())])
            columns = self._columns(torch.cat(parts), index, learns)
            coefficients = self._coefficients(columns, index, learns)
            missed = (self.second.outcome[index] - columns @ coefficients) ** 2
            judged = torch.cat([torch.zeros(second.weights.numel()), roles.validation.weights.reshape(-1)])
            return float((missed * judged).sum() / judged.sum())

    def _targets(self, rows: Rows) -> Tensor:
        """Return exposure and scaled learned features, (members, samples, 1 + features)."""
        x = self.first.exposure[rows.index]
        learned = self.features.exposure(x.reshape(-1, 1))[0]
        learned = Scaling.of(learned, rows.weights.reshape(-1))(learned)
        return torch.cat([x[..., None], learned.view(*x.shape, -1)], dim=2)

    def _instrument_loss(self, rows: Rows, targets: Tensor) -> Tensor:
        learned = instrument_features(self.features.instrument, self.first, rows.index, training=True)
        learned = Scaling.of(learned, rows.weights)(learned)
        design = instrument_design(self.first, rows.index, learned)
        with torch.no_grad():  # at its minimum over coefficients, the loss has the same gradient with these held still
            factor = ridge_factor(design, rows.weights, self._instrument_penalty)
            coefficients = ridge_solve(factor, design, rows.weights, targets)
        left = ((targets - design @ coefficients) ** 2 * rows.weights[..., None]).sum(dim=(1, 2))
        return (left / rows.weights.sum(dim=1)).sum() / targets.shape[2]

    def _hat(self, first: Rows, second: Rows) -> _Hat:
        with torch.no_grad():
            stack = self.features.instrument
            learned = instrument_features(stack, self.first, first.index)
            scaling = Scaling.of(learned, first.weights)
            design = instrument_design(self.first, first.index, scaling(learned))
            other = instrument_features(stack, self.second, second.index)
            factor = ridge_factor(design, first.weights, self._instrument_penalty)
            weighted = design * (first.weights / first.weights.sum(dim=1, keepdim=True))[..., None]
            right = torch.cholesky_solve(weighted.transpose(1, 2).double(), factor).float()
            return _Hat(instrument_design(self.second, second.index, scaling(other)), right)

    def _outcome_loss(self, hat: _Hat, first: Rows, second: Rows) -> Tensor:
        index, weights = second.index.reshape(-1), second.weights.reshape(-1)
        columns = self._columns(hat(self._targets(first)), index, weights)
        with torch.no_grad():
            coefficients = self._coefficients(columns, index, weights)
        missed = (self.second.outcome[index] - columns @ coefficients) ** 2
        return (missed * weights).sum() / weights.sum()

    def _columns(self, expected: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        covariates = self.second.covariates[index]
        learned = covariates[:, :0]
        if self.features.covariate is not None:
            learned = self.features.covariate(covariates)[0]
            learned = Scaling.of(learned, weights)(learned)
        return combined(expected, covariates, learned)

    def _coefficients(self, columns: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        design, outcome = columns[None], self.second.outcome[index][None, :, None]
        factor = ridge_factor(design, weights[None], self._exposure_penalty)
        return ridge_solve(factor, design, weights[None], outcome)[0, :, 0]

    def _step(self, which: int, loss: Tensor) -> None:
        optimizer = self._optimizers[which]
        assert optimizer is not None
        (parameters,) = optimizer.param_groups[0]["params"]
        (parameters.grad,) = torch.autograd.grad(loss, parameters)
        optimizer.step()


@dataclass(frozen=True, slots=True)
class TrainedFeatures:
    """Networks at their best validation loss.

    Attributes
    ----------
    features : the networks.
    loss : of the outcome, in its variance.
    epoch : in which it was reached, from 1.
    logs : of every epoch.
    """

    features: Features
    loss: float
    epoch: int
    logs: tuple[TrainingLog, ...]


def train_features(
    features: Features, first: Sample, second: Sample, roles: Roles, turns: Turns, *, seed: int
) -> TrainedFeatures:
    """Train the networks in turns until the outcome of validation samples is no longer predicted better.

    Parameters
    ----------
    features : as they start.
    first, second : samples of the two stages.
    roles : which of them do what.
    turns : how.
    seed : of the order of samples.

    Raises
    ------
    InputError
        When a validation loss is not finite.
    """
    trainer = FeatureTrainer(features, first, second, turns)
    generator = torch.Generator().manual_seed(seed)
    best, logs = TrainedFeatures(features, math.inf, 0, ()), []
    for epoch in range(1, turns.epochs + 1):
        trainer.slow_down(_FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * (epoch - 1) / turns.epochs)) / 2)
        losses = [trainer.turn(*batch) for batch in _batches(roles, turns.batch_size, generator)]
        loss = trainer.validate(roles)
        if not math.isfinite(loss):
            raise InputError(f"deep features have no finite loss after {epoch} epochs; smaller learning rates may help")
        logs.append(TrainingLog("features", 0, epoch, sum(losses) / len(losses), loss))
        if loss < best.loss:
            best = TrainedFeatures(trainer.features.copied(), loss, epoch, ())
        elif epoch - best.epoch >= turns.patience:
            break
    return TrainedFeatures(best.features, best.loss, best.epoch, tuple(logs))


def _batches(roles: Roles, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Rows, Rows]]:
    """Yield samples of the two stages, those of every member in an order of its own; few of them several times."""
    sizes = [rows.index.shape[1] for rows in (roles.first, roles.second)]
    n_batches = max(1, min(round(max(sizes) / batch_size), min(sizes) // _FEWEST))
    for _ in range(max(1, _TURNS // n_batches)):
        orders = [_orders(len(roles.first.index), size, generator).tensor_split(n_batches, dim=1) for size in sizes]
        for one, two in zip(*orders, strict=True):
            yield roles.first.part(one), roles.second.part(two)


def _orders(n_members: int, size: int, generator: torch.Generator) -> Tensor:
    return torch.stack([torch.randperm(size, generator=generator) for _ in range(n_members)])
