"""Nodes whose correlations, precisions or causal weights change with context, and the truth of these at any context."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.contexts import GraphData
from deepmr.errors import InputError

Design = Literal["correlation", "correlation_2d", "markov", "markov_2d", "weak", "weak_2d", "constant", "demo_dag"]
DESIGNS: tuple[Design, ...] = get_args(Design)
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
    design : of one context, or with `_2d` of two: `correlation`, nodes that load on two factors, by sines of context;
        `markov`, a tree of nodes, each with one neighbour before it, by sines; `weak`, small correlations that are
        sines of their own; `constant`, factors that context does not change; `demo_dag`, four nodes with edges 0 -> 1
        of c - 2, 2 -> 1 of c^2, 3 -> 1 of c^3 and 3 -> 2 of c, contexts on a grid from 1 to 2.
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
    """Draw the functions of context that a design's matrices are made of."""
    if design.startswith("weak"):
        return _sine_entries(nodes, dimensions, rng)
    diagonal = _Waves.draw((nodes,), dimensions, rng, middle=0.0, swing=0.4)
    if design.startswith("markov"):
        order = rng.permutation(nodes)
        parents = np.array([rng.integers(k) for k in range(1, nodes)])
        slopes = _Waves.draw((nodes - 1,), dimensions, rng, middle=0.5, swing=1.5)

        def precision(contexts: np.ndarray) -> np.ndarray:
            turn = np.tile(np.eye(nodes), (len(contexts), 1, 1))
            turn[:, np.arange(1, nodes), parents] = -slopes(contexts)
            made = np.swapaxes(turn, 1, 2) @ (turn * np.exp(diagonal(contexts))[:, :, None])
            return made[:, order][:, :, order]

        return GraphTruth(covariance=lambda contexts: np.linalg.inv(precision(contexts)))
    still = design == "constant"
    loadings = _Waves.draw((nodes, 2), dimensions, rng, middle=0.5, swing=2.0, still=still)
    diagonal = _Waves.draw((nodes,), dimensions, rng, middle=0.0, swing=0.4, still=still)

    def covariance(contexts: np.ndarray) -> np.ndarray:
        factors = loadings(contexts)
        made = factors @ np.swapaxes(factors, 1, 2)
        own = np.arange(nodes)
        made[:, own, own] += np.exp(diagonal(contexts))
        return made

    return GraphTruth(covariance=covariance)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waves:
    """Functions a + b sin(f'c + p) of context, an array of them."""

    middle: np.ndarray
    swing: np.ndarray
    frequency: np.ndarray
    phase: np.ndarray

    @classmethod
    def draw(
        cls,
        shape: tuple[int, ...],
        dimensions: int,
        rng: np.random.Generator,
        *,
        middle: float,
        swing: float,
        still: bool = False,
    ) -> "_Waves":
        """Draw them; `still` ones do not change with context."""
        frequency = rng.uniform(1.0, 3.0, (*shape, dimensions)) * rng.choice([-1.0, 1.0], (*shape, dimensions))
        return cls(
            middle=rng.uniform(-1, 1, shape) * middle,
            swing=rng.uniform(0.6, 1.0, shape) * swing,
            frequency=frequency * (0.0 if still else 1 / np.sqrt(dimensions)),
            phase=rng.uniform(0, 2 * np.pi, shape),
        )

    def __call__(self, contexts: Float[np.ndarray, "points contexts"]) -> np.ndarray:
        angle = np.tensordot(contexts, self.frequency, axes=(1, self.frequency.ndim - 1)) + self.phase
        return self.middle + self.swing * np.sin(angle)


def _sine_entries(nodes: int, dimensions: int, rng: np.random.Generator) -> GraphTruth:
    """Draw correlations that are waves of their own, all small enough for the matrix to be definite everywhere."""
    waves = _Waves.draw((nodes, nodes), dimensions, rng, middle=0.3, swing=0.7)
    diagonal = _Waves.draw((nodes,), dimensions, rng, middle=0.0, swing=0.4)

    def entries(contexts: np.ndarray) -> np.ndarray:
        upper = np.triu(waves(contexts), 1)
        return upper + np.swapaxes(upper, 1, 2)

    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 31)] * dimensions, indexing="ij"), axis=-1)
    least = np.linalg.eigvalsh(entries(grid.reshape(-1, dimensions)))[:, 0].min()
    shrink = min(1.0, (1 - _MARGIN) / max(-least, 1e-9))

    def covariance(contexts: np.ndarray) -> np.ndarray:
        size = np.exp(0.5 * diagonal(contexts))
        return (np.eye(nodes) + shrink * entries(contexts)) * size[:, :, None] * size[:, None, :]

    return GraphTruth(covariance=covariance)


def _scaled(matrix: Float[np.ndarray, "points nodes nodes"]) -> Float[np.ndarray, "points nodes nodes"]:
    size = np.sqrt(np.diagonal(matrix, axis1=1, axis2=2))
    return matrix / (size[:, :, None] * size[:, None, :])
