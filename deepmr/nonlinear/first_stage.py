"""The first stage: what instruments and covariates say of functions of the exposure, never of a sample's own value."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from deepmr.individual import IVData
from deepmr.nonlinear.basis import CovariateBasis, SplineBasis, fit_splines
from deepmr.nonlinear.smoothing import Group, left_over, smooth

N_FOLDS = 5
SCORE_FUNCTIONS = 14
_RIDGE = 1.0  # samples' worth of shrinkage of every standardised column
_PRODUCTS = 300  # most products of instruments and functions of covariates in a score
_BLOCK = 1 << 16  # rows at a time


def make_folds(
    n: int, *, seed: int, n_folds: int = N_FOLDS, clusters: Int[np.ndarray, "samples"] | None = None
) -> Int[np.ndarray, "samples"]:
    """Deal samples to folds of equal size at random, samples of a cluster to one fold.

    Parameters
    ----------
    n : how many samples there are.
    seed : of the deal.
    n_folds : how many folds.
    clusters : of the samples, or None.
    """
    rng = np.random.default_rng(seed)
    if clusters is None:
        return rng.permutation(n) % n_folds
    _, number = np.unique(clusters, return_inverse=True)
    return (rng.permutation(number.max() + 1) % n_folds)[number]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedFit:
    """A linear regression fitted once on all samples and once without each fold.

    Attributes
    ----------
    whole : coefficients from all samples.
    without : coefficients from all samples but those of a fold.
    """

    whole: Float[np.ndarray, "columns outputs"]
    without: Float[np.ndarray, "folds columns outputs"]


def fit_folds(
    design: Callable[[slice], Float[np.ndarray, "_ columns"]],
    outputs: Float[np.ndarray, "samples outputs"],
    *,
    folds: Int[np.ndarray, "samples"],
    weights: Float[np.ndarray, "samples"],
    groups: tuple[Group, ...] | None = None,
) -> FoldedFit:
    """Regress on columns, one Gram matrix a fold; each fit is then a small solve.

    Parameters
    ----------
    design : columns of a block of samples, the first of them 1.
    outputs : what is regressed, a column each.
    folds, weights : of the samples.
    groups : columns whose shrinkage is learned, of one output; otherwise every column is shrunk a little.

    Notes
    -----
    Outputs are centred, so that where their zero is does not matter: neither is their mean shrunk towards it, by more
    in a smaller fold, nor do sums of squares lose their digits to it.
    """
    n_folds, level = int(folds.max()) + 1, np.average(outputs, axis=0, weights=weights)
    outputs = outputs - level
    grams, moments = [np.zeros((0, 0))] * n_folds, [np.zeros((0, 0))] * n_folds
    for rows in blocks(len(outputs)):
        columns, fold = design(rows), folds[rows]
        for k in range(n_folds):
            mine = columns[fold == k]
            weighted = mine * weights[rows][fold == k, None]
            gram, moment = weighted.T @ mine, weighted.T @ outputs[rows][fold == k]
            grams[k] = gram if not grams[k].size else grams[k] + gram
            moments[k] = moment if not moments[k].size else moments[k] + moment
    gram, moment = np.sum(grams, axis=0), np.sum(moments, axis=0)
    scale = np.diagonal(gram) / weights.sum()
    penalty = _RIDGE * scale
    if groups:
        penalty = penalty + _learned(gram, moment[:, 0], outputs[:, 0], weights, groups)
    ridge = np.diag(np.where(scale > 0, penalty, 1.0))
    without = np.array([np.linalg.solve(gram - g + ridge, moment - m) for g, m in zip(grams, moments, strict=True)])
    whole = np.linalg.solve(gram + ridge, moment)
    whole[0] += level
    without[:, 0] += level
    return FoldedFit(whole=whole, without=without)


def _learned(
    gram: Float[np.ndarray, "columns columns"],
    moment: Float[np.ndarray, "columns"],
    output: Float[np.ndarray, "samples"],
    weights: Float[np.ndarray, "samples"],
    groups: tuple[Group, ...],
) -> Float[np.ndarray, "columns"]:
    """Return the penalty of every column in the unit of the Gram matrix."""
    total, n = float(weights @ output**2), float(weights.sum())

    residual = left_over(total, moment, gram, n)

    found = smooth(gram, moment, groups, residual=residual, variance=float(np.average(output**2, weights=weights)))
    return found.penalty * found.variance


def blocks(n: int) -> Iterator[slice]:
    """Yield slices of rows, so that what is made of them stays small."""
    for start in range(0, n, _BLOCK):
        yield slice(start, min(start + _BLOCK, n))


def predict_folds(
    fit: FoldedFit,
    design: Callable[[slice], Float[np.ndarray, "_ columns"]],
    folds: Int[np.ndarray, "samples"] | None,
    n: int,
) -> Float[np.ndarray, "samples outputs"]:
    """Predict every sample from the fit without its fold; from the whole fit where these are other samples.

    Parameters
    ----------
    fit : a regression.
    design : columns of a block of samples.
    folds : of these samples, or None for samples that took no part.
    n : how many samples there are.
    """
    found = np.empty((n, fit.whole.shape[1]))
    for rows in blocks(n):
        columns = design(rows)
        if folds is None:
            found[rows] = columns @ fit.whole
            continue
        for k, coefficients in enumerate(fit.without):
            mine = folds[rows] == k
            found[rows][mine] = columns[mine] @ coefficients
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStage:
    """Instruments of functions of the exposure: their expectation given instruments and covariates.

    Attributes
    ----------
    score : expectation of the exposure itself, of the samples of the first stage.
    fitted : expectation of every function, of the samples of the first stage; each from the fit without its fold.
    second : the same of the samples of the second stage, where they are others; None where there is one sample.
    folds : of the first stage's samples.
    second_score : the score of the samples of the second stage, where they are others.
    """

    score: Float[np.ndarray, "samples"]
    fitted: Float[np.ndarray, "samples functions"]
    second: Float[np.ndarray, "others functions"] | None
    folds: Int[np.ndarray, "samples"]
    second_score: Float[np.ndarray, "others"] | None = None


def fit_first_stage(
    data: IVData,
    outcome_data: IVData,
    *,
    functions: SplineBasis,
    covariates: CovariateBasis,
    seed: int,
    n_folds: int = N_FOLDS,
) -> FirstStage:
    """Predict functions of the exposure from instruments and covariates, every sample from the others.

    Parameters
    ----------
    data, outcome_data : samples of the two stages, the same where there is one sample.
    functions : of the exposure.
    covariates : functions of the covariates.
    seed : of the folds.
    n_folds : how many.

    Notes
    -----
    For every fold, from the others: a score, the exposure regressed on instruments, functions of covariates and, if
    these are few, their products; then every function regressed on splines of the score, the instruments and functions
    of the covariates. A sample's own exposure is in neither, so many weak instruments cannot fit its noise.
    """
    assert data.exposure is not None
    n, weights = len(data), data.scaled_weights
    folds = make_folds(n, seed=seed, n_folds=n_folds, clusters=data.clusters)
    center, spread = data.instruments.mean(axis=0), data.instruments.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    other = outcome_data if outcome_data is not data else None

    def of(sample: IVData) -> Callable[[slice], Float[np.ndarray, "_ columns"]]:
        return lambda rows: _score_columns(
            (sample.instruments[rows] - center) / spread, covariates(sample.covariates[rows])
        )

    def rest(sample: IVData) -> Callable[[slice], Float[np.ndarray, "_ columns"]]:
        return lambda rows: np.hstack(
            [covariates(sample.covariates[rows]), (sample.instruments[rows] - center) / spread]
        )

    outputs = functions(data.exposure)
    if data.instruments.shape[1] == 1 and covariates.size == 1:  # functions of the one instrument: there is no score
        score = (data.instruments[:, 0] - center[0]) / spread[0]
        splines = fit_splines(score, n_functions=SCORE_FUNCTIONS, order=2, weights=data.weights)
        fit = fit_folds(lambda rows: splines(score[rows]), outputs, folds=folds, weights=weights)
        fitted = predict_folds(fit, lambda rows: splines(score[rows]), folds, n)
        second_score = None if other is None else (other.instruments[:, 0] - center[0]) / spread[0]
        second = None if second_score is None else splines(second_score) @ fit.whole
        return FirstStage(score=score, fitted=fitted, second=second, folds=folds, second_score=second_score)
    groups = _score_groups(data.instruments.shape[1], covariates)
    first = fit_folds(of(data), data.exposure[:, None], folds=folds, weights=weights, groups=groups)
    sums = _fold_sums(rest(data), outputs, folds, weights)
    score, fitted = np.empty(n), np.empty_like(outputs)
    predictors = [
        _predictor(of(data), rest(data), outputs, coefficients, sums, np.where(folds == k, 0.0, weights), k)
        for k, coefficients in enumerate(first.without)
    ]
    for rows in blocks(n):
        columns, others = of(data)(rows), rest(data)(rows)
        for k, (one, coefficients) in enumerate(zip(predictors, first.without, strict=True)):
            mine = np.flatnonzero(folds[rows] == k)
            some = rows.start + mine
            score[some] = columns[mine] @ coefficients[:, 0]
            fitted[some] = np.hstack([one.splines(score[some])[:, 1:], others[mine]]) @ one.coefficients
    second = second_score = None
    if other is not None:
        one = _predictor(of(data), rest(data), outputs, first.whole, sums, weights, None)
        second, second_score = np.empty((len(other), functions.size)), np.empty(len(other))
        for rows in blocks(len(other)):
            second_score[rows] = of(other)(rows) @ first.whole[:, 0]
            second[rows] = np.hstack([one.splines(second_score[rows])[:, 1:], rest(other)(rows)]) @ one.coefficients
    return FirstStage(score=score, fitted=fitted, second=second, folds=folds, second_score=second_score)


@dataclass(frozen=True, slots=True)
class _Predictor:
    splines: SplineBasis
    coefficients: Float[np.ndarray, "columns functions"]


@dataclass(frozen=True, slots=True)
class _Sums:
    """Products of the columns that are the same for every fold, fold by fold."""

    grams: Float[np.ndarray, "folds columns columns"]
    moments: Float[np.ndarray, "folds columns functions"]


def _fold_sums(
    rest: Callable[[slice], Float[np.ndarray, "_ columns"]],
    outputs: Float[np.ndarray, "samples functions"],
    folds: Int[np.ndarray, "samples"],
    weights: Float[np.ndarray, "samples"],
) -> _Sums:
    size, n_folds = rest(slice(0, 1)).shape[1], int(folds.max()) + 1
    grams, moments = np.zeros((n_folds, size, size)), np.zeros((n_folds, size, outputs.shape[1]))
    for rows in blocks(len(outputs)):
        columns = rest(rows)
        for k in range(n_folds):
            mine = folds[rows] == k
            weighted = columns[mine] * weights[rows][mine, None]
            grams[k] += weighted.T @ columns[mine]
            moments[k] += weighted.T @ outputs[rows][mine]
    return _Sums(grams, moments)


def _predictor(
    of: Callable[[slice], Float[np.ndarray, "_ score_columns"]],
    rest: Callable[[slice], Float[np.ndarray, "_ columns"]],
    outputs: Float[np.ndarray, "samples functions"],
    coefficients: Float[np.ndarray, "score_columns one"],
    sums: _Sums,
    weights: Float[np.ndarray, "samples"],
    left_out: int | None,
) -> _Predictor:
    """Regress functions of the exposure on splines of a score and the columns that stay; weight 0 takes no part.

    The score, too, is from the samples that take part: scores of other folds' fits would carry the noise of the fold
    that is left out.
    """
    scores = np.concatenate([of(rows) @ coefficients[:, 0] for rows in blocks(len(outputs))])
    used = weights > 0
    splines = fit_splines(scores[used], n_functions=SCORE_FUNCTIONS, order=2, weights=weights[used])
    size = splines.size - 1
    own, cross, moment = (
        np.zeros((size, size)),
        np.zeros((size, sums.grams.shape[1])),
        np.zeros((size, outputs.shape[1])),
    )
    for rows in blocks(len(outputs)):
        columns = splines(scores[rows])[:, 1:]
        weighted = columns * weights[rows, None]
        own += weighted.T @ columns
        cross += weighted.T @ rest(rows)
        moment += weighted.T @ outputs[rows]
    kept = np.arange(len(sums.grams)) != (-1 if left_out is None else left_out)
    gram = np.block([[own, cross], [cross.T, sums.grams[kept].sum(axis=0)]])
    ridge = _RIDGE * np.diagonal(gram) / weights.sum()
    full = gram + np.diag(np.where(ridge > 0, ridge, 1.0))
    return _Predictor(splines, np.linalg.solve(full, np.vstack([moment, sums.moments[kept].sum(axis=0)])))


def _score_columns(
    instruments: Float[np.ndarray, "_ instruments"], covariates: Float[np.ndarray, "_ functions"]
) -> Float[np.ndarray, "_ columns"]:
    parts = [covariates, instruments]
    if covariates.shape[1] > 1 and instruments.shape[1] * (covariates.shape[1] - 1) <= _PRODUCTS:
        parts.append((instruments[:, :, None] * covariates[:, None, 1:]).reshape(len(instruments), -1))
    return np.hstack(parts)


def covariate_groups(covariates: CovariateBasis) -> list[Group]:
    """Group the curved functions of each covariate, and the curved products, which shrink together.

    Parameters
    ----------
    covariates : their functions, the first columns of a design.
    """
    rough, found, start = covariates.roughness, [], 1
    for size in [*(one.size - 1 for one in covariates.splines), len(covariates.products)]:
        columns = start + np.flatnonzero(rough[start : start + size] > 0)
        if len(columns):
            found.append(Group(columns=columns, weights=rough[columns] / rough[columns].min()))
        start += size
    return found


def _score_groups(n_instruments: int, covariates: CovariateBasis) -> tuple[Group, ...]:
    """Group the columns of a score that shrink together: curved functions, instruments, and products of these."""
    first, rest = covariates.size, covariates.size - 1
    groups = covariate_groups(covariates)
    groups.append(Group(columns=first + np.arange(n_instruments), weights=np.ones(n_instruments)))
    if rest and n_instruments * rest <= _PRODUCTS:
        rough = np.tile(covariates.roughness[1:], n_instruments)
        start = first + n_instruments
        straight, curved = np.flatnonzero(rough == 0), np.flatnonzero(rough > 0)
        if len(straight):
            groups.append(Group(columns=start + straight, weights=np.ones(len(straight))))
        if len(curved):
            groups.append(Group(columns=start + curved, weights=rough[curved] / rough[curved].min()))
    return tuple(groups)
