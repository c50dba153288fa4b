"""Tails and intervals: the one home of P values and confidence limits."""

import numpy as np
from jaxtyping import Float
from scipy import stats


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
