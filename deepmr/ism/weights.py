"""The weights of one member, laid out as windows need them."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float

from deepmr.ism import rows
from deepmr.ism.graph import Node
from deepmr.ism.layout import as_rows
from deepmr.ism.rows import Taps

Static = Mapping[str, Any]  # values that do not depend on the sequence, by their names in the trace
Factor = float | Float[torch.Tensor, "_ 1 1 _"]


def taps_of(node: Node, static: Static) -> Taps:
    """Return the weights of a convolution; a dense layer on the channels of each position is one."""
    options = node.options
    weight = static[options["weight"]]
    return rows.make_taps(
        weight.reshape(len(weight), weight.shape[1], options["kernel"]),
        stride=options["stride"],
        dilation=options["dilation"],
        left=options["left"],
        groups=options["groups"],
    )


def scaled(taps: Taps, factor: Factor) -> Taps:
    """Return a convolution whose result is multiplied: batch normalisation behind it costs nothing."""
    weight = taps.weight[..., 0]
    scale = factor.reshape(-1, 1, 1) if isinstance(factor, torch.Tensor) else factor
    return rows.make_taps(
        (weight.double() * scale).to(weight.dtype),
        stride=taps.stride,
        dilation=taps.dilation,
        left=taps.left,
        groups=taps.groups,
    )


def factor_of(node: Node, static: Static) -> Factor:
    """Return what a value is multiplied with: a number, or one for each channel, or one for each position too."""
    options = node.options
    if "batch_norm" in options:
        names = options["batch_norm"]
        variance = static[names["running_var"]]
        scale = (variance.double() + options["eps"]).rsqrt()
        if names["weight"] is not None:
            scale = scale * static[names["weight"]].double()
        factor = as_rows(scale.reshape(1, -1, *[1] * (len(node.shape) - 1)), node)
        return factor.to(variance.dtype) if isinstance(factor, torch.Tensor) else factor
    given = options["divisor"] if "divisor" in options else options["factor"]
    value = static[given] if isinstance(given, str) else given
    if not isinstance(value, torch.Tensor):
        return 1 / value if "divisor" in options else float(value)
    factor = as_rows(1 / value.double() if "divisor" in options else value.double(), node)
    return factor.to(value.dtype) if isinstance(factor, torch.Tensor) else factor


def is_by_channel(factor: Factor) -> bool:
    """Whether a factor is the same at every position."""
    return not isinstance(factor, torch.Tensor) or len(factor) == 1


def counts_of(node: Node, source: Node, static: Static) -> Float[torch.Tensor, "positions 1 1 1"]:
    """Return what an average pool divides by at each of its positions."""
    like = next((v for v in static.values() if isinstance(v, torch.Tensor) and v.is_floating_point()), torch.zeros(()))
    if node.options.get("total"):
        return like.new_ones((node.length, 1, 1, 1))
    return rows.pool_counts(
        source.length,
        node.length,
        width=node.options["kernel"],
        stride=node.options["stride"],
        left=node.options["left"],
        count_padding=node.options["count_padding"],
        device=like.device,
        dtype=like.dtype,
    )


def dense_of(node: Node, source: Node, static: Static) -> Float[torch.Tensor, "out positions channels"]:
    """Return the weights of a dense layer on flattened positions, so that those of a window lie side by side."""
    weight = static[node.options["weight"]]
    if source.axes == ("cl",):
        weight = weight.reshape(len(weight), source.channels, source.length).transpose(1, 2)
    return weight.reshape(len(weight), source.length, source.channels).contiguous()
