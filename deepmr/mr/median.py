"""Medians of Wald ratios: up to half of the instruments (or of their weight) may be invalid."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from deepmr.inference import chi2_tail
from deepmr.linalg import divide, segment_repeat, segment_sum
from deepmr.mr.draws import canonical, effect_draws, sampling_variance, weight_draws
from deepmr.mr.lines import Distribution, exposure_of, inverse_variances, ratio_estimates, too_few_ratios, with_ratio
from deepmr.mr.members import member_factors
from deepmr.packed import Block, blocks
from deepmr.types import Estimates, Instruments

Order = Literal["first", "second"]
_PADDING = np.finfo(float).max / 4  # sorts last, and can be subtracted from


def median_simple(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    distribution: Distribution = "normal",
    n_boot: int = 1000,
    seed: int = 0,
) -> Estimates:
    """Estimate the causal effect as the median of the instruments' ratios y / x.

    Parameters
    ----------
    instruments : one exposure. Instruments with an exposure effect of exactly zero have no ratio and are left out.
    min_instruments : loci with fewer are skipped; never below 3.
    level : of the confidence interval.
    distribution : of independent errors: normal, as both R packages use, or t with J - 1 degrees of freedom.
    n_boot : bootstrap draws behind the standard error.
    seed : of these draws, which are the same for every locus.

    Returns
    -------
    Estimates, with extra `f_statistic`, and with shared errors `se_sampling` and `se_member`.

    Notes
    -----
    Consistent where more than half of the instruments have no effect on the outcome but through the exposure. The
    standard error is the standard deviation of the median over draws of all x and y around their measured values, with
    `error_corr` between both where samples overlap. With shared errors its sampling part is that of a bootstrap over
    instruments (`deepmr.mr.draws.weight_draws`), and the members' part comes from differences.

    References
    ----------
    Bowden J, Davey Smith G, Haycock PC, Burgess S. Consistent estimation in Mendelian randomization with some invalid
    instruments using a weighted median estimator. Genet Epidemiol 2016. https://doi.org/10.1002/gepi.21965
    """
    rule = _Rule(kind="simple", distribution=distribution, n_boot=n_boot, seed=seed)
    return _median("median_simple", instruments, rule, min_instruments=min_instruments, level=level)


def median_weighted(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    weights: Order = "first",
    distribution: Distribution = "normal",
    n_boot: int = 1000,
    seed: int = 0,
) -> Estimates:
    """Estimate the causal effect as the median of the instruments' ratios, weighted by their inverse variances.

    Parameters
    ----------
    instruments, min_instruments, level, distribution, n_boot, seed : as for `median_simple`.
    weights : order of the variance of a ratio: `first`, se_y^2 / x^2 (MendelianRandomization), or `second`, which adds
        y^2 se_x^2 / x^4 (TwoSampleMR), and with `error_corr` rho also -2 rho y se_x se_y / x^3.

    Returns
    -------
    Estimates, with extras as for `median_simple`.

    Notes
    -----
    Consistent where valid instruments have more than half of the weight. With ratios in ascending order and weights
    that sum to 1, p_j is the weight of the ratios before j and half of its own; the estimate lies where a line through
    the points (p_j, r_j) crosses 1/2. The draws behind the standard error (see `median_simple`) keep the weights.

    References
    ----------
    Bowden J et al. Genet Epidemiol 2016. https://doi.org/10.1002/gepi.21965
    """
    rule = _Rule(kind="weighted", order=weights, distribution=distribution, n_boot=n_boot, seed=seed)
    return _median("median_weighted", instruments, rule, min_instruments=min_instruments, level=level)


def median_penalised(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    weights: Order = "first",
    penalty: float = 20.0,
    distribution: Distribution = "normal",
    n_boot: int = 1000,
    seed: int = 0,
) -> Estimates:
    """Estimate the causal effect as the weighted median of the ratios, with little weight for outlying ones.

    Parameters
    ----------
    instruments, min_instruments, level, distribution, n_boot, seed : as for `median_simple`.
    weights : as for `median_weighted`.
    penalty : an instrument's weight is multiplied by min(1, penalty * P), P the P value of its distance from the
        weighted median.

    Returns
    -------
    Estimates, with extras as for `median_simple`.

    Notes
    -----
    P is the upper tail of chi-square with 1 degree of freedom at w_j (r_j - b)^2, b the weighted median with the same
    weights w. Both R packages do this; they differ in the weights.

    References
    ----------
    Bowden J et al. Genet Epidemiol 2016. https://doi.org/10.1002/gepi.21965
    """
    rule = _Rule(kind="penalised", order=weights, penalty=penalty, distribution=distribution, n_boot=n_boot, seed=seed)
    return _median("median_penalised", instruments, rule, min_instruments=min_instruments, level=level)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """Which median, and how its error is found."""

    kind: Literal["simple", "weighted", "penalised"]
    order: Order = "first"
    penalty: float = 0.0
    distribution: Distribution
    n_boot: int
    seed: int


def ratio_variances(instruments: Instruments, *, order: Order) -> Float[np.ndarray, "rows"]:
    """Return the variance of every ratio to first or second order; the latter heeds the covariance of both errors."""
    x, _ = exposure_of(instruments)
    return 1 / (inverse_variances(instruments, weights="delta" if order == "second" else "simple") * x**2)


def relative_weights(
    variances: Float[np.ndarray, "rows"], offsets: Int[np.ndarray, "loci_plus_one"]
) -> Float[np.ndarray, "rows"]:
    """Return inverse variances over their mean in the locus, which hang on no unit."""
    weights = 1 / variances
    mean = divide(segment_sum(weights, offsets), np.diff(offsets).astype(float), otherwise=1.0)
    return weights / segment_repeat(mean, offsets)


def weighted_medians(
    values: Float[np.ndarray, "*lead width"], weights: Float[np.ndarray, "*lead width"]
) -> Float[np.ndarray, "*lead"]:
    """Return the interpolated weighted median along the last axis; NaN where no weight is left.

    Padding has a weight of 0 and the largest values.
    """
    order = np.argsort(values, axis=-1, kind="stable")
    return _crossing(
        np.take_along_axis(values, order, axis=-1),
        np.take_along_axis(np.broadcast_to(weights, values.shape), order, axis=-1),
    )


def _crossing(
    values: Float[np.ndarray, "*lead width"], weights: Float[np.ndarray, "*lead width"]
) -> Float[np.ndarray, "*lead"]:
    """Return where the line through (p_j, value_j) crosses half of the weight; values ascend."""
    total = np.cumsum(weights, axis=-1)
    half = total[..., -1:] / 2
    above = np.minimum((total < half).sum(axis=-1, keepdims=True), values.shape[-1] - 1)
    middle = np.take_along_axis(total, above, axis=-1) - np.take_along_axis(weights, above, axis=-1) / 2
    above = np.minimum(above + (middle < half), values.shape[-1] - 1)
    below = np.maximum(above - 1, 0)
    low, high = (
        np.take_along_axis(total, at, axis=-1) - np.take_along_axis(weights, at, axis=-1) / 2 for at in (below, above)
    )
    share = np.clip(divide(half - low, high - low, otherwise=1.0), 0.0, 1.0)
    first, last = (np.take_along_axis(values, at, axis=-1) for at in (below, above))
    return np.where(half > 0, first + share * (last - first), np.nan)[..., 0]


def _median(method: str, instruments: Instruments, rule: _Rule, *, min_instruments: int, level: float) -> Estimates:
    given = canonical(with_ratio(instruments))
    reason = too_few_ratios(instruments, given, max(min_instruments, 3))
    wanted = np.array([not why for why in reason], dtype=bool)

    def point(shifted: Instruments) -> Float[np.ndarray, "loci"]:
        return _point(shifted, _weights(shifted, rule))

    weights = _weights(given, rule)
    beta = _point(given, weights)
    factors = member_factors(given, point)
    draws = (_effect_medians if factors is None else _instrument_medians)(
        given, weights, np.where(np.isfinite(beta), beta, 0.0), wanted, rule.n_boot, rule.seed
    )
    variance = draws.var(axis=-1, ddof=1)
    if factors is not None:
        variance = sampling_variance(variance, given)
    return ratio_estimates(
        method, given, beta, variance, factors, distribution=rule.distribution, reason=reason, level=level
    )


def _weights(instruments: Instruments, rule: _Rule) -> Float[np.ndarray, "rows"]:
    x, _ = exposure_of(instruments)
    if rule.kind == "simple":
        return np.ones(len(x))
    variances = ratio_variances(instruments, order=rule.order)
    relative = relative_weights(variances, instruments.offsets)
    if rule.kind == "weighted":
        return relative
    centre = segment_repeat(_point(instruments, relative), instruments.offsets)
    return relative * np.minimum(
        1.0, rule.penalty * chi2_tail((instruments.beta_outcome / x - centre) ** 2 / variances, 1.0)
    )


def _point(instruments: Instruments, weights: Float[np.ndarray, "rows"]) -> Float[np.ndarray, "loci"]:
    x, _ = exposure_of(instruments)
    ratio = instruments.beta_outcome / x
    medians = np.full(len(instruments.loci), np.nan)
    for block in blocks(instruments.offsets):
        medians[block.loci] = weighted_medians(block.of(ratio, padding=_PADDING), block.of(weights, padding=0.0))
    return medians


def _effect_medians(
    instruments: Instruments,
    weights: Float[np.ndarray, "rows"],
    centre: Float[np.ndarray, "loci"],
    wanted: Bool[np.ndarray, "loci"],
    n_boot: int,
    seed: int,
) -> Float[np.ndarray, "loci draws"]:
    """Medians of effects drawn anew, less `centre`."""

    def statistic(block: Block, x: np.ndarray, y: np.ndarray) -> Float[np.ndarray, "block draws"]:
        ratio, width = y, y.shape[-1]
        ratio /= x
        ratio -= centre[block.loci, None, None]
        np.copyto(ratio, _PADDING, where=~block.known[:, None])
        # The last bits of a number make room for its column: one sort then does the work of an argsort and a look-up.
        bits = (1 << (width - 1).bit_length()) - 1
        column = ratio.view(np.int64)
        column &= ~bits
        column |= np.arange(width)
        ratio.sort(axis=-1)
        found = column & bits
        found += (np.arange(len(block.loci)) * width)[:, None, None]
        sorted_weights = np.take(block.of(weights, padding=0.0), found, out=x, mode="clip")
        return _crossing(ratio, sorted_weights)

    return effect_draws(instruments, statistic, n_boot=n_boot, seed=seed, loci=wanted)


def _instrument_medians(
    instruments: Instruments,
    weights: Float[np.ndarray, "rows"],
    centre: Float[np.ndarray, "loci"],
    wanted: Bool[np.ndarray, "loci"],
    n_boot: int,
    seed: int,
) -> Float[np.ndarray, "loci draws"]:
    """Medians under random weights of the instruments, less `centre`."""
    x, _ = exposure_of(instruments)
    deviation = instruments.beta_outcome / x - segment_repeat(centre, instruments.offsets)

    def statistic(block: Block, random: np.ndarray) -> Float[np.ndarray, "block draws"]:
        values, given = block.of(deviation, padding=_PADDING), block.of(weights, padding=0.0)
        order = np.argsort(values, axis=-1, kind="stable")
        values, given = (np.take_along_axis(cells, order, axis=-1) for cells in (values, given))
        drawn = np.take(random, order, axis=-1).transpose(1, 0, 2) * given[:, None]
        return _crossing(np.broadcast_to(values[:, None], drawn.shape), drawn)

    return weight_draws(instruments, statistic, n_boot=n_boot, seed=seed, loci=wanted)
