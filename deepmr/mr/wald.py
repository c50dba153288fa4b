"""Means of Wald ratios, outcome effect over exposure effect of one instrument."""

from typing import Literal

import numpy as np

from deepmr.linalg import divide, fit_lines, segment_repeat, segment_sum
from deepmr.mr.lines import (
    Distribution,
    error_extras,
    exposure_of,
    inverse_variances,
    mean_f,
    origin_estimates,
    scatter_about,
    standard_error,
    too_few_ratios,
    with_ratio,
)
from deepmr.types import Estimates, Instruments, make_estimates


def wald(
    instruments: Instruments, *, min_instruments: int = 3, level: float = 0.95, distribution: Distribution = "t"
) -> Estimates:
    """Estimate the causal effect as the plain mean of the instruments' ratios y / x.

    Parameters
    ----------
    instruments : one exposure. Instruments with an exposure effect of exactly zero have no ratio and are left out.
    min_instruments : loci with fewer are skipped. With one instrument the standard error is se_outcome / |x|.
    level : of the confidence interval.
    distribution : of independent errors: t has J - 1 degrees of freedom.

    Returns
    -------
    Estimates, with extras `sigma` (standard deviation of the ratios), `q` (Cochran's Q of the ratios), `f_statistic`,
    and with shared errors `se_sampling` and `se_member`.

    Notes
    -----
    b = mean(r_j), r_j = y_j / x_j, with sampling variance var(r) / J. A shared error with effects f_j on x_j and g_j on
    y_j moves b by mean((g_j - r_j f_j) / x_j). An instrument with a small exposure effect has a wild ratio, and this
    mean gives it full weight: select instruments on the size of their effect, or use `ivw`.
    """
    used = with_ratio(instruments)
    x, _ = exposure_of(used)
    y, offsets, shared = used.beta_outcome.astype(float), used.offsets, used.error_factors
    counts = used.counts.astype(float)
    ratio = y / x
    mean = divide(segment_sum(ratio, offsets), counts)
    deviation = segment_sum((ratio - segment_repeat(mean, offsets)) ** 2, offsets)
    alone = segment_sum((used.se_outcome / x) ** 2, offsets) if shared is None else np.zeros_like(mean)
    variance = np.where(counts > 1, divide(deviation, counts * (counts - 1)), alone)
    factors = None
    if shared is not None:
        moved = (shared[:, :, 1] - ratio * shared[:, :, 0]) / x
        factors = segment_sum(moved, offsets) * divide(np.ones_like(counts), counts, otherwise=0.0)
    df = np.maximum(counts - 1, 0.0)
    error = standard_error(variance, df, factors, distribution=distribution)
    weights = inverse_variances(used)
    weighted = fit_lines(x, y, weights, offsets)
    return make_estimates(
        "wald",
        used,
        beta=mean,
        se=error.se,
        df=error.df,
        reason=too_few_ratios(instruments, used, max(min_instruments, 1)),
        level=level,
        extra={
            "sigma": np.sqrt(variance * counts),
            **scatter_about(weighted, used, weights, q=weighted.residual_ss, df=weighted.df),
            "f_statistic": mean_f(used),
            **error_extras(error, factors),
        },
        error_factors=factors,
    )


def wald_weighted(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    order: Literal["first", "second"] = "first",
) -> Estimates:
    """Estimate the causal effect as the inverse-variance weighted mean of the instruments' ratios y / x.

    Parameters
    ----------
    instruments : one exposure. Instruments with an exposure effect of exactly zero have no ratio and are left out.
    min_instruments : loci with fewer are skipped.
    level : of the confidence interval.
    order : of the variance of a ratio: `first` is se_y^2 / x^2; `second` adds y^2 se_x^2 / x^4.

    Returns
    -------
    Estimates, with extras as for `ivw`; `q` is Cochran's Q of the ratios under these variances.

    Notes
    -----
    b = sum(r_j / v_j) / sum(1 / v_j), variance 1 / sum(1 / v_j), normal: the fixed-effect meta-analysis of ratios, that
    is, the line through the origin with weights 1 / (x^2 v). With shared errors the variance is that of the members
    alone, as for `ivw_fixed`.

    References
    ----------
    Thomas DC, Lawlor DA, Thompson JR. Re: Estimation of bias in nongenetic observational studies using "Mendelian
    triangulation". Ann Epidemiol 2007 (the delta-method variance). https://doi.org/10.1016/j.annepidem.2006.12.005
    """
    used = with_ratio(instruments)
    return origin_estimates(
        "wald_weighted",
        used,
        inverse_variances(used, weights="simple" if order == "first" else "delta"),
        scatter="fixed",
        distribution="normal",
        reason=too_few_ratios(instruments, used, max(min_instruments, 1)),
        level=level,
    )
