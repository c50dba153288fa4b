"""Functions of the exposure predicted from instruments by a fit in which the samples' own fold had no part at all."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from deepmr.individual import IVData
from deepmr.nonlinear.basis import SplineBasis, fit_splines
from deepmr.nonlinear.first_stage import blocks, fit_folds, make_folds
from deepmr.nonlinear.independent import independent_columns

N_FUNCTIONS = 8  # of the exposure, the constant included
_COVARIATE_FUNCTIONS = 5
_SCORE_FUNCTIONS = 10
_FEW = 10  # most instruments that have functions of their own beside the score
_OWN_FUNCTIONS = 4
_RIDGE = 1.0  # samples' worth of shrinkage


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Functions of the exposure and their predictions.

    Attributes
    ----------
    functions : of the exposure, the constant first and the straight line second.
    given : a constant and functions of the covariates.
    fitted : expectation of every function given instruments and covariates, from the fit without the sample's fold.
    folds : of the samples.
    """

    functions: SplineBasis
    given: Float[np.ndarray, "samples given"]
    fitted: Float[np.ndarray, "samples functions"]
    folds: Int[np.ndarray, "samples"]


def hold_out(data: IVData, *, seed: int, n_folds: int = 5) -> HeldOut:
    """Predict a few functions of the exposure for each fold from the others.

    Parameters
    ----------
    data : with the exposure.
    seed : of the folds.
    n_folds : how many.

    Notes
    -----
    For each fold, from the others alone: a score, the exposure regressed on instruments and functions of covariates;
    then every function regressed on splines of the score, functions of covariates and, where there are few, of
    instruments. The score of the other folds may fit their noise, which costs strength but no validity: tests on a fold
    take what is predicted for it as given.
    """
    assert data.exposure is not None
    n, weights = len(data), data.scaled_weights
    functions = fit_splines(data.exposure, n_functions=N_FUNCTIONS, weights=data.weights)
    given, outputs = _covariate_functions(data), functions(data.exposure)
    folds = make_folds(n, seed=seed, n_folds=n_folds, clusters=data.clusters)
    center = data.instruments.mean(axis=0)
    spread = np.maximum(data.instruments.std(axis=0), 1e-300)

    def columns(rows: slice) -> Float[np.ndarray, "_ columns"]:
        return np.hstack([given[rows], (data.instruments[rows] - center) / spread])

    fit = fit_folds(columns, data.exposure[:, None], folds=folds, weights=weights)
    own = _own_functions(data)
    fitted = np.empty_like(outputs)
    for k, coefficients in enumerate(fit.without):
        score = np.concatenate([columns(rows) @ coefficients[:, 0] for rows in blocks(n)])
        mine = folds == k
        parts = [given, own]
        if np.ptp(score[~mine]) > 0:
            parts.append(fit_splines(score[~mine], n_functions=_SCORE_FUNCTIONS, order=2)(score)[:, 1:])
        design = np.hstack(parts)
        weighted = design[~mine] * weights[~mine, None]
        gram = weighted.T @ design[~mine]
        gram += _RIDGE * np.diag(np.maximum(np.diagonal(gram) / max(n, 1), 1e-12))
        fitted[mine] = design[mine] @ np.linalg.solve(gram, weighted.T @ outputs[~mine])
    return HeldOut(functions=functions, given=given, fitted=fitted, folds=folds)


def _covariate_functions(data: IVData) -> Float[np.ndarray, "samples _"]:
    """Return 1 and splines of each covariate; of one that the others predict, the line alone."""
    varying = data.covariates[:, np.ptp(data.covariates, axis=0) > 0]
    used = independent_columns(varying, weights=data.weights)
    parts = [np.ones((len(data), 1))]
    for column, keep in zip(varying.T, used, strict=True):
        parts.append(fit_splines(column, n_functions=_COVARIATE_FUNCTIONS if keep else 2, order=2)(column)[:, 1:])
    return np.hstack(parts)


def _own_functions(data: IVData) -> Float[np.ndarray, "samples _"]:
    if data.instruments.shape[1] > _FEW:
        return np.empty((len(data), 0))
    varying = [column for column in data.instruments.T if np.ptp(column) > 0]
    return np.hstack([fit_splines(column, n_functions=_OWN_FUNCTIONS, order=2)(column)[:, 1:] for column in varying])
