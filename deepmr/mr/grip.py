"""MR-GRIP: Egger regression that does not depend on how alleles are coded."""

from deepmr.linalg import fit_lines
from deepmr.mr.egger import SAME_SIZE
from deepmr.mr.lines import (
    Distribution,
    exposure_of,
    intercept_estimates,
    oriented,
    too_few_ratios,
    with_ratio,
)
from deepmr.types import Estimates, Instruments


def grip(
    instruments: Instruments, *, min_instruments: int = 3, level: float = 0.95, distribution: Distribution = "t"
) -> Estimates:
    """Estimate the causal effect as the slope of x y on x^2 with an intercept.

    Parameters
    ----------
    instruments : one exposure. Instruments with an exposure effect of exactly zero are left out.
    min_instruments : loci with fewer are skipped; never below 3.
    level : of the confidence interval.
    distribution : of independent errors: t with J - 2 degrees of freedom (as TwoSampleMR) or normal.

    Returns
    -------
    Estimates, with extras `intercept` (mean of x times direct effect), its `intercept_se` and `intercept_pvalue`,
    `sigma`, `q` (about the line), `f_statistic`.

    Notes
    -----
    Weights are 1 / (x se_y)^2, and the variance has a factor Q / (J - 2), without a floor, as in TwoSampleMR. The
    line is the same whichever allele is counted, while Egger's orientation itself depends on the exposure effects. It
    assumes that x times the direct effect is uncorrelated with x^2.

    References
    ----------
    Hemani G et al. The MR-Base platform supports systematic causal inference across the human phenome. eLife 2018
    (TwoSampleMR, whose `mr_grip` this is). https://doi.org/10.7554/eLife.34408
    """
    used = oriented(with_ratio(instruments))
    x, _ = exposure_of(used)
    y, shared = used.beta_outcome, used.error_factors
    weights = 1 / (x * used.se_outcome) ** 2
    line = fit_lines(x**2, x * y, weights, used.offsets, intercept=True)
    reason = too_few_ratios(instruments, used, max(min_instruments, 3))
    moved = None
    if shared is not None:
        moved = (2 * x * shared[:, :, 0], x * shared[:, :, 1] + y * shared[:, :, 0])
    return intercept_estimates(
        "grip",
        used,
        line,
        x=x**2,
        weights=weights,
        moved=moved,
        scatter="random",
        distribution=distribution,
        reason=[why or ("" if known else SAME_SIZE) for why, known in zip(reason, line.identified, strict=True)],
        level=level,
    )
