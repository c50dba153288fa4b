"""A smooth response beside a smooth function of the first stage's residual: the fit that control functions share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.nonlinear.basis import SplineBasis, Terms, fit_splines
from deepmr.nonlinear.first_stage import FirstStage, blocks, fit_first_stage
from deepmr.nonlinear.moments import Contributions, remembered, summed_squares
from deepmr.nonlinear.residuals import Control, Residuals, fit_residuals
from deepmr.nonlinear.sieve import Modification, choose_terms, covariate_basis, modifies_fully
from deepmr.nonlinear.smoothing import Group, Smoothed

_ORDER = 2  # of the derivative that measures how rough the function of the residual is
_RIDGE = 1e-4  # of the Gram matrix of first-stage columns, some of which say the same
_SLOPE = 1e-4  # step of a derivative

OfSamples = Callable[[slice], Float[np.ndarray, "_"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlledDesign:
    """Columns of the response and of the function of the residual, of the samples of the second stage.

    Attributes
    ----------
    data : those samples.
    terms : columns of the response.
    splines : functions of the control, or None where the first stage leaves nothing to control for.
    residuals : the first stage.
    columns : all of them, of a block of samples.
    """

    data: IVData
    terms: Terms
    splines: SplineBasis | None
    residuals: Residuals
    columns: Contributions

    @property
    def n_response(self) -> int:
        """Number of columns of the response, which come first."""
        return len(self.terms.pairs)

    def __call__(self, rows: slice) -> Float[np.ndarray, "_ terms"]:
        """Return every column for a block of samples; those of the control have mean 0 over the sample."""
        return self.columns(rows)

    def confounding(self, coefficients: Float[np.ndarray, "terms"], rows: slice) -> Float[np.ndarray, "_"]:
        """Return the function of the residual."""
        if self.splines is None:
            return np.zeros(len(self.residuals.control[rows]))
        return self.splines(self.residuals.control[rows])[:, 1:] @ coefficients[self.n_response :]

    def slope(self, coefficients: Float[np.ndarray, "terms"], rows: slice) -> Float[np.ndarray, "_"]:
        """Return the derivative of that function with respect to the residual."""
        values = self.residuals.control[rows]
        if self.splines is None:
            return np.zeros(len(values))
        step = _SLOPE * max(float(self.residuals.control.std()), 1e-300)
        change = (self.splines(values + step) - self.splines(values - step))[:, 1:] @ coefficients[self.n_response :]
        return change / (2 * step) * self.residuals.slope[rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a controlled fit starts from.

    Attributes
    ----------
    design : columns of the response and of the control.
    response_groups : coefficients of the response that shrink together.
    groups : those, and the coefficients of the control.
    stage : the first stage.
    """

    design: ControlledDesign
    response_groups: Sequence[Group]
    groups: Sequence[Group]
    stage: FirstStage


def set_up(
    first: IVData,
    second: IVData,
    *,
    n_functions: int,
    covariate_functions: int | None,
    modification: Modification,
    control: Control,
    n_folds: int,
    seed: int,
) -> Setting:
    """Choose columns, and fit the first stage.

    Parameters
    ----------
    first, second : samples of the two stages, the same where there is one sample.
    n_functions, covariate_functions, modification, control, n_folds : as in `ControlFunction`.
    seed : of the folds.
    """
    assert first.exposure is not None
    if second.exposure is None:
        raise InputError("a control function needs the exposure in the outcome's sample, too; it has none")
    checks.at_least("n_functions", n_functions, 2)
    checks.at_least("n_folds", n_folds, 2)
    functions = fit_splines(first.exposure, n_functions=n_functions, weights=first.weights)
    n_covariates = len(first.covariate_names)
    full = modifies_fully(modification, n_covariates)
    covariates = covariate_basis(second, n_functions=covariate_functions, products=full)
    pairs, groups = choose_terms(functions, covariates, modification, n_covariates)
    stage = fit_first_stage(first, second, functions=functions, covariates=covariates, seed=seed, n_folds=n_folds)
    residuals = fit_residuals(first, second, stage=stage, covariates=covariates, control=control)
    terms = Terms(exposure=functions, covariates=covariates, pairs=pairs)
    splines, every = None, list(groups)
    if not residuals.empty:
        splines = fit_splines(residuals.control, n_functions=n_functions, order=_ORDER, weights=second.weights)
        rough = splines.roughness[1:]
        columns = np.flatnonzero(rough > 0)
        if len(columns):
            weights = rough[columns] / rough[columns].min()
            every.append(Group(columns=len(pairs) + columns, weights=weights))
    design = ControlledDesign(
        data=second,
        terms=terms,
        splines=splines,
        residuals=residuals,
        columns=remembered(_columns(second, terms, splines, residuals), len(second)),
    )
    return Setting(design=design, response_groups=groups, groups=every, stage=stage)


