"""How well a method predicts samples that it has not seen: squared errors and log scores row by row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import norm

from deepmr import checks
from deepmr.contexts import ContextData, ContextualFit, outcome_suffix
from deepmr.contextual import fit_context, predict
from deepmr.errors import InputError

_SMALL = 1e-12  # predictive standard deviation, against that of the outcome, that a score takes at least
_BLOCK = 100  # samples to draw coefficients of at a time: the square of their joint covariance
_UNLIKELY = 1e-12  # probability that a score of a binary outcome takes at least


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Predictions of every row by a fit without it.

    Attributes
    ----------
    log_score : log density (probability, where binary) of the row's outcomes, added up over outcomes; larger is better.
    squared_error : of the prediction, added up over outcomes; of probabilities where they are binary.
    predictions : of every outcome.
    folds : in which the row was held out, 0 on.
    """

    log_score: Float[np.ndarray, "samples"]
    squared_error: Float[np.ndarray, "samples"]
    predictions: Float[np.ndarray, "samples outcomes"]
    folds: Int[np.ndarray, "samples"]


def cross_validate(
    data: ContextData,
    *,
    method: str = "auto",
    options: Mapping[str, Any] | None = None,
    n_folds: int = 5,
    seed: int = 0,
    groups: Int[np.ndarray, "samples"] | None = None,
) -> HeldOut:
    """Fit a method without each fold in turn, and predict the fold.

    Parameters
    ----------
    data : samples.
    method, options : as of `contextual.fit_context`.
    n_folds : how many; fewer where there are fewer groups, or different rows.
    seed : of the folds, and of the method.
    groups : what stays together in a fold, as the rows of a chromosome; those of the data where not given. Without
        any, each row is its own, but rows that are the same stay together.

    Raises
    ------
    InputError
        When there are not at least two groups, or a fold cannot be fitted.

    Notes
    -----
    The log score of continuous outcomes is that of a normal distribution, whose variance is that of beta x + mu, from
    the errors of the fit where it has them, and of the error: known standard errors and what rows scatter by beside
    (`sigma`, `tau` of the fit where it has them), and the mean squared residual of the fit otherwise.
    """
    folds = fold_rows(data, n_folds=n_folds, seed=seed, groups=groups)
    made, score = np.zeros_like(data.outcomes), np.zeros(len(data))
    for rows, inside, fit in fits_without_folds(data, folds, method=method, options=options, seed=seed):
        out = data.take(rows)
        made[rows] = predict(fit, out.contexts, out.predictors, offset=out.offset)
        score[rows] = _log_score(fit, inside, out, made[rows])
    error = ((data.outcomes - made) ** 2).sum(axis=1)
    return HeldOut(log_score=score, squared_error=error, predictions=made, folds=folds)


