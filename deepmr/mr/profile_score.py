"""Profile score with the joint covariance of all errors of a locus."""

import numpy as np

from deepmr import checks
from deepmr.linalg import segment_sum
from deepmr.mr.correlated import unlinkable
from deepmr.mr.joint_profiles import joint_blocks, joint_moves, score_variance, solve_joint
from deepmr.mr.lines import cochran, error_extras, exposure_of, mean_f, split_error, too_few
from deepmr.mr.losses import LossName
from deepmr.types import Estimates, Instruments, make_estimates


def profile_score(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    loss: LossName = "l2",
    overdispersion: bool = True,
) -> Estimates:
    """Estimate the causal effect by the profile score under errors that are correlated in every way.

    Parameters
    ----------
    instruments : one exposure. `error_factors`, `error_corr` and `correlation` make the covariance of all effects.
    min_instruments : loci with fewer are skipped.
    level : of the confidence interval.
    loss : of whitened residuals: `l2`, or `huber` (k = 1.345) or `tukey` (k = 4.685), under which a few outlying
        instruments count for little or nothing.
    overdispersion : estimate a variance tau2 of direct effects that are balanced about zero. Leave it on with effects
        of an ensemble: members explain the whole of their standard errors, and what else scatters has no other place.

    Returns
    -------
    Estimates, with extras `tau2`, `n_roots`, `q` (e'V^-1 e without overdispersion), `f_statistic`, and with shared
    errors `se_sampling` and `se_member`.

    Notes
    -----
    With e = y - b x, V(b) = S_yy + b^2 S_xx - b (S_xy + S_yx) + tau2 I, C(b) = S_xy - b S_xx and
    g(b) = x - C V^-1 e, the estimate solves g'V^-1 e = 0, and tau2 solves e'V^-1 e = J - 1 where that is above 0.
    The standard error is sqrt(A) / (A - tr(V^-1 (S_xx - C V^-1 C'))), A = g'V^-1 g. Errors S are
    diagonal plus the outer products of the members' deviations (`deepmr.mr.errors`), so that a locus costs J K^2; with
    linkage disequilibrium J^3. All solutions are found and one is chosen as by `raps`, which this equals (with
    `loss="l2"`, without overdispersion) where errors are independent.

    The standard error contains what members share. Its members' part is how far their errors move the solution, its
    sampling part what remains. It assumes normal errors and, like every weighting by an inverse covariance, that the
    covariance is right. An adaptation of the profile score of Zhao et al. to any covariance; checked by simulation.

    References
    ----------
    Zhao Q, Wang J, Hemani G, Bowden J, Small DS. Statistical inference in two-sample summary-data Mendelian
    randomization using robust adjusted profile score. Ann Stat 2020. https://doi.org/10.1214/19-AOS1866
    """
    checks.one_of("loss", loss, ("l2", "huber", "tukey"))
    x, _ = exposure_of(instruments)
    n_loci, shared = len(instruments.loci), instruments.error_factors
    few = too_few(instruments, max(min_instruments, 2 if overdispersion else 1))  # one says nothing of scatter
    reason = [why or bad for why, bad in zip(few, unlinkable(instruments), strict=True)]
    zero = segment_sum(np.abs(x), instruments.offsets) == 0
    beta, tau2, variance, q, n_roots = (np.full(n_loci, np.nan) for _ in range(5))
    members = np.zeros((0 if shared is None else len(shared), n_loci))
    wanted = np.array([not why for why in reason], dtype=bool) & ~zero
    for block, profile in joint_blocks(instruments, overdispersed=overdispersion, loci=wanted, loss=loss):
        chosen = solve_joint(profile)
        good = np.flatnonzero(chosen.found)
        loci, own = block.loci[good], profile.take(good)
        beta[loci], tau2[loci], n_roots[block.loci] = chosen.beta[good], chosen.tau2[good], chosen.count
        variance[loci], q[loci] = score_variance(own, beta[loci], tau2[loci]), own.heterogeneity(beta[loci])
        if shared is not None:
            factors = shared[:, block.rows[good]] * block.known[good][..., None]
            members[:, loci] = joint_moves(own, beta[loci], tau2[loci], factors.astype(float))
    none = "not identified: every exposure effect is zero"
    lost = "not identified: the profile likelihood has no maximum at a finite effect"
    factors = None if shared is None else members
    error = split_error(variance, factors)
    return make_estimates(
        "profile_score",
        instruments,
        beta=beta,
        se=error.se,
        df=error.df,
        reason=[
            why or (none if empty else lost if np.isnan(found) else "")
            for why, empty, found in zip(reason, zero, beta, strict=True)
        ],
        level=level,
        extra={
            **({"tau2": tau2} if overdispersion else {}),
            "n_roots": n_roots,
            **cochran(q, np.maximum(instruments.counts - 1.0, 0.0), shared=shared is not None),
            "f_statistic": mean_f(instruments),
            **error_extras(error, factors),
        },
        error_factors=factors,
    )
