"""GRAPPLE: a robust profile likelihood with balanced pleiotropy."""

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.mr.lines import error_extras, mean_f, too_few
from deepmr.mr.losses import LossName, loss_of
from deepmr.mr.profiles import Profile, solve_loci, total_errors
from deepmr.types import Estimates, Instruments, make_estimates


def grapple(
    instruments: Instruments, *, min_instruments: int = 3, level: float = 0.95, loss: LossName = "tukey"
) -> Estimates:
    """Estimate the causal effect by the maximum of a robust profile likelihood with overdispersion.

    Parameters
    ----------
    instruments : one exposure. `error_corr` is heeded.
    min_instruments : loci with fewer are skipped.
    level : of the confidence interval.
    loss : of standardised residuals; see `raps`.

    Returns
    -------
    Estimates, with extras `tau2`, `n_roots`, `f_statistic`, and with shared errors `se_sampling` and `se_member`.

    Notes
    -----
    With z_j = (y_j - b x_j) / sqrt(se_y^2 + b^2 se_x^2 - 2 b cov_j + tau2): b minimises sum rho(z_j), and tau2 solves
    sum rho(z_j) = (J - 1) E rho(Z) where that is above 0. Solutions are found and chosen, and shared errors counted,
    as by `raps`. The R package takes E rho and E rho' for tau2's part of the standard error at two scales of Tukey's
    loss; here both have one, which makes the standard error slightly larger.

    References
    ----------
    Wang J et al. Causal inference for heritable phenotypic risk factors using heterogeneous genetic instruments.
    PLoS Genet 2021. https://doi.org/10.1371/journal.pgen.1009575
    """
    checks.one_of("loss", loss, ("l2", "huber", "tukey"))
    solutions = solve_loci(
        instruments,
        loss_of(loss),
        overdispersion="loss",
        reason=too_few(instruments, max(min_instruments, 2)),  # one says nothing of scatter
        quantities=_variance,
        n_quantities=1,
    )
    error, factors = total_errors(solutions, solutions.quantities[0], instruments.counts)
    return make_estimates(
        "grapple",
        instruments,
        beta=solutions.beta,
        se=error.se,
        df=error.df,
        reason=solutions.reason,
        level=level,
        extra={
            "tau2": solutions.tau2,
            "n_roots": solutions.n_roots,
            "f_statistic": mean_f(instruments),
            **error_extras(error, factors),
        },
        error_factors=factors,
    )


def _variance(profile: Profile, beta: Float[np.ndarray, "block"], tau2: Float[np.ndarray, "block"]) -> list[np.ndarray]:
    at, loss = profile.terms(beta, tau2), profile.loss
    pull = loss.weight(at.e**2 / at.v) * at.e / at.v
    size = np.sum(at.g**2 / at.v, axis=1)
    own = loss.delta * size - np.sum((profile.xx * at.e - at.c * profile.x) / at.v * pull, axis=1)
    cross = loss.delta * np.sum(at.c * profile.known / at.v**2, axis=1)
    dispersion = (
        profile.known.sum(axis=1) * loss.variance / (loss.delta / 2 * np.sum(profile.known / at.v, axis=1)) ** 2
    )
    return [(loss.score_square * size + cross**2 * dispersion) / own**2]
