"""Multivariable robust adjusted profile score: several exposures with weak instruments, overlap, and outliers."""

from typing import Literal

import numpy as np

from deepmr import checks
from deepmr.mr.errors import marginal_covariance
from deepmr.mr.losses import LossName, loss_of
from deepmr.mr.multivariable.profiles import sandwich
from deepmr.mr.multivariable.solutions import solve_loci
from deepmr.mr.multivariable.strength import conditional_f
from deepmr.mr.multivariable.table import direct_estimates, errors, too_few
from deepmr.types import Estimates, Instruments


def mv_raps(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    loss: LossName = "tukey",
    overdispersion: bool = True,
    spent: Literal["exposures", "one"] = "exposures",
) -> Estimates:
    """Estimate direct effects by the maximum of a robust profile likelihood with overdispersion.

    Parameters
    ----------
    instruments : one exposure or several; weak instruments are welcome. `error_corr` is heeded.
    min_instruments : loci with fewer are skipped; never below exposures + 1.
    level : of the confidence intervals.
    loss : of standardised residuals: `l2`, `huber` (k = 1.345) or `tukey` (k = 4.685).
    overdispersion : estimate a variance tau2 of direct effects on the outcome that are balanced about zero.
    spent : degrees of freedom that the equation of tau2 takes off: one an exposure, or one in all, as the R package
        does, whose tau2 is too small with several exposures.

    Returns
    -------
    Estimates, a row an exposure and locus, with extras `tau2`, `n_roots`, `conditional_f`, `n_exposures`, and with
    shared errors `se_sampling` and `se_member`.

    Notes
    -----
    With S_j the error covariance of the exposures and c_j that of exposures and outcome,
    z_j = (y_j - x_j' b) / sqrt(se_y^2 + b' S_j b - 2 b' c_j + tau2): b minimises sum rho(z_j), and tau2 solves
    sum rho(z_j) = (J - K) E rho(Z) where that is above 0. For one exposure it is `deepmr.mr.grapple.grapple`. The
    variance is a sandwich A^-1 B A^-T of the score's derivative and its variance, with tau2's part.

    Several solutions may exist. They are sought from the weighted, the debiased and the median regression and from no
    effect; `n_roots` counts the different ones. Without overdispersion the one with the smallest loss is taken; with
    it, the one nearest to that, in units of the effects' size.

    It assumes direct effects that are independent of the effects on the exposures, normal errors, and instruments that
    were not selected on these data. With shared errors the sampling part is the scatter of the instruments'
    contributions, and the members' part is how far they move the solution.

    References
    ----------
    Wang J et al. Causal inference for heritable phenotypic risk factors using heterogeneous genetic instruments.
    PLoS Genet 2021. https://doi.org/10.1371/journal.pgen.1009575
    """
    checks.one_of("loss", loss, ("l2", "huber", "tukey"))
    checks.one_of("spent", spent, ("exposures", "one"))
    k = len(instruments.exposures)
    found = solve_loci(
        instruments,
        marginal_covariance(instruments),
        loss_of(loss),
        overdispersion=overdispersion,
        spent=1 if spent == "one" else k,
        reason=too_few(instruments, min_instruments, parameters=k),
        variance=sandwich,
    )
    df = np.maximum(instruments.counts - float(k), 0.0)
    return direct_estimates(
        "mv_raps",
        instruments,
        beta=found.beta,
        error=errors(found.variance, df, found.members, distribution="normal"),
        reason=found.reason,
        level=level,
        extra={
            **({"tau2": found.tau2} if overdispersion else {}),
            "n_roots": found.n_roots,
            "conditional_f": conditional_f(instruments),
        },
        factors=found.members,
    )
