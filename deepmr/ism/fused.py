"""What follows a convolution in one pass over memory, on a GPU: its activation, and the residual connection around it.

    out[p] = max(change[p] + min(z[p], 0), -relu(z[p])) + (residual[p - first] where it covers p, else 0)

PyTorch reads or writes the window seven times for that, this kernel three times. Triton compiles it; where there is no
Triton, or DEEPMR_NO_TRITON=1 says so, or it fails, the same sums are done by PyTorch, to the last digit.
"""

from __future__ import annotations  # tl is imported late

import functools
import inspect
import logging
import os
from typing import Any

import torch
from jaxtyping import Float

from deepmr.ism.naive import out_of_memory

log = logging.getLogger(__name__)

BLOCK = 1024  # elements a program of the kernel takes
MOST = 2**31  # elements of a position, so that they are numbered in 32 bits
tl: Any = None  # triton.language, once it is needed
_failed: list[str] = []  # why the kernel is not tried again

Changes = Float[torch.Tensor, "positions edits loci channels"]
Reference = Float[torch.Tensor, "positions 1 loci channels"]
Residual = Float[torch.Tensor, "some edits loci channels"]


def available(device: torch.device) -> bool:
    """Say whether the kernel runs on a device, as far as is known."""
    return device.type == "cuda" and not _failed and _compiled() is not None


def relu_change_add(
    change: Changes, below: Reference, minus: Reference, *, residual: Residual | None, first: int, out: Changes
) -> Changes:
    """Write the change of an activation plus another change into `out`, and return it.

    Parameters
    ----------
    change : d, of what the activation reads; may be `out` itself.
    below, minus : min(z, 0) and -relu(z) of the reference.
    residual : change to add at positions first, first + 1, ...; None for none.
    out : contiguous for the kernel.
    """
    if available(change.device) and _takes(change, out):
        try:
            _launch(change, below, minus, residual, first, out)
        except Exception as error:
            if out_of_memory(error):
                raise
            _failed.append(str(error))
            said = next(iter(str(error).splitlines()), "")
            log.warning("Triton does not work here (%s: %s); going on without", type(error).__name__, said)
        else:
            return out
    torch.add(change, below, out=out)
    torch.maximum(out, minus, out=out)
    if residual is not None:
        out[first : first + len(residual)] += residual
    return out


def _takes(change: Changes, out: Changes) -> bool:
    known = change.dtype in (torch.float32, torch.float64)
    return known and out.is_contiguous() and change.numel() > 0 and change[0].numel() < MOST


def _launch(
    change: Changes, below: Reference, minus: Reference, residual: Residual | None, first: int, out: Changes
) -> None:
    positions, edits, loci, channels = change.shape
    row = loci * channels
    blocks = -(-edits * row // BLOCK)
    with torch.cuda.device_of(out):  # type: ignore[no-untyped-call]  # Triton launches on the current device
        _compiled()[(positions * blocks,)](
            change.contiguous(), below.contiguous(), minus.contiguous(),
            out if residual is None else residual.contiguous(), out,
            edits * row, row, blocks, first, first + (0 if residual is None else len(residual)),
            BLOCK=BLOCK, enable_fp_fusion=False,
        )  # fmt: skip


@functools.cache
def _compiled() -> Any:
    """Return the kernel, compiled at its first launch; None where Triton is missing or not wanted."""
    global tl
    if os.environ.get("DEEPMR_NO_TRITON") == "1":
        log.debug("DEEPMR_NO_TRITON=1: no Triton")
        return None
    try:
        import triton
        from triton import language as tl
    except Exception as error:  # an installation can be broken in many ways
        log.debug("no Triton: %s", error)
        return None
    return triton.jit(inspect.unwrap(_kernel), do_not_specialize=["blocks", "first", "last"])


def _kernel(change, below, minus, residual, out, size, row, blocks, first, last, BLOCK: tl.constexpr):  # type: ignore
    """Take one block of one position: it has `size` elements; its reference has `row`, the same for every edit."""
    position = (tl.program_id(0) // blocks).to(tl.int64)
    at = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    reference = position * row + at % row
    value = tl.load(change + position * size + at, mask=inside) + tl.load(below + reference, mask=inside)
    least = tl.load(minus + reference, mask=inside)
    value = tl.where(value < least, least, value)  # NaN stays
    if (position >= first) & (position < last):
        value += tl.load(residual + (position - first) * size + at, mask=inside)
    tl.store(out + position * size + at, value, mask=inside)
