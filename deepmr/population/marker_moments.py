"""What a test of a marker needs of it: a'V^-1 a, and its products with covariates and trait; a block at once.

Two ways lead there: from rotated markers P a, for any number of traits, and, for one trait of a model of full rank,
from markers turned by the triangular T with T'T = V^-1, which costs half a rotation.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, to_device
from jaxtyping import Float
from scipy import linalg
from scipy.linalg import lapack

from deepmr.population.null_model import NullModel
from deepmr.population.reml import solve

CACHE = 1 << 18  # bytes of markers whose products are made together, so that they are read from memory once
THIN = 32  # columns: with more, the products are long enough to be made of larger parts
LARGE = 256  # markers of those
WIDE, TALL = 2048, 32  # markers and eigenvectors of a piece that stays in the cache, where markers lie side by side


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """A null model of one gamma a trait, made ready for products with rotated markers.

    With L L' = Q'V^-1 Q, a marker's products are with the columns of Q L'^-1, orthonormal in V^-1, and with the
    residual r = e - Q b. Arrays may be of any namespace (`placed`).

    Attributes
    ----------
    weights : (rank, traits), of squared rotated markers; less 1 in a model of low rank, where the squares of the
        markers as they are come to it; None where all are 1.
    rotated : (rank, columns), for rotated markers: every trait's first covariate, then every trait's second, and so
        on; the residuals are last.
    whole : (samples, columns), the same for markers before rotation, in a model of low rank; None otherwise.
    rss : r'V^-1 r of each trait.
    n, fixed : samples, and fixed effects without the marker.
    """

    weights: Any
    rotated: Any
    whole: Any
    rss: Float[np.ndarray, "traits"]
    n: int
    fixed: int

    def placed(self, to: Callable[[np.ndarray], Any]) -> "Weighted":
        """Return the same with its arrays where a function puts them, as on a device."""
        weights, whole = (None if part is None else to(part) for part in (self.weights, self.whole))
        return replace(self, weights=weights, rotated=to(self.rotated), whole=whole)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Products of markers in V^-1: with themselves, with each trait's covariates, and with its residual."""

    own: Float[np.ndarray, "variants traits"]
    covariates: Float[np.ndarray, "variants traits fixed"]
    residual: Float[np.ndarray, "variants traits"]


def weigh(
    null: NullModel,
    *,
    y: Float[np.ndarray, "samples traits"] | None = None,
    x: Float[np.ndarray, "samples fixed"] | None = None,
    traits: slice = slice(None),
) -> Weighted:
    """Make a null model ready for markers.

    Parameters
    ----------
    null : fitted.
    y, x : all traits, and covariates, before rotation, needed in a model of low rank.
    traits : which of them.
    """
    model = null.projected
    chosen = np.arange(model.traits)[traits]
    solved = solve(model, null.log_gamma[chosen], traits=chosen)
    basis = np.swapaxes(np.linalg.inv(solved.factor), 1, 2)  # L'^-1 of each trait
    low = model.n > len(model.s)
    scaled = solved.weights - 1.0 if low else solved.weights
    left = model.e[:, chosen] - model.q @ solved.coefficients.T
    whole = None
    if low:
        if y is None or x is None:
            raise ValueError("a model of low rank needs y and x")
        q = linalg.solve_triangular(model.triangle, x.T, trans="T").T if model.fixed else x
        outside = y[:, chosen] - q @ (model.start[:, chosen] + solved.coefficients.T)
        whole = _columns(q, basis, outside, None)
    return Weighted(
        weights=np.ascontiguousarray(scaled.T),
        rotated=_columns(model.q, basis, left, scaled),
        whole=whole,
        rss=solved.rss,
        n=model.n,
        fixed=model.fixed,
    )


def rotated_moments(weighted: Weighted, rotated: Any, markers: Any = None) -> Moments:
    """Return the moments of rotated markers.

    Parameters
    ----------
    weighted
        The null model.
    rotated
        P a of each marker, (variants, rank), in any precision and of any array-API namespace; sums are in double
        precision, where the array is.
    markers
        The markers before rotation, (variants, samples), needed in a model of low rank.
    """
    own, cross = _products(rotated, weighted.weights, weighted.rotated)
    if weighted.whole is not None:
        more = _products(markers, None, weighted.whole)
        own, cross = own + more[0], cross + more[1]
    traits = len(weighted.rss)
    parts = np.moveaxis(cross.reshape(len(cross), weighted.fixed + 1, traits), 1, 2)
    return Moments(own=own, covariates=parts[:, :, :-1], residual=parts[:, :, -1])


