"""What the methods that fit a line have in common: their input, their weights, and an error that members share."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from deepmr.errors import InputError
from deepmr.inference import TotalError, chi2_tail, total_error, two_sided
from deepmr.linalg import LineFit, divide, fit_lines, line_factors, segment_repeat, segment_sum
from deepmr.mr.errors import error_covariance
from deepmr.mr.robust import robust_lines
from deepmr.mr.scatter import member_scatter
from deepmr.types import Estimates, Instruments, make_estimates

_log = logging.getLogger(__name__)

Distribution = Literal["normal", "t"]
Scatter = Literal["fixed", "random", "floored"]
Weights = Literal["simple", "delta"]

_ZERO = 1e-140
WEAK = 10.0  # mean F, or conditional F, below which instruments are called weak, everywhere
UNSETTLED = "the robust regression did not settle"


def exposure_of(instruments: Instruments) -> tuple[Float[np.ndarray, "rows"], Float[np.ndarray, "rows"]]:
    """Return the effects on the only exposure and their standard errors.

    Raises
    ------
    InputError : when there are several exposures.
    """
    if len(instruments.exposures) != 1:
        raise InputError(f"the method takes one exposure; got {len(instruments.exposures)}: {instruments.exposure}")
    return _floats(instruments.beta_exposure[:, 0]), _floats(instruments.se_exposure[:, 0])


def _floats(values: Shaped[np.ndarray, "rows"]) -> Float[np.ndarray, "rows"]:
    return np.ascontiguousarray(values, dtype=float)


def too_few(instruments: Instruments, needed: int, *, what: str = "instruments") -> list[str]:
    """Say for every locus why it has too few instruments; empty where it has enough."""
    if needed == 1:
        what = what.replace("instruments", "instrument", 1)
    return ["" if count >= needed else f"needs at least {needed} {what}; has {count}" for count in instruments.counts]


def too_few_ratios(given: Instruments, used: Instruments, needed: int) -> list[str]:
    """Say as `too_few` why a locus has too few instruments, where `used` may lack those of `given` without a ratio."""
    all_there = len(used.variants) == len(given.variants)
    return too_few(used, needed, what="instruments" if all_there else "instruments with a non-zero exposure effect")


def with_ratio(instruments: Instruments) -> Instruments:
    """Return the instruments that have a ratio: those whose exposure effect is not zero. Logs how many left.

    Below 1e-140, where the square of a ratio has no place among floating-point numbers, an effect counts as zero.
    """
    x, _ = exposure_of(instruments)
    known = np.abs(x) > _ZERO
    if known.all():
        return instruments
    _log.warning("left out %d of %d instruments: an exposure effect of 0 has no ratio", int((~known).sum()), len(x))
    return instruments.take(known)


def oriented(instruments: Instruments) -> Instruments:
    """Return the instruments with alleles swapped where needed to make every exposure effect positive."""
    x, _ = exposure_of(instruments)
    sign = np.where(x < 0, -1.0, 1.0)
    factors, matrices = instruments.error_factors, instruments.correlation
    if matrices is not None:
        signs = [sign[start:end, None] for start, end in pairwise(instruments.offsets)]
        matrices = tuple(s * matrix * s.T for s, matrix in zip(signs, matrices, strict=True))
    return replace(
        instruments,
        beta_exposure=np.abs(x)[:, None],
        beta_outcome=instruments.beta_outcome * sign,
        error_factors=None if factors is None else factors * sign[:, None],
        correlation=matrices,
    )


def canonical_order(instruments: Instruments) -> Int[np.ndarray, "rows"]:
    """Return row numbers that sort the instruments of every locus by oriented exposure effect, then outcome effect.

    Neither the order, nor the coding, nor the units of the instruments change the sorted ones. Methods that draw random
    numbers hand them out in this order, so that the answer belongs to the data alone.
    """
    x, se_x = exposure_of(instruments)
    home = np.repeat(np.arange(len(instruments.loci)), instruments.counts)
    y = instruments.beta_outcome * np.where(x < 0, -1.0, 1.0)
    return np.lexsort((instruments.se_outcome, se_x, y, np.abs(x), home))


def overlap(instruments: Instruments) -> float:
    """Return the correlation of the errors of the exposure's and the outcome's effect; 0 for separate samples."""
    return 0.0 if instruments.error_corr is None else float(instruments.error_corr[0, -1])


def inverse_variances(instruments: Instruments, *, weights: Weights = "simple") -> Float[np.ndarray, "rows"]:
    """Return the weights of the outcome effects.

    Parameters
    ----------
    weights : `simple`, 1 / se_y^2; `delta`, 1 / (se_y^2 + r^2 se_x^2 - 2 r cov) with r = y / x and the covariance of
        both errors, which also counts the error of the exposure effects and needs every one of them to differ from
        zero.
    """
    x, se_x = exposure_of(instruments)
    variance = np.square(instruments.se_outcome, dtype=float)
    if weights == "delta":
        ratio = instruments.beta_outcome / x
        variance = variance + (ratio * se_x) ** 2 - 2 * ratio * error_covariance(instruments)
    return 1 / variance


def equal_weights(instruments: Instruments) -> Float[np.ndarray, "rows"]:
    """Return one weight a locus, 1 / mean(se_y^2): its size moves no estimate and gives `sigma` a scale."""
    total = segment_sum(np.square(instruments.se_outcome, dtype=float), instruments.offsets)
    return segment_repeat(divide(instruments.counts.astype(float), total), instruments.offsets)


def standard_error(
    variance: Float[np.ndarray, "loci"],
    df: Float[np.ndarray, "loci"],
    factors: Float[np.ndarray, "factors loci"] | None,
    *,
    distribution: Distribution,
) -> TotalError:
    """Return the standard error of a locus's number: of its sampling variance alone, or with the members' part.

    Parameters
    ----------
    df : residual degrees of freedom; 0 where no residual is left.
    factors : None where errors are independent.
    distribution : with independent errors, the normal or Student's t with `df`. Shared errors always use t, with
        Welch-Satterthwaite degrees of freedom, since a handful of members estimates their own variance poorly.
    """
    known = np.where(df > 0, df, np.inf)
    if factors is not None:
        return total_error(variance, known, factors)
    se = np.sqrt(variance)
    dof = known if distribution == "t" else np.full_like(known, np.inf)
    return TotalError(se=se, df=dof, sampling=se, member=np.zeros_like(se))


def split_error(variance: Float[np.ndarray, "loci"], factors: Float[np.ndarray, "factors loci"] | None) -> TotalError:
    """Split a variance that already contains what members share into their part and what remains, at least 0."""
    if factors is None:
        se = np.sqrt(variance)
        return TotalError(se=se, df=np.full_like(se, np.inf), sampling=se, member=np.zeros_like(se))
    rest = np.maximum(variance - np.sum(np.square(factors, dtype=float), axis=0), 0.0)
    return total_error(rest, np.inf, factors)


def error_extras(error: TotalError, factors: Float[np.ndarray, "factors loci"] | None) -> dict[str, np.ndarray]:
    """Return both parts of the standard error, where there are two."""
    return {} if factors is None else {"se_sampling": error.sampling, "se_member": error.member}


def cochran(
    q: Float[np.ndarray, "loci"], df: Float[np.ndarray, "loci"], *, shared: bool = False
) -> dict[str, np.ndarray]:
    """Return a weighted residual sum of squares as Q, with its degrees of freedom and its P value, by name.

    Parameters
    ----------
    shared : whether members share errors. Chi-square is then no distribution of Q, and there is no P value.
    """
    return {"q": q, "q_df": df} | ({} if shared else {"q_pvalue": chi2_tail(q, df)})


def scatter_about(
    line: LineFit,
    instruments: Instruments,
    weights: Float[np.ndarray, "rows"],
    *,
    q: Float[np.ndarray, "loci"],
    df: Float[np.ndarray, "loci"],
) -> dict[str, np.ndarray]:
    """Return Q with its degrees of freedom and P value: Cochran's `q`, or with shared errors that of `member_scatter`.

    Parameters
    ----------
    line : fitted to the effects of the instruments as they are coded, under `weights`.
    """
    return cochran(q, df) if instruments.error_factors is None else member_scatter(line, instruments, weights)


def mean_f(instruments: Instruments) -> Float[np.ndarray, "loci"]:
    """Return the mean of (beta_exposure / se_exposure)^2 over the instruments of each locus."""
    x, se_x = exposure_of(instruments)
    return divide(segment_sum((x / se_x) ** 2, instruments.offsets), instruments.counts.astype(float))


def sampling_scale(fit: LineFit, scatter: Scatter, *, shared: bool) -> Float[np.ndarray, "loci"]:
    """Return what multiplies (X'WX)^-1 to give the sampling variance.

    Independent errors: 1 (`fixed`), the residual dispersion (`random`), or the dispersion but at least 1 (`floored`).
    Shared errors: the dispersion, without a floor, since the members' error comes as its own part; 0 for `fixed`,
    which takes one effect and no error but the members'.
    """
    if shared:
        return np.zeros_like(fit.slope) if scatter == "fixed" else np.where(fit.df > 0, fit.dispersion, 0.0)
    if scatter == "fixed":
        return np.ones_like(fit.slope)
    return np.maximum(fit.dispersion, 1.0) if scatter == "floored" else fit.dispersion


def ratio_estimates(
    method: str,
    instruments: Instruments,
    beta: Float[np.ndarray, "loci"],
    variance: Float[np.ndarray, "loci"],
    factors: Float[np.ndarray, "factors loci"] | None,
    *,
    distribution: Distribution,
    reason: list[str],
    level: float,
) -> Estimates:
    """Build the rows of a method that reads the ratios alone, from its estimate and its sampling variance.

    Parameters
    ----------
    factors : how the members' errors move the estimate, or None.
    distribution : of independent errors: the normal, or t with J - 1 degrees of freedom.
    reason : why a locus has no estimate; empty for one that has.
    """
    error = standard_error(variance, np.maximum(instruments.counts - 1.0, 0.0), factors, distribution=distribution)
    return make_estimates(
        method,
        instruments,
        beta=beta,
        se=error.se,
        df=error.df,
        reason=reason,
        level=level,
        extra={"f_statistic": mean_f(instruments), **error_extras(error, factors)},
        error_factors=factors,
    )


def origin_estimates(
    method: str,
    instruments: Instruments,
    weights: Float[np.ndarray, "rows"],
    *,
    scatter: Scatter,
    distribution: Distribution,
    reason: list[str],
    level: float,
    n_robust: int | None = None,
    whitened: bool = False,
    extra: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> Estimates:
    """Estimate the slope of a weighted line through the origin, with its standard error, for every locus.

    Parameters
    ----------
    scatter : see `sampling_scale`.
    reason : why a locus has no estimate; empty for one that has.
    n_robust : fit the MM-estimate to loci with at least so many instruments; None for plain least squares.
    whitened : effects are in units of their standard errors, which with shared errors leaves no test of the scatter.
    extra : further columns, or other values for `q` and its kin, which are of this line otherwise.
    """
    x, _ = exposure_of(instruments)
    y, offsets, shared = _floats(instruments.beta_outcome), instruments.offsets, instruments.error_factors
    fit = fit_lines(x, y, weights, offsets)
    q, df = fit.residual_ss, fit.df
    if n_robust is not None:
        loci = _wanted(reason, instruments, max(n_robust, 2)) & fit.identified
        fit, weights, settled, q = robust_fit(x, y, weights, offsets, loci=np.flatnonzero(loci), intercept=False)
        reason = [why or ("" if good else UNSETTLED) for why, good in zip(reason, settled, strict=True)]
    factors = None
    if shared is not None:
        factors, _ = line_factors(fit, x, weights, offsets, x_factors=shared[:, :, 0], y_factors=shared[:, :, 1])
    variance = sampling_scale(fit, scatter, shared=shared is not None) * fit.slope_unscaled
    error = standard_error(variance, fit.df, factors, distribution=distribution)
    if whitened:
        about = cochran(q, df, shared=shared is not None)
    else:
        about = scatter_about(fit, instruments, weights, q=q, df=df)
    zero = "not identified: every exposure effect is zero"
    return make_estimates(
        method,
        instruments,
        beta=fit.slope,
        se=error.se,
        df=error.df,
        reason=[why or ("" if known else zero) for why, known in zip(reason, fit.identified, strict=True)],
        level=level,
        extra={
            "sigma": np.sqrt(fit.dispersion),
            **about,
            "f_statistic": mean_f(instruments),
            **extra,
            **error_extras(error, factors),
        },
        error_factors=factors,
    )


def intercept_estimates(
    method: str,
    instruments: Instruments,
    line: LineFit,
    *,
    x: Float[np.ndarray, "rows"],
    weights: Float[np.ndarray, "rows"],
    moved: tuple[Float[np.ndarray, "factors rows"], Float[np.ndarray, "factors rows"]] | None,
    scatter: Scatter,
    distribution: Distribution,
    reason: list[str],
    level: float,
    extra: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> Estimates:
    """Return the slopes of lines that have an intercept, with the intercept among the extras.

    Parameters
    ----------
    line : of `x`, under `weights`.
    moved : how shared errors move x and y of the line; None without them.
    extra : further columns, or other values for `sigma`, `q` and its kin, which are of this line otherwise.
    """
    factors, intercept_factors = None, None
    if moved is not None:
        factors, intercept_factors = line_factors(
            line, x, weights, instruments.offsets, x_factors=moved[0], y_factors=moved[1]
        )
    scale = sampling_scale(line, scatter, shared=moved is not None)
    error = standard_error(scale * line.slope_unscaled, line.df, factors, distribution=distribution)
    other = standard_error(scale * line.intercept_unscaled, line.df, intercept_factors, distribution=distribution)
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
            "intercept_se": other.se,
            "intercept_pvalue": two_sided(line.intercept, other.se, df=other.df),
            "sigma": np.sqrt(line.dispersion),
            **cochran(line.residual_ss, line.df, shared=moved is not None),
            "f_statistic": mean_f(instruments),
            **extra,
            **error_extras(error, factors),
        },
        error_factors=factors,
    )


def _wanted(reason: list[str], instruments: Instruments, needed: int) -> Bool[np.ndarray, "loci"]:
    return np.array([not why for why in reason], dtype=bool) & (instruments.counts >= needed)


def robust_fit(
    x: Float[np.ndarray, "rows"],
    y: Float[np.ndarray, "rows"],
    weights: Float[np.ndarray, "rows"],
    offsets: Int[np.ndarray, "loci_plus_one"],
    *,
    loci: Int[np.ndarray, "fitted"],
    intercept: bool,
) -> tuple[LineFit, Float[np.ndarray, "rows"], Bool[np.ndarray, "loci"], Float[np.ndarray, "loci"]]:
    """Fit lines, robust ones at some of the loci.

    A robust line is the weighted least-squares line under its own final weights; only its variances are others.

    Returns
    -------
    The lines, the weights under which they hold, which settled, and Q under the weights that were given.
    """
    robust = robust_lines(x, y, weights, offsets, loci=loci, intercept=intercept)
    final = weights * robust.weights
    line = fit_lines(x, y, final, offsets, intercept=intercept)
    fitted = np.isin(np.arange(len(line.df)), loci)
    line = replace(
        line,
        slope_unscaled=np.where(fitted, robust.slope_unscaled, line.slope_unscaled),
        intercept_unscaled=np.where(fitted, robust.intercept_unscaled, line.intercept_unscaled),
        residual_ss=np.where(fitted, robust.scale**2 * line.df, line.residual_ss),
    )
    settled = (robust.settled & line.identified) | ~fitted
    return line, final, settled, segment_sum(weights * line.residual**2, offsets)
