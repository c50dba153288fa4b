"""Exact mutagenesis that recomputes only what an edit can change.

Edits of neighbouring positions, of many loci at once, share one window: an interval of every layer, known beforehand.
Inside it a layer holds the *change* against the unedited sequence. What is linear (convolutions, batch normalisation,
pooled sums, dense layers) acts on changes alone and needs nothing around them; what is not starts from the reference,
which is computed once a locus. Values are computed a few positions at a time, so that a layer, its normalisation, its
activation and the addition behind it stay in the cache, and only what the next convolution reads is written out.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from deepmr.ism import fused, rows
from deepmr.ism.graph import Node
from deepmr.ism.intervals import Interval, reads
from deepmr.ism.layout import to_torch
from deepmr.ism.network import Network
from deepmr.ism.references import References
from deepmr.ism.rows import Rows

CHUNK_BYTES = 2**21  # of one value at a few positions, for each thread: it should stay in a core's cache


@dataclass(slots=True)
class Piece:
    """The change of a value at some positions, zero at others; `own` where it may be overwritten."""

    start: int
    data: Rows
    own: bool

    @property
    def span(self) -> Interval:
        """The positions it covers."""
        return Interval(self.start, self.start + len(self.data))

    def part(self, wanted: Interval) -> Rows:
        """Return the rows of some positions that it covers."""
        return self.data[wanted.start - self.start : wanted.stop - self.start]

    def writable(self) -> Rows:
        """Return rows that may be overwritten."""
        return self.data if self.own else self.data.clone()


class Window:
    """One pass: the edits of one window, of some loci, through one network.

    Parameters
    ----------
    network : with its weights prepared.
    references : of the loci.
    window : positions of the sequence that are edited.
    change : of the one-hot input there, (positions, edits, loci, 4).
    """

    def __init__(self, network: Network, references: References, window: Interval, change: Rows) -> None:
        self.network = network
        self.references = references
        self.spans = network.spans(window)
        self.edits, self.loci = change.shape[1], change.shape[2]
        self.like = change
        self.values: dict[str, Piece] = {network.graph.input.name: Piece(window.start, change, False)}
        self.full: dict[str, Any] = {}

    def outputs(self) -> tuple[Any, ...]:
        """Return the change of each output: (edits, loci, ...) where it is full, a `Piece` where it has positions."""
        graph = self.network.graph
        for step in self.network.steps:
            node = graph.nodes[step.name]
            if node.local:
                self._store(node)
            else:
                self.full[node.name] = FULL[node.kind](self, node)
            for name in step.done:
                self.full.pop(name, None)
                piece = self.values.pop(name, None)
                if piece is not None and name in self.network.stored:
                    self.network.workspace.give(piece.data)
        return tuple(self._output(graph.nodes[name]) for name in graph.outputs)

    def _output(self, node: Node) -> Any:
        if node.local:
            return self.values.get(self.network.source[node.name]) or Piece(0, self._zeros(0, node.channels), True)
        found = self.full[node.name]
        if self.network.is_raw(node.name):
            found = found.to(self.like.dtype) - self.references.full(node.name, self.edits).to(self.like.dtype)
        return found.reshape(self.edits, self.loci, *node.shape)

    # -- local values ----------------------------------------------------------------------------------------

    def _store(self, node: Node) -> None:
        """Compute a value that several others read, or that a convolution reads at overlapping positions."""
        span = self.spans[node.name]
        if not span:
            return
        shape = (len(span), self.edits, self.loci, node.channels)
        # An output leaves the window, and with it memory that would not come back.
        leaves = self.network.is_output(node.name)
        stored = self.like.new_empty(shape) if leaves else self.network.workspace.take(shape, self.like)
        for part in self.chunks(node, span):
            out = stored[part.start - span.start : part.stop - span.start]
            piece = self.compute(node, part, out)
            if piece.data is not out:
                out.copy_(piece.data)
        self.values[node.name] = Piece(span.start, stored, False)

    def chunks(self, node: Node, span: Interval) -> list[Interval]:
        """Cut positions into parts whose largest value on the way fits the cache; into one part on a GPU."""
        if self.like.device.type != "cpu":
            return [span]
        row = self.network.width[node.name] * self.edits * self.loci * self.like.element_size()
        size = max(self.network.least[node.name], int(CHUNK_BYTES * torch.get_num_threads() / row))
        leading = self.network.leading.get(self.network.source[node.name])
        if leading is None:
            return rows.chunks(span, size)
        taps = self.network.taps[leading.name]
        parts = rows.chunks(span, size, at=rows.cuts(taps, self.spans[leading.inputs[0]]))
        # Parts that are a dilation apart read the same inputs: one after the other they find them in the cache.
        return sorted(parts, key=lambda part: (part.start - span.start) % taps.dilation // size)

    def pull(self, name: str, wanted: Interval, out: Rows | None = None) -> Piece | None:
        """Return a value at some positions, from what is stored or computed now; None where nothing changes."""
        name = self.network.source[name]
        span = self.spans[name] & wanted
        if not span:
            return None
        if name in self.values:
            return Piece(span.start, self.values[name].part(span), False)
        return self.compute(self.network.graph.nodes[name], span, out if span == wanted else None)

    def compute(self, node: Node, span: Interval, out: Rows | None) -> Piece:
        """Compute a value at some positions, all of which change; into `out` where the last step can."""
        return LOCAL[node.kind](self, node, span, out)

    def surely(self, name: str, wanted: Interval, out: Rows | None = None) -> Piece:
        """Return a value at positions that are all within what changes."""
        piece = self.pull(name, wanted, out)
        if piece is None:
            raise AssertionError(f"{name} does not change at {wanted}")
        return piece

    def absolute(self, name: str, wanted: Interval) -> Rows:
        """Return a value itself, not its change, at positions within its length."""
        reference = self.references.rows(name, wanted)
        piece = self.pull(name, wanted)
        if piece is not None and piece.span == wanted:
            return piece.data.add_(reference) if piece.own else piece.data + reference
        value = reference.expand(-1, self.edits, -1, -1).clone()
        if piece is not None:
            value[piece.start - wanted.start : piece.span.stop - wanted.start] += piece.data
        return value

    def _zeros(self, positions: int, channels: int) -> Rows:
        return self.like.new_zeros((positions, self.edits, self.loci, channels))

    def _relu(self, node: Node, span: Interval, out: Rows | None) -> Piece:
        if fused.available(self.like.device):
            return self._relu_and_add(node, span, out, None)
        piece = self.surely(node.inputs[0], span)
        below, minus = self.references.relu(node, span)
        if piece.own:
            return Piece(span.start, rows.relu_change(piece.data, below, minus, out=out), True)
        return Piece(span.start, torch.maximum(piece.data + below, minus, out=out), True)

    def _relu_and_add(self, node: Node, span: Interval, out: Rows | None, other: Piece | None) -> Piece:
        """Compute an activation and add a value within its window, in one pass."""
        piece = self.surely(node.inputs[0], span)
        below, minus = self.references.relu(node, span)
        if out is None:
            out = piece.data if piece.own else torch.empty_like(piece.data)
        residual, first = (None, 0) if other is None else (other.data, other.start - span.start)
        fused.relu_change_add(piece.data, below, minus, residual=residual, first=first, out=out)
        return Piece(span.start, out, True)

    def _map(self, node: Node, span: Interval, out: Rows | None) -> Piece:
        value = self.network.apply(node, self.absolute(node.inputs[0], span))
        return Piece(span.start, torch.sub(value, self.references.rows(node.name, span), out=out), True)

    def _cells(self, node: Node, span: Interval, out: Rows | None) -> Piece:
        """Compute whole cells of neighbouring positions, among which the operation runs."""
        cell = node.options["cell"]
        whole = span.outward(cell)
        value = self.absolute(node.inputs[0], whole)
        found = self.network.apply(node, value.view(-1, cell, *value.shape[1:])).flatten(0, 1)
        part = found[span.start - whole.start : span.stop - whole.start]
        return Piece(span.start, part - self.references.rows(node.name, span), True)

    def _scale(self, node: Node, span: Interval, out: Rows | None) -> Piece:
        piece = self.surely(node.inputs[0], span)
        factor = self.network.factors[node.name]
        if isinstance(factor, torch.Tensor) and len(factor) > 1:
            factor = factor[span.start : span.stop]
        if isinstance(factor, float) and factor == 1:
            return piece
        return Piece(span.start, torch.mul(piece.data, factor, out=piece.data if piece.own else out), True)

    def _conv(self, node: Node, span: Interval, out: Rows | None) -> Piece:
        taps = self.network.taps[node.name]
        source = self.network.source[node.inputs[0]]
        # One that is a single position wide may have its input computed on the way.
        x = self.values[source] if source in self.values else self.surely(source, span)
        return Piece(span.start, rows.convolve(x.data, x.start, span, taps), True)

    def _add(self, node: Node, span: Interval, out: Rows | None) -> Piece:
        """Add values whose windows may differ; the one that covers most is added to."""
        order = sorted(range(2), key=lambda k: (self._stored(node.inputs[k]), -len(self.spans[node.inputs[k]] & span)))
        first, second = order
        factors = node.options["factors"]
        relu = self.network.graph.nodes[self.network.source[node.inputs[first]]]
        fusible = relu.kind == "relu" and not self._stored(relu.name) and self.spans[relu.name] & span == span
        if fusible and factors == (1, 1) and fused.available(self.like.device):
            return self._relu_and_add(relu, span, out, self.pull(node.inputs[second], span))
        if factors[first] != 1:
            first, second = second, first
        piece = self.pull(node.inputs[first], span, out)
        if piece is not None and piece.span == span:
            total = piece.data if piece.own else piece.data.clone() if out is None else out.copy_(piece.data)
        else:
            total = self._zeros(len(span), node.channels) if out is None else out.zero_()
            if piece is not None:
                total[piece.start - span.start : piece.span.stop - span.start] = piece.data
        other = self.pull(node.inputs[second], span)
        if other is not None:
            part = total[other.start - span.start : other.span.stop - span.start]
            part.add_(other.data, alpha=factors[second])
        return Piece(span.start, total, True)

    def _stored(self, name: str) -> bool:
        return self.network.source[name] in self.values

    def _mul(self, node: Node, span: Interval, out: Rows | None) -> Piece:
        """Return (a + da)(b + db) - a b = da (b + db) + a db."""
        total = self._zeros(len(span), node.channels)
        left, right = node.inputs
        change = self.pull(right, span)
        if change is not None:
            part = total[change.start - span.start : change.span.stop - span.start]
            part.addcmul_(self.references.rows(left, change.span).expand_as(part), change.data)
        change = self.pull(left, span)
        if change is not None:
            part = total[change.start - span.start : change.span.stop - span.start]
            part.addcmul_(self.absolute(right, change.span), change.data)
        return Piece(span.start, total, True)

    def _max_pool(self, node: Node, span: Interval, out: Rows | None) -> Piece:
        width, stride, dilation = (node.options[name] for name in ("kernel", "stride", "dilation"))
        source = self.network.graph.nodes[node.inputs[0]]
        first = span.start * stride - node.options["left"]
        last = (span.stop - 1) * stride - node.options["left"] + (width - 1) * dilation + 1
        inside = Interval(first, last) & Interval(0, source.length)
        value = self.absolute(source.name, inside)
        if inside != Interval(first, last):
            sides = (0, 0, 0, 0, 0, 0, inside.start - first, last - inside.stop)
            value = torch.nn.functional.pad(value, sides, value=-math.inf)
        found = rows.largest(value, width, stride, dilation)
        return Piece(span.start, found.sub_(self.references.rows(node.name, span)), True)

    def _avg_pool(self, node: Node, span: Interval, out: Rows | None) -> Piece:
        options = node.options
        x = self.surely(node.inputs[0], reads(node, span, self.network.graph.nodes[node.inputs[0]].length))
        total = rows.pooled_sum(
            x.data, x.start, span, width=options["kernel"], stride=options["stride"], left=options["left"]
        )
        return Piece(span.start, total.div_(self.network.factors[node.name][span.start : span.stop]), True)

    def _moved(self, node: Node, span: Interval, out: Rows | None) -> Piece:
        by = node.options["start"] if node.kind == "slice" else -node.options["left"]
        piece = self.surely(node.inputs[0], span.shift(by), out)
        return Piece(piece.start - by, piece.data, piece.own)

    def _upsample(self, node: Node, span: Interval, out: Rows | None) -> Piece:
        factor = node.options["factor"]
        piece = self.surely(node.inputs[0], reads(node, span, node.length // factor))
        first = span.start - piece.start * factor
        return Piece(span.start, piece.data.repeat_interleave(factor, dim=0)[first : first + len(span)], True)

    def _flip(self, node: Node, span: Interval, out: Rows | None) -> Piece:
        piece = self.surely(node.inputs[0], reads(node, span, node.length))
        dims = [d for d, name in ((0, "positions"), (3, "channels")) if node.options[name]]
        return Piece(span.start, piece.data.flip(dims), True)

    def _cat(self, node: Node, span: Interval, out: Rows | None) -> Piece:
        joined = self._zeros(len(span), node.channels)
        for name, at in zip(node.inputs, node.options["starts"], strict=True):
            piece = self.pull(name, span)
            if piece is not None:
                part = joined[piece.start - span.start : piece.span.stop - span.start]
                part[..., at : at + piece.data.shape[-1]] = piece.data
        return Piece(span.start, joined, True)

    def _channels(self, node: Node, span: Interval, out: Rows | None) -> Piece:
        piece = self.surely(node.inputs[0], span)
        return Piece(span.start, piece.data[..., node.options["start"] : node.options["stop"]], piece.own)

    # -- from windows to full values: (edits * loci, ...) ----------------------------------------------------

    def _sum(self, node: Node) -> torch.Tensor:
        source = self.network.graph.nodes[node.inputs[0]]
        total = self._zeros(1, source.channels)[0]
        for part in self.chunks(source, self.spans[source.name]):
            piece = self.pull(source.name, part)
            if piece is not None:
                total += piece.data.sum(0)
        if node.options["mean"]:
            total /= source.length
        return total.reshape(-1, *node.shape)

    def _max(self, node: Node) -> torch.Tensor:
        """Compare the window with the largest of the reference outside it."""
        source = self.network.graph.nodes[node.inputs[0]]
        span = self.spans[source.name]
        found = self.references.largest_outside(source.name, span).expand(self.edits, -1, -1)
        for part in self.chunks(source, span):
            found = torch.maximum(found, self.absolute(source.name, part).amax(0))
        return (found - self.references.largest_outside(source.name, Interval(0, 0))).reshape(-1, *node.shape)

    def _dense(self, node: Node) -> torch.Tensor:
        span = self.spans[node.inputs[0]]
        if not span:
            return self.like.new_zeros((self.edits * self.loci, *node.shape))
        x = self.surely(node.inputs[0], span)
        return rows.dense(x.data, self.network.dense[node.name][:, span.start : span.stop]).reshape(-1, *node.shape)

    def change_of(self, name: str) -> Any:
        """Return the change of a value over all its positions, as PyTorch lays it out: (edits * loci, ...)."""
        if name in self.full:
            return self.full[name]
        node = self.network.graph.nodes[name]
        whole = self._zeros(node.length, node.channels)
        for part in self.chunks(node, self.spans[name]):
            piece = self.pull(name, part)
            if piece is not None:
                whole[piece.start : piece.span.stop] = piece.data
        return to_torch(whole.flatten(1, 2), node)

    # -- full values -----------------------------------------------------------------------------------------

    def _linear(self, node: Node) -> Any:
        return self.network.homogeneous(
            node, {name: self.change_of(name) for name in node.inputs}, self.edits * self.loci
        )

    def _call(self, node: Node) -> Any:
        """Run the operation on edited values and subtract the reference's.

        A vector is worth double precision: the logarithm of a sum of counts, say, would lose the digits of its change.
        """
        batch = self.edits * self.loci
        if self.network.is_relu(node):
            z = self.references.full(node.inputs[0], self.edits)
            return rows.relu_change(self.change_of(node.inputs[0]).clone(), z.clamp(max=0), -z.clamp(min=0))
        if not node.options["full_length"] and not node.options["raw"] and self.like.device.type != "mps":
            plain = {name: self.references.full(name, 1) for name in node.inputs}
            change = self.network.run_in_double(node, {n: self._edited(n, in_double=True) for n in node.inputs}, batch)
            change = change.view(self.edits, self.loci, *change.shape[1:])
            change -= self.network.run_in_double(node, plain, self.loci)
            return change.flatten(0, 1).to(self.like.dtype)
        found = self.network.run(node, {name: self._edited(name) for name in node.inputs}, batch)
        return found if self.network.is_raw(node.name) else found - self.references.full(node.name, self.edits)

    def _edited(self, name: str, *, in_double: bool = False) -> Any:
        if self.network.is_raw(name):
            return self.full[name]
        reference, change = self.references.full(name, self.edits), self.change_of(name)
        return reference.double() + change.double() if in_double else reference + change


LOCAL: dict[str, Callable[[Window, Node, Interval, Rows | None], Piece]] = {
    "conv": Window._conv,
    "relu": Window._relu,
    "map": Window._map,
    "scale": Window._scale,
    "add": Window._add,
    "mul": Window._mul,
    "max_pool": Window._max_pool,
    "avg_pool": Window._avg_pool,
    "slice": Window._moved,
    "pad": Window._moved,
    "flip": Window._flip,
    "upsample": Window._upsample,
    "cat": Window._cat,
    "channels": Window._channels,
    "cells": Window._cells,
}
FULL: dict[str, Callable[[Window, Node], Any]] = {
    "sum": Window._sum,
    "max": Window._max,
    "dense": Window._dense,
    "linear": Window._linear,
    "call": Window._call,
}
