"""How much arithmetic mutagenesis takes, by plain passes and by windows, before any is done."""

import math
from dataclasses import dataclass

import torch

from deepmr.ism.graph import Graph, Node, operation_name
from deepmr.ism.intervals import Interval, affected
from deepmr.ism.network import Network

WIDTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)
SAMPLED = 9  # windows over the sequence whose cost stands for all
REFERENCE_READS = 2  # of a value, while its change passes through an activation
GPU_SHARE = 1 / 4  # of its memory
PAIRED = ("scaled_dot_product_attention", "bmm", "baddbmm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a kind of device does in the time of one multiplication, from measurements: orders of magnitude will do.

    Attributes
    ----------
    call : multiplications that could be done while one operation of PyTorch is called.
    element : the same while an element of a value is read, changed and written by the passes between convolutions.
    memory : bytes for references and windows.
    window : bytes of the largest value of a window.
    """

    call: float
    element: float
    memory: int
    window: int


CPU = Machine(call=3e6, element=20.0, memory=2**28, window=2**26)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowCost:
    """What one edit takes, on average over the windows of a sequence.

    Attributes
    ----------
    multiplications : in convolutions and dense layers.
    elements : of all values.
    calls : operations, shared by the edits of a window.
    bytes : of all values that are held at once.
    largest : bytes of the largest value.
    """

    multiplications: float
    elements: float
    calls: int
    bytes: float
    largest: int


def machine_of(device: torch.device) -> Machine:
    """Return what is known of a device."""
    if device.type != "cuda":
        return CPU
    memory = int(torch.cuda.get_device_properties(device).total_memory * GPU_SHARE)
    return Machine(call=2e8, element=80.0, memory=memory, window=memory // 8)


def choose(network: Network, *, n_loci: int, per_position: float, machine: Machine = CPU) -> Schedule:
    """Choose the width of windows and the loci at once that cost least.

    Parameters
    ----------
    network : with its graph.
    n_loci : loci that there are at most.
    per_position : edits at a position, 3 for every single-base edit.
    machine : that it runs on.
    """
    plain = plain_cost(network.graph)
    options: list[tuple[float, Schedule]] = []
    for width in WIDTHS:
        cost = window_cost(network, width)
        edits = max(1, round(per_position * width))
        fit = machine.memory // (_reference_bytes(network) + edits * cost.bytes)
        loci = max(1, min(n_loci, int(fit), machine.window // (edits * cost.largest)))
        passed = cost.elements * (1 + REFERENCE_READS / edits)  # the edits of a window share their locus's reference
        work = cost.multiplications + machine.element * passed + machine.call * cost.calls / (edits * loci)
        references = 2 * plain / max(1.0, per_position * network.graph.length)
        speedup = plain / max(1.0, cost.multiplications + references)
        options.append((work, Schedule(width=width, n_loci=loci, speedup=speedup)))
    return min(options, key=lambda option: option[0])[1]


def plain_cost(graph: Graph) -> float:
    """Return the multiplications of one sequence through the network."""
    spans = {node.name: Interval(0, node.length) for node in graph.nodes.values() if node.local}
    return sum(_multiplications(graph, node, spans) for node in graph.nodes.values())


def window_cost(network: Network, width: int) -> WindowCost:
    """Return what an edit costs in windows of a width, as the mean over windows spread along the sequence."""
    graph, length = network.graph, network.graph.length
    blocks = -(-length // width)
    starts = sorted({(2 * k + 1) * blocks // (2 * SAMPLED) * width for k in range(SAMPLED)})
    nodes = [node for node in graph.nodes.values() if network.source[node.name] == node.name]
    multiplied = elements = 0.0
    largest = 1
    for start in starts:
        spans = affected(graph, network.needed, Interval(start, min(length, start + width)))
        multiplied += sum(_multiplications(graph, node, spans) for node in nodes)
        sizes = [_elements(node, spans) for node in nodes]
        elements += sum(sizes)
        largest = max(largest, *sizes)
    size = _itemsize(network)
    multiplied, elements = multiplied / len(starts), elements / len(starts)
    # Few values are held at a time: about the two that a layer reads and writes, and what a later layer adds.
    held = size * (3 * largest + elements / max(1, len(nodes)))
    return WindowCost(
        multiplications=multiplied, elements=elements, calls=len(nodes), bytes=held, largest=size * largest
    )


def _multiplications(graph: Graph, node: Node, spans: dict[str, Interval]) -> float:
    if node.kind == "conv":
        inputs = graph.nodes[node.inputs[0]]
        read, made = spans[inputs.name], spans[node.name]
        pairs = min(len(read) / node.options["stride"], len(made)) * node.options["kernel"]
        return pairs * inputs.channels * node.channels / node.options["groups"]
    if node.kind == "dense":
        inputs = graph.nodes[node.inputs[0]]
        return float(len(spans[inputs.name]) * inputs.channels * node.shape[0])
    return float(_weights(graph, node)) if node.kind in ("linear", "call") else 0.0


def _weights(graph: Graph, node: Node) -> int:
    """Return the size of the largest matrix of weights that an operation reads, times the positions that it makes."""
    operation = graph.operations[node.name]
    values = [source.meta.get("val") for source in operation.all_input_nodes]
    shapes = [tuple(value.shape) for value in values if isinstance(value, torch.Tensor)]
    if operation_name(operation) in PAIRED:  # every position with every other
        first, second = ([n for n in shape[1:] if isinstance(n, int)] for shape in shapes[:2])
        return 2 * math.prod(first) * max(1, *second[-2:])
    fixed = [shape for shape in shapes if len(shape) > 1 and all(isinstance(n, int) for n in shape)]  # no batch
    if not fixed:
        return 0
    if node.options.get("raw"):  # recurrent layers: all their weights at every position
        steps = [math.prod(n for n in shape[1:-1] if isinstance(n, int)) for shape in shapes if shape not in fixed]
        return sum(math.prod(shape) for shape in fixed) * max(1, *steps, 1)
    weight = max(fixed, key=math.prod)
    return math.prod(weight) * max(1, _size(node) // max(1, weight[0]))


def _elements(node: Node, spans: dict[str, Interval]) -> int:
    if node.local:
        return len(spans[node.name]) * node.channels
    return 4 * _size(node) if node.options.get("full_length") else _size(node)


def _size(node: Node) -> int:
    return math.prod(max(0, n) for n in node.shape)


def _itemsize(network: Network) -> int:
    return 8 if any(v.dtype == torch.float64 for v in network.static.values() if isinstance(v, torch.Tensor)) else 4


def _reference_bytes(network: Network) -> float:
    """Return the bytes of what is kept of a locus: activations have two values laid out."""
    nodes = [node for node in network.graph.nodes.values() if node.kind in ("relu", "map", "max_pool", "mul")]
    return _itemsize(network) * sum(3.0 * node.channels * node.length for node in nodes) + 1.0
