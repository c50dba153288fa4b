"""The windowed engine for one member: blocks of loci and edits in, effects out, as `naive.predict_edits` gives them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import nn

from deepmr.ism.cost import Schedule, choose, machine_of
from deepmr.ism.graph import CaptureError, Graph, operation_name
from deepmr.ism.lowering import capture
from deepmr.ism.naive import EditEffects, halved_until_it_fits, input_dtype
from deepmr.ism.network import Network
from deepmr.ism.placed import Placed, place, to_device
from deepmr.ism.references import References
from deepmr.ism.rows import Rows
from deepmr.ism.schedule import groups_of
from deepmr.ism.variants import Edits
from deepmr.ism.windowed import Piece, Window
from deepmr.precision import full_precision


class RawOutputs(nn.Module):
    """All that a measured network returns, before scalars are made of it: what is traced."""

    def __init__(self, measured: Any) -> None:
        super().__init__()
        self.measured = measured

    def forward(self, x: Float[torch.Tensor, "batch 4 length"]) -> tuple[torch.Tensor, ...]:
        """Return the network's outputs."""
        return tuple(self.measured.outputs(x))


class WindowedEngine:
    """One member, traced, its weights laid out.

    Parameters
    ----------
    module : network (batch, 4, length) -> (batch, n_tasks), or one whose outputs are measured by scalars.
    length : bases of a sequence.
    n_tasks : tasks that it predicts.
    columns : tasks to keep; all by default.
    device : it is on.
    graph : of another member of the same architecture, to save the tracing.

    Raises
    ------
    CaptureError
        When the network cannot be traced or does not return what it should.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        length: int,
        n_tasks: int,
        columns: Int[np.ndarray, "selected"] | None,
        device: torch.device,
        graph: Graph | None = None,
    ) -> None:
        self.scalars: Sequence[Any] = tuple(getattr(module, "scalars", ()))
        self.module = module
        self.n_tasks = n_tasks
        self.device = device
        self.dtype = input_dtype(module)
        self.columns = columns
        self.keep = None if columns is None else torch.tensor(columns, device=device)
        body = RawOutputs(module) if self.scalars else module
        measured = sorted({scalar.output for scalar in self.scalars})
        self.positions = {k: at for at, k in enumerate(measured)}
        if graph is None:
            graph = capture(body, length, dtype=self.dtype, device=device, outputs=measured or None)
        if not self.scalars and (len(graph.outputs) != 1 or graph.nodes[graph.outputs[0]].shape != (n_tasks,)):
            shapes = [("batch", *graph.nodes[name].shape) for name in graph.outputs]
            raise CaptureError(f"it returns {shapes}; needed one tensor (batch, {n_tasks})")
        with torch.inference_mode():
            self.network = Network(graph, body)

    @property
    def graph(self) -> Graph:
        """What was traced, to hand on to members of the same architecture."""
        return self.network.graph

    def operations_at_full_length(self) -> list[str]:
        """Name the operations that no rule confines to a window; they compute every position of every mutant."""
        return [operation_name(self.graph.operations[node.name]) for node in self.graph.at_full_length()]

    def schedule(self, *, n_loci: int, per_position: float) -> Schedule:
        """Choose how edits are put together, for a job of so many loci and edits a position."""
        return choose(self.network, n_loci=n_loci, per_position=per_position, machine=machine_of(self.device))

    def predict(
        self,
        codes: UInt8[np.ndarray, "loci length"],
        edits: Edits,
        *,
        schedule: Schedule,
        progress: Callable[[int], None] | None = None,
    ) -> EditEffects:
        """Predict the effects of substitutions, the references of a few loci at a time.

        Parameters
        ----------
        codes : reference bases of the loci.
        edits : substitutions.
        schedule : how they are put together; loci at once are halved as often as memory runs out.
        progress : called with the number of sequences just done.

        Raises
        ------
        DeepMRError
            When memory runs out with a single locus.
        """

        def predict(n_loci: int) -> EditEffects:
            if n_loci < schedule.n_loci:  # memory ran out
                self.network.workspace.clear()
            with torch.inference_mode(), full_precision():
                return self._predict(codes, edits, replace(schedule, n_loci=n_loci), progress)

        effects, _ = halved_until_it_fits(
            predict, schedule.n_loci, many="loci at once", one=f"on {self.device} with the windows of one locus"
        )
        return effects

    def _predict(
        self,
        codes: UInt8[np.ndarray, "loci length"],
        edits: Edits,
        schedule: Schedule,
        progress: Callable[[int], None] | None,
    ) -> EditEffects:
        n_kept = self.n_tasks if self.keep is None else len(self.keep)
        reference = torch.empty((len(codes), n_kept), dtype=self.dtype, device=self.device)
        delta = torch.zeros((len(edits), n_kept), dtype=self.dtype, device=self.device)
        for loci, groups in groups_of(edits, width=schedule.width, n_loci=schedule.n_loci):
            onehot = self._onehot(codes[loci])
            references = self.network.references(onehot)
            for group in place(groups, first=loci.start, device=self.device):
                effects = self.effects(references, group, onehot)
                delta[group.rows] = effects.reshape(-1, n_kept)[group.used]
                if progress is not None:
                    progress(len(group.rows))
        size = max(1, schedule.n_loci)
        for start in range(0, len(codes), size):  # every locus has a reference, edited or not
            part = self.module(self._onehot(codes[start : start + size]))
            reference[start : start + size] = part if self.keep is None else part[:, self.keep]
            if progress is not None:
                progress(len(part))
        return EditEffects(
            reference=reference.float().cpu().numpy(), delta=delta.float().cpu().numpy(), batch_size=schedule.n_loci
        )

    def effects(
        self, references: References, group: Placed, onehot: Float[torch.Tensor, "loci 4 length"]
    ) -> Float[torch.Tensor, "slots chosen tasks"]:
        """Predict the effects of the edits of one group; an empty slot has an effect of 0."""
        everyone = len(group.loci) == len(onehot)
        found = Window(
            self.network,
            references if everyone else references.take(group.loci),
            group.window,
            self._change(group, onehot if everyone else onehot[group.loci]),
        )
        outputs = found.outputs()
        if not self.scalars:
            effects = outputs[0]
        else:
            effects = torch.cat([self._measure(scalar, found, outputs) for scalar in self.scalars], dim=2)
        return effects if self.keep is None else effects[..., self.keep]

    def _measure(
        self, scalar: Any, window: Window, outputs: tuple[Any, ...]
    ) -> Float[torch.Tensor, "slots loci tasks"]:
        """Turn the change of an output into the change of a scalar, over the window alone where the scalar can."""
        at = self.positions[scalar.output]
        name, change = self.graph.outputs[at], outputs[at]
        node = self.graph.nodes[name]
        if hasattr(scalar, "effect") and (node.axes == ("c", "l") or not node.local):
            reference = window.references.prepared(name, scalar)
            if not isinstance(change, Piece):
                return scalar.effect(reference, change.transpose(0, 1), 0).permute(1, 0, 2)
            return scalar.effect(reference, change.data.permute(2, 1, 3, 0), change.start).permute(1, 0, 2)
        whole = window.change_of(name).reshape(window.edits * window.loci, *node.shape)
        repeated = window.references.full(name, window.edits)
        found = scalar(repeated + whole, repeated) - scalar(repeated, repeated)
        return found.reshape(window.edits, window.loci, -1)

    @staticmethod
    def _change(group: Placed, onehot: Float[torch.Tensor, "chosen 4 length"]) -> Rows:
        """Make the change of the one-hot input: 1 at the new base, -1 at the old one."""
        change = onehot.new_zeros((len(group.window), *group.shape, 4))
        offset, slot, column, base = group.offset, group.slot, group.column, group.base
        change[offset, slot, column] = -onehot[column, :, offset + group.window.start]
        change[offset, slot, column, base] += 1
        return change

    def _onehot(self, codes: UInt8[np.ndarray, "loci length"]) -> Float[torch.Tensor, "loci 4 length"]:
        channels = torch.arange(4, dtype=torch.uint8, device=self.device)[:, None]
        return (to_device(codes, self.device)[:, None] == channels).to(self.dtype)
