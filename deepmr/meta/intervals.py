"""Intervals of the mean over loci, by the name of what they take of the members: the default, and others to compare."""

from dataclasses import replace
from typing import get_args

import numpy as np

from deepmr import checks
from deepmr.inference import MemberInterval, share_of_members
from deepmr.meta.pooling import pool_estimates
from deepmr.types import Estimates


def global_intervals(estimates: Estimates, *, kind: MemberInterval = "moderated", level: float = 0.95) -> Estimates:
    """Pool effects of an ensemble over loci with the interval of the mean that a kind of local interval goes with.

    Parameters
    ----------
    estimates : one row a locus, with `error_factors` as `estimate_effects` gives them (or `jackknife_members`, or a
        method whose weights are made from shared errors); without them `pool_estimates` alone is the answer.
    kind : as for `deepmr.mr.intervals.member_intervals`.
    level : of every interval, between 0 and 1.

    Returns
    -------
    Estimates as `pool_estimates` gives them. `deepmr meta` gives the same of a table that `deepmr mr --interval` made.

    Notes
    -----
    se^2 = random-effects part + members' part, equal weights w, the latter a share of sum_k (sum_i w_i F_ki)^2 =
    (1 + 1/K) Var_members(mean over loci): all of it (`moderated`, `members` and `rubin`, which differ at single loci
    alone, and `gls`), 1 / (K + 1) of it (`mean`, `jackknife`), with K - 1 degrees of freedom. Moderation has no part in
    it: there is one mean over loci, and its coherent sum is all that is known of it.

    `paired_sd`, the original's: effects +- standard deviation over members (ddof 0) taken as independent, restricted
    maximum likelihood with inverse variances, normal interval of the mean. (The original drew 2 standard errors.)
    """
    checks.one_of("kind", kind, get_args(MemberInterval))
    factors = estimates.error_factors
    if factors is None or not len(estimates):
        return pool_estimates(estimates, level=level)
    share = share_of_members(kind, len(factors))
    if kind == "paired_sd":
        se = np.sqrt(share * np.sum(np.square(factors, dtype=float), axis=0))
        alone = replace(estimates, table=estimates.table.assign(se=se), error_factors=None)
        return pool_estimates(alone, tau2="REML", weights="inverse_variance", ci="normal", level=level)
    table = estimates.table
    if kind in ("members", "mean", "jackknife"):
        table = table.assign(se_sampling=0.0)
    return pool_estimates(replace(estimates, table=table, error_factors=factors * np.sqrt(share)), level=level)
