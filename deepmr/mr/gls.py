"""IVW and MR-Egger by generalised least squares: for instruments in linkage disequilibrium."""

from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.inference import TotalError, two_sided
from deepmr.mr.correlated import Whitened, independent, whiten
from deepmr.mr.designs import design_factors, fit_designs
from deepmr.mr.gls_joint import JointLine, fit_joint
from deepmr.mr.lines import Distribution, cochran, error_extras, oriented, origin_estimates, standard_error, too_few
from deepmr.types import Estimates, Instruments, make_estimates

Model = Literal["fixed", "random"]
Weights = Literal["marginal", "joint"]

_SAME_SIZE = "not identified: all exposure effects have the same size, which leaves slope and intercept open"


def ivw_gls(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    model: Model = "random",
    distribution: Distribution = "normal",
    weights: Weights = "marginal",
    ridge: float = 0.0,
) -> Estimates:
    """Estimate the causal effect by inverse-variance weights that heed the correlation of the instruments.

    Parameters
    ----------
    instruments : one exposure; `correlation` is used, and independence assumed without it.
    min_instruments : loci with fewer are skipped.
    level : of the confidence interval.
    model : `fixed`, one effect underlies all instruments; `random`, the variance is multiplied by max(1, Q / (J - 1)).
    distribution : of independent errors.
    weights : S^-1 with S = `marginal`, diag(se_y) R diag(se_y); or `joint`, which also holds what members share of the
        errors of the outcome effects (`error_factors`), and is the same without them.
    ridge : share of the identity mixed into the correlation, 0 to 1: a remedy for a nearly singular one.

    Returns
    -------
    Estimates, with extras as for `ivw_random`; Q and F heed the correlation. A locus whose correlation has an
    eigenvalue below 1e-8 is skipped.

    Notes
    -----
    b = (x' S^-1 x)^-1 x' S^-1 y, variance (x' S^-1 x)^-1, Q = e' S^-1 e. Shared errors enter the standard error under
    either weights: se^2 is the scatter's part (no floor) plus the members' part.
    Joint weights have S = D^1/2 R D^1/2 + F F' with D = se_y^2 - sum F^2 (at least 5 % of se_y^2), at a cost of J K^2
    without R. They make the estimate more precise where few members make much of the error, and rest on their
    covariance being right; the scatter's part is then Q / (J - 1) (1 for the fixed model) times what (x' S^-1 x)^-1 has
    from D. Neither corrects for errors of the exposure effects, which pull the estimate towards zero, or, where they
    correlate with those of the outcome, towards the confounded association: `debiased_gls` and `profile_score` do.
    The correlation has to come from the population of the association study: one from another panel can make the
    answer precise and wrong.

    References
    ----------
    Burgess S, Dudbridge F, Thompson SG. Combining information on multiple instrumental variables in Mendelian
    randomization: comparison of allele score and summarized data methods. Stat Med 2016.
    https://doi.org/10.1002/sim.6835
    """
    checks.one_of("weights", weights, ("marginal", "joint"))
    joint = weights == "joint" and instruments.error_factors is not None
    white = whiten(replace(instruments, error_factors=None) if joint else instruments, ridge=ridge)
    few = too_few(instruments, max(min_instruments, 1))
    reason = [why or bad for why, bad in zip(few, white.reason, strict=True)]
    if joint:
        line = fit_joint(instruments, intercept=False, ridge=ridge)
        scale = np.ones_like(line.q) if model == "fixed" else np.where(line.df > 0, line.dispersion, 0.0)
        known = np.isfinite(line.coef[:, 0])
        none = "not identified: every exposure effect is zero"
        reason = [why or ("" if good else none) for why, good in zip(reason, known, strict=True)]
        return _joint_estimates("ivw_gls", instruments, line, white, scale, reason, level)
    return origin_estimates(
        "ivw_gls",
        independent(instruments, white),
        np.ones(len(white.x)),
        whitened=True,
        scatter="floored" if model == "random" else "fixed",
        distribution=distribution,
        reason=reason,
        level=level,
        extra={"f_statistic": white.f_statistic},
    )