def triangular_factor(
    weighted: Weighted, vectors: Float[np.ndarray, "samples samples"]
) -> tuple[Float[np.ndarray, "samples samples"], Weighted]:
    """Return upper-triangular T with T'T = V^-1 of one trait of full rank, and the null model for markers turned by it.

    Parameters
    ----------
    weighted : a null model of one trait.
    vectors : P.

    Notes
    -----
    a'V^-1 b = (T a)'(T b), so all weights are 1 and columns are turned too. T and columns meet the same rounded T a, so
    that a marker equal to a covariate stays one in single precision.
    """
    # Householder's method is accurate by rows where large ones come first; R does not depend on their order.
    rows = np.empty_like(vectors, order="F")
    np.multiply(np.sqrt(weighted.weights[::-1]), vectors[::-1], out=rows)
    space = int(lapack.dgeqrf_lwork(*rows.shape)[0])
    triangle = lapack.dgeqrf(rows, lwork=space, overwrite_a=1)[0]  # in place: a second matrix is too much
    for k in range(len(triangle)):
        triangle[k + 1 :, k] = 0.0
    columns = triangle @ (vectors.T @ (weighted.rotated / weighted.weights))
    return triangle, replace(weighted, weights=None, rotated=columns)


def turn_markers(
    factor: Float[np.ndarray, "samples samples"], markers: Float[np.ndarray, "variants samples"]
) -> Float[np.ndarray, "variants samples"]:
    """Return T a of each marker, in place of the markers, which are overwritten.

    Parameters
    ----------
    factor : T of `triangular_factor`, in Fortran order and in the precision of the markers.
    markers : centred, in C order.
    """
    multiply = linalg.get_blas_funcs("trmm", (factor,))
    return np.asarray(multiply(1.0, factor, markers.T, overwrite_b=1)).T


def _columns(q: np.ndarray, basis: np.ndarray, left: np.ndarray, scale: np.ndarray | None) -> np.ndarray:
    """Return Q L'^-1 and the residuals of every trait, scaled by its weights, in the order of `Weighted.rotated`."""
    rows, fixed = q.shape
    columns = np.empty((rows, fixed + 1, left.shape[1]))
    columns[:, :fixed] = np.moveaxis((q @ basis), 0, 2)
    columns[:, fixed] = left
    if scale is not None:
        columns *= scale.T[:, None, :]
    return columns.reshape(rows, -1)


def _products(values: Any, weights: Any, columns: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return weighted sums of squares, a column a trait or one, and products with columns, in double precision."""
    if isinstance(values, np.ndarray):
        by_marker = values.strides[1] <= values.strides[0]
        return (_products_in_cache if by_marker else _products_by_eigenvector)(values, weights, columns)
    xp = array_namespace(values)
    wide = xp.astype(values, xp.float64)
    squares = wide * wide
    own = xp.sum(squares, axis=1)[:, None] if weights is None else squares @ _beside(wide, weights)
    return _to_numpy(own), _to_numpy(wide @ _beside(wide, columns))


def _products_in_cache(
    values: Float[np.ndarray, "variants rank"],
    weights: Float[np.ndarray, "rank traits"] | None,
    columns: Float[np.ndarray, "rank columns"],
) -> tuple[Float[np.ndarray, "variants _"], Float[np.ndarray, "variants columns"]]:
    """Do so a few markers at a time: read from memory once, squared and widened in the processor's cache."""
    variants, rank = values.shape
    rows = max(8, CACHE // (8 * max(rank, 1))) if columns.shape[1] <= THIN else LARGE
    own = np.empty((variants, 1 if weights is None else weights.shape[1]))
    cross = np.empty((variants, columns.shape[1]))
    squares = np.empty((min(rows, variants), rank))
    wide = squares if values.dtype == np.float64 else np.empty_like(squares)
    for start in range(0, variants, rows):
        part = values[start : start + rows]
        if wide is not squares:
            wide[: len(part)] = part
            part = wide[: len(part)]
        np.matmul(part, columns, out=cross[start : start + rows])
        square = np.square(part, out=squares[: len(part)])
        if weights is None:
            np.sum(square, axis=1, out=own[start : start + rows, 0])
        else:
            np.matmul(square, weights, out=own[start : start + rows])
    return own, cross


def _products_by_eigenvector(
    values: Float[np.ndarray, "variants rank"],
    weights: Float[np.ndarray, "rank traits"] | None,
    columns: Float[np.ndarray, "rank columns"],
) -> tuple[Float[np.ndarray, "variants _"], Float[np.ndarray, "variants columns"]]:
    """Do so where markers lie side by side, as P A of a matrix A of samples by markers has them: without turning it."""
    variants, rank = values.shape
    turned = values.T
    heavy = np.ones((1, rank)) if weights is None else np.ascontiguousarray(weights.T)
    rows = np.ascontiguousarray(columns.T)
    own, cross = np.zeros((len(heavy), variants)), np.zeros((len(rows), variants))
    for start in range(0, variants, WIDE):
        markers = slice(start, start + WIDE)
        for k in range(0, rank, TALL):
            part = turned[k : k + TALL, markers].astype(float, copy=False)
            cross[:, markers] += rows[:, k : k + TALL] @ part
            own[:, markers] += heavy[:, k : k + TALL] @ np.square(part)
    return own.T, cross.T


def _beside(where: Any, values: Any) -> Any:
    """Return an array in the namespace and place of another."""
    return array_namespace(where).asarray(values, dtype=where.dtype, device=device(where))


def _to_numpy(values: Any) -> np.ndarray:
    return np.asarray(to_device(values, "cpu"))
