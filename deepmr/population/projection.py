"""A response and covariates along the eigenvectors of a relationship matrix, where a model costs one pass over them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import linalg

from deepmr import checks
from deepmr.errors import InputError

COLLINEAR = 1e-10  # of a column's length: what is left of it after the others


@dataclass(frozen=True, slots=True, kw_only=True)
class Projected:
    """y = X b + e, with X = Q R and e what ordinary least squares leaves of y, rotated by P.

    What lies outside of the eigenvectors, in a model of low rank, enters by its cross products.

    Attributes
    ----------
    s : eigenvalues.
    q : P Q, Q an orthonormal basis of the covariates.
    e : P e.
    triangle : R.
    start : Q'y, by which coefficients of y follow from those of e.
    outside_qq, outside_qe, outside_ee : Q'(I - P'P)Q and so on; zero in a model of full rank.
    n : samples.
    unit : variance that K gives a sample; bounds of gamma are those of K in this unit.
    """

    s: Float[np.ndarray, "rank"]
    q: Float[np.ndarray, "rank fixed"]
    e: Float[np.ndarray, "rank traits"]
    triangle: Float[np.ndarray, "fixed fixed"]
    start: Float[np.ndarray, "fixed traits"]
    outside_qq: Float[np.ndarray, "fixed fixed"]
    outside_qe: Float[np.ndarray, "fixed traits"]
    outside_ee: Float[np.ndarray, "traits"]
    n: int
    unit: float = 1.0

    @property
    def fixed(self) -> int:
        """How many fixed effects."""
        return int(self.q.shape[1])

    @property
    def traits(self) -> int:
        """How many responses."""
        return int(self.e.shape[1])


def project(
    py: Float[np.ndarray, "rank traits"],
    px: Float[np.ndarray, "rank fixed"],
    s: Float[np.ndarray, "rank"],
    *,
    y: Float[np.ndarray, "samples traits"] | None = None,
    x: Float[np.ndarray, "samples fixed"] | None = None,
    names: tuple[str, ...] = (),
    unit: float = 1.0,
) -> Projected:
    """Take least squares out of rotated responses, and make covariates orthonormal.

    Parameters
    ----------
    py, px
        Responses and covariates, rotated.
    s
        Eigenvalues.
    y, x
        The same before rotation, in a model of low rank.
    names
        Of the covariates, for messages.
    unit
        As in `Projected`.

    Raises
    ------
    InputError
        When covariates are collinear, there are too few samples, or a response is constant given the covariates.
    """
    for name, values in (("py", py), ("px", px), ("s", s)):
        checks.finite(name, values)
    whole_x, whole_y = (px, py) if x is None or y is None else (x, y)
    n, fixed = whole_x.shape
    if n <= fixed:
        raise InputError(f"more samples than fixed effects are needed; got {n} samples and {fixed} fixed effects")
    triangle = _triangle(whole_x, names)
    q = linalg.solve_triangular(triangle, px.T, trans="T").T if fixed else px
    whole_q = q if x is None else linalg.solve_triangular(triangle, x.T, trans="T").T if fixed else x
    start = whole_q.T @ whole_y
    # A second pass takes out what rounding left, which matters where y is far from 0.
    left = whole_y - whole_q @ start
    again = whole_q.T @ left
    start, e, whole_e = start + again, py - q @ start - q @ again, left - whole_q @ again
    if x is None:
        e = whole_e
    size = np.linalg.norm(whole_y, axis=0)
    constant = ~(np.linalg.norm(whole_e, axis=0) > 1e-12 * size)
    if constant.any():
        which = f" {int(np.argmax(constant)) + 1} of {len(constant)}" if len(constant) > 1 else ""
        raise InputError(f"response{which} is constant, or a sum of covariates: nothing of it is left to explain")
    full = x is None
    return Projected(
        s=s,
        q=q,
        e=e,
        triangle=triangle,
        start=start,
        outside_qq=np.zeros((fixed, fixed)) if full else np.eye(fixed) - q.T @ q,
        outside_qe=np.zeros((fixed, e.shape[1])) if full else whole_q.T @ whole_e - q.T @ e,
        outside_ee=np.zeros(e.shape[1]) if full else np.maximum((whole_e**2).sum(0) - (e**2).sum(0), 0.0),
        n=n,
        unit=unit,
    )


def _triangle(x: Float[np.ndarray, "samples fixed"], names: tuple[str, ...]) -> Float[np.ndarray, "fixed fixed"]:
    """Return R of X = Q R, after a check that no column is a sum of those before it."""
    fixed = x.shape[1]
    if not fixed:
        return np.zeros((0, 0))
    triangle = linalg.qr(x, mode="r")[0][:fixed]
    size = np.linalg.norm(x, axis=0)
    bad = ~(np.abs(np.diagonal(triangle)) > COLLINEAR * size)
    if bad.any():
        k = int(np.argmax(bad))
        name = names[k] if names else f"column {k + 1}"
        raise InputError(f"covariates must not be collinear; {name} is zero or a sum of those before it")
    return triangle
