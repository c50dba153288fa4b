"""Simulation extrapolation: what an estimate would be without error in the effects, from what more error does to it."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from deepmr.mr.draws import standard_normals
from deepmr.mr.errors import own_covariance
from deepmr.mr.lines import exposure_of
from deepmr.packed import Block, blocks
from deepmr.types import Instruments

LEVELS = (0.0, 0.5, 1.0, 1.5, 2.0)  # added error variance, in units of what is there already
_CACHE = 32  # blocks are this many times smaller than `packed.blocks` makes them: their arrays stay in the cache

Noisy = Float[np.ndarray, "block draws width"]
OnNoisy = Callable[[Block, Noisy, Noisy], Float[np.ndarray, "quantities block draws"]]


def simex(
    instruments: Instruments,
    statistic: OnNoisy,
    *,
    n_quantities: int,
    n_boot: int,
    seed: int,
    loci: Bool[np.ndarray, "loci"] | None = None,
) -> Float[np.ndarray, "quantities levels loci"]:
    """Return the mean of estimates from effects to which error of each of `LEVELS` was added.

    Parameters
    ----------
    instruments : one exposure, in `draws.canonical` order.
    statistic : takes a block of loci, and noisy effects on exposure and outcome (padding repeats a locus's first
        instrument, with other draws); gives numbers of every locus and draw.
    n_quantities : how many numbers that is.
    n_boot : draws a level, every one with its mirror image.
    seed : of the draws, which serve every level and locus.
    loci : which to take; default all that have instruments. The others get NaN.

    Returns
    -------
    Means over draws; the first level, 0, is the estimate from the effects as they are. `quadratic` extrapolates them.

    Notes
    -----
    At level l, x* = x + sqrt(l) u and y* = y + sqrt(l) v. u is an error like that of x: one of its own for every
    instrument, and one for every ensemble member (`error_factors`) that all instruments share. v is the part of the
    outcome's error that goes with u, through `error_corr` and through the members. The rest of the outcome's error is
    not added: it does not bias estimates that are linear in y, and would only blur the others.

    References
    ----------
    Cook JR, Stefanski LA. Simulation-extrapolation estimation in parametric measurement error models. J Am Stat Assoc
    1994. https://doi.org/10.1080/01621459.1994.10476871
    """
    x, _ = exposure_of(instruments)
    y, own, shared = instruments.beta_outcome.astype(float), own_covariance(instruments), instruments.error_factors
    root = np.sqrt(own[:, 0, 0])
    along = own[:, 0, 1] / root
    joint = shared is not None or bool(np.any(along != 0))
    width = int(instruments.counts.max(initial=0))
    n_pairs = max((n_boot + 1) // 2, 1)
    members = np.random.default_rng([seed, 1, 0]).standard_normal((n_pairs, 0 if shared is None else len(shared)))
    total = np.full((n_quantities, len(LEVELS), len(instruments.loci)), np.nan)
    for part, (z, _) in standard_normals(n_pairs, width, seed=seed):
        for block in blocks(instruments.offsets, loci=loci, depth=2 * _CACHE * len(z)):
            if part.start == 0:
                total[..., block.loci] = 0.0
            columns = z[:, : block.rows.shape[1]]
            u, v = block.of(root)[:, None] * columns, block.of(along)[:, None] * columns
            if shared is not None:
                u += np.einsum("kbw,dk->bdw", block.of(shared[:, :, 0].astype(float)), members[part])
                v += np.einsum("kbw,dk->bdw", block.of(shared[:, :, 1].astype(float)), members[part])
            u, v = (np.concatenate([noise, -noise], axis=1) for noise in (u, v))
            at_x, at_y = block.of(x)[:, None], block.of(y)[:, None]
            for i, level in enumerate(LEVELS):
                if level > 0:
                    moved = at_y + np.sqrt(level) * v if joint else np.broadcast_to(at_y, u.shape)
                    found = statistic(block, at_x + np.sqrt(level) * u, moved)
                    total[:, i, block.loci] += found.sum(axis=-1) / (2 * n_pairs)
                elif part.start == 0:
                    total[:, i, block.loci] = statistic(block, at_x, at_y)[..., 0]
    return total


def quadratic(means: Float[np.ndarray, "*lead levels loci"]) -> Float[np.ndarray, "*lead loci"]:
    """Return the value at level -1, no error at all, of the parabola that fits the means best."""
    return _at_no_error(means, degree=2)


def linear(means: Float[np.ndarray, "*lead levels loci"]) -> Float[np.ndarray, "*lead loci"]:
    """Return the value at level -1 of the line that fits the means best."""
    return _at_no_error(means, degree=1)


def _at_no_error(means: Float[np.ndarray, "*lead levels loci"], *, degree: int) -> Float[np.ndarray, "*lead loci"]:
    powers = np.arange(degree + 1)
    weights = (-1.0) ** powers @ np.linalg.pinv(np.array(LEVELS)[:, None] ** powers)
    return np.einsum("l,...ln->...n", weights, means)
