"""DeLIVR: a network of the exposure that a linear first stage fits."""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float

from deepmr import checks
from deepmr.individual import IVData, two_samples
from deepmr.nonlinear.networks.fitted import network_response
from deepmr.nonlinear.networks.members import member_weights
from deepmr.nonlinear.networks.response import NetworkResponse, Scaling
from deepmr.nonlinear.networks.stages import Plan, fit_outcome, stage_of
from deepmr.perceptrons.stack import Activation

_BIASED = (
    "DeLIVR solves h(E[x|z]) = E[y|z] where the response needs E[h(x)|z] = E[y|z]: a curved response comes out biased, "
    "unless n_nodes is above 1."
)
_CORRECTED = (
    "Residuals of the exposure are taken to have one distribution, whatever the instruments; where their spread "
    "differs, a curved response is biased."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivr:
    """DeLIVR: linear regression of the exposure on instruments and covariates, a network of what it fits.

    Attributes
    ----------
    n_nodes : 1 as published; more to average the network over as many quantiles of the exposure's residual, added to
        the fitted exposure, which corrects a curved response.
    activation, outcome_hidden, outcome_epochs, outcome_batch_size, outcome_learning_rate, outcome_weight_decay,
    outcome_batch_norm, outcome_input_batch_norm, outcome_patience, averaging, linear_start, n_folds, validation_share,
    n_boot : as in `QuantileIV`.

    Notes
    -----
    The first stage has an intercept. Without nodes the method solves h(E[x|z, c], c) = E[y|z, c], which is the response
    where that is a straight line in the exposure.

    References
    ----------
    He et al. (2023) doi:10.1093/biostatistics/kxac051.
    """

    n_nodes: int = 1
    activation: Activation = "GELU"
    outcome_hidden: tuple[int, ...] = (64, 32)
    outcome_epochs: int = 100
    outcome_batch_size: int | None = None
    outcome_learning_rate: float = 3e-3
    outcome_weight_decay: float = 1e-4
    outcome_batch_norm: bool = False
    outcome_input_batch_norm: bool = False
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
        checks.at_least("n_nodes", self.n_nodes, 1)
        first, second = two_samples(data, outcome_data)
        plan = Plan(n_replicates=self.n_boot, n_folds=self.n_folds, validation_share=self.validation_share)
        scaling = Scaling.of(first, second)
        drawn = seed if first is second else seed + 1  # samples of their own have weights of their own
        weights = member_weights(first, n_members=self.n_boot, seed=drawn, bootstrap=self.n_boot > 1)
        nodes = np.stack([_nodes(first, second, one, self.n_nodes) for one in weights])
        responded = fit_outcome(
            second,
            nodes=scaling.exposure_in(nodes.reshape(-1)).view(nodes.shape),
            node_weights=torch.full((self.n_nodes,), 1 / self.n_nodes),
            stage=stage_of(self, "outcome"),
            plan=plan,
            linear_start=self.n_boot == 1 if self.linear_start is None else self.linear_start,
            scaling=scaling,
            seed=seed,
        )
        return network_response(
            first,
            second,
            method="delivr",
            options=asdict(self),
            seed=seed,
            scaling=scaling,
            responded=responded,
            exposure=None,
            exposure_unit=1.0,
            n_replicates=self.n_boot,
            warnings=(_BIASED if self.n_nodes == 1 else _CORRECTED,),
        )


def _nodes(
    first: IVData, second: IVData, weights: Float[np.ndarray, "samples"], n_nodes: int
) -> Float[np.ndarray, "others nodes"]:
    """Return the fitted exposure of the second sample, and quantiles of the residual about it."""
    assert first.exposure is not None
    root = np.sqrt(weights)
    columns = _columns(first)
    coefficients = np.linalg.lstsq(columns * root[:, None], first.exposure * root, rcond=None)[0]
    fitted = _columns(second) @ coefficients
    if n_nodes == 1:
        return np.asarray(fitted[:, None])
    residuals = first.exposure - columns @ coefficients
    levels = (2 * np.arange(1, n_nodes + 1) - 1) / (2 * n_nodes)
    quantiles = np.quantile(residuals, levels, weights=weights, method="inverted_cdf")
    return np.asarray(fitted[:, None] + quantiles)


def _columns(data: IVData) -> Float[np.ndarray, "_ columns"]:
    return np.hstack([np.ones((len(data), 1)), data.instruments, data.covariates])
