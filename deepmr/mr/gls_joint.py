"""Generalised least squares by the whole covariance of the outcome effects: what members share, and linkage."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from deepmr.linalg import divide
from deepmr.mr.correlated import unlinkable
from deepmr.mr.designs import invert
from deepmr.mr.errors import FLOOR, Structured
from deepmr.mr.lines import exposure_of
from deepmr.packed import Block, blocks
from deepmr.types import Instruments

_DEPTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class JointLine:
    """A line a locus: coefficients (intercept, slope), or the slope alone.

    Attributes
    ----------
    coef : NaN where the instruments do not determine them.
    variances : of the coefficients by the covariance as it is, with what members share in the outcome effects.
    own : the part of these variances that members do not share.
    q : e' S^-1 e.
    df : instruments less coefficients, at least 0.
    factors : how far the error of every member moves the coefficients.
    reason : why a locus's covariance cannot be inverted; empty otherwise.
    """

    coef: Float[np.ndarray, "loci columns"]
    variances: Float[np.ndarray, "loci columns"]
    own: Float[np.ndarray, "loci columns"]
    q: Float[np.ndarray, "loci"]
    df: Float[np.ndarray, "loci"]
    factors: Float[np.ndarray, "factors loci columns"]
    reason: list[str]

    @property
    def dispersion(self) -> Float[np.ndarray, "loci"]:
        """Q / df; 1 where no degree of freedom is left."""
        return divide(self.q, self.df, otherwise=1.0)


def fit_joint(
    instruments: Instruments,
    *,
    intercept: bool,
    ridge: float = 0.0,
    loci: Bool[np.ndarray, "loci"] | None = None,
) -> JointLine:
    """Regress outcome on exposure effects with weights S^-1, S = D^1/2 R D^1/2 + F F', at every locus.

    Parameters
    ----------
    instruments : one exposure, oriented if there is an intercept. D is what of se_outcome^2 members do not share (at
        least `errors.FLOOR` of it), F the outcome's `error_factors`, R the `correlation`; each may be absent.
    intercept : fit one.
    ridge : share of the identity mixed into R.
    loci : which to fit; default all.

    Notes
    -----
    Without R, S^-1 = D^-1 - D^-1 F (I + F' D^-1 F)^-1 F' D^-1: J K^2 for J instruments and K factors. A member moves
    the coefficients by (X'WX)^-1 (X'W (dy - dX b) + dX'W e) at fixed weights.
    """
    x, _ = exposure_of(instruments)
    outcome, se = instruments.beta_outcome.astype(float), instruments.se_outcome.astype(float)
    n_loci, columns = len(instruments.loci), 2 if intercept else 1
    shared = instruments.error_factors
    k = 0 if shared is None else len(shared)
    coef, variances, own = (np.full((n_loci, columns), np.nan) for _ in range(3))
    q, moves = np.full(n_loci, np.nan), np.zeros((k, n_loci, columns))
    reason = unlinkable(instruments, ridge=ridge)
    good = np.array([not why for why in reason], dtype=bool) & (instruments.counts >= columns)
    good = good if loci is None else good & loci
    linked = instruments.correlation is not None
    depth = max(_DEPTH * (1 + k), int(instruments.counts.max(initial=1)) if linked else 1)
    for block in blocks(instruments.offsets, loci=good, depth=depth):
        known = block.known.astype(float)
        by_x, by_y = _factors(shared, block)
        weight = _covariance(instruments, block, block.of(se), by_y, ridge).inverse()
        design = np.stack([known, block.of(x, padding=0.0)][2 - columns :], axis=-1)
        y = block.of(outcome, padding=0.0)[..., None]
        weighted = weight.times(design)
        unscaled, identified = invert(weighted.swapaxes(1, 2) @ design)
        b, rest = np.zeros((len(y), columns, 1)), y
        for _ in range(2):  # the second time wins back the digits that normal equations lose
            b = b + unscaled @ (weighted.swapaxes(1, 2) @ rest)
            rest = y - design @ b
        pull = weight.times(rest)
        taken = block.loci
        coef[taken] = np.where(identified[:, None], b[..., 0], np.nan)
        variances[taken] = np.diagonal(unscaled, axis1=1, axis2=2)
        q[taken] = np.sum(pull * rest, axis=(1, 2))
        of_y = unscaled @ (weighted.swapaxes(1, 2) @ by_y)
        own[taken] = np.maximum(variances[taken] - np.sum(of_y**2, axis=-1), 0.0)
        of_x = weighted.swapaxes(1, 2) @ by_x * -b[:, -1:]
        of_x[:, -1] += (pull.swapaxes(1, 2) @ by_x)[:, 0]
        moves[:, taken] = np.moveaxis(of_y + unscaled @ of_x, -1, 0)
    df = np.maximum(instruments.counts - float(columns), 0.0)
    return JointLine(coef=coef, variances=variances, own=own, q=q, df=df, factors=moves, reason=reason)


def _factors(
    shared: Float[np.ndarray, "factors rows traits"] | None, block: Block
) -> tuple[Float[np.ndarray, "block width factors"], Float[np.ndarray, "block width factors"]]:
    """Return the factors of exposure and outcome of a block of loci, 0 for padding."""
    if shared is None:
        none = np.zeros((*block.rows.shape, 0))
        return none, none
    cells = np.take(shared, block.rows, axis=1).astype(float, copy=False)
    by_x, by_y = (np.ascontiguousarray(np.moveaxis(cells[..., t], 0, -1)) for t in (0, 1))
    if not block.known.all():
        by_x[~block.known], by_y[~block.known] = 0.0, 0.0
    return by_x, by_y


def _covariance(
    instruments: Instruments,
    block: Block,
    se: Float[np.ndarray, "block width"],
    by_y: Float[np.ndarray, "block width factors"],
    ridge: float,
) -> Structured:
    """Return S of a block of loci; padding has a variance of its own, 1."""
    total = np.square(se)
    variance = np.maximum(total - np.einsum("bjk,bjk->bj", by_y, by_y), FLOOR * total)
    variance = np.where(block.known, variance, 1.0)
    dense, given = None, instruments.correlation
    if given is not None:
        root = np.sqrt(variance)
        dense = variance[..., None] * np.eye(variance.shape[1])
        for i, locus in enumerate(block.loci):
            n = len(given[locus])
            dense[i, :n, :n] *= ridge
            dense[i, :n, :n] += (1 - ridge) * given[locus] * root[i, :n, None] * root[i, :n]
        dense = dense + by_y @ by_y.swapaxes(1, 2)
    return Structured(own=variance, left=by_y, right=by_y, dense=dense)
