"""Multivariable inverse-variance weighting that outlying instruments hardly move."""

import numpy as np

from deepmr.linalg import segment_sum
from deepmr.mr.designs import design_factors, fit_designs
from deepmr.mr.lines import UNSETTLED, Distribution, cochran
from deepmr.mr.multivariable.strength import conditional_f
from deepmr.mr.multivariable.table import (
    canonical,
    direct_estimates,
    errors,
    exposures_of,
    not_collinear,
    too_few,
    weights_of,
)
from deepmr.mr.robust import robust_designs
from deepmr.types import Estimates, Instruments


def mv_ivw_robust(
    instruments: Instruments, *, min_instruments: int = 3, level: float = 0.95, distribution: Distribution = "normal"
) -> Estimates:
    """Estimate direct effects by inverse-variance weights with an MM-estimate of the regression.

    Parameters
    ----------
    instruments : one exposure or several.
    min_instruments : loci with fewer are skipped; never below exposures + 1.
    level : of the confidence intervals.
    distribution : of independent errors: normal, or t with J - K degrees of freedom.

    Returns
    -------
    Estimates as of `mv_ivw`; `sigma` is the robust scale, `q` that of all instruments about the robust fit.

    Notes
    -----
    See `deepmr.mr.robust.robust_designs`; standard errors are divided by min(1, sigma). Shared errors move the estimate
    with the robustness weights held fixed, and the sampling part has no floor then.

    References
    ----------
    Rees JMB, Wood AM, Dudbridge F, Burgess S. Robust methods in Mendelian randomization via penalization of
    heterogeneous causal estimates. PLoS One 2019. https://doi.org/10.1371/journal.pone.0222362
    """
    given = canonical(instruments)
    x, y, offsets = exposures_of(given), given.beta_outcome.astype(float), given.offsets
    weights, shared = weights_of(given), given.error_factors
    plain = fit_designs(x, y, weights, offsets)
    reason = not_collinear(too_few(given, min_instruments, parameters=x.shape[1]), plain.identified)
    wanted = np.flatnonzero([not why for why in reason])
    robust = robust_designs(x, y, weights, offsets, loci=wanted)
    final = weights * robust.weights
    fit = fit_designs(x, y, final, offsets)
    good = robust.settled & fit.identified
    factors = None
    if shared is not None:
        factors = design_factors(fit, x, final, offsets, x_factors=shared[:, :, :-1], y_factors=shared[:, :, -1])
    scale = robust.scale**2 if shared is not None else np.maximum(robust.scale**2, 1.0)
    return direct_estimates(
        "mv_ivw_robust",
        given,
        beta=fit.coef,
        error=errors(scale[:, None] * robust.unscaled, fit.df, factors, distribution=distribution),
        reason=[why or ("" if fine else UNSETTLED) for why, fine in zip(reason, good, strict=True)],
        level=level,
        extra={
            "sigma": robust.scale,
            **cochran(segment_sum(weights * fit.residual**2, offsets), fit.df, shared=shared is not None),
            "conditional_f": conditional_f(given),
        },
        factors=factors,
    )
