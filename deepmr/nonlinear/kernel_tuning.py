"""What kernel estimators share before their equations are solved: bandwidths, columns and expectations."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from deepmr.individual import IVData
from deepmr.nonlinear.first_stage import make_folds
from deepmr.nonlinear.kernel_prior import minus_log_likelihood, smooth_reduced
from deepmr.nonlinear.kernel_sample import KernelSample, kernel_samples
from deepmr.nonlinear.kernel_search import Blocks, climb
from deepmr.nonlinear.kernel_solver import Equations, Moments, moments_of
from deepmr.nonlinear.kernel_stage import FoldedRidge, TunedStage, expectations, folded_ridge, tune_stage
from deepmr.nonlinear.nystroem import KernelBlock, KernelTerms, fit_block, product_terms

_EXPOSURE_CURVES = 25  # most eigenfunctions of the exposure's kernel: more are not seen through instruments
_INSTRUMENT_CURVES = 60  # the same of the instruments' kernel, where they are multiplied with covariates
_PLAIN = 4  # times as many samples to tune on, where there are no covariates and columns are few
_OUTPUTS = -2  # place of the bandwidth of functions of the exposure that the first stage is tuned to predict
_NARROWER = 1.0  # log-likelihood that half an octave of narrower bandwidths has to be worth


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelOptions:
    """Options of preparation, as in `KernelIV`."""

    n_landmarks: int
    n_tuning: int
    n_tries: int
    n_folds: int
    bandwidth: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Samples, columns and the first stage.

    Attributes
    ----------
    first, second : samples of the stages, the same object where there is one sample.
    terms : columns of the response.
    instruments : columns of instruments and covariates.
    seen : functions of the first sample's exposure.
    fitted, other : their expectations in the first sample, and in the second where it is another one.
    stage : how the first stage was tuned.
    """

    first: KernelSample
    second: KernelSample
    terms: KernelTerms
    instruments: KernelTerms
    seen: Float[np.ndarray, "samples functions"]
    fitted: Float[np.ndarray, "samples functions"]
    other: Float[np.ndarray, "others functions"] | None
    stage: TunedStage

    def of_first(self, rows: slice) -> Equations:
        """Return the equations of the first sample with the exposure itself as the outcome, which no one reads."""
        sample = self.first
        covariates = self.terms.covariates(sample.covariates[rows])
        return Equations(
            instruments=self.terms.combine(self.fitted[rows], covariates),
            columns=self.terms.combine(self.seen[rows], covariates),
            outcome=np.zeros(len(covariates)) if sample.outcome is None else sample.outcome[rows],
            weights=sample.weights[rows],
        )

    def equations(self, rows: slice) -> Equations:
        """Return the equations of the second sample, whose columns are expectations where it has no exposure."""
        if self.other is None:
            return self.of_first(rows)
        assert self.second.outcome is not None
        columns = self.terms.combine(self.other[rows], self.terms.covariates(self.second.covariates[rows]))
        return Equations(
            instruments=columns,
            columns=columns,
            outcome=self.second.outcome[rows],
            weights=self.second.weights[rows],
        )

    def moments(self) -> Moments:
        """Return the sums of the equations."""
        first = None if self.other is None else (self.of_first, len(self.first))
        return moments_of(self.equations, len(self.second), len(self.terms.pairs), first=first)


def prepare(first: IVData, second: IVData, *, options: KernelOptions, seed: int) -> Prepared:
    """Tune bandwidths on some of the samples, then make columns and expectations of all.

    Parameters
    ----------
    first, second : data of the two stages, the same where there is one sample.
    options : of the estimator.
    seed : of folds, landmarks and the samples to tune on.
    """
    one, two = kernel_samples(first, second, seed=seed, n_folds=options.n_folds)
    some = _some(one, options, seed)
    others = some if two is one else _some(two, options, seed)
    exposures, instruments, covariates = _blocks(some, options, seed)
    responses = covariates if two is one else _covariate_blocks(others, options, seed)
    of_exposure, seen = exposures.at((_OUTPUTS,))
    stage = tune_stage(
        instruments,
        covariates,
        seen[:, 1:],
        output_weights=of_exposure.variances[1:],
        weights=some.weights,
        n_terms=options.n_landmarks,
        n_tries=options.n_tries,
    )
    columns = product_terms(
        instruments.at(stage.instruments)[0], covariates.at(stage.covariates)[0], n_terms=options.n_landmarks
    )
    if options.bandwidth is None:
        ridge = folded_ridge(some, columns, _folds(some, options, seed))
        search = _Search(
            ridge=ridge, others=others, exposures=exposures, responses=responses, stage=stage, options=options
        )
        start = (0, *(min(one, 0) for one in stage.covariates))
        place = climb(search.cost, start, n_tries=options.n_tries)
        widths = exposures.bandwidth(place[:1]), responses.bandwidth(place[1:])
    else:
        times = options.bandwidth
        widths = times * exposures.bandwidth((0,)), times * responses.bandwidth((0,) * responses.dimensions)
    return _complete(
        one,
        two,
        widths=widths,
        stage=stage,
        stage_widths=(instruments.bandwidth(stage.instruments), covariates.bandwidth(stage.covariates)),
        options=options,
        seed=seed,
    )


