"""Tails and intervals: the one home of P values and confidence limits."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import optimize, special, stats

# Intervals that members of an ensemble give; `deepmr.mr.intervals` says what each is.
MemberInterval = Literal["moderated", "members", "rubin", "mean", "jackknife", "paired_sd", "gls"]


def quantile(level: float, df: Float[np.ndarray, "*shape"] | float = np.inf) -> Float[np.ndarray, "*shape"]:
    """Return the half width, in standard errors, of a two-sided interval of the given level.

    Parameters
    ----------
    level : coverage, between 0 and 1.
    df : degrees of freedom of Student's t; infinite gives the normal.
    """
    dof = np.asarray(df, dtype=float)
    upper = (1 + level) / 2
    return np.where(np.isinf(dof), stats.norm.ppf(upper), stats.t.ppf(upper, np.where(np.isinf(dof), 1.0, dof)))


def interval(
    beta: Float[np.ndarray, "*shape"],
    se: Float[np.ndarray, "*shape"],
    *,
    df: Float[np.ndarray, "*shape"] | float = np.inf,
    level: float = 0.95,
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
    """Return the lower and upper confidence limits beta -+ q * se."""
    half = quantile(level, df) * se
    return beta - half, beta + half


def two_sided(
    beta: Float[np.ndarray, "*shape"],
    se: Float[np.ndarray, "*shape"],
    *,
    df: Float[np.ndarray, "*shape"] | float = np.inf,
) -> Float[np.ndarray, "*shape"]:
    """Return the two-sided P value of beta = 0; computed from the upper tail, so that it never rounds to 0 early."""
    dof = np.asarray(df, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.abs(beta) / se
    z = np.where(np.isnan(z), 0.0, z)  # 0 / 0: an effect known to be exactly zero
    normal = 2 * stats.norm.sf(z)
    return np.where(np.isinf(dof), normal, 2 * stats.t.sf(z, np.where(np.isinf(dof), 1.0, dof)))


def chi2_tail(q: Float[np.ndarray, "*shape"], df: Float[np.ndarray, "*shape"] | float) -> Float[np.ndarray, "*shape"]:
    """Return the upper-tail probability of chi-square; 1 where there are no degrees of freedom."""
    dof = np.broadcast_to(np.asarray(df, dtype=float), np.shape(q))
    return np.where(dof > 0, stats.chi2.sf(q, np.where(dof > 0, dof, 1.0)), 1.0)


def i_squared(q: Float[np.ndarray, "*shape"], df: Float[np.ndarray, "*shape"] | float) -> Float[np.ndarray, "*shape"]:
    """Return the share of Cochran's Q beyond its expectation, (Q - df) / Q, between 0 and 1; 0 where Q is 0."""
    excess = np.maximum(q - df, 0.0)
    return np.divide(excess, q, out=np.zeros_like(excess), where=q > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalError:
    """A standard error made of two independent parts.

    Attributes
    ----------
    se : square root of the sum of both variances.
    df : degrees of freedom of `se` (Welch and Satterthwaite); those of the sampling part where `se` is 0.
    sampling, member : standard errors of the parts.
    """

    se: Float[np.ndarray, "*shape"]
    df: Float[np.ndarray, "*shape"]
    sampling: Float[np.ndarray, "*shape"]
    member: Float[np.ndarray, "*shape"]


def total_error(
    sampling_var: Float[np.ndarray, "*shape"],
    sampling_df: Float[np.ndarray, "*shape"] | float,
    factors: Float[np.ndarray, "factors *shape"],
    *,
    padded: bool = False,
) -> TotalError:
    """Add the error that ensemble members share to a sampling variance.

    Parameters
    ----------
    sampling_var : variance from the scatter over instruments or loci.
    sampling_df : its degrees of freedom; infinite for a known variance. Ignored where the variance is 0.
    factors : one a member; their squares sum to the variance over members, which has members - 1 degrees of freedom.
    padded : whether a factor of exactly 0 only fills up a table in which others have more factors, and does not count.

    Notes
    -----
    df = (v_s + v_m)^2 / (v_s^2 / df_s + v_m^2 / (K - 1)).

    References
    ----------
    Satterthwaite FE. An approximate distribution of estimates of variance components. Biometrics 1946.
    https://doi.org/10.2307/3002019
    """
    member_var = np.sum(np.square(factors, dtype=float), axis=0)
    if padded:
        df = np.maximum(np.count_nonzero(factors, axis=0) - 1.0, 1.0)
        return add_errors(sampling_var, sampling_df, member_var, df)
    return add_errors(sampling_var, sampling_df, member_var, float(max(len(factors) - 1, 1)))


def add_errors(
    sampling_var: Float[np.ndarray, "*shape"],
    sampling_df: Float[np.ndarray, "*shape"] | float,
    member_var: Float[np.ndarray, "*shape"],
    member_df: Float[np.ndarray, "*shape"] | float,
) -> TotalError:
    """Add two independent variances, each known to some degrees of freedom (`total_error` has the formula).

    Parameters
    ----------
    sampling_var, sampling_df : as in `total_error`.
    member_var, member_df : variance over members and its degrees of freedom.
    """
    dof = np.broadcast_to(np.asarray(sampling_df, dtype=float), np.shape(sampling_var))
    total = sampling_var + member_var
    # Ratios to the total, not squares of variances: those underflow for small effects.
    share = np.divide(sampling_var, total, out=np.zeros_like(total), where=total > 0)
    spread = np.divide(share**2, dof, out=np.zeros_like(total), where=share > 0)
    spread = spread + np.where(total > 0, (1 - share) ** 2, 0.0) / member_df
    df = np.divide(1.0, spread, out=np.array(dof), where=spread > 0)
    return TotalError(se=np.sqrt(total), df=df, sampling=np.sqrt(sampling_var), member=np.sqrt(member_var))


def moderate_variances(variance: Float[np.ndarray, "units"], df: float) -> Float[np.ndarray, "units"]:
    """Shrink variances that few degrees of freedom estimate towards their common size, as much as the data warrant.

    Parameters
    ----------
    variance : zero or positive; zeros tell nothing about the common size. Fewer than three positive ones stay as they
        are.
    df : degrees of freedom of each, above zero.

    Returns
    -------
    (d0 s0 + df v) / (d0 + df), with s0 and d0 fitted by the mean and variance of log v; all s0 where the variances
    differ no more than chance makes them (d0 infinite).

    References
    ----------
    Smyth GK. Linear models and empirical Bayes methods for assessing differential expression in microarray experiments.
    Stat Appl Genet Mol Biol 2004. https://doi.org/10.2202/1544-6115.1027
    """
    size, prior = _common_variance(variance, df, alike=0.0)
    return _shrunk(variance, df, size, prior)


def _common_variance(variance: Float[np.ndarray, "units"], df: float, *, alike: float) -> tuple[float, float]:
    """Fit s0 and d0 to the mean and variance of log v; (0, 0) where fewer than three variances are above zero.

    Parameters
    ----------
    alike : mean correlation of the variances of two units. By as much less do their logarithms scatter by chance, and
        by as much less is their mean off that of the logarithm of the truth in a way that more units make up for.
    """
    positive = variance[variance > 0]
    if len(positive) < 3:
        return 0.0, 0.0
    logs = np.log(positive) - (1 - alike) * float(special.digamma(df / 2) - np.log(df / 2))
    excess = float(np.var(logs, ddof=1) - (1 - alike) * special.polygamma(1, df / 2))
    if excess <= special.polygamma(1, 1e6):
        return float(np.exp(logs.mean())), np.inf
    prior = 2 * optimize.brentq(lambda half: special.polygamma(1, half) - excess, 1e-9, 1e6)
    return float(np.exp(logs.mean() + special.digamma(prior / 2) - np.log(prior / 2))), float(prior)


def _shrunk(variance: Float[np.ndarray, "units"], df: float, size: float, prior: float) -> Float[np.ndarray, "units"]:
    if np.isinf(prior):
        return np.full(len(variance), size)
    return (prior * size + df * variance) / (prior + df)


def false_discovery(
    pvalues: Float[np.ndarray, "tests"], *, method: Literal["bh", "by"] = "bh"
) -> Float[np.ndarray, "tests"]:
    """Adjust P values so that those below q are a list with at most a share q of false findings on average.

    Parameters
    ----------
    pvalues : of one family of tests.
    method : "bh" (Benjamini and Hochberg), for tests that are independent or depend positively; "by" (Benjamini and
        Yekutieli), for any dependence.

    References
    ----------
    Benjamini Y, Hochberg Y. J R Stat Soc B 1995. https://doi.org/10.1111/j.2517-6161.1995.tb02031.x
    Benjamini Y, Yekutieli D. Ann Stat 2001. https://doi.org/10.1214/aos/1013699998

    Examples
    --------
    >>> false_discovery(np.array([0.01, 0.02, 0.9])).round(3).tolist()
    [0.03, 0.03, 0.9]
    """
    if not len(pvalues):
        return np.zeros(0)
    return np.asarray(stats.false_discovery_control(np.clip(pvalues, 0.0, 1.0), method=method), dtype=float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moderated:
    """Variances over members, moderated over loci.

    Attributes
    ----------
    variance : of every locus.
    df : its degrees of freedom.
    prior_df : d0, what the other loci add; 0 where there are too few to tell.
    correlation : mean squared correlation of the errors of two loci, 0 to 1.
    """

    variance: Float[np.ndarray, "units"]
    df: float
    prior_df: float
    correlation: float


def moderate_members(factors: Float[np.ndarray, "factors units"]) -> Moderated:
    """Moderate the variance that a few members give every locus, knowing that they err at many loci alike.

    Parameters
    ----------
    factors : one a member; the squares of a column sum to the variance of its locus.

    Notes
    -----
    v~ = (d0 s0 + k v) / (d0 + k) with k = K - 1, as in `moderate_variances`. Its degrees of freedom would be k + d0 if
    loci were independent. Loci of one ensemble are not: where all members err everywhere alike, a thousand loci know no
    more of the size of that error than one. The variances v_i and v_j of two loci correlate by r_ij^2, with r_ij the
    correlation of their errors, so that the common size has k / r2 degrees of freedom, r2 the mean of r_ij^2 over all
    pairs, and the logarithms of the v_i scatter by chance by (1 - r2) trigamma(k / 2). Both are taken into account:
    df = min(k + d0, k / r2), never below k. r2 is freed of the 1 / k that chance gives it; two members (k = 1) cannot
    tell it, and it counts as 1.
    """
    variance = np.sum(np.square(factors, dtype=float), axis=0)
    k, known = float(max(len(factors) - 1, 1)), variance > 0
    n = int(known.sum())
    if n < 3:
        return Moderated(variance=variance, df=k, prior_df=0.0, correlation=1.0)
    unit = factors[:, known] / np.sqrt(variance[known])
    pairs = max(float(np.sum((unit @ unit.T) ** 2)) - n, 0.0) / (n * (n - 1.0))
    alike = 1.0 if k < 2 else float(np.clip((pairs - 1 / k) / (1 - 1 / k), 0.0, 1.0))
    size, prior = _common_variance(variance, k, alike=alike)
    most = k / (1 / n + (1 - 1 / n) * alike)
    return Moderated(
        variance=_shrunk(variance, k, size, prior),
        df=max(k, min(k + prior, most)),
        prior_df=prior,
        correlation=alike,
    )


def share_of_members(kind: MemberInterval, n_members: int) -> float:
    """Return the variance over members that a kind of interval takes, as a share of (1 + 1/K) B, which factors carry.

    Parameters
    ----------
    kind : of the interval.
    n_members : K; B has the denominator K - 1.
    """
    if kind in ("mean", "jackknife"):
        return 1 / (n_members + 1)
    return (n_members - 1) / (n_members + 1) if kind == "paired_sd" else 1.0
