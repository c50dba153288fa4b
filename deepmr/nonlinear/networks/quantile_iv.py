"""Quantile instrumental variables: quantiles of the exposure given instruments, then a network averaged over them."""

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deepmr import checks
from deepmr.individual import IVData, two_samples
from deepmr.nonlinear.networks.fitted import network_response
from deepmr.nonlinear.networks.response import NetworkResponse, Scaling
from deepmr.nonlinear.networks.stages import Plan, fit_exposure, fit_outcome, stage_of
from deepmr.perceptrons.stack import Activation

Levels = Literal["gauss", "midpoints"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileIV:
    """Quantile IV: the response is a network; the law of the exposure given instruments is known by quantiles.

    Attributes
    ----------
    n_quantiles : nodes, quantiles of the exposure.
    levels : of the quantiles: Gauss-Legendre nodes and weights ("gauss"), or (2k - 1) / (2 n_quantiles) of equal weight
        ("midpoints"), which takes a fifth of the exposure's residual variance away at five quantiles.
    non_crossing : whether quantiles are in order by construction: increments are positive.
    activation : of every hidden layer.
    exposure_hidden, outcome_hidden : units of each hidden layer.
    exposure_epochs, outcome_epochs : most passes over the samples.
    exposure_batch_size, outcome_batch_size : samples a step, up to all of them; None for sixteen steps an epoch or
        more, of 32 to 512 samples.
    exposure_learning_rate, outcome_learning_rate, exposure_weight_decay, outcome_weight_decay : of Adam.
    exposure_batch_norm, outcome_batch_norm : after every hidden layer.
    exposure_input_batch_norm, outcome_input_batch_norm : of inputs, which are standardised in any case.
    exposure_patience, outcome_patience : epochs without a better validation loss before a network stops.
    averaging : decay a step of the running average of weights that is validated and kept; 0 for none.
    linear_start : whether outcome networks start as the least-squares line, to which they add. None is yes for one fit
        and no for replicates, which are to show what the data leave open and would all stop near that line.
    n_folds : of one fit: exposures by networks without the sample's fold, outcomes by the mean of as many networks,
        each validated on its fold. 1 for one network a stage. A replicate has one outcome network in any case.
    validation_share : of the samples, where there are no folds.
    n_boot : bootstrap replicates of the whole fit, trained side by side; from two on there are intervals.

    Notes
    -----
    With q_k(z, c) the quantiles and w_k their weights, the outcome network h has the loss
    mean (y - sum_k w_k h(q_k(z, c), c))^2, or the logistic loss of the mean of probabilities for a binary outcome.
    Valid where instruments reach the outcome through the exposure alone. Intervals are of what replicates differ by,
    samples and training; the bias of networks stopped early is not in them (`ensemble.over_members`).

    References
    ----------
    Hartford et al. (2017) https://proceedings.mlr.press/v70/hartford17a.html; Koenker & Bassett (1978)
    doi:10.2307/1913643; Moon et al. (2021) doi:10.1080/10618600.2021.1909601.
    """

    n_quantiles: int = 5
    levels: Levels = "gauss"
    non_crossing: bool = False
    activation: Activation = "GELU"
    exposure_hidden: tuple[int, ...] = (128, 64)
    outcome_hidden: tuple[int, ...] = (64, 32)
    exposure_epochs: int = 100
    outcome_epochs: int = 100
    exposure_batch_size: int | None = None
    outcome_batch_size: int | None = None
    exposure_learning_rate: float = 1e-3
    outcome_learning_rate: float = 3e-3
    exposure_weight_decay: float = 1e-4
    outcome_weight_decay: float = 1e-4
    exposure_batch_norm: bool = False
    outcome_batch_norm: bool = False
    exposure_input_batch_norm: bool = False
    outcome_input_batch_norm: bool = False
    exposure_patience: int = 5
    outcome_patience: int = 20
    averaging: float = 0.99
    linear_start: bool | None = None
    n_folds: int = 5
    validation_share: float = 0.2
    n_boot: int = 1

    def fit(self, data: IVData, *, outcome_data: IVData | None = None, seed: int = 0) -> NetworkResponse:
        """Fit the response.

        Parameters
        ----------
        data : of the first stage, and of the second where there is one sample.
        outcome_data : of the second stage, where it is another sample.
        seed : of everything random.
        """
        first, second = two_samples(data, outcome_data)
        plan = Plan(n_replicates=self.n_boot, n_folds=self.n_folds, validation_share=self.validation_share)
        scaling = Scaling.of(first, second)
        taus, weights = quantile_levels(self.n_quantiles, self.levels)

        def loss(outputs: Tensor, x: Tensor) -> Tensor:
            error = x.unsqueeze(2) - (ordered(outputs) if self.non_crossing else outputs)
            return (torch.maximum(taus * error, (taus - 1) * error) * weights).sum(dim=2)

        stage = stage_of(self, "exposure")
        exposed = fit_exposure(
            first,
            second,
            stage=stage,
            plan=plan,
            n_outputs=self.n_quantiles,
            loss=loss,
            scaling=scaling,
            seed=seed,
        )
        responded = fit_outcome(
            second,
            nodes=ordered(exposed.outputs) if self.non_crossing else exposed.outputs,
            node_weights=weights,
            stage=stage_of(self, "outcome"),
            plan=plan,
            linear_start=self.n_boot == 1 if self.linear_start is None else self.linear_start,
            scaling=scaling,
            seed=seed,
        )
        return network_response(
            first,
            second,
            method="quantile_iv",
            options=asdict(self),
            seed=seed,
            scaling=scaling,
            responded=responded,
            exposure=exposed.trained,
            exposure_unit=float(scaling.exposure[1]),
            n_replicates=plan.n_replicates,
        )


def quantile_levels(n_quantiles: int, levels: Levels) -> tuple[Tensor, Tensor]:
    """Return levels of quantiles and their weights, which sum to 1.

    Parameters
    ----------
    n_quantiles : how many.
    levels : which.
    """
    checks.at_least("n_quantiles", n_quantiles, 1)
    checks.one_of("levels", levels, ("gauss", "midpoints"))
    if levels == "midpoints":
        taus = (2 * np.arange(1, n_quantiles + 1) - 1) / (2 * n_quantiles)
        return torch.tensor(taus, dtype=torch.float32), torch.full((n_quantiles,), 1 / n_quantiles)
    roots, weights = np.polynomial.legendre.leggauss(n_quantiles)
    return torch.tensor((roots + 1) / 2, dtype=torch.float32), torch.tensor(weights / 2, dtype=torch.float32)


def ordered(outputs: Tensor) -> Tensor:
    """Return quantiles that cannot cross: the first output, then positive increments.

    Parameters
    ----------
    outputs : (..., quantiles) of a network.
    """
    steps = torch.cat([outputs[..., :1], functional.softplus(outputs[..., 1:])], dim=-1)
    return steps.cumsum(dim=-1)
