"""Weights of Bayesian networks by continuous optimisation: squared error, an L1 penalty and a loss of cycles."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import optimize
from scipy.linalg import solve_triangular

from deepmr.contextual.graphs.acyclicity import Acyclicity, Cyclicity, measure_cycles
from deepmr.contextual.graphs.products import Products

_PATH = (1.0, 0.1, 0.01, 1e-3, 1e-4)  # weight of squared error against cycles along the central path
_FIRST = 3  # steps of it that the other losses take before an augmented Lagrangian
_EDGE = 0.98  # share of the bound at which a graph beyond it is judged instead, and the rest added as a straight line
_STEPS, _FALL, _SLOPE = 500, 1e-9, 1e-6
_ROUNDS, _ACYCLIC, _GROWTH, _LARGEST = 40, 1e-8, 10.0, 1e14
_RIDGE = 1e-10  # on products of functions that nearly depend on each other

Smooth = Callable[[np.ndarray], tuple[float, np.ndarray]]  # of coefficients of weights: a value and its gradient


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuousFit:
    """Coefficients of levels and weights.

    Attributes
    ----------
    level : of each function for each node.
    weight : of each function for each edge, [function, i, j].
    cycles : mean polynomial loss of cycles that is left at the points.
    """

    level: Float[np.ndarray, "functions nodes"]
    weight: Float[np.ndarray, "functions nodes nodes"]
    cycles: float


def fit_continuous(
    products: Products, grid: Float[np.ndarray, "points functions"], *, acyclicity: Acyclicity, l1: float
) -> ContinuousFit:
    """Minimise squared error, with a penalty on weights, over graphs that have no cycle at some points.

    Parameters
    ----------
    products : of nodes, in units in which their error variances are equal.
    grid : functions of context at the points where there must be no cycle.
    acyclicity : loss of cycles.
    l1 : penalty on the sum of sizes of the coefficients of orthonormal functions, against half the mean squared error.

    Notes
    -----
    The weight of squared error and penalty falls along a central path. With `dagma` it goes to 0: a log determinant
    keeps all within its domain, and the limit has no cycle. With the others an augmented Lagrangian follows: multiplier
    and quadratic penalty grow until the mean loss is 1e-8. The problem is not convex: what is found is a local minimum,
    reached from no edges at all.
    """
    problem = _make_problem(products, grid)
    found = np.zeros(problem.shape)
    for mu in _PATH if acyclicity == "dagma" else _PATH[:_FIRST]:
        found = _minimise(_sum(problem, acyclicity, 1 / mu, 0.0), found, l1)
    if acyclicity != "dagma":
        found = _augmented(problem, found, acyclicity, l1)
    cycles = float(measure_cycles(problem.graphs(found), "polynomial").value.mean())
    level = problem.to_level @ problem.errors(found)
    return ContinuousFit(
        level=problem.turn.T @ level, weight=np.einsum("km,kij->mij", problem.turn, found), cycles=cycles
    )


def _augmented(
    problem: "_Problem", found: Float[np.ndarray, "functions nodes nodes"], acyclicity: Acyclicity, l1: float
) -> Float[np.ndarray, "functions nodes nodes"]:
    """Raise multiplier and penalty, from those the central path ended with, until no cycle is left."""
    multiplier = penalty = 1 / _PATH[_FIRST - 1]
    before = np.inf
    for _ in range(_ROUNDS):
        found = _minimise(_sum(problem, acyclicity, multiplier, penalty), found, l1)
        value = float(measure_cycles(problem.graphs(found), acyclicity).value.mean())
        if value < _ACYCLIC or penalty > _LARGEST:
            break
        multiplier += penalty * value
        penalty *= _GROWTH if value > 0.25 * before else 1.0
        before = value
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """Mean squared error with levels at their best, in orthonormal functions of context.

    Attributes
    ----------
    gram : mean products of columns (node outermost), less what levels explain.
    to_level : from errors' coefficients to those of levels.
    turn : from functions to orthonormal ones.
    grid : orthonormal functions at the points.
    shape : functions, nodes, nodes.
    """

    gram: Float[np.ndarray, "columns columns"]
    to_level: Float[np.ndarray, "functions columns"]
    turn: Float[np.ndarray, "functions functions"]
    grid: Float[np.ndarray, "points functions"]
    shape: tuple[int, int, int]

    def graphs(self, weight: np.ndarray) -> np.ndarray:
        """Return weights at the points."""
        return np.einsum("pm,mij->pij", self.grid, weight)

    def errors(self, weight: np.ndarray) -> np.ndarray:
        """Return the coefficients of minus each node's error: those of its weights, less 1 of itself."""
        m, d, _ = self.shape
        made = weight.transpose(1, 0, 2).reshape(d * m, d).copy()
        made[np.arange(d) * m, np.arange(d)] -= 1.0
        return made


