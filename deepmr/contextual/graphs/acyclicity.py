"""How far directed graphs are from having no cycle: three smooth losses and their gradients, many graphs at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from scipy.linalg import expm

from deepmr import checks
from deepmr.errors import InputError

Acyclicity = Literal["dagma", "exponential", "polynomial"]

_ROUNDING = 1e-12  # of the largest entry of an inverse, below which a negative one is a zero


@dataclass(frozen=True, slots=True, kw_only=True)
class Cyclicity:
    """A loss of each graph.

    Attributes
    ----------
    value : 0 of a graph without a cycle, positive of any other, infinite outside of the domain.
    gradient : of `value` by each weight; 0 of a graph without a cycle, and outside of the domain.
    """

    value: Float[np.ndarray, "samples"]
    gradient: Float[np.ndarray, "samples nodes nodes"]


def exponential(weights: Float[np.ndarray, "samples nodes nodes"]) -> Cyclicity:
    """Measure cycles by the trace of a matrix exponential.

    Parameters
    ----------
    weights : of edges from a row's node to a column's.

    Notes
    -----
    tr exp(W * W) - d, with * entry by entry: tr (W * W)^k sums closed walks of k edges, each weighted by the product of
    its squared weights.

    References
    ----------
    Zheng, Aragam, Ravikumar, Xing (2018), DAGs with NO TEARS, doi:10.48550/arXiv.1803.01422.
    """
    powers = np.asarray(expm(weights**2)) if len(weights) else np.zeros_like(weights)
    value = np.trace(powers, axis1=1, axis2=2) - weights.shape[1]
    return Cyclicity(value=np.maximum(value, 0.0), gradient=2 * powers.transpose(0, 2, 1) * weights)


def polynomial(weights: Float[np.ndarray, "samples nodes nodes"]) -> Cyclicity:
    """Measure cycles by the trace of a matrix power, as high as the graph has nodes.

    Parameters
    ----------
    weights : of edges from a row's node to a column's.

    Notes
    -----
    tr (I + W * W / d)^d - d: no cycle of a graph of d nodes is longer than d, so that every one counts. A lower power
    misses the longest cycles.

    References
    ----------
    Yu, Chen, Gao, Yu (2019), DAG-GNN, doi:10.48550/arXiv.1904.10098.
    """
    d = weights.shape[1]
    step = np.eye(d) + weights**2 / d
    before = np.linalg.matrix_power(step, d - 1)
    value = np.einsum("sij,sji->s", before, step) - d
    return Cyclicity(value=np.maximum(value, 0.0), gradient=2 * before.transpose(0, 2, 1) * weights)


def dagma(weights: Float[np.ndarray, "samples nodes nodes"], *, bound: float = 1.0) -> Cyclicity:
    """Measure cycles by a log determinant, which does not fade for long or weak cycles.

    Parameters
    ----------
    weights : of edges from a row's node to a column's.
    bound : s; the largest eigenvalue of W * W has to be smaller. Of a graph without a cycle it is 0.

    Notes
    -----
    -log det(s I - W * W) + d log s. On its domain s I - W * W is an M-matrix, whose inverse has no negative entry;
    outside of it the value is infinite.

    References
    ----------
    Bello, Aragam, Ravikumar (2022), DAGMA, doi:10.48550/arXiv.2209.08037.
    """
    if not bound > 0:
        raise InputError(f"bound must be positive; got {bound:g}")
    d = weights.shape[1]
    matrix = bound * np.eye(d) - weights**2
    sign, logarithm = np.linalg.slogdet(matrix)
    inside = sign > 0
    inverse = np.zeros_like(weights)
    inverse[inside] = np.linalg.inv(matrix[inside])
    flat = inverse.reshape(len(inverse), -1)
    inside &= flat.min(axis=1, initial=0.0) >= -_ROUNDING * np.abs(flat).max(axis=1, initial=0.0)
    value = np.where(inside, np.maximum(d * np.log(bound) - logarithm, 0.0), np.inf)
    gradient = np.where(inside[:, None, None], 2 * inverse.transpose(0, 2, 1) * weights, 0.0)
    return Cyclicity(value=value, gradient=gradient)


LOSSES: dict[str, Callable[[np.ndarray], Cyclicity]] = {
    "dagma": dagma,
    "exponential": exponential,
    "polynomial": polynomial,
}


def measure_cycles(
    weights: Float[np.ndarray, "samples nodes nodes"], kind: Acyclicity, *, bound: float = 1.0
) -> Cyclicity:
    """Measure cycles of graphs.

    Parameters
    ----------
    weights : of edges from a row's node to a column's.
    kind : of loss.
    bound : of `dagma`.
    """
    checks.one_of("acyclicity", kind, get_args(Acyclicity))
    return dagma(weights, bound=bound) if kind == "dagma" else LOSSES[kind](weights)
