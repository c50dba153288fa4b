"""A network as a graph of operations that say how they treat positions.

It is captured once and shared by the members of one architecture.

`torch.export` traces the network; `lowering.py` turns each of its operations into a `Node` of one of the kinds below. A
value is *local* while it has a position axis that operations treat alike at every position: an edit then changes a
window of it. It is *full* once positions have been summed, flattened into a dense layer, or mixed by an operation that
no rule knows.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from torch import fx, nn

from deepmr.errors import DeepMRError

Kind = Literal[
    # local to local
    "input", "alias", "conv", "relu", "map", "scale", "shift", "add", "mul", "max_pool", "avg_pool", "slice", "pad",
    "flip", "upsample", "cat", "channels", "cells",
    # local to full
    "sum", "max", "dense", "whole",
    # full to full
    "linear", "call",
]  # fmt: skip
Axes = tuple[str, ...]  # what each dimension after the batch is: c, l, 1, a flattened cl or lc, or l in cells of k
BATCH = 2  # sequences in the example that a network is traced with; the trace holds for any number


class CaptureError(DeepMRError):
    """A network whose operations cannot be traced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operation on values that depend on the sequence.

    Attributes
    ----------
    inputs : names of the values it reads.
    options : numbers and names of static values that it needs; each kind has its own.
    shape : of its value, without the batch.
    axes : what these dimensions are; none for a full value.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...]
    axes: Axes = ()

    @property
    def local(self) -> bool:
        """Whether the value has a position axis."""
        return bool(self.axes)

    @property
    def length(self) -> int:
        """Positions of a local value."""
        return self._size("l")

    @property
    def channels(self) -> int:
        """Channels of a local value; a flattened axis is taken apart."""
        return self._size("c")

    def _size(self, letter: str) -> int:
        if "flat" in self.options:
            return int(self.options["flat"]["cl".index(letter)])
        cells = self.shape[self.axes.index("k")] if letter == "l" and "k" in self.axes else 1
        return cells * self.shape[self.axes.index(letter)] if letter in self.axes else 1


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A traced network.

    Attributes
    ----------
    traced : PyTorch's own graph: placeholders for weights and the sequence, then functional operations.
    weights : name of each placeholder -> name of the parameter or buffer; "" for a constant in `constants`.
    nodes : what depends on the sequence, in the order of computation.
    outputs : names of what the network returns.
    """

    traced: fx.Graph
    weights: Mapping[str, str]
    constants: Mapping[str, torch.Tensor]
    nodes: Mapping[str, Node]
    outputs: tuple[str, ...]
    length: int

    @cached_property
    def operations(self) -> dict[str, fx.Node]:
        """PyTorch's operations by name."""
        return {node.name: node for node in self.traced.nodes}

    @property
    def input(self) -> Node:
        """The sequence."""
        return next(node for node in self.nodes.values() if node.kind == "input")

    def users(self) -> dict[str, list[Node]]:
        """Return who reads each value."""
        found: dict[str, list[Node]] = {name: [] for name in self.nodes}
        for node in self.nodes.values():
            for name in dict.fromkeys(node.inputs):
                found[name].append(node)
        return found

    def at_full_length(self) -> list[Node]:
        """Return the operations that no rule confines to a window: they compute every position of every mutant."""
        return [node for node in self.nodes.values() if node.options.get("full_length", False)]


def trace(module: nn.Module, length: int, *, dtype: torch.dtype, device: torch.device) -> torch.export.ExportedProgram:
    """Trace a network into functional operations, for any number of sequences.

    Raises
    ------
    CaptureError
        When neither the network nor its symbolic trace can be exported: control flow that depends on the sequence,
        shapes that depend on data, code that PyTorch cannot follow.
    """
    example = (torch.zeros((BATCH, 4, length), dtype=dtype, device=device),)
    shapes = ({0: torch.export.Dim("batch", min=1, max=2**24)},)
    reasons = []
    attempts: list[Callable[[], nn.Module]] = [lambda: module, lambda: fx.symbolic_trace(module)]
    for attempt in attempts:
        try:
            with _quiet(), torch.no_grad():
                exported = torch.export.export(attempt(), example, dynamic_shapes=shapes, strict=False)
                return exported.run_decompositions({})  # functional; what PyTorch calls one operation stays one
        except Exception as error:  # tracing fails in as many ways as there are networks
            reasons.append(_reason(error))
    raise CaptureError(f"{type(module).__name__} cannot be traced ({reasons[0]})")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyTorch from printing the half-made graph of a network that it cannot trace."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _reason(error: Exception) -> str:
    if "data-dependent" in str(error).lower():
        return "its control flow or its shapes depend on the data"
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')[:200]}"


def static_values(graph: Graph, module: nn.Module) -> dict[str, Any]:
    """Evaluate what does not depend on the sequence for one member: its weights, and what is computed from them.

    Parameters
    ----------
    graph : traced from a network of the same architecture.
    module : the member.

    Raises
    ------
    CaptureError
        When the member lacks a weight, or has one of another shape.
    """
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    values: dict[str, Any] = {}
    for node in graph.traced.nodes:
        if node.op == "placeholder" and node.name in graph.weights:
            key = graph.weights[node.name]
            values[node.name] = graph.constants[node.name] if not key else _weight(state, key, node.meta["val"])
        elif node.op == "call_function" and all(source.name in values for source in node.all_input_nodes):
            if isinstance(node.meta.get("val"), torch.SymInt):
                continue
            values[node.name] = call(node, values)
    return values


def operation_name(node: fx.Node) -> str:
    """Return the name of an operation without its namespace and overload, such as conv1d."""
    schema = getattr(node.target, "_schema", None)
    return str(getattr(node.target, "__name__", node.target) if schema is None else schema.name.split("::")[-1])


def call(node: fx.Node, values: Mapping[str, Any]) -> Any:
    """Run one operation of the trace on the values of its inputs."""
    args = fx.map_arg(node.args, lambda source: values[source.name])
    named = fx.map_arg(node.kwargs, lambda source: values[source.name])
    return target_of(node)(*args, **named)


def target_of(node: fx.Node) -> Any:
    """Return the function of an operation; a view copies where the layout of its input asks for it."""
    views = (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default)
    return torch.ops.aten.reshape.default if node.target in views else node.target


def sized_values(graph: Graph, static: Mapping[str, Any], batch: int) -> dict[str, Any]:
    """Evaluate what depends on the number of sequences alone: sizes, and tensors made of them."""
    found: dict[str, Any] = {}
    for node in graph.traced.nodes:
        value = node.meta.get("val")
        if isinstance(value, torch.SymInt):
            expression = value.node.expr
            found[node.name] = int(expression.subs(dict.fromkeys(expression.free_symbols, batch)))
        elif node.op == "call_function" and node.name not in static:
            names = [source.name for source in node.all_input_nodes]
            if names and all(name in found or name in static for name in names):
                found[node.name] = call(node, {**static, **found})
    return found


def _weight(state: Mapping[str, torch.Tensor], key: str, traced: torch.Tensor) -> torch.Tensor:
    if key not in state or state[key].shape != traced.shape:
        raise CaptureError(f"the network has no weights {key!r} of shape {tuple(traced.shape)}")
    return state[key].detach()
