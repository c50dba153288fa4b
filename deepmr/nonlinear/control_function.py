"""The control function: a smooth response beside a smooth function of the first stage's residual."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.individual import IVData, record_of, two_samples
from deepmr.nonlinear.basis import Terms, fit_splines
from deepmr.nonlinear.controlled import Controlled, ControlledDesign, controlled_design, with_errors
from deepmr.nonlinear.first_stage import FirstStage, blocks, fit_first_stage
from deepmr.nonlinear.linear import LinearResponse
from deepmr.nonlinear.residuals import Control, fit_residuals
from deepmr.nonlinear.sieve import Modification, choose_terms, covariate_basis, modifies_fully
from deepmr.nonlinear.smoothing import Group, smooth


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlFunction:
    """Spline control function: far more precise than the sieve where instruments move everyone's exposure alike.

    Attributes
    ----------
    n_functions : functions of the exposure, and of the control; how many of them the data can use is learned.
    covariate_functions : the same of every covariate.
    modification : how the effect varies with covariates, as in `Sieve`.
    control : what confounding is a function of: normal scores of the ranks of the first stage's residual, or itself.
    n_folds : of the first stage.
    """

    n_functions: int = 20
    covariate_functions: int = 20
    modification: Modification = "auto"
    control: Control = "rank"
    n_folds: int = 5

    def fit(self, data: IVData, *, outcome_data: IVData | None = None, seed: int = 0) -> LinearResponse:
        """Fit the response.

        Parameters
        ----------
        data : of the first stage, and of the second where there is one sample.
        outcome_data : of the second stage, where it is another sample; it needs the exposure, too.
        seed : of the folds.
        """
        checks.at_least("n_functions", self.n_functions, 2)
        checks.at_least("n_folds", self.n_folds, 2)
        first, second = two_samples(data, outcome_data)
        setting = set_up(first, second, self, seed=seed)
        found = fit_controlled(first, setting.design, setting.groups)
        return response_of(first, found, self, seed=seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a controlled fit starts from.

    Attributes
    ----------
    design : columns of the response and the control.
    groups : of their coefficients.
    stage : the first stage.
    """

    design: ControlledDesign
    groups: Sequence[Group]
    stage: FirstStage
    n_shared: int


def set_up(first, second, options, *, seed):
    assert first.exposure is not None
    functions = fit_splines(first.exposure, n_functions=options.n_functions, weights=first.weights)
    n_covariates = len(first.covariate_names)
    covariates = covariate_basis(
        second,
        n_functions=options.covariate_functions,
        products=modifies_fully(options.modification, n_covariates),
    )
    pairs, groups = choose_terms(functions, covariates, options.modification, n_covariates)
    terms = Terms(exposure=functions, covariates=covariates, pairs=pairs)
    stage = fit_first_stage(
        first, second, functions=functions, covariates=covariates, seed=seed, n_folds=options.n_folds
    )
    residuals = fit_residuals(first, second, stage=stage, covariates=covariates, control=options.control)
    design, every = controlled_design(
        second, terms=terms, groups=groups, residuals=residuals, n_functions=options.n_functions
    )
    return Setting(design=design, groups=every, stage=stage, n_shared=len(groups))


def fit_controlled(first: IVData, design: ControlledDesign, groups: Sequence[Group]) -> Controlled:
    """Regress the outcome on the columns of a design, as smooth as the data ask for.

    Parameters
    ----------
    first : samples of the first stage.
    design : of those of the second.
    groups : coefficients that shrink together.
    """
    data, n = design.data, len(design.data)
    assert data.outcome is not None
    weights = data.scaled_weights
    center = float(np.average(data.outcome, weights=weights))
    width = design(slice(0, 1)).shape[1]
    gram, moment, total = np.zeros((width, width)), np.zeros(width), 0.0
    for rows in blocks(n):
        columns, outcome = design(rows), data.outcome[rows] - center
        weighted = columns * weights[rows, None]
        gram += weighted.T @ columns
        moment += weighted.T @ outcome
        total += float((weights[rows] * outcome) @ outcome)

    def residual(b: Float[np.ndarray, "terms"]) -> float:
        return max(total - 2 * float(b @ moment) + float(b @ gram @ b), 1e-12 * total) / n

    found = smooth(gram, moment, groups, residual=residual, variance=total / n)
    coefficients = found.coefficients.copy()
    coefficients[0] += center
    found = replace(found, coefficients=coefficients)
    assert data.outcome is not None
    outcome = data.outcome
    return with_errors(
        first,
        design,
        found,
        errors=lambda rows: outcome[rows] - design(rows) @ found.coefficients,
        sensitivity=lambda rows: np.ones(len(outcome[rows])),
    )


def response_of(first: IVData, found: Controlled, options: ControlFunction, *, seed: int) -> LinearResponse:
    design, size = found.design, found.design.n_response
    data = design.data
    weights = data.scaled_weights
    mean, spread = np.zeros(design.terms.covariates.size), 0.0
    for rows in blocks(len(data)):
        mean += weights[rows] @ design.terms.covariates(data.covariates[rows])
        spread += float(weights[rows] @ design.confounding(found.smoothed.coefficients, rows) ** 2)
    covariance = found.covariance[:size, :size].copy()
    covariance[0, 0] += spread / len(data) ** 2
    return LinearResponse(
        terms=design.terms,
        coefficients=found.smoothed.coefficients[:size],
        covariance=covariance,
        mean_functions=mean / len(data),
        record=record_of(first, data, method="control_function", options=asdict(options), seed=seed),
    )
