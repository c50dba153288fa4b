"""Robust adjusted profile score."""

import logging
from typing import Literal

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.mr.lines import error_extras, mean_f, too_few
from deepmr.mr.losses import LossName, loss_of
from deepmr.mr.profiles import Profile, solve_loci, total_errors
from deepmr.types import Estimates, Instruments, make_estimates

_log = logging.getLogger(__name__)


def raps(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    loss: LossName = "huber",
    overdispersion: bool = True,
    dispersion_weights: Literal["equal", "exposure"] = "equal",
    information: Literal["observed", "expected"] = "observed",
) -> Estimates:
    """Estimate the causal effect by the robust adjusted profile score.

    Parameters
    ----------
    instruments : one exposure; weak instruments are welcome. `error_corr` is heeded.
    min_instruments : loci with fewer are skipped.
    level : of the confidence interval.
    loss : of standardised residuals: `l2`, `huber` (k = 1.345) or `tukey` (k = 4.685).
    overdispersion : estimate a variance tau2 of direct effects that are balanced about zero.
    dispersion_weights : how instruments weigh in the equation of tau2: all the same (as `mr.raps.shrinkage`, what the
        R package runs by default), or by the error variance of their exposure effect (as in the paper and
        `mr.raps.mle`).
    information : behind the standard error: `observed` (as `mr.raps.shrinkage`) or `expected` (as `mr.raps.mle`).

    Returns
    -------
    Estimates, with extras `tau2` and `tau2_se`, `n_roots` (solutions of the equations, of which the estimate is one),
    `f_statistic`, and with shared errors `se_sampling` and `se_member`.

    Notes
    -----
    With e_j = y_j - b x_j, v_j = se_y^2 + b^2 se_x^2 - 2 b cov_j + tau2, z_j = e_j / sqrt(v_j) and g_j the best guess
    of the true exposure effect (`deepmr.mr.profiles`), b and tau2 solve
    sum_j g_j rho'(z_j) / sqrt(v_j) = 0 and sum_j w_j (z_j rho'(z_j) - E Z rho'(Z)) / v_j = 0.
    All solutions at which the first falls through zero are found, on a grid even in arctan(b / scale). Without
    overdispersion the estimate is the one with the smallest sum of losses; with it, the one nearest to that. Where the
    scatter is smaller than the standard errors say, tau2 is 0 and the fit is the one without overdispersion.

    It assumes direct effects that are independent of the exposure effects, normal errors, and instruments that were
    not selected on these data. With shared errors, v_j counts the whole error of an instrument and the covariance of
    its two effects over members; the sampling part of the standard error is the scatter of the contributions, and
    the members' part is how far they move the solution.

    References
    ----------
    Zhao Q, Wang J, Hemani G, Bowden J, Small DS. Statistical inference in two-sample summary-data Mendelian
    randomization using robust adjusted profile score. Ann Stat 2020. https://doi.org/10.1214/19-AOS1866
    Zhao Q, Chen Y, Wang J, Small DS. Powerful three-sample genome-wide design and robust statistical inference in
    summary-data Mendelian randomization. Int J Epidemiol 2019. https://doi.org/10.1093/ije/dyz142
    """
    for name, value, allowed in (
        ("loss", loss, ("l2", "huber", "tukey")),
        ("dispersion_weights", dispersion_weights, ("equal", "exposure")),
        ("information", information, ("observed", "expected")),
    ):
        checks.one_of(name, value, allowed)
    solutions = solve_loci(
        instruments,
        loss_of(loss),
        overdispersion="score" if overdispersion else "none",
        by_exposure_error=dispersion_weights == "exposure",
        reason=too_few(instruments, max(min_instruments, 1)),
        quantities=_observed if information == "observed" else _expected,
        n_quantities=2,
    )
    if overdispersion:
        at_zero = int(np.sum(solutions.tau2 == 0))
        if at_zero:
            say = _log.info if len(solutions.tau2) > 1 else _log.debug  # of one locus the table tells it too
            say("raps: tau2 is 0 at %d of %d loci: errors explain their scatter", at_zero, len(solutions.tau2))
    variance, tau2_variance = solutions.quantities
    error, factors = total_errors(solutions, variance, instruments.counts)
    dispersion = {"tau2": solutions.tau2, "tau2_se": np.sqrt(tau2_variance)} if overdispersion else {}
    return make_estimates(
        "raps",
        instruments,
        beta=solutions.beta,
        se=error.se,
        df=error.df,
        reason=solutions.reason,
        level=level,
        extra={
            **dispersion,
            "n_roots": solutions.n_roots,
            "f_statistic": mean_f(instruments),
            **error_extras(error, factors),
        },
        error_factors=factors,
    )


def _observed(profile: Profile, beta: Float[np.ndarray, "block"], tau2: Float[np.ndarray, "block"]) -> list[np.ndarray]:
    """Variances of beta and tau2 from the derivative of g at the data."""
    at, loss = profile.terms(beta, tau2), profile.loss
    weight = loss.weight(at.e**2 / at.v)
    pull = weight * at.e / at.v
    own = np.sum((profile.xx * at.e - at.c * profile.x) / at.v * pull - loss.delta * at.g * profile.x / at.v, axis=1)
    # In the basis in which both errors of an instrument are independent:
    y = profile.y - profile.xy / profile.xx * profile.x
    yy = profile.yy - profile.xy**2 / profile.xx + tau2[:, None]
    cross = np.sum(at.c * y / (yy * at.v) * pull, axis=1)
    score = loss.score_square * np.sum(at.g**2 / at.v, axis=1)
    return _sandwich(profile, at.v, tau2, own=own, cross=cross, score=score)


def _expected(profile: Profile, beta: Float[np.ndarray, "block"], tau2: Float[np.ndarray, "block"]) -> list[np.ndarray]:
    """Variances of beta and tau2 from the expected derivative, with unbiased estimates of the squared true effects."""
    at, loss = profile.terms(beta, tau2), profile.loss
    y = profile.y - profile.xy / profile.xx * profile.x
    yy = profile.yy - profile.xy**2 / profile.xx + tau2[:, None]
    strength = profile.known * ((profile.x**2 - profile.xx) * yy + (y**2 - yy) * profile.xx) / at.v**2
    noise = profile.known * profile.xx * yy / at.v**2
    return _sandwich(
        profile,
        at.v,
        tau2,
        own=loss.delta * strength.sum(axis=1),
        cross=loss.delta * np.sum(at.c * profile.known / at.v**2, axis=1),
        score=loss.score_square * (strength + noise).sum(axis=1),
    )


def _sandwich(
    profile: Profile,
    v: Float[np.ndarray, "block width"],
    tau2: Float[np.ndarray, "block"],
    *,
    own: Float[np.ndarray, "block"],
    cross: Float[np.ndarray, "block"],
    score: Float[np.ndarray, "block"],
) -> list[np.ndarray]:
    """Variances of beta and tau2; `own` and `cross` are the score's derivatives, `score` its variance."""
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = profile.loss.pull_variance * np.sum((profile.share / v) ** 2, axis=1)
        slope = profile.loss.pull_slope / 2 * np.sum(profile.share / v**2, axis=1)
        dispersion = np.where((tau2 > 0) & profile.overdispersed, pull / slope**2, 0.0)
        return [(score + cross**2 * dispersion) / own**2, dispersion]
