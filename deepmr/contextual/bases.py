"""Functions of context that coefficients are sums of: polynomials with interactions, or natural splines that add."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import comb
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.interpolate import CubicSpline
from scipy.linalg import eigh

BasisKind = Literal["polynomial", "splines"]
_FLAT = 1e-10  # spread, against the size of its values, of a function that is constant over the sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """Functions of standardised contexts with mean 0 and variance 1 over the rows of a fit; the constant is not in it.

    Attributes
    ----------
    terms : contexts that a product is of, one a factor; the number of contexts stands for a factor of 1.
    knots : of the splines of each context, increasing, NaN after the last one; of no columns for polynomials.
    turns : for each context, from cardinal splines (the value at each knot) to its functions; 0 where there are fewer.
    centre, scale : of each function before it was standardised.
    members : contexts that each function changes with.
    """

    terms: Int[np.ndarray, "products factors"]
    knots: Float[np.ndarray, "contexts knots"]
    turns: Float[np.ndarray, "contexts knots splines"]
    centre: Float[np.ndarray, "functions"]
    scale: Float[np.ndarray, "functions"]
    members: Bool[np.ndarray, "functions contexts"]

    @property
    def size(self) -> int:
        """Number of functions."""
        return len(self.centre)

    def __call__(self, z: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points functions"]:
        """Evaluate every function."""
        return (_values(z, self.terms, self.knots, self.turns) - self.centre) / self.scale

    def arrays(self) -> dict[str, np.ndarray]:
        """Return it as arrays; `from_arrays` takes them back."""
        return {f"basis_{name}": getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> "Basis":
        """Make it again from what `arrays` returned.

        Parameters
        ----------
        arrays : as they were, among others.
        """
        return cls(**{name: arrays[f"basis_{name}"] for name in cls.__slots__})


def basis_size(kind: BasisKind, n_contexts: int, degree: int, n_functions: int) -> int:
    """Return the largest number of functions that `find_basis` may make, without making them.

    Parameters
    ----------
    kind, degree, n_functions : as there.
    n_contexts : that vary.
    """
    if kind == "polynomial":
        return comb(n_contexts + degree, degree) - 1
    return n_contexts * (0, 1, n_functions)[degree]


def find_basis(
    z: Float[np.ndarray, "rows contexts"],
    counts: Float[np.ndarray, "rows"],
    *,
    kind: BasisKind = "polynomial",
    degree: int = 2,
    n_functions: int = 8,
) -> Basis:
    """Choose functions for the rows of a fit.

    Parameters
    ----------
    z : standardised contexts.
    counts : how many rows each stands for.
    kind : products of contexts up to a total degree, or natural cubic splines of one context each.
    degree : of products. For splines 0 is none, 1 straight lines, and 2 lines and splines.
    n_functions : splines of a context, the straight line included; fewer where it has few values.

    Notes
    -----
    Splines have knots at quantiles and go on as straight lines beyond the outermost. Rougher ones are made smaller, by
    the root of their integrated squared second derivative against that of the least rough, so that one penalty on
    all coefficients is the usual one on roughness (Demmler and Reinsch, 1975).

    References
    ----------
    Demmler A, Reinsch C (1975). Numer Math 24:375. doi:10.1007/BF01437406
    """
    d = z.shape[1]
    linear = np.arange(d)[:, None]
    knots, turns = np.zeros((d, 0)), np.zeros((d, 0, 0))
    smaller = np.ones(0)
    if kind == "polynomial":
        products = [c for k in range(1, degree + 1) for c in combinations_with_replacement(range(d), k)]
        terms = np.array([(*c, *[d] * (degree - len(c))) for c in products], dtype=int).reshape(len(products), degree)
    else:
        terms = linear if degree else linear[:0]
        if degree > 1 and d:
            knots, turns, smaller = _splines(z, counts, n_functions)
    members = (terms[:, :, None] == np.arange(d)).any(axis=1)
    spline_of = np.array([k for k in range(d) for column in turns[k].T if column.any()], dtype=int)
    members = np.vstack([members, spline_of[:, None] == np.arange(d)])
    values = _values(z, terms, knots, turns)
    share = counts / counts.sum()
    centre = share @ values
    scale = np.sqrt(share @ (values - centre) ** 2)
    scale[len(terms) :] *= smaller
    kept = scale > _FLAT * np.maximum(np.abs(values).max(axis=0, initial=0.0), 1e-300)
    kept[len(terms) :] = True
    terms = terms[kept[: len(terms)]]  # a product may be constant over the sample, as the square of -1 and 1
    return Basis(terms=terms, knots=knots, turns=turns, centre=centre[kept], scale=scale[kept], members=members[kept])


def _values(
    z: Float[np.ndarray, "points contexts"],
    terms: Int[np.ndarray, "products factors"],
    knots: Float[np.ndarray, "contexts knots"],
    turns: Float[np.ndarray, "contexts knots splines"],
) -> Float[np.ndarray, "points functions"]:
    """Return products, then splines, as they are."""
    wide = np.column_stack([z, np.ones(len(z))])
    made = np.ones((len(z), len(terms)))
    for factors in terms.T:
        made = made * wide[:, factors]
    columns = [made]
    for k, (own, turn) in enumerate(zip(knots, turns, strict=True)):
        own = own[np.isfinite(own)]
        used = turn[: len(own), turn.any(axis=0)]
        if used.shape[1]:
            columns.append(_natural(z[:, k], own) @ used)
    return np.hstack(columns)


def _natural(x: Float[np.ndarray, "points"], knots: Float[np.ndarray, "knots"]) -> Float[np.ndarray, "points knots"]:
    """Evaluate the natural cubic splines that are 1 at a knot and 0 at the others; straight lines beyond the ends."""
    spline = CubicSpline(knots, np.eye(len(knots)), bc_type="natural")
    inside = np.clip(x, knots[0], knots[-1])
    return spline(inside) + (x - inside)[:, None] * spline(inside, 1)


def _splines(
    z: Float[np.ndarray, "rows contexts"], counts: Float[np.ndarray, "rows"], n_functions: int
) -> tuple[Float[np.ndarray, "contexts knots"], Float[np.ndarray, "contexts knots splines"], Float[np.ndarray, "_"]]:
    """Return knots, functions orthogonal to straight lines over the rows, and by how much to raise their scale."""
    d, most = z.shape[1], n_functions + 1
    knots, turns = np.full((d, most), np.nan), np.zeros((d, most, max(most - 2, 0)))
    raised: list[float] = []
    for k, x in enumerate(z.T):
        at = np.quantile(x, np.linspace(0, 1, most), method="inverted_cdf", weights=counts)
        at = np.unique(at)
        knots[k, : len(at)] = at
        if len(at) < 3:
            continue
        values = _natural(x, at)
        gram = values.T @ (values * counts[:, None]) / counts.sum()
        rough = _roughness(at)
        # Values at the knots of the constant and of the line, which have no roughness, and the others ordered by it.
        gram = gram + 1e-12 * np.trace(gram) / len(at) * np.eye(len(at))
        amount, functions = eigh(rough, gram)
        turns[k, : len(at), : len(at) - 2] = functions[:, 2:]
        raised += np.sqrt(amount[2:] / amount[2]).tolist()
    return knots, turns, np.array(raised)


def _roughness(knots: Float[np.ndarray, "knots"]) -> Float[np.ndarray, "knots knots"]:
    """Return the integral of products of second derivatives of the cardinal splines."""
    curve = CubicSpline(knots, np.eye(len(knots)), bc_type="natural")(knots, 2)  # linear between knots
    step = np.diff(knots)
    total = np.zeros((len(knots), len(knots)))
    for h, a, b in zip(step, curve[:-1], curve[1:], strict=True):
        total += h / 3 * (np.outer(a, a) + np.outer(b, b) + (np.outer(a, b) + np.outer(b, a)) / 2)
    return total
