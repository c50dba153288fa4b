"""Standard errors of any estimator: all effects drawn anew jointly, or one ensemble member left out at a time."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks, inference
from deepmr.errors import InputError
from deepmr.mr.correlated import stacks
from deepmr.mr.draws import canonical, standard_normals
from deepmr.mr.lines import split_error
from deepmr.types import Estimates, Instruments

Estimator = Callable[[Instruments], Estimates]

_LOST = 0.5  # share of draws that may be without an estimate


def bootstrap_errors(
    instruments: Instruments,
    estimate: Estimator,
    *,
    redraw: Estimator | None = None,
    n_boot: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> Estimates:
    """Estimate, with standard errors from a joint parametric bootstrap of all effects.

    Parameters
    ----------
    instruments : one exposure. `error_factors`, `error_corr` and `correlation` make the covariance of all effects.
    estimate : an entry of `deepmr.mr.METHODS`, or a `functools.partial` of one with options.
    redraw : the same for drawn effects, where less than the whole will do: `partial(median_weighted, n_boot=2)`, since
        only `beta` is read. Default: `estimate`.
    n_boot : number of draws, each of which is estimated; at least 10.
    level : of the confidence interval.
    seed : of the draws, which are the same for every locus.

    Returns
    -------
    Estimates as `estimate` gives them, with `se`, interval, P value, `df` and both parts of the standard error anew. A
    locus without an estimate in more than half of the draws is skipped.

    Notes
    -----
    (x*, y*) ~ N((x, y), S), S what members share plus the rest under error_corr and linkage disequilibrium: every
    draw has one score for each factor, which moves all instruments of all loci. `se` is the standard deviation over
    draws; the slope on a factor's score is how far it moves the estimate (`error_factors`), squares of which make the
    members' part. The draws scatter about effects that scatter already: of weak instruments, they show the error of an
    estimator that is drawn towards zero twice.

    Examples
    --------
    >>> from functools import partial
    >>> from deepmr.mr.median import median_weighted
    >>> from deepmr.simulate.instruments import simulate_instruments
    >>> given = simulate_instruments("shared_errors", n_instruments=20)
    >>> found = bootstrap_errors(given, median_weighted, redraw=partial(median_weighted, n_boot=2), n_boot=20)
    >>> found.error_factors.shape
    (3, 1)
    """
    checks.at_least("n_boot", n_boot, 10)
    given, first = canonical(instruments), estimate(instruments)
    again = estimate if redraw is None else redraw
    rows = pd.Index(first.table["locus"])
    drawn = np.full((n_boot, len(rows)), np.nan)
    scores = []
    for number, (score, moved) in enumerate(_redrawn(given, n_boot, seed)):
        found = again(moved).table
        at = rows.get_indexer(pd.Index(found["locus"]))
        drawn[number, at[at >= 0]] = found["beta"].to_numpy(float)[at >= 0]
        scores.append(score)
    known = np.isfinite(drawn)
    count = known.sum(axis=0)
    mean = np.where(known, drawn, 0.0).sum(axis=0) / np.maximum(count, 1)
    centred = np.where(known, drawn - mean, 0.0)
    variance = np.sum(centred**2, axis=0) / np.maximum(count - 1, 1)
    factors = None
    if instruments.error_factors is not None:
        by_score = np.stack(scores) - np.mean(scores, axis=0)
        factors = np.linalg.lstsq(by_score, centred, rcond=None)[0]
    few = count < (1 - _LOST) * n_boot
    reasons = np.array([f"no estimate in {n_boot - k} of {n_boot} bootstrap draws" for k in count], dtype=object)
    return _with_errors(first, split_error(variance, factors), factors, level, lost=few, reasons=reasons)


def _redrawn(given: Instruments, n_boot: int, seed: int) -> Iterator[tuple[Float[np.ndarray, "factors"], Instruments]]:
    """Yield the scores of the factors and the instruments with effects drawn anew, draw by draw."""
    effects = np.concatenate([given.beta_exposure, given.beta_outcome[:, None]], axis=1)
    se = np.concatenate([given.se_exposure, given.se_outcome[:, None]], axis=1).astype(float)
    if se.shape[1] != 2:
        raise InputError(f"the bootstrap takes one exposure; got {len(given.exposures)}: {given.exposure}")
    factors = given.error_factors
    variance = se**2
    if factors is not None:
        variance = np.maximum(variance - np.sum(np.square(factors, dtype=float), axis=0), 0.0)
    corr = np.eye(2) if given.error_corr is None else given.error_corr
    mix, own = np.linalg.cholesky(corr), np.sqrt(variance)
    within = np.concatenate([np.arange(count) for count in given.counts]).astype(int)
    linked = [] if given.correlation is None else [(stack.rows, _root(stack.correlation)) for stack in stacks(given)]
    n_factors = 0 if factors is None else len(factors)
    all_scores = np.random.default_rng([seed, n_boot]).standard_normal((n_boot, n_factors))
    number = 0
    for _, numbers in standard_normals(n_boot, int(given.counts.max(initial=0)), seed=seed):
        for draw in np.moveaxis(numbers, 1, 0):
            noise = draw[:, within].T
            for cells, root in linked:
                noise[cells] = root @ noise[cells]
            moved = effects + own * (noise @ mix.T)
            score = all_scores[number]
            if factors is not None:
                moved += np.einsum("k,krt->rt", score, factors)
            yield score, replace(given, beta_exposure=moved[:, :1], beta_outcome=moved[:, 1])
            number += 1


def _root(matrices: Float[np.ndarray, "batch size size"]) -> Float[np.ndarray, "batch size size"]:
    """Return symmetric square roots; of a singular matrix too."""
    values, vectors = np.linalg.eigh(matrices)
    return (vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]) @ vectors.swapaxes(1, 2)


def jackknife_members(instruments: Instruments, estimate: Estimator, *, level: float = 0.95) -> Estimates:
    """Estimate, with the members' part of the standard error by leaving out one ensemble member at a time.

    Parameters
    ----------
    instruments : with the members' deviations as `error_factors`.
    estimate : an entry of `deepmr.mr.METHODS`, or a `functools.partial` of one with options. One exposure.
    level : of the confidence interval.

    Returns
    -------
    Estimates as `estimate` gives them, with the members' part of `se`, and what hangs on it, anew.

    Raises
    ------
    InputError : where there are fewer than 3 factors, or they are no deviations from a mean over members.

    Notes
    -----
    Without member k, effects move by -e_k / (K - 1), e_k its deviation from the mean over K members and
    F_k = e_k sqrt((1 + 1/K) / (K - 1)). With b_-k the estimate without member k, factor k of the estimate is
    -(b_-k - mean of b_-.) sqrt((1 + 1/K) (K - 1)). Their squares add up to (K + 1) times the jackknife's variance of a
    mean over members, as `ism.pool_members` has it for effects: another training run would miss by that.
    The methods themselves move all effects by a whole F_k and back, K times as far; for a linear method both agree, and
    one with jumps, such as a mode, is averaged more by the longer step. Standard errors stay those of all members.

    References
    ----------
    Efron B, Stein C. The jackknife estimate of variance. Ann Stat 1981. https://doi.org/10.1214/aos/1176345462
    """
    n = 0 if instruments.error_factors is None else len(instruments.error_factors)
    if n < 3:
        raise InputError(f"a jackknife over members needs at least 3 of them; error_factors have {n}")
    step = -1 / np.sqrt((1 + 1 / n) * (n - 1))
    return _shifted_members(instruments, estimate, step, level, lost="no estimate without one of the members")


def member_slopes(instruments: Instruments, estimate: Estimator, *, level: float = 0.95) -> Estimates:
    """Estimate, with the members' part of the standard error from the estimate of every member by itself.

    The definition of the effect in the model over members: each of them at the instruments that were chosen on the
    mean, with its own effects on exposure and outcome. The methods' own factors are this to first order, at a K-th of
    the cost.

    Parameters
    ----------
    instruments, estimate, level : as for `jackknife_members`; 2 members will do.

    Returns
    -------
    Estimates as `estimate` gives them from the mean effects, with the members' part of `se`, and what hangs on it, new.

    Notes
    -----
    Member k's effects are the mean's moved by e_k = F_k sqrt((K - 1) / (1 + 1/K)); with b_k its estimate, factor k is
    (b_k - mean of b_.) sqrt((1 + 1/K) / (K - 1)), so that squares add up to (1 + 1/K) B, B the variance of the b_k.
    Of weak instruments a single member's slope is diluted by its own errors, more than that of the mean, and now and
    then it is wild, where its exposure effects nearly vanish.
    """
    n = 0 if instruments.error_factors is None else len(instruments.error_factors)
    if n < 2:
        raise InputError(f"slopes of members need at least 2 of them; error_factors have {n}")
    step = np.sqrt((n - 1) / (1 + 1 / n))
    return _shifted_members(instruments, estimate, step, level, lost="one of the members has no estimate")


def _shifted_members(
    instruments: Instruments, estimate: Estimator, step: float, level: float, *, lost: str
) -> Estimates:
    """Estimate from the effects moved by `step` times each factor; the moves of the estimate make its factors."""
    factors = instruments.error_factors
    assert factors is not None
    size = np.sqrt(np.sum(np.square(factors, dtype=float), axis=0))
    if np.any(np.abs(factors.sum(axis=0)) > 1e-6 * size + np.finfo(float).tiny):
        raise InputError("error_factors are not members' deviations from their mean: they do not sum to 0")
    first = estimate(instruments)
    rows = pd.Index(first.table["locus"])
    each = np.full((len(factors), len(rows)), np.nan)
    for k, factor in enumerate(factors):
        moved = replace(
            instruments,
            beta_exposure=instruments.beta_exposure + step * factor[:, :-1],
            beta_outcome=instruments.beta_outcome + step * factor[:, -1],
        )
        found = estimate(moved).table
        at = rows.get_indexer(pd.Index(found["locus"]))
        each[k, at[at >= 0]] = found["beta"].to_numpy(float)[at >= 0]
    gone = np.isnan(each).any(axis=0)
    moves = np.where(gone, 0.0, (each - each.mean(axis=0)) / step)
    df = sampling_df(first, len(factors))
    error = inference.total_error(first.table["se_sampling"].to_numpy(float) ** 2, df, moves)
    reasons = np.full(len(rows), lost, dtype=object)
    return _with_errors(first, error, moves, level, lost=gone, reasons=reasons)


def sampling_df(first: Estimates, members: int) -> Float[np.ndarray, "rows"]:
    """Return the degrees of freedom of the sampling part, which those of the sum tell (`inference.total_error`).

    Parameters
    ----------
    first : rows of methods that carried the errors of this many members.
    """
    sampling, member, df = (first.table[name].to_numpy(float) for name in ("se_sampling", "se_member", "df"))
    total = sampling**2 + member**2
    share = np.divide(sampling**2, total, out=np.zeros_like(total), where=total > 0)
    rest = 1 / df - (1 - share) ** 2 / (members - 1)
    told = (share > 0) & (rest > 1e-12)  # an error of exactly 0 tells nothing of its degrees of freedom
    return np.divide(share**2, rest, out=np.full_like(total, np.inf), where=told)


def _with_errors(
    first: Estimates,
    error: inference.TotalError,
    factors: Float[np.ndarray, "factors rows"] | None,
    level: float,
    *,
    lost: np.ndarray,
    reasons: np.ndarray,
) -> Estimates:
    """Return estimates with other standard errors, and without rows that have none."""
    beta = first.table["beta"].to_numpy(float)
    low, high = inference.interval(beta, error.se, df=error.df, level=level)
    parts = {} if factors is None else {"se_sampling": error.sampling, "se_member": error.member}
    table = first.table.assign(
        se=error.se,
        ci_low=low,
        ci_high=high,
        pvalue=inference.two_sided(beta, error.se, df=error.df),
        df=error.df,
        level=level,
        **parts,
    )
    gone = table.loc[lost, ["method", "exposure", "outcome", "locus"]].assign(reason=reasons[lost])
    return Estimates(
        table=table[~lost].reset_index(drop=True),
        skipped=pd.concat([first.skipped, gone], ignore_index=True) if lost.any() else first.skipped,
        error_factors=None if factors is None else factors[:, ~lost],
    )
