"""MR-GRIP: Egger regression that does not depend on how alleles are coded."""

from typing import Literal

import numpy as np
from jaxtyping import Float

from deepmr.linalg import LineFit, divide, fit_lines, segment_repeat, segment_sum
from deepmr.mr.egger import SAME_SIZE
from deepmr.mr.lines import (
    Distribution,
    error_extras,
    exposure_of,
    intercept_estimates,
    inverse_variances,
    mean_f,
    oriented,
    standard_error,
    too_few_ratios,
    with_ratio,
)
from deepmr.mr.members import member_factors
from deepmr.types import Estimates, Instruments, make_estimates

_WEAK = "not identified: the exposure effects vary no more than their errors make them"


def grip(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    distribution: Distribution = "t",
    weak: Literal["ignored", "adjusted"] = "ignored",
) -> Estimates:
    """Estimate the causal effect as the slope of x y on x^2 with an intercept.

    Parameters
    ----------
    instruments : one exposure. Instruments with an exposure effect of exactly zero are left out.
    min_instruments : loci with fewer are skipped; never below 3.
    level : of the confidence interval.
    distribution : of independent errors: t with J - 2 degrees of freedom (as TwoSampleMR) or normal.
    weak : `adjusted` takes the bias by error of the exposure effects out of the sums of the slope, with weights
        1 / se_y^2: the `b.adj` of TwoSampleMR. It has no estimate where the effects are no larger than their errors.

    Returns
    -------
    Estimates, with extras `intercept` (mean of x times direct effect), its `intercept_se` and `intercept_pvalue`,
    `sigma`, `q` (about the line), `f_statistic`; adjusted, `sigma` and `beta_raw` of the plain line, and `f_statistic`.

    Notes
    -----
    Weights are 1 / (x se_y)^2, and the variance has a factor Q / (J - 2), without a floor, as in TwoSampleMR. The
    line is the same whichever allele is counted, while Egger's orientation itself depends on the exposure effects. It
    assumes that x times the direct effect is uncorrelated with x^2.

    The standard error of the adjusted slope is that of its numerator at scattered y. TwoSampleMR has x^2 - se_x^2 for
    x^2 - 3 se_x^2 in one term of it, which can make its variance negative.

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
    reason = [why or ("" if known else SAME_SIZE) for why, known in zip(reason, line.identified, strict=True)]
    if weak == "adjusted":
        return _adjusted(used, line, distribution, reason, level)
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
        reason=reason,
        level=level,
    )


def _adjusted(
    used: Instruments, line: LineFit, distribution: Distribution, reason: list[str], level: float
) -> Estimates:
    """Return the slope with the error of the exposure effects taken out of its sums."""
    x, _ = exposure_of(used)
    offsets = used.offsets
    beta, signal, pull = _sums(used)
    # The scatter of y about the curve a / x + b x, of one size for all instruments, as in TwoSampleMR.
    curve = segment_repeat(line.slope, offsets) * x + segment_repeat(line.intercept, offsets) / x
    scatter = divide(segment_sum((used.beta_outcome - curve) ** 2, offsets), used.counts.astype(float))
    variance = segment_sum(pull**2 * x**2, offsets) * scatter / np.where(signal > 0, signal, 1.0) ** 2
    factors = member_factors(used, lambda given: _sums(given)[0])
    error = standard_error(variance, line.df, factors, distribution=distribution)
    return make_estimates(
        "grip",
        used,
        beta=beta,
        se=error.se,
        df=error.df,
        reason=[why or (_WEAK if np.isnan(found) else "") for why, found in zip(reason, beta, strict=True)],
        level=level,
        extra={
            "sigma": np.sqrt(line.dispersion),
            "beta_raw": line.slope,
            "f_statistic": mean_f(used),
            **error_extras(error, factors),
        },
        error_factors=factors,
    )


def _sums(
    used: Instruments,
) -> tuple[Float[np.ndarray, "loci"], Float[np.ndarray, "loci"], Float[np.ndarray, "rows"]]:
    """Return the adjusted slope (NaN without one), its denominator, and what multiplies x y in its numerator.

    Notes
    -----
    With s the error of x, x^2 - s^2, x^3 - 3 x s^2 and x^4 - 6 x^2 s^2 + 3 s^4 have the means of powers of the true
    effect.
    """
    x, s = exposure_of(used)
    offsets, weights = used.offsets, inverse_variances(used)
    total = segment_sum(weights, offsets)
    weights = weights / segment_repeat(np.where(total > 0, total, 1.0), offsets)
    square = segment_sum(weights * (x**2 - s**2), offsets)
    signal = segment_sum(weights * (x**4 - 6 * x**2 * s**2 + 3 * s**4), offsets) - square**2
    pull = weights * (x**2 - 3 * s**2 - segment_repeat(square, offsets))
    return divide(segment_sum(pull * x * used.beta_outcome, offsets), signal), signal, pull
