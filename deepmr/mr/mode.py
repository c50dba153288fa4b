"""Modes of Wald ratios: right where the largest group of instruments with one ratio is that of the valid ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import erfc

from deepmr.mr.density import Sample, bandwidths, exact_modes, grid_modes, median_deviation, r_modes
from deepmr.mr.draws import canonical, effect_draws, sampling_variance, weight_draws
from deepmr.mr.lines import Distribution, exposure_of, ratio_estimates, too_few_ratios, with_ratio
from deepmr.mr.median import ratio_variances, relative_weights
from deepmr.mr.members import member_factors
from deepmr.packed import Block, blocks
from deepmr.types import Estimates, Instruments

RatioError = Literal["delta", "simple"]
Grid = Literal["exact", "r"]
Finder = Callable[[Sample, np.ndarray], np.ndarray]


def mode_simple(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    phi: float = 1.0,
    ratio_error: RatioError = "delta",
    grid: Grid = "exact",
    distribution: Distribution = "normal",
    n_boot: int = 1000,
    seed: int = 0,
) -> Estimates:
    """Estimate the causal effect as the mode of a smoothed density of the instruments' ratios y / x.

    Parameters
    ----------
    instruments : one exposure. Instruments with an exposure effect of exactly zero have no ratio and are left out.
    min_instruments : loci with fewer are skipped; never below 3.
    level : of the confidence interval.
    phi : bandwidth, in units of the rule in Notes; less follows the ratios more closely.
    ratio_error : variance of a ratio, from which the bootstrap draws: `delta`, to second order (with the correlation
        of `error_corr`), or `simple`, se_y / |x|, which takes exposure effects as measured without error (NOME).
    grid : `exact` maximises the density itself; `r` takes the best of the 512 points at which R's `density` gives it,
        as both R packages do, and moves in steps of the points' distance.
    distribution : of independent errors: normal (MendelianRandomization) or t with J - 1 degrees of freedom
        (TwoSampleMR).
    n_boot : bootstrap draws behind the standard error.
    seed : of these draws, which are the same for every locus.

    Returns
    -------
    Estimates, with extra `f_statistic`, and with shared errors `se_sampling` and `se_member`.

    Notes
    -----
    Consistent under ZEMPA: the largest group of instruments that share a ratio is that of the valid ones. The kernel is
    normal with bandwidth phi 0.9 min(sd, MAD) / J^(1/5). The standard error is the median absolute deviation (scaled to
    a normal) of the modes of ratios drawn anew, r + se_r z. These are found on a grid of a quarter of a bandwidth,
    refined by a parabola, unless `grid` is `r`. With shared errors the sampling part is that of a bootstrap over
    instruments at the same bandwidth, and the members' part comes from differences.

    References
    ----------
    Hartwig FP, Davey Smith G, Bowden J. Robust inference in summary data Mendelian randomization via the zero modal
    pleiotropy assumption. Int J Epidemiol 2017. https://doi.org/10.1093/ije/dyx102
    """
    rule = _Rule(
        kind="simple",
        phi=phi,
        ratio_error=ratio_error,
        grid=grid,
        penalty=0.0,
        distribution=distribution,
        n_boot=n_boot,
        seed=seed,
    )
    return _mode("mode_simple", instruments, rule, min_instruments=min_instruments, level=level)


def mode_weighted(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    phi: float = 1.0,
    ratio_error: RatioError = "delta",
    grid: Grid = "exact",
    distribution: Distribution = "normal",
    n_boot: int = 1000,
    seed: int = 0,
) -> Estimates:
    """Estimate the causal effect as the mode of the ratios' density, ratios weighted by their inverse variances.

    Parameters
    ----------
    instruments, min_instruments, level, phi, grid, distribution, n_boot, seed : as for `mode_simple`.
    ratio_error : as for `mode_simple`; also the variance in the weights, which the draws keep.

    Returns
    -------
    Estimates, with extras as for `mode_simple`.

    Notes
    -----
    As `mode_simple`, with the group that has most weight in place of the largest one.

    References
    ----------
    Hartwig FP, Davey Smith G, Bowden J. Int J Epidemiol 2017. https://doi.org/10.1093/ije/dyx102
    """
    rule = _Rule(
        kind="weighted",
        phi=phi,
        ratio_error=ratio_error,
        grid=grid,
        penalty=0.0,
        distribution=distribution,
        n_boot=n_boot,
        seed=seed,
    )
    return _mode("mode_weighted", instruments, rule, min_instruments=min_instruments, level=level)


def mode_penalised(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    phi: float = 1.0,
    ratio_error: RatioError = "delta",
    penalty: float = 20.0,
    grid: Grid = "exact",
    distribution: Distribution = "normal",
    n_boot: int = 1000,
    seed: int = 0,
) -> Estimates:
    """Estimate the causal effect as the weighted mode, with little weight for ratios that lie far from it.

    Parameters
    ----------
    instruments, min_instruments, level, phi, grid, distribution, n_boot, seed : as for `mode_simple`.
    ratio_error : as for `mode_weighted`.
    penalty : an instrument's weight is multiplied by min(1, penalty * P), P the P value of its distance from the
        weighted mode.

    Returns
    -------
    Estimates, with extras as for `mode_simple`.

    Notes
    -----
    P is the upper tail of chi-square with 1 degree of freedom at (r_j - b)^2 / se_j^2, b the weighted mode; every draw
    has its own.

    References
    ----------
    Hartwig FP, Davey Smith G, Bowden J. Int J Epidemiol 2017. https://doi.org/10.1093/ije/dyx102
    """
    rule = _Rule(
        kind="penalised",
        phi=phi,
        ratio_error=ratio_error,
        grid=grid,
        penalty=penalty,
        distribution=distribution,
        n_boot=n_boot,
        seed=seed,
    )
    return _mode("mode_penalised", instruments, rule, min_instruments=min_instruments, level=level)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """What makes one mode another."""

    kind: Literal["simple", "weighted", "penalised"]
    phi: float
    ratio_error: RatioError
    grid: Grid
    penalty: float
    distribution: Distribution
    n_boot: int
    seed: int

    @property
    def finder(self) -> Finder:
        """What finds the mode of draws."""
        return r_modes if self.grid == "r" else grid_modes

    def modes(
        self,
        find: Finder,
        sample: Sample,
        variances: Float[np.ndarray, "..."],
        bandwidth: Float[np.ndarray, "*lead"],
    ) -> Float[np.ndarray, "*lead"]:
        """Return modes; those of the penalised kind in two steps."""
        modes = find(sample, bandwidth)
        if self.kind != "penalised":
            return modes
        # erfc(sqrt(q / 2)) is the tail of chi-square with 1 degree of freedom at q.
        tail = erfc(np.abs(sample.values - modes[..., None]) / np.sqrt(2 * variances))
        penalised = replace(sample, weights=sample.weights * np.minimum(1.0, self.penalty * tail))
        return find(penalised, bandwidth)


def _mode(method: str, instruments: Instruments, rule: _Rule, *, min_instruments: int, level: float) -> Estimates:
    given = canonical(with_ratio(instruments))
    reason = too_few_ratios(instruments, given, max(min_instruments, 3))
    wanted = np.array([not why for why in reason], dtype=bool)

    def point(shifted: Instruments) -> Float[np.ndarray, "loci"]:
        return _point(shifted, rule, wanted)

    beta, factors = point(given), member_factors(given, point)
    drawn = (_effect_modes if factors is None else _instrument_modes)(given, rule, wanted, rule.n_boot, rule.seed)
    se = np.full(len(wanted), np.nan)
    se[wanted] = median_deviation(drawn[wanted], np.ones(drawn[wanted].shape, dtype=bool))
    variance = se**2 if factors is None else sampling_variance(se**2, given)
    return ratio_estimates(
        method, given, beta, variance, factors, distribution=rule.distribution, reason=reason, level=level
    )


def _ratios(
    instruments: Instruments, rule: _Rule
) -> tuple[Float[np.ndarray, "rows"], Float[np.ndarray, "rows"], Float[np.ndarray, "rows"]]:
    """Ratios, their variances, and their weights."""
    x, _ = exposure_of(instruments)
    variances = ratio_variances(instruments, order="second" if rule.ratio_error == "delta" else "first")
    weights = np.ones(len(x)) if rule.kind == "simple" else relative_weights(variances, instruments.offsets)
    return instruments.beta_outcome / x, variances, weights


def _point(instruments: Instruments, rule: _Rule, wanted: Bool[np.ndarray, "loci"]) -> Float[np.ndarray, "loci"]:
    ratio, variances, weights = _ratios(instruments, rule)
    modes = np.full(len(instruments.loci), np.nan)
    for block in blocks(instruments.offsets, loci=wanted):
        sample = Sample(values=block.of(ratio), weights=block.of(weights, padding=0.0), known=block.known)
        bandwidth = bandwidths(sample.values, sample.known, phi=rule.phi)
        find = r_modes if rule.grid == "r" else exact_modes
        modes[block.loci] = rule.modes(find, sample, block.of(variances), bandwidth)
    return modes


def _effect_modes(
    instruments: Instruments, rule: _Rule, wanted: Bool[np.ndarray, "loci"], n_boot: int, seed: int
) -> Float[np.ndarray, "loci draws"]:
    """Modes of ratios drawn anew."""
    ratio, variances, weights = _ratios(instruments, rule)
    as_effects = replace(instruments, beta_exposure=ratio[:, None], se_exposure=np.sqrt(variances)[:, None])

    def statistic(
        block: Block, ratios: Float[np.ndarray, "block draws width"], _: Float[np.ndarray, "block draws width"]
    ) -> Float[np.ndarray, "block draws"]:
        lay = ratios.shape
        sample = Sample(
            values=ratios,
            weights=np.broadcast_to(block.of(weights, padding=0.0)[:, None], lay),
            known=np.broadcast_to(block.known[:, None], lay),
        )
        bandwidth = bandwidths(sample.values, sample.known, phi=rule.phi)
        return rule.modes(rule.finder, sample, block.of(variances)[:, None], bandwidth)

    return effect_draws(as_effects, statistic, n_boot=n_boot, seed=seed, loci=wanted)


def _instrument_modes(
    instruments: Instruments, rule: _Rule, wanted: Bool[np.ndarray, "loci"], n_boot: int, seed: int
) -> Float[np.ndarray, "loci draws"]:
    """Modes under random weights of the instruments, at the bandwidth of all."""
    ratio, variances, weights = _ratios(instruments, rule)

    def statistic(block: Block, random: Float[np.ndarray, "draws width"]) -> Float[np.ndarray, "block draws"]:
        values = block.of(ratio)
        drawn = block.of(weights, padding=0.0)[:, None] * random
        sample = Sample(
            values=np.broadcast_to(values[:, None], drawn.shape),
            weights=drawn,
            known=np.broadcast_to(block.known[:, None], drawn.shape),
        )
        bandwidth = np.broadcast_to(bandwidths(values, block.known, phi=rule.phi)[:, None], drawn.shape[:2])
        return rule.modes(rule.finder, sample, block.of(variances)[:, None], bandwidth)

    return weight_draws(instruments, statistic, n_boot=n_boot, seed=seed, loci=wanted)
