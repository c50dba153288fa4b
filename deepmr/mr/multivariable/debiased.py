"""Multivariable IVW corrected for the error of the exposure effects and for overlapping samples."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from deepmr import checks
from deepmr.linalg import divide, segment_repeat, segment_sum
from deepmr.mr.designs import cross_products, invert
from deepmr.mr.errors import error_covariances
from deepmr.mr.multivariable.strength import conditional_f, direct_q, signal
from deepmr.mr.multivariable.table import (
    direct_estimates,
    errors,
    exposures_of,
    fitted,
    shared_moves,
    too_few,
    weights_of,
)
from deepmr.types import Estimates, Instruments

_WEAK = "not identified: instruments are too weak to tell the exposures apart once their error is taken out"


def mv_debiased(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    error: Literal["random", "fixed", "sandwich"] = "random",
) -> Estimates:
    """Estimate direct effects by IVW from which the error of the exposure effects is taken out.

    Parameters
    ----------
    instruments : one exposure or several; `error_corr` is used.
    min_instruments : loci with fewer are skipped; never below exposures + 1.
    level : of the confidence intervals.
    error : standard errors from the errors of all effects, with (`random`) or without (`fixed`) `tau2`, or from the
        scatter of the instruments' contributions (`sandwich`), as shared errors always do.

    Returns
    -------
    Estimates as of `mv_ivw`; Q counts the error of the exposures too. Further extras: `tau2`, the variance of balanced
    direct effects on the outcome, and `strength`, the smallest signal of any mixture of exposures over its noise.

    Notes
    -----
    b = M^-1 (X'Wy - sum w_j c_j), M = X'WX - sum w_j S_j, with S_j the error covariance of the exposures and c_j that
    of exposures and outcome. Variance M^-1 B M^-1: B = sum w_j^2 ((v_j + tau2) x_j x_j' + (c_j - S_j b)(c_j - S_j b)')
    with v_j = se_y^2 + b' S_j b - 2 b' c_j and tau2 = sum w_j (e_j^2 - v_j) / sum w_j, at least 0; by scatter, B = sum
    u_j u_j' J / (J - K), u_j = w_j (x_j e_j + S_j b - c_j). For one exposure it is `debiased_ivw`. Loci where M is not
    positive definite are skipped. Shared errors move the estimate by differences.

    References
    ----------
    Lorincz-Comi N, Yang Y, Li G, Zhu X. MRBEE: a bias-corrected multivariable Mendelian randomization method.
    HGG Adv 2024. https://doi.org/10.1016/j.xhgg.2024.100290
    Wu Y, Kang H, Ye T. A more credible approach to multivariable Mendelian randomization. 2024.
    https://doi.org/10.48550/arXiv.2402.00307
    """
    checks.one_of("error", error, ("random", "fixed", "sandwich"))
    beta, inverse, identified = _solve(instruments)
    x, offsets, weights = exposures_of(instruments), instruments.offsets, weights_of(instruments)
    k = x.shape[1]
    covariance = error_covariances(instruments)
    b = segment_repeat(np.nan_to_num(beta).T, offsets).T
    rest = instruments.beta_outcome - fitted(x, beta, offsets)
    pull = np.einsum("rpq,rq->rp", covariance[:, :k, :k], b) - covariance[:, :k, k]
    contrast = np.column_stack([-b, np.ones(len(b))])
    noise = np.einsum("rp,rpq,rq->r", contrast, covariance, contrast)
    excess = segment_sum(weights * (rest**2 - noise), offsets)
    tau2 = np.maximum(divide(excess, segment_sum(weights, offsets), otherwise=0.0), 0.0)
    df = np.maximum(instruments.counts - float(k), 0.0)
    factors = shared_moves(instruments, debiased_points)
    if error == "sandwich" or factors is not None:
        score = weights[:, None] * (x * rest[:, None] + pull)
        meat = cross_products(score, score, offsets) * (instruments.counts / np.maximum(df, 1.0))[:, None, None]
    else:
        size = (weights**2 * (noise + segment_repeat(tau2, offsets) * (error == "random")))[:, None]
        meat = cross_products(size * x, x, offsets) + cross_products(weights[:, None] ** 2 * pull, pull, offsets)
    few = too_few(instruments, min_instruments, parameters=k)
    return direct_estimates(
        "mv_debiased",
        instruments,
        beta=beta,
        error=errors(np.diagonal(inverse @ meat @ inverse, axis1=1, axis2=2), df, factors, distribution="normal"),
        reason=[why or ("" if good else _WEAK) for why, good in zip(few, identified, strict=True)],
        level=level,
        extra={
            **direct_q(instruments, beta),
            "tau2": tau2,
            "strength": signal(instruments),
            "conditional_f": conditional_f(instruments),
        },
        factors=factors,
    )


def debiased_points(instruments: Instruments) -> Float[np.ndarray, "loci exposures"]:
    """Return the estimates of `mv_debiased`; NaN where there is none."""
    return _solve(instruments)[0]


def _solve(
    instruments: Instruments,
) -> tuple[
    Float[np.ndarray, "loci exposures"], Float[np.ndarray, "loci exposures exposures"], Bool[np.ndarray, "loci"]
]:
    x, offsets, weights = exposures_of(instruments), instruments.offsets, weights_of(instruments)
    k = x.shape[1]
    covariance = error_covariances(instruments) * weights[:, None, None]
    noise = np.moveaxis(segment_sum(np.moveaxis(covariance, 0, -1), offsets), -1, 0)
    weighted = x * weights[:, None]
    inverse, identified = invert(cross_products(weighted, x, offsets) - noise[:, :k, :k])
    right = cross_products(weighted, instruments.beta_outcome[:, None].astype(float), offsets)[:, :, 0]
    beta = np.einsum("lpq,lq->lp", inverse, right - noise[:, :k, k])
    return np.where(identified[:, None], beta, np.nan), inverse, identified
