"""Bootstrap draws for many loci at once: the same random numbers serve every locus, so that batches change nothing."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float

from deepmr.mr.errors import error_correlation
from deepmr.mr.lines import canonical_order, exposure_of, oriented
from deepmr.packed import Block, blocks
from deepmr.types import Instruments

# A part of this many draws has a random stream of its own: its numbers hang neither on how many draws there are nor on
# how wide the widest locus is.
_PART = 128
CACHE = 32  # blocks are this many times smaller than `packed.blocks` makes them: their arrays stay in the cache

Effects = Float[np.ndarray, "block draws width"]
OnEffects = Callable[[Block, Effects, Effects], Float[np.ndarray, "block draws"]]
OnWeights = Callable[[Block, Float[np.ndarray, "draws width"]], Float[np.ndarray, "block draws *shape"]]


def canonical(instruments: Instruments) -> Instruments:
    """Return the instruments coded for a positive exposure effect and sorted, so that draw k goes to the k-th of them.

    Neither the order, nor the coding, nor the units of what is given change the result.
    """
    coded = oriented(instruments)
    return coded.pick(canonical_order(coded))


def standard_normals(
    n_boot: int, width: int, *, seed: int, traits: int = 2
) -> Iterator[tuple[slice, Float[np.ndarray, "traits draws width"]]]:
    """Yield independent standard normal numbers, one a trait, draw and instrument, some draws at a time.

    Parameters
    ----------
    n_boot : number of draws.
    width : instruments of the widest locus; a narrower one takes the first ones.
    seed : of the random numbers.
    traits : exposures and outcome.
    """
    for part, rng in _parts(n_boot, seed):
        # Instrument by instrument: those of a wider locus follow, and change none before.
        numbers = rng.standard_normal((width, traits, _PART))[:, :, : part.stop - part.start]
        yield part, np.ascontiguousarray(numbers.transpose(1, 2, 0))


def uniforms(n_boot: int, width: int, *, seed: int) -> Iterator[tuple[slice, Float[np.ndarray, "draws width"]]]:
    """Yield a number between 0 and 1 a draw and instrument, as `standard_normals` does its own, from another stream."""
    for part, rng in _parts(n_boot, seed, stream=1):
        yield part, rng.random((width, _PART))[:, : part.stop - part.start].T


def effect_draws(
    instruments: Instruments,
    statistic: OnEffects,
    *,
    n_boot: int,
    seed: int,
    loci: Bool[np.ndarray, "loci"] | None = None,
) -> Float[np.ndarray, "loci draws"]:
    """Return a statistic of effects drawn anew around those measured: a parametric bootstrap.

    Parameters
    ----------
    instruments : one exposure, in `canonical` order.
    statistic : takes a block of loci, and the drawn effects on exposure and outcome, which it may overwrite (padding
        repeats a locus's first instrument, with other draws); gives a number a locus and draw.
    n_boot : number of draws.
    seed : of the random numbers.
    loci : which to draw for; default all that have instruments. The others get NaN.

    Notes
    -----
    x* = x + s u and y* = y + t (rho u + sqrt(1 - rho^2) v) with u and v standard normal, s and t the standard errors,
    and rho the correlation of the errors of x and y, from shared samples and over members.
    """
    x, se_x = exposure_of(instruments)
    y, se_y = instruments.beta_outcome.astype(float), instruments.se_outcome.astype(float)
    rho = error_correlation(instruments)
    own, result = np.sqrt(np.maximum(1 - rho**2, 0.0)), np.full((len(instruments.loci), n_boot), np.nan)
    alike = bool(np.all(rho == rho[:1]))  # then outcomes' numbers, too, serve every locus
    width = int(instruments.counts.max(initial=0))
    buffers = (np.empty(0), np.empty(0))
    for part, (u, v) in standard_normals(n_boot, width, seed=seed):
        both = rho[0] * u + own[0] * v if alike and len(rho) else v
        for block in blocks(instruments.offsets, loci=loci, depth=CACHE * len(u)):
            shape = (len(block.loci), len(u), block.rows.shape[1])
            if buffers[0].size < np.prod(
                shape
            ):  # kept from block to block: fresh memory costs more than the arithmetic
                buffers = (np.empty(shape).ravel(), np.empty(shape).ravel())
            drawn, of_x, of_y = [], u[:, : shape[2]], both[:, : shape[2]]
            if not alike:
                of_y = block.of(rho)[:, None] * of_x + block.of(own)[:, None] * of_y
            for buffer, effect, se, noise in zip(buffers, (x, y), (se_x, se_y), (of_x, of_y), strict=True):
                cells = buffer[: np.prod(shape)].reshape(shape)
                np.multiply(block.of(se)[:, None], noise, out=cells)
                cells += block.of(effect)[:, None]
                drawn.append(cells)
            result[block.loci, part] = statistic(block, drawn[0], drawn[1])
    return result


def weight_draws(
    instruments: Instruments,
    statistic: OnWeights,
    *,
    n_boot: int,
    seed: int,
    loci: Bool[np.ndarray, "loci"] | None = None,
    shape: tuple[int, ...] = (),
) -> Float[np.ndarray, "loci draws *shape"]:
    """Return a statistic of instruments drawn anew: a Bayesian bootstrap over instruments.

    Parameters
    ----------
    instruments : in `canonical` order.
    statistic : takes a block of loci, and random weights of mean 1 for its columns; gives a number a locus and draw,
        or an array of this `shape`.
    n_boot, seed, loci : as for `effect_draws`.

    Notes
    -----
    Weights are exponential, which is a Dirichlet distribution up to a factor: the smooth form of drawing instruments
    with replacement, without draws that leave too few of them. `sampling_variance` turns draws into a variance.

    References
    ----------
    Rubin DB. The Bayesian bootstrap. Ann Stat 1981. https://doi.org/10.1214/aos/1176345338
    """
    result = np.full((len(instruments.loci), n_boot, *shape), np.nan)
    width = int(instruments.counts.max(initial=0))
    for part, rng in _parts(n_boot, seed):
        weights = rng.standard_exponential((width, _PART))[:, : part.stop - part.start].T
        for block in blocks(instruments.offsets, loci=loci, depth=CACHE * len(weights)):
            result[block.loci, part] = statistic(block, weights[:, : block.rows.shape[1]])
    return result


def sampling_variance(
    variance: Float[np.ndarray, "loci *shape"], instruments: Instruments
) -> Float[np.ndarray, "loci *shape"]:
    """Return the variance over `weight_draws`, corrected for few instruments.

    Notes
    -----
    The variance over draws of a mean of J numbers is sum (r - mean)^2 / (J (J + 1)); (J + 1) / (J - 1) corrects it.
    """
    counts = np.maximum(instruments.counts, 2)
    return variance * ((counts + 1) / (counts - 1)).reshape(-1, *[1] * (variance.ndim - 1))


def _parts(n_boot: int, seed: int, *, stream: int = 0) -> Iterator[tuple[slice, np.random.Generator]]:
    for number, start in enumerate(range(0, n_boot, _PART)):
        entropy = [seed, number, stream] if stream else [seed, number]
        yield slice(start, min(start + _PART, n_boot)), np.random.default_rng(entropy)
