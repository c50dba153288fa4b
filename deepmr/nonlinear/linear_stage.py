"""The equations of linear two-stage estimates: terms, instruments, and their triangular form, which is small."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import eigh, solve_triangular

from deepmr.errors import InputError
from deepmr.individual import IVData, two_samples
from deepmr.nonlinear.basis import CovariateBasis, Terms, fit_splines
from deepmr.nonlinear.first_stage import blocks
from deepmr.nonlinear.independent import dropped_sentence, independent_columns, independent_instruments, triangular
from deepmr.nonlinear.strength import instrument_strength, score_covariance, strength_warnings

LinearModification = Literal["none", "linear"]
_EXACT = 1e-12  # share of a variable that is left where nothing but rounding is


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearProblem:
    """Samples of two stages, and the columns of the equations.

    Attributes
    ----------
    first, second : samples with independent instruments; one object where there is one sample.
    terms : of the response: those of covariates alone, then those with the exposure.
    n_included : how many the former are.
    pairs : instrument and function of the covariates whose product is an instrument, a row each.
    center, spread : of the instruments.
    warnings : what was left out, and whether the instruments are weak.
    """

    first: IVData
    second: IVData
    terms: Terms
    n_included: int
    pairs: Int[np.ndarray, "columns two"]
    center: Float[np.ndarray, "instruments"]
    spread: Float[np.ndarray, "instruments"]
    warnings: tuple[str, ...]

    def included(self, sample: IVData, rows: slice) -> Float[np.ndarray, "_ included"]:
        """Return the terms without the exposure."""
        return self.terms.covariates(sample.covariates[rows])[:, self.terms.pairs[: self.n_included, 1]]

    def exposed(self, sample: IVData, rows: slice) -> Float[np.ndarray, "_ exposed"]:
        """Return the terms with the exposure."""
        assert sample.exposure is not None
        both = self.terms(sample.exposure[rows], sample.covariates[rows])
        return both[:, self.n_included :]

    def stage(self, sample: IVData, rows: slice) -> Float[np.ndarray, "_ _"]:
        """Return what the first stage regresses on: included terms and instruments."""
        z = (sample.instruments[rows] - self.center) / self.spread
        covariates = self.terms.covariates(sample.covariates[rows])
        return np.hstack([self.included(sample, rows), z[:, self.pairs[:, 0]] * covariates[:, self.pairs[:, 1]]])


def linear_problem(data: IVData, outcome_data: IVData | None, *, modification: LinearModification) -> LinearProblem:
    """Lay out the equations, without columns that others predict.

    Parameters
    ----------
    data : of the first stage.
    outcome_data : of the second, where it is another sample.
    modification : whether the slope varies with covariates.
    """
    data, second = two_samples(data, outcome_data)
    chosen = independent_instruments(data, None if second is data else second)
    data, second = chosen.data, chosen.outcome_data
    assert data.exposure is not None
    basis, functions, left_out = linear_covariates(data, second)
    modifying = functions if modification == "linear" else functions[:1]
    included = [(0, c) for c in functions]
    terms = Terms(
        exposure=fit_splines(data.exposure, n_functions=2, weights=data.weights),
        covariates=basis,
        pairs=np.array([*included, *((1, c) for c in modifying)], dtype=int),
    )
    spread = data.instruments.std(axis=0)
    problem = LinearProblem(
        first=data,
        second=second,
        terms=terms,
        n_included=len(included),
        pairs=np.array([(j, c) for c in modifying for j in range(len(spread))], dtype=int),
        center=data.instruments.mean(axis=0),
        spread=spread,
        warnings=(*chosen.warnings, *left_out, *strength_warnings(instrument_strength(data))),
    )
    return problem if modification == "none" else _independent(problem)


def linear_covariates(data: IVData, second: IVData) -> tuple[CovariateBasis, Int[np.ndarray, "used"], tuple[str, ...]]:
    """Return the line of each covariate, which of them to use (0 is the constant), and a sentence on those left out.

    Parameters
    ----------
    data, second : samples of the two stages, the same where there is one sample.
    """
    for name, column in zip(data.covariate_names, data.covariates.T, strict=True):
        if np.ptp(column) == 0:
            raise InputError(f"covariate {name} must vary; all {len(column)} samples have {column[0]:g}")
    splines = tuple(fit_splines(column, n_functions=2, weights=data.weights) for column in data.covariates.T)
    used = independent_columns(data.covariates, weights=data.weights)
    if second is not data:
        used[used] = independent_columns(second.covariates[:, used], weights=second.weights)
    unused = [name for name, keep in zip(data.covariate_names, used, strict=True) if not keep]
    return (
        CovariateBasis(splines=splines, products=np.empty((0, 2), dtype=int)),
        np.concatenate([[0], 1 + np.flatnonzero(used)]),
        (dropped_sentence("covariate", [], unused),) if unused else (),
    )


def _independent(problem: LinearProblem) -> LinearProblem:
    """Return the problem without products of instruments and covariates that others predict."""
    n = problem.n_included
    kept = np.ones(len(problem.pairs), dtype=bool)
    for sample in (problem.first, problem.second):
        every = problem.stage(sample, slice(None))
        kept[kept] = independent_columns(every[:, n:][:, kept], given=every[:, 1:n], weights=sample.weights)
    if kept.sum() < len(problem.terms.pairs) - n:
        raise InputError(
            f"an effect that varies with {n - 1} covariates needs {n} instruments or products of them; "
            f"{kept.sum()} are independent"
        )
    return LinearProblem(
        first=problem.first,
        second=problem.second,
        terms=problem.terms,
        n_included=n,
        pairs=problem.pairs[kept],
        center=problem.center,
        spread=problem.spread,
        warnings=problem.warnings,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """The first stage, and what it leaves.

    Attributes
    ----------
    coefficients : of included terms and instruments, for each term with the exposure.
    gram_root : R of the QR decomposition of what the first stage regresses on.
    kappa : of limited-information maximum likelihood; 1 where nothing but rounding is left of the outcome, or where
        there is no outcome.
    """

    coefficients: Float[np.ndarray, "columns exposed"]
    gram_root: Float[np.ndarray, "columns columns"]
    kappa: float


def reduce_stage(problem: LinearProblem) -> Reduced:
    """Solve the first stage.

    Parameters
    ----------
    problem : the equations.
    """
    sample, n = problem.first, problem.n_included
    root = np.sqrt(sample.scaled_weights)

    def columns(rows: slice) -> Float[np.ndarray, "_ columns"]:
        outcome = [] if sample.outcome is None else [sample.outcome[rows, None]]
        return np.hstack([problem.stage(sample, rows), problem.exposed(sample, rows), *outcome]) * root[rows, None]

    r = triangular(columns, len(sample))
    m, q = n + len(problem.pairs), len(problem.terms.pairs) - n
    return Reduced(
        coefficients=solve_triangular(r[:m, :m], r[:m, m : m + q]),
        gram_root=r[:m, :m],
        kappa=1.0 if sample.outcome is None else _smallest_ratio(r[n:, m:], r[m:, m:]),
    )


def _smallest_ratio(total: Float[np.ndarray, "rows variables"], left: Float[np.ndarray, "others variables"]) -> float:
    """Return the least ratio of the variance that included terms leave to that which instruments leave, too."""
    scale = np.linalg.norm(total, axis=0)
    if not (scale > 0).all():
        return 1.0
    smallest = np.linalg.svd(left / scale, compute_uv=False)[-1]
    if smallest < _EXACT**0.5:
        return 1.0
    a, b = total / scale, left / scale
    return float(eigh(a.T @ a, b.T @ b, eigvals_only=True)[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """Coefficients of the terms and their covariance."""

    coefficients: Float[np.ndarray, "terms"]
    covariance: Float[np.ndarray, "terms terms"]


def predicted(problem: LinearProblem, reduced: Reduced, sample: IVData) -> Float[np.ndarray, "samples exposed"]:
    """Return the expectation of the terms with the exposure, given instruments and covariates.

    Parameters
    ----------
    problem, reduced : the equations and their first stage.
    sample : of either stage.
    """
    found = np.empty((len(sample), reduced.coefficients.shape[1]))
    for rows in blocks(len(sample)):
        found[rows] = problem.stage(sample, rows) @ reduced.coefficients
    return found


def solve_two_samples(problem: LinearProblem, reduced: Reduced) -> Solved:
    """Solve the second stage in another sample than the first.

    Parameters
    ----------
    problem, reduced : the equations and their first stage.

    Notes
    -----
    See `tsls.TwoStage`.
    """
    first, second, n = problem.first, problem.second, problem.n_included
    assert second.outcome is not None
    whole = slice(None)
    weights = second.scaled_weights
    design = np.hstack([problem.included(second, whole), predicted(problem, reduced, second)])
    root = np.sqrt(weights)[:, None]
    q, r = np.linalg.qr(design * root)
    b = solve_triangular(r, q.T @ (second.outcome * root[:, 0]))
    inverse = solve_triangular(r, np.eye(len(b)))
    inverse = inverse @ inverse.T
    scores = design * ((second.outcome - design @ b) * weights)[:, None]
    meat = score_covariance(scores, second.clusters) * len(second) / max(len(second) - len(b), 1)
    stage = problem.stage(second, whole)
    derivative = (design * weights[:, None]).T @ stage
    left = (problem.exposed(first, whole) - predicted(problem, reduced, first)) @ b[n:] * first.scaled_weights
    of_first = problem.stage(first, whole)
    root_inverse = solve_triangular(reduced.gram_root, np.eye(of_first.shape[1]))
    bread = root_inverse @ root_inverse.T
    uncertain = bread @ score_covariance(of_first * left[:, None], first.clusters) @ bread
    uncertain *= len(first) / max(len(first) - of_first.shape[1], 1)
    return Solved(coefficients=b, covariance=inverse @ (meat + derivative @ uncertain @ derivative.T) @ inverse)
