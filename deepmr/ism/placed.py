"""Indices of groups of edits on the device, all copied at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int

from deepmr.ism.intervals import Interval
from deepmr.ism.schedule import Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A group whose loci are counted from the first of those whose references are held.

    Attributes
    ----------
    window, loci, offset, slot, column, base : as of the group.
    shape : slots, loci.
    rows : of the variants.
    used : slots that they are in, slots and loci flattened.
    """

    window: Interval
    shape: tuple[int, int]
    loci: Int[torch.Tensor, "chosen"]
    offset: Int[torch.Tensor, "substitutions"]
    slot: Int[torch.Tensor, "substitutions"]
    column: Int[torch.Tensor, "substitutions"]
    base: Int[torch.Tensor, "substitutions"]
    rows: Int[torch.Tensor, "variants"]
    used: Int[torch.Tensor, "variants"]


def place(groups: Sequence[Group], *, first: int, device: torch.device) -> Iterator[Placed]:
    """Yield groups with their indices on the device.

    Parameters
    ----------
    groups : of loci whose references are held together.
    first : row of the first of these loci.
    """
    arrays = []
    for group in groups:
        flat = group.variants.ravel()
        used = np.flatnonzero(flat >= 0)
        arrays += [group.loci - first, group.offset, group.slot, group.column, group.base, flat[used], used]
    if not arrays:
        return
    parts = iter(torch.split(to_device(np.concatenate(arrays), device), [len(array) for array in arrays]))
    for group in groups:
        names = ("loci", "offset", "slot", "column", "base", "rows", "used")
        found = {name: next(parts) for name in names}
        yield Placed(window=group.window, shape=(group.variants.shape[0], group.variants.shape[1]), **found)


def to_device(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """Copy an array; a GPU goes on meanwhile, where a plain copy would wait until it has nothing left to do."""
    host = torch.tensor(values)
    return host.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else host.to(device)
