"""Kernel instrumental-variable regression and maximum moment restriction, on Nystroem columns and in closed form."""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import IVData, record_of, two_samples
from deepmr.nonlinear.first_stage import blocks
from deepmr.nonlinear.kernel_moments import PairedMoments, choose_penalty, kernel_columns, paired_moments
from deepmr.nonlinear.kernel_prior import smooth_reduced
from deepmr.nonlinear.kernel_response import KernelResponse
from deepmr.nonlinear.kernel_sample import outcome_level
from deepmr.nonlinear.kernel_solver import Moments, scatter, symmetric_inverse
from deepmr.nonlinear.kernel_tuning import KernelOptions, Prepared, prepare

_PROJECTION = 1e-3  # share that is added to the variance of expected columns before others are projected on them


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelIV:
    """Kernel instrumental-variable regression: a smooth response of exposure and covariates, interactions included.

    Attributes
    ----------
    n_landmarks : of the Nystroem approximation, and most columns of each stage.
    n_tuning : samples that bandwidths are chosen on; four times as many without covariates.
    n_tries : most bandwidths that are looked at in each stage.
    n_folds : of the first stage.
    bandwidth : of the second stage's kernels, in median distances; None for chosen by the data.
    penalty : of the second stage, per sample, of a coefficient with prior variance 1; None for learned from the data.

    Notes
    -----
    The response is in the span of (1 + x + k(x, .)) (1 + c + k(c, .)) with Gaussian kernels k. Stage 1 predicts the
    functions of the exposure from those of instruments and covariates, every sample from the folds without it, with
    bandwidths by leave-one-out in closed form and a penalty for each function: one for all shrinks those that are hard
    to predict too much. Stage 2 is ridge regression in which 1 and straight lines are not shrunk: the limit of a large
    penalty is two-stage least squares. Its prior variances, one each for curves, for interactions of lines and so on,
    and its bandwidths maximise the marginal likelihood of the reduced form; leave-one-out errors of the reduced form,
    which hardly see what instruments do not, choose curves that are far too rough. Columns are projected on their
    expectations, so that the shrinkage of stage 1 does not carry over. More than three instruments enter as a score.
    The covariance is robust (by cluster, where there are clusters) and has the expected squared bias of shrinkage in
    it. Valid where instruments reach the outcome through the exposure alone; a binary outcome is a probability on its
    own scale.

    References
    ----------
    Singh, Sahani & Gretton (2019) arXiv:1906.00232; Williams & Seeger (2001), Advances in Neural Information Processing
    Systems 13, 682-688; Wood & Fasiolo (2017) doi:10.1111/biom.12666.
    """

    n_landmarks: int = 300
    n_tuning: int = 3000
    n_tries: int = 25
    n_folds: int = 5
    bandwidth: float | None = None
    penalty: float | None = None

    def fit(self, data: IVData, *, outcome_data: IVData | None = None, seed: int = 0) -> KernelResponse:
        """Fit the response.

        Parameters
        ----------
        data : of the first stage, and of the second where there is one sample.
        outcome_data : of the second stage, where it is another sample.
        seed : of folds, landmarks and the samples that bandwidths are chosen on.
        """
        first, second = two_samples(data, outcome_data)
        prepared = prepare(first, second, options=_checked(self), seed=seed)
        shrunk = _shrinkage(prepared, self.penalty)
        solved = _solve_regression(prepared, shrunk)
        return _response("kernel_iv", self, prepared, shrunk, solved, first, second, seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelMMR:
    """Maximum moment restriction: residuals unrelated to every smooth function of instruments and covariates.

    Attributes
    ----------
    n_landmarks, n_tuning, n_tries, n_folds, bandwidth : as in `KernelIV`.
    penalty : of the response, in units of that of `KernelIV`; None for chosen by leave-one-out.

    Notes
    -----
    Minimises the mean of (y_i - h_i) k_ij (y_j - h_j) over pairs of samples, with k the kernel of instruments and
    covariates, plus a penalty on h. Functions of the instruments count by the kernel's eigenvalues, rough ones little;
    no first stage is solved. Columns, bandwidths and the ratios of penalties are those of `KernelIV`, whose first stage
    also judges the size of the penalty: that with the smallest leave-one-out error of the reduced form, in closed form.
    One sample only.

    References
    ----------
    Muandet, Jitkrittum & Kuebler (2020) arXiv:2002.09225; Zhang, Imaizumi, Schoelkopf & Muandet (2023)
    doi:10.1515/jci-2022-0073.
    """

    n_landmarks: int = 300
    n_tuning: int = 3000
    n_tries: int = 25
    n_folds: int = 5
    bandwidth: float | None = None
    penalty: float | None = None

    def fit(self, data: IVData, *, outcome_data: IVData | None = None, seed: int = 0) -> KernelResponse:
        """Fit the response.

        Parameters
        ----------
        data : the sample.
        outcome_data : None; exposure and outcome have to be of the same samples.
        seed : as in `KernelIV`.
        """
        first, second = two_samples(data, outcome_data)
        if second is not first:
            raise InputError("kernel_mmr needs exposure and outcome of the same samples; got two samples")
        prepared = prepare(first, second, options=_checked(self), seed=seed)
        shrunk = _shrinkage(prepared, None)
        paired = paired_moments(prepared)
        ridge = shrunk.ridge * float(np.median(np.diagonal(paired.gram) / np.diagonal(shrunk.moments.squares)))
        if self.penalty is None:
            ridge = choose_penalty(prepared, paired, ridge, n_tuning=self.n_tuning)
        else:
            ridge = self.penalty * ridge
        solved = _solve_paired(prepared, paired, ridge, shrunk.precision)
        return _response("kernel_mmr", self, prepared, shrunk, solved, first, second, seed)


def _checked(method: KernelIV | KernelMMR) -> KernelOptions:
    checks.at_least("n_landmarks", method.n_landmarks, 20)
    checks.at_least("n_tuning", method.n_tuning, 100)
    checks.at_least("n_tries", method.n_tries, 1)
    checks.at_least("n_folds", method.n_folds, 2)
    for name, value in (("bandwidth", method.bandwidth), ("penalty", method.penalty)):
        if value is not None and not value > 0:
            raise InputError(f"{name} must be positive; got {value:g}")
    return KernelOptions(
        n_landmarks=method.n_landmarks,
        n_tuning=method.n_tuning,
        n_tries=method.n_tries,
        n_folds=method.n_folds,
        bandwidth=method.bandwidth,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shrinkage:
    """Penalties of the second stage: `ridge` in the unit of the moments, prior `precision` of the coefficients."""

    moments: Moments
    ridge: Float[np.ndarray, "terms"]
    precision: Float[np.ndarray, "terms"]
    effective: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Solved:
    coefficients: Float[np.ndarray, "terms"]
    covariance: Float[np.ndarray, "terms terms"]
    residual_variance: float


def _shrinkage(prepared: Prepared, penalty: float | None) -> _Shrinkage:
    terms = prepared.terms
    moments = prepared.moments()
    if penalty is None:
        found = smooth_reduced(moments, terms)
        ridge, variance = found.variance * found.penalty, found.variance
    else:
        ridge = np.where(terms.straight, 0.0, penalty * moments.n / terms.variances)
        variance = moments.reduced_variance(symmetric_inverse(moments.squares + np.diag(ridge)) @ moments.outcome)
    used = np.einsum("ij,ji->i", symmetric_inverse(moments.squares + np.diag(ridge)), moments.squares)
    effective = float(used[~terms.straight].sum())
    return _Shrinkage(moments=moments, ridge=ridge, precision=ridge / variance, effective=effective)


def _solve_regression(prepared: Prepared, shrunk: _Shrinkage) -> _Solved:
    moments, size = shrunk.moments, len(shrunk.ridge)
    project, gram, right = np.eye(size), moments.squares, moments.outcome
    if prepared.other is None:
        enlarged = moments.squares + _PROJECTION * np.diag(np.diagonal(moments.squares))
        project = np.linalg.solve(enlarged, moments.cross)
        gram = moments.cross.T @ project
        gram, right = (gram + gram.T) / 2, project.T @ moments.outcome
    inverse = symmetric_inverse(gram + np.diag(shrunk.ridge))
    coefficients = inverse @ right

    def scores(rows: slice) -> tuple[np.ndarray, np.ndarray]:
        part = prepared.equations(rows)
        return part.instruments @ project, part.outcome - part.columns @ coefficients

    second = prepared.second
    found = scatter(scores, second.weights, n_terms=size, clusters=second.clusters)
    meat = found.meat if prepared.other is None else found.meat + _stage_meat(prepared, coefficients)
    return _Solved(
        coefficients=coefficients,
        covariance=inverse @ meat @ inverse + _bias(inverse, shrunk.ridge, shrunk.precision),
        residual_variance=found.variance,
    )


def _stage_meat(prepared: Prepared, coefficients: Float[np.ndarray, "terms"]) -> Float[np.ndarray, "terms terms"]:
    """Return what the error of the first stage adds where it was fitted on other samples."""
    first = prepared.first

    def scores(rows: slice) -> tuple[np.ndarray, np.ndarray]:
        part = prepared.of_first(rows)
        return part.instruments, (part.columns - part.instruments) @ coefficients

    ratio = len(prepared.second) / len(first)
    return ratio**2 * scatter(scores, first.weights, n_terms=len(coefficients), clusters=first.clusters).meat


def _solve_paired(
    prepared: Prepared,
    paired: PairedMoments,
    ridge: Float[np.ndarray, "terms"],
    precision: Float[np.ndarray, "terms"],
) -> _Solved:
    inverse = symmetric_inverse(paired.gram + np.diag(ridge))
    coefficients = inverse @ paired.right

    def scores(rows: slice) -> tuple[np.ndarray, np.ndarray]:
        part = prepared.equations(rows)
        return kernel_columns(prepared, rows) @ paired.columns / paired.n, part.outcome - part.columns @ coefficients

    sample = prepared.second
    found = scatter(scores, sample.weights, n_terms=len(ridge), clusters=sample.clusters)
    return _Solved(
        coefficients=coefficients,
        covariance=inverse @ found.meat @ inverse + _bias(inverse, ridge, precision),
        residual_variance=found.variance,
    )


def _bias(
    inverse: Float[np.ndarray, "terms terms"], ridge: Float[np.ndarray, "terms"], precision: Float[np.ndarray, "terms"]
) -> Float[np.ndarray, "terms terms"]:
    """Return the expected squared bias of shrinkage, H R P^-1 R H, over coefficients with prior precision P."""
    shrunk = precision > 0
    prior = np.where(shrunk, ridge**2 / np.where(shrunk, precision, 1.0), 0.0)
    return inverse @ (prior[:, None] * inverse)


def _response(
    name: str,
    method: KernelIV | KernelMMR,
    prepared: Prepared,
    shrunk: _Shrinkage,
    solved: _Solved,
    first: IVData,
    second: IVData,
    seed: int,
) -> KernelResponse:
    block = prepared.terms.covariates
    weights = prepared.second.weights
    mean = np.zeros(len(block.variances))
    for rows in blocks(len(weights)):
        mean += weights[rows] @ block(prepared.second.covariates[rows])
    main, coefficients = prepared.terms.main, solved.coefficients.copy()
    coefficients[0] += outcome_level(second)
    return KernelResponse(
        terms=prepared.terms,
        coefficients=coefficients,
        covariance=solved.covariance,
        mean_functions=mean / weights.sum(),
        record=record_of(
            first,
            second,
            method=name,
            options=asdict(method),
            seed=seed,
            diagnostics={
                "effective_dimension": shrunk.effective,
                "residual_sd": float(np.sqrt(solved.residual_variance)),
                "explained_first_stage": prepared.stage.explained,
                "bandwidth": float(main.bandwidth[0] * main.spread[0]),
                "n_terms": float(len(solved.coefficients)),
            },
        ),
    )
