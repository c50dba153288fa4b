"""Maximum likelihood for a line with errors in both effects, by its exact one-dimensional profile."""

from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.linalg import divide
from deepmr.mr.correlated import unlinkable
from deepmr.mr.errors import dot
from deepmr.mr.joint_profiles import JointProfile, joint_blocks, mixtures, solve_joint
from deepmr.mr.lines import Distribution, cochran, error_extras, mean_f, standard_error, too_few
from deepmr.mr.losses import loss_of
from deepmr.mr.profiles import Profile, Solutions, solve_loci
from deepmr.types import Estimates, Instruments, make_estimates


def max_likelihood(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    model: Literal["fixed", "random"] = "random",
    distribution: Distribution = "normal",
) -> Estimates:
    """Estimate the causal effect by maximum likelihood, with the true exposure effects as unknowns.

    Parameters
    ----------
    instruments : one exposure. `error_corr` and `correlation` are heeded.
    min_instruments : loci with fewer are skipped.
    level : of the confidence interval.
    model : `random` multiplies the variance by max(1, Q / (J - 1)).
    distribution : of independent errors: normal, or t with J - 1 degrees of freedom.

    Returns
    -------
    Estimates, with extras `q` (twice the negative log-likelihood at its maximum), `n_roots`, `f_statistic`, and with
    shared errors `se_sampling` and `se_member`.

    Notes
    -----
    The true exposure effects are maximised out exactly, which leaves Q(b) = e'V(b)^-1 e, e = y - b x,
    V(b) = S_yy + b^2 S_xx - b (S_xy + S_yx): this is `raps` with `loss="l2"` without overdispersion. All its
    minima are found and the lowest is taken. The variance is the inverse of the observed information,
    h'V^-1 h - z'S_xx z with z = V^-1 e, C = S_xy - b S_xx and h = x - (C + C') z. With weak instruments it
    understates the error; `raps` does not.

    With shared errors an instrument counts with the whole of its errors, instruments count as independent; the
    sampling part of the standard error is the scatter of the contributions (0 for the fixed model, which takes one
    effect and no error but the members'), the members' part how far they move the maximum. For the likelihood of the
    joint covariance see `profile_score`. Linkage disequilibrium and shared errors together are refused: there too.

    References
    ----------
    Burgess S, Butterworth A, Thompson SG. Mendelian randomization analysis with multiple genetic variants using
    summarized data. Genet Epidemiol 2013. https://doi.org/10.1002/gepi.21758
    """
    checks.one_of("model", model, ("fixed", "random"))
    few = too_few(instruments, max(min_instruments, 1))
    reason = [why or bad for why, bad in zip(few, unlinkable(instruments), strict=True)]
    linked, shared = instruments.correlation is not None, instruments.error_factors is not None
    if linked and shared:
        reason = [why or "shared errors and linkage disequilibrium together: use profile_score" for why in reason]
    found = solve_loci(
        replace(instruments, correlation=None),
        loss_of("l2"),
        overdispersion="none",
        reason=reason,
        quantities=_information,
        n_quantities=2,
    )
    if linked:
        found = _linked(instruments, found)
    variance, q = found.quantities
    df = np.maximum(instruments.counts - 1.0, 0.0)
    factors = None
    if model == "random":
        variance = variance * np.maximum(divide(q, df, otherwise=1.0), 1.0)
    if found.sensitivity is not None:
        factors = found.sensitivity.members
        variance = found.sensitivity.scatter if model == "random" else np.zeros_like(variance)
    error = standard_error(variance, df, factors, distribution=distribution)
    return make_estimates(
        "max_likelihood",
        instruments,
        beta=found.beta,
        se=error.se,
        df=error.df,
        reason=found.reason,
        level=level,
        extra={
            **cochran(q, df, shared=factors is not None),
            "n_roots": found.n_roots,
            "f_statistic": mean_f(instruments),
            **error_extras(error, factors),
        },
        error_factors=factors,
    )


def _information(
    profile: Profile, beta: Float[np.ndarray, "block"], tau2: Float[np.ndarray, "block"]
) -> list[np.ndarray]:
    at = profile.terms(beta, tau2)
    z = at.e / at.v
    h = at.g - at.c * z
    information = np.sum(h**2 / at.v - profile.xx * profile.known * z**2, axis=1)
    return [divide(np.ones_like(information), information), dot(at.e, z)]


def _linked(instruments: Instruments, plain: Solutions) -> Solutions:
    """The same under linkage disequilibrium; loci without a solution of their own keep the reason of `plain`."""
    parts = {name: getattr(plain, name).copy() for name in ("beta", "n_roots", "quantities")}
    wanted = ~np.isnan(plain.beta)
    for block, profile in joint_blocks(instruments, overdispersed=False, loci=wanted):
        chosen = solve_joint(profile)
        parts["beta"][block.loci], parts["n_roots"][block.loci] = chosen.beta, chosen.count
        parts["quantities"][:, block.loci] = _joint_information(profile, np.where(chosen.found, chosen.beta, 0.0))
    return replace(plain, **parts)


def _joint_information(profile: JointProfile, beta: Float[np.ndarray, "block"]) -> Float[np.ndarray, "2 block"]:
    at = profile.terms(beta, np.zeros_like(beta))
    exposure, _ = mixtures(beta)
    h = at.g - at.c.turned().times(at.z[..., None])[..., 0]
    own = profile.errors.between(exposure, exposure).times(at.z[..., None])[..., 0]
    information = dot(h, at.precision.times(h[..., None])[..., 0]) - dot(at.z, own)
    return np.stack([divide(np.ones_like(information), information), dot(at.e, at.z)])
