"""Contextual Mendelian randomization from instruments: gamma_Y = f(c) gamma_X + direct effects, in one stage."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import optimize

from deepmr import checks
from deepmr.contextual.causal import ContextErrors, ContextualMR, Method, Nuisance, fit_contextual_mr
from deepmr.contextual.loci import locus_effects_from
from deepmr.errors import InputError
from deepmr.linalg import segment_repeat, segment_sum
from deepmr.types import Instruments, make_estimates

ExposureErrors = Literal["corrected", "ignored"]
_ROUNDS = 5  # of weights from the slopes of the round before
_IDENTIFIED = 2.0  # standard errors that the corrected strength of a locus must be above 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LocusStatistics:
    """What the instruments of a locus say of its slope: all that there is, given the variance of direct effects.

    Attributes
    ----------
    beta, se : weighted slopes and their standard errors.
    n : instruments.
    f_statistic : their mean.
    strength : corrected strength in units of its standard error; a slope of a locus below 2 is not told.
    pleiotropy : standard deviation of direct effects beyond errors, the same at every locus.
    factors : of what ensemble members share of the errors of the slopes; None where errors are independent.
    """

    beta: Float[np.ndarray, "loci"]
    se: Float[np.ndarray, "loci"]
    n: Float[np.ndarray, "loci"]
    f_statistic: Float[np.ndarray, "loci"]
    strength: Float[np.ndarray, "loci"]
    pleiotropy: float
    factors: Float[np.ndarray, "factors loci"] | None


def locus_statistics(
    instruments: Instruments,
    *,
    exposure_errors: ExposureErrors = "corrected",
    pleiotropy: float | None = None,
) -> LocusStatistics:
    """Reduce the instruments of every locus to a slope and its error.

    Parameters
    ----------
    instruments : one exposure, independent ones; `error_corr` is not heeded.
    exposure_errors : `corrected` for the dilution that errors of exposure effects make; `ignored`.
    pleiotropy : standard deviation of direct effects; None to estimate it, the same at every locus.

    Notes
    -----
    Within a locus f is constant, so that with exact exposure effects x and w = 1 / (se_y^2 + v) the rows say of the
    slope what b = sum w x y / sum w x^2, of variance 1 / sum w x^2, does: the likelihood of all rows is that of b times
    one without f. The variance v of direct effects comes from that other part: residuals within loci, by restricted
    likelihood.

    Errors of x: with w = 1 / (se_y^2 + v + b^2 se_x^2), b of the round before, b = sum w x y / sum w (x^2 - se_x^2)
    solves an unbiased equation; to first order its variance is
    sum w^2 (x^2 / w + b^2 se_x^4) / (sum w (x^2 - se_x^2))^2.
    Valid where the denominator is well above 0: loci where it is not two standard errors above are not told.
    Instruments must not have been chosen by these x.

    Where ensemble members share errors, se_y is what they leave, and theirs move slopes by
    sum w x (F_y - b F_x) / sum w (x^2 - se_x^2).

    References
    ----------
    Ye T, Shao J, Kang H. Ann Stat 2021. https://doi.org/10.1214/20-AOS2027
    Zhao Q, Wang J, Hemani G, Bowden J, Small DS. Ann Stat 2020. https://doi.org/10.1214/19-AOS1866
    """
    checks.one_of("exposure_errors", exposure_errors, get_args(ExposureErrors))
    x, s = _one_exposure(instruments)
    y, offsets = instruments.beta_outcome, instruments.offsets
    t = own_error(instruments)
    n = instruments.counts.astype(float)
    s2 = s**2 if exposure_errors == "corrected" else np.zeros_like(s)
    beta = np.zeros(len(n))
    v = 0.0 if pleiotropy is None else pleiotropy**2
    for _ in range(_ROUNDS):
        noise = t**2 + segment_repeat(beta, offsets) ** 2 * s2
        if pleiotropy is None:
            v = _direct_variance(y, x, noise, offsets)
        w = 1 / (noise + v)
        below = segment_sum(w * (x**2 - s2), offsets)
        safe = np.where(below > 0, below, 1.0)
        beta = np.where(below > 0, segment_sum(w * x * y, offsets) / safe, 0.0)
        if exposure_errors == "ignored":
            break
    b = segment_repeat(beta, offsets)
    spread = segment_sum(w**2 * ((noise + v) * x**2 + b**2 * s2**2), offsets)
    spread_below = segment_sum(w**2 * (4 * np.maximum(x**2 - s2, 0.0) * s2 + 2 * s2**2), offsets)
    told = (below > 0) & (spread_below > 0)
    strength = np.where(below > 0, np.inf, 0.0)
    strength[told] = below[told] / np.sqrt(spread_below[told])
    factors = None
    if instruments.error_factors is not None:
        moved = instruments.error_factors[:, :, 1] - b * instruments.error_factors[:, :, 0]
        factors = segment_sum(w * x * moved, offsets) / safe
    return LocusStatistics(
        beta=beta,
        se=np.where(below > 0, np.sqrt(spread) / safe, np.nan),
        n=n,
        f_statistic=segment_sum((x / s) ** 2, offsets) / np.maximum(n, 1.0),
        strength=strength,
        pleiotropy=float(np.sqrt(v)),
        factors=factors,
    )


def _one_exposure(instruments: Instruments) -> tuple[Float[np.ndarray, "rows"], Float[np.ndarray, "rows"]]:
    if len(instruments.exposures) != 1:
        raise InputError(f"one exposure is needed; got {len(instruments.exposures)}: {instruments.exposure}")
    return instruments.beta_exposure[:, 0], instruments.se_exposure[:, 0]


def own_error(instruments: Instruments) -> Float[np.ndarray, "rows"]:
    """Return standard errors of outcome effects without what ensemble members share, a tenth of them at least.

    Parameters
    ----------
    instruments : one exposure.
    """
    t = instruments.se_outcome
    if instruments.error_factors is None:
        return t
    shared = (instruments.error_factors[:, :, -1] ** 2).sum(axis=0)
    left: np.ndarray = np.sqrt(np.maximum(t**2 - shared, 0.01 * t**2))
    return left


def _direct_variance(
    y: Float[np.ndarray, "rows"], x: Float[np.ndarray, "rows"], noise: Float[np.ndarray, "rows"], offsets: np.ndarray
) -> float:
    """Return the variance of direct effects, the same everywhere, by restricted likelihood within loci."""

    def loss(v: float) -> float:
        w = 1 / (noise + v)
        xx, xy = segment_sum(w * x**2, offsets), segment_sum(w * x * y, offsets)
        some = xx > 0
        within = float(w @ y**2) - float((xy[some] ** 2 / xx[some]).sum())
        return within - float(np.log(w).sum()) + float(np.log(xx[some]).sum())

    return least_variance(loss, float((y**2).max()))


def least_variance(loss: Callable[[float], float], top: float) -> float:
    """Return the variance of direct effects of the smallest loss; 0 where none has a smaller one than 0.

    Parameters
    ----------
    loss : minus twice a log likelihood.
    top : a variance above any likely one.
    """
    found = optimize.minimize_scalar(
        lambda u: loss(float(np.exp(u))), bounds=(np.log(1e-8 * top), np.log(top)), method="bounded"
    )
    return float(np.exp(found.x)) if found.fun < loss(0.0) - 1e-9 else 0.0


def fit_one_stage(
    instruments: Instruments,
    contexts: pd.DataFrame,
    *,
    names: tuple[str, ...] | None = None,
    exposure_errors: ExposureErrors = "corrected",
    method: Method = "gp",
    nuisance: Nuisance = "none",
    context_errors: ContextErrors = "expected_kernel",
    level: float = 0.95,
    seed: int = 0,
) -> tuple[ContextualMR, pd.DataFrame]:
    """Fit gamma_Y = (f(c_l) + u_l) gamma_X + direct effect over the instruments of all loci.

    Parameters
    ----------
    instruments : one exposure.
    contexts, names : as for `locus_effects_from`.
    exposure_errors : as for `locus_statistics`.
    method, nuisance, context_errors, level, seed : as for `fit_contextual_mr`.

    Returns
    -------
    The fit, and loci that are left out with their reasons (columns of `schema.SKIPPED`).

    Notes
    -----
    Beside effects of loci made first (two stages), the variance of direct effects is one for all loci, so that a locus
    with one instrument serves too, and slopes are free of the dilution by errors of exposure effects.
    """
    found = locus_statistics(instruments, exposure_errors=exposure_errors)
    reason = np.full(len(found.beta), "", dtype=object)
    reason[found.strength < _IDENTIFIED] = "not identified: the exposure effects are no larger than their errors"
    reason[found.n == 0] = "no instruments"
    extra = {"f_statistic": found.f_statistic}
    se = found.se
    if found.factors is not None:
        extra["se_sampling"] = se
        se = np.sqrt(se**2 + (found.factors**2).sum(axis=0))
    estimates = make_estimates(
        "one_stage",
        instruments,
        beta=found.beta,
        se=se,
        reason=tuple(reason),
        level=level,
        extra=extra,
        error_factors=found.factors,
    )
    effects, skipped = locus_effects_from(estimates, contexts, names=names)
    fit = fit_contextual_mr(
        effects, method=method, nuisance=nuisance, context_errors=context_errors, level=level, seed=seed
    )
    return fit, skipped
