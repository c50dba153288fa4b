"""Generalised debiased inverse-variance weighting: correlated errors of exposure and outcome taken out of the sums."""

from typing import Literal

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.mr.correlated import unlinkable
from deepmr.mr.errors import Structured, dot
from deepmr.mr.joint_profiles import JointProfile, joint_blocks, mixtures
from deepmr.mr.lines import error_extras, exposure_of, mean_f, split_error, too_few
from deepmr.types import Estimates, Instruments, make_estimates

_WEAK = "not identified: the exposure effects are no larger than their errors make them"


def debiased_gls(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    weights: Literal["joint", "simple"] = "joint",
    overdispersion: bool = True,
) -> Estimates:
    """Estimate the causal effect by the inverse-variance slope without the bias that errors of the effects give it.

    Parameters
    ----------
    instruments : one exposure. `error_factors`, `error_corr` and `correlation` make the covariance of all effects.
    min_instruments : loci with fewer are skipped.
    level : of the confidence interval.
    weights : W = `joint`, the inverse of the outcome effects' whole covariance, or `simple`, 1 / se_outcome^2 on the
        diagonal. Both are unbiased.
    overdispersion : count a variance tau2 of direct effects that are balanced about zero in the standard error.

    Returns
    -------
    Estimates, with extras `strength`, `tau2`, `f_statistic`, and with shared errors `se_sampling` and `se_member`.

    Notes
    -----
    With S_xx, S_yy and S_xy the covariances of the errors of x and y,
    b = (x'W y - tr(W S_xy)) / (x'W x - tr(W S_xx)). With V = S_yy + b^2 S_xx - b (S_xy + S_yx) + tau2 I and
    C = S_xy - b S_xx, its variance is (x'W V W x + tr(W C' W C')) / (x'W x - tr(W S_xx))^2.
    tau2 = max(0, e'W e J / (J - 1) - tr(W V)) / tr(W). `strength` is the denominator over its standard deviation
    without any true effect, sqrt(2 tr((W S_xx)^2)). With independent errors and separate samples this is the debiased
    estimator of Ye, Shao and Kang.

    The standard error contains what members share. Its members' part is how far their errors move the estimate,
    its sampling part what remains.

    References
    ----------
    Ye T, Shao J, Kang H. Debiased inverse-variance weighted estimator in two-sample summary-data Mendelian
    randomization. Ann Stat 2021. https://doi.org/10.1214/20-AOS2027
    """
    checks.one_of("weights", weights, ("joint", "simple"))
    exposure_of(instruments)
    n_loci, shared = len(instruments.loci), instruments.error_factors
    few = too_few(instruments, max(min_instruments, 1))
    reason = [why or bad for why, bad in zip(few, unlinkable(instruments), strict=True)]
    beta, variance, tau2, strength = (np.full(n_loci, np.nan) for _ in range(4))
    members = np.zeros((0 if shared is None else len(shared), n_loci))
    wanted = np.array([not why for why in reason], dtype=bool)
    for block, profile in joint_blocks(instruments, overdispersed=overdispersion, loci=wanted):
        loci = block.loci
        weight = _weight(profile, weights)
        beta[loci], signal, strength[loci] = _slope(profile, weight)
        tau2[loci], variance[loci] = _spread(profile, weight, beta[loci], signal)
        if shared is not None:
            factors = (shared[:, block.rows] * block.known[..., None]).astype(float)
            members[:, loci] = _moves(profile, weight, beta[loci], signal, factors)
    factors = None if shared is None else np.where(np.isnan(beta), 0.0, members)
    error = split_error(variance, factors)
    return make_estimates(
        "debiased_gls",
        instruments,
        beta=beta,
        se=error.se,
        df=error.df,
        reason=[why or (_WEAK if np.isnan(found) else "") for why, found in zip(reason, beta, strict=True)],
        level=level,
        extra={
            "strength": strength,
            **({"tau2": tau2} if overdispersion else {}),
            "f_statistic": mean_f(instruments),
            **error_extras(error, factors),
        },
        error_factors=factors,
    )


