"""Heterogeneity-penalised model averaging over all subsets of valid instruments."""

import numpy as np
from jaxtyping import Bool, Float

from deepmr.linalg import divide, segment_sum
from deepmr.mr.density import known_medians, median_deviation
from deepmr.mr.draws import canonical
from deepmr.mr.labels import Labels, largest_modes
from deepmr.mr.lines import Distribution, exposure_of, ratio_estimates, too_few_ratios, with_ratio
from deepmr.mr.median import Order, ratio_variances
from deepmr.mr.members import member_factors
from deepmr.packed import blocks
from deepmr.types import Estimates, Instruments

_WIDE = 1.5  # invalid ratios spread over this many times the ratios' own scatter, beside their standard errors


def heterogeneity_penalised(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    weights: Order = "first",
    prior: float = 0.5,
    distribution: Distribution = "normal",
) -> Estimates:
    """Estimate the causal effect as the mode of an average over all subsets of instruments, homogeneous ones first.

    Parameters
    ----------
    instruments : one exposure. Instruments with an exposure effect of exactly zero have no ratio and are left out.
    min_instruments : loci with fewer are skipped; never below 3.
    level : of the confidence interval.
    weights : order of the variance of a ratio, as for `median_weighted`.
    prior : probability that an instrument is valid, above 0 and below 1.
    distribution : of independent errors: normal, or t with J - 1 degrees of freedom.

    Returns
    -------
    Estimates, with extra `f_statistic`, and with shared errors `se_sampling` and `se_member`.

    Notes
    -----
    A subset k of valid instruments has the weight prior^|k| (1 - prior)^(J - |k|) prod_k (c / se_j) exp(-Q_k / 2) times
    the normal density about its inverse-variance mean, Q_k its Cochran's Q. With the marginal likelihood's factor se_k
    in the weight the sum over all 2^J subsets is the product prod_j (1 - prior + prior (c / se_j)
    exp(-(r_j - b)^2 / (2 se_j^2))): exact for any number of instruments, where mr_hetpen of MendelianRandomization
    enumerates subsets of up to 30. That function leaves the factor out, widens heterogeneous subsets, and takes c as 1
    in whatever unit the ratios have, so that its answer changes with the unit; here
    c^2 = J / sum(1 / se_j^2) + (1.5 MAD)^2, MAD the scaled median absolute deviation of the ratios. The standard error
    is that of the curvature at the mode: modes
    elsewhere, which mr_hetpen shows as a second range, are not in the interval. With shared errors the sampling part is
    a sandwich, sum of squared scores over squared curvature, and the members' part comes from differences.

    References
    ----------
    Burgess S, Zuber V, Gkatzionis A, Foley CN. Modal-based estimation via heterogeneity-penalized weighting. Int J
    Epidemiol 2018. https://doi.org/10.1093/ije/dyy080
    """
    given = canonical(with_ratio(instruments))
    reason = too_few_ratios(instruments, given, max(min_instruments, 3))
    wanted = np.array([not why for why in reason], dtype=bool)

    def point(shifted: Instruments) -> Float[np.ndarray, "loci"]:
        return _fit(shifted, weights, prior, wanted)[0]

    (beta, curve, squares), factors = _fit(given, weights, prior, wanted), member_factors(given, point)
    variance = divide(np.ones_like(curve), -curve) if factors is None else divide(squares, curve**2)
    return ratio_estimates(
        "heterogeneity_penalised", given, beta, variance, factors, distribution=distribution, reason=reason, level=level
    )


def ratio_spread(
    ratios: Float[np.ndarray, "rows"], variances: Float[np.ndarray, "rows"], instruments: Instruments
) -> tuple[Float[np.ndarray, "loci"], Float[np.ndarray, "loci"]]:
    """Return the median of the ratios, and how wide they spread: their typical error and 1.5 times their scatter."""
    weights, offsets = 1 / variances, instruments.offsets
    middle, scatter = (np.full(len(instruments.loci), np.nan) for _ in range(2))
    for block in blocks(offsets):
        cells = block.of(ratios)
        middle[block.loci] = known_medians(cells, block.known)
        scatter[block.loci] = median_deviation(cells, block.known)
    typical = divide(instruments.counts.astype(float), segment_sum(weights, offsets), otherwise=0.0)
    return middle, np.sqrt(typical + (_WIDE * scatter) ** 2)


def _fit(
    instruments: Instruments, order: Order, prior: float, wanted: Bool[np.ndarray, "loci"]
) -> tuple[Float[np.ndarray, "loci"], Float[np.ndarray, "loci"], Float[np.ndarray, "loci"]]:
    """Mode, curvature of the log density there, and sum of squared scores."""
    x, _ = exposure_of(instruments)
    ratios, variances = instruments.beta_outcome / x, ratio_variances(instruments, order=order)
    centre, spread = ratio_spread(ratios, variances, instruments)
    beta, curve, squares = (np.full(len(wanted), np.nan) for _ in range(3))
    for block in blocks(instruments.offsets, loci=wanted):
        v, middle = block.of(variances), centre[block.loci]
        odds = np.log(prior / (1 - prior)) + np.log(spread[block.loci])[:, None] - 0.5 * np.log(v)
        labels = Labels(
            ratios=block.of(ratios) - middle[:, None], variances=v, log_odds=np.where(block.known, odds, -np.inf)
        )
        mode = largest_modes(labels, block.known)
        _, curve[block.loci], _, squares[block.loci] = labels.derivatives(mode)
        beta[block.loci] = middle + mode
    return beta, curve, squares
