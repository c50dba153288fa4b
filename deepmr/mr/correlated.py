"""Correlated instruments: loci of equal size stacked, and rows transformed so that their errors are independent."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from deepmr.linalg import divide, segment_sum
from deepmr.mr.lines import exposure_of
from deepmr.types import Instruments

# Below this smallest eigenvalue a correlation matrix is not inverted: what it would add is rounding of the panel.
SINGULAR = 1e-8
# Rounded panels have eigenvalues this far below zero although they stand for a covariance.
NEGATIVE = -1e-6
_CELLS = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Loci with equally many instruments, side by side.

    Attributes
    ----------
    loci : their numbers.
    rows : row number of every instrument.
    correlation : of the instruments; the identity where none is given.
    """

    loci: Int[np.ndarray, "batch"]
    rows: Int[np.ndarray, "batch size"]
    correlation: Float[np.ndarray, "batch size size"]


def stacks(instruments: Instruments, *, ridge: float = 0.0) -> Iterator[Stack]:
    """Yield the loci that have instruments, those of one size together.

    Parameters
    ----------
    ridge : share of the identity mixed into every correlation matrix, (1 - ridge) R + ridge I.
    """
    counts, offsets = instruments.counts, instruments.offsets
    for size in np.unique(counts[counts > 0]):
        same = np.flatnonzero(counts == size)
        step = max(1, _CELLS // int(size) ** 2)
        for start in range(0, len(same), step):
            loci = same[start : start + step]
            given = instruments.correlation
            if given is None:
                matrices = np.broadcast_to(np.eye(size), (len(loci), size, size))
            else:
                matrices = (1 - ridge) * np.stack([given[i] for i in loci]) + ridge * np.eye(size)
            yield Stack(loci=loci, rows=offsets[loci][:, None] + np.arange(size), correlation=matrices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whitened:
    """Rows z = L^-1 (v / se_outcome), L L' = R: their errors are independent with variance 1.

    Attributes
    ----------
    x, y, ones : exposure effects, outcome effects and the intercept's column.
    x_factors, y_factors : shared errors, transformed alike; None without them.
    f_statistic : (x/s)' R^-1 (x/s) / J.
    reason : why a locus cannot be transformed.
    """

    x: Float[np.ndarray, "rows"]
    y: Float[np.ndarray, "rows"]
    ones: Float[np.ndarray, "rows"]
    x_factors: Float[np.ndarray, "factors rows"] | None
    y_factors: Float[np.ndarray, "factors rows"] | None
    f_statistic: Float[np.ndarray, "loci"]
    reason: list[str]


def whiten(instruments: Instruments, *, ridge: float = 0.0) -> Whitened:
    """Transform the instruments of every locus so that their outcome errors are independent.

    Parameters
    ----------
    ridge : as for `stacks`.
    """
    x, se_x = exposure_of(instruments)
    t, shared = instruments.se_outcome, instruments.error_factors
    columns = [x / t, instruments.beta_outcome / t, 1 / t, x / se_x]
    if shared is not None:
        columns += [*(shared[:, :, 0] / t), *(shared[:, :, 1] / t)]
    given = np.stack(columns, axis=-1)
    done, reason = given.copy(), unlinkable(instruments, ridge=ridge)
    for stack in () if instruments.correlation is None else stacks(instruments, ridge=ridge):
        matrices = stack.correlation
        good = np.array([not reason[i] for i in stack.loci], dtype=bool)
        roots = np.linalg.cholesky(np.where(good[:, None, None], matrices, np.eye(matrices.shape[1])))
        done[stack.rows] = np.linalg.solve(roots, given[stack.rows])
    k = 0 if shared is None else len(shared)
    strength = segment_sum(done[:, 3] ** 2, instruments.offsets)
    return Whitened(
        x=done[:, 0],
        y=done[:, 1],
        ones=done[:, 2],
        x_factors=None if shared is None else done[:, 4 : 4 + k].T,
        y_factors=None if shared is None else done[:, 4 + k :].T,
        f_statistic=divide(strength, instruments.counts.astype(float)),
        reason=reason,
    )


def unlinkable(instruments: Instruments, *, ridge: float = 0.0) -> list[str]:
    """Say for every locus why the correlation of its instruments cannot be inverted; empty where it can, or is not.

    Parameters
    ----------
    ridge : as for `stacks`.
    """
    reason = [""] * len(instruments.loci)
    if instruments.correlation is None:
        return reason
    for stack in stacks(instruments, ridge=ridge):
        smallest = np.linalg.eigvalsh(stack.correlation)[:, 0]
        for i in np.flatnonzero(smallest <= SINGULAR):
            reason[stack.loci[i]] = singular(float(smallest[i]))
    return reason


def singular(smallest: float) -> str:
    """Say that a correlation matrix cannot be inverted, and what helps."""
    what = "is not positive semi-definite" if smallest < NEGATIVE else "is singular"
    return (
        f"the correlation of its instruments {what}: smallest eigenvalue {smallest:.2g}; "
        "prune the instruments, use ivw_pca, or give a ridge"
    )


def independent(instruments: Instruments, white: Whitened) -> Instruments:
    """Return the transformed rows as instruments with independent errors of variance 1 in the outcome."""
    factors = None
    if white.x_factors is not None and white.y_factors is not None:
        factors = np.stack([white.x_factors, white.y_factors], axis=-1)
    return replace(
        instruments,
        beta_exposure=white.x[:, None],
        se_exposure=instruments.se_exposure / instruments.se_outcome[:, None],
        beta_outcome=white.y,
        se_outcome=np.ones_like(white.y),
        error_factors=factors,
        correlation=None,
    )
