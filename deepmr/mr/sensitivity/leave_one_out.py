"""Leave-one-out: the estimate without each of the instruments, and each instrument alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from deepmr import checks
from deepmr.mr import METHODS, USES_CORRELATION, USES_ERROR_CORR
from deepmr.mr.lines import (
    Distribution,
    Scatter,
    equal_weights,
    exposure_of,
    inverse_variances,
    oriented,
    sampling_scale,
    standard_error,
)
from deepmr.mr.sensitivity.downdate import lines_without_each
from deepmr.mr.sensitivity.findings import Findings, home
from deepmr.mr.sensitivity.parts import as_rows, each_alone, whole_last, without_each
from deepmr.mr.wald import wald_weighted
from deepmr.types import Estimates, Instruments, concat_estimates, make_estimates

# Methods whose lines can be updated: weights, scatter, distribution, intercept; what their functions do by default.
CLOSED: dict[str, tuple[Literal["equal", "inverse"], Scatter, Distribution, bool]] = {
    "ivw": ("equal", "random", "t", False),
    "ivw_fixed": ("inverse", "fixed", "normal", False),
    "ivw_random": ("inverse", "floored", "normal", False),
    "egger": ("inverse", "floored", "t", True),
}


def leave_one_out(
    instruments: Instruments, *, method: str = "ivw_random", min_instruments: int = 3, level: float = 0.95
) -> Findings:
    """Estimate the effect without each of the instruments: an answer that hangs on one of them shows.

    Parameters
    ----------
    instruments : one exposure.
    method : a key of `METHODS`, with its default options. IVW and MR-Egger are updated from the full fit, for all loci
        at once; others are refitted for every instrument.
    min_instruments : loci with fewer are skipped.
    level : of the confidence intervals.

    Returns
    -------
    Findings "leave_one_out": a row an instrument, in their order, and one a locus with all of them, marked '*'.
    """
    checks.one_of("method", method, METHODS)
    checks.at_least("min_instruments", min_instruments, 2)
    whole = METHODS[method](instruments, min_instruments=min_instruments, level=level)
    done = np.isin(np.asarray(instruments.loci, dtype=object), whole.table["locus"].to_numpy(object))
    rows = np.flatnonzero(done[home(instruments)])
    parts = []
    if method in CLOSED and not _heeds_more(instruments, method):
        updated, exact = _updated(instruments, method, level, least=max(min_instruments - 1, 1))
        kept = updated.take(_among(updated.table, rows[exact[rows]]))
        parts.append(replace(kept, skipped=updated.skipped[:0]))  # what cannot be updated is refitted
        rows = rows[~exact[rows]]
    for others in without_each(instruments, rows):
        parts.append(METHODS[method](others, min_instruments=max(min_instruments - 1, 1), level=level))
    if not parts:
        return Findings(analysis="leave_one_out", table=_no_rows(whole), skipped=whole.skipped)
    found, gone = as_rows(concat_estimates(parts), instruments, column="left_out")
    gone["reason"] = ["without " + why for why in gone["reason"]]
    table = whole_last(found, whole.table, instruments, column="left_out", analysis="leave_one_out")
    skipped = pd.concat([whole.skipped, gone], ignore_index=True) if len(gone) else whole.skipped
    return Findings(analysis="leave_one_out", table=table, skipped=skipped)


def _heeds_more(instruments: Instruments, method: str) -> bool:
    """Say whether the method takes notice of a correlation that the updates know nothing of."""
    correlated = instruments.correlation is not None and method in USES_CORRELATION
    return correlated or (instruments.error_corr is not None and method in USES_ERROR_CORR)


def _no_rows(whole: Estimates) -> pd.DataFrame:
    names = ["exposure", "outcome", "locus", "method", "left_out", "beta", "se", "ci_low", "ci_high", "pvalue", "n"]
    return whole.table.assign(left_out="*")[names]


def _among(table: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
    return np.isin(table["locus"].to_numpy(str).astype(int), rows) if len(table) else np.zeros(0, dtype=bool)


def _updated(instruments: Instruments, method: str, level: float, *, least: int) -> tuple[Estimates, np.ndarray]:
    """Return the estimate without each instrument as a locus named by its row number, and where it is exact."""
    kind, scatter, distribution, intercept = CLOSED[method]
    given = oriented(instruments)
    x, _ = exposure_of(given)
    weights = equal_weights(given) if kind == "equal" else inverse_variances(given)
    without = lines_without_each(
        x, given.beta_outcome.astype(float), weights, given.offsets, intercept=intercept, factors=given.error_factors
    )
    fit, left = without.fit, np.repeat(given.counts, given.counts) - 1
    shared = given.error_factors is not None
    error = standard_error(
        sampling_scale(fit, scatter, shared=shared) * fit.slope_unscaled,
        fit.df,
        without.factors,
        distribution=distribution,
    )
    estimates = make_estimates(
        method, each_alone(instruments), beta=fit.slope, se=error.se, df=error.df,
        reason=[""] * len(x), level=level, error_factors=without.factors,
    )  # fmt: skip
    estimates.table["n"] = left[estimates.table["locus"].to_numpy(str).astype(int)] if len(estimates) else 0
    enough = left >= (max(least, 3) if intercept else least)
    return estimates, without.exact & enough & fit.identified


def single_instruments(
    instruments: Instruments,
    *,
    methods: Sequence[str] = ("ivw_random", "egger"),
    order: Literal["first", "second"] = "first",
    min_instruments: int = 3,
    level: float = 0.95,
) -> Findings:
    """Estimate the effect from each instrument alone: its ratio y / x.

    Parameters
    ----------
    instruments : one exposure. One with an exposure effect of exactly zero has no ratio and is skipped.
    methods : estimates from all instruments that are put beside them.
    order : of the variance of a ratio; see `deepmr.mr.wald.wald_weighted`.
    min_instruments : that those need.
    level : of the confidence intervals.

    Returns
    -------
    Findings "single": a row an instrument, in their order, then one a method with all of them, marked '*'.
    """
    checks.unique("methods", methods)
    for name in methods:
        checks.one_of("method", name, METHODS)
    x, _ = exposure_of(instruments)
    alone = wald_weighted(each_alone(instruments).take(x != 0), min_instruments=1, level=level, order=order)
    found, gone = as_rows(alone, instruments, column="variant_id")
    gone["reason"] = [why.partition(": ")[0] + ": an exposure effect of 0 has no ratio" for why in gone["reason"]]
    found["method"] = "wald_weighted"
    wholes = [METHODS[name](instruments, min_instruments=min_instruments, level=level) for name in methods]
    together = concat_estimates(wholes) if wholes else alone.take(np.zeros(len(alone), dtype=bool))
    table = whole_last(found, together.table, instruments, column="variant_id", analysis="single")
    skipped = [frame for frame in (together.skipped if wholes else gone[:0], gone) if len(frame)]
    return Findings(analysis="single", table=table, skipped=pd.concat(skipped, ignore_index=True) if skipped else gone)
