"""Deep IV: a network for the distribution of the exposure, then a response whose expectation under it fits the outcome."""

from dataclasses import asdict, dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import DoseResponse, FitRecord, IVData, record_of, two_samples
from deepmr.nonlinear.basis import Terms, fit_splines
from deepmr.nonlinear.feature_solve import Columns, solve_features
from deepmr.nonlinear.linear import LinearResponse
from deepmr.nonlinear.networks.densities import Density
from deepmr.nonlinear.networks.density_stage import DensityOptions, DensityStage, fit_densities
from deepmr.nonlinear.networks.members import Split, member_seeds, split_members
from deepmr.nonlinear.networks.stack import Activation, Architecture, Stack
from deepmr.nonlinear.networks.training import Batch, Schedule, Trained, train, weighted_mean
from deepmr.nonlinear.quadrature import Nodes
from deepmr.nonlinear.sieve import choose_terms, covariate_basis

Response = Literal["network", "splines"]
_STAGE = 40
_RARE = 1e-6
_STEPS, _FEWEST = 16, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepIV:
    """Deep IV: the distribution of the exposure by a network, and the response that explains the outcome under it.

    Attributes
    ----------
    density : of the exposure given instruments and covariates: a mixture of normal distributions, one normal
        distribution, or one with a linear mean and a constant variance ("ridge").
    n_components : of a mixture.
    n_nodes : values that stand for a sample's distribution.
    stage2 : the response: a network, or splines in closed form with intervals.
    exposure_hidden, outcome_hidden : units of the hidden layers of the two networks.
    activation : after every hidden layer.
    exposure_learning_rate, outcome_learning_rate : of Adam.
    exposure_weight_decay, outcome_weight_decay : the same.
    exposure_batch_size, outcome_batch_size : samples a step.
    exposure_epochs, outcome_epochs : most passes over the samples.
    patience : epochs without a better validation loss after which a network stops.
    averaging : decay a step of the running average of weights that is kept.
    validation_share : of samples, that the network of the response does not learn from.
    n_boot : bootstrap replicates, of both stages, trained side by side; 1 for the sample itself.
    n_functions, covariate_functions : of splines, as in `Sieve`.

    Notes
    -----
    The response h solves E[y | z, c] = E[h(x, c) | z, c]. The right side is a weighted mean of h over the Gauss
    quadrature nodes of a sample's distribution, so the second stage is an ordinary regression, with neither the noise
    nor the double draw of sampling. A binary outcome has the mean of probabilities, with the likelihood of a coin.

    A sample's distribution comes from a network that has not learned from its exposure (two halves), so many weak
    instruments cannot fit the noise; in two samples, from the first.

    With splines, what is expected of them serves as instruments, P'(y - F b) = 0, as in `Sieve`; a wrong density costs
    precision and no bias, and the covariance is the robust sandwich. In two samples the outcome is regressed on P.

    References
    ----------
    Hartford et al. (2017) https://proceedings.mlr.press/v70/hartford17a.html; Bishop (1994) Mixture density networks.
    """

    density: Density = "mixture"
    n_components: int = 3
    n_nodes: int = 5
    stage2: Response = "network"
    exposure_hidden: tuple[int, ...] = (64, 32)
    outcome_hidden: tuple[int, ...] = (64, 32)
    activation: Activation = "GELU"
    exposure_learning_rate: float = 2e-3
    outcome_learning_rate: float = 5e-3
    exposure_weight_decay: float = 1e-3
    outcome_weight_decay: float = 1e-4
    exposure_batch_size: int = 512
    outcome_batch_size: int = 512
    exposure_epochs: int = 100
    outcome_epochs: int = 100
    patience: int = 10
    averaging: float = 0.98
    validation_share: float = 0.2
    n_boot: int = 1
    n_functions: int = 20
    covariate_functions: int = 20

    def fit(self, data: IVData, *, outcome_data: IVData | None = None, seed: int = 0) -> DoseResponse:
        """Fit the response.

        Parameters
        ----------
        data : of the first stage, and of the second where there is one sample.
        outcome_data : of the second stage, where it is another sample.
        seed : of folds, first weights, the order of samples and the bootstrap.
        """
        self._check()
        first, second = two_samples(data, outcome_data)
        split = split_members(second, n_members=self.n_boot, seed=seed, share=self.validation_share)
        drawn = split if first is second else split_members(first, n_members=self.n_boot, seed=seed + 1)
        stage = fit_densities(
            first, second, self._density_options(len(first)), weights=_sample_weights(drawn, len(first)), seed=seed
        )
        if self.stage2 == "splines":
            return self._splines(first, second, stage, seed)
        return self._network(first, second, stage, split, seed)

    def _check(self) -> None:
        checks.one_of("stage2", self.stage2, get_args(Response))
        for name in ("n_components", "n_nodes", "n_boot"):
            checks.at_least(name, getattr(self, name), 1)
        checks.at_least("n_functions", self.n_functions, 2)
        if self.stage2 == "splines" and self.n_boot > 1:
            raise InputError(
                f"n_boot must be 1 with stage2 splines, whose intervals are in closed form; got {self.n_boot}"
            )

    def _density_options(self, n: int) -> DensityOptions:
        return DensityOptions(
            density=self.density,
            n_components=self.n_components,
            n_nodes=self.n_nodes,
            hidden=self.exposure_hidden,
            activation=self.activation,
            schedule=Schedule(
                epochs=self.exposure_epochs,
                batch_size=_batch_size(self.exposure_batch_size, n),
                learning_rate=self.exposure_learning_rate,
                weight_decay=self.exposure_weight_decay,
                patience=self.patience,
                averaging=self.averaging,
            ),
        )

    def _splines(self, first: IVData, second: IVData, stage: DensityStage, seed: int) -> LinearResponse:
        assert first.exposure is not None
        assert second.outcome is not None
        n_covariates = len(first.covariate_names)
        functions = fit_splines(first.exposure, n_functions=self.n_functions, weights=first.weights)
        covariates = covariate_basis(second, n_functions=self.covariate_functions, products=1 < n_covariates <= 3)
        pairs, groups = choose_terms(functions, covariates, "auto", n_covariates)
        terms = Terms(exposure=functions, covariates=covariates, pairs=pairs)

        def columns(data: IVData, nodes: Nodes) -> Columns:
            of_covariates = covariates(data.covariates)
            expected = np.zeros((len(data), functions.size))
            for values, shares in zip(nodes.values.T, nodes.weights.T, strict=True):
                expected += shares[:, None] * functions(values)
            expected[:, 0] = 1.0
            return Columns(
                expected=terms.combine(expected, of_covariates),
                seen=None if data.exposure is None else terms.combine(functions(data.exposure), of_covariates),
                weights=data.scaled_weights,
                clusters=data.clusters,
            )

        other = None if stage.first is None else columns(first, stage.first[0])
        solved = solve_features(columns(second, stage.second[0]), second.outcome, groups, first=other)
        found = solved.smoothed
        return LinearResponse(
            terms=terms,
            coefficients=found.coefficients,
            covariance=solved.covariance,
            mean_functions=np.average(covariates(second.covariates), axis=0, weights=second.scaled_weights),
            record=self._record(
                first,
                second,
                stage,
                seed,
                diagnostics={
                    "effective_dimension": float(found.effective.sum()),
                    "residual_sd": float(np.sqrt(found.variance)),
                },
            ),
        )

    def _train_outcome(
        self, second: IVData, stage: DensityStage, split: Split, scaling: "Scaling", seed: int
    ) -> Trained:
        assert second.outcome is not None
        binary = second.outcome_type == "binary"
        of_outcome = second.outcome if binary else (second.outcome - scaling.outcome[0]) / scaling.outcome[1]
        nodes = [(one.values - scaling.exposure[0]) / scaling.exposure[1] for one in stage.second]
        covariates = (second.covariates - scaling.covariate_centre) / scaling.covariate_spread
        objective = OutcomeStage(
            nodes=_tensor(np.array(nodes)),
            shares=_tensor(np.array([one.weights for one in stage.second])),
            covariates=_tensor(covariates),
            outcome=_tensor(of_outcome),
            binary=binary,
        )
        made = Architecture(
            n_inputs=1 + covariates.shape[1], n_outputs=1, hidden=self.outcome_hidden, activation=self.activation
        )
        seeds = member_seeds(self.n_boot, seed=seed, stage=_STAGE)
        schedule = Schedule(
            epochs=self.outcome_epochs,
            batch_size=_batch_size(self.outcome_batch_size, len(second)),
            learning_rate=self.outcome_learning_rate,
            weight_decay=self.outcome_weight_decay,
            patience=self.patience,
            averaging=self.averaging,
        )
        return train(Stack.fresh(made, seeds), objective, split=split, schedule=schedule, seeds=seeds, stage="outcome")

    def _record(
        self,
        first: IVData,
        second: IVData,
        stage: DensityStage,
        seed: int,
        *,
        losses: dict[str, float] | None = None,
        diagnostics: dict[str, float] | None = None,
    ) -> FitRecord:
        return record_of(
            first,
            second,
            method="deep_iv",
            options=asdict(self),
            seed=seed,
            losses={"exposure": stage.loss, **(losses or {})},
            diagnostics=diagnostics,
        )


