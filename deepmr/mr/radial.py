"""Radial regression: ratios and their weights on axes that show outlying instruments."""

from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from deepmr.linalg import divide, fit_lines, segment_repeat
from deepmr.mr.egger import SAME_SIZE
from deepmr.mr.lines import (
    Distribution,
    cochran,
    error_extras,
    exposure_of,
    intercept_estimates,
    inverse_variances,
    mean_f,
    oriented,
    origin_estimates,
    standard_error,
    too_few_ratios,
    with_ratio,
)
from deepmr.mr.losses import loss_of
from deepmr.mr.profiles import Profile, solve_loci
from deepmr.types import Estimates, Instruments, make_estimates

RadialWeights = Literal["first", "second", "modified", "iterative"]


def ivw_radial(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    weights: RadialWeights | Literal["exact"] = "modified",
) -> Estimates:
    """Estimate the causal effect by radial inverse-variance weighting.

    Parameters
    ----------
    instruments : one exposure. Instruments with an exposure effect of exactly zero have no ratio and are left out.
    min_instruments : loci with fewer are skipped; never below 2.
    level : of the confidence interval.
    weights : of a ratio: `first`, x^2 / se_y^2; `second`, with the error of x at the instrument's own ratio;
        `modified`, with the error of x at the first-order estimate; `iterative`, at the estimate itself; `exact`, at
        the slope that minimises Q, whose weights change with it.

    Returns
    -------
    Estimates, with extras as for `ivw_random`.

    Notes
    -----
    The regression of r sqrt(w) on sqrt(w) through the origin, with multiplicative random effects without a floor,
    normal, as in RadialMR. The exact slope is that of `max_likelihood`; RadialMR looks for it between -2 and 2 only,
    and its "Exact (FE)" standard error is this one over `sigma`.

    References
    ----------
    Bowden J et al. Improving the visualization, interpretation and analysis of two-sample summary data Mendelian
    randomization via the Radial plot and Radial regression. Int J Epidemiol 2018. https://doi.org/10.1093/ije/dyy101
    """
    used = with_ratio(instruments)
    reason = too_few_ratios(instruments, used, max(min_instruments, 2))
    if weights == "exact":
        return _exact(used, reason, level)
    return origin_estimates(
        "ivw_radial",
        used,
        radial_weights(used, weights, intercept=False),
        scatter="random",
        distribution="normal",
        reason=reason,
        level=level,
    )


def _exact(used: Instruments, reason: list[str], level: float) -> Estimates:
    """Return the slopes that minimise Q."""

    def at_the_slope(
        profile: Profile, beta: Float[np.ndarray, "block"], tau2: Float[np.ndarray, "block"]
    ) -> list[np.ndarray]:
        at = profile.terms(beta, tau2)
        known = profile.known
        total = np.sum(known * profile.x**2 / np.where(known > 0, at.v, 1.0), axis=1)
        return [divide(np.ones_like(total), total), np.sum(known * at.e**2 / np.where(known > 0, at.v, 1.0), axis=1)]

    found = solve_loci(
        replace(used, correlation=None, error_corr=None),
        loss_of("l2"),
        overdispersion="none",
        reason=reason,
        quantities=at_the_slope,
        n_quantities=2,
    )
    variance, q = found.quantities
    df = np.maximum(used.counts - 1.0, 0.0)
    dispersion, factors = divide(q, df, otherwise=1.0), None
    variance = variance * dispersion
    if found.sensitivity is not None:
        factors, variance = found.sensitivity.members, found.sensitivity.scatter
    error = standard_error(variance, df, factors, distribution="normal")
    return make_estimates(
        "ivw_radial",
        used,
        beta=found.beta,
        se=error.se,
        df=error.df,
        reason=found.reason,
        level=level,
        extra={
            "sigma": np.sqrt(dispersion),
            **cochran(q, df),
            "f_statistic": mean_f(used),
            **error_extras(error, factors),
        },
        error_factors=factors,
    )


def egger_radial(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    weights: Literal["first", "second", "modified"] = "modified",
    distribution: Distribution = "t",
) -> Estimates:
    """Estimate the causal effect by radial MR-Egger regression.

    Parameters
    ----------
    instruments : one exposure. Instruments with an exposure effect of exactly zero have no ratio and are left out.
    min_instruments : loci with fewer are skipped; never below 3.
    level : of the confidence interval.
    weights : as for `ivw_radial`; `modified` uses the slope of the first-order radial line.
    distribution : of independent errors.

    Returns
    -------
    Estimates, with extras `intercept`, its `intercept_se` and `intercept_pvalue`, `sigma`, `q`, `f_statistic`.

    Notes
    -----
    The regression of r sqrt(w) on sqrt(w) with an intercept, without a floor for the residual scale. It does not depend
    on how alleles are coded.

    References
    ----------
    Bowden J et al. Int J Epidemiol 2018. https://doi.org/10.1093/ije/dyy101
    """
    used = oriented(with_ratio(instruments))
    x, _ = exposure_of(used)
    root, shared = np.sqrt(radial_weights(used, weights, intercept=True)), used.error_factors
    one = np.ones_like(x)
    line = fit_lines(root * x, root * used.beta_outcome, one, used.offsets, intercept=True)
    reason = too_few_ratios(instruments, used, max(min_instruments, 3))
    return intercept_estimates(
        "egger_radial",
        used,
        line,
        x=root * x,
        weights=one,
        moved=None if shared is None else (root * shared[:, :, 0], root * shared[:, :, 1]),
        scatter="random",
        distribution=distribution,
        reason=[why or ("" if known else SAME_SIZE) for why, known in zip(reason, line.identified, strict=True)],
        level=level,
    )


def radial_weights(instruments: Instruments, weights: RadialWeights, *, intercept: bool) -> Float[np.ndarray, "rows"]:
    """Return weights of the outcome effects; those of the ratios are x^2 times as large.

    Parameters
    ----------
    weights : as for `ivw_radial`; with an intercept not `iterative`.
    intercept : the slope that `modified` weights take the error of x at is that of the radial Egger line.
    """
    x, s = exposure_of(instruments)
    y, offsets = instruments.beta_outcome, instruments.offsets
    given = inverse_variances(instruments, weights="delta" if weights == "second" else "simple")
    if weights in ("first", "second"):
        return given
    old = np.full(len(instruments.loci), np.inf)
    for _ in range(1 if weights == "modified" else 100):
        root = np.sqrt(given)
        slope = np.nan_to_num(fit_lines(root * x, root * y, np.ones_like(x), offsets, intercept=intercept).slope)
        moved = np.abs(slope - old) > 1e-12 * np.abs(slope)
        old = np.where(moved, slope, old)  # a locus that has settled is left alone: batches change nothing
        given = 1 / (instruments.se_outcome**2 + segment_repeat(old, offsets) ** 2 * s**2)
        if not moved.any():
            break
    return given