def _some(sample: KernelSample, options: KernelOptions, seed: int) -> KernelSample:
    n = options.n_tuning * (1 if sample.covariates.shape[1] else _PLAIN)
    if len(sample) <= n:
        return sample
    return sample.take(np.sort(np.random.default_rng(seed).permutation(len(sample))[:n]))


def _instrument_curves(sample: KernelSample, options: KernelOptions) -> int:
    return min(_INSTRUMENT_CURVES, options.n_landmarks) if sample.covariates.shape[1] else options.n_landmarks


def _blocks(sample: KernelSample, options: KernelOptions, seed: int) -> tuple[Blocks, Blocks, Blocks]:
    assert sample.exposure is not None
    exposures = Blocks(
        values=sample.exposure[:, None],
        weights=sample.weights,
        n_landmarks=options.n_landmarks,
        n_curves=_EXPOSURE_CURVES,
        seed=seed,
    )
    instruments = Blocks(
        values=sample.instruments,
        weights=sample.weights,
        n_landmarks=options.n_landmarks,
        n_curves=_instrument_curves(sample, options),
        seed=seed,
    )
    return exposures, instruments, _covariate_blocks(sample, options, seed)


def _covariate_blocks(sample: KernelSample, options: KernelOptions, seed: int) -> Blocks:
    return Blocks(
        values=sample.covariates,
        weights=sample.weights,
        n_landmarks=options.n_landmarks,
        n_curves=options.n_landmarks // 2,
        seed=seed,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """What the search for the second stage's bandwidths needs."""

    ridge: FoldedRidge
    others: KernelSample
    exposures: Blocks
    responses: Blocks
    stage: TunedStage
    options: KernelOptions
    expected: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray | None]] = field(default_factory=dict)

    def cost(self, place: tuple[int, ...]) -> float:
        """Return minus the log marginal likelihood of the reduced form, and what narrow bandwidths have to be worth."""
        main, seen = self.exposures.at(place[:1])
        covariates, _ = self.responses.at(place[1:])
        terms = product_terms(main, covariates, n_terms=self.options.n_landmarks)
        if place[:1] not in self.expected:
            self.expected[place[:1]] = expectations(self.ridge, seen, self.others)
        fitted, other = self.expected[place[:1]]
        prepared = Prepared(
            first=self.ridge.sample,
            second=self.others,
            terms=terms,
            instruments=self.ridge.terms,
            seen=seen,
            fitted=fitted,
            other=other,
            stage=self.stage,
        )
        moments = prepared.moments()
        width = place[0] + sum(min(one, 0) for one in place[1:])
        return minus_log_likelihood(moments, smooth_reduced(moments, terms)) - _NARROWER * width


def _folds(sample: KernelSample, options: KernelOptions, seed: int) -> Int[np.ndarray, "samples"]:
    return make_folds(len(sample), seed=seed, n_folds=options.n_folds, clusters=sample.clusters)


def _complete(
    one: KernelSample,
    two: KernelSample,
    *,
    widths: tuple[Float[np.ndarray, "_"], Float[np.ndarray, "_"]],
    stage: TunedStage,
    stage_widths: tuple[Float[np.ndarray, "_"], Float[np.ndarray, "_"]],
    options: KernelOptions,
    seed: int,
) -> Prepared:
    """Make columns and expectations of all samples with the bandwidths that were chosen."""
    assert one.exposure is not None

    def block(values: np.ndarray, bandwidth: np.ndarray, n_curves: int, weights: np.ndarray) -> KernelBlock:
        return fit_block(
            values,
            bandwidth=bandwidth,
            n_landmarks=options.n_landmarks,
            n_curves=n_curves,
            seed=seed,
            weights=weights,
        )

    half = options.n_landmarks // 2
    main = block(one.exposure[:, None], widths[0], _EXPOSURE_CURVES, one.weights)
    terms = product_terms(main, block(two.covariates, widths[1], half, two.weights), n_terms=options.n_landmarks)
    instruments = product_terms(
        block(one.instruments, stage_widths[0], _instrument_curves(one, options), one.weights),
        block(one.covariates, stage_widths[1], half, one.weights),
        n_terms=options.n_landmarks,
    )
    seen = main(one.exposure[:, None])
    fitted, other = expectations(folded_ridge(one, instruments, _folds(one, options, seed)), seen, two)
    return Prepared(
        first=one,
        second=two,
        terms=terms,
        instruments=instruments,
        seen=seen,
        fitted=fitted,
        other=other,
        stage=stage,
    )