def _make_problem(products: Products, grid: Float[np.ndarray, "points functions"]) -> _Problem:
    m, d = products.n_functions, products.n_nodes
    mean = products.gram / products.total
    own = mean[:m, :m]
    turn = solve_triangular(np.linalg.cholesky(own + _RIDGE * np.trace(own) / m * np.eye(m)), np.eye(m), lower=True)
    every = np.kron(np.eye(d + 1), turn)
    mean = every @ mean @ every.T
    to_level = -np.linalg.pinv(mean[:m, :m], hermitian=True) @ mean[:m, m:]  # a function may be 0 in all samples
    return _Problem(
        gram=mean[m:, m:] + mean[m:, :m] @ to_level,
        to_level=to_level,
        turn=turn,
        grid=grid @ turn.T,
        shape=(m, d, d),
    )


def _sum(problem: _Problem, acyclicity: Acyclicity, multiplier: float, quadratic: float) -> Smooth:
    """Return half the mean squared error + multiplier * h + quadratic / 2 * h^2 and its gradient, as a function."""
    m, d, _ = problem.shape

    def smooth(weight: np.ndarray) -> tuple[float, np.ndarray]:
        columns = problem.errors(weight)
        product = problem.gram @ columns
        value, gradient = 0.5 * float((columns * product).sum()), product.reshape(d, m, d).transpose(1, 0, 2)
        graphs = np.einsum("pm,mij->pij", problem.grid, weight)
        at = finite_cycles(graphs, acyclicity)
        h = float(at.value.mean())
        slope = np.einsum("pm,pij->mij", problem.grid, at.gradient) / len(problem.grid)
        total = value + multiplier * h + 0.5 * quadratic * h**2
        return total, gradient + (multiplier + quadratic * h) * slope

    return smooth


def finite_cycles(graphs: np.ndarray, acyclicity: Acyclicity) -> Cyclicity:
    """Measure cycles; beyond the domain of the loss, its value near the edge and on from there in a straight line.

    Parameters
    ----------
    graphs : weights of edges, (points, nodes, nodes).
    acyclicity : loss of cycles.

    Notes
    -----
    A search along a line needs finite values to come back by.
    """
    at = measure_cycles(graphs, acyclicity)
    beyond = np.isinf(at.value)
    if not beyond.any():
        return at
    far = graphs[beyond]
    shrink = np.sqrt(_EDGE / np.maximum(np.abs(np.linalg.eigvals(far**2)).max(axis=1), 1.0))[:, None, None]
    edge = measure_cycles(shrink * far, acyclicity)
    value, gradient = at.value.copy(), at.gradient.copy()
    value[beyond] = edge.value + (edge.gradient * (1 - shrink) * far).sum(axis=(1, 2))
    gradient[beyond] = edge.gradient
    return Cyclicity(value=value, gradient=gradient)


def _minimise(smooth: Smooth, start: np.ndarray, l1: float) -> Float[np.ndarray, "functions nodes nodes"]:
    """Minimise a function of weights and a penalty on their sizes: sums of two parts, each at least 0, loops at 0."""
    m, d, _ = start.shape
    loops = np.tile(np.eye(d, dtype=bool), (m, 1, 1)).ravel()
    high = np.where(loops, 0.0, np.inf)

    def objective(both: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = smooth((both[: both.size // 2] - both[both.size // 2 :]).reshape(start.shape))
        flat = gradient.ravel()
        return value + l1 * float(both.sum()), np.concatenate([flat, -flat]) + l1

    found = optimize.minimize(
        objective,
        np.concatenate([np.maximum(start, 0.0).ravel(), np.maximum(-start, 0.0).ravel()]),
        jac=True,
        method="L-BFGS-B",
        bounds=optimize.Bounds(0.0, np.concatenate([high, high])),
        options={"maxiter": _STEPS, "maxfun": 2 * _STEPS, "ftol": _FALL, "gtol": _SLOPE, "maxcor": 20},
    ).x
    return (found[: found.size // 2] - found[found.size // 2 :]).reshape(start.shape)
