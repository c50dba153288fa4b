"""Nodes whose correlations, precisions or causal weights change with context, and the truth of these at any context."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.contexts import GraphData
from deepmr.errors import InputError

DESIGNS = ("correlation", "correlation_2d", "markov", "markov_2d", "constant", "demo_dag")
Design = Literal["correlation", "correlation_2d", "markov", "markov_2d", "constant", "demo_dag"]
_MARGIN = 0.35  # least eigenvalue of a matrix of the truth whose diagonal is about 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphTruth:
    """What samples were drawn from, at any context.

    Attributes
    ----------
    covariance : of the nodes at contexts.
    weights : of a Bayesian network, [i, j] that of edge i -> j; None of an undirected one.
    """

    covariance: Callable[[Float[np.ndarray, "points contexts"]], Float[np.ndarray, "points nodes nodes"]]
    weights: Callable[[Float[np.ndarray, "points contexts"]], Float[np.ndarray, "points nodes nodes"]] | None = None

    def precision(self, contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points nodes nodes"]:
        """Return the inverse of the covariance at contexts."""
        return np.linalg.inv(self.covariance(contexts))

    def correlation(self, contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points nodes nodes"]:
        """Return correlations at contexts."""
        return _scaled(self.covariance(contexts))

    def partial(self, contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points nodes nodes"]:
        """Return partial correlations at contexts, 1 on the diagonal."""
        made = -_scaled(self.precision(contexts))
        own = np.arange(made.shape[1])
        made[:, own, own] = 1.0
        return made


def simulate_graphs(design: Design, *, n: int = 1000, n_nodes: int = 5, seed: int = 0) -> tuple[GraphData, GraphTruth]:
    """Draw samples of nodes whose dependences change smoothly with context.

    Parameters
    ----------
    design : `correlation` and `markov`, whose covariance or precision matrix has entries that are sines of one context
        (with `_2d`: of two); `constant`, where context changes nothing; `demo_dag`, four nodes with edges 0 -> 1 of
        c - 2, 2 -> 1 of c^2, 3 -> 1 of c^3 and 3 -> 2 of c, contexts on a grid from 1 to 2.
    n : samples.
    n_nodes : nodes; of `demo_dag` always 4.
    seed : of truth and samples.

    Raises
    ------
    InputError
        For a design there is none of, or fewer than 2 nodes.
    """
    checks.one_of("design", design, DESIGNS)
    checks.at_least("n", n, 1)
    checks.at_least("n_nodes", n_nodes, 2)
    rng = np.random.default_rng(seed)
    if design == "demo_dag":
        if n_nodes not in (4, 5):  # 5 is the default of the other designs
            raise InputError(f"demo_dag has 4 nodes; got n_nodes {n_nodes}")
        contexts, truth = np.linspace(1, 2, n)[:, None], GraphTruth(covariance=_demo_covariance, weights=demo_weights)
        mean = np.zeros((n, 4))
    else:
        dimensions = 2 if design.endswith("_2d") else 1
        contexts = rng.uniform(-1, 1, (n, dimensions))
        truth = _smooth_truth(design, n_nodes, dimensions, rng)
        level = rng.normal(0, 0.5, n_nodes)
        mean = np.zeros((n, n_nodes)) if design == "constant" else np.sin(2 * contexts[:, :1]) * level
    chol = np.linalg.cholesky(truth.covariance(contexts))
    noise = rng.standard_normal(mean.shape)
    data = GraphData(
        contexts=contexts,
        values=mean + np.einsum("nij,nj->ni", chol, noise),
        context_names=tuple(f"c{k + 1}" for k in range(contexts.shape[1])),
        node_names=tuple(f"x{k}" for k in range(mean.shape[1])),
    )
    return data, truth


def demo_weights(contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points nodes nodes"]:
    """Return the weights of the Bayesian network of the published demonstration.

    Parameters
    ----------
    contexts : the first column is the one that matters.
    """
    c = contexts[:, 0]
    made = np.zeros((len(c), 4, 4))
    made[:, 0, 1], made[:, 2, 1], made[:, 3, 1], made[:, 3, 2] = c - 2, c**2, c**3, c
    return made


def _demo_covariance(contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points nodes nodes"]:
    """Return (I - W')^-1 (I - W)^-1: that of x = W'x + e with e of variance 1."""
    total = np.linalg.inv(np.eye(4) - demo_weights(contexts))
    return np.swapaxes(total, 1, 2) @ total


def _smooth_truth(design: str, nodes: int, dimensions: int, rng: np.random.Generator) -> GraphTruth:
    """Draw entries a + b sin(f'c + p) and diagonals exp(b sin(f'c + p)), off-diagonals small enough to be definite."""
    edges = np.triu(np.ones((nodes, nodes), dtype=bool), 1)
    if design.startswith("markov"):
        edges &= rng.random((nodes, nodes)) < min(1.0, 3.0 / (nodes - 1))
        edges[np.arange(nodes - 1), np.arange(1, nodes)] = True
    edges = edges | edges.T
    shape = (nodes, nodes)
    sign = rng.choice([-1.0, 1.0], (*shape, dimensions))
    frequency = sign * rng.uniform(1.0, 3.0, (*shape, dimensions)) / np.sqrt(dimensions)
    phase, middle, swing = rng.uniform(0, 2 * np.pi, shape), rng.uniform(-0.3, 0.3, shape), rng.uniform(0.4, 0.9, shape)
    if design == "constant":
        frequency = np.zeros_like(frequency)
    corners = np.stack(np.meshgrid(*[np.linspace(-1, 1, 31)] * dimensions, indexing="ij"), axis=-1)

    def entries(contexts: np.ndarray) -> np.ndarray:
        wave = np.sin(np.einsum("nd,ijd->nij", contexts, frequency) + phase)
        upper = np.triu((middle + swing * wave) * edges, 1)
        return upper + np.swapaxes(upper, 1, 2)

    def root_diagonal(contexts: np.ndarray) -> np.ndarray:
        own = np.arange(nodes)
        wave = np.sin(np.einsum("nd,id->ni", contexts, frequency[own, own]) + phase[own, own])
        return np.exp(0.4 * swing[own, own] * wave)

    least = np.linalg.eigvalsh(entries(corners.reshape(-1, dimensions)))[:, 0].min()
    shrink = min(1.0, (1 - _MARGIN) / max(-least, 1e-9))

    def matrix(contexts: np.ndarray) -> np.ndarray:
        size = root_diagonal(contexts)
        return (np.eye(nodes) + shrink * entries(contexts)) * size[:, :, None] * size[:, None, :]

    if design.startswith("markov"):
        return GraphTruth(covariance=lambda contexts: np.linalg.inv(matrix(contexts)))
    return GraphTruth(covariance=matrix)


def _scaled(matrix: Float[np.ndarray, "points nodes nodes"]) -> Float[np.ndarray, "points nodes nodes"]:
    size = np.sqrt(np.diagonal(matrix, axis1=1, axis2=2))
    return matrix / (size[:, :, None] * size[:, None, :])
