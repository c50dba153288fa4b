"""Sieve two-stage least squares: splines of the exposure, as smooth as the data ask for."""

from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import IVData, record_of, two_samples
from deepmr.nonlinear.basis import CovariateBasis, SplineBasis, Terms, fit_splines
from deepmr.nonlinear.first_stage import blocks, fit_first_stage
from deepmr.nonlinear.linear import LinearResponse
from deepmr.nonlinear.second_stage import solve_second_stage
from deepmr.nonlinear.smoothing import Group

Modification = Literal["auto", "none", "linear", "full"]
_RICH, _PLAIN = 30, 12  # most functions of each of one or two covariates, and of each of more
_FEW = 2
_TOTAL = 100  # most functions of many covariates together: the cost grows with the cube of their number
_FULL = 3  # most covariates whose products are taken, where it is not said


@dataclass(frozen=True, slots=True, kw_only=True)
class Sieve:
    """Adaptive sieve two-stage least squares: any smooth response.

    Attributes
    ----------
    n_functions : functions of the exposure, the constant included; how many of them the data can use is learned.
    covariate_functions : the same of every covariate; by default 30 for each of up to two, and at most 12 for each
        of more, about 100 together.
    modification : how the effect varies with covariates: not; linearly in the exposure ("linear"); or its curve, too,
        and by pairs of covariates ("full"). "auto" is full up to three covariates and linear beyond.
    n_folds : of the first stage.

    Notes
    -----
    With B(x) the functions and Psi(z) their expectation given instruments, predicted for every sample from the others,
    the coefficients solve Psi'(y - B b) = 0, shrunk towards a straight line: the quadratic part and the rest of the
    curve have a variance each. Fits are averaged over these variances by their marginal likelihood (`averaging`), so
    that what the data leave open about the curve is in the intervals, which are robust (by cluster, where there are
    clusters) and hold the curve on average over the exposure rather than at every point. Valid where instruments reach
    the outcome through the exposure alone; genetic effects may vary between people. A binary outcome is a probability
    on its own scale.

    References
    ----------
    Newey & Powell (2003) doi:10.1111/1468-0262.00459; Nychka (1988) doi:10.1080/01621459.1988.10478711;
    Wood & Fasiolo (2017) doi:10.1111/biom.12666; Angrist, Imbens & Krueger (1999)
    doi:10.1002/(SICI)1099-1255(199901/02)14:1<57::AID-JAE501>3.0.CO;2-G.
    """

    n_functions: int = 20
    covariate_functions: int | None = None
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
        n_covariates = len(data.covariate_names)
        covariates = covariate_basis(
            second, n_functions=self.covariate_functions, products=modifies_fully(self.modification, n_covariates)
        )
        pairs, groups = choose_terms(functions, covariates, self.modification, n_covariates)
        terms = Terms(exposure=functions, covariates=covariates, pairs=pairs)
        stage = fit_first_stage(
            first, second, functions=functions, covariates=covariates, seed=seed, n_folds=self.n_folds
        )
        solved = solve_second_stage(first, second, terms=terms, groups=groups, stage=stage)
        weights = second.scaled_weights
        mean = np.zeros(covariates.size)
        for rows in blocks(len(second)):
            mean += weights[rows] @ covariates(second.covariates[rows])
        return LinearResponse(
            terms=terms,
            coefficients=solved.coefficients,
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


def functions_each(n_covariates: int) -> int:
    """Return how many functions of every covariate are enough, and not too many for all of them together.

    Parameters
    ----------
    n_covariates : how many covariates there are.
    """
    return _RICH if n_covariates <= _FEW else max(2, min(_PLAIN, _TOTAL // n_covariates))


def modifies_fully(modification: Modification, n_covariates: int) -> bool:
    """Say whether the curve itself varies with covariates, and by pairs of them.

    Parameters
    ----------
    modification : as in `Sieve`.
    n_covariates : decides what "auto" means.
    """
    return modification == "full" or (modification == "auto" and n_covariates <= _FULL)


def covariate_basis(data: IVData, *, n_functions: int | None, products: bool) -> CovariateBasis:
    """Choose functions of the covariates: splines of each, and products of those of two where asked for.

    Parameters
    ----------
    data : the sample.
    n_functions : most functions of a covariate, the constant included, or None for as many as `Sieve` has by default.
    products : whether to multiply the functions of one with the linear one of the other.
    """
    splines = []
    most = functions_each(len(data.covariate_names)) if n_functions is None else n_functions
    checks.at_least("covariate_functions", most, 2)
    for name, column in zip(data.covariate_names, data.covariates.T, strict=True):
        if np.ptp(column) == 0:
            raise InputError(f"covariate {name} must vary; all {len(column)} samples have {column[0]:g}")
        splines.append(fit_splines(column, n_functions=most, order=2, weights=data.weights))
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
    """Return columns that belong together, with weights: 0 for linear functions of a covariate, else the roughness."""
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
    """Group the columns of a product: straight ones, which shrink only if they modify the effect, and curved ones."""
    columns = start + np.arange(len(weights))
    straight = weights == 0
    groups = []
    if power > 0 and straight.any():
        groups.append(Group(columns=columns[straight], weights=np.ones(int(straight.sum()))))
    if (~straight).any():
        groups.append(Group(columns=columns[~straight], weights=weights[~straight]))
    return groups
