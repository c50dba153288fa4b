"""How much arithmetic mutagenesis takes, by plain passes and by windows, before any is done."""

from dataclasses import dataclass

import torch

from deepmr.ism.graph import Graph, Node
from deepmr.ism.intervals import Interval, affected
from deepmr.ism.network import Network

WIDTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)
SAMPLED = 5  # windows over the sequence whose cost stands for all
CALL = 2e6  # what one call of PyTorch costs, in multiplications that could be done meanwhile
ELEMENT = 12  # the same for an element that is read, changed and written
CPU_BYTES = 2**28
GPU_SHARE = 1 / 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How edits are put together.

    Attributes
    ----------
    width : positions of a window of edits.
    n_loci : loci at once.
    speedup : multiplications of plain passes over those of windows.
    """

    width: int
    n_loci: int
    speedup: float


def plain_cost(graph: Graph) -> float:
    """Return the multiplications of one sequence through the network."""
    spans = {node.name: Interval(0, node.length) for node in graph.nodes.values() if node.local}
    return sum(_multiplications(graph, node, spans) for node in graph.nodes.values())


def window_cost(network: Network, window: Interval) -> tuple[float, float, float]:
    """Return multiplications, elements passed over and calls for one edit in a window."""
    graph = network.graph
    spans = affected(graph, network.needed, window)
    multiplied = elements = calls = 0.0
    for node in graph.nodes.values():
        if network.source[node.name] != node.name:
            continue
        multiplied += _multiplications(graph, node, spans)
        if node.local:
            elements += len(spans[node.name]) * node.channels
        elif node.options.get("full_length"):
            elements += 4 * _size(node)
        calls += 1
    return multiplied, elements, calls


def _multiplications(graph: Graph, node: Node, spans: dict[str, Interval]) -> float:
    if node.kind == "conv":
        inputs = graph.nodes[node.inputs[0]]
        read, made = spans[inputs.name], spans[node.name]
        pairs = min(len(read) / node.options["stride"], len(made)) * node.options["kernel"]
        return pairs * inputs.channels * node.channels / node.options["groups"]
    if node.kind == "dense":
        inputs = graph.nodes[node.inputs[0]]
        return float(len(spans[inputs.name]) * inputs.channels * node.shape[0])
    if node.kind in ("linear", "call") and node.inputs:
        return float(_weights(graph, node))
    return 0.0


def _weights(graph: Graph, node: Node) -> float:
    """Return the size of the weights of a dense layer, or of a convolution times the positions that it makes."""
    traced = next(n for n in graph.traced.nodes if n.name == node.name)
    static = [n.meta["val"].shape for n in traced.all_input_nodes if n.name not in graph.nodes and "val" in n.meta]
    numel = max((torch.Size(shape).numel() for shape in static if len(shape) > 1), default=0)
    positions = max(1, _size(node) // static[0][0]) if static and len(static[0]) > 1 and static[0][0] else 1
    return float(numel * positions)


def _size(node: Node) -> int:
    return int(torch.Size(max(0, n) for n in node.shape).numel())


def choose(network: Network, *, n_loci: int, per_position: float, memory: int) -> Schedule:
    """Choose the width of windows and the loci at once that cost least.

    Parameters
    ----------
    network : with its graph.
    n_loci : loci that there are at most.
    per_position : edits at a position, 3 for every single-base edit.
    memory : bytes to use.
    """
    length = network.graph.length
    best: tuple[float, Schedule] | None = None
    plain = plain_cost(network.graph)
    for width in (w for w in WIDTHS if w <= max(1, length)):
        blocks = -(-length // width)
        starts = sorted({min(blocks - 1, (2 * k + 1) * blocks // (2 * SAMPLED)) * width for k in range(SAMPLED)})
        windows = [Interval(a, min(length, a + width)) for a in starts]
        costs = [window_cost(network, window) for window in windows]
        multiplied, elements, calls = (sum(cost[k] for cost in costs) / len(costs) for k in range(3))
        edits = max(1, round(per_position * width))
        loci = max(1, min(n_loci, int(memory // _bytes(network, elements, edits))))
        work = multiplied + ELEMENT * elements + CALL * calls / (edits * loci)
        if best is None or work < best[0]:
            speedup = plain / max(1.0, multiplied + plain * 2 / max(1.0, per_position * length))
            best = work, Schedule(width=width, n_loci=loci, speedup=speedup)
    assert best is not None
    return best[1]


def _bytes(network: Network, elements: float, edits: int) -> float:
    """Return the bytes that a locus takes: its reference, laid out, and the changes that are held at once."""
    graph = network.graph
    size = 8 if any(v.dtype == torch.float64 for v in network.static.values() if isinstance(v, torch.Tensor)) else 4
    local = [node for node in graph.nodes.values() if node.local]
    reference = sum(2 * node.channels * node.length for node in local if node.kind in ("relu", "map", "max_pool"))
    full = sum(_size(node) for node in graph.nodes.values() if node.options.get("full_length"))
    held = elements / max(1, len(local)) * 6 + 2 * full
    return size * (reference + edits * held) + 1