def _weight(profile: JointProfile, weights: str) -> Structured:
    one = np.ones(len(profile.x))
    outcome = np.stack([0 * one, one], axis=1)
    covariance = profile.errors.between(outcome, outcome)
    if weights == "joint":
        return covariance.inverse()
    none = np.zeros((*profile.x.shape, 0))
    own = 1 / (covariance.own + np.einsum("bjk,bjk->bj", covariance.left, covariance.right))
    dense = None if covariance.dense is None else own[..., None] * np.eye(own.shape[-1])
    return Structured(own=own, left=none, right=none, dense=dense)


def _slope(
    profile: JointProfile, weight: Structured
) -> tuple[Float[np.ndarray, "block"], Float[np.ndarray, "block"], Float[np.ndarray, "block"]]:
    """The estimate, its denominator, and the latter in standard deviations."""
    one = np.ones(len(profile.x))
    exposure, outcome = np.stack([one, 0 * one], axis=1), np.stack([0 * one, one], axis=1)
    weighted = weight.times(profile.x[..., None])[..., 0]
    noise = weight.after(profile.errors.between(exposure, exposure))
    signal = dot(weighted, profile.x) - noise.trace()
    product = dot(weighted, profile.y) - weight.after(profile.errors.between(exposure, outcome)).trace()
    positive = signal > 0
    beta = np.where(positive, product / np.where(positive, signal, 1.0), np.nan)
    return beta, signal, signal / np.sqrt(2 * noise.after(noise).trace())


def _spread(
    profile: JointProfile, weight: Structured, beta: Float[np.ndarray, "block"], signal: Float[np.ndarray, "block"]
) -> tuple[Float[np.ndarray, "block"], Float[np.ndarray, "block"]]:
    """The overdispersion and the variance of the estimate."""
    exposure, residual = mixtures(np.where(np.isnan(beta), 0.0, beta))
    covariance = profile.errors.between(residual, residual)
    tau2 = np.zeros_like(beta)
    if profile.overdispersed:
        e = profile.y - beta[:, None] * profile.x
        n = profile.known.sum(axis=1)
        size = dot(e, weight.times(e[..., None])[..., 0]) * n / np.maximum(n - 1, 1)
        # Padding has weight and variance; both traces are of the known instruments alone.
        outside = (1 - profile.known).sum(axis=1)
        expected, total = weight.after(covariance).trace() - outside, weight.trace() - outside
        tau2 = np.maximum(size - expected, 0.0) / total
    weighted = weight.times(profile.x[..., None])
    middle = dot(weighted[..., 0], covariance.times(weighted)[..., 0]) + tau2 * np.sum(weighted[..., 0] ** 2, axis=1)
    turned = weight.after(profile.errors.between(exposure, residual).turned())
    variance = (middle + turned.after(turned).trace()) / np.where(signal > 0, signal, 1.0) ** 2
    return tau2, np.where(signal > 0, variance, np.nan)


def _moves(
    profile: JointProfile,
    weight: Structured,
    beta: Float[np.ndarray, "block"],
    signal: Float[np.ndarray, "block"],
    factors: Float[np.ndarray, "factors block width traits"],
) -> Float[np.ndarray, "factors block"]:
    """How far members move the estimate: the derivative of both sums at fixed weights and corrections."""
    e = profile.y - beta[:, None] * profile.x
    for_residual = weight.times(profile.x[..., None])[..., 0]
    for_exposure = weight.times(e[..., None])[..., 0]
    shift = factors[..., 1] - beta[:, None] * factors[..., 0]
    total = np.einsum("bj,kbj->kb", for_residual, shift) + np.einsum("bj,kbj->kb", for_exposure, factors[..., 0])
    return total / np.where(signal > 0, signal, 1.0)
