"""What a test of a marker needs of it: a'V^-1 a, and its products with covariates and trait; a block at once.

Two ways lead there: from rotated markers P a, for any number of traits, and, for one trait of a model of full rank,
from markers as they are, by a triangular product that costs half a rotation.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from jaxtyping import Float
from scipy import linalg

from deepmr.population.null_model import NullModel
from deepmr.population.reml import solve


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """A null model of one gamma a trait, made ready for products with rotated markers.

    With L L' = Q'V^-1 Q, a marker's products are with the columns of Q L'^-1, orthonormal in V^-1, and with the
    residual r = e - Q b.

    Attributes
    ----------
    weights : of squared rotated markers; less 1 in a model of low rank, where the squares of the markers as they are
        come to it.
    rotated : traits by columns, for rotated markers: f of the covariates, then the residual.
    whole : the same for markers before rotation, in a model of low rank; None otherwise.
    rss : r'V^-1 r.
    n, fixed : samples, and fixed effects without the marker.
    """

    weights: Float[np.ndarray, "rank traits"]
    rotated: Float[np.ndarray, "rank columns"]
    whole: Float[np.ndarray, "samples columns"] | None
    rss: Float[np.ndarray, "traits"]
    n: int
    fixed: int


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
) -> Weighted:
    """Make a null model ready for markers.

    Parameters
    ----------
    null : fitted.
    y, x : traits and covariates before rotation, needed in a model of low rank.
    """
    model = null.projected
    solved = solve(model, null.log_gamma)
    traits, fixed, rank = model.traits, model.fixed, len(model.s)
    basis = np.swapaxes(np.linalg.inv(solved.factor), 1, 2)  # L'^-1 of each trait
    low = model.n > rank
    scaled = solved.weights - 1.0 if low else solved.weights
    left = model.e.T - solved.coefficients @ model.q.T
    columns = np.empty((rank, traits, fixed + 1))
    columns[:, :, :fixed] = np.einsum("tr,rf,tfg->rtg", scaled, model.q, basis)
    columns[:, :, fixed] = (scaled * left).T
    whole = None
    if low:
        if y is None or x is None:
            raise ValueError("a model of low rank needs y and x")
        q = linalg.solve_triangular(model.triangle, x.T, trans="T").T if fixed else x
        outside = np.empty((model.n, traits, fixed + 1))
        outside[:, :, :fixed] = np.einsum("nf,tfg->ntg", q, basis)
        outside[:, :, fixed] = y - q @ (model.start + solved.coefficients.T)
        whole = outside.reshape(model.n, -1)
    return Weighted(
        weights=scaled.T,
        rotated=columns.reshape(rank, -1),
        whole=whole,
        rss=solved.rss,
        n=model.n,
        fixed=fixed,
    )


def rotated_moments(weighted: Weighted, rotated: Any, markers: Any = None) -> Moments:
    """Return the moments of rotated markers.

    Parameters
    ----------
    weighted
        The null model.
    rotated
        P a of each marker, (variants, rank), of any array-API namespace; products are made there.
    markers
        The markers before rotation, (variants, samples), needed in a model of low rank.
    """
    own = _to_numpy(_like(rotated, rotated**2) @ _like(rotated, weighted.weights))
    cross = _to_numpy(rotated @ _like(rotated, weighted.rotated))
    if weighted.whole is not None:
        own = own + _to_numpy((markers**2).sum(1))[:, None]
        cross = cross + _to_numpy(markers @ _like(markers, weighted.whole))
    return _split(own, cross, weighted)


def triangular_factor(
    weighted: Weighted, vectors: Float[np.ndarray, "rank samples"]
) -> tuple[Float[np.ndarray, "samples samples"], Float[np.ndarray, "samples columns"]]:
    """Return upper-triangular T with T'T = V^-1 of one trait of full rank, and the columns for markers as they are.

    Parameters
    ----------
    weighted : a null model of one trait.
    vectors : P.
    """
    triangle = linalg.qr(np.sqrt(weighted.weights) * vectors, mode="r", overwrite_a=True, check_finite=False)[0]
    return np.asfortranarray(triangle), np.ascontiguousarray(vectors.T @ weighted.rotated)


def triangular_moments(
    weighted: Weighted,
    factor: Float[np.ndarray, "samples samples"],
    columns: Float[np.ndarray, "samples columns"],
    markers: Float[np.ndarray, "variants samples"],
) -> Moments:
    """Return the moments of markers as they are, for one trait of full rank.

    Parameters
    ----------
    weighted : the null model.
    factor, columns : of `triangular_factor`, in the precision of the markers.
    markers : centred.
    """
    multiply = linalg.get_blas_funcs("trmm", (factor,))
    turned = multiply(1.0, factor, markers.T, overwrite_b=0)  # T a of each marker, a column each
    own = np.einsum("nv,nv->v", turned, turned, dtype=float)[:, None]
    return _split(own, np.asarray(markers @ columns, dtype=float), weighted)


def _split(own: np.ndarray, cross: np.ndarray, weighted: Weighted) -> Moments:
    traits = len(weighted.rss)
    parts = cross.reshape(len(cross), traits, weighted.fixed + 1)
    return Moments(own=own, covariates=parts[:, :, :-1], residual=parts[:, :, -1])


def _like(where: Any, values: Any) -> Any:
    """Return an array in the namespace, precision and place of another."""
    xp = array_namespace(where)
    return xp.asarray(values, dtype=where.dtype, device=device(where))


def _to_numpy(values: Any) -> np.ndarray:
    """Return an array as numpy has it, in double precision."""
    on_host = values.cpu() if hasattr(values, "cpu") else values
    return np.asarray(on_host, dtype=float)
