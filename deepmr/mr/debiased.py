"""Debiased and penalised inverse-variance weighting: many weak instruments."""

import numpy as np
from jaxtyping import Float

from deepmr.linalg import divide, segment_repeat, segment_sum
from deepmr.mr.errors import error_covariance
from deepmr.mr.lines import error_extras, exposure_of, mean_f, standard_error, too_few
from deepmr.mr.members import member_factors
from deepmr.types import Estimates, Instruments, make_estimates


def debiased_ivw(
    instruments: Instruments, *, min_instruments: int = 3, level: float = 0.95, overdispersion: bool = True
) -> Estimates:
    """Estimate the causal effect by inverse-variance weights, freed of the dilution by errors of the exposure effects.

    Parameters
    ----------
    instruments : one exposure; `error_corr` is heeded.
    min_instruments : loci with fewer are skipped.
    level : of the confidence interval.
    overdispersion : allow for balanced direct effects on the outcome, with variance `tau2`.

    Returns
    -------
    Estimates, with extras `tau2`, `condition` (effective strength: above 20 for a normal distribution to hold),
    `f_statistic`, and both parts of the standard error with shared errors.

    Notes
    -----
    b = sum w (x y - c) / sum w (x^2 - s^2), w = 1 / se_y^2, s = se_x, c the covariance of the errors of x and y.
    Variance sum w^2 (V x^2 + C^2) / (sum w (x^2 - s^2))^2 with V = se_y^2 + tau2 + b^2 s^2 - 2 b c, C = c - b s^2,
    normal. Instruments must not have been selected in the same samples. With shared errors the sampling part is the
    scatter of w (x y - c - b (x^2 - s^2)), and the members' part comes by differences.

    References
    ----------
    Ye T, Shao J, Kang H. Debiased inverse-variance weighted estimator in two-sample summary-data Mendelian
    randomization. Ann Stat 2021. https://doi.org/10.1214/20-AOS2027
    """
    return _debiased("debiased_ivw", instruments, min_instruments, level, overdispersion, penalty=0.0)


def penalised_debiased_ivw(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    overdispersion: bool = True,
    penalty: float = 1.0,
) -> Estimates:
    """Estimate the causal effect by debiased weights whose denominator a penalty keeps away from zero.

    Parameters
    ----------
    instruments : one exposure; `error_corr` is heeded.
    min_instruments : loci with fewer are skipped.
    level : of the confidence interval.
    overdispersion : as for `debiased_ivw`.
    penalty : lambda of the paper, at least 0; with 0 it is `debiased_ivw`.

    Returns
    -------
    Estimates, with extras as for `debiased_ivw`; a `condition` above 5 suffices here.

    Notes
    -----
    With m1 and m2 numerator and denominator of `debiased_ivw`, v2 the variance of m2 and v12 their covariance,
    m2* = m2 / 2 + sign(m2) sqrt(m2^2 / 4 + lambda v2) and b = (m1 + v12 / v2 (m2* - m2)) / m2*.

    References
    ----------
    Xu S, Wang P, Fung WK, Liu Z. A novel penalized inverse-variance weighted estimator for Mendelian randomization
    with applications to COVID-19 outcomes. Biometrics 2023. https://doi.org/10.1111/biom.13732
    """
    return _debiased("penalised_debiased_ivw", instruments, min_instruments, level, overdispersion, penalty=penalty)


def _point(instruments: Instruments, penalty: float) -> tuple[Float[np.ndarray, "loci"], Float[np.ndarray, "loci"]]:
    """Return estimate and denominator; NaN where the denominator does not allow an estimate."""
    x, s = exposure_of(instruments)
    y, t, offsets = instruments.beta_outcome, instruments.se_outcome, instruments.offsets
    w, c, strength = t**-2, error_covariance(instruments), x**2 - s**2
    upper, lower = segment_sum(w * (x * y - c), offsets), segment_sum(w * strength, offsets)
    if penalty == 0:
        return divide(upper, lower), lower
    var = segment_sum(w**2 * (4 * strength * s**2 + 2 * s**4), offsets)
    cov = segment_sum(2 * w**2 * (x * y * s**2 + strength * c), offsets)
    root = np.sqrt(np.maximum(lower**2 / 4 + penalty * var, 0.0))
    away = lower / 2 + np.where(lower < 0, -root, root)
    shift = np.divide(cov, var, out=np.zeros_like(var), where=var != 0) * (away - lower)
    return np.divide(upper + shift, away, out=np.full_like(away, np.nan), where=away != 0), away


def _debiased(
    method: str, instruments: Instruments, min_instruments: int, level: float, overdispersion: bool, *, penalty: float
) -> Estimates:
    x, s = exposure_of(instruments)
    y, t, offsets, counts = instruments.beta_outcome, instruments.se_outcome, instruments.offsets, instruments.counts
    w, c = t**-2, error_covariance(instruments)
    beta, lower = _point(instruments, penalty)
    b = segment_repeat(beta, offsets)
    noise = t**2 + b**2 * s**2 - 2 * b * c
    tau2 = np.zeros_like(beta)
    if overdispersion:
        excess = segment_sum(w * ((y - b * x) ** 2 - noise), offsets)
        tau2 = np.maximum(divide(excess, segment_sum(w, offsets), otherwise=0.0), 0.0)
    noise = noise + segment_repeat(tau2, offsets)
    variance = segment_sum(w**2 * (noise * x**2 + (c - b * s**2) ** 2), offsets)
    factors = member_factors(instruments, lambda given: _point(given, penalty)[0])
    if factors is not None:
        scores = w * (x * y - c - b * (x**2 - s**2))
        variance = segment_sum(scores**2, offsets) * counts / np.maximum(counts - 1, 1)
    error = standard_error(divide(variance, lower**2), counts - 1.0, factors, distribution="normal")
    f = mean_f(instruments)
    zero = segment_sum(np.abs(x), offsets) == 0
    weak = "not identified: the exposure effects are no larger than their errors"
    reason = [
        why or ("not identified: every exposure effect is zero" if none else "" if np.isfinite(value) else weak)
        for why, none, value in zip(too_few(instruments, max(min_instruments, 1)), zero, beta, strict=True)
    ]
    return make_estimates(
        method,
        instruments,
        beta=beta,
        se=error.se,
        df=error.df,
        reason=reason,
        level=level,
        extra={
            "tau2": tau2,
            "condition": (f - 1) * np.sqrt(counts),
            "f_statistic": f,
            **error_extras(error, factors),
        },
        error_factors=factors,
    )
