"""One operation of a trace, its arguments by name."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from deepmr.ism.graph import Axes, Kind, Node, operation_name


class Operation:
    """One call in the trace.

    Attributes
    ----------
    inputs : the values it reads that depend on the sequence, each once.
    arguments : by their names in PyTorch's schema.
    shape : of its result, without the batch.
    raw : whether the result has no change to speak of: several tensors, one whose first axis is not the batch, or whole
        numbers or booleans.
    vector : whether the result is (batch, features).
    """

    def __init__(self, node: fx.Node, nodes: Mapping[str, Node]) -> None:
        self.node = node
        self.name = operation_name(node)
        self.inputs = [nodes[source.name] for source in node.all_input_nodes if source.name in nodes]
        schema = getattr(node.target, "_schema", None)
        self.arguments: dict[str, Any] = dict(node.kwargs)
        if schema is not None:
            given = zip(schema.arguments, node.args, strict=False)
            defaults = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
            self.arguments = {**defaults, **{a.name: value for a, value in given}, **node.kwargs}
        value: Any = node.meta.get("val")
        if self.name == "_native_batch_norm_legit_no_training":
            value = value[0]  # the others are statistics that it does not compute
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else ()
        self.shape = tuple(n if isinstance(n, int) else -1 for n in shape[1:])
        moved = not shape or not isinstance(shape[0], torch.SymInt) or not shape[0].node.expr.is_symbol
        self.raw = moved or not value.is_floating_point()
        self.vector = len(shape) == 2

    def reads(self, name: str) -> int:
        """Return how many arguments are a value."""
        return sum(isinstance(value, fx.Node) and value.name == name for value in self.arguments.values())

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument; a static value by its name in the trace."""
        value = self.arguments.get(name, default)
        return value.name if isinstance(value, fx.Node) else value

    def make(
        self, kind: Kind, axes: Axes, options: Mapping[str, Any] | None = None, inputs: tuple[str, ...] | None = None
    ) -> Node:
        """Make the node of this operation."""
        return Node(
            name=self.node.name,
            kind=kind,
            inputs=tuple(node.name for node in self.inputs) if inputs is None else inputs,
            options=dict(options or {}),
            shape=self.shape,
            axes=axes,
        )
