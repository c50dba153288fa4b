"""Functions of one variable, and their products with functions of covariates, as columns of a design matrix."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import BSpline
from scipy.linalg import eigh

from deepmr import checks

DEGREE = 3
EDGE = 0.005  # share of samples beyond the outermost knots, where functions go on as straight lines
FEW = 8  # a variable with at most so many values has a function a value at most


@dataclass(frozen=True, slots=True, kw_only=True)
class SplineBasis:
    """Cubic splines, orthonormal over the sample: constant, polynomials up to `order - 1`, then ever rougher functions.

    Attributes
    ----------
    knots : all knots of the B-splines, those at the ends repeated.
    transform : from B-splines to this basis.
    roughness : penalty of each function, mean squared derivative of the given order with the range as the unit; 0 for
        the polynomials.
    """

    knots: Float[np.ndarray, "knots"]
    transform: Float[np.ndarray, "splines functions"]
    roughness: Float[np.ndarray, "functions"]

    @property
    def size(self) -> int:
        """Number of functions, the constant included."""
        return len(self.roughness)

    def __call__(self, x: Float[np.ndarray, "points"]) -> Float[np.ndarray, "points functions"]:
        """Evaluate every function; beyond the outermost knots as straight lines."""
        return _bsplines(x, self.knots) @ self.transform


def fit_splines(
    x: Float[np.ndarray, "samples"],
    *,
    n_functions: int = 20,
    order: int = 3,
    weights: Float[np.ndarray, "samples"] | None = None,
) -> SplineBasis:
    """Choose splines for a variable: evenly spaced knots, functions orthonormal over the sample.

    Parameters
    ----------
    x : the sample.
    n_functions : how many, constant included; fewer where x has few values.
    order : of the derivative that roughness is measured by; polynomials of a lower degree are not rough.
    weights : of the samples.

    Notes
    -----
    The Demmler-Reinsch basis: functions diagonalise the mean of squares over the sample and the mean squared
    derivative together, so that a penalty is diagonal and the equations stay well conditioned.

    References
    ----------
    Demmler & Reinsch (1975) doi:10.1007/BF01437406.
    """
    checks.at_least("n_functions", n_functions, 2)
    values = np.unique(x)
    low, high = np.quantile(x, [EDGE, 1 - EDGE])
    if len(values) <= FEW or high <= low:
        low, high = values[0], values[-1]
    n_functions = min(n_functions, len(values))
    if n_functions <= DEGREE + 1:
        return _polynomials(x, low, high, n_functions, weights)
    inner = np.linspace(low, high, n_functions - DEGREE + 1)
    knots = np.concatenate([np.repeat(low, DEGREE), inner, np.repeat(high, DEGREE)])
    splines = _bsplines(x, knots)
    weighted = splines if weights is None else splines * weights[:, None]
    gram = weighted.T @ splines / (len(x) if weights is None else weights.sum())
    penalty = _roughness(knots, order)
    _, functions = eigh(penalty, gram + 1e-9 * np.trace(gram) / len(gram) * np.eye(len(gram)))
    transform = _orthonormal(np.hstack([_powers(knots, order), functions[:, order:]]), gram)
    roughness = np.einsum("ij,ik,kj->j", transform, penalty, transform)
    roughness[:order] = 0.0
    return SplineBasis(knots=knots, transform=transform, roughness=roughness)


def _polynomials(
    x: Float[np.ndarray, "samples"], low: float, high: float, size: int, weights: Float[np.ndarray, "samples"] | None
) -> SplineBasis:
    """Return polynomials up to a cubic, which splines without inner knots are: all that few values can tell."""
    knots = np.concatenate([np.repeat(low, DEGREE + 1), np.repeat(high, DEGREE + 1)]).astype(float)
    splines = _bsplines(x, knots)
    weighted = splines if weights is None else splines * weights[:, None]
    gram = weighted.T @ splines / (len(x) if weights is None else weights.sum())
    return SplineBasis(knots=knots, transform=_orthonormal(_powers(knots, size), gram), roughness=np.zeros(size))


def _powers(knots: Float[np.ndarray, "knots"], count: int) -> Float[np.ndarray, "splines powers"]:
    """Return the coefficients of 1, u, u^2, ... with u the variable scaled to -1 to 1 between the outer knots."""
    low, high = knots[0], knots[-1]
    sites = _interpolation_sites(knots)
    u = 2 * (sites - low) / (high - low) - 1
    return np.linalg.solve(_bsplines(sites, knots), np.vander(u, count, increasing=True))


def _interpolation_sites(knots: Float[np.ndarray, "knots"]) -> Float[np.ndarray, "splines"]:
    """Return the averages of neighbouring knots, at which a spline can be interpolated."""
    return np.array([knots[k + 1 : k + DEGREE + 1].mean() for k in range(len(knots) - DEGREE - 1)])


def _orthonormal(
    columns: Float[np.ndarray, "splines functions"], gram: Float[np.ndarray, "splines splines"]
) -> Float[np.ndarray, "splines functions"]:
    """Make functions orthonormal over the sample, one by one; what the sample cannot tell apart is left out."""
    kept: list[np.ndarray] = []
    for column in columns.T:
        rest = column / np.sqrt(max(column @ gram @ column, 1e-300))
        for _ in range(2):  # twice, or rounding stays
            for one in kept:
                rest = rest - one * (one @ gram @ rest)
        norm = rest @ gram @ rest
        if norm > 1e-10:
            kept.append(rest / np.sqrt(norm))
    return np.array(kept).T


def _roughness(knots: Float[np.ndarray, "knots"], order: int) -> Float[np.ndarray, "splines splines"]:
    low, high = knots[0], knots[-1]
    edges = np.unique(knots)
    nodes, node_weights = np.polynomial.legendre.leggauss(4)  # exact: squared derivatives are of degree 4 at most
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    grid = (middle[:, None] + half[:, None] * nodes).ravel()
    share = (half[:, None] * node_weights).ravel() / (high - low)
    derivative = BSpline(knots, np.eye(len(knots) - DEGREE - 1), DEGREE).derivative(order)(grid)
    return (derivative.T * share) @ derivative * (high - low) ** (2 * order)


def _bsplines(x: Float[np.ndarray, "points"], knots: Float[np.ndarray, "knots"]) -> Float[np.ndarray, "points splines"]:
    low, high = knots[0], knots[-1]
    inside = np.clip(x, low, high)
    design = BSpline.design_matrix(inside, knots, DEGREE).toarray()
    beyond = x != inside
    if beyond.any():
        slopes = BSpline(knots, np.eye(len(knots) - DEGREE - 1), DEGREE).derivative()(np.array([low, high]))
        side = (x[beyond] > high).astype(int)
        design[beyond] += (x[beyond] - inside[beyond])[:, None] * slopes[side]
    return design


@dataclass(frozen=True, slots=True, kw_only=True)
class CovariateBasis:
    """Functions of covariates: 1, functions of each, and products of those of two.

    Attributes
    ----------
    splines : of each covariate.
    products : pairs of columns, counted over the constant and all functions of single covariates, that are multiplied.
    """

    splines: tuple[SplineBasis, ...]
    products: Int[np.ndarray, "products two"]

    @property
    def size(self) -> int:
        """Number of columns, the constant included."""
        return 1 + sum(one.size - 1 for one in self.splines) + len(self.products)

    def __call__(self, covars: Float[np.ndarray, "points covariates"]) -> Float[np.ndarray, "points functions"]:
        """Evaluate every function."""
        parts = [one(column)[:, 1:] for one, column in zip(self.splines, covars.T, strict=True)]
        single = np.hstack([np.ones((len(covars), 1)), *parts])
        return np.hstack([single, single[:, self.products[:, 0]] * single[:, self.products[:, 1]]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Columns of a response: products of a function of the exposure and one of the covariates.

    Attributes
    ----------
    exposure : functions of the exposure; number 0 is the constant.
    covariates : functions of the covariates; number 0 is the constant.
    pairs : number of the one and of the other, a row a column.
    """

    exposure: SplineBasis
    covariates: CovariateBasis
    pairs: Int[np.ndarray, "terms two"]

    def __call__(
        self, x: Float[np.ndarray, "points"], covars: Float[np.ndarray, "points covariates"]
    ) -> Float[np.ndarray, "points terms"]:
        """Evaluate every column."""
        return self.combine(self.exposure(x), self.covariates(covars))

    def average(
        self, x: Float[np.ndarray, "points"], mean: Float[np.ndarray, "functions"]
    ) -> Float[np.ndarray, "points terms"]:
        """Evaluate every column, averaged over covariates whose functions have these means."""
        return self.exposure(x)[:, self.pairs[:, 0]] * mean[self.pairs[:, 1]]

    def combine(
        self, of_exposure: Float[np.ndarray, "points _"], of_covariates: Float[np.ndarray, "points _"]
    ) -> Float[np.ndarray, "points terms"]:
        """Multiply functions that are evaluated already."""
        return of_exposure[:, self.pairs[:, 0]] * of_covariates[:, self.pairs[:, 1]]


def pack_terms(terms: Terms) -> dict[str, np.ndarray]:
    """Return the arrays that make up the columns, by name."""
    found = {"terms.pairs": terms.pairs, "terms.products": terms.covariates.products}
    for name, one in [
        ("exposure", terms.exposure),
        *((f"covariate{k}", s) for k, s in enumerate(terms.covariates.splines)),
    ]:
        found |= {f"{name}.knots": one.knots, f"{name}.transform": one.transform, f"{name}.roughness": one.roughness}
    return found


def unpack_terms(arrays: Mapping[str, np.ndarray]) -> Terms:
    """Make columns from what `pack_terms` returned."""

    def splines(name: str) -> SplineBasis:
        return SplineBasis(**{part: arrays[f"{name}.{part}"] for part in ("knots", "transform", "roughness")})

    count = sum(name.startswith("covariate") and name.endswith(".knots") for name in arrays)
    covariates = CovariateBasis(
        splines=tuple(splines(f"covariate{k}") for k in range(count)), products=arrays["terms.products"]
    )
    return Terms(exposure=splines("exposure"), covariates=covariates, pairs=arrays["terms.pairs"])
