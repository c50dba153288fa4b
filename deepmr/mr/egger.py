"""MR-Egger regression: a line with an intercept, plain and robust."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from deepmr.inference import i_squared, two_sided
from deepmr.linalg import LineFit, divide, fit_lines, line_factors, segment_repeat, segment_sum
from deepmr.mr.lines import (
    Distribution,
    cochran,
    error_extras,
    exposure_of,
    inverse_variances,
    mean_f,
    oriented,
    sampling_scale,
    standard_error,
    too_few,
)
from deepmr.mr.robust import robust_lines
from deepmr.types import Estimates, Instruments, make_estimates

_UNSETTLED = "the robust regression did not settle"
_SAME_SIZE = "not identified: all exposure effects have the same size, which leaves slope and intercept open"


def egger(
    instruments: Instruments, *, min_instruments: int = 3, level: float = 0.95, distribution: Distribution = "t"
) -> Estimates:
    """Estimate the causal effect by MR-Egger: the slope of a weighted line with an intercept.

    Parameters
    ----------
    instruments : one exposure.
    min_instruments : loci with fewer are skipped; never below 3.
    level : of the confidence interval.
    distribution : of independent errors: t with J - 2 degrees of freedom (as TwoSampleMR) or normal (as
        MendelianRandomization by default; where `sigma` is below 1 its t-interval is the wider of the normal one and of
        one with t and a standard error without the floor, and both lie inside this one).

    Returns
    -------
    Estimates, with extras `intercept` and its `intercept_se` and `intercept_pvalue`, `sigma`, `q` (Rucker's Q' about
    the line), `i2_gx`, `f_statistic`, and with shared errors `se_sampling` and `se_member`.

    Notes
    -----
    Alleles are swapped to make every exposure effect positive, and y = a + b x is fitted with weights 1 / se_y^2. The
    variance is (X'WX)^-1 times max(1, Q' / (J - 2)). It allows direct effects on the outcome as long as their size is
    independent of the exposure effects (InSIDE). The slope hangs on the spread of x: instruments of nearly one size, or
    a curved response, make it misleading, so read it beside `ivw`. `i2_gx` near 1 means little dilution by error in x.

    With shared errors se^2 is the scatter's part (without a floor) plus the members' part, from the derivative of
    the slope with respect to every x and y at fixed weights.

    References
    ----------
    Bowden J, Davey Smith G, Burgess S. Mendelian randomization with invalid instruments: effect estimation and bias
    detection through Egger regression. Int J Epidemiol 2015. https://doi.org/10.1093/ije/dyv080
    """
    return _egger("egger", instruments, min_instruments, level, distribution, n_robust=None)


def egger_robust(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    distribution: Distribution = "normal",
    n_robust: int = 11,
) -> Estimates:
    """Estimate the causal effect by MR-Egger with an MM-estimate of the line, which outlying instruments hardly move.

    Parameters
    ----------
    instruments : one exposure.
    min_instruments : loci with fewer are skipped; never below 3.
    level : of the confidence interval.
    distribution : of independent errors: normal (as MendelianRandomization by default) or t with J - 2 degrees of
        freedom.
    n_robust : a locus with fewer instruments gets the plain regression, as in the DeepMR paper: half of a handful of
        points lie on a line by chance, and the robust scale collapses.

    Returns
    -------
    Estimates, with extras as for `egger`; `sigma` is the robust scale.

    Notes
    -----
    The line of `egger`, fitted as by `deepmr.mr.robust.robust_lines`; the standard error is divided by min(1, sigma),
    as MendelianRandomization does. With shared errors, the members' part comes from the derivative of weighted least
    squares with the final robustness weights held fixed, and the sampling part has no floor.

    References
    ----------
    Rees JMB, Wood AM, Dudbridge F, Burgess S. Robust methods in Mendelian randomization via penalization of
    heterogeneous causal estimates. PLoS One 2019. https://doi.org/10.1371/journal.pone.0222362
    """
    return _egger("egger_robust", instruments, min_instruments, level, distribution, n_robust=n_robust)


def _egger(
    method: str,
    instruments: Instruments,
    min_instruments: int,
    level: float,
    distribution: Distribution,
    *,
    n_robust: int | None,
) -> Estimates:
    given = oriented(instruments)
    x, _ = exposure_of(given)
    y, offsets, shared = given.beta_outcome.astype(float), given.offsets, given.error_factors
    weights = inverse_variances(given)
    line = fit_lines(x, y, weights, offsets, intercept=True)
    reason = too_few(given, max(min_instruments, 3))
    reason = [why or ("" if known else _SAME_SIZE) for why, known in zip(reason, line.identified, strict=True)]
    final = weights
    if n_robust is not None:
        wanted = np.array([not why for why in reason], dtype=bool) & (given.counts >= max(n_robust, 3))
        line, final, settled = _robust(x, y, weights, offsets, loci=np.flatnonzero(wanted))
        reason = [why or ("" if good else _UNSETTLED) for why, good in zip(reason, settled, strict=True)]
    factors, intercept_factors = None, None
    if shared is not None:
        factors, intercept_factors = line_factors(
            line, x, final, offsets, x_factors=shared[:, :, 0], y_factors=shared[:, :, 1]
        )
    scale = sampling_scale(line, "floored", shared=shared is not None)
    error = standard_error(scale * line.slope_unscaled, line.df, factors, distribution=distribution)
    intercept_error = standard_error(
        scale * line.intercept_unscaled, line.df, intercept_factors, distribution=distribution
    )
    return make_estimates(
        method,
        instruments,
        beta=line.slope,
        se=error.se,
        df=error.df,
        reason=reason,
        level=level,
        extra={
            "intercept": line.intercept,
            "intercept_se": intercept_error.se,
            "intercept_pvalue": two_sided(line.intercept, intercept_error.se, df=intercept_error.df),
            "sigma": np.sqrt(line.dispersion),
            **cochran(segment_sum(weights * line.residual**2, offsets), line.df),
            "i2_gx": _i2_gx(given),
            "f_statistic": mean_f(given),
            **error_extras(error, factors),
        },
        error_factors=factors,
    )


def _robust(
    x: Float[np.ndarray, "rows"],
    y: Float[np.ndarray, "rows"],
    weights: Float[np.ndarray, "rows"],
    offsets: Int[np.ndarray, "loci_plus_one"],
    *,
    loci: Int[np.ndarray, "fitted"],
) -> tuple[LineFit, Float[np.ndarray, "rows"], Bool[np.ndarray, "loci"]]:
    """Fit lines, robust ones at some of the loci; return them, the weights under which they hold, and which settled.

    A robust line is the weighted least-squares line under its own final weights; only its variances are others.
    """
    robust = robust_lines(x, y, weights, offsets, loci=loci)
    final = weights * robust.weights
    line = fit_lines(x, y, final, offsets, intercept=True)
    fitted = np.isin(np.arange(len(line.df)), loci)
    line = replace(
        line,
        slope_unscaled=np.where(fitted, robust.slope_unscaled, line.slope_unscaled),
        intercept_unscaled=np.where(fitted, robust.intercept_unscaled, line.intercept_unscaled),
        residual_ss=np.where(fitted, robust.scale**2 * line.df, line.residual_ss),
    )
    return line, final, robust.settled & line.identified


def _i2_gx(instruments: Instruments) -> Float[np.ndarray, "loci"]:
    """I2 of the exposure effects in units of se_outcome, the weighted form of Bowden et al. (Int J Epidemiol 2016)."""
    x, se_x = exposure_of(instruments)
    scaled, se = x / instruments.se_outcome, se_x / instruments.se_outcome
    weights, offsets = se**-2, instruments.offsets
    mean = divide(segment_sum(weights * scaled, offsets), segment_sum(weights, offsets), otherwise=0.0)
    q = segment_sum(weights * (scaled - segment_repeat(mean, offsets)) ** 2, offsets)
    return i_squared(q, instruments.counts - 1.0)