def _columns(data: IVData, terms: Terms, splines: SplineBasis | None, residuals: Residuals) -> Contributions:
    def columns(rows: slice) -> Float[np.ndarray, "_ columns"]:
        assert data.exposure is not None
        response = terms(data.exposure[rows], data.covariates[rows])
        if splines is None:
            return response
        return np.hstack([response, splines(residuals.control[rows])[:, 1:]])

    return columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Controlled:
    """Coefficients of a controlled fit and their errors.

    Attributes
    ----------
    design : its columns; those of the response come first.
    smoothed : the coefficients.
    meat : sum of squares of the moments of both stages.
    covariance : robust, with the first stage's error and the expected squared bias of smoothing.
    smoothing_bias : the last of these alone.
    moments : of both stages, of a block of samples; their sum is 0, and times `inner` the error of the coefficients.
    inner : inverse of the derivative of their sum.
    errors : outcome minus its expectation, of a block of samples.
    sensitivity : derivative of the expectation with respect to the linear predictor, of a block of samples.
    """

    design: ControlledDesign
    smoothed: Smoothed
    meat: Float[np.ndarray, "terms terms"]
    covariance: Float[np.ndarray, "terms terms"]
    smoothing_bias: Float[np.ndarray, "terms terms"]
    moments: Contributions
    inner: Float[np.ndarray, "terms terms"]
    errors: OfSamples
    sensitivity: OfSamples


def with_errors(
    first: IVData,
    design: ControlledDesign,
    smoothed: Smoothed,
    *,
    errors: OfSamples,
    sensitivity: OfSamples,
) -> Controlled:
    """Add the errors of coefficients: robust, of both stages, and by cluster where there are clusters.

    Parameters
    ----------
    first : samples of the first stage.
    design : of the samples of the second.
    smoothed : the coefficients.
    errors, sensitivity : as in `Controlled`.

    Notes
    -----
    Moments of both stages are stacked: a prediction of the exposure that is off by d moves the residual by -d and the
    equations of the second stage by sum_i D_i s_i g'(v_i) d_i, with D the columns and s the sensitivity.
    """
    data, residuals = design.data, design.residuals
    weights, first_weights = data.scaled_weights, first.scaled_weights
    one_sample = data is first

    def derivative(rows: slice) -> Float[np.ndarray, "_ terms"]:
        return design(rows) * (design.slope(smoothed.coefficients, rows) * sensitivity(rows))[:, None]

    moved = first_stage_effect(first, data, residuals, derivative)
    inner = smoothed.inverse / smoothed.variance

    def of_first(rows: slice) -> Float[np.ndarray, "_ terms"]:
        scaled = residuals.first_residual[rows] * first_weights[rows]
        return (residuals.first_columns(rows) * scaled[:, None]) @ moved

    def of_second(rows: slice) -> Float[np.ndarray, "_ terms"]:
        own = design(rows) * (errors(rows) * weights[rows])[:, None]
        return own + of_first(rows) if one_sample else own

    meat = summed_squares(of_second, len(data), clusters=data.clusters)
    if not one_sample:
        meat = meat + summed_squares(of_first, len(first), clusters=first.clusters)
    return Controlled(
        design=design,
        smoothed=smoothed,
        meat=meat,
        covariance=sandwich(smoothed.inverse, smoothed.penalty, smoothed.variance, meat),
        smoothing_bias=smoothed.inverse @ (smoothed.penalty[:, None] * smoothed.inverse),
        moments=of_second,
        inner=inner,
        errors=errors,
        sensitivity=sensitivity,
    )


def sandwich(
    inverse: Float[np.ndarray, "terms terms"],
    penalty: Float[np.ndarray, "terms"],
    variance: float,
    meat: Float[np.ndarray, "terms terms"],
) -> Float[np.ndarray, "terms terms"]:
    """Return the covariance of penalised coefficients, with the expected squared bias of smoothing.

    Parameters
    ----------
    inverse, penalty, variance : as in `Smoothed`.
    meat : sum of squares of moments.
    """
    inner = inverse / variance
    return inner @ meat @ inner + inverse @ (penalty[:, None] * inverse)


def first_stage_effect(
    first: IVData, data: IVData, residuals: Residuals, derivative: Contributions
) -> Float[np.ndarray, "columns terms"]:
    """Return how sums over the second sample move with the moments of the first stage.

    Parameters
    ----------
    first, data : samples of the two stages.
    residuals : the first stage.
    derivative : of what is summed, with respect to the prediction of the exposure; of a block of samples.
    """
    weights, first_weights = data.scaled_weights, first.scaled_weights
    cross, gram = np.zeros((0, 0)), np.zeros((0, 0))
    for rows in blocks(len(data)):
        part = residuals.columns(rows).T @ (derivative(rows) * weights[rows, None])
        cross = part if not cross.size else cross + part
    for rows in blocks(len(first)):
        columns = residuals.first_columns(rows)
        part = (columns * first_weights[rows, None]).T @ columns
        gram = part if not gram.size else gram + part
    scale = np.diagonal(gram)
    return np.linalg.solve(gram + np.diag(np.where(scale > 0, _RIDGE * scale, 1.0)), cross)
