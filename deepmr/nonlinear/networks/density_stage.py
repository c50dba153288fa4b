"""The first stage of Deep IV: the distribution of the exposure given instruments and covariates, as nodes and weights."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from deepmr.individual import IVData
from deepmr.nonlinear.first_stage import blocks, fit_folds, make_folds
from deepmr.nonlinear.networks.densities import Components, Density, minus_log_density, n_outputs, read_components
from deepmr.nonlinear.networks.members import Split, fold_members, member_seeds
from deepmr.nonlinear.networks.stack import Activation, Architecture, Stack
from deepmr.nonlinear.networks.training import Batch, Schedule, Trained, train, weighted_mean
from deepmr.nonlinear.quadrature import Nodes, mixture_nodes
from deepmr.nonlinear.smoothing import Group

_HALVES = 2  # folds of one sample
_WATCHED = 5  # folds of the first of two samples, one of which a density is watched on
_STAGE = 20
_NOTHING = np.empty(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DensityOptions:
    """What the first stage is made of; the options of `DeepIV` for it."""

    density: Density
    n_components: int
    n_nodes: int
    hidden: tuple[int, ...]
    activation: Activation
    schedule: Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class DensityStage:
    """What stands for the distribution of each sample's exposure.

    Attributes
    ----------
    second : nodes of the samples of the second stage, a replicate each, values in the unit of the exposure.
    first : those of the first where it is another sample, by the network that learned from it; else None.
    trained : the networks, a member a replicate and fold; None where there are none.
    loss : minus the logarithm of the density, mean over samples that it was not learned from.
    """

    second: tuple[Nodes, ...]
    first: tuple[Nodes, ...] | None
    trained: Trained | None
    loss: float


def fit_densities(
    first: IVData, second: IVData, options: DensityOptions, *, weights: Float[np.ndarray, "replicates _"], seed: int
) -> DensityStage:
    """Fit the distribution of the exposure, and return nodes for the samples of the second stage.

    Parameters
    ----------
    first, second : samples of the two stages, the same where there is one.
    options : of the stage.
    weights : of the first sample, a row a replicate.
    seed : of folds and networks.

    Notes
    -----
    In one sample, a replicate has two networks that learn from half of it each, and a sample's nodes come from the one
    that has not learned from it. Means of components are what instruments and covariates say linearly, plus what the
    network adds.
    """
    assert first.exposure is not None
    centre, spread = float(first.exposure.mean()), float(first.exposure.std())
    members = _members(first, (first.exposure - centre) / spread, weights, seed=seed, one_sample=first is second)
    sample = members.sample(first, (first.exposure - centre) / spread)
    if options.density == "ridge":
        trained, sds = None, members.residual_sds(sample)
        loss = float(np.mean(np.log(sds) + 0.5 * np.log(2 * np.pi) + 0.5))
    else:
        trained, sds = _train(members, sample, options), np.empty(0)
        loss = float(trained.losses.mean())

    def nodes(of: _Sample, replicate: int) -> Nodes:
        found = Nodes(values=np.empty((len(of), options.n_nodes)), weights=np.empty((len(of), options.n_nodes)))
        for member in members.of(replicate):
            mine = np.arange(len(of)) if first is not second else members.meant_for(member)
            for rows in blocks(len(mine)):
                index = mine[rows]
                part = _nodes(_components(trained, sds, of, member, torch.from_numpy(index), options), options.n_nodes)
                found.values[index], found.weights[index] = centre + spread * part.values, part.weights
        return found

    other = sample if first is second else members.sample(second)
    replicates = range(len(weights))
    return DensityStage(
        second=tuple(nodes(other, r) for r in replicates),
        first=None if first is second else tuple(nodes(sample, r) for r in replicates),
        trained=trained,
        loss=loss + float(np.log(spread)),
    )


def _nodes(found: Components, n_nodes: int) -> Nodes:
    shares, means, sds = (part.numpy().astype(float) for part in (found.log_shares.exp(), found.means, found.sds))
    return mixture_nodes(shares / shares.sum(axis=1, keepdims=True), means, sds, n_nodes=n_nodes)


@dataclass(frozen=True, slots=True)
class _Sample:
    """Standardised tensors: inputs (rows, inputs), scores (members, rows), exposure (rows,) or empty."""

    inputs: Tensor
    scores: Tensor
    exposure: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Members:
    """The members of the first stage: a replicate and fold each.

    Attributes
    ----------
    replicates, fold_of : of every member.
    folds : (replicates, samples).
    split : what members learn from and are watched on.
    seeds : of members.
    coefficients : of the linear regression, a column a member.
    centre, spread : of its columns, but the constant.
    """

    replicates: list[int]
    fold_of: list[int]
    folds: np.ndarray
    split: Split
    seeds: list[int]
    coefficients: np.ndarray
    centre: np.ndarray
    spread: np.ndarray

    def sample(self, data: IVData, exposure: Float[np.ndarray, "_"] = _NOTHING) -> _Sample:
        """Return a sample as members see it."""
        columns = (np.hstack([data.covariates, data.instruments]) - self.centre) / self.spread
        scores = (self.coefficients[0] + columns @ self.coefficients[1:]).T
        inputs, made = torch.from_numpy(columns.astype(np.float32)), torch.from_numpy(scores.astype(np.float32))
        return _Sample(inputs, made, torch.from_numpy(exposure.astype(np.float32)))

    def of(self, replicate: int) -> list[int]:
        """Return the members of a replicate."""
        return [member for member, own in enumerate(self.replicates) if own == replicate]

    def meant_for(self, member: int) -> Int[np.ndarray, "rows"]:
        """Return the samples of one sample that a member has not learned from."""
        return np.flatnonzero(self.folds[self.replicates[member]] == self.fold_of[member])

    def residual_sds(self, sample: _Sample) -> Float[np.ndarray, "members"]:
        """Return the standard deviation of what the linear regression leaves where it was not fitted."""
        rows, weights = self.split.validation, self.split.validation_weights
        left = sample.exposure[rows] - sample.scores.gather(1, rows)
        return weighted_mean(left**2, weights).sqrt().numpy().astype(float)


def _members(
    first: IVData,
    x: Float[np.ndarray, "samples"],
    weights: Float[np.ndarray, "replicates samples"],
    *,
    seed: int,
    one_sample: bool,
) -> _Members:
    columns = np.hstack([first.covariates, first.instruments])
    spread = columns.std(axis=0)
    centre, spread = columns.mean(axis=0), np.where(spread > 0, spread, 1.0)
    n_free, n_instruments = 1 + first.covariates.shape[1], first.instruments.shape[1]
    groups = (Group(columns=n_free + np.arange(n_instruments), weights=np.ones(n_instruments)),)

    def design(rows: slice) -> Float[np.ndarray, "_ columns"]:
        part = np.hstack([first.covariates[rows], first.instruments[rows]])
        return np.hstack([np.ones((len(part), 1)), (part - centre) / spread])

    folds, splits, coefficients = [], [], []
    for own, deal in zip(weights, member_seeds(len(weights), seed=seed, stage=_STAGE), strict=True):
        dealt = make_folds(len(first), seed=deal, n_folds=_HALVES if one_sample else _WATCHED, clusters=first.clusters)
        fit = fit_folds(design, x[:, None], folds=dealt, weights=own, groups=groups if n_instruments > 1 else None)
        split = fold_members(replace(first, weights=own), dealt)
        used = range(_HALVES if one_sample else 1)
        splits.append(split.take(torch.tensor(used)))
        coefficients += [fit.without[k, :, 0] for k in used]
        folds.append(dealt)
    n_parts = _HALVES if one_sample else 1
    return _Members(
        replicates=[r for r in range(len(weights)) for _ in range(n_parts)],
        fold_of=[k for _ in range(len(weights)) for k in range(n_parts)],
        folds=np.array(folds),
        split=_joined(splits),
        seeds=member_seeds(len(coefficients), seed=seed, stage=_STAGE + 1),
        coefficients=np.array(coefficients).T,
        centre=centre,
        spread=spread,
    )


def _joined(splits: list[Split]) -> Split:
    """Put the members of several splits side by side; weights of 0 fill up those with fewer samples."""

    def side(name: str) -> Tensor:
        parts = [getattr(split, name) for split in splits]
        longest = max(part.shape[1] for part in parts)
        return torch.cat([functional.pad(part, (0, longest - part.shape[1])) for part in parts])

    return Split(*(side(n) for n in ("training", "training_weights", "validation", "validation_weights")))


def _train(members: _Members, sample: _Sample, options: DensityOptions) -> Trained:
    made = Architecture(
        n_inputs=sample.inputs.shape[1] + 1,
        n_outputs=n_outputs(options.density, options.n_components),
        hidden=options.hidden,
        activation=options.activation,
    )

    def objective(stack: Stack, batch: Batch) -> Tensor:
        scores = sample.scores[batch.members[:, None], batch.rows]
        outputs = stack(torch.cat([sample.inputs[batch.rows], scores[..., None]], dim=2), training=batch.training)
        losses = minus_log_density(sample.exposure[batch.rows], read_components(outputs, scores, options.density))
        return weighted_mean(losses, batch.weights)

    return train(
        Stack.fresh(made, members.seeds),
        objective,
        split=members.split,
        schedule=options.schedule,
        seeds=members.seeds,
        stage="exposure",
    )


def _components(
    trained: Trained | None,
    sds: Float[np.ndarray, "members"],
    sample: _Sample,
    member: int,
    index: Tensor,
    options: DensityOptions,
) -> Components:
    """Return the distributions that a member gives some samples."""
    scores = sample.scores[member, index]
    if trained is None:
        means = scores[:, None]
        return Components(torch.zeros_like(means), means, torch.full_like(means, float(sds[member])))
    with torch.no_grad():
        inputs = torch.cat([sample.inputs[index], scores[:, None]], dim=1)
        outputs = trained.stack.take(torch.tensor([member]))(inputs)[0]
        return read_components(outputs, scores, options.density)
