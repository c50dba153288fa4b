"""From weighted directed graphs to graphs without a cycle, many at once, and the order of nodes of such graphs."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from deepmr import checks
from deepmr.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Graphs without a cycle.

    Attributes
    ----------
    graphs : weights of the edges that are kept, unchanged, and 0 of the others.
    n_dropped : how many edges each has lost.
    threshold : size of the strongest edge that was lost; 0 where none was.
    """

    graphs: Float[np.ndarray, "samples nodes nodes"]
    n_dropped: Int[np.ndarray, "samples"]
    threshold: Float[np.ndarray, "samples"]


def acyclic(graphs: Float[np.ndarray, "samples nodes nodes"]) -> Bool[np.ndarray, "samples"]:
    """Say which graphs have no cycle.

    Parameters
    ----------
    graphs : an edge where a weight is not 0, from the row's node to the column's.

    Notes
    -----
    Nodes that no edge enters are taken out until none is left, or until only cycles and what follows them are.
    """
    edges = graphs != 0
    left = np.ones(graphs.shape[:2], dtype=bool)
    for _ in range(graphs.shape[1]):
        left &= (edges & left[:, :, None]).any(axis=1)
    return np.asarray(~left.any(axis=1))


def topological_order(graph: Float[np.ndarray, "nodes nodes"]) -> Int[np.ndarray, "nodes"]:
    """Return nodes so that every edge goes from an earlier to a later one; of several such orders the first.

    Parameters
    ----------
    graph : without a cycle.

    Raises
    ------
    InputError
        When there is a cycle.
    """
    edges, left, order = graph != 0, list(range(len(graph))), []
    while left:
        free = [node for node in left if not edges[left, node].any()]
        if not free:
            raise InputError(f"a graph without a cycle has an order; {len(left)} nodes here lie on or after a cycle")
        order.append(free[0])
        left.remove(free[0])
    return np.array(order, dtype=int)


def project(weights: Float[np.ndarray, "samples nodes nodes"]) -> Projection:
    """Drop edges until no cycle is left, the weakest first; a graph without a cycle stays as it is.

    Parameters
    ----------
    weights : of edges from a row's node to a column's; loops of a node to itself are dropped.

    Notes
    -----
    Of two edges between the same nodes the weaker goes (the later one, where they are equal). Then the smallest
    threshold is found from which on the edges have no cycle, and weaker ones come back, strongest first, where they
    close none. As edges above the threshold close no cycle among themselves, this is the same as to add every edge by
    strength where it closes none, which is what is done here. The graph so found is not always the nearest, which takes
    exponential time to find.
    """
    checks.finite("weights", weights)
    samples, d = weights.shape[:2]
    size = np.abs(weights)
    back = size.transpose(0, 2, 1)
    stronger = (size > back) | ((size == back) & np.tri(d, k=-1, dtype=bool).T)
    ranks = np.argsort(-np.where(stronger, size, 0.0).reshape(samples, -1), axis=1, kind="stable")
    kept = np.zeros(weights.shape, dtype=bool)
    reach = np.tile(np.eye(d, dtype=bool), (samples, 1, 1))
    every = np.arange(samples)
    for flat in ranks[:, : d * (d - 1) // 2].T:
        i, j = flat // d, flat % d
        free = stronger[every, i, j] & (size[every, i, j] > 0) & ~reach[every, j, i]
        kept[every, i, j] |= free
        through = reach[every, :, i][:, :, None] & reach[every, j, :][:, None, :]
        reach |= through & free[:, None, None]
    lost = ~kept & (size > 0)
    return Projection(
        graphs=np.where(kept, weights, 0.0),
        n_dropped=lost.sum(axis=(1, 2)),
        threshold=np.where(lost, size, 0.0).max(axis=(1, 2), initial=0.0),
    )


def structural_distance(
    found: Float[np.ndarray, "samples nodes nodes"], truth: Float[np.ndarray, "samples nodes nodes"]
) -> Int[np.ndarray, "samples"]:
    """Count pairs of nodes whose edge is missing, too many or the wrong way round.

    Parameters
    ----------
    found, truth : an edge where a weight is not 0.
    """
    wrong = (found != 0) != (truth != 0)
    pairs = wrong | wrong.transpose(0, 2, 1)
    return np.triu(pairs, k=1).sum(axis=(1, 2))
