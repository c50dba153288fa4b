"""The linear first stage: what instruments and covariates predict of the exposure, as residuals show it."""

import numpy as np
from jaxtyping import Float

from deepmr.errors import InputError
from deepmr.individual import IVData

_BLOCK = 1 << 16  # samples at a time


def predict_exposure(data: IVData) -> Float[np.ndarray, "samples"]:
    """Return the exposure as linear least squares on instruments and covariates predict it.

    Parameters
    ----------
    data : with the exposure; weighted by its weights.

    Notes
    -----
    Columns that others make up are left out by the pseudo-inverse. Predictions are those of the fit to all samples.
    """
    if data.exposure is None:
        raise InputError("the first stage needs the exposure; its sample has none")
    n, weights = len(data), data.scaled_weights
    center = np.concatenate([data.instruments.mean(axis=0), data.covariates.mean(axis=0)])
    spread = np.concatenate([data.instruments.std(axis=0), data.covariates.std(axis=0)])
    spread = np.where(spread > 0, spread, 1.0)

    def design(start: int) -> Float[np.ndarray, "_ columns"]:
        rows = slice(start, start + _BLOCK)
        columns = (np.hstack([data.instruments[rows], data.covariates[rows]]) - center) / spread
        return np.hstack([np.ones((len(columns), 1)), columns])

    gram, moment = np.zeros((len(center) + 1,) * 2), np.zeros(len(center) + 1)
    for start in range(0, n, _BLOCK):
        block, weight = design(start), weights[start : start + _BLOCK]
        gram += (block.T * weight) @ block
        moment += block.T @ (weight * data.exposure[start : start + _BLOCK])
    coefficients = np.linalg.lstsq(gram, moment, rcond=1e-10)[0]
    return np.concatenate([design(start) @ coefficients for start in range(0, n, _BLOCK)])
