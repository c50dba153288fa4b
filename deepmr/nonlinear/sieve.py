"""Sieve two-stage least squares: splines of the exposure, as smooth as the data ask for."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import IVData, record_of, two_samples
from deepmr.nonlinear.basis import FEW, CovariateBasis, SplineBasis, Terms, fit_splines
from deepmr.nonlinear.first_stage import FirstStage, blocks, fit_first_stage
from deepmr.nonlinear.linear import LinearResponse
from deepmr.nonlinear.smoothing import Group, Smoothed, smooth

Modification = Literal["auto", "none", "linear", "full"]
_FULL = 3  # most covariates whose products are taken, where it is not said


@dataclass(frozen=True, slots=True, kw_only=True)
class Sieve:
    """Adaptive sieve two-stage least squares: any smooth response, the default.

    Attributes
    ----------
    n_functions : functions of the exposure, the constant included; how many of them the data can use is learned.
    covariate_functions : the same of every covariate.
    modification : how the effect varies with covariates: not; linearly in the exposure ("linear"); or its curve, too,
        and by pairs of covariates ("full"). "auto" is full up to three covariates and linear beyond.
    n_folds : of the first stage.

    Notes
    -----
    With B(x) the functions and Psi(z) their expectation given instruments, predicted for every sample from the others,
    the coefficients solve Psi'(y - B b) = 0, shrunk towards a straight line: the quadratic part and the rest of the
    curve have a variance each, learned by marginal likelihood (`smoothing`). The covariance is robust (by cluster, where
    there are clusters) and has what shrinkage takes away, expected squared bias, added: intervals hold the curve on
    average over the exposure rather than at every point. Valid where instruments reach the outcome through the exposure
    alone; genetic effects may vary between people. A binary outcome is a probability on its own scale.

    References
    ----------
    Newey & Powell (2003) doi:10.1111/1468-0262.00459; Nychka (1988) doi:10.1080/01621459.1988.10478711;
    Wood & Fasiolo (2017) doi:10.1111/biom.12666; Angrist, Imbens & Krueger (1999)
    doi:10.1002/(SICI)1099-1255(199901/02)14:1<57::AID-JAE501>3.0.CO;2-G.
    """

    n_functions: int = 20
    covariate_functions: int = 20
    modification: Modification = "auto"
    n_folds: int = 5

    def fit(self, data: IVData, *, outcome_data: IVData | None = None, seed: int = 0) -> LinearResponse:
        """Fit the response.

        Parameters
        ----------
        data : of the first stage, and of the second where there is one sample.
        outcome_data : of the second stage, where it is another sample.
        seed : of the folds.
        """
        checks.at_least("n_functions", self.n_functions, 2)
        checks.at_least("n_folds", self.n_folds, 2)
        first, second = two_samples(data, outcome_data)
        assert first.exposure is not None
        functions = fit_splines(first.exposure, n_functions=self.n_functions, weights=first.weights)
        covariates = covariate_basis(
            second,
            n_functions=self.covariate_functions,
            products=modifies_fully(self.modification, len(data.covariate_names)),
        )
        pairs, groups = choose_terms(functions, covariates, self.modification, len(data.covariate_names))
        terms = Terms(exposure=functions, covariates=covariates, pairs=pairs)
        stage = fit_first_stage(
            first, second, functions=functions, covariates=covariates, seed=seed, n_folds=self.n_folds
        )
        solved = solve_sieve(first, second, terms=terms, groups=groups, stage=stage)
        weights = second.scaled_weights
        mean = np.zeros(covariates.size)
        for rows in blocks(len(second)):
            mean += weights[rows] @ covariates(second.covariates[rows])
        return LinearResponse(
            terms=terms,
            coefficients=solved.smoothed.coefficients,
            covariance=solved.covariance,
            mean_functions=mean / weights.sum(),
            record=record_of(
                first,
                second,
                method="sieve",
                options=asdict(self),
                seed=seed,
                diagnostics={
                    "effective_dimension": float(solved.smoothed.effective[: len(groups)].sum()),
                    "residual_sd": float(np.sqrt(solved.smoothed.variance)),
                },
            ),
        )


def modifies_fully(modification: Modification, n_covariates: int) -> bool:
    """Say whether the curve itself varies with covariates, and by pairs of them.

    Parameters
    ----------
    modification : as in `Sieve`.
    n_covariates : decides what "auto" means.
    """
    return modification == "full" or (modification == "auto" and n_covariates <= _FULL)


def covariate_basis(data: IVData, *, n_functions: int, products: bool) -> CovariateBasis:
    """Choose functions of the covariates: splines of each, and products of those of two where asked for.

    Parameters
    ----------
    data : the sample.
    n_functions : most functions of a covariate, the constant included.
    products : whether to multiply the functions of one with the linear one of the other.
    """
    splines = []
    for name, column in zip(data.covariate_names, data.covariates.T, strict=True):
        if np.ptp(column) == 0:
            raise InputError(f"covariate {name} must vary; all {len(column)} samples have {column[0]:g}")
        few = len(np.unique(column)) <= FEW
        splines.append(fit_splines(column, n_functions=n_functions, order=2, weights=None if few else data.weights))
    starts = np.cumsum([1, *(one.size - 1 for one in splines)])
    found = []
    if products:
        for a, b in combinations(range(len(splines)), 2):
            found += [(k, starts[b]) for k in range(starts[a], starts[a + 1])]
            found += [(starts[a], k) for k in range(starts[b] + 1, starts[b + 1])]
    return CovariateBasis(splines=tuple(splines), products=np.array(found, dtype=int).reshape(-1, 2))


def choose_terms(
    functions: SplineBasis, covariates: CovariateBasis, modification: Modification, n_covariates: int
) -> tuple[Int[np.ndarray, "terms two"], list[Group]]:
    """Choose which functions of exposure and covariates are multiplied, and which coefficients shrink together.

    Parameters
    ----------
    functions, covariates : of which there are products.
    modification : as in `Sieve`.
    n_covariates : decides what "auto" means.
    """
    full = modifies_fully(modification, n_covariates)
    parts: list[tuple[int, int]] = [(k, 0) for k in range(functions.size)]
    groups = []
    smooth_part = functions.size - int((functions.roughness > 0).sum())
    if smooth_part > 2:
        groups.append(Group(columns=np.arange(2, smooth_part), weights=np.ones(smooth_part - 2)))
    if smooth_part < functions.size:
        rough = functions.roughness[smooth_part:]
        groups.append(Group(columns=np.arange(smooth_part, functions.size), weights=rough / rough[0]))
    for columns, weights in _covariate_groups(covariates):
        powers = [0] if modification == "none" else [0, 1, 2] if full and functions.size > 2 else [0, 1]
        for power in powers:
            start = len(parts)
            parts += [(power, int(c)) for c in columns]
            if power > 0 or len(columns) > 1 or weights[0] != 0:
                groups += _shrunk(start, weights, power)
    return np.array(parts, dtype=int), groups


def _covariate_groups(
    covariates: CovariateBasis,
) -> list[tuple[Int[np.ndarray, "columns"], Float[np.ndarray, "columns"]]]:
    """Return columns that belong together, with weights: 0 for the linear function of a covariate, else its roughness."""
    found = []
    start = 1
    roughness = [np.zeros(1)]
    for one in covariates.splines:
        size = one.size - 1
        rough = one.roughness[1:]
        found.append((np.arange(start, start + size), _relative(rough)))
        roughness.append(rough)
        start += size
    every = np.concatenate(roughness)
    if len(covariates.products):
        a, b = covariates.products.T
        rough = every[a] + every[b]
        found.append((np.arange(start, start + len(a)), np.where(rough > 0, _relative(rough), 0.0)))
    return found


def _relative(roughness: Float[np.ndarray, "columns"]) -> Float[np.ndarray, "columns"]:
    positive = roughness[roughness > 0]
    return roughness / positive.min() if len(positive) else roughness


def _shrunk(start: int, weights: Float[np.ndarray, "columns"], power: int) -> list[Group]:
    """Group the columns of a product: straight parts, which shrink only where they modify the effect, and curved ones."""
    columns = start + np.arange(len(weights))
    straight = weights == 0
    groups = []
    if power > 0 and straight.any():
        groups.append(Group(columns=columns[straight], weights=np.ones(int(straight.sum()))))
    if (~straight).any():
        groups.append(Group(columns=columns[~straight], weights=weights[~straight]))
    return groups


@dataclass(frozen=True, slots=True, kw_only=True)
class SolvedSieve:
    """Coefficients of a sieve and their errors.

    Attributes
    ----------
    smoothed : the coefficients.
    covariance : robust, with the expected squared bias of smoothing.
    """

    smoothed: Smoothed
    covariance: Float[np.ndarray, "terms terms"]


def solve_sieve(
    first: IVData, second: IVData, *, terms: Terms, groups: Sequence[Group], stage: FirstStage
) -> SolvedSieve:
    """Solve the second stage.

    Parameters
    ----------
    first, second : samples of the two stages, the same where there is one sample.
    terms : columns of the response.
    groups : of its coefficients.
    stage : the first stage.
    """
    assert first.exposure is not None
    assert second.outcome is not None
    weights, n = first.scaled_weights, len(first)
    design = _Design(first.exposure, first.covariates, stage.fitted, terms)
    cross, squares, own = (np.zeros((len(terms.pairs),) * 2) for _ in range(3))
    for rows in blocks(n):
        seen, expected = design.seen(rows), design.expected(rows)
        weighted = expected * weights[rows, None]
        cross += weighted.T @ seen
        squares += weighted.T @ expected
        own += (seen * weights[rows, None]).T @ seen
    project = np.linalg.lstsq(squares, cross, rcond=1e-10)[0]  # of the terms on their expectations
    if second is first:
        gram = cross.T @ project
        gram = (gram + gram.T) / 2
        moment, total = np.zeros(len(gram)), 0.0
        crossed = np.zeros(len(gram))
        for rows in blocks(n):
            outcome = second.outcome[rows] * weights[rows]
            moment += project.T @ (design.expected(rows).T @ outcome)
            crossed += design.seen(rows).T @ outcome
            total += float(outcome @ second.outcome[rows])

        def residual(b: Float[np.ndarray, "terms"]) -> float:
            return max(total - 2 * float(b @ crossed) + float(b @ own @ b), 1e-12 * total) / n

        start = float(np.average((second.outcome - np.average(second.outcome, weights=weights)) ** 2, weights=weights))
        found = smooth(gram, moment, groups, residual=residual, variance=start)

        def errors(rows: slice) -> Float[np.ndarray, "_"]:
            assert second.outcome is not None
            return second.outcome[rows] - design.seen(rows) @ found.coefficients

        meat = _meat(design, project, errors, weights, first.clusters)
    else:
        raise NotImplementedError
    inner = found.inverse / found.variance
    covariance = inner @ meat @ inner + found.inverse @ (found.penalty[:, None] * found.inverse)
    return SolvedSieve(smoothed=found, covariance=covariance)


@dataclass(frozen=True, slots=True)
class _Design:
    exposure: Float[np.ndarray, "samples"]
    covariates: Float[np.ndarray, "samples covariates"]
    fitted: Float[np.ndarray, "samples functions"]
    terms: Terms

    def seen(self, rows: slice) -> Float[np.ndarray, "_ terms"]:
        return self.terms(self.exposure[rows], self.covariates[rows])

    def expected(self, rows: slice) -> Float[np.ndarray, "_ terms"]:
        fitted = self.fitted[rows].copy()
        fitted[:, 0] = 1.0
        return self.terms.combine(fitted, self.terms.covariates(self.covariates[rows]))


def _meat(design, project, errors, weights, clusters):
    size = len(project)
    if clusters is None:
        meat = np.zeros((size, size))
        for rows in blocks(len(weights)):
            scores = (design.expected(rows) @ project) * (errors(rows) * weights[rows])[:, None]
            meat += scores.T @ scores
        return meat
    sums = np.zeros((int(clusters.max()) + 1, size))
    for rows in blocks(len(weights)):
        scores = (design.expected(rows) @ project) * (errors(rows) * weights[rows])[:, None]
        np.add.at(sums, clusters[rows], scores)
    count = len(np.unique(clusters))
    return sums.T @ sums * count / max(count - 1, 1)
