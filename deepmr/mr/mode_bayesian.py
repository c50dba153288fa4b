"""A Bayesian mode-based estimate: which instruments are valid is averaged over, and so is how many and how far off."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import logsumexp

from deepmr.linalg import divide
from deepmr.mr.draws import canonical
from deepmr.mr.heterogeneity_penalised import ratio_spread
from deepmr.mr.labels import Labels, largest_modes
from deepmr.mr.lines import Distribution, exposure_of, ratio_estimates, too_few_ratios, with_ratio
from deepmr.mr.median import Order, ratio_variances
from deepmr.mr.members import member_factors
from deepmr.packed import Block, blocks
from deepmr.types import Estimates, Instruments

_VALID = (0.1, 0.3, 0.5, 0.7, 0.9)  # prior shares of valid instruments, equally likely
_WIDTHS = (4.0, 8.0, 16.0)  # prior widths of invalid ratios, in units of their spread, equally likely
_REACH, _POINTS = 8.0, 81  # the grid about the mode: standard errors to either side, and points


def mode_bayesian(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    weights: Order = "second",
    distribution: Distribution = "normal",
) -> Estimates:
    """Estimate the causal effect as the posterior mean about the main mode of a mixture of valid and invalid ratios.

    Parameters
    ----------
    instruments : one exposure. Instruments with an exposure effect of exactly zero have no ratio and are left out.
    min_instruments : loci with fewer are skipped; never below 3.
    level : of the interval.
    weights : order of the variance of a ratio, as for `median_weighted`.
    distribution : of independent errors: normal, or t with J - 1 degrees of freedom.

    Returns
    -------
    Estimates, with extra `f_statistic`, and with shared errors `se_sampling` and `se_member`.

    Notes
    -----
    No package defines this method; the definition is ours, after the contamination mixture. A ratio r_j of variance v_j
    is N(b, v_j) with probability p, else anywhere, with the density 1 / (sqrt(2 pi) w) that a normal of width w has at
    its centre: unlike a normal background, this one neither pulls b nor lets one far ratio weigh more than a group that
    agrees. The prior of b is flat; p is 0.1, 0.3, ... 0.9 and w is 4, 8 or 16 times the c of `heterogeneity_penalised`,
    all equally likely (a narrower w cannot be told from being valid). The posterior is summed on
    a grid of 8 standard errors to either side of the mode at p = 0.5: `beta` is its mean and `se` its standard
    deviation there, and a second mode further away is not in the interval. With shared errors the sampling part is a
    sandwich at that mode, and the members' part comes from differences.

    References
    ----------
    Burgess S, Foley CN, Allara E, Staley JR, Howson JMM. A robust and efficient method for Mendelian randomization with
    hundreds of genetic variants. Nat Commun 2020. https://doi.org/10.1038/s41467-019-14156-4
    Shapland CY, Zhao Q, Bowden J. Profile-likelihood Bayesian model averaging for two-sample summary data Mendelian
    randomization in the presence of horizontal pleiotropy. Stat Med 2022. https://doi.org/10.1002/sim.9320
    """
    given = canonical(with_ratio(instruments))
    reason = too_few_ratios(instruments, given, max(min_instruments, 3))
    wanted = np.array([not why for why in reason], dtype=bool)

    def point(shifted: Instruments) -> Float[np.ndarray, "loci"]:
        return _posterior(shifted, weights, wanted)[0]

    (beta, variance, sandwich), factors = _posterior(given, weights, wanted), member_factors(given, point)
    chosen = variance if factors is None else sandwich
    return ratio_estimates(
        "mode_bayesian", given, beta, chosen, factors, distribution=distribution, reason=reason, level=level
    )


def _posterior(
    instruments: Instruments, order: Order, wanted: Bool[np.ndarray, "loci"]
) -> tuple[Float[np.ndarray, "loci"], Float[np.ndarray, "loci"], Float[np.ndarray, "loci"]]:
    """Mean and variance of the posterior, and the sandwich variance at its mode."""
    x, _ = exposure_of(instruments)
    ratios, variances = instruments.beta_outcome / x, ratio_variances(instruments, order=order)
    centre, spread = ratio_spread(ratios, variances, instruments)
    mean, variance, sandwich = (np.full(len(wanted), np.nan) for _ in range(3))
    for block in blocks(instruments.offsets, loci=wanted, depth=4 * _POINTS):
        middle, width = centre[block.loci], spread[block.loci][:, None]
        r, v = block.of(ratios) - middle[:, None], block.of(variances)
        typical, _ = _mixture(block, r, v, 0.5, width)
        mode = largest_modes(typical, block.known)
        _, curve, _, squares = typical.derivatives(mode)
        se = np.sqrt(divide(np.ones_like(curve), -curve))
        mixtures = [_mixture(block, r, v, p, k * width) for p in _VALID for k in _WIDTHS]
        steps = np.linspace(-_REACH, _REACH, _POINTS)
        at = mode[:, None] + steps * se[:, None]
        distance = (r[:, None] - at[..., None]) ** 2 / (2 * v[:, None])
        parts = [
            np.logaddexp(0.0, labels.log_odds[:, None] - distance).sum(axis=-1) + rest[:, None]
            for labels, rest in mixtures
        ]
        log_density = logsumexp(parts, axis=0)
        mass = np.exp(log_density - log_density.max(axis=-1, keepdims=True))
        mass /= mass.sum(axis=-1, keepdims=True)
        shift = mass @ steps
        mean[block.loci] = middle + mode + shift * se
        variance[block.loci] = (mass @ steps**2 - shift**2) * se**2
        sandwich[block.loci] = squares / curve**2
    return mean, variance, sandwich


def _mixture(
    block: Block,
    ratios: Float[np.ndarray, "block width"],
    variances: Float[np.ndarray, "block width"],
    valid: float,
    width: Float[np.ndarray, "block 1"],
) -> tuple[Labels, Float[np.ndarray, "block"]]:
    """Labels under a share of valid ones and a width of the invalid, and the log density were all invalid."""
    odds = np.log(valid / (1 - valid)) + np.log(width) - 0.5 * np.log(variances)
    labels = Labels(ratios=ratios, variances=variances, log_odds=np.where(block.known, odds, -np.inf))
    return labels, block.known.sum(axis=-1) * (np.log(1 - valid) - np.log(width[:, 0]))
