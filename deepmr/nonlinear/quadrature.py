"""Expectations over mixtures of normal distributions by a few nodes, a mixture a row."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from deepmr import checks

_WITHIN = 9  # Gauss-Hermite nodes of a component, from which those of the mixture are made
_NONE = 1e-10  # squared norm of a polynomial over a distribution with fewer values than its degree


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """Values and weights that stand for a distribution, a row a distribution; weights sum to 1."""

    values: Float[np.ndarray, "rows nodes"]
    weights: Float[np.ndarray, "rows nodes"]


def mixture_nodes(
    shares: Float[np.ndarray, "rows components"],
    means: Float[np.ndarray, "rows components"],
    sds: Float[np.ndarray, "rows components"],
    *,
    n_nodes: int = 5,
) -> Nodes:
    """Return the Gauss quadrature of mixtures of normal distributions.

    Parameters
    ----------
    shares : of components; they sum to 1.
    means, sds : of components.
    n_nodes : how many nodes stand for a mixture.

    Notes
    -----
    With m nodes, expectations of polynomials up to degree 2 m - 1 are exact. Gauss-Hermite nodes replace each component
    first; the Stieltjes procedure over all of them gives the recurrence of the polynomials that are orthogonal
    under the mixture, and the eigenvalues of its Jacobi matrix are the nodes (Golub & Welsch).

    References
    ----------
    Golub & Welsch (1969) doi:10.1090/S0025-5718-69-99647-1; Gautschi (2004) doi:10.1093/oso/9780198506720.001.0001.
    """
    checks.at_least("n_nodes", n_nodes, 1)
    inner, inner_weights = np.polynomial.hermite_e.hermegauss(max(_WITHIN, n_nodes))
    points = (means[:, :, None] + sds[:, :, None] * inner).reshape(len(means), -1)
    weights = (shares[:, :, None] * (inner_weights / inner_weights.sum())).reshape(len(means), -1)
    centre = (weights * points).sum(axis=1, keepdims=True)
    spread = np.sqrt((weights * (points - centre) ** 2).sum(axis=1, keepdims=True))
    u = (points - centre) / np.where(spread > 0, spread, 1.0)
    jacobi = np.zeros((len(means), n_nodes, n_nodes))
    before, now, off = np.zeros_like(u), np.ones_like(u), np.zeros((len(means), 1))
    for k in range(n_nodes):
        middle = (weights * u * now**2).sum(axis=1, keepdims=True)
        jacobi[:, k, k] = middle[:, 0]
        after = (u - middle) * now - off * before
        size = (weights * after**2).sum(axis=1, keepdims=True)
        known = size > _NONE
        off = np.sqrt(np.where(known, size, 0.0))
        if k + 1 < n_nodes:
            jacobi[:, k, k + 1] = jacobi[:, k + 1, k] = off[:, 0]
        before, now = now, np.where(known, after / np.where(known, off, 1.0), 0.0)
    values, vectors = np.linalg.eigh(jacobi)
    return Nodes(values=centre + spread * values, weights=vectors[:, 0, :] ** 2)
