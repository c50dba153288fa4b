"""Arithmetic on windows of changes, laid out (positions, edits, loci, channels).

Positions come first, so that any run of them is one block of memory; then the edits of a window, which share the
reference of their locus; channels last. A convolution over positions is then a two-dimensional one in channels-last
layout whose kernel is one wide: positions are its height, edits and loci its width. Rows of padding cost nothing there,
so only taps that meet a changed position are multiplied.
"""

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch.nn import functional

from deepmr.ism.intervals import Interval

MOST_CUT_TAPS = 5
LARGE_LAYER = 2**15  # weights
VECTOR = 16  # numbers that a core multiplies at once
Rows = Float[torch.Tensor, "_ _ _ _"]  # positions, edits, loci, channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Taps:
    """Weights of a convolution along positions, ready for windows.

    Attributes
    ----------
    weight : (out, in / groups, width, 1).
    matrices : (width, in, out), for devices where a product a tap is faster; None where it is not.
    left : zeros before the first position.
    some : weights of some neighbouring taps, the first to the last excluded, laid out alike; all of them where few.
    wide : the same convolution, `together` neighbouring positions at once, for few output channels.
    """

    weight: Float[torch.Tensor, "out in width 1"]
    matrices: Float[torch.Tensor, "width in out"] | None
    stride: int
    dilation: int
    left: int
    groups: int
    some: Mapping[tuple[int, int], Float[torch.Tensor, "out in _ 1"]]
    together: int = 1
    wide: "Taps | None" = None


def make_taps(
    weight: Float[torch.Tensor, "out in width"], *, stride: int, dilation: int, left: int, groups: int
) -> Taps:
    """Prepare weights: on a CPU PyTorch's convolution is fast in float32 alone; elsewhere a product a tap is."""
    direct = (weight.device.type == "cpu" and weight.dtype == torch.float32) or groups > 1
    matrices = None if direct else weight.permute(2, 1, 0).contiguous()
    # A copy: PyTorch takes any stride of the last axis for channels last, and grouped convolutions then misread it.
    laid = torch.empty_like(weight.unsqueeze(-1), memory_format=torch.channels_last).copy_(weight.unsqueeze(-1))
    width = weight.shape[2]
    few = itertools.combinations(range(width + 1), 2) if width <= MOST_CUT_TAPS else [(0, width)]
    some = {(a, b): laid[:, :, a:b].contiguous(memory_format=torch.channels_last) for a, b in few}
    plain = Taps(weight=laid, matrices=matrices, stride=stride, dilation=dilation, left=left, groups=groups, some=some)
    together = VECTOR // weight.shape[0]
    slow = matrices is not None and weight.device.type == "cpu"  # there a product a tap is bound by multiplications
    if slow or stride * dilation * groups > 1 or together < 2 or weight.shape[2] < 2 * together:
        return plain
    return replace(plain, together=together, wide=_widened(weight, together, left))


def _widened(weight: Float[torch.Tensor, "out in width"], together: int, left: int) -> Taps:
    """Shift the weights to make several positions from one look at the input: a profile head has too few channels.

    Notes
    -----
    Positions o, o + 1, ... o + n - 1 become n times the channels of one, read by n copies of the weights, each shifted
    by one, with stride n: (width + n - 1) / width times the multiplications, in vectors that are full.
    """
    out, channels, width = weight.shape
    wide = weight.new_zeros((together, out, channels, width + together - 1))
    for k in range(together):
        wide[k, :, :, k : k + width] = weight
    return make_taps(wide.flatten(0, 1), stride=together, dilation=1, left=left, groups=1)


