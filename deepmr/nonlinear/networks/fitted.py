"""From trained networks to the response: its record, its losses in the unit of the data, what a reader has to know."""

from collections.abc import Mapping, Sequence
from typing import Any

from deepmr.individual import IVData, record_of
from deepmr.nonlinear.networks.response import NetworkResponse, Scaling, averaged_rows
from deepmr.nonlinear.networks.stages import Responded
from deepmr.perceptrons.training import Trained

_BAGGED = (
    "Intervals hold what a further bootstrap replicate would give: they tell of sampling and of training, not of bias "
    "from networks stopped early."
)


def network_response(
    first: IVData,
    second: IVData,
    *,
    method: str,
    options: Mapping[str, Any],
    seed: int,
    scaling: Scaling,
    responded: Responded,
    exposure: Trained | None,
    exposure_unit: float,
    n_replicates: int,
    warnings: Sequence[str] = (),
    diagnostics: Mapping[str, float] | None = None,
) -> NetworkResponse:
    """Make the response of outcome networks.

    Parameters
    ----------
    first, second : samples of the two stages.
    method, options, seed, warnings, diagnostics : as in `FitRecord`.
    scaling : of the data.
    responded : the outcome networks.
    exposure : networks of the first stage, or None where it has none.
    exposure_unit : what their loss is multiplied by to be in the unit of the data.
    n_replicates : bootstrap replicates.
    """
    trained = responded.trained
    losses = {"outcome": float(trained.losses.mean() * scaling.outcome[1] ** 2)}
    numbers = {"outcome_epochs": float(trained.epochs.double().mean()), "n_networks": float(len(trained.stack))}
    if exposure is not None:
        losses["exposure"] = float(exposure.losses.mean() * exposure_unit)
        numbers["exposure_epochs"] = float(exposure.epochs.double().mean())
    covariates, weights = averaged_rows(second, n_networks=len(trained.stack), seed=seed)
    return NetworkResponse(
        stack=trained.stack,
        linear=responded.linear,
        n_replicates=n_replicates,
        scaling=scaling,
        covariates=covariates,
        weights=weights,
        record=record_of(
            first,
            second,
            method=method,
            options=options,
            seed=seed,
            losses=losses,
            diagnostics={**numbers, **(diagnostics or {})},
            warnings=(*warnings, *((_BAGGED,) if n_replicates > 1 else ())),
        ),
        logs=(*(exposure.logs if exposure else ()), *trained.logs),
    )