def _sample_weights(split: Split, n: int) -> Float[np.ndarray, "members samples"]:
    """Return the weight of every sample in each member's bootstrap."""
    found = np.zeros((len(split), n))
    member = np.arange(len(split))[:, None]
    for rows, weights in (
        (split.training, split.training_weights),
        (split.validation, split.validation_weights),
    ):
        np.add.at(found, (member, rows.numpy()), weights.numpy())
    return found


def _batch_size(most: int, n: int) -> int:
    """Return the samples a step, so few that an epoch of a small sample has several steps."""
    return max(2, min(most, max(_FEWEST, n // _STEPS)))


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


@dataclass(frozen=True, slots=True)
class Scaling:
    """Means and standard deviations: of exposure and outcome as pairs, of covariates as rows."""

    exposure: tuple[float, float]
    outcome: tuple[float, float]
    covariate_centre: np.ndarray
    covariate_spread: np.ndarray


@dataclass(frozen=True, slots=True)
class OutcomeStage:
    """Standardised tensors of the second stage.

    Attributes
    ----------
    nodes, shares : (replicates, rows, nodes).
    covariates : (rows, covariates).
    outcome : (rows,).
    binary : whether it is 0 or 1.
    """

    nodes: Tensor
    shares: Tensor
    covariates: Tensor
    outcome: Tensor
    binary: bool

    def __call__(self, stack: Stack, batch: Batch) -> Tensor:
        """Return the loss a member of a batch."""
        which = batch.members[:, None], batch.rows
        nodes, shares = self.nodes[which], self.shares[which]
        covariates = self.covariates[batch.rows][:, :, None, :].expand(-1, -1, nodes.shape[2], -1)
        inputs = torch.cat([nodes[..., None], covariates], dim=3).flatten(1, 2)
        values = stack(inputs, training=batch.training)[..., 0].view(nodes.shape)
        outcome = self.outcome[batch.rows]
        if not self.binary:
            return weighted_mean(((shares * values).sum(dim=2) - outcome) ** 2, batch.weights)
        chance = (shares * torch.sigmoid(values)).sum(dim=2).clamp(_RARE, 1 - _RARE)
        losses = functional.binary_cross_entropy(chance, outcome, reduction="none")
        return weighted_mean(losses, batch.weights)
