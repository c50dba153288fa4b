"""Multivariable regression in which every instrument weighs the same: for effects that one ensemble predicts."""

from dataclasses import replace

import numpy as np

from deepmr.linalg import divide, segment_repeat, segment_sum
from deepmr.mr.lines import Distribution
from deepmr.mr.multivariable.ivw import regression_estimates
from deepmr.mr.multivariable.table import too_few
from deepmr.types import Estimates, Instruments


def mv_equal(
    instruments: Instruments, *, min_instruments: int = 3, level: float = 0.95, distribution: Distribution = "t"
) -> Estimates:
    """Estimate the direct effect of every exposure by least squares on all of them at once.

    What `deepmr.mr.ivw.ivw` is for one exposure: the errors of effects that one ensemble predicts are about the same,
    and weights 1 / se^2 would favour the edits on which few members happen to agree.

    Parameters
    ----------
    instruments : one exposure or several.
    min_instruments : loci with fewer are skipped; never below exposures + 1.
    level : of the confidence intervals.
    distribution : of independent errors: t with J - K degrees of freedom, or normal.

    Returns
    -------
    Estimates as of `mv_ivw`; `sigma` is relative to the root mean square of se_outcome.

    Notes
    -----
    b = (X'X)^-1 X'y, variance s^2 (X'X)^-1 with s^2 = |y - Xb|^2 / (J - K). Shared errors are carried by the delta
    method. With one exposure it is `ivw`.

    References
    ----------
    Burgess S, Thompson SG. Multivariable Mendelian randomization: the use of pleiotropic genetic variants to estimate
    causal effects. Am J Epidemiol 2015. https://doi.org/10.1093/aje/kwu283
    """
    offsets = instruments.offsets
    square = segment_sum(np.square(instruments.se_outcome, dtype=float), offsets)
    mean = divide(square, instruments.counts.astype(float), otherwise=1.0)
    alike = replace(instruments, se_outcome=np.sqrt(segment_repeat(mean, offsets)))
    reason = too_few(instruments, min_instruments, parameters=len(instruments.exposures))
    return regression_estimates(
        "mv_equal", alike, level=level, model="random", floor=False, distribution=distribution, reason=reason
    )
