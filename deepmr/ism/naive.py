"""Plain forward passes: the definition of the right answer.

Every edited sequence is predicted once, the reference of each locus once, and an effect is the difference of the two in
one member. Edited sequences are made on the device from the codes of the loci, a batch at a time.
"""

import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from deepmr.errors import DeepMRError, InputError
from deepmr.ism.variants import SHIFTS, Edits
from deepmr.precision import full_precision
from deepmr.types import RelativeNetwork

log = logging.getLogger(__name__)
Result = TypeVar("Result")

# Largest tensor of one batch. On a CPU it should stay near the caches: twice as much made the dilated network slower.
CPU_BYTES = 8 * 2**20
CPU_BATCH = 512
GPU_SHARE = 1 / 16
GPU_BATCH = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class EditEffects:
    """What one network says of a block of loci and their edits.

    Attributes
    ----------
    delta : prediction of the edited sequence minus that of its reference.
    batch_size : most sequences that went through the network at once.
    """

    reference: Float[np.ndarray, "loci tasks"]
    delta: Float[np.ndarray, "variants tasks"]
    batch_size: int


def predict_edits(
    module: torch.nn.Module,
    codes: UInt8[np.ndarray, "loci length"],
    edits: Edits,
    *,
    n_tasks: int,
    columns: Int[np.ndarray, "selected"] | None = None,
    batch_size: int,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> EditEffects:
    """Predict every reference and every edited sequence once, and take the differences.

    Parameters
    ----------
    module : network (batch, 4, length) -> (batch, n_tasks) on `device`, in evaluation mode.
    codes : reference bases of the loci.
    edits : variants of these loci.
    n_tasks : tasks that the network predicts.
    columns : tasks to keep; all by default.
    batch_size : most sequences at once; halved as often as memory runs out.
    progress : called with the number of sequences just predicted.

    Raises
    ------
    InputError
        When the network's output is not (batch, n_tasks).
    DeepMRError
        When memory runs out with a single sequence.

    Notes
    -----
    The sequences, references first, are split into batches whose sizes differ by at most one, so that a reference and
    its edits go through the same kernels: activations that an edit does not reach are equal bit by bit and cancel.
    TF32 is off and cuDNN is held to its deterministic algorithms.
    """

    def predict(size: int) -> torch.Tensor:
        rows = _Rows(module, codes, edits, device=torch.device(device))
        return rows.predict(n_tasks=n_tasks, columns=columns, batch_size=size, progress=progress)

    predicted, batch_size = halved_until_it_fits(
        predict, batch_size, many="sequences at once", one=f"on {device} with one sequence at a time"
    )
    reference, edited = predicted[: len(codes)], predicted[len(codes) :]
    delta = edited - reference[torch.tensor(edits.locus, device=predicted.device)]
    return EditEffects(
        reference=reference.float().cpu().numpy(), delta=delta.float().cpu().numpy(), batch_size=batch_size
    )


def halved_until_it_fits(work: Callable[[int], Result], size: int, *, many: str, one: str) -> tuple[Result, int]:
    """Do work of a size, halved as often as memory runs out.

    Parameters
    ----------
    work : called with the size.
    size : to begin with.
    many, one : what a size counts, and where memory ran out with a size of 1, for messages.

    Returns
    -------
    What the work returned, and the size at which it did.

    Raises
    ------
    DeepMRError
        When memory runs out with a size of 1.
    """
    while True:
        try:
            return work(size), size
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if size == 1:
                said = next(iter(str(error).splitlines()), type(error).__name__)
                raise DeepMRError(f"out of memory {one}: {said}") from error
            log.warning("out of memory with %d %s; trying %d", size, many, size // 2)
        size //= 2  # outside the handler: the traceback would keep what failed alive
        torch.cuda.empty_cache()


class _Rows:
    """The references of a block, then its edited sequences: row r is made when its batch is due."""

    def __init__(
        self, module: torch.nn.Module, codes: UInt8[np.ndarray, "loci length"], edits: Edits, *, device: torch.device
    ) -> None:
        def on_device(values: np.ndarray) -> torch.Tensor:
            return torch.tensor(values, device=device)

        self.module = module
        self.device = device
        # A reference is an edit of nothing: its row makes no substitution. Bases pushed out of the locus are dropped.
        inside = (edits.offset >= 0) & (edits.offset < codes.shape[1])
        start = np.append(0, np.cumsum(inside))[edits.start]
        self.start = np.concatenate([np.zeros(len(codes), dtype=np.int64), start])
        self.locus = on_device(np.concatenate([np.arange(len(codes)), edits.locus]))
        self.offset = on_device(edits.offset[inside])
        self.base = on_device(edits.base[inside].astype(np.int64))
        self.shifts: torch.Tensor | None = None  # rows cut, deleted, inserted, moved
        if edits.shifts is not None:
            columns = [np.append(np.zeros(len(codes), dtype=int), getattr(edits.shifts, name)) for name in SHIFTS]
            self.shifts = on_device(np.stack(columns))
        channels = torch.arange(4, dtype=torch.uint8, device=device)[:, None]
        self.onehot = (on_device(codes)[:, None] == channels).to(input_dtype(module))

    def predict(
        self,
        *,
        n_tasks: int,
        columns: Int[np.ndarray, "selected"] | None,
        batch_size: int,
        progress: Callable[[int], None] | None,
    ) -> torch.Tensor:
        keep = slice(None) if columns is None else torch.tensor(columns, device=self.device)
        predicted = []
        with torch.inference_mode(), full_precision():
            for rows in even_batches(len(self.locus), batch_size):
                output = self.output_of(rows)
                check_output(output, (rows.stop - rows.start, n_tasks))
                predicted.append(output[:, keep])
                if progress is not None:
                    progress(rows.stop - rows.start)
            return torch.cat(predicted)

    def output_of(self, rows: slice) -> Any:
        """Predict a range of rows; a network that compares with the reference is given that of these rows alone."""
        if not (isinstance(self.module, RelativeNetwork) and self.module.needs_reference):
            return self.module(self.onehot_of(rows))
        loci, row = torch.unique(self.locus[rows], return_inverse=True)
        outputs = self.module.outputs(self.onehot[loci])
        reference = [value[row] if isinstance(value, torch.Tensor) else value for value in outputs]
        return self.module(self.onehot_of(rows), reference)

    def onehot_of(self, rows: slice) -> torch.Tensor:
        """Make the one-hot sequences (batch, 4, length) of a range of rows."""
        x = self.onehot[self.locus[rows]]
        if self.shifts is not None:
            x = shifted(x, self.shifts[:, rows])
        first, last = self.start[rows.start], self.start[rows.stop]
        counts = torch.tensor(np.diff(self.start[rows.start : rows.stop + 1]), device=self.device)
        row = torch.repeat_interleave(counts, output_size=int(last - first))
        x[row, :, self.offset[first:last]] = 0
        x[row, self.base[first:last], self.offset[first:last]] = 1
        return x


def shifted(x: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Move the flanks of sequences (batch, 4, length); the bases between them are not set, empty positions are 0.

    Parameters
    ----------
    x : one-hot reference of every row.
    shifts : cut, deleted, inserted and moved of every row, as in `Shifts`; all 0 leaves a row as it is.
    """
    length = x.shape[2]
    cut, deleted, inserted, moved = (column[:, None] for column in shifts)
    at = torch.arange(length, device=x.device)
    right = at >= cut + moved + inserted
    source = at - moved + right * (deleted - inserted)
    outside = (source < 0) | (source >= length)
    x = x.gather(2, source.clamp(0, length - 1)[:, None].expand_as(x))
    return x.masked_fill_(outside[:, None], 0)


def check_output(output: Any, expected: tuple[int, int]) -> None:
    """Raise `InputError` unless a network's output is a tensor of the expected shape."""
    if not isinstance(output, torch.Tensor):
        raise InputError(f"the network must return a tensor (batch, tasks); it returned {type(output).__name__}")
    if tuple(output.shape) != expected:
        raise InputError(
            f"the network must return (batch, tasks) = {expected} for a batch of {expected[0]}; "
            f"it returned {tuple(output.shape)}"
        )


def even_batches(n: int, batch_size: int) -> Iterator[slice]:
    """Split n rows into the fewest batches of at most `batch_size`, of sizes that differ by at most one."""
    edges = np.linspace(0, n, max(1, -(-n // batch_size)) + 1).round().astype(int).tolist()
    return (slice(a, b) for a, b in itertools.pairwise(edges))


def input_dtype(module: torch.nn.Module) -> torch.dtype:
    """Return the floating-point type of the network's parameters; float32 where it has none."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)


def out_of_memory(error: BaseException) -> bool:
    """Say whether an exception means that host or device memory ran out."""
    said = str(error).lower()
    signs = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(sign in said for sign in signs)


def row_bytes(module: torch.nn.Module, length: int, *, device: torch.device | str = "cpu") -> int:
    """Measure the largest tensor that one sequence makes on its way through the network's layers, in bytes."""
    outputs = _layer_outputs(module, length, device=device)
    return max(8 * length * input_dtype(module).itemsize, *(y.nbytes for _, y in outputs)) // 2


def multiplications(module: torch.nn.Module, length: int, *, device: torch.device | str = "cpu") -> int:
    """Count the multiplications of one sequence in layers whose weights have rows: convolutions and dense layers."""
    total = 0
    for layer, y in _layer_outputs(module, length, device=device):
        weight = getattr(layer, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.ndim > 1 and y.ndim > 1:
            total += weight.numel() * (y.numel() // (2 * weight.shape[0]))
    return total


def _layer_outputs(
    module: torch.nn.Module, length: int, *, device: torch.device | str
) -> list[tuple[torch.nn.Module, torch.Tensor]]:
    """Run two blank sequences and return what each layer made of them."""
    found: list[tuple[torch.nn.Module, torch.Tensor]] = []

    def record(layer: torch.nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            found.append((layer, output))

    hooks = [layer.register_forward_hook(record) for layer in module.modules()]
    try:
        with torch.inference_mode():
            module(torch.zeros((2, 4, length), dtype=input_dtype(module), device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def default_batch(module: torch.nn.Module, length: int, *, device: torch.device | str = "cpu") -> int:
    """Choose the sequences to predict at once from the network and the memory that the device has, not what is free."""
    size = row_bytes(module, length, device=device)
    if torch.device(device).type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
        return _power_of_two(int(memory * GPU_SHARE) // size, GPU_BATCH)
    return _power_of_two(CPU_BYTES // size, CPU_BATCH)


def _power_of_two(n: int, most: int) -> int:
    return 1 << min(max(n, 1), most).bit_length() - 1
