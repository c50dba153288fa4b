"""Linear instrumental-variable estimates: two-stage least squares, of one sample or two, and limited information."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from linearmodels.iv import IV2SLS, IVLIML

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import IVData, record_of, two_samples
from deepmr.nonlinear.linear import LinearResponse
from deepmr.nonlinear.linear_stage import (
    LinearModification,
    LinearProblem,
    Reduced,
    Solved,
    linear_problem,
    predicted,
    reduce_stage,
    solve_two_samples,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoStage:
    """Two-stage least squares: a straight line.

    Attributes
    ----------
    modification : whether the slope is the same for everybody ("none") or linear in the covariates ("linear"), with
        products of instruments and covariates as further instruments.

    Notes
    -----
    y = a + x b + c'g + e, solved with the expectation of x given instruments and covariates in place of x. Errors allow
    for unequal variances, or for clusters; a binary outcome is a linear probability. With two samples the expectation
    is that of the first, evaluated in the second, and the error of its coefficients is in that of the slope:
    var(b) = A^-1 (M + D V D') A^-1 with A = X'X of predicted exposures, M the second sample's sum of squared scores, D
    their derivative by the first stage's coefficients and V the covariance of these, times b. Valid where instruments
    reach the outcome through the exposure alone; where the truth is curved, the slope is a weighted mean of slopes.

    References
    ----------
    Inoue & Solon (2010) doi:10.1162/REST_a_00011; Pacini & Windmeijer (2016) doi:10.1016/j.econlet.2016.06.033.
    """

    modification: LinearModification = "none"

    def fit(self, data: IVData, *, outcome_data: IVData | None = None, seed: int = 0) -> LinearResponse:
        """Fit the line.

        Parameters
        ----------
        data : of the first stage, and of the second where there is one sample.
        outcome_data : of the second stage, where it is another sample.
        seed : of nothing; every method takes one.
        """
        data, second = two_samples(data, outcome_data)
        problem = linear_problem(data, outcome_data, modification=self.modification)
        reduced = reduce_stage(problem)
        if problem.second is problem.first:
            solved = _solve_one_sample(problem, reduced, kappa=None)
        else:
            solved = solve_two_samples(problem, reduced)
        return _response(problem, solved, data, second, "tsls", asdict(self), seed, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Liml:
    """Limited-information maximum likelihood: a straight line, less biased than by two-stage least squares.

    Attributes
    ----------
    fuller : of Fuller's modification, 0 for none; with 1 the estimate is about unbiased and has finite moments.
    modification : as in `TwoStage`.

    Notes
    -----
    The k-class estimate b = (X'(I - k M)X)^-1 X'(I - k M)y, with M what instruments and covariates leave, and k the
    smallest eigenvalue of ([y X]'M[y X])^-1 [y X]'M0[y X], M0 what covariates leave, minus fuller / (n - columns).
    Errors allow for unequal variances, or for clusters, but not for a number of instruments that is large against n
    (Bekker). Without noise in the outcome k is 1: two-stage least squares.

    References
    ----------
    Fuller (1977) doi:10.2307/1912683; Bekker (1994) doi:10.2307/2951662.
    """

    fuller: float = 0.0
    modification: LinearModification = "none"

    def fit(self, data: IVData, *, outcome_data: IVData | None = None, seed: int = 0) -> LinearResponse:
        """Fit the line.

        Parameters
        ----------
        data : with exposure and outcome.
        outcome_data : not for this method, which needs both of the same samples.
        seed : of nothing; every method takes one.
        """
        checks.at_least("fuller", self.fuller, 0.0)
        one_sample("liml", data, outcome_data)
        data, _ = two_samples(data, None)
        problem = linear_problem(data, None, modification=self.modification)
        reduced = reduce_stage(problem)
        kappa = reduced.kappa - self.fuller / (len(data) - len(reduced.gram_root))
        solved = _solve_one_sample(problem, reduced, kappa=kappa)
        return _response(problem, solved, data, data, "liml", asdict(self), seed, {"kappa": kappa})


def one_sample(method: str, data: IVData, outcome_data: IVData | None) -> None:
    """Raise `InputError` when a method that needs exposure and outcome of the same samples is given two samples.

    Parameters
    ----------
    method : its name.
    data, outcome_data : as given to `fit`.
    """
    if outcome_data is not None and outcome_data is not data:
        raise InputError(f"{method} needs exposure and outcome of the same samples; got a second sample of outcomes")


def _solve_one_sample(problem: LinearProblem, reduced: Reduced, *, kappa: float | None) -> Solved:
    """Solve by linearmodels with the predicted exposure as instrument: the same numbers in little memory.

    A k-class estimate depends on instruments through what they predict of the terms alone.
    """
    sample, whole = problem.first, slice(None)
    parts = (
        sample.outcome,
        problem.included(sample, whole),
        problem.exposed(sample, whole),
        predicted(problem, reduced, sample),
    )
    weights = sample.scaled_weights
    model: Any = IV2SLS(*parts, weights=weights) if kappa is None else IVLIML(*parts, weights=weights, kappa=kappa)
    if sample.clusters is None:
        found = model.fit(cov_type="robust", debiased=True)
    else:
        found = model.fit(cov_type="clustered", debiased=True, clusters=sample.clusters)
    return Solved(coefficients=np.asarray(found.params, dtype=float), covariance=np.asarray(found.cov, dtype=float))


def _response(
    problem: LinearProblem,
    solved: Solved,
    data: IVData,
    second: IVData,
    method: str,
    options: Mapping[str, Any],
    seed: int,
    diagnostics: Mapping[str, float],
) -> LinearResponse:
    functions = problem.terms.covariates(second.covariates)
    return LinearResponse(
        terms=problem.terms,
        coefficients=solved.coefficients,
        covariance=solved.covariance,
        mean_functions=second.scaled_weights @ functions / len(second),
        record=record_of(
            data,
            second,
            method=method,
            options=options,
            seed=seed,
            diagnostics=diagnostics,
            warnings=problem.warnings,
        ),
    )
