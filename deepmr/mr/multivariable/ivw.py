"""Multivariable inverse-variance weighted regression and MR-Egger: direct effects of several exposures."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np

from deepmr.inference import two_sided
from deepmr.mr.designs import design_factors, fit_designs
from deepmr.mr.lines import Distribution, cochran, standard_error
from deepmr.mr.multivariable.strength import conditional_f
from deepmr.mr.multivariable.table import (
    direct_estimates,
    errors,
    exposures_of,
    not_collinear,
    orientation,
    too_few,
    weights_of,
)
from deepmr.types import Estimates, Instruments

Model = Literal["fixed", "random"]


def mv_ivw(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    model: Model = "random",
    floor: bool = True,
    distribution: Distribution = "normal",
) -> Estimates:
    """Estimate the direct effect of every exposure by weighted regression on all of them at once.

    Parameters
    ----------
    instruments : one exposure or several.
    min_instruments : loci with fewer are skipped; never below exposures + 1.
    level : of the confidence intervals.
    model : `fixed`, or `random`, which multiplies the variance by Q / (J - K).
    floor : never let a small scatter make standard errors smaller than the fixed-effect ones; MVMR does not do so.
    distribution : of independent errors: normal, or t with J - K degrees of freedom.

    Returns
    -------
    Estimates, a row an exposure and locus: the effect of the exposure with the other exposures held fixed. Extras
    `sigma`, `q`, `conditional_f`, `n_exposures`.

    Notes
    -----
    b = (X'WX)^-1 X'Wy, W = diag(1 / se_y^2). Shared errors are carried by the delta method at fixed weights.

    References
    ----------
    Burgess S, Thompson SG. Multivariable Mendelian randomization: the use of pleiotropic genetic variants to estimate
    causal effects. Am J Epidemiol 2015. https://doi.org/10.1093/aje/kwu283
    """
    reason = too_few(instruments, min_instruments, parameters=len(instruments.exposures))
    return regression_estimates(
        "mv_ivw", instruments, level=level, model=model, floor=floor, distribution=distribution, reason=reason
    )


def regression_estimates(
    method: str,
    instruments: Instruments,
    *,
    level: float,
    model: Model,
    floor: bool,
    distribution: Distribution,
    reason: list[str],
    extra: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> Estimates:
    """Build the rows of a weighted regression on all exposures; see `mv_ivw`.

    Parameters
    ----------
    reason : why a locus has no estimate; empty for one that has.
    extra : further columns.
    """
    x, y, offsets = exposures_of(instruments), instruments.beta_outcome.astype(float), instruments.offsets
    weights, shared = weights_of(instruments), instruments.error_factors
    fit = fit_designs(x, y, weights, offsets)
    factors = None
    if shared is not None:
        factors = design_factors(fit, x, weights, offsets, x_factors=shared[:, :, :-1], y_factors=shared[:, :, -1])
        scale = np.where(fit.df > 0, fit.dispersion, 0.0) * (model == "random")
    elif model == "random":
        scale = np.maximum(fit.dispersion, 1.0) if floor else fit.dispersion
    else:
        scale = np.ones_like(fit.dispersion)
    return direct_estimates(
        method,
        instruments,
        beta=fit.coef,
        error=errors(scale[:, None] * fit.variances, fit.df, factors, distribution=distribution),
        reason=not_collinear(reason, fit.identified),
        level=level,
        extra={
            "sigma": np.sqrt(fit.dispersion),
            **cochran(fit.residual_ss, fit.df, shared=shared is not None),
            "conditional_f": conditional_f(instruments),
            **extra,
        },
        factors=factors,
    )


def mv_egger(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    orientate: int = 1,
    distribution: Distribution = "t",
) -> Estimates:
    """Estimate the direct effect of every exposure by a weighted regression with an intercept.

    Parameters
    ----------
    instruments : one exposure or several.
    min_instruments : loci with fewer are skipped; never below exposures + 2.
    level : of the confidence intervals.
    orientate : number of the exposure, from 1, whose effects are made positive: the answer depends on it.
    distribution : of independent errors: t with J - K - 1 degrees of freedom, or normal.

    Returns
    -------
    Estimates as of `mv_ivw`, with `intercept` and its standard error and P value.

    Raises
    ------
    InputError : where there is no exposure of that number.

    References
    ----------
    Rees JMB, Wood AM, Burgess S. Extending the MR-Egger method for multivariable Mendelian randomization to correct
    for both measured and unmeasured pleiotropy. Stat Med 2017. https://doi.org/10.1002/sim.7492
    """
    x, offsets = exposures_of(instruments), instruments.offsets
    sign = orientation(instruments, orientate)
    design = np.column_stack([np.ones(len(x)), x * sign[:, None]])
    weights, shared = weights_of(instruments), instruments.error_factors
    fit = fit_designs(design, instruments.beta_outcome * sign, weights, offsets)
    factors, intercept_factors = None, None
    if shared is not None:
        moves = np.concatenate([np.zeros((*shared.shape[:2], 1)), shared[:, :, :-1] * sign[:, None]], axis=2)
        both = design_factors(fit, design, weights, offsets, x_factors=moves, y_factors=shared[:, :, -1] * sign)
        intercept_factors, factors = both[:, :, 0], both[:, :, 1:]
    scale = np.where(fit.df > 0, fit.dispersion, 0.0) if shared is not None else np.maximum(fit.dispersion, 1.0)
    intercept_error = standard_error(scale * fit.variances[:, 0], fit.df, intercept_factors, distribution=distribution)
    reason = too_few(instruments, min_instruments, parameters=x.shape[1] + 1)
    return direct_estimates(
        "mv_egger",
        instruments,
        beta=fit.coef[:, 1:],
        error=errors(scale[:, None] * fit.variances[:, 1:], fit.df, factors, distribution=distribution),
        reason=not_collinear(reason, fit.identified),
        level=level,
        extra={
            "intercept": fit.coef[:, 0],
            "intercept_se": intercept_error.se,
            "intercept_pvalue": two_sided(fit.coef[:, 0], intercept_error.se, df=intercept_error.df),
            "sigma": np.sqrt(fit.dispersion),
            **cochran(fit.residual_ss, fit.df, shared=shared is not None),
            "conditional_f": conditional_f(instruments),
        },
        factors=factors,
    )
