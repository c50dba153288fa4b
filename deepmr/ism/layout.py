"""Between PyTorch's layout, batch first, and that of windows, positions first and channels last."""

from typing import Any

import torch
from jaxtyping import Float

from deepmr.ism.graph import Node
from deepmr.ism.rules import FLAT


def to_torch(x: Float[torch.Tensor, "positions rows channels"], node: Node) -> torch.Tensor:
    """Lay rows out as PyTorch does for a node: (rows, *shape)."""
    order = {"c": 2, "l": 0}
    letters = _letters(node)
    return x.permute(1, *(order[letter] for letter in letters)).reshape(x.shape[1], *node.shape)


def to_rows(value: Float[torch.Tensor, "batch *shape"], node: Node) -> Float[torch.Tensor, "positions batch channels"]:
    """Lay a local value out with positions first and channels last."""
    letters = _letters(node)
    sizes_of = {"c": node.channels, "l": node.length}
    plain = value.reshape(len(value), *(sizes_of[letter] for letter in letters))
    if letters == ["c"]:
        plain, letters = plain.unsqueeze(-1), ["c", "l"]
    if letters == ["l"]:
        plain, letters = plain.unsqueeze(1), ["c", "l"]
    return plain.permute(1 + letters.index("l"), 0, 1 + letters.index("c")).contiguous()


def _letters(node: Node) -> list[str]:
    """Return c and l in the order of the axes; positions in cells are positions still, cell by cell."""
    return [letter for axis in node.axes for letter in axis if letter not in "1k"]


def as_rows(value: torch.Tensor, node: Node) -> Any:
    """Lay a static factor of a local value out: a number, or (1 or positions, 1, 1, 1 or channels)."""
    if value.numel() == 1:
        return float(value)
    rank = len(node.shape) + 1
    aligned = value.reshape(*[1] * (rank - value.ndim), *value.shape)
    laid = to_rows(aligned.expand(1, *node.shape), node)[:, None]
    flat = node.axes in FLAT
    axes = node.axes or ()
    moves = flat or aligned.shape[1 + axes.index("l")] > 1
    return laid if moves else laid[:1]
