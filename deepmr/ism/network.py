"""One member made ready for windows: weights laid out, the order of computation, and what the reference must keep."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import fx, nn

from deepmr.ism import rows, weights
from deepmr.ism.graph import Graph, Node, operation_name, sized_values, static_values, target_of
from deepmr.ism.intervals import Interval, affected, needed
from deepmr.ism.references import References, reference_values
from deepmr.ism.rows import Taps

STILL = ("relu", "map", "scale", "add", "mul")  # positions stay where they are
MOST_WINDOWS = 4096  # whose intervals are remembered: pairs of distant edits make one each


class Step:
    """A value that is computed as a whole window, or a full value; the names of those that nobody reads afterwards."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.done: list[str] = []


class Network:
    """A graph with the weights of one member.

    Parameters
    ----------
    graph : of the architecture.
    module : the member.
    """

    def __init__(self, graph: Graph, module: nn.Module) -> None:
        self.graph = graph
        self.static = static_values(graph, module)
        self.needed = needed(graph)
        self.users = graph.users()
        self.factors: dict[str, Any] = {}
        self.taps: dict[str, Taps] = {}
        self.dense: dict[str, Float[torch.Tensor, "out positions channels"]] = {}
        self.source: dict[str, str] = {}
        for node in graph.nodes.values():
            self._prepare(node)
        self.stored = {node.name for node in graph.nodes.values() if self._must_store(node)}
        self.leading: dict[str, Node] = {}
        self.least: dict[str, int] = {}
        self.steps, self.width = self._order()
        self.kept = self._kept()
        self.workspace = rows.Workspace()
        self._spans: dict[Interval, dict[str, Interval]] = {}

    def references(self, onehot: Float[torch.Tensor, "loci 4 length"]) -> References:
        """Compute the unedited sequences once."""
        return References(self.graph, reference_values(self.graph, self.static, onehot, keep=self.kept))

    def spans(self, window: Interval) -> dict[str, Interval]:
        """Return the positions of every local value that edits inside a window change."""
        if window not in self._spans:
            if len(self._spans) >= MOST_WINDOWS:
                self._spans.clear()
            self._spans[window] = affected(self.graph, self.needed, window)
        return self._spans[window]

    def _prepare(self, node: Node) -> None:
        """Lay out the weights of an operation, and say which value it computes: a view is its input."""
        static = self.static
        self.source[node.name] = node.name
        if node.kind == "alias":
            self.source[node.name] = self.source[node.inputs[0]]
        elif node.kind == "conv":
            self.taps[node.name] = weights.taps_of(node, static)
        elif node.kind == "scale":
            factor = weights.factor_of(node, static)
            before = self.source[node.inputs[0]]
            if before in self.taps and self._alone(node.inputs[0]) and weights.is_by_channel(factor):
                self.taps[before] = weights.scaled(self.taps[before], factor)
                self.source[node.name] = before
            else:
                self.factors[node.name] = factor
        elif node.kind == "avg_pool":
            self.factors[node.name] = weights.counts_of(node, self.graph.nodes[node.inputs[0]], static)
        elif node.kind == "dense":
            self.dense[node.name] = weights.dense_of(node, self.graph.nodes[node.inputs[0]], static)

    # -- order -----------------------------------------------------------------------------------------------

    def readers(self, name: str) -> list[Node]:
        """Return who reads a value, seen through views of it."""
        found = []
        for node in self.users[name]:
            through = self.source[node.name] == self.source[name]
            found += self.readers(node.name) if through else [node]
        return found

    def _alone(self, name: str) -> bool:
        """Whether each view from a value's origin to it has one reader and is no output."""
        while True:
            if len(self.users[name]) != 1 or name in self.graph.outputs:
                return False
            node = self.graph.nodes[name]
            if node.kind != "alias":
                return True
            name = node.inputs[0]

    def _must_store(self, node: Node) -> bool:
        if not node.local or node.kind == "input" or self.source[node.name] != node.name:
            return False
        readers = self.readers(node.name)
        wide = any((reader.kind == "conv" and not _pointwise(reader)) or reader.kind == "mul" for reader in readers)
        twice = any([self.source[name] for name in reader.inputs].count(node.name) > 1 for reader in readers)
        return wide or twice or len(readers) > 1 or self.is_output(node.name)

    def is_output(self, name: str) -> bool:
        """Whether a value is what the network returns, perhaps through views."""
        return any(self.source[output] == name for output in self.graph.outputs)

    def _order(self) -> tuple[list[Step], dict[str, float]]:
        """List what is computed as a whole, in order, and how wide a position is on the way there."""
        steps: dict[str, Step] = {}
        last: dict[str, str] = {}
        width: dict[str, float] = {}
        for node in self.graph.nodes.values():
            if node.local:
                self._widen(node, width)
            if node.name in self.stored or not node.local:
                steps[node.name] = Step(node.name)
                for name in self._reads(node):
                    last[name] = node.name
        for name, step in last.items():
            if not self.is_output(name):
                steps[step].done.append(name)
        return list(steps.values()), width

    def _widen(self, node: Node, width: dict[str, float]) -> None:
        """Follow a value back to what is stored: how wide its rows get, and which convolution is on the way."""
        kernel, ratio = 1, 1.0
        largest = float(node.channels)
        if node.kind == "conv":
            self.leading[node.name] = node
            kernel = node.options["kernel"]
        else:
            for name in node.inputs:
                source = self.graph.nodes[self.source[name]]
                if source.name in self.stored or source.kind == "input":
                    continue
                ratio = source.length / max(1, node.length)
                largest = max(largest, width[source.name] * ratio)
                kernel = max(kernel, self.least[source.name])
                if source.name in self.leading and node.kind in STILL:
                    self.leading[node.name] = self.leading[source.name]
        width[node.name] = largest
        # A convolution of many taps loses more at the edges of small parts than the cache can give.
        many = kernel > rows.MOST_CUT_TAPS
        self.least[node.name] = math.ceil((3 if node.kind == "conv" else 1) * kernel / ratio) if many else 1

    def _reads(self, node: Node) -> set[str]:
        """Return the stored and full values that a value is computed from."""
        found: set[str] = set()
        for name in node.inputs:
            source = self.source[name]
            if source in self.stored or not self.graph.nodes[source].local or self.graph.nodes[source].kind == "input":
                found.add(source)
            else:
                found |= self._reads(self.graph.nodes[source])
        return found

    def _kept(self) -> set[str]:
        """Return the values whose reference is needed."""
        found: set[str] = set(self.graph.outputs)
        for node in self.graph.nodes.values():
            if node.kind in ("relu", "mul", "max"):
                found.update(node.inputs)
            elif node.kind in ("map", "max_pool", "cells"):
                found.update((*node.inputs, node.name))
            elif node.kind == "call":
                found.update(name for name in node.inputs if not self.is_raw(name))
                found.update(() if self.is_raw(node.name) else (node.name,))
        return found

    # -- operations of the trace ------------------------------------------------------------------------------

    def is_raw(self, name: str) -> bool:
        """Whether a full value is kept itself, not its change: several tensors, or the batch not its first axis."""
        return bool(self.graph.nodes[name].options.get("raw", False))

    def is_relu(self, node: Node) -> bool:
        """Whether a call is a ReLU."""
        return operation_name(self.graph.operations[node.name]) == "relu"

    def run(self, node: Node, values: Mapping[str, Any], batch: int) -> Any:
        """Run an operation of the trace for a batch of sequences."""
        return self._call(node, values, batch, {})

    def run_in_double(self, node: Node, values: Mapping[str, torch.Tensor], batch: int) -> torch.Tensor:
        """Run an operation of the trace in double precision: for vectors, where it costs nothing."""
        names = [source.name for source in self.graph.operations[node.name].all_input_nodes]
        static = {name: _double(self.static[name]) for name in names if name in self.static}
        found: torch.Tensor = self._call(node, {**static, **{k: _double(v) for k, v in values.items()}}, batch, {})
        return found

    def apply(self, node: Node, value: torch.Tensor) -> torch.Tensor:
        """Run an operation that acts on each position by itself, or along one axis; channels come last."""
        dim = {"dim": node.options["dim"]} if "dim" in node.options else {}
        second = bool(node.options.get("second"))  # PyTorch wants its channels behind the batch
        found: torch.Tensor = self._call(node, {node.inputs[0]: value.movedim(-1, 1) if second else value}, 1, dim)
        return found.movedim(1, -1) if second else found

    def homogeneous(self, node: Node, changes: Mapping[str, Any], batch: int) -> Any:
        """Run a linear operation on changes: without its bias or mean."""
        traced: Any = self.graph.operations[node.name]
        name = operation_name(traced)
        if name == "getitem" and isinstance(changes[node.inputs[0]], torch.Tensor):
            return changes[node.inputs[0]]  # of a largest value, which is kept without its place
        if name in ("add", "sub") and len(node.inputs) == 1:
            change = changes[node.inputs[0]]
            alpha = traced.kwargs.get("alpha", 1)
            factor = -alpha if name == "sub" else alpha
            first, second = (getattr(value, "name", "") == node.inputs[0] for value in traced.args[:2])
            return change * (first + second * factor)
        if name == "linear" and changes[node.inputs[0]].ndim == 2:
            return rows.multiply(changes[node.inputs[0]], self.static[traced.args[1].name])
        if name in ("cat", "stack"):  # what does not depend on the sequence has no change
            others = {source.name for source in traced.all_input_nodes} - set(changes)
            fixed = {**self.static, **sized_values(self.graph, self.static, batch)} if others else {}
            changes = {**changes, **{other: torch.zeros_like(fixed[other]) for other in others}}
        return self._call(node, changes, batch, {"bias": None, "running_mean": self._zero_mean(traced)})

    def _zero_mean(self, traced: Any) -> torch.Tensor | None:
        """Return a mean of zero where the operation is a batch normalisation, its fourth argument."""
        return torch.zeros_like(self.static[traced.args[3].name]) if "batch_norm" in operation_name(traced) else None

    def _call(self, node: Node, values: Mapping[str, Any], batch: int, replaced: Mapping[str, Any]) -> Any:
        traced: Any = self.graph.operations[node.name]
        known = {**self.static, **values}
        if any(source.name not in known for source in traced.all_input_nodes):
            known.update(sized_values(self.graph, self.static, batch))
        args = fx.map_arg(traced.args, lambda source: known[source.name])
        named = fx.map_arg(traced.kwargs, lambda source: known[source.name])
        target = target_of(traced)
        schema = getattr(target, "_schema", None)
        if schema is None:
            return target(*args, **named)
        given = dict(zip((argument.name for argument in schema.arguments), args, strict=False)) | named
        return target(**given | {k: v for k, v in replaced.items() if k in given})


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def _pointwise(node: Node) -> bool:
    options = node.options
    return options["kernel"] == 1 and options["stride"] == 1 and options["left"] == 0
