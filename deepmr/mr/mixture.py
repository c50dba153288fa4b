"""Mixtures of two normals about 0, one of known variances: share and variance by maximum likelihood, many at once."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

LEAST, MOST = 1e-4, 1 - 1e-4  # between which the share of the known part stays
_SHARE = 0.6  # to start from
_SETTLED = 1e-8  # Newton step, in log odds and log variance, after which nothing moves
_LEAP = 0.5  # longest Newton step
_EM_STEPS, _MAX_ITERATIONS = 12, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Share of the known part, variance of the other, and log-likelihood less its constant."""

    pi0: Float[np.ndarray, "cells"]
    sigma2: Float[np.ndarray, "cells"]
    likelihood: Float[np.ndarray, "cells"]


def fit_mixtures(
    square: Float[np.ndarray, "cells width"],
    variance: Float[np.ndarray, "cells width"],
    known: Bool[np.ndarray, "cells width"],
    *,
    start: Float[np.ndarray, "cells"],
    low: Float[np.ndarray, "cells"],
    high: Float[np.ndarray, "cells"],
) -> Mixture:
    """Fit pi0 N(0, variance_j) + (1 - pi0) N(0, sigma2) to numbers of which the squares are given.

    Parameters
    ----------
    known : False for padding.
    start : sigma2 to start from.
    low, high : limits of sigma2.

    Notes
    -----
    A dozen EM steps from a share of 0.6 find the maximum that EM leads to; Newton steps in log odds and log variance
    then reach it, each at most as long as EM could go astray, with an EM step instead wherever the likelihood is not
    concave or fell. A number at its limit stays there while the likelihood pushes it against it.
    """
    mask = known.astype(float)
    n = mask.sum(axis=1)
    valid = np.where(known, -0.5 * (np.log(variance) + square / variance), 0.0)  # log density of the known part
    square = np.where(known, square, 0.0)
    floor, ceiling = np.log(LEAST / (1 - LEAST)), np.log(MOST / (1 - MOST))
    least = np.stack([np.full(len(n), floor), np.log(low)])
    most = np.stack([np.full(len(n), ceiling), np.log(high)])
    at = np.clip(np.stack([np.full(len(n), np.log(_SHARE / (1 - _SHARE))), np.log(start)]), least, most)
    final, reached = at.copy(), np.full(len(n), -np.inf)
    going, safe, best = np.arange(len(n)), at, np.full(len(n), -np.inf)
    for iteration in range(_MAX_ITERATIONS):
        height, em, newton = _steps(at, square, valid, mask, n, least, most)
        fell = height < best - 1e-12 * np.abs(best)
        length = np.sqrt(np.sum((newton - at) ** 2, axis=0))
        close = ~fell & (length <= _SETTLED)
        use = np.isfinite(length) & (iteration >= _EM_STEPS)
        step = np.where(
            use, at + np.where(use, newton - at, 0.0) * np.minimum(1.0, _LEAP / np.maximum(length, _LEAP)), em
        )
        # Where the likelihood fell, back to the EM step of the last place, which cannot have lowered it.
        final[:, going], reached[going] = np.where(close, newton, np.where(fell, safe, at)), np.maximum(height, best)
        at, safe, best = np.where(fell, safe, step), em, np.where(fell, -np.inf, height)
        left = ~close
        if not left.any():
            break
        if left.sum() <= 0.7 * len(left):  # fewer copies than one a step
            going, at, safe, best, n = going[left], at[:, left], safe[:, left], best[left], n[left]
            square, valid, mask, least, most = square[left], valid[left], mask[left], least[:, left], most[:, left]
    odds = np.exp(final[0])
    return Mixture(pi0=odds / (1 + odds), sigma2=np.exp(final[1]), likelihood=reached)


def _steps(
    at: Float[np.ndarray, "2 cells"],
    square: Float[np.ndarray, "cells width"],
    valid: Float[np.ndarray, "cells width"],
    mask: Float[np.ndarray, "cells width"],
    n: Float[np.ndarray, "cells"],
    least: Float[np.ndarray, "2 cells"],
    most: Float[np.ndarray, "2 cells"],
) -> tuple[Float[np.ndarray, "cells"], Float[np.ndarray, "2 cells"], Float[np.ndarray, "2 cells"]]:
    """Return the log-likelihood, the place after an EM step, and after a Newton step (NaN where there is none)."""
    share = 1 / (1 + np.exp(-at[0]))
    scaled = square * np.exp(-at[1])[:, None]
    odds = np.exp(np.minimum(-0.5 * (at[1][:, None] + scaled) - valid - at[0][:, None], 700.0)) * mask  # other : known
    other = odds / (1 + odds)
    height = np.sum(valid + np.log1p(odds), axis=1) + n * np.log(share)
    total, spread = other.sum(axis=1), np.sum(other * scaled, axis=1)
    p = np.clip((n - total) / n, LEAST, MOST)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = at[1] + np.log(spread / total)
    em = np.clip(np.stack([np.log(p / (1 - p)), np.where(np.isfinite(variance), variance, at[1])]), least, most)
    pull = 0.5 * (scaled - 1)
    mixed = other * (1 - other)
    slope = np.stack([n * (1 - share) - total, np.sum(other * pull, axis=1)])
    bend = np.stack([mixed.sum(axis=1) - n * share * (1 - share), np.sum(mixed * pull**2, axis=1) - 0.5 * spread])
    cross = -np.sum(mixed * pull, axis=1)
    held = ((at <= least) & (slope <= 0)) | ((at >= most) & (slope >= 0))
    bend, cross = np.where(held, -1.0, bend), np.where(held.any(axis=0), 0.0, cross)
    slope = np.where(held, 0.0, slope)
    determinant = bend[0] * bend[1] - cross**2
    concave = (bend < 0).all(axis=0) & (determinant > 1e-12 * bend[0] * bend[1])
    step = np.stack([cross * slope[1] - bend[1] * slope[0], cross * slope[0] - bend[0] * slope[1]])
    step = step / np.where(concave, determinant, np.nan)
    return height, em, np.clip(at + step, least, most)
