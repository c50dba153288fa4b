"""From PyTorch's operations to ours: by a rule where it acts alike at every position, else as a plain call."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.export.graph_signature import InputKind

from deepmr.ism.graph import CaptureError, Graph, Node, trace
from deepmr.ism.operation import Operation
from deepmr.ism.rules import CELL_RULES, RULES, alone

# Homogeneous and linear in what depends on the sequence: the change of the result is the operation on the change.
LINEAR = {
    *("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "permute", "transpose", "t"),
    *("slice", "select", "expand", "sum", "mean", "neg", "avg_pool1d", "avg_pool2d", "flip", "split"),
    *("split_with_sizes", "chunk", "unbind", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "repeat", "roll", "movedim"),
    *("upsample_nearest1d", "tile", "narrow", "swapaxes", "index_select"),
}


def capture(
    module: nn.Module,
    length: int,
    *,
    dtype: torch.dtype,
    device: torch.device,
    outputs: Sequence[int] | None = None,
) -> Graph:
    """Trace a network and say of each operation how it treats positions.

    Parameters
    ----------
    module : network (batch, 4, length) -> a tensor, or a tuple, list or dictionary of tensors.
    length : bases of a sequence.
    dtype, device : of its weights.
    outputs : which of its outputs are wanted, all by default; what only others need is left out.

    Raises
    ------
    CaptureError
        When the network cannot be traced.
    """
    exported = trace(module, length, dtype=dtype, device=device)
    weights, constants, sequence = {}, {}, None
    for spec in exported.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            sequence = spec.arg.name
        elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            weights[spec.arg.name] = str(spec.target)
        elif spec.kind is InputKind.CONSTANT_TENSOR:
            weights[spec.arg.name] = ""
            constants[spec.arg.name] = exported.constants[str(spec.target)]
        else:
            raise CaptureError(f"the trace needs an input of kind {spec.kind.name}")
    nodes: dict[str, Node] = {}
    returned: tuple[str, ...] = ()
    for node in exported.graph.nodes:
        if node.name == sequence:
            nodes[node.name] = Node(name=node.name, kind="input", inputs=(), shape=(4, length), axes=("c", "l"))
        elif node.op == "call_function":
            operation = Operation(node, nodes)
            if operation.inputs and not isinstance(node.meta.get("val"), torch.SymInt):
                nodes[node.name] = _lower(operation)
        elif node.op == "output":
            returned = tuple(source.name for source in node.args[0])
    if outputs is not None:
        if max(outputs) >= len(returned):
            raise CaptureError(f"it returns {len(returned)} outputs; output {max(outputs)} is wanted")
        returned = tuple(returned[k] for k in outputs)
    unknown = [name for name in returned if name not in nodes]
    if unknown:
        raise CaptureError(f"its output {unknown[0]!r} does not depend on the sequence")
    graph = Graph(
        traced=exported.graph, weights=weights, constants=constants, nodes=nodes, outputs=returned, length=length
    )
    return replace(graph, nodes=_needed(graph))


def _needed(graph: Graph) -> dict[str, Node]:
    """Keep what the outputs need: a head that nobody asked for costs nothing."""
    wanted = set(graph.outputs) | {graph.input.name}
    for node in reversed(list(graph.nodes.values())):
        if node.name in wanted:
            wanted.update(node.inputs)
    return {name: node for name, node in graph.nodes.items() if name in wanted}


def _lower(operation: Operation) -> Node:
    in_cells = any("k" in node.axes for node in operation.inputs)
    rule = (CELL_RULES if in_cells else RULES).get(operation.name)
    found = rule(operation, operation.inputs[0]) if rule and all(node.local for node in operation.inputs) else None
    return found or _full(operation)


def _full(operation: Operation) -> Node:
    """Run the operation on whole tensors: on their change where it is linear, else on both and take the difference."""
    raw = operation.raw
    long = any((node.local and node.length > 1) or node.options.get("full_length") for node in operation.inputs)
    linear = not raw and not any(node.options.get("raw") for node in operation.inputs) and _is_linear(operation)
    options = {"full_length": long and not (linear and operation.vector), "raw": raw}
    return operation.make("linear" if linear else "call", (), options)


def _is_linear(operation: Operation) -> bool:
    """Whether the change of the result is the operation, without its bias, on the changes of the inputs."""
    name, first = operation.name, operation.inputs[0]
    if name in ("cat", "stack"):
        return len(operation.inputs) == len(operation.node.all_input_nodes)  # a constant beside them would not change
    if name == "constant_pad_nd":
        return not operation.get("value")
    if name in LINEAR:
        return True
    if name == "getitem":
        if first.kind == "max" and operation.node.args[1] != 0:
            raise CaptureError("it uses the place of a largest value, which has no windowed form")
        return first.kind in ("linear", "max")
    if name in ("add", "sub"):
        return len(operation.inputs) == 2 or operation.shape == first.shape
    if name in ("mul", "matmul", "mm"):
        return alone(operation)
    if name in ("div", "linear", "conv1d", "conv2d"):
        return (
            operation.get("rounding_mode") is None
            and alone(operation)
            and operation.get("self", operation.get("input")) == first.name
        )
    return name in ("batch_norm", "_native_batch_norm_legit_no_training") and not operation.get("training")
