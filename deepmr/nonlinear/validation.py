"""How well a response fits samples that it was not fitted to, by a measure on which all methods compare."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import DoseResponse, IVData, two_samples
from deepmr.nonlinear.basis import fit_splines
from deepmr.nonlinear.first_stage import blocks, fit_folds, make_folds, predict_folds

SCORE_FUNCTIONS = 10
_CURVED = 3  # most covariates that take part with curves of their own
_RANK = 1e-8  # directions with less of the largest variance are left out


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Samples to score responses on, and functions of their instruments and covariates.

    Attributes
    ----------
    samples : with exposure and outcome; where there are two samples, first those with the exposure, then those with the
        outcome.
    functions : of each of them, a column a function, orthonormal over all.
    """

    samples: tuple[IVData, ...]
    functions: tuple[Float[np.ndarray, "_ functions"], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Samples to fit and samples to score on.

    Attributes
    ----------
    data, outcome_data : all samples; the second None where those of both stages are the same.
    folds, outcome_folds : of these samples.
    fold : that is held out.
    held_out : the samples to score on.
    """

    data: IVData
    outcome_data: IVData | None
    folds: Int[np.ndarray, "samples"]
    outcome_folds: Int[np.ndarray, "others"] | None
    fold: int
    held_out: HeldOut

    @property
    def fitted(self) -> IVData:
        """Samples of the first stage to fit, a copy that is made when it is asked for."""
        return self.data.take(self.folds != self.fold)

    @property
    def fitted_outcome(self) -> IVData | None:
        """The same of the second stage, where it is another sample."""
        if self.outcome_data is None or self.outcome_folds is None:
            return None
        return self.outcome_data.take(self.outcome_folds != self.fold)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectedMoment:
    """What instruments and covariates still predict of the residuals of a response.

    Attributes
    ----------
    value : mean square, in the squared unit of the outcome; below 0 by chance where there is nothing.
    se : standard error of it, on the long side where there is nothing.
    n : samples.
    moments : means of residual times function, a number a function of instruments and covariates.
    noise : variance of each of these, on average.
    """

    value: float
    se: float
    n: int
    moments: Float[np.ndarray, "functions"]
    noise: float


def split_samples(
    data: IVData, outcome_data: IVData | None = None, *, n_folds: int = 5, seed: int = 0
) -> Iterator[Split]:
    """Yield splits, each fold held out once.

    Parameters
    ----------
    data : of the first stage, and of the second where there is one sample.
    outcome_data : of the second stage, where it is another sample.
    n_folds : parts of equal size; samples of a cluster are in one of them.
    seed : of the split.
    """
    checks.at_least("n_folds", n_folds, 2)
    first, second = two_samples(data, outcome_data)
    one = second is first
    folds = make_folds(len(first), seed=seed, n_folds=n_folds, clusters=first.clusters)
    others = folds if one else make_folds(len(second), seed=seed + 1, n_folds=n_folds, clusters=second.clusters)
    for k in range(n_folds):
        held = (first.take(folds == k),) if one else (first.take(folds == k), second.take(others == k))
        yield Split(
            data=first,
            outcome_data=None if one else second,
            folds=folds,
            outcome_folds=None if one else others,
            fold=k,
            held_out=hold_out(first.take(folds != k), held),
        )


def hold_out(fitted: IVData, held: tuple[IVData, ...]) -> HeldOut:
    """Prepare samples to score responses on.

    Parameters
    ----------
    fitted : samples that responses are fitted to; the score is fitted to them too.
    held : other samples, with exposure and outcome; or two, one with each.

    Notes
    -----
    The functions are splines of the score (the exposure's expectation given instruments and covariates), functions of
    the covariates, and products of the score with these.
    """
    if len(held) == 2 and held[1].exposure is not None:  # residuals need both, and here they are
        held = held[1:]
    scores = _scores(fitted, held)
    splines = fit_splines(scores[0], n_functions=SCORE_FUNCTIONS, order=2)
    covariates = _covariate_functions(fitted, held)
    columns = []
    for score, of_covariates in zip(scores, covariates, strict=True):
        of_score = splines(score)
        steepness = of_score[:, 1:2]
        columns.append(np.hstack([of_score, of_covariates, steepness * of_covariates]))
    weighted = [c * s.scaled_weights[:, None] for c, s in zip(columns, held, strict=True)]
    gram = np.sum([w.T @ c for w, c in zip(weighted, columns, strict=True)], axis=0)
    values, vectors = np.linalg.eigh(gram / sum(map(len, columns)))
    kept = values > _RANK * values[-1]
    transform = vectors[:, kept] / np.sqrt(values[kept])
    return HeldOut(samples=held, functions=tuple(c @ transform for c in columns))


def _scores(fitted: IVData, held: tuple[IVData, ...]) -> list[Float[np.ndarray, "_"]]:
    """Regress the exposure on instruments and covariates, linearly, and predict it of samples held out."""
    assert fitted.exposure is not None
    predictors = np.hstack([fitted.instruments, fitted.covariates])
    center, spread = predictors.mean(axis=0), predictors.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)

    def design(sample: IVData, rows: slice) -> Float[np.ndarray, "_ columns"]:
        both = np.hstack([sample.instruments[rows], sample.covariates[rows]])
        return np.hstack([np.ones((len(both), 1)), (both - center) / spread])

    fit = fit_folds(
        lambda rows: design(fitted, rows),
        fitted.exposure[:, None],
        folds=np.arange(len(fitted)) % 2,
        weights=fitted.scaled_weights,
    )

    def predicted(sample: IVData) -> Float[np.ndarray, "_"]:
        return predict_folds(fit, lambda rows: design(sample, rows), None, len(sample))[:, 0]

    return [predicted(sample) for sample in held]


def _covariate_functions(fitted: IVData, held: tuple[IVData, ...]) -> list[Float[np.ndarray, "_ functions"]]:
    """Return each covariate, and its square and cube where there are few covariates."""
    many = fitted.covariates.shape[1] > _CURVED
    of = [
        fit_splines(column, n_functions=2 if many else 4, order=2)
        for column in fitted.covariates.T
        if np.ptp(column) > 0
    ]
    vary = [k for k, column in enumerate(fitted.covariates.T) if np.ptp(column) > 0]
    found = []
    for sample in held:
        parts = [one(sample.covariates[:, k])[:, 1:] for one, k in zip(of, vary, strict=True)]
        found.append(np.hstack([np.empty((len(sample), 0)), *parts]))
    return found


def projected_moment(response: DoseResponse, held_out: HeldOut) -> ProjectedMoment:
    """Measure what instruments and covariates still predict of the residuals of a response: the smaller, the better.

    Parameters
    ----------
    response : fitted to other samples.
    held_out : samples with functions w of instruments and covariates.

    Notes
    -----
    With residuals r = y - h(x, c), it estimates E[(E[r | z, c])^2], which is 0 for the true response and for no other
    that the instruments can tell from it, by the part of E[r | z, c] that the functions span:

        (1 / n^2) sum over i, j of different clusters of r_i w_i'G^-1 w_j r_j,    G = mean of w w'.

    Every sample's residual meets a regression on the others, so that noise adds nothing on average; the plain mean of
    squared fitted residuals would be too large by (functions / n) times the variance of the residuals, which differs
    between responses. A cross-fitted regression in folds has the same expectation and is noisier. In two samples, one
    with the exposure and one with the outcome, w r is the difference of the means of w y and w h. The standard error
    has the variance of the linear and of the quadratic part. It does not need the method's own loss, so responses of
    any two methods compare; the standard error is mostly of what responses have in common, and `difference_error` is
    that of the difference between two. A validation loss E[(y - h)^2] is no substitute: with confounding it is least
    for a biased response.

    References
    ----------
    Angrist, Imbens & Krueger (1999) doi:10.1002/(SICI)1099-1255(199901/02)14:1<57::AID-JAE501>3.0.CO;2-G;
    Dikkala, Lewis, Mackey & Syrgkanis (2020) arXiv:2006.07201.
    """
    size = held_out.functions[0].shape[1]
    mean, own, fourth, spread = np.zeros(size), 0.0, 0.0, np.zeros((size, size))
    for sample, functions, errors in zip(
        held_out.samples, held_out.functions, _errors(response, held_out), strict=True
    ):
        moments = functions * (errors * sample.scaled_weights)[:, None]
        if sample.clusters is not None:
            moments = _summed(moments, sample.clusters)
        n = len(sample)
        mean += moments.sum(axis=0) / n
        squares = np.sum(moments**2, axis=1) / n**2
        own += float(squares.sum())
        fourth += float(squares @ squares)
        spread += moments.T @ moments / n**2
    noise = float(np.sum(spread**2)) - fourth  # pairs of different samples alone, as above
    variance = max(4 * float(mean @ spread @ mean) - 4 * noise, 0.0) + 2 * noise  # the mean itself has noise
    return ProjectedMoment(
        value=float(mean @ mean) - own,
        se=float(np.sqrt(variance)),
        n=sum(map(len, held_out.samples)),
        moments=mean,
        noise=own / size,
    )


def difference_error(
    moments: Float[np.ndarray, "functions"], others: Float[np.ndarray, "functions"], noise: float
) -> float:
    """Return the standard error of the difference between the projected moments of two responses, same samples.

    Parameters
    ----------
    moments, others : of the two, as in `ProjectedMoment`.
    noise : of either.

    Notes
    -----
    The noise in outcomes is the same in both and nearly cancels: with d the difference of the moments, that of their
    squares is d'(2 m + d) and its standard error 2 |d| sqrt(noise), which is taken to be equal in all directions.
    """
    return 2 * float(np.linalg.norm(moments - others)) * float(np.sqrt(noise))


def _errors(response: DoseResponse, held_out: HeldOut) -> list[Float[np.ndarray, "_"]]:
    """Return residuals; in two samples the outcome of the one, and minus the response of the other."""
    samples = held_out.samples
    last = samples[-1]
    assert last.outcome is not None
    if len(samples) == 1:
        return [last.outcome - _response(response, last)]
    level = float(np.average(last.outcome, weights=last.weights))
    return [level - _response(response, samples[0]), last.outcome - level]


def _response(response: DoseResponse, sample: IVData) -> Float[np.ndarray, "_"]:
    assert sample.exposure is not None
    found = np.empty(len(sample))
    for rows in blocks(len(sample)):
        covars = sample.covariates[rows] if sample.covariate_names else None
        found[rows] = response.iv_reg_function(sample.exposure[rows], covars).estimate
    if not np.isfinite(found).all():
        raise InputError(f"the response is not a number at {int((~np.isfinite(found)).sum())} of {len(found)} samples")
    return found


def _summed(moments: Float[np.ndarray, "samples functions"], clusters: Int[np.ndarray, "samples"]) -> np.ndarray:
    _, number = np.unique(clusters, return_inverse=True)
    sums = np.zeros((int(number.max()) + 1, moments.shape[1]))
    np.add.at(sums, number, moments)
    return sums
