"""Multivariable weighted median: direct effects by least absolute deviations."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.mr.designs import fit_designs
from deepmr.mr.draws import sampling_variance, standard_normals, weight_draws
from deepmr.mr.lines import Distribution
from deepmr.mr.multivariable.least_absolute import least_absolute
from deepmr.mr.multivariable.strength import conditional_f
from deepmr.mr.multivariable.table import (
    canonical,
    direct_estimates,
    errors,
    exposures_of,
    not_collinear,
    shared_moves,
    too_few,
    weights_of,
)
from deepmr.packed import Block, blocks
from deepmr.types import Estimates, Instruments

_DEPTH = 8  # arrays of a number a cell and exposure that a block holds


def mv_median(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    distribution: Distribution = "normal",
    n_boot: int = 1000,
    seed: int = 0,
) -> Estimates:
    """Estimate direct effects by weighted median regression on all exposures at once.

    Parameters
    ----------
    instruments : one exposure or several.
    min_instruments : loci with fewer are skipped; never below exposures + 1.
    level : of the confidence intervals.
    distribution : of independent errors: normal, or t with J - K degrees of freedom.
    n_boot : bootstrap draws behind the standard errors.
    seed : of these draws, which are the same for every locus.

    Returns
    -------
    Estimates, a row an exposure and locus, with extras `conditional_f` and `n_exposures`.

    Notes
    -----
    b minimises sum_j |y_j - x_j' b| / se_j^2: some instruments may have direct effects of any size. The standard error
    is the standard deviation of b over draws of all effects around their measured values, with `error_corr` between
    the traits of an instrument and weights kept. With shared errors its sampling part is that of a bootstrap over
    instruments (`deepmr.mr.draws.weight_draws`), and the members' part comes from differences.

    References
    ----------
    Grant AJ, Burgess S. Pleiotropy robust methods for multivariable Mendelian randomization. Stat Med 2021.
    https://doi.org/10.1002/sim.9156
    """
    checks.at_least("n_boot", n_boot, 2)
    given = canonical(instruments)
    x, y, weights = exposures_of(given), given.beta_outcome.astype(float), weights_of(given)
    identified = fit_designs(x, y, weights, given.offsets).identified
    reason = not_collinear(too_few(given, min_instruments, parameters=x.shape[1]), identified)
    wanted = np.array([not why for why in reason], dtype=bool)
    beta = median_points(given, wanted)
    factors = shared_moves(given, lambda moved: median_points(moved, wanted))
    if factors is None:
        variance = _over_effects(given, wanted, n_boot, seed)
    else:
        variance = sampling_variance(_over_instruments(given, wanted, n_boot, seed), given)
    df = np.maximum(given.counts - float(x.shape[1]), 0.0)
    return direct_estimates(
        "mv_median",
        given,
        beta=beta,
        error=errors(variance, df, factors, distribution=distribution),
        reason=reason,
        level=level,
        extra={"conditional_f": conditional_f(given)},
        factors=factors,
    )


def median_points(instruments: Instruments, wanted: np.ndarray) -> Float[np.ndarray, "loci exposures"]:
    """Return the median regression of every wanted locus; NaN for the others."""
    x, y, weights = exposures_of(instruments), instruments.beta_outcome.astype(float), weights_of(instruments)
    beta = np.full((len(instruments.loci), x.shape[1]), np.nan)
    for block in blocks(instruments.offsets, loci=wanted, depth=_DEPTH * x.shape[1]):
        design = np.moveaxis(block.of(x.T), 0, -1)
        beta[block.loci] = least_absolute(design, block.of(y), block.of(weights, padding=0.0))
    return beta


def _over_effects(
    instruments: Instruments, wanted: np.ndarray, n_boot: int, seed: int
) -> Float[np.ndarray, "loci exposures"]:
    """Variance over effects drawn anew."""
    weights, k = weights_of(instruments), len(instruments.exposures)
    drawn = np.full((len(instruments.loci), n_boot, k), np.nan)
    for block, part, effects in _effect_draws(instruments, wanted, n_boot, seed):
        cells = np.broadcast_to(block.of(weights, padding=0.0)[:, None], effects.shape[:3])
        flat = effects.reshape(-1, *effects.shape[2:])
        found = least_absolute(flat[..., :-1], flat[..., -1], cells.reshape(flat.shape[:2]))
        drawn[block.loci, part] = found.reshape(*effects.shape[:2], k)
    return drawn.var(axis=1, ddof=1)


def _effect_draws(
    instruments: Instruments, wanted: np.ndarray, n_boot: int, seed: int
) -> Iterator[tuple[Block, slice, Float[np.ndarray, "block draws width traits"]]]:
    """Yield effects around those measured: exposures first, then the outcome."""
    effects = np.column_stack([exposures_of(instruments), instruments.beta_outcome.astype(float)])
    se = np.column_stack([instruments.se_exposure, instruments.se_outcome]).astype(float)
    traits = effects.shape[1]
    root = None if instruments.error_corr is None else _root(instruments.error_corr)
    width = int(instruments.counts.max(initial=0))
    for part, normal in standard_normals(n_boot, width, seed=seed, traits=traits):
        noise = np.moveaxis(normal, 0, -1)
        noise = noise if root is None else noise @ root.T
        for block in blocks(instruments.offsets, loci=wanted, depth=_DEPTH * traits * normal.shape[1]):
            centre, size = (np.moveaxis(block.of(v.T), 0, -1)[:, None] for v in (effects, se))
            yield block, part, centre + size * noise[None, :, : block.rows.shape[1]]


def _root(corr: np.ndarray) -> Float[np.ndarray, "traits traits"]:
    """Return L with L L' the correlation, also of a singular one."""
    values, vectors = np.linalg.eigh(corr)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def _over_instruments(
    instruments: Instruments, wanted: np.ndarray, n_boot: int, seed: int
) -> Float[np.ndarray, "loci exposures"]:
    """Variance over random weights of the instruments."""
    x, y, weights = exposures_of(instruments), instruments.beta_outcome.astype(float), weights_of(instruments)
    k = x.shape[1]

    def statistic(block: Block, random: Float[np.ndarray, "draws width"]) -> Float[np.ndarray, "block draws _"]:
        cells = block.of(weights, padding=0.0)[:, None] * random
        shape = cells.shape
        design = np.broadcast_to(np.moveaxis(block.of(x.T), 0, -1)[:, None], (*shape, k))
        response = np.broadcast_to(block.of(y)[:, None], shape)
        flat = (part.reshape(-1, *part.shape[2:]) for part in (design, response, cells))
        return least_absolute(*flat).reshape(*shape[:2], k)

    return weight_draws(instruments, statistic, n_boot=n_boot, seed=seed, loci=wanted, shape=(k,)).var(axis=1, ddof=1)