def convolve(x: Rows, start: int, wanted: Interval, taps: Taps) -> Rows:
    """Convolve a window that is zero outside, at some positions of the result.

    Parameters
    ----------
    x : changes at positions start, start + 1, ...
    wanted : positions of the result; some tap of each block of them meets the window.
    """
    if taps.wide is not None:
        together = taps.together
        blocks = Interval(0, -(-len(wanted) // together))
        found = convolve(x, start, blocks, replace(taps.wide, left=taps.wide.left - wanted.start))
        apart = found.reshape(*found.shape[:3], together, -1).permute(0, 3, 1, 2, 4)
        return apart.flatten(0, 1)[: len(wanted)]
    width, stride, dilation = taps.weight.shape[2], taps.stride, taps.dilation
    stop = start + len(x)
    first, last = wanted.start * stride - taps.left, (wanted.stop - 1) * stride - taps.left
    # Taps j that meet the window for some wanted position: first + j d < stop and last + j d >= start.
    low = max(0, -((last - start) // dilation))
    high = min(width, -((first - stop) // dilation))
    if high <= low:
        return x.new_zeros((len(wanted), *x.shape[1:3], taps.weight.shape[0]))
    if taps.matrices is not None:
        return _product_a_tap(x, start, wanted, taps, range(low, high))
    first, last = first + low * dilation, last + (high - 1) * dilation + 1  # inputs first to last are read
    before, after = max(0, start - first), max(0, last - stop)
    pad = max(before, after)
    pad = before + -(-(pad - before) // stride) * stride
    inside = x[max(first, start) - start : min(last, stop) - start]
    edits, loci, channels = x.shape[1:]
    image = inside.reshape(1, len(inside), edits * loci, channels).permute(0, 3, 1, 2)
    weight = taps.some[low, high] if (low, high) in taps.some else taps.weight[:, :, low:high]
    found = _convolve(image, weight, padding=pad, stride=stride, dilation=dilation, groups=taps.groups)
    rows = found.permute(0, 2, 3, 1).reshape(found.shape[2], edits, loci, -1)
    skipped = (pad - before) // stride
    return rows[skipped : skipped + len(wanted)]


def _convolve(
    image: Float[torch.Tensor, "1 channels positions rows"],
    weight: Float[torch.Tensor, "out in width 1"],
    *,
    padding: int = 0,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> Float[torch.Tensor, "1 out _ rows"]:
    """Convolve by oneDNN where it is there: PyTorch itself leaves small and one-tap convolutions to slower code."""
    if image.dtype == torch.float32 and image.device.type == "cpu" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        found: torch.Tensor = torch.ops.aten.mkldnn_convolution(
            image, weight, None, [padding, 0], [stride, 1], [dilation, 1], groups
        )
        return found
    return functional.conv2d(
        image, weight, stride=(stride, 1), padding=(padding, 0), dilation=(dilation, 1), groups=groups
    )


def multiply(
    x: Float[torch.Tensor, "rows features"], weight: Float[torch.Tensor, "out features"]
) -> Float[torch.Tensor, "rows out"]:
    """Multiply vectors with a dense layer: large ones as a convolution, twice as fast on some processors."""
    if weight.numel() < LARGE_LAYER or x.device.type != "cpu" or x.dtype != torch.float32:
        return functional.linear(x, weight)
    found = _convolve(x[None, None].permute(0, 3, 1, 2), weight[..., None, None])
    return found[0, :, 0].t()


def _product_a_tap(x: Rows, start: int, wanted: Interval, taps: Taps, used: range) -> Rows:
    assert taps.matrices is not None
    edits, loci, channels = x.shape[1:]
    found = x.new_zeros((len(wanted), edits, loci, taps.weight.shape[0]))
    stride, stop = taps.stride, start + len(x)
    for j in used:
        shift = j * taps.dilation - taps.left  # output o reads input o stride + shift
        low, high = max(wanted.start, -((shift - start) // stride)), min(wanted.stop, -((shift - stop) // stride))
        if high > low:
            at = low * stride + shift - start
            inputs = x[at : at + (high - low - 1) * stride + 1 : stride].reshape(-1, channels)
            part = found[low - wanted.start : high - wanted.start]
            part.view(-1, part.shape[-1]).addmm_(inputs, taps.matrices[j])
    return found


def relu_change(
    change: torch.Tensor, below: torch.Tensor, minus: torch.Tensor, *, out: torch.Tensor | None = None
) -> torch.Tensor:
    """Return relu(z + d) - relu(z) = max(d + min(z, 0), -relu(z)); overwrites `change`.

    Parameters
    ----------
    change : d.
    below, minus : min(z, 0) and -relu(z) of the reference.

    Notes
    -----
    Where z is positive the first sum adds zero, so nothing of d is lost: subtracting two activations would round it to
    the digits of z.
    """
    change += below
    return torch.maximum(change, minus, out=change if out is None else out)


def largest(x: Rows, width: int, stride: int, dilation: int) -> Rows:
    """Return the largest of every `width` positions."""
    count = (len(x) - (width - 1) * dilation - 1) // stride + 1
    reach = (count - 1) * stride + 1
    found = x[:reach:stride]
    for j in range(1, width):
        part = x[j * dilation : j * dilation + reach : stride]
        found = torch.maximum(found, part) if j == 1 else torch.maximum(found, part, out=found)
    return found if width > 1 else found.clone()


def pooled_sum(x: Rows, start: int, wanted: Interval, *, width: int, stride: int, left: int) -> Rows:
    """Sum a window that is zero outside over the positions that each wanted position of a pool reads."""
    found = x.new_zeros((len(wanted), *x.shape[1:]))
    stop = start + len(x)
    for j in range(width):
        shift = j - left
        low, high = max(wanted.start, -((shift - start) // stride)), min(wanted.stop, -((shift - stop) // stride))
        if high > low:
            at = low * stride + shift - start
            found[low - wanted.start : high - wanted.start] += x[at : at + (high - low - 1) * stride + 1 : stride]
    return found


def pool_counts(
    length: int,
    pooled: int,
    *,
    width: int,
    stride: int,
    left: int,
    count_padding: bool,
    device: Any,
    dtype: torch.dtype,
) -> Float[torch.Tensor, "positions 1 1 1"]:
    """Return what each position of an average pool divides by, as PyTorch counts."""
    starts = torch.arange(pooled) * stride - left
    stops = (starts + width).clamp(max=length + left)
    counts = stops - starts if count_padding else stops.clamp(max=length) - starts.clamp(min=0)
    return counts.to(device=device, dtype=dtype).view(-1, 1, 1, 1)


def dense(x: Rows, weight: Float[torch.Tensor, "out positions channels"]) -> Float[torch.Tensor, "edits loci out"]:
    """Multiply a window, flattened, with the part of a dense layer that belongs to it."""
    edits, loci, channels = x.shape[1:]
    if x.device.type == "cpu" and x.dtype == torch.float32:
        image = x.reshape(1, len(x), edits * loci, channels).permute(0, 3, 1, 2)
        kernel = weight.permute(0, 2, 1)[..., None]  # out, channels, positions, 1
        kernel = torch.empty_like(kernel, memory_format=torch.channels_last).copy_(kernel)
        return _convolve(image, kernel)[0, :, 0].t().reshape(edits, loci, -1)
    flat = x.permute(1, 2, 0, 3).reshape(edits * loci, -1)
    return functional.linear(flat, weight.reshape(len(weight), -1)).view(edits, loci, -1)


def cuts(taps: Taps, changed: Interval) -> set[int]:
    """Return the positions of a convolution's result at which the taps that meet a window change.

    Notes
    -----
    Between two of them a block of positions needs no padding. With many taps they are too close to be worth it.
    """
    width = taps.weight.shape[2]
    if taps.stride > 1 or width > MOST_CUT_TAPS:
        return set()
    shifts = [j * taps.dilation - taps.left for j in range(width)]
    return {edge - shift for shift in shifts for edge in (changed.start, changed.stop)}


def chunks(span: Interval, size: int, *, at: Iterable[int] = ()) -> list[Interval]:
    """Cut an interval at given positions, and what is longer than `size` into equal parts."""
    edges = [span.start, *sorted(edge for edge in at if span.start < edge < span.stop), span.stop]
    found = []
    for a, b in itertools.pairwise(edges):
        parts = max(1, -(-(b - a) // size))
        found += [Interval(a + (b - a) * k // parts, a + (b - a) * (k + 1) // parts) for k in range(parts)]
    return [part for part in found if part]


class Workspace:
    """Memory that windows hand back for the next: fresh memory costs a page fault every four kilobytes."""

    def __init__(self) -> None:
        self._free: list[torch.Tensor] = []

    def take(self, shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
        """Return an uninitialised tensor of a shape, of the type and on the device of another."""
        n = math.prod(shape)
        self._free.sort(key=len)
        fitting = next((k for k, block in enumerate(self._free) if len(block) >= n), None)
        if fitting is None:
            if self._free:
                self._free.pop()  # too small: windows have grown, and what replaces it serves both
            block = like.new_empty(n + n // 8)
        else:
            block = self._free.pop(fitting)
        return block[:n].view(shape)

    def give(self, tensor: torch.Tensor) -> None:
        """Hand a tensor from `take` back."""
        storage = tensor.untyped_storage()
        whole = torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(storage)
        self._free.append(whole)

    def clear(self) -> None:
        """Let go of what nobody uses."""
        self._free.clear()