def fits_without_folds(
    data: ContextData,
    folds: Int[np.ndarray, "samples"],
    *,
    method: str,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Iterator[tuple[Bool[np.ndarray, "samples"], ContextData, ContextualFit]]:
    """Yield the rows of each fold, the samples outside of it, and the fit to these.

    Parameters
    ----------
    data, method, options, seed : as in `cross_validate`.
    folds : of each row, 0 on.

    Raises
    ------
    InputError
        When a fold cannot be fitted.

    Notes
    -----
    A search of hyper-parameters begins where that of the fold before ended, and ends where the fold has its maximum.
    """
    fit: ContextualFit | None = None
    for fold in range(folds.max() + 1):
        rows = folds == fold
        inside = data.take(~rows)
        try:
            fit = fit_context(inside, method=method, options=options, seed=seed, like=fit)
        except InputError as error:
            raise InputError(f"without fold {fold + 1} of {folds.max() + 1}: {error}") from error
        yield rows, inside, fit


def fold_rows(
    data: ContextData, *, n_folds: int, seed: int, groups: Int[np.ndarray, "samples"] | None = None
) -> Int[np.ndarray, "samples"]:
    """Return the fold of each row: whole groups, in folds of as many rows as they allow, by chance.

    Parameters
    ----------
    data, n_folds, seed, groups : as in `cross_validate`.

    Raises
    ------
    InputError
        When there are not at least two groups.

    Notes
    -----
    Neither the order of rows nor whether one has a weight of 2 or is there twice changes folds.
    """
    checks.at_least("n_folds", n_folds, 2)
    labels = units_of(data, groups)
    size = np.bincount(labels, weights=data.counts)
    if len(size) < 2:
        raise InputError("at least two groups of samples that differ are needed to hold one out; got one")
    folds, load = np.zeros(len(size), dtype=int), np.zeros(min(n_folds, len(size)))
    order = np.random.default_rng(seed).permutation(len(size))
    for group in order[np.argsort(-size[order], kind="stable")]:  # large ones first, each to the emptiest fold
        folds[group] = np.argmin(load)
        load[folds[group]] += size[group]
    return folds[labels]


def units_of(data: ContextData, groups: Int[np.ndarray, "samples"] | None = None) -> Int[np.ndarray, "samples"]:
    """Number what is held out together, 0 on, whatever the order of rows: groups, or rows that are not the same.

    Parameters
    ----------
    data, groups : as in `cross_validate`.
    """
    own = data.groups if groups is None else groups
    if own is None:
        rows = np.hstack([data.contexts, data.predictors, data.outcomes])
        return np.unique(rows, axis=0, return_inverse=True)[1].ravel()
    checks.shape("groups", own, (len(data),))
    return np.unique(own, return_inverse=True)[1].ravel()


def _log_score(
    fit: ContextualFit, inside: ContextData, out: ContextData, predicted: Float[np.ndarray, "rows outcomes"]
) -> Float[np.ndarray, "rows"]:
    """Return the log density of the outcomes held out."""
    if out.outcome_type == "binary":
        likely = np.where(out.outcomes == 1, predicted, 1 - predicted)
        return np.log(np.maximum(likely, _UNLIKELY)).sum(axis=1)
    variance = _own_variance(fit, inside, out)
    if fit.coefficients(out.contexts[:1]).se_mu is not None:
        variance = variance + predictive_variance(fit, out)
    spread = np.sqrt(variance)
    share = inside.counts / inside.counts.sum()
    least = np.sqrt(share @ (inside.outcomes - share @ inside.outcomes) ** 2)
    spread = np.maximum(spread, _SMALL * np.where(least > 0, least, 1.0))
    return np.asarray(norm.logpdf(out.outcomes, predicted, spread)).sum(axis=1)


def predictive_variance(
    fit: ContextualFit, data: ContextData, *, n_draws: int = 400
) -> Float[np.ndarray, "rows outcomes"]:
    """Return variances of beta x + mu at samples, from draws, as beta and mu are correlated.

    Parameters
    ----------
    fit : with errors.
    data : samples.
    n_draws : more are more exact; 400 give a standard deviation to 4 %.
    """
    made = np.empty((len(data), len(data.outcome_names)))
    for start in range(0, len(data), _BLOCK):
        rows = data.take(slice(start, start + _BLOCK))
        drawn = fit.draws(rows.contexts, n_draws=n_draws, seed=0)
        made[start : start + _BLOCK] = np.einsum("dpok,pk->dpo", drawn, rows.design).var(axis=0)
    return made


def _own_variance(fit: ContextualFit, inside: ContextData, out: ContextData) -> Float[np.ndarray, "rows outcomes"]:
    """Return variances of the errors of rows."""
    known = None if out.se_outcome is None else out.se_outcome**2
    made = np.empty_like(out.outcomes)
    residual = inside.outcomes - predict(fit, inside.contexts, inside.predictors, offset=inside.offset)
    scatter = inside.counts @ residual**2 / inside.counts.sum()
    for k, name in enumerate(out.outcome_names):
        suffix = outcome_suffix(name, out.outcome_names)
        measures = fit.record.measures
        if known is None:
            sigma = measures.get(f"sigma{suffix}")
            made[:, k] = scatter[k] if sigma is None else sigma**2
        else:
            made[:, k] = known[:, k]
        for j in range(out.design.shape[1]):
            tau = measures.get(f"tau_{j}{suffix}", 0.0)
            made[:, k] += (tau * out.design[:, j]) ** 2
    return made
