"""Which pairs of nodes depend on each other given all others in any context, and precisions without the other edges."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import f as f_distribution
from scipy.stats import false_discovery_control

from deepmr.contexts import GraphData
from deepmr.contextual.graphs.moments import standardise

_ROWS_A_COLUMN = 5  # below, interactions with squares of contexts, then with contexts, are left out
_SWEEPS, _DONE = 500, 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeTests:
    """P-values of each pair of nodes, 1 on the diagonal.

    Attributes
    ----------
    present : that the two are independent given all others, at every context.
    varies : that their coefficient is the same at every context; 1 where there are too few samples to tell.
    """

    present: Float[np.ndarray, "nodes nodes"]
    varies: Float[np.ndarray, "nodes nodes"]


def edge_tests(data: GraphData, z: Float[np.ndarray, "samples contexts"]) -> EdgeTests:
    """Test every edge by regressions of each node on all others, with coefficients quadratic in context.

    Parameters
    ----------
    data : samples.
    z : their contexts, standardised.

    Notes
    -----
    F tests of the coefficients that belong to a pair, with covariances that allow error variances to differ with
    context (HC3). Both nodes of a pair have such a test of the same hypothesis; the larger p-value is taken, which is
    valid whichever it is.

    References
    ----------
    MacKinnon JG, White H (1985). Journal of Econometrics 29:305. doi:10.1016/0304-4076(85)90158-7
    """
    values, _, _ = standardise(data)
    nodes = values.shape[1]
    present, varies = np.ones((nodes, nodes)), np.ones((nodes, nodes))
    terms = _terms(z, len(data) / (_ROWS_A_COLUMN * nodes))
    for node in range(nodes):
        others = np.delete(np.arange(nodes), node)
        columns = np.column_stack([np.ones(len(data)), values[:, others]])
        design = (columns[:, :, None] * terms[:, None, :]).reshape(len(data), -1)
        coefficient, covariance, left = _robust(design, values[:, node], data.counts)
        for k, other in enumerate(others, start=1):
            own = np.arange(k * terms.shape[1], (k + 1) * terms.shape[1])
            present[node, other] = _wald(coefficient, covariance, own, left)
            if terms.shape[1] > 1:
                varies[node, other] = _wald(coefficient, covariance, own[1:], left)
    return EdgeTests(present=np.maximum(present, present.T), varies=np.maximum(varies, varies.T))


def _terms(z: Float[np.ndarray, "samples contexts"], most: float) -> Float[np.ndarray, "samples terms"]:
    """Return 1, contexts, and their squares and products, centred; fewer where samples are few."""
    ones = np.ones((len(z), 1))
    k, m = np.triu_indices(z.shape[1])
    squares = z[:, k] * z[:, m]
    for made in (np.hstack([ones, z, squares - squares.mean(axis=0)]), np.hstack([ones, z])):
        if made.shape[1] <= most and np.linalg.matrix_rank(made) == made.shape[1]:
            return made
    return ones


def _robust(
    design: Float[np.ndarray, "rows columns"], y: Float[np.ndarray, "rows"], counts: Float[np.ndarray, "rows"]
) -> tuple[Float[np.ndarray, "columns"], Float[np.ndarray, "columns columns"], float]:
    """Return least-squares coefficients, their HC3 covariance, and the degrees of freedom left."""
    inverse = np.linalg.pinv((design.T * counts) @ design)
    coefficient = inverse @ (design.T @ (counts * y))
    leverage = np.einsum("ij,ij->i", design @ inverse, design)
    residual = (y - design @ coefficient) / np.maximum(1 - leverage, 1e-6)
    meat = (design.T * (counts * residual**2)) @ design
    return coefficient, inverse @ meat @ inverse, float(counts.sum()) - design.shape[1]


def _wald(coefficient: np.ndarray, covariance: np.ndarray, own: np.ndarray, left: float) -> float:
    part = coefficient[own]
    statistic = part @ np.linalg.solve(covariance[np.ix_(own, own)], part) / len(own)
    return float(f_distribution.sf(statistic, len(own), left))


def select_edges(pvalues: Float[np.ndarray, "nodes nodes"], *, fdr: float) -> Bool[np.ndarray, "nodes nodes"]:
    """Return the pairs that stay at a false discovery rate, by Benjamini and Hochberg.

    Parameters
    ----------
    pvalues : symmetric.
    fdr : expected share of false ones among those that stay.
    """
    upper = np.triu_indices(len(pvalues), 1)
    kept = np.zeros(pvalues.shape, dtype=bool)
    kept[upper] = false_discovery_control(pvalues[upper]) <= fdr
    return kept | kept.T


def constrained_covariance(
    covariance: Float[np.ndarray, "points nodes nodes"], edges: Bool[np.ndarray, "nodes nodes"]
) -> Float[np.ndarray, "points nodes nodes"]:
    """Return covariances whose inverse is 0 where there is no edge, and which equal the given ones elsewhere.

    Parameters
    ----------
    covariance : positive definite.
    edges : symmetric.

    Notes
    -----
    Covariance selection: the normal distribution of largest likelihood under the missing edges, by regressions of each
    node on its neighbours in turn, for all points at once (Hastie, Tibshirani, Friedman 2009, algorithm 17.1).

    References
    ----------
    Dempster AP (1972). Biometrics 28:157. doi:10.2307/2528966
    """
    size = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    units = size[:, :, None] * size[:, None, :]
    target = covariance / units
    made = target.copy()
    moving = np.arange(len(target))
    for _ in range(_SWEEPS):
        after = _sweep(made[moving], target[moving], edges)
        step = np.abs(after - made[moving]).max(axis=(1, 2))
        made[moving] = after
        moving = moving[step > _DONE]
        if not len(moving):
            break
    return made * units


def _sweep(
    now: Float[np.ndarray, "points nodes nodes"],
    target: Float[np.ndarray, "points nodes nodes"],
    edges: Bool[np.ndarray, "nodes nodes"],
) -> Float[np.ndarray, "points nodes nodes"]:
    """Return the matrices after every node has been regressed on its neighbours once."""
    made = now.copy()
    nodes = len(edges)
    for node in range(nodes):
        near = np.flatnonzero(edges[node])
        others = np.delete(np.arange(nodes), node)
        slope = np.linalg.solve(made[:, near[:, None], near], target[:, near, node][:, :, None])
        across = (made[:, others[:, None], near] @ slope)[:, :, 0]
        made[:, others, node] = across
        made[:, node, others] = across
    return made
