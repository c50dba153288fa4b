"""Inverse-variance weighting with additive random effects: a meta-analysis of ratios."""

from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from deepmr.linalg import divide, fit_lines, segment_repeat, segment_sum
from deepmr.mr.lines import (
    Weights,
    cochran,
    exposure_of,
    inverse_variances,
    origin_estimates,
    too_few_ratios,
    with_ratio,
)
from deepmr.types import Estimates, Instruments

Tau2 = Literal["dl", "reml"]


def ivw_additive(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    weights: Weights = "delta",
    tau2: Tau2 = "dl",
) -> Estimates:
    """Estimate the mean causal effect, where the effects of the instruments vary with variance tau2.

    Parameters
    ----------
    instruments : one exposure. Instruments with an exposure effect of exactly zero have no ratio and are left out.
    min_instruments : loci with fewer are skipped.
    level : of the confidence interval.
    weights : variance of a ratio to first order (simple) or second order (delta, as TwoSampleMR's `mr_meta_random`).
    tau2 : estimator: DerSimonian and Laird's moments, or restricted maximum likelihood (TwoSampleMR's, by `meta`).

    Returns
    -------
    Estimates, with extras `tau2`, `q` (without tau2), `sigma`, `f_statistic`, and both parts of the standard error
    with shared errors.

    Notes
    -----
    b = sum(r_j w_j) / sum(w_j) with w_j = 1 / (v_j + tau2), variance 1 / sum(w_j), normal. With shared errors the
    sampling part is the scatter under these weights, which the members' part holds fixed.

    References
    ----------
    DerSimonian R, Laird N. Meta-analysis in clinical trials. Control Clin Trials 1986.
    https://doi.org/10.1016/0197-2456(86)90046-2
    """
    used = with_ratio(instruments)
    x, _ = exposure_of(used)
    plain, offsets = inverse_variances(used, weights=weights), used.offsets
    fit = fit_lines(x, used.beta_outcome, plain, offsets)
    precise = plain * x**2
    total = segment_sum(precise, offsets)
    spread = total - divide(segment_sum(precise**2, offsets), total, otherwise=0.0)
    between = divide(np.maximum(fit.residual_ss - fit.df, 0.0), spread, otherwise=0.0)
    if tau2 == "reml":
        between = _reml(used.beta_outcome / x, 1 / precise, offsets, between)
    shared = used.error_factors is not None
    reason = too_few_ratios(instruments, used, max(min_instruments, 1))
    return origin_estimates(
        "ivw_additive",
        used,
        1 / (1 / plain + segment_repeat(between, offsets) * x**2),
        scatter="random" if shared else "fixed",
        distribution="normal",
        reason=reason,
        level=level,
        extra={"tau2": between} | ({} if shared else cochran(fit.residual_ss, fit.df)),
    )


def _reml(
    ratio: Float[np.ndarray, "rows"],
    variance: Float[np.ndarray, "rows"],
    offsets: Int[np.ndarray, "loci_plus_one"],
    start: Float[np.ndarray, "loci"],
) -> Float[np.ndarray, "loci"]:
    """Fisher scoring from `start`, kept at or above zero."""
    between = start
    for _ in range(200):
        w = 1 / (variance + segment_repeat(between, offsets))
        s1, s2, s3 = (segment_sum(w**k, offsets) for k in (1, 2, 3))
        mean = divide(segment_sum(w * ratio, offsets), s1, otherwise=0.0)
        fit = segment_sum((w * (ratio - segment_repeat(mean, offsets))) ** 2, offsets)
        s2_share, s3_share = divide(s2, s1, otherwise=0.0), divide(s3, s1, otherwise=0.0)
        step = divide(fit - s1 + s2_share, s2 - 2 * s3_share + s2_share**2, otherwise=0.0)
        new = np.maximum(between + step, 0.0)
        moved = np.abs(new - between) > 1e-12 * (new + divide(np.ones_like(s1), s1, otherwise=0.0))
        between = np.where(moved, new, between)
        if not moved.any():
            break
    return between
