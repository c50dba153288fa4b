"""MR-Egger regression: a line with an intercept, plain and robust."""

import numpy as np
from jaxtyping import Float

from deepmr.inference import i_squared
from deepmr.linalg import divide, fit_lines, segment_sum
from deepmr.mr.lines import (
    UNSETTLED,
    Distribution,
    exposure_of,
    intercept_estimates,
    inverse_variances,
    oriented,
    robust_fit,
    scatter_about,
    too_few,
)
from deepmr.mr.penalties import penalties, used_up
from deepmr.types import Estimates, Instruments

SAME_SIZE = "not identified: all exposure effects have the same size, which leaves slope and intercept open"


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
    the line), `i2_gx`, `i2_gx_unweighted`, `f_statistic`, and with shared errors `se_sampling` and `se_member`.

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


def egger_penalised(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    distribution: Distribution = "normal",
    robust: bool = False,
) -> Estimates:
    """Estimate the causal effect by MR-Egger with less weight for instruments far from the line.

    Parameters
    ----------
    instruments : one exposure.
    min_instruments : loci with fewer are skipped; never below 3.
    level : of the confidence interval.
    distribution : of independent errors: normal (as MendelianRandomization by default) or t.
    robust : fit the penalised line by the MM-estimate of `egger_robust`.

    Returns
    -------
    Estimates, with extras as for `egger`; `q` is that of the penalised weights.

    Notes
    -----
    The weight of an instrument is multiplied by min(1, 100 p), with p its chi-square tail about the plain Egger line.
    With shared errors the penalties are held fixed.

    References
    ----------
    Rees JMB, Wood AM, Dudbridge F, Burgess S. PLoS One 2019. https://doi.org/10.1371/journal.pone.0222362
    """
    n_robust = 3 if robust else None
    return _egger("egger_penalised", instruments, min_instruments, level, distribution, n_robust=n_robust, penalty=True)


def _egger(
    method: str,
    instruments: Instruments,
    min_instruments: int,
    level: float,
    distribution: Distribution,
    *,
    n_robust: int | None,
    penalty: bool = False,
) -> Estimates:
    given = oriented(instruments)
    x, _ = exposure_of(given)
    y, offsets, shared = given.beta_outcome.astype(float, copy=False), given.offsets, given.error_factors
    weights = inverse_variances(given)
    line = fit_lines(x, y, weights, offsets, intercept=True)
    reason = too_few(given, max(min_instruments, 3))
    reason = [why or ("" if known else SAME_SIZE) for why, known in zip(reason, line.identified, strict=True)]
    if penalty:
        shares = penalties(weights * line.residual**2, factor=100.0)
        gone = used_up(shares, offsets, needed=2)
        reason = [why or then for why, then in zip(reason, gone, strict=True)]
        weights = weights * shares
        line = fit_lines(x, y, weights, offsets, intercept=True)
    final, q = weights, line.residual_ss
    if n_robust is not None:
        wanted = np.array([not why for why in reason], dtype=bool) & (given.counts >= max(n_robust, 3))
        line, final, settled, q = robust_fit(x, y, weights, offsets, loci=np.flatnonzero(wanted), intercept=True)
        reason = [why or ("" if good else UNSETTLED) for why, good in zip(reason, settled, strict=True)]
    return intercept_estimates(
        method,
        given,
        line,
        x=x,
        weights=final,
        moved=None if shared is None else (shared[:, :, 0], shared[:, :, 1]),
        scatter="floored",
        distribution=distribution,
        reason=reason,
        level=level,
        extra={
            **scatter_about(line, given, final, q=q, df=line.df),
            "i2_gx": i2_gx(given),
            "i2_gx_unweighted": i2_gx(given, weighted=False),
        },
    )


def i2_gx(instruments: Instruments, *, weighted: bool = True) -> Float[np.ndarray, "loci"]:
    """Return I2 of the exposure effects: 1 minus the dilution of the Egger slope by their errors.

    Parameters
    ----------
    instruments : oriented.
    weighted : effects in units of se_outcome, as the regression weighs them (MendelianRandomization), or as they are.

    References
    ----------
    Bowden J et al. Assessing the suitability of summary data for two-sample Mendelian randomization analyses using
    MR-Egger regression. Int J Epidemiol 2016. https://doi.org/10.1093/ije/dyw220
    """
    x, se = exposure_of(instruments)
    offsets = instruments.offsets
    z = x / se
    root = instruments.se_outcome / se if weighted else 1 / se
    mixed = segment_sum(root * z, offsets)
    # The difference loses digits only where Q is far below its terms, and I2 takes Q relative to J - 1.
    z *= z
    root *= root
    explained = divide(mixed**2, segment_sum(root, offsets), otherwise=0.0)
    q = np.maximum(segment_sum(z, offsets) - explained, 0.0)
    return i_squared(q, instruments.counts - 1.0)
