"""Which positions of every value an edit can change, and which the outputs need: integers, before anything is computed.

Intervals are half-open. A window of the input, wherever it lies, becomes one interval a value: the same for every
sequence, every edit inside the window and every member.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from deepmr.ism.graph import Graph, Node


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """Positions start to stop, stop excluded; empty where stop is not above start."""

    start: int
    stop: int

    def __len__(self) -> int:
        return max(0, self.stop - self.start)

    def __bool__(self) -> bool:
        return self.stop > self.start

    def __and__(self, other: "Interval") -> "Interval":
        return Interval(max(self.start, other.start), min(self.stop, other.stop))

    def __or__(self, other: "Interval") -> "Interval":
        """Return the hull: of two intervals apart, what lies between them too."""
        if not self or not other:
            return self or other
        return Interval(min(self.start, other.start), max(self.stop, other.stop))

    def outward(self, cell: int) -> "Interval":
        """Return the whole cells that an interval meets."""
        return Interval(self.start // cell * cell, -(-self.stop // cell) * cell)

    def shift(self, by: int) -> "Interval":
        """Return the interval moved to the right."""
        return Interval(self.start + by, self.stop + by)


NOTHING = Interval(0, 0)


def reaches(node: Node, changed: Interval) -> Interval:
    """Return the positions of a node's value that depend on positions of its input, within its length.

    Notes
    -----
    Output o of a convolution or pool of width k, stride s, dilation d and padding p reads inputs o s - p + j d,
    j = 0 ... k - 1.
    """
    if not changed:
        return NOTHING
    options = node.options
    if node.kind in ("conv", "max_pool", "avg_pool"):
        span, stride, left = (options["kernel"] - 1) * options["dilation"], options["stride"], options["left"]
        found = Interval(-((span - left - changed.start) // stride), (changed.stop - 1 + left) // stride + 1)
    elif node.kind == "slice":
        found = changed.shift(-options["start"])
    elif node.kind == "pad":
        found = changed.shift(options["left"])
    elif node.kind == "flip" and options["positions"]:
        found = Interval(node.length - changed.stop, node.length - changed.start)
    elif node.kind == "upsample":
        found = Interval(changed.start * options["factor"], changed.stop * options["factor"])
    elif node.kind == "cells":
        found = changed.outward(options["cell"])
    else:
        found = changed
    return (found & Interval(0, node.length)) or NOTHING


def reads(node: Node, wanted: Interval, length: int) -> Interval:
    """Return the positions of an input of `length` that some positions of a node's value are computed from."""
    if not wanted:
        return NOTHING
    options = node.options
    if node.kind in ("conv", "max_pool", "avg_pool"):
        span, stride, left = (options["kernel"] - 1) * options["dilation"], options["stride"], options["left"]
        found = Interval(wanted.start * stride - left, (wanted.stop - 1) * stride - left + span + 1)
    elif node.kind == "slice":
        found = wanted.shift(options["start"])
    elif node.kind == "pad":
        found = wanted.shift(-options["left"])
    elif node.kind == "flip" and options["positions"]:
        found = Interval(length - wanted.stop, length - wanted.start)
    elif node.kind == "upsample":
        found = Interval(wanted.start // options["factor"], -(-wanted.stop // options["factor"]))
    elif node.kind == "cells":
        found = wanted.outward(options["cell"])
    elif node.local:
        found = wanted
    else:
        found = Interval(0, length)
    return (found & Interval(0, length)) or NOTHING


def needed(graph: Graph) -> dict[str, Interval]:
    """Return the positions of every local value that the outputs of the network can see.

    Notes
    -----
    What a later crop throws away is never computed: with a network that reads 2,114 bases and looks at the middle
    thousand, edits near the ends change less and less of each layer.
    """
    found = {name: NOTHING for name, node in graph.nodes.items() if node.local}
    for name in graph.outputs:
        if graph.nodes[name].local:
            found[name] = Interval(0, graph.nodes[name].length)
    for node in reversed(list(graph.nodes.values())):
        wanted = found.get(node.name, Interval(0, 1))  # a full value is needed whole
        for source in node.inputs:
            if source in found:
                found[source] |= reads(node, wanted, graph.nodes[source].length)
    return found


def affected(graph: Graph, need: Mapping[str, Interval], window: Interval) -> dict[str, Interval]:
    """Return the positions of every local value that edits inside a window change and the outputs see."""
    found: dict[str, Interval] = {}
    for node in graph.nodes.values():
        if node.kind == "input":
            found[node.name] = window & need[node.name]
        elif node.local:
            hull = NOTHING
            for source in node.inputs:
                hull |= reaches(node, found[source])
            found[node.name] = (hull & need[node.name]) or NOTHING
    return found