def egger_gls(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    distribution: Distribution = "t",
    weights: Weights = "marginal",
    ridge: float = 0.0,
) -> Estimates:
    """Estimate the causal effect by MR-Egger with weights that heed the correlation of the instruments.

    Parameters
    ----------
    instruments : one exposure; `correlation` is used, and independence assumed without it.
    min_instruments : loci with fewer are skipped; never below 3.
    level : of the confidence interval.
    distribution : of independent errors: t with J - 2 degrees of freedom or normal.
    weights, ridge : as for `ivw_gls`.

    Returns
    -------
    Estimates, with extras as for `egger` but without `i2_gx`.

    Notes
    -----
    b = (X' S^-1 X)^-1 X' S^-1 y with X = [1, |x|] and S = diag(se_y) R diag(se_y); where orienting an instrument swaps
    its alleles, its row and column of R change sign. Variance (X' S^-1 X)^-1 times max(1, Q' / (J - 2)). Shared errors
    and joint weights as for `ivw_gls`.

    References
    ----------
    Burgess S, Zuber V, Valdes-Marquez E, Sun BB, Hopewell JC. Mendelian randomization with fine-mapped genetic data:
    choosing from large numbers of correlated instrumental variables. Genet Epidemiol 2017.
    https://doi.org/10.1002/gepi.22077
    """
    checks.one_of("weights", weights, ("marginal", "joint"))
    given = oriented(instruments)
    joint = weights == "joint" and instruments.error_factors is not None
    white = whiten(replace(given, error_factors=None) if joint else given, ridge=ridge)
    few = too_few(given, max(min_instruments, 3))
    if joint:
        line = fit_joint(given, intercept=True, ridge=ridge)
        known = np.isfinite(line.coef[:, 1]) & _spread(given)
        reason = [a or b or ("" if good else _SAME_SIZE) for a, b, good in zip(few, white.reason, known, strict=True)]
        scale = np.where(line.df > 0, line.dispersion, 0.0)
        return _joint_estimates("egger_gls", instruments, line, white, scale, reason, level)
    design, ones = np.stack([white.ones, white.x], axis=1), np.ones(len(white.x))
    fit = fit_designs(design, white.y, ones, given.offsets)
    known = fit.identified & _spread(given)
    reason = [a or b or ("" if good else _SAME_SIZE) for a, b, good in zip(few, white.reason, known, strict=True)]
    factors = None
    if white.x_factors is not None and white.y_factors is not None:
        moves = np.stack([np.zeros_like(white.x_factors), white.x_factors], axis=-1)
        factors = design_factors(fit, design, ones, given.offsets, x_factors=moves, y_factors=white.y_factors)
    scale = np.where(fit.df > 0, fit.dispersion, 0.0) if factors is not None else np.maximum(fit.dispersion, 1.0)
    parts = [None if factors is None else factors[:, :, k] for k in (0, 1)]
    intercept_error, error = (
        standard_error(scale * fit.variances[:, k], fit.df, parts[k], distribution=distribution) for k in (0, 1)
    )
    return make_estimates(
        "egger_gls",
        instruments,
        beta=fit.coef[:, 1],
        se=error.se,
        df=error.df,
        reason=reason,
        level=level,
        extra={
            **_intercept(fit.coef[:, 0], intercept_error),
            "sigma": np.sqrt(fit.dispersion),
            **cochran(fit.residual_ss, fit.df, shared=factors is not None),
            "f_statistic": white.f_statistic,
            **error_extras(error, parts[1]),
        },
        error_factors=parts[1],
    )


def _intercept(intercept: Float[np.ndarray, "loci"], error: TotalError) -> dict[str, np.ndarray]:
    return {
        "intercept": intercept,
        "intercept_se": error.se,
        "intercept_pvalue": two_sided(intercept, error.se, df=error.df),
    }


def _joint_estimates(
    method: str,
    instruments: Instruments,
    line: JointLine,
    white: Whitened,
    scale: Float[np.ndarray, "loci"],
    reason: list[str],
    level: float,
) -> Estimates:
    """Return the slopes under joint weights; `scale` multiplies the variance that members do not share."""
    errors = [
        standard_error(scale * line.own[:, k], line.df, line.factors[:, :, k], distribution="t")
        for k in range(line.coef.shape[1])
    ]
    factors = line.factors[:, :, -1]
    return make_estimates(
        method,
        instruments,
        beta=line.coef[:, -1],
        se=errors[-1].se,
        df=errors[-1].df,
        reason=reason,
        level=level,
        extra={
            **(_intercept(line.coef[:, 0], errors[0]) if len(errors) > 1 else {}),
            "sigma": np.sqrt(line.dispersion),
            **cochran(line.q, line.df, shared=instruments.error_factors is not None),
            "f_statistic": white.f_statistic,
            **error_extras(errors[-1], factors),
        },
        error_factors=factors,
    )


def _spread(instruments: Instruments) -> np.ndarray:
    """Whether the sizes of a locus's exposure effects differ by more than rounding."""
    x = instruments.beta_exposure[:, 0]
    spread = np.zeros(len(instruments.loci))
    filled = np.flatnonzero(instruments.counts > 0)
    starts = instruments.offsets[:-1][filled]
    if len(filled):
        high, low = np.maximum.reduceat(x, starts), np.minimum.reduceat(x, starts)
        spread[filled] = (high - low) / np.where(high > 0, high, 1.0)
    return spread > 1e-9
