"""What windows start from: the unedited sequences, computed once."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float

from deepmr.ism.graph import Graph, Node, call, sized_values
from deepmr.ism.intervals import Interval
from deepmr.ism.layout import to_rows
from deepmr.ism.rows import Rows


def reference_values(
    graph: Graph, static: Mapping[str, Any], onehot: Float[torch.Tensor, "loci 4 length"], *, keep: Iterable[str]
) -> dict[str, torch.Tensor]:
    """Run the network on unedited sequences and keep some of its values, in PyTorch's layout."""
    wanted = set(keep)
    values: dict[str, Any] = {**static, **sized_values(graph, static, len(onehot)), graph.input.name: onehot}
    last = {source.name: node.name for node in graph.traced.nodes for source in node.all_input_nodes}
    for node in graph.traced.nodes:
        if node.op == "call_function" and node.name not in values:
            values[node.name] = call(node, values)
        for source in node.all_input_nodes:
            if last[source.name] == node.name and source.name not in wanted:
                values.pop(source.name, None)
    return {name: values[name] for name in wanted}


class References:
    """Values of unedited sequences, laid out as windows need them, each once it is asked for.

    Parameters
    ----------
    graph : of the network.
    values : name -> value in PyTorch's layout.
    chosen : which of the loci, and in which order; all by default.
    """

    def __init__(self, graph: Graph, values: Mapping[str, Any], chosen: torch.Tensor | None = None) -> None:
        self.graph = graph
        self.values = values
        self.chosen = chosen
        self._laid: dict[Any, Any] = {}

    def take(self, chosen: torch.Tensor) -> "References":
        """Return the references of some of the loci; what is laid out is shared."""
        part = References(self.graph, self.values, chosen)
        part._laid = self._laid
        return part

    def rows(self, name: str, span: Interval) -> Rows:
        """Return a value at some positions: (positions, 1, loci, channels)."""
        return self._choose(self._whole(name)[span.start : span.stop])

    def relu(self, node: Node, span: Interval) -> tuple[Rows, Rows]:
        """Return min(z, 0) and -relu(z) of what an activation reads."""
        if ("relu", node.name) not in self._laid:
            z = self._lay(node.inputs[0])
            self._laid["relu", node.name] = z.clamp(max=0), -z.clamp(min=0)
        below, minus = self._laid["relu", node.name]
        return self._choose(below[span.start : span.stop]), self._choose(minus[span.start : span.stop])

    def largest_outside(self, name: str, span: Interval) -> Float[torch.Tensor, "1 loci channels"]:
        """Return the largest value at any position outside an interval."""
        if ("max", name) not in self._laid:
            whole = self._whole(name)
            lowest = torch.full_like(whole[:1], -torch.inf)
            before = torch.cat([lowest, whole.cummax(0).values])
            after = torch.cat([whole.flip(0).cummax(0).values.flip(0), lowest])
            self._laid["max", name] = before, after
        before, after = self._laid["max", name]
        if not span:
            return self._choose(after[:1])[0]
        return self._choose(torch.maximum(before[span.start], after[span.stop])[None])[0]

    def full(self, name: str, edits: int) -> Any:
        """Return a value repeated for every edit: (edits * loci, ...)."""
        value = self.values[name]
        if self.chosen is not None:
            value = value[self.chosen]
        return value.expand(edits, *value.shape).reshape(-1, *value.shape[1:])

    def prepared(self, name: str, scalar: Any) -> Any:
        """Return what a scalar needs of an output's reference."""
        if self.chosen is not None:
            return scalar.prepare(self.of(name))
        key = ("scalar", name, scalar)
        if key not in self._laid:
            self._laid[key] = scalar.prepare(self.of(name))
        return self._laid[key]

    def of(self, name: str) -> torch.Tensor:
        """Return a value in PyTorch's layout: (loci, ...)."""
        value: torch.Tensor = self.values[name]
        return value if self.chosen is None else value[self.chosen]

    def _choose(self, laid: Rows) -> Rows:
        return laid if self.chosen is None else laid[:, :, self.chosen]

    def _whole(self, name: str) -> Rows:
        if name not in self._laid:
            self._laid[name] = self._lay(name)
        found: Rows = self._laid[name]
        return found

    def _lay(self, name: str) -> Rows:
        return to_rows(self.values[name], self.graph.nodes[name])[:, None]
