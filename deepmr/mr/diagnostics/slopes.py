"""Slopes through the origin and their mean over loci, with the errors that members share: what diagnostics compare."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from deepmr.inference import total_error, two_sided
from deepmr.linalg import fit_lines, line_factors
from deepmr.mr.lines import exposure_of
from deepmr.types import Instruments


@dataclass(frozen=True, slots=True, kw_only=True)
class Slopes:
    """One equal-weight slope a locus.

    Attributes
    ----------
    beta : 0 where there is none.
    factors : how members move it, (1 + 1/K) included; no row where errors are not shared.
    known : False where the instruments determine no slope.
    """

    beta: Float[np.ndarray, "loci"]
    factors: Float[np.ndarray, "factors loci"]
    known: Bool[np.ndarray, "loci"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean over loci with its standard error: their scatter, and what members share.

    Attributes
    ----------
    value, se, df, pvalue : NaN, NaN, 0 and 1 where no locus has a value.
    n : number of loci.
    """

    value: float
    se: float
    df: float
    pvalue: float
    n: int


def shared_errors(instruments: Instruments) -> Float[np.ndarray, "factors instruments traits"]:
    """Return the errors that members share, without a row where there are none."""
    if instruments.error_factors is None:
        return np.zeros((0, len(instruments.variants), len(instruments.exposures) + 1))
    return np.asarray(instruments.error_factors, dtype=float)


def locus_slopes(instruments: Instruments, *, intercept: bool = False) -> Slopes:
    """Fit an equal-weight line to the instruments of every locus.

    Parameters
    ----------
    instruments : of one exposure; with an intercept they should be oriented.
    intercept : fit one, as MR-Egger does, or force the line through the origin.
    """
    x, _ = exposure_of(instruments)
    y, offsets = instruments.beta_outcome.astype(float), instruments.offsets
    weights, shared = np.ones_like(x), shared_errors(instruments)
    fit = fit_lines(x, y, weights, offsets, intercept=intercept)
    known = fit.identified & (instruments.counts > (1 if intercept else 0))
    factors, _ = line_factors(fit, x, weights, offsets, x_factors=shared[:, :, 0], y_factors=shared[:, :, 1])
    return Slopes(beta=np.where(known, fit.slope, 0.0), factors=factors * known, known=known)


def member_pvalue(
    values: Float[np.ndarray, "loci"], factors: Float[np.ndarray, "factors loci"]
) -> Float[np.ndarray, "loci"]:
    """Return two-sided P values against the members' errors alone, t(K - 1); 1 where errors are not shared."""
    if not len(factors):
        return np.ones(len(values))
    return two_sided(values, np.sqrt(np.sum(factors**2, axis=0)), df=max(len(factors) - 1.0, 1.0))


def mean_over_loci(
    values: Float[np.ndarray, "loci"], factors: Float[np.ndarray, "factors loci"], known: Bool[np.ndarray, "loci"]
) -> Mean:
    """Return the plain mean over the loci that have a value.

    Parameters
    ----------
    values : one a locus.
    factors : how members move them.
    known : which loci count.

    Notes
    -----
    The variance is s^2 / n, s^2 over loci, plus the sum over members of the squared mean of their factors, which no
    number of loci averages out. The scatter over loci contains what members add to each by itself, which so counts
    twice, in the order of 1 / n of it. One locus has no scatter: its error is the members' alone.
    """
    n = int(known.sum())
    if n == 0:
        return Mean(value=np.nan, se=np.nan, df=0.0, pvalue=1.0, n=0)
    chosen = values[known]
    variance = np.array([chosen.var(ddof=1) / n if n > 1 else 0.0])
    error = total_error(variance, max(n - 1.0, 1.0), factors[:, known].mean(axis=1)[:, None])
    value, se, df = float(chosen.mean()), float(error.se[0]), float(error.df[0])
    if not len(factors) and n == 1:
        return Mean(value=value, se=np.nan, df=0.0, pvalue=1.0, n=n)
    return Mean(value=value, se=se, df=df, pvalue=float(two_sided(np.array([value]), np.array([se]), df=df)[0]), n=n)
