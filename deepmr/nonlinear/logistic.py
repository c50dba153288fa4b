"""The logistic control function: a binary outcome on the logit scale, probabilities averaged over what confounds it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from deepmr.errors import InputError
from deepmr.individual import IVData, record_of, two_samples
from deepmr.nonlinear.control_function import check_first_stage
from deepmr.nonlinear.controlled import Controlled, ControlledDesign, Setting, set_up, with_errors
from deepmr.nonlinear.first_stage import blocks
from deepmr.nonlinear.logistic_response import LogisticResponse
from deepmr.nonlinear.residuals import Control
from deepmr.nonlinear.sieve import Modification
from deepmr.nonlinear.smoothing import Group, Smoothed, smooth

_STEPS = 60
_SETTLED = 15  # steps after which smoothness is kept as it is, so that the rest must converge
_SAME = 1e-6  # change of the logit that ends the search
_MOST = 300.0  # logit that only an outcome leads to that the exposure tells exactly
_KEPT = 20_000  # samples, at most, that probabilities are averaged over


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticControlFunction:
    """Logistic control function: probabilities of a binary outcome under an intervention.

    Attributes
    ----------
    n_functions, covariate_functions, modification, control, gate_pvalue, n_folds : as in `ControlFunction`.

    Notes
    -----
    logit P(outcome = 1 | exposure x, instruments, covariates c) = h(x, c) + g(v), with v as in `ControlFunction`; both
    functions are penalised, their smoothness chosen by marginal likelihood (iterated weighted least squares, each round
    as in `smoothing`). The answer is the average structural function, the mean of expit(h(x, c_i) + g(v_i)) over the
    sample, which is P(outcome = 1 | do(x)): not expit(h(x)), as logits of a mean are no mean of logits. Intervals are
    by the delta method with a sandwich covariance of both stages, and are symmetric on the logit scale for
    probabilities. Beyond 20,000 samples the mean is over as many, evenly spread over the order of g(v). Valid under the
    assumption of `ControlFunction`, and where confounding adds to the logit as a function of v: what is left of the
    confounder given v makes the logit curve flatter, which h and g take up but for its change of shape.

    References
    ----------
    Blundell & Powell (2004) doi:10.1111/j.1467-937X.2004.00299.x; Terza, Basu & Rathouz (2008)
    doi:10.1016/j.jhealeco.2007.09.009; Wood (2011) doi:10.1111/j.1467-9868.2010.00749.x.
    """

    n_functions: int = 20
    covariate_functions: int | None = None
    modification: Modification = "auto"
    control: Control = "rank"
    gate_pvalue: float = 0.05
    n_folds: int = 5

    def fit(self, data: IVData, *, outcome_data: IVData | None = None, seed: int = 0) -> LogisticResponse:
        """Fit the response.

        Parameters
        ----------
        data : of the first stage, and of the second where there is one sample.
        outcome_data : of the second stage, where it is another sample; it needs the exposure, too.
        seed : of the folds.

        Raises
        ------
        InputError
            When the outcome is not binary, or the exposure and covariates tell it exactly.
        """
        first, second = two_samples(data, outcome_data)
        if second.outcome_type != "binary":
            raise InputError(
                f"logistic_control_function needs a binary outcome, of 0 and 1; {second.outcome_name} is "
                f"{second.outcome_type}: control_function takes it"
            )
        setting = set_up(
            first,
            second,
            n_functions=self.n_functions,
            covariate_functions=self.covariate_functions,
            modification=self.modification,
            control=self.control,
            n_folds=self.n_folds,
            seed=seed,
        )
        found = fit_logistic(first, setting.design, setting.groups)
        return self._response(first, setting, found, seed)

    def _response(self, first: IVData, setting: Setting, found: Controlled, seed: int) -> LogisticResponse:
        design, data = setting.design, setting.design.data
        numbers, warnings = check_first_stage(first, found, gate_pvalue=self.gate_pvalue)
        shared, counts = len(setting.response_groups), found.smoothed.effective
        kept = _spread_sample(design, found)
        weights = data.scaled_weights[kept]
        control = np.empty((len(kept), 0))
        if design.splines is not None:
            control = design.splines(design.residuals.control[kept])[:, 1:]
        return LogisticResponse(
            terms=design.terms,
            coefficients=found.smoothed.coefficients,
            covariance=found.covariance,
            covariates=data.covariates[kept],
            control=control,
            weights=weights / weights.sum(),
            n=len(data),
            record=record_of(
                first,
                data,
                method="logistic_control_function",
                options=asdict(self),
                seed=seed,
                diagnostics={
                    **numbers,
                    "effective_dimension": float(counts[:shared].sum()),
                    "effective_dimension_control": float(counts[shared:].sum()),
                },
                warnings=warnings,
            ),
        )


def _spread_sample(design: ControlledDesign, found: Controlled) -> np.ndarray:
    """Return all samples, or so many that are spread evenly over the order of their confounding."""
    n = len(design.data)
    if n <= _KEPT:
        return np.arange(n)
    values = np.concatenate([design.confounding(found.smoothed.coefficients, rows) for rows in blocks(n)])
    return np.argsort(values, kind="stable")[np.linspace(0, n - 1, _KEPT).round().astype(int)]


def fit_logistic(first: IVData, design: ControlledDesign, groups: Sequence[Group]) -> Controlled:
    """Regress a binary outcome on the columns of a design, on the logit scale.

    Parameters
    ----------
    first : samples of the first stage.
    design : of those of the second.
    groups : coefficients that shrink together.
    """
    data = design.data
    assert data.outcome is not None
    outcome, weights, n = data.outcome, data.scaled_weights, len(data)
    share = float(np.average(outcome, weights=weights))
    logits = np.full(n, np.log(share / (1 - share)))
    found: Smoothed | None = None
    change = np.inf
    for step in range(_STEPS):
        keep = found.precisions if found is not None and step >= _SETTLED else None
        found = _step(design, groups, outcome, weights, logits, keep)
        moved = np.concatenate([design(rows) @ found.coefficients for rows in blocks(n)])
        change, logits = float(np.abs(moved - logits).max()), moved
        if change < _SAME or np.abs(logits).max() > _MOST:
            break
    if change >= _SAME:
        raise InputError(
            f"the exposure and covariates tell {data.outcome_name} exactly at some of their values, where its logit "
            f"has no end ({np.abs(logits).max():.0f} is reached); control_function takes it"
        )
    assert found is not None
    probability = expit(logits)
    return with_errors(
        first,
        design,
        found,
        errors=lambda rows: outcome[rows] - probability[rows],
        sensitivity=lambda rows: probability[rows] * (1 - probability[rows]),
    )


def _step(
    design: ControlledDesign,
    groups: Sequence[Group],
    outcome: Float[np.ndarray, "samples"],
    weights: Float[np.ndarray, "samples"],
    logits: Float[np.ndarray, "samples"],
    precisions: Float[np.ndarray, "groups"] | None,
) -> Smoothed:
    """Solve one round of weighted least squares about the present logits."""
    width = design(slice(0, 1)).shape[1]
    gram, moment = np.zeros((width, width)), np.zeros(width)
    for rows in blocks(len(outcome)):
        columns, probability = design(rows), expit(logits[rows])
        slope = probability * (1 - probability)
        gram += (columns * (weights[rows] * slope)[:, None]).T @ columns
        moment += columns.T @ (weights[rows] * (slope * logits[rows] + outcome[rows] - probability))
    return smooth(gram, moment, groups, residual=lambda coefficients: 1.0, variance=1.0, precisions=precisions)
