"""Inverse-variance weighting that outlying instruments hardly move: robust and penalised."""

import numpy as np

from deepmr.linalg import segment_repeat
from deepmr.mr.lines import (
    Distribution,
    Weights,
    exposure_of,
    inverse_variances,
    origin_estimates,
    too_few_ratios,
    with_ratio,
)
from deepmr.mr.penalties import medians, penalties, used_up
from deepmr.types import Estimates, Instruments


def ivw_robust(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    weights: Weights = "simple",
    distribution: Distribution = "normal",
) -> Estimates:
    """Estimate the causal effect by inverse-variance weights with an MM-estimate of the slope.

    Parameters
    ----------
    instruments : one exposure.
    min_instruments : loci with fewer are skipped; never below 2.
    level : of the confidence interval.
    weights : as for `ivw_fixed`.
    distribution : of independent errors.

    Returns
    -------
    Estimates, with extras as for `ivw_random`; `sigma` is the robust scale.

    Notes
    -----
    See `deepmr.mr.robust.robust_lines`; the standard error is divided by min(1, sigma). With shared errors, the
    members' part holds the robustness weights fixed, and the sampling part has no floor.

    References
    ----------
    Rees JMB, Wood AM, Dudbridge F, Burgess S. Robust methods in Mendelian randomization via penalization of
    heterogeneous causal estimates. PLoS One 2019. https://doi.org/10.1371/journal.pone.0222362
    """
    used = with_ratio(instruments) if weights == "delta" else instruments
    return origin_estimates(
        "ivw_robust",
        used,
        inverse_variances(used, weights=weights),
        scatter="floored",
        distribution=distribution,
        reason=too_few_ratios(instruments, used, max(min_instruments, 2)),
        level=level,
        n_robust=2,
    )


def ivw_penalised(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    weights: Weights = "simple",
    distribution: Distribution = "normal",
    robust: bool = False,
) -> Estimates:
    """Estimate the causal effect by inverse-variance weights, less for instruments whose ratio is far from the median.

    Parameters
    ----------
    instruments : one exposure. Instruments with an exposure effect of exactly zero have no ratio and are left out.
    min_instruments : loci with fewer are skipped; never below 2.
    level : of the confidence interval.
    weights : as for `ivw_fixed`.
    distribution : of independent errors.
    robust : fit the penalised line by the MM-estimate of `ivw_robust`.

    Returns
    -------
    Estimates, with extras as for `ivw_random`; `q` and `sigma` are those of the penalised weights.

    Notes
    -----
    The weight of an instrument is multiplied by min(1, k p), with p the chi-square tail of w (y - m x)^2 about the
    unweighted median m of the ratios; k is 100 with simple and 20 with delta weights, as in MendelianRandomization.
    With shared errors the penalties are held fixed.

    References
    ----------
    Rees JMB, Wood AM, Dudbridge F, Burgess S. PLoS One 2019. https://doi.org/10.1371/journal.pone.0222362
    """
    used = with_ratio(instruments)
    x, _ = exposure_of(used)
    plain = inverse_variances(used, weights=weights)
    centre = segment_repeat(medians(used.beta_outcome / x, used.offsets), used.offsets)
    squares = plain * np.square(used.beta_outcome - centre * x)
    penalty = penalties(squares, factor=100.0 if weights == "simple" else 20.0)
    few = too_few_ratios(instruments, used, max(min_instruments, 2))
    gone = used_up(penalty, used.offsets, needed=1)
    return origin_estimates(
        "ivw_penalised",
        used,
        plain * penalty,
        scatter="floored",
        distribution=distribution,
        reason=[why or then for why, then in zip(few, gone, strict=True)],
        level=level,
        n_robust=2 if robust else None,
    )
