"""One member made ready for windows: weights laid out, the order of computation, and what the reference must keep."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import fx, nn

from deepmr.ism import rows
from deepmr.ism.graph import Graph, Node, operation_name, sized_values, static_values, target_of
from deepmr.ism.intervals import Interval, needed
from deepmr.ism.layout import as_rows
from deepmr.ism.references import References, reference_values
from deepmr.ism.rows import Rows, Taps


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
        self.traced = {node.name: node for node in graph.traced.nodes}
        self.users = graph.users()
        self.factors: dict[str, Any] = {}
        self.taps: dict[str, Taps] = {}
        self.weights: dict[str, Float[torch.Tensor, "positions channels out"]] = {}
        self.source: dict[str, str] = {}
        for node in graph.nodes.values():
            self._prepare(node)
        self.stored = {node.name for node in graph.nodes.values() if self._must_store(node)}
        self.leading: dict[str, Node] = {}
        self.steps, self.width = self._order()
        self.kept = self._kept()
        self.workspace = rows.Workspace()

    def references(self, onehot: Float[torch.Tensor, "loci 4 length"]) -> References:
        """Compute the unedited sequences once."""
        return References(self.graph, reference_values(self.graph, self.static, onehot, keep=self.kept))

    # -- weights ---------------------------------------------------------------------------------------------

    def _prepare(self, node: Node) -> None:
        options = node.options
        self.source[node.name] = node.name
        if node.kind == "alias":
            self.source[node.name] = self.source[node.inputs[0]]
        elif node.kind == "conv":
            weight = self.static[options["weight"]].reshape(
                -1, self.static[options["weight"]].shape[1], options["kernel"]
            )
            self.taps[node.name] = self._make_taps(node, weight)
        elif node.kind == "scale":
            factor = self._factor(node)
            before = self.graph.nodes[self.source[node.inputs[0]]]
            if before.kind == "conv" and self._alone(node.inputs[0]) and _by_channel(factor):
                scale = factor.reshape(-1, 1, 1) if isinstance(factor, torch.Tensor) else factor
                weight = self.taps[before.name].weight[..., 0].double() * scale
                self.taps[before.name] = self._make_taps(before, weight.to(self._dtype(before)))
                self.source[node.name] = before.name
            else:
                self.factors[node.name] = factor.to(self._dtype(node)) if isinstance(factor, torch.Tensor) else factor
        elif node.kind == "avg_pool":
            self.factors[node.name] = rows.pool_counts(
                self.graph.nodes[node.inputs[0]].length, node.length, width=options["kernel"],
                stride=options["stride"], left=options["left"], count_padding=options["count_padding"],
                device=self._like().device, dtype=self._like().dtype,
            )  # fmt: skip
        elif node.kind == "dense":
            x = self.graph.nodes[node.inputs[0]]
            weight = self.static[options["weight"]]
            order = (2, 1, 0) if x.axes == ("cl",) else (1, 2, 0)
            shape = (x.channels, x.length) if x.axes == ("cl",) else (x.length, x.channels)
            self.weights[node.name] = weight.reshape(len(weight), *shape).permute(order).contiguous()

    def _make_taps(self, node: Node, weight: torch.Tensor) -> Taps:
        return rows.make_taps(weight, **{name: node.options[name] for name in ("stride", "dilation", "left", "groups")})

    def _factor(self, node: Node) -> Any:
        options = node.options
        if "batch_norm" in options:
            names = options["batch_norm"]
            scale = (self.static[names["running_var"]].double() + options["eps"]).rsqrt()
            if names["weight"] is not None:
                scale = scale * self.static[names["weight"]].double()
            return as_rows(scale.reshape(1, -1, *[1] * (len(node.shape) - 1)), node)
        factor = options.get("factor", options.get("divisor"))
        value = self.static[factor] if isinstance(factor, str) else factor
        value = as_rows(value.double(), node) if isinstance(value, torch.Tensor) else float(value)
        return 1 / value if "divisor" in options else value

    def _like(self) -> torch.Tensor:
        return next(v for v in self.static.values() if isinstance(v, torch.Tensor) and v.is_floating_point())

    def _dtype(self, node: Node) -> torch.dtype:
        value = self.traced[node.name].meta["val"]
        return (value[0] if isinstance(value, tuple | list) else value).dtype

    def dense_rows(self, node: Node, span: Interval) -> Float[torch.Tensor, "positions channels out"]:
        """Return the weights of a dense layer that a window meets."""
        return self.weights[node.name][span.start : span.stop]

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
        return wide or twice or len(readers) > 1 or self._is_output(node.name)

    def _is_output(self, name: str) -> bool:
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
            if not self._is_output(name):
                steps[step].done.append(name)
        return list(steps.values()), width

    def _widen(self, node: Node, width: dict[str, float]) -> None:
        largest = float(node.channels)
        if node.kind == "conv":
            self.leading[node.name] = node
        elif node.kind in ("relu", "map", "scale", "add", "mul"):  # positions stay where they are
            sources = [self.source[name] for name in node.inputs if self.source[name] not in self.stored]
            leading = [self.leading[name] for name in sources if name in self.leading]
            if leading:
                self.leading[node.name] = leading[-1]
        for name in node.inputs:
            source = self.graph.nodes[name]
            if self.source[name] not in self.stored and source.kind != "input" and node.kind != "conv":
                largest = max(largest, width[name] * source.length / max(1, node.length))
        width[node.name] = largest

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
            elif node.kind in ("map", "max_pool"):
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
        return operation_name(self.traced[node.name]) == "relu"

    def run(self, node: Node, values: Mapping[str, Any], batch: int) -> Any:
        """Run an operation of the trace for a batch of sequences."""
        return self._call(node, values, batch, {})

    def run_in_double(self, node: Node, values: Mapping[str, torch.Tensor], batch: int) -> torch.Tensor:
        """Run an operation of the trace in double precision: for vectors, where it costs nothing."""
        names = [source.name for source in self.traced[node.name].all_input_nodes]
        static = {name: _double(self.static[name]) for name in names if name in self.static}
        found: torch.Tensor = self._call(node, {**static, **{k: _double(v) for k, v in values.items()}}, batch, {})
        return found

    def apply(self, node: Node, value: Rows) -> Rows:
        """Run an operation that acts on each position by itself, channels last."""
        if node.options.get("second"):  # PyTorch wants its channels behind the batch
            return self._call(node, {node.inputs[0]: value.movedim(-1, 1)}, 1, {}).movedim(1, -1)  # type: ignore[no-any-return]
        found: Rows = self._call(node, {node.inputs[0]: value}, 1, {"dim": -1} if node.options.get("dim") else {})
        return found

    def homogeneous(self, node: Node, changes: Mapping[str, Any], batch: int) -> Any:
        """Run a linear operation on changes: without its bias or mean."""
        name = operation_name(self.traced[node.name])
        if name == "getitem" and isinstance(changes[node.inputs[0]], torch.Tensor):
            return changes[node.inputs[0]]  # of a largest value, which is kept without its place
        if name in ("add", "sub") and len(node.inputs) == 1:
            traced = self.traced[node.name]
            change = changes[node.inputs[0]]
            factor = traced.kwargs.get("alpha", 1) * (-1 if name == "sub" else 1)
            return change if getattr(traced.args[0], "name", "") == node.inputs[0] else factor * change
        return self._call(node, changes, batch, {"bias": None, "running_mean": 0})

    def _call(self, node: Node, values: Mapping[str, Any], batch: int, replaced: Mapping[str, Any]) -> Any:
        traced = self.traced[node.name]
        known = {**self.static, **values}
        if any(source.name not in known for source in traced.all_input_nodes):
            known.update(sized_values(self.graph, self.static, batch))
        target = target_of(traced)
        args = list(fx.map_arg(traced.args, lambda source: known[source.name]))
        named = dict(fx.map_arg(traced.kwargs, lambda source: known[source.name]))
        schema = getattr(target, "_schema", None)
        for k, argument in enumerate(schema.arguments if schema is not None and replaced else ()):
            if argument.name in replaced:
                value = replaced[argument.name]
                old = args[k] if k < len(args) else named.get(argument.name)
                value = torch.zeros_like(old) if argument.name == "running_mean" and old is not None else value
                if k < len(args):
                    args[k] = value
                else:
                    named[argument.name] = value
        return target(*args, **named)


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def _by_channel(factor: Any) -> bool:
    return not isinstance(factor, torch.Tensor) or len(factor) == 1


def _pointwise(node: Node) -> bool:
    options = node.options
    return options["kernel"] == 1 and options["stride"] == 1 and options["left"] == 0
