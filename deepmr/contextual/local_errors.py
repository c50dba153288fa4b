"""Errors of effects of loci that are known to few degrees of freedom: Student's t, as a scale mixture."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from deepmr.contextual.reml import fit_mixed

LocalErrors = Literal["normal", "t"]
NORMAL_DF = 30.0  # degrees of freedom from which on a local error counts as normal
_NODES = 15  # quantiles that stand for the distribution of a variance
ROUNDS, DONE = 12, 1e-3  # of weights at most, and the change of a logarithm that ends them


def error_weights(
    squared: Float[np.ndarray, "loci"], known: Float[np.ndarray, "loci"], df: Float[np.ndarray, "loci"]
) -> Float[np.ndarray, "loci"]:
    """Return by what the error variance of each locus is divided.

    Parameters
    ----------
    squared : expected squared errors, given the effects.
    known : error variances.
    df : degrees of freedom of these; from `NORMAL_DF` on the weight is 1.

    Notes
    -----
    (df + 1) / (df + E e^2 / se^2), the E-step of a scale mixture.

    References
    ----------
    Lange KL, Little RJA, Taylor JMG (1989). J Am Stat Assoc 84:881. doi:10.1080/01621459.1989.10478852
    """
    ratio = squared / known
    return np.where(df < NORMAL_DF, (df + 1) / (np.where(df < NORMAL_DF, df, 0.0) + ratio), 1.0)


def heavy_se(
    beta: Float[np.ndarray, "loci"],
    se: Float[np.ndarray, "loci"],
    design: Float[np.ndarray, "loci columns"],
    df: Float[np.ndarray, "loci"],
    *,
    factors: Float[np.ndarray, "factors loci"] | None,
    tau2: float | None,
) -> Float[np.ndarray, "loci"]:
    """Return standard errors over the roots of their weights, for a mixed meta-regression whose errors are t.

    Parameters
    ----------
    beta, se, design, factors, tau2 : as of `fit_mixed`.
    df : degrees of freedom of `se`.
    """
    weight = np.ones_like(se)
    for _ in range(ROUNDS):
        now = se**2 / weight
        fit = fit_mixed(beta, np.sqrt(now), design, factors=factors, tau2=tau2, scaled=False)
        squared = (now * fit.projected) ** 2 + now - now**2 * fit.diagonal
        new = error_weights(squared, se**2, df)
        moved = float(np.abs(np.log(new / weight)).max())
        weight = new
        if moved < DONE:
            break
    found: np.ndarray = se / np.sqrt(weight)
    return found


def error_scales(df: Float[np.ndarray, "loci"] | None, n_loci: int) -> Float[np.ndarray, "nodes loci"]:
    """Return by what an error variance may have to be multiplied, nodes of equal weight.

    Parameters
    ----------
    df : degrees of freedom of standard errors; None where they are known, which gives one node of 1.
    n_loci : how many loci there are.

    Notes
    -----
    df / chi^2(df) at the middles of 15 equal shares of its distribution: t(df) is the mixture of such normal ones.
    """
    if df is None or (df >= NORMAL_DF).all():
        return np.ones((1, n_loci))
    shares = (np.arange(_NODES) + 0.5) / _NODES
    finite = np.where(df < NORMAL_DF, df, NORMAL_DF)
    return np.where(df < NORMAL_DF, finite / stats.chi2.ppf(shares[:, None], finite), 1.0)
