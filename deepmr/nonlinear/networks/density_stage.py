"""The first stage of Deep IV: the distribution of the exposure given instruments and covariates, as a few nodes."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from deepmr.individual import IVData
from deepmr.nonlinear.first_stage import blocks, fit_folds
from deepmr.nonlinear.networks.densities import Components, Density, minus_log_density, n_outputs, read_components
from deepmr.nonlinear.networks.members import fold_replicates, member_weights, split_members
from deepmr.nonlinear.networks.response import Scaling
from deepmr.nonlinear.networks.stages import Plan, Stage
from deepmr.nonlinear.quadrature import Nodes, mixture_nodes
from deepmr.nonlinear.smoothing import Group
from deepmr.perceptrons.split import Split, member_seeds
from deepmr.perceptrons.stack import Architecture, Stack
from deepmr.perceptrons.training import Batch, Trained, train, weighted_mean

_STAGE = 3  # as in `stages`, by which networks draw apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Densities:
    """What stands for the distribution of each sample's exposure.

    Attributes
    ----------
    second : nodes of the samples of the second stage, a replicate each, values in the unit of the scaling.
    first : those of the first stage's where these are other samples, by the network that learned from them; or None.
    trained : the networks; None where there are none.
    loss : minus the logarithm of the density, mean over samples that it was not learned from, in that unit.
    """

    second: tuple[Nodes, ...]
    first: tuple[Nodes, ...] | None
    trained: Trained | None
    loss: float


def fit_densities(
    first: IVData,
    second: IVData,
    *,
    density: Density,
    n_components: int,
    n_nodes: int,
    stage: Stage,
    plan: Plan,
    scaling: Scaling,
    seed: int,
) -> Densities:
    """Fit the distribution of the exposure, and return nodes for the samples of the second stage.

    Parameters
    ----------
    first, second : samples of the two stages, the same where there is one.
    density : its kind.
    n_components : of a mixture.
    n_nodes : values that stand for a distribution.
    stage, plan : how.
    scaling : of the data.
    seed : of folds and networks.

    Notes
    -----
    In one sample, nodes of a sample come from the network that has not learned from its fold. Means of components are
    what instruments and covariates say linearly, by the same samples, plus what the network adds.
    """
    members = _deal(first, scaling, plan, seed=seed, one_sample=first is second)
    sample = members.sample(first, scaling)
    if density == "ridge":
        trained, sds = None, members.residual_sds(sample)
        loss = float(np.mean(np.log(sds) + 0.5 * np.log(2 * np.pi) + 0.5))
    else:
        trained, sds = _train(members, sample, density, n_components, stage, seed), np.empty(0)
        loss = float(trained.losses.mean())

    def nodes(of: _Sample, replicate: int) -> Nodes:
        found = Nodes(values=np.empty((len(of), n_nodes)), weights=np.empty((len(of), n_nodes)))
        for member in members.of(replicate):
            mine = members.meant_for(member) if first is second else np.arange(len(of))
            for rows in blocks(len(mine)):
                index = mine[rows]
                part = _nodes(_components(trained, sds, of, member, torch.from_numpy(index), density), n_nodes)
                found.values[index], found.weights[index] = part.values, part.weights
        return found

    other, replicates = sample if first is second else members.sample(second, scaling), range(plan.n_replicates)
    return Densities(
        second=tuple(nodes(other, r) for r in replicates),
        first=None if first is second else tuple(nodes(sample, r) for r in replicates),
        trained=trained,
        loss=loss,
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
    """The members of the first stage, those of a replicate one after the other, a fold each.

    Attributes
    ----------
    n_folds : members of a replicate.
    folds : (replicates, samples); in two samples, 0 where a replicate is watched.
    split : what members learn from and are watched on.
    coefficients : of the linear regression, (1 + columns, members).
    centre, spread : of its columns.
    """

    n_folds: int
    folds: Int[np.ndarray, "replicates _"]
    split: Split
    coefficients: Float[np.ndarray, "one_and_columns members"]
    centre: Float[np.ndarray, "columns"]
    spread: Float[np.ndarray, "columns"]

    def sample(self, data: IVData, scaling: Scaling) -> _Sample:
        """Return a sample as members see it."""
        columns = (np.hstack([data.covariates, data.instruments]) - self.centre) / self.spread
        scores = (self.coefficients[0] + columns @ self.coefficients[1:]).T
        exposure = torch.empty(0) if data.exposure is None else scaling.exposure_in(data.exposure)
        inputs, made = (torch.from_numpy(part.astype(np.float32)) for part in (columns, scores))
        return _Sample(inputs, made, exposure)

    def of(self, replicate: int) -> range:
        """Return the members of a replicate."""
        return range(replicate * self.n_folds, (replicate + 1) * self.n_folds)

    def meant_for(self, member: int) -> Int[np.ndarray, "rows"]:
        """Return the samples that a member has not learned from."""
        replicate, fold = divmod(member, self.n_folds)
        return np.flatnonzero(self.folds[replicate] == fold)

    def residual_sds(self, sample: _Sample) -> Float[np.ndarray, "members"]:
        """Return the standard deviation of what the linear regression leaves where it was not fitted."""
        rows, weights = self.split.validation, self.split.validation_weights
        left = sample.exposure[rows] - sample.scores.gather(1, rows)
        return weighted_mean(left**2, weights).sqrt().numpy().astype(float)


def _deal(first: IVData, scaling: Scaling, plan: Plan, *, seed: int, one_sample: bool) -> _Members:
    """Deal samples to members, and regress the exposure on instruments and covariates by the samples of each."""
    assert first.exposure is not None
    n_members, drawn = plan.n_replicates, seed if one_sample else seed + 1
    if one_sample:
        n_folds = 2 if n_members > 1 else max(2, plan.n_folds)  # two cost what one network of all samples does
        split, folds = fold_replicates(first, n_replicates=n_members, n_folds=n_folds, seed=drawn)
    else:  # one network a replicate; its linear part is of the samples that it is not watched on
        n_folds = 1
        split = split_members(first, n_members=n_members, seed=drawn, share=plan.validation_share)
        folds = np.ones((n_members, len(first)), dtype=int)
        np.put_along_axis(folds, split.validation.numpy(), 0, axis=1)
    weights = member_weights(first, n_members=n_members, seed=drawn, bootstrap=n_members > 1)
    columns = np.hstack([first.covariates, first.instruments])
    spread = columns.std(axis=0)
    centre, spread = columns.mean(axis=0), np.where(spread > 0, spread, 1.0)
    n_free, n_instruments = 1 + first.covariates.shape[1], first.instruments.shape[1]
    group = Group(columns=n_free + np.arange(n_instruments), weights=np.ones(n_instruments))

    def design(rows: slice) -> Float[np.ndarray, "_ columns"]:
        part = (columns[rows] - centre) / spread
        return np.hstack([np.ones((len(part), 1)), part])

    x = (first.exposure - scaling.exposure[0]) / scaling.exposure[1]
    coefficients = []
    for own, dealt in zip(weights, folds, strict=True):
        fit = fit_folds(design, x[:, None], folds=dealt, weights=own, groups=(group,) if n_instruments > 1 else None)
        coefficients += [fit.without[k, :, 0] for k in range(n_folds)]
    return _Members(
        n_folds=n_folds,
        folds=folds,
        split=split,
        coefficients=np.array(coefficients).T,
        centre=centre,
        spread=spread,
    )


def _train(members: _Members, sample: _Sample, density: Density, n_components: int, stage: Stage, seed: int) -> Trained:
    made = Architecture(
        n_inputs=sample.inputs.shape[1] + 1,
        n_outputs=n_outputs(density, n_components),
        hidden=stage.hidden,
        activation=stage.activation,
        batch_norm=stage.batch_norm,
        input_batch_norm=stage.input_batch_norm,
    )

    def objective(stack: Stack, batch: Batch) -> Tensor:
        scores = sample.scores[batch.members[:, None], batch.rows]
        outputs = stack(torch.cat([sample.inputs[batch.rows], scores[..., None]], dim=2), training=batch.training)
        losses = minus_log_density(sample.exposure[batch.rows], read_components(outputs, scores, density))
        return weighted_mean(losses, batch.weights)

    seeds = member_seeds(len(members.split), seed=seed, stage=_STAGE)
    fresh = Stack.fresh(made, seeds)
    return train(fresh, objective, split=members.split, schedule=stage.schedule, seeds=seeds, stage="exposure")


def _components(
    trained: Trained | None,
    sds: Float[np.ndarray, "members"],
    sample: _Sample,
    member: int,
    index: Tensor,
    density: Density,
) -> Components:
    """Return the distributions that a member gives some samples."""
    scores = sample.scores[member, index]
    if trained is None:
        means = scores[:, None]
        return Components(torch.zeros_like(means), means, torch.full_like(means, float(sds[member])))
    with torch.no_grad():
        inputs = torch.cat([sample.inputs[index], scores[:, None]], dim=1)
        outputs = trained.stack.take(torch.tensor([member]))(inputs)[0]
        return read_components(outputs, scores, density)
