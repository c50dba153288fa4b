"""Rules: how operations of PyTorch treat positions, one small function a kind of operation.

A rule looks at one traced operation whose inputs all have a position axis and returns a `Node`, or None where it does
not hold: a reflecting padding, a softmax over positions, a changed number type. Such an operation runs at full length.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

from torch import fx

from deepmr.ism.graph import Axes, Kind, Node
from deepmr.ism.operation import Operation

Rule = Callable[[Operation, Node], Node | None]  # an operation, the first of its inputs

# Act on each element by itself; further arguments are numbers.
ELEMENTWISE = {
    *("gelu", "silu", "elu", "selu", "celu", "leaky_relu", "sigmoid", "tanh", "softplus", "hardtanh", "hardswish"),
    *("hardsigmoid", "relu6", "mish", "exp", "expm1", "log", "log1p", "log2", "sqrt", "rsqrt", "abs", "clamp", "erf"),
    *("log_sigmoid", "softsign", "threshold", "square", "reciprocal", "sin", "cos", "sign", "pow", "clamp_min"),
    *("clamp_max", "sinh", "cosh", "atan", "hardshrink", "softshrink", "logit", "exp2", "tanhshrink"),
}
# Return their input: dropout in evaluation mode, copies.
IDENTITY = {"clone", "alias", "detach", "contiguous", "dropout", "feature_dropout", "alpha_dropout", "lift_fresh_copy"}
FLAT = (("cl",), ("lc",))  # channels and positions in one axis, as a dense layer reads them


def flat_of(x: Node) -> dict[str, Any]:
    """Return what a flattened axis was made of, to hand on."""
    return {"flat": x.options["flat"]} if "flat" in x.options else {}


def alone(operation: Operation) -> bool:
    """Whether the operation reads one value that depends on the sequence, once."""
    return len(operation.inputs) == 1 and operation.reads(operation.inputs[0].name) == 1


def at(value: Any, dimension: int) -> int:
    """Return the entry of a size, stride or padding for one of the dimensions after the channels."""
    return int(value if isinstance(value, int) else value[dimension] if len(value) > 1 else value[0])


def axis_number(x: Node, dimension: int) -> int:
    """Return a dimension as PyTorch counts it, counted from the first after the batch; -1 for the batch."""
    return int(dimension % (len(x.shape) + 1)) - 1


def same(kind: Kind) -> Rule:
    """Return a rule for operations that leave the axes alone."""
    return lambda operation, x: operation.make(kind, x.axes, flat_of(x))


def elementwise(operation: Operation, x: Node) -> Node | None:
    """Take functions of each element."""
    if len(operation.node.all_input_nodes) != 1 or operation.shape != x.shape:
        return None
    return operation.make("map", x.axes, flat_of(x))


def convolution(operation: Operation, x: Node) -> Node | None:
    """Take conv1d along positions, and conv2d whose kernel is one wide across them."""
    if operation.get("input") != x.name or x.axes[0] != "c" or "l" not in x.axes:
        return None
    along = x.axes.index("l") - 1
    kernel = operation.arguments["weight"].meta["val"].shape[2:]
    padding = operation.get("padding")
    for k, n in enumerate(kernel):
        if k != along and (n != 1 or (not isinstance(padding, str) and at(padding, k))):
            return None
    width, dilation = int(kernel[along]), at(operation.get("dilation"), along)
    total = dilation * (width - 1)
    left = {"same": total // 2, "valid": 0}[padding] if isinstance(padding, str) else at(padding, along)
    options = {
        "weight": operation.get("weight"),
        "bias": operation.get("bias"),
        "kernel": width,
        "stride": at(operation.get("stride"), along),
        "dilation": dilation,
        "left": left,
        "groups": operation.get("groups"),
    }
    return operation.make("conv", x.axes, options)


def linear(operation: Operation, x: Node) -> Node | None:
    """Take a dense layer over the channels of each position, and one over flattened positions."""
    if operation.get("input") != x.name:
        return None
    names = {"weight": operation.get("weight"), "bias": operation.get("bias")}
    if x.axes in FLAT:
        return operation.make("dense", (), names)
    pointwise = {"kernel": 1, "stride": 1, "dilation": 1, "left": 0, "groups": 1}
    return operation.make("conv", x.axes, {**names, **pointwise}) if x.axes[-1] == "c" else None


def batch_norm(operation: Operation, x: Node) -> Node | None:
    """Take batch normalisation with the statistics of training: a factor a channel."""
    names = {name: operation.get(name) for name in ("weight", "bias", "running_mean", "running_var")}
    if operation.get("training") or x.axes[0] not in ("c", "cl", "lc") or names["running_mean"] is None:
        return None
    return operation.make("scale", x.axes, {"batch_norm": names, "eps": operation.get("eps"), **flat_of(x)})


def channel_norm(operation: Operation, x: Node) -> Node | None:
    """Take layer normalisation over the channels of each position, where they are the last axis."""
    if x.axes[-1] != "c" or list(operation.get("normalized_shape")) != [x.channels]:
        return None
    return operation.make("map", x.axes)


def channel_softmax(operation: Operation, x: Node) -> Node | None:
    """Take a softmax over the channels of each position."""
    over = x.axes[axis_number(x, operation.get("dim"))]
    return operation.make("map", x.axes, {"dim": -1}) if over == "c" else None


def pool(kind: Kind) -> Rule:
    """Return a rule for pools along positions."""

    def rule(operation: Operation, x: Node) -> Node | None:
        if x.axes[0] != "c" or "l" not in x.axes or operation.get("divisor_override"):
            return None
        along = x.axes.index("l") - 1
        sizes = operation.get("kernel_size")
        if any(at(sizes, k) != 1 for k in range(len(x.axes) - 1) if k != along):
            return None
        width, left = at(sizes, along), at(operation.get("padding"), along)
        if kind == "max_pool" and width == x.length and not left:
            return operation.make("max", ())
        options = {
            "kernel": width,
            "stride": at(operation.get("stride") or sizes, along),
            "dilation": at(operation.get("dilation", 1), along),
            "left": left,
            "count_padding": bool(operation.get("count_include_pad", True)),
        }
        return operation.make(kind, x.axes, options)

    return rule


def adaptive_pool(kind: Kind) -> Rule:
    """Return a rule for adaptive pools to a single position."""

    def rule(operation: Operation, x: Node) -> Node | None:
        sizes = operation.get("output_size")
        ones = all(n in (1, None) for n in ([sizes] if isinstance(sizes, int) else sizes))
        if not ones or x.axes[0] != "c":
            return None
        operation.shape = (x.shape[0], *[1] * (len(x.shape) - 1))  # of the largest, which comes with its place
        return operation.make(kind, (), {"mean": kind == "sum"})

    return rule


def reduction(kind: Kind) -> Rule:
    """Return a rule for the sum, mean or largest over positions."""

    def rule(operation: Operation, x: Node) -> Node | None:
        dims = operation.get("dim")
        dims = [dims] if isinstance(dims, int) else dims or range(len(x.shape) + 1)
        over = {axis_number(x, d) for d in dims}
        if -1 in over or {x.axes[d] for d in over} - {"1"} != {"l"} or operation.get("dtype") is not None:
            return None
        if kind == "max" and operation.name == "max":  # it returns values and places
            kept = [(d, 1 if d in over else n) for d, n in enumerate(x.shape)]
            operation.shape = tuple(n for d, n in kept if d not in over or operation.get("keepdim"))
        return operation.make(kind, (), {"mean": operation.name == "mean"})

    return rule


def part(operation: Operation, x: Node) -> Node | None:
    """Take a slice of positions or channels."""
    ends = [operation.arguments.get(name) for name in ("start", "end")]
    d = axis_number(x, operation.get("dim", 0))
    if d < 0 or operation.get("step", 1) != 1 or any(isinstance(end, fx.Node) for end in ends):
        return None
    start, stop, _ = slice(*ends).indices(x.shape[d])
    return _take(operation, x, d, start, stop)


def split(operation: Operation, x: Node) -> Node | None:
    """Take a split along positions or channels; `getitem` makes its parts."""
    d = axis_number(x, operation.get("dim", 0))
    if d < 0 or x.axes[d] not in ("c", "l"):
        return None
    widths = [piece.shape[d + 1] for piece in operation.node.meta["val"]]
    stops = [sum(widths[: k + 1]) for k in range(len(widths))]
    operation.shape = x.shape
    parts = [(stop - width, stop) for stop, width in zip(stops, widths, strict=True)]
    return operation.make("alias", x.axes, {"parts": parts, "part_axis": d})


def getitem(operation: Operation, x: Node) -> Node | None:
    """Take one result of an operation that has several."""
    index = operation.node.args[1]
    if "parts" in x.options:
        return _take(operation, x, x.options["part_axis"], *x.options["parts"][index])
    return operation.make("alias", x.axes, flat_of(x)) if index == 0 and x.kind == "scale" else None


def _take(operation: Operation, x: Node, d: int, start: int, stop: int) -> Node | None:
    if x.axes[d] == "l":
        return operation.make("slice", x.axes, {"start": start})
    if x.axes[d] == "c":
        return operation.make("channels", x.axes, {"start": start, "stop": stop})
    return operation.make("alias", x.axes, flat_of(x)) if operation.shape == x.shape else None


def pad(operation: Operation, x: Node) -> Node | None:
    """Take constants on either side of the positions."""
    if operation.get("mode", "constant") != "constant":
        return None
    sides = list(operation.get("pad"))
    left = 0
    for k, axis in enumerate(reversed(x.axes)):  # PyTorch lists the last dimension first
        before, after = sides[2 * k : 2 * k + 2] or (0, 0)
        if axis == "l":
            left = before
        elif before or after:
            return None
    return operation.make("pad", x.axes, {"left": left}) if len(sides) <= 2 * len(x.axes) else None


def flip(operation: Operation, x: Node) -> Node | None:
    """Take a reversal of positions or channels."""
    over = {x.axes[axis_number(x, d)] for d in operation.get("dims")}
    options = {"positions": "l" in over, "channels": "c" in over}
    return operation.make("flip", x.axes, options) if over <= {"c", "l"} else None


def view(operation: Operation, x: Node) -> Node | None:
    """Take views that only move, add, drop or join axes."""
    axes = list(x.axes)
    if operation.name == "permute":
        dims = [axis_number(x, d) for d in operation.get("dims")]
        return operation.make("alias", tuple(axes[d] for d in dims[1:]), flat_of(x)) if dims[0] == -1 else None
    if operation.name == "transpose":
        a, b = (axis_number(x, operation.get(name)) for name in ("dim0", "dim1"))
        axes[a], axes[b] = axes[b], axes[a]
        return operation.make("alias", tuple(axes), flat_of(x)) if min(a, b) >= 0 else None
    if operation.name == "unsqueeze":
        d = operation.get("dim") % (len(axes) + 2) - 1
        axes.insert(d, "1")
        return operation.make("alias", tuple(axes), flat_of(x)) if d >= 0 else None
    found = _viewed(x, operation.shape)
    if not found:
        return split_into_cells(operation, x)
    flat = {"flat": (x.channels, x.length)} if {"cl", "lc"} & set(found) else {}
    return operation.make("alias", found, flat)


def split_into_cells(operation: Operation, x: Node) -> Node | None:
    """Take the view of positions as cells of neighbours, (channels, cells, neighbours)."""
    shape = operation.shape
    whole = x.axes == ("c", "l") and len(shape) == 3 and shape[0] == x.channels and shape[1] * shape[2] == x.length
    return operation.make("alias", ("c", "l", "k")) if whole and shape[2] > 1 else None


def _viewed(x: Node, shape: tuple[int, ...]) -> Axes:
    """Return the axes of a view that drops or adds ones or joins channels and positions; none for another."""
    kept = [(axis, n) for axis, n in zip(x.axes, x.shape, strict=True) if axis != "1"]
    if len(kept) == 2 and shape == (math.prod(n for _, n in kept),):
        return ("".join(axis for axis, _ in kept),)
    found: list[str] = []
    for n in shape:
        if kept and n == kept[0][1]:
            found.append(kept.pop(0)[0])
        elif n == 1:
            found.append("1")
        else:
            return ()
    return () if kept else tuple(found)


def cast(operation: Operation, x: Node) -> Node | None:
    """Take casts to the same number type."""
    before, after = operation.node.all_input_nodes[0].meta["val"], operation.node.meta["val"]
    return operation.make("alias", x.axes, flat_of(x)) if before.dtype == after.dtype else None


def sum_of_two(operation: Operation, x: Node) -> Node | None:
    """Take sums and differences of two values of one shape, or of a value and a constant."""
    sign = (1 if operation.name == "add" else -1) * operation.get("alpha", 1)
    if any(node.shape != operation.shape or node.axes != x.axes for node in operation.inputs):
        return None
    if len(operation.inputs) == 2:
        return operation.make("add", x.axes, {"factors": (1, sign), **flat_of(x)})
    first = operation.get("self") == x.name
    factor = 1 + sign if not alone(operation) else 1 if first else sign
    if operation.name == "rsub":
        factor = sign
    return operation.make("scale", x.axes, {"factor": factor, **flat_of(x)})


def product(operation: Operation, x: Node) -> Node | None:
    """Take products of two values of one shape, or of a value and a constant."""
    if any(node.shape != operation.shape or node.axes != x.axes for node in operation.inputs):
        return None
    if not alone(operation):
        names = tuple(operation.get(name) for name in ("self", "other"))
        return operation.make("mul", x.axes, flat_of(x), inputs=names)
    factor = operation.get("other" if operation.get("self") == x.name else "self")
    return operation.make("scale", x.axes, {"factor": factor, **flat_of(x)})


def quotient(operation: Operation, x: Node) -> Node | None:
    """Take division by a constant."""
    if not alone(operation) or operation.get("self") != x.name or operation.shape != x.shape:
        return None
    if operation.get("rounding_mode") is not None:
        return None
    return operation.make("scale", x.axes, {"divisor": operation.get("other"), **flat_of(x)})


def concatenation(operation: Operation, x: Node) -> Node | None:
    """Take channels side by side; those that do not depend on the sequence have no change."""
    sources = operation.arguments["tensors"]
    d = axis_number(x, operation.get("dim", 0))
    if d < 0 or x.axes[d] != "c" or any(node.axes != x.axes for node in operation.inputs):
        return None
    known = {node.name for node in operation.inputs}
    starts = [0, *itertools.accumulate(source.meta["val"].shape[d + 1] for source in sources)]
    placed = [(source.name, start) for source, start in zip(sources, starts, strict=False) if source.name in known]
    options = {"starts": tuple(start for _, start in placed)}
    return operation.make("cat", x.axes, options, inputs=tuple(name for name, _ in placed))


def repeat(operation: Operation, x: Node) -> Node | None:
    """Take repeats of the channels: the same value several times side by side."""
    times = list(operation.get("repeats"))
    channels = 1 + x.axes.index("c") if "c" in x.axes else -1
    if len(times) != len(x.axes) + 1 or any(n != 1 for d, n in enumerate(times) if d != channels):
        return None
    starts = tuple(k * x.channels for k in range(times[channels]))
    return operation.make("cat", x.axes, {"starts": starts}, inputs=(x.name,) * times[channels])


def upsample(operation: Operation, x: Node) -> Node | None:
    """Take repeats of every position."""
    if x.axes != ("c", "l") or operation.shape[1] % x.length:
        return None
    return operation.make("upsample", x.axes, {"factor": operation.shape[1] // x.length})


def prelu(operation: Operation, x: Node) -> Node | None:
    """Take a leaky ReLU whose slope is learned, one for all channels or one a channel."""
    slope = operation.arguments["weight"].meta["val"]
    if not alone(operation) or (slope.numel() > 1 and x.axes[0] != "c"):
        return None
    return operation.make("map", x.axes, {"second": slope.numel() > 1, **flat_of(x)})


# -- positions in cells, as pooling with weights from a softmax among neighbours has them ---------------------------


def pointwise(operation: Operation, x: Node) -> Node | None:
    """Take a convolution of single positions."""
    kernel = operation.arguments["weight"].meta["val"].shape[2:]
    plain = all(n == 1 for n in kernel) and set(operation.get("stride")) == {1}
    return convolution(operation, x) if plain else None


def cell_softmax(operation: Operation, x: Node) -> Node | None:
    """Take a softmax among the neighbours of a cell."""
    if x.axes[axis_number(x, operation.get("dim"))] != "k":
        return None
    return operation.make("cells", x.axes, {"cell": x.shape[x.axes.index("k")], "dim": 1})


def cell_sum(operation: Operation, x: Node) -> Node | None:
    """Take the sum or mean of the neighbours of a cell."""
    dims = operation.get("dim")
    dims = [dims] if isinstance(dims, int) else list(dims or [])
    if len(dims) != 1 or x.axes[axis_number(x, dims[0])] != "k" or operation.get("keepdim"):
        return None
    cell = x.shape[x.axes.index("k")]
    pool = {"kernel": cell, "stride": cell, "dilation": 1, "left": 0, "count_padding": True}
    return operation.make("avg_pool", ("c", "l"), {**pool, "total": operation.name == "sum"})


def between(rule: Rule) -> Rule:
    """Return a rule for two values in cells; a constant may differ from neighbour to neighbour."""
    return lambda operation, x: rule(operation, x) if len(operation.inputs) == 2 else None


CELL_RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(IDENTITY, same("alias")),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax"), cell_softmax),
    **dict.fromkeys(("sum", "mean"), cell_sum),
    **dict.fromkeys(("add", "sub"), between(sum_of_two)),
    "mul": between(product),
    "conv2d": pointwise,
    "relu": same("relu"),
}

RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(IDENTITY, same("alias")),
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze"), view),
    **dict.fromkeys(("permute", "transpose"), view),
    **dict.fromkeys(("_to_copy", "to"), cast),
    **dict.fromkeys(("batch_norm", "_native_batch_norm_legit_no_training"), batch_norm),
    **dict.fromkeys(("conv1d", "conv2d"), convolution),
    **dict.fromkeys(("max_pool1d", "max_pool2d"), pool("max_pool")),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d"), pool("avg_pool")),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax"), channel_softmax),
    **dict.fromkeys(("split", "split_with_sizes", "chunk"), split),
    **dict.fromkeys(("pad", "constant_pad_nd"), pad),
    **dict.fromkeys(("sum", "mean"), reduction("sum")),
    **dict.fromkeys(("max", "amax"), reduction("max")),
    **dict.fromkeys(("add", "sub", "rsub"), sum_of_two),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d"), adaptive_pool("sum")),
    "adaptive_max_pool1d": adaptive_pool("max"),
    "relu": same("relu"),
    "neg": lambda operation, x: operation.make("scale", x.axes, {"factor": -1, **flat_of(x)}),
    "mul": product,
    "div": quotient,
    "linear": linear,
    "layer_norm": channel_norm,
    "slice": part,
    "flip": flip,
    "repeat": repeat,
    "upsample_nearest1d": upsample,
    "prelu": prelu,
    "getitem": getitem,
    "cat": concatenation,
}
