"""The joint error of exposure and outcome effects: what each instrument has to itself, and what ensemble members share.

Errors of a block of loci: a covariance of the traits at every instrument (from standard errors and `error_corr`) plus
the outer products of low-rank factors (`error_factors`), or, with linkage disequilibrium, dense matrices. Everything
that costs J^3 for J instruments costs J K^2 with K factors.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, Shaped

from deepmr.packed import Block
from deepmr.types import Instruments

FLOOR = 0.05  # least share of an effect's error variance that is taken not to be shared


@dataclass(frozen=True, slots=True, kw_only=True)
class JointErrors:
    """Covariance of all effects of every locus of a block; the traits are the exposures, then the outcome.

    Attributes
    ----------
    own : covariance of the traits' errors at one instrument, without what members share. Padding has an error of the
        outcome alone, so that it adds nothing to traces with exposures.
    shared : factors F; Cov(trait t at j, trait u at l) = sum_k F[j, t, k] F[l, u, k] beside the own part.
    correlation : of the instruments' own errors (linkage disequilibrium), or None.
    """

    own: Float[np.ndarray, "block width traits traits"]
    shared: Float[np.ndarray, "block width traits factors"]
    correlation: Float[np.ndarray, "block width width"] | None = None

    def take(self, index: Int[np.ndarray, "picked"]) -> "JointErrors":
        """Return the errors of these loci of the block."""
        matrices = None if self.correlation is None else self.correlation[index]
        return replace(self, own=self.own[index], shared=self.shared[index], correlation=matrices)

    def between(self, a: Float[np.ndarray, "block traits"], b: Float[np.ndarray, "block traits"]) -> "Structured":
        """Return the covariance of two mixtures of traits, sum_t a_t effect_t and sum_t b_t effect_t."""
        own = np.einsum("bjtu,bt,bu->bj", self.own, a, b)
        left, right = (np.einsum("bjtk,bt->bjk", self.shared, mix) for mix in (a, b))
        if self.correlation is None:
            return Structured(own=own, left=left, right=right)
        root = np.linalg.cholesky(self.own)
        one, other = (np.einsum("bjtu,bt->bju", root, mix) for mix in (a, b))
        dense = self.correlation * (one @ other.swapaxes(-1, -2)) + left @ right.swapaxes(-1, -2)
        return Structured(own=own, left=left, right=right, dense=dense)

    def squared_size(self, effects: Float[np.ndarray, "block width traits"]) -> Float[np.ndarray, "block"]:
        """Return v' S^-1 v for the effects v of every trait at every instrument."""
        root = np.linalg.cholesky(self.own)
        columns = np.linalg.solve(root, np.concatenate([effects[..., None], self.shared], axis=-1))
        if self.correlation is not None:
            size = self.correlation.shape[-1]
            rows = columns.reshape(len(columns), size, columns.shape[2] * columns.shape[3])
            columns = np.linalg.solve(np.linalg.cholesky(self.correlation), rows).reshape(columns.shape)
        flat = columns.reshape(len(columns), columns.shape[1] * columns.shape[2], columns.shape[3])
        v, half = flat[..., :1], flat[..., 1:]
        core = np.eye(half.shape[-1]) + half.swapaxes(1, 2) @ half
        pulled = half.swapaxes(1, 2) @ v
        return (v.swapaxes(1, 2) @ v - pulled.swapaxes(1, 2) @ np.linalg.solve(core, pulled))[:, 0, 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Structured:
    """A matrix a locus: diag(own) + left right', or the dense one where there is linkage disequilibrium."""

    own: Float[np.ndarray, "block width"]
    left: Float[np.ndarray, "block width factors"]
    right: Float[np.ndarray, "block width factors"]
    dense: Float[np.ndarray, "block width width"] | None = None

    def times(self, columns: Float[np.ndarray, "block width columns"]) -> Float[np.ndarray, "block width columns"]:
        """Return the matrix times columns."""
        if self.dense is not None:
            return self.dense @ columns
        return self.own[..., None] * columns + self.left @ (self.right.swapaxes(-1, -2) @ columns)

    def turned(self) -> "Structured":
        """Return the transpose."""
        dense = None if self.dense is None else self.dense.swapaxes(-1, -2)
        return Structured(own=self.own, left=self.right, right=self.left, dense=dense)

    def shifted(self, more: Float[np.ndarray, "block width"]) -> "Structured":
        """Return the matrix with more on its diagonal."""
        dense = self.dense
        if dense is not None:
            dense = dense + more[..., None] * np.eye(more.shape[-1])
        return replace(self, own=self.own + more, dense=dense)

    def trace(self) -> Float[np.ndarray, "block"]:
        """Return the trace."""
        if self.dense is not None:
            return np.trace(self.dense, axis1=-2, axis2=-1)
        return self.own.sum(axis=-1) + np.einsum("bjk,bjk->b", self.left, self.right)

    def after(self, other: "Structured") -> "Structured":
        """Return the product self other, which has the structure again, with twice the factors."""
        if self.dense is not None and other.dense is not None:
            none = np.zeros((*self.own.shape, 0))
            dense = self.dense @ other.dense
            return Structured(own=np.diagonal(dense, axis1=-2, axis2=-1), left=none, right=none, dense=dense)
        # (A + L R')(B + M N') = A B + A M N' + L (B R + N M'R)'
        inner = self.right.swapaxes(-1, -2) @ other.left
        left = np.concatenate([self.own[..., None] * other.left, self.left], axis=-1)
        right = np.concatenate(
            [other.right, other.own[..., None] * self.right + other.right @ inner.swapaxes(-1, -2)], axis=-1
        )
        return Structured(own=self.own * other.own, left=left, right=right)

    def inverse(self) -> "Structured":
        """Return the inverse of a symmetric positive definite matrix, by the Woodbury identity.

        (D + F F')^-1 = D^-1 - D^-1 F (I + F' D^-1 F)^-1 F' D^-1.
        """
        if self.dense is not None:
            none = np.zeros((*self.own.shape, 0))
            dense = np.linalg.inv(self.dense)
            return Structured(own=np.diagonal(dense, axis1=-2, axis2=-1), left=none, right=none, dense=dense)
        scaled = self.left / self.own[..., None]
        core = np.eye(self.left.shape[-1]) + self.left.swapaxes(-1, -2) @ scaled
        return Structured(own=1 / self.own, left=-scaled @ np.linalg.inv(core), right=scaled)

    def inverse_root(self) -> "Structured":
        """Return M with M'M the inverse of a symmetric positive definite matrix: M v has independent errors.

        M = (I + H H')^-1/2 D^-1/2 with H = D^-1/2 F, which costs J K^2; the symmetric root, unlike Cholesky's, hangs
        neither on the order of the instruments nor on their coding. Dense matrices likewise, D their own part.
        """
        scale = 1 / np.sqrt(self.own)
        if self.dense is not None:
            values, vectors = np.linalg.eigh(self.dense * scale[..., :, None] * scale[..., None, :])
            # Rounding may leave a zero where a correlation is all but singular.
            inner = (vectors / np.sqrt(np.maximum(values, 1e-14))[:, None, :]) @ vectors.swapaxes(-1, -2)
            dense, none = inner * scale[:, None, :], np.zeros((*self.own.shape, 0))
            return Structured(own=np.diagonal(dense, axis1=-2, axis2=-1), left=none, right=none, dense=dense)
        half = self.left * scale[..., None]
        square, turn = np.linalg.eigh(half.swapaxes(-1, -2) @ half)
        square = np.maximum(square, 0.0)
        # (I + H H')^-1/2 = I + H P H' with P's eigenvalues ((1 + s^2)^-1/2 - 1) / s^2.
        share = np.full_like(square, -0.5)
        np.divide(np.expm1(-np.log1p(square) / 2), square, out=share, where=square > 1e-300)
        inner = (turn * share[:, None, :]) @ turn.swapaxes(-1, -2)
        return Structured(own=scale, left=half @ inner, right=half * scale[..., None])

    def log_determinant(self) -> Float[np.ndarray, "block"]:
        """Return the logarithm of the determinant of a symmetric positive definite matrix."""
        if self.dense is not None:
            return np.linalg.slogdet(self.dense)[1]
        core = np.eye(self.left.shape[-1]) + self.left.swapaxes(-1, -2) @ (self.left / self.own[..., None])
        return np.log(self.own).sum(axis=-1) + np.linalg.slogdet(core)[1]

    def to_dense(self) -> Float[np.ndarray, "block width width"]:
        """Return the matrix itself."""
        if self.dense is not None:
            return self.dense
        return self.own[..., None] * np.eye(self.own.shape[-1]) + self.left @ self.right.swapaxes(-1, -2)


def dot(a: Float[np.ndarray, "block width"], b: Float[np.ndarray, "block width"]) -> Float[np.ndarray, "block"]:
    """Return the inner product of every locus."""
    return np.einsum("bj,bj->b", a, b)


def own_covariance(
    instruments: Instruments, *, rows: Int[np.ndarray, "*cells"] | None = None, floor: float = FLOOR
) -> Float[np.ndarray, "*cells traits traits"]:
    """Return the covariance of the traits' errors at every instrument, without what members share.

    D = max(se^2 - sum F^2, floor se^2) on the diagonal, correlated as `error_corr` says. Standard errors contain what
    members share; where they contain nothing else, as those of an ensemble's mean do, the floor keeps the covariance
    of many instruments and few members invertible.

    Parameters
    ----------
    rows : row numbers of any shape; default all.
    floor : least share of an error variance that is an instrument's own.
    """
    at = np.arange(len(instruments.variants)) if rows is None else rows
    se = np.concatenate([instruments.se_exposure[at], instruments.se_outcome[at][..., None]], axis=-1).astype(float)
    variance, shared = se**2, instruments.error_factors
    if shared is not None:
        variance = np.maximum(variance - np.sum(np.square(shared[:, at], dtype=float), axis=0), floor * variance)
    root = np.sqrt(variance)
    corr = np.eye(se.shape[-1]) if instruments.error_corr is None else instruments.error_corr
    return root[..., :, None] * root[..., None, :] * corr


def marginal_covariance(instruments: Instruments) -> Float[np.ndarray, "rows traits traits"]:
    """Return the covariance of the traits' errors at every instrument, with what members share."""
    own, shared = own_covariance(instruments), instruments.error_factors
    return own if shared is None else own + np.einsum("kjt,kju->jtu", shared, shared)


def error_covariances(instruments: Instruments) -> Float[np.ndarray, "rows traits traits"]:
    """Return the covariance of the traits' errors at every instrument: of shared samples, and over members.

    Its diagonal is the square of the standard errors.
    """
    se = np.column_stack([instruments.se_exposure, instruments.se_outcome]).astype(float)
    return se[:, :, None] * se[:, None, :] * _correlations(instruments)


def error_covariance(instruments: Instruments) -> Float[np.ndarray, "rows"]:
    """Return the covariance of the errors of x and y at every instrument; see `error_covariances`."""
    return error_correlation(instruments) * instruments.se_exposure[:, 0].astype(float) * instruments.se_outcome


def error_correlation(instruments: Instruments) -> Float[np.ndarray, "rows"]:
    """Return the correlation of the errors of x and y at every instrument: the same number without factors."""
    return np.broadcast_to(_correlations(instruments)[:, 0, -1], len(instruments.variants))


def _correlations(instruments: Instruments) -> Float[np.ndarray, "one_or_rows traits traits"]:
    """Return `error_corr`, or with factors what `marginal_covariance` makes of it.

    It is a correlation also where factors are larger than the standard errors that should contain them.
    """
    if instruments.error_factors is None:
        traits = len(instruments.exposures) + 1
        return (np.eye(traits) if instruments.error_corr is None else np.asarray(instruments.error_corr, float))[None]
    whole = marginal_covariance(instruments)
    size = np.sqrt(np.diagonal(whole, axis1=1, axis2=2))
    return whole / size[:, :, None] / size[:, None, :]


def joint_errors(instruments: Instruments, block: Block, *, heed_correlation: bool = True) -> JointErrors:
    """Return the errors of a block of loci.

    Parameters
    ----------
    heed_correlation : use `Instruments.correlation` where there is one.
    """
    traits = len(instruments.exposures) + 1
    own = own_covariance(instruments, rows=block.rows)
    own = np.where(block.known[..., None, None], own, np.diag([np.finfo(float).tiny] * (traits - 1) + [1.0]))
    factors = instruments.error_factors
    shared = np.zeros((*block.rows.shape, traits, 0))
    if factors is not None:
        shared = np.moveaxis(factors[:, block.rows].astype(float), 0, -1) * block.known[..., None, None]
    return JointErrors(
        own=own, shared=shared, correlation=block_correlation(instruments, block) if heed_correlation else None
    )


def block_correlation(instruments: Instruments, block: Block) -> Shaped[np.ndarray, "block width width"] | None:
    """Return the correlation of the instruments of every locus of a block, the identity for padding; or None."""
    if instruments.correlation is None:
        return None
    width = block.rows.shape[1]
    matrices = np.tile(np.eye(width), (len(block.loci), 1, 1))
    for i, locus in enumerate(block.loci):
        given = instruments.correlation[locus]
        matrices[i, : len(given), : len(given)] = given
    return matrices
