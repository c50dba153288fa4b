"""Intervals of the effect in the model, from what ensemble members say: the default, and others by name."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from deepmr import checks, inference
from deepmr.errors import InputError
from deepmr.inference import MemberInterval, TotalError, add_errors, moderate_members, share_of_members
from deepmr.mr.resampling import sampling_df
from deepmr.types import Estimates

_ANOTHER = "hold what one more network, trained as these were, would show: "
_LIMIT = "hold what endlessly many such networks would show on average: "
# What the intervals of each kind are, as a table's summary says it.
MEANINGS: dict[str, str] = {
    "moderated": _ANOTHER + "scatter of the instruments, and (1 + 1/K) times the variance between K members, moderated "
    "over loci",
    "members": _ANOTHER + "(1 + 1/K) times the variance between K members, each locus by itself",
    "rubin": _ANOTHER + "scatter of the instruments, and (1 + 1/K) times the variance between K members, with the "
    "degrees of freedom of multiple imputation",
    "mean": _LIMIT + "the variance between K members over K",
    "jackknife": _LIMIT + "leaving out one member at a time",
    "paired_sd": "are the standard deviation over members taken for a standard error, for comparison: they promise no "
    "coverage",
    "gls": "are the estimator's own, its weights made from what members share",
}
WITH_BOOTSTRAP: tuple[MemberInterval, ...] = ("moderated", "members", "rubin")
_GROUP = ["method", "exposure", "outcome", "estimand"]
_SAME = 1e-9  # ends of an interval, relative to its half width


def member_intervals(estimates: Estimates, *, kind: MemberInterval = "moderated", level: float = 0.95) -> Estimates:
    """Give estimates from an ensemble another standard error, interval and P value, each method and pair by itself.

    Parameters
    ----------
    estimates : from `estimate_effects` with errors that members share; without them they come back as they are. For
        `jackknife` from `jackknife_members`; for `gls` from a method whose weights are made from shared errors.
    kind : of the interval; see Notes.
    level : of the confidence intervals, between 0 and 1.

    Returns
    -------
    Estimates
        `se`, `df`, `se_sampling`, `se_member`, interval and P value anew. `error_factors` become what the kind takes
        the members to share, never moderated, so that `deepmr.meta.pool_estimates` gives the interval of the mean over
        loci that belongs to the kind: their coherent sum beside the random-effects part.
        Rows whose interval is a set of their own (Anderson-Rubin, CLR) stay as they are.

    Notes
    -----
    K members, B the variance between their slopes at the instruments chosen on the mean, S the scatter of the
    instruments about the line as the method has it.

    ==========  ==========================  ==========================  ==================================
    kind        se^2                        reference                   factors, of the mean over loci
    ==========  ==========================  ==========================  ==================================
    moderated   S + (1 + 1/K) B moderated   t, K - 1 + d0 for B         (1 + 1/K) B
    members     (1 + 1/K) B                 t, K - 1                    (1 + 1/K) B
    rubin       S + (1 + 1/K) B             t, (K - 1) (1 + S / B')^2   (1 + 1/K) B
    mean        B / K                       t, K - 1                    B / K
    jackknife   (K - 1)/K sum (b_-k - b)^2  t, K - 1                    the same
    paired_sd   (K - 1) B / K, sd of ddof 0 normal                      none: loci as independent
    gls         the estimator's own         its own                     its own
    ==========  ==========================  ==========================  ==================================

    (1 + 1/K) B holds one more exchangeable network, and with it a truth that the members scatter about no closer than
    about each other; B / K holds the mean of endlessly many alone. An error that all members share is in none of them.

    Moderation and its degrees of freedom: `deepmr.inference.moderate_members`. B' is (1 + 1/K) B; Barnard and Rubin's
    correction for few instruments is left out: with S near 0 it leaves no degrees of freedom at all.

    References
    ----------
    Smyth GK. Stat Appl Genet Mol Biol 2004. https://doi.org/10.2202/1544-6115.1027
    Rubin DB. Multiple Imputation for Nonresponse in Surveys. 1987. https://doi.org/10.1002/9780470316696
    Barnard J, Rubin DB. Biometrika 1999. https://doi.org/10.1093/biomet/86.4.948

    Examples
    --------
    >>> from deepmr.mr import estimate_effects
    >>> from deepmr.simulate.instruments import simulate_instruments
    >>> given = estimate_effects(simulate_instruments("shared_errors", n_loci=20), methods=["ivw"])
    >>> wide, narrow = member_intervals(given, kind="members").table, member_intervals(given, kind="mean").table
    >>> float((wide["se"] / narrow["se"]).iloc[0].round(6)) == round((3 + 1) ** 0.5, 6)
    True
    """
    checks.one_of("kind", kind, get_args(MemberInterval))
    checks.level(level)
    factors = estimates.error_factors
    if factors is None or not len(estimates) or kind == "gls":
        return estimates
    if len(factors) < 2:
        raise InputError(f"intervals from members need at least 2 of them; error_factors have {len(factors)}")
    error, dof = _error(estimates, factors, kind)
    own = _own_sets(estimates.table)
    table = estimates.table
    beta = table["beta"].to_numpy(float)
    low, high = inference.interval(beta, error.se, df=dof, level=level)
    new = {"se": error.se, "ci_low": low, "ci_high": high, "pvalue": inference.two_sided(beta, error.se, df=dof)}
    new |= {"df": dof, "level": np.full(len(beta), level), "se_sampling": error.sampling, "se_member": error.member}
    kept = {name: table[name].to_numpy(float) if name in table else np.full(len(beta), np.nan) for name in new}
    table = table.assign(**{name: np.where(own, kept[name], values) for name, values in new.items()})
    shared = factors * np.sqrt(share_of_members(kind, len(factors)))
    if kind == "paired_sd":
        table = table.drop(columns=["se_sampling", "se_member"])
    return replace(estimates, table=table, error_factors=None if kind == "paired_sd" else shared)


def _error(
    estimates: Estimates, factors: Float[np.ndarray, "factors rows"], kind: MemberInterval
) -> tuple[TotalError, Float[np.ndarray, "rows"]]:
    """Return the standard error with its parts, and its degrees of freedom."""
    table, k = estimates.table, len(factors)
    member = share_of_members(kind, k) * np.sum(np.square(factors, dtype=float), axis=0)
    if kind not in ("moderated", "rubin"):
        error = add_errors(np.zeros_like(member), np.inf, member, float(k - 1))
        normal = kind == "paired_sd"
        return error, np.full_like(member, np.inf if normal else k - 1.0)
    sampling = np.square(table["se_sampling"].to_numpy(float))
    if kind == "rubin":
        error = add_errors(sampling, np.inf, member, float(k - 1))
        return error, error.df
    member_df = np.full_like(member, k - 1.0)
    for _, index in table.groupby(_GROUP, sort=False).indices.items():
        moderated = moderate_members(factors[:, index])
        member[index], member_df[index] = moderated.variance, moderated.df
    error = add_errors(sampling, sampling_df(estimates, k), member, member_df)
    return error, error.df


def _own_sets(table: pd.DataFrame) -> Bool[np.ndarray, "rows"]:
    """Say which rows are of a method whose intervals are not beta -+ q se: tests inverted, with the members in them."""
    low, high, beta = (table[name].to_numpy(float) for name in ("ci_low", "ci_high", "beta"))
    odd = pd.Series(np.abs(low + high - 2 * beta) > _SAME * np.maximum(high - low, np.abs(beta)), index=table.index)
    own: Bool[np.ndarray, "rows"] = odd.groupby(table["method"]).transform("any").to_numpy(bool)
    return own
