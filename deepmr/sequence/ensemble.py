"""An ensemble: networks that predict the same tasks, behind one `predict`. Device, batching and dtype live here."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import nn

from deepmr import checks
from deepmr.errors import InputError
from deepmr.precision import full_precision
from deepmr.sequence.onehot import one_hot
from deepmr.types import Task

CPU_BASES, GPU_BASES = 2**16, 2**22  # bases that go through a network at once: cache on a CPU, memory on a GPU
DEVICES = ("cpu", "cuda", "mps")
TOLERANCE = 1e-3  # of the largest output: rounding stays a hundred times below, statistics of a batch far above


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberInfo:
    """Where a member comes from.

    Attributes
    ----------
    name : what messages and files call it.
    seed : of its initial weights and training order; None where unknown.
    sha256 : of its file, empty for a network that was not read from one; with a fixed mask, of weights and mask.
    held_out : chromosomes that its training did not see.
    mask_seed : of the fixed dropout mask; None for a network without one.
    """

    name: str
    seed: int | None = None
    sha256: str = ""
    held_out: tuple[str, ...] = ()
    mask_seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Networks that predict the same tasks from the same sequences; make one with `Ensemble.of` or `read_ensemble`.

    Attributes
    ----------
    modules : one network a member, in evaluation mode, without gradients, all on one device.
    tasks : what the networks predict, in the order of their output.
    length : bases that they read; None when they take any length.
    members : where they come from.
    counts : names of the tasks of scale identity that predict the Anscombe transform 2 sqrt(y + 3/8) of a count y.
    sha256 : identity of the ensemble directory they were read from (and of the masks, if any), else empty.
    """

    modules: tuple[nn.Module, ...]
    tasks: tuple[Task, ...]
    length: int | None
    members: tuple[MemberInfo, ...]
    counts: tuple[str, ...] = ()
    sha256: str = ""

    def __post_init__(self) -> None:
        if not self.modules:
            raise InputError("an ensemble needs at least one network; got none")
        if len(self.members) != len(self.modules):
            raise InputError(f"an ensemble of {len(self.modules)} networks is described as {len(self.members)} members")
        if not self.tasks:
            raise InputError("an ensemble needs at least one task; got none")
        checks.unique("task names", [task.name for task in self.tasks])
        checks.unique("member names", [member.name for member in self.members])
        for name in self.counts:
            checks.one_of("task of counts", name, [task.name for task in self.tasks])
        for module in self.modules:
            module.eval().requires_grad_(False)

    @classmethod
    def of(
        cls,
        modules: Sequence[nn.Module],
        tasks: Sequence[Task | str] | None = None,
        *,
        length: int | None = None,
        device: str | torch.device = "auto",
    ) -> "Ensemble":
        """Make an ensemble of networks (batch, 4, length) -> (batch, tasks); they are copied, never changed.

        Parameters
        ----------
        modules : one network a member.
        tasks : names, or tasks with their scale, in the order of the output; without them task_0, task_1, ..., which
            needs a length.
        length : bases that the networks read; None when they take any length.
        device : cpu, cuda, cuda:1, ...; auto takes a GPU where there is one.

        Raises
        ------
        InputError
            When there is no network, or something that is none, or the device is absent.
        """
        for k, module in enumerate(modules):
            if not isinstance(module, nn.Module):
                raise InputError(f"member {k} must be a torch.nn.Module; got {type(module).__name__}")
        place = resolve_device(device)
        copies = tuple(copy.deepcopy(module).to(place) for module in modules)
        if tasks is None:
            if length is None:
                raise InputError("an ensemble needs its tasks, or the length of its sequences to find out how many")
            tasks = [f"task_{k}" for k in range(_count_tasks(copies, length, place))]
        return cls(
            modules=copies,
            tasks=tuple(Task(name=task) if isinstance(task, str) else task for task in tasks),
            length=length,
            members=tuple(MemberInfo(name=f"member_{k}") for k in range(len(copies))),
        )

    @property
    def device(self) -> torch.device:
        """The device that the networks are on."""
        return device_of(self.modules[0])

    @property
    def n_members(self) -> int:
        """Number of networks."""
        return len(self.modules)

    def predict(
        self, codes: UInt8[np.ndarray, "loci length"], *, batch_size: int | None = None
    ) -> Float[np.ndarray, "members loci tasks"]:
        """Predict every task of every locus with every member.

        Parameters
        ----------
        codes : 0 1 2 3 for A C G T, 4 for a masked position.
        batch_size : sequences at once; by default about 65,000 bases on a CPU and 4 million on a GPU.

        Returns
        -------
        float32, in the unit of each task's scale.

        Raises
        ------
        InputError
            When the sequences have another length than the networks read, or a member returns something that is not
            finite or not (batch, tasks).

        Notes
        -----
        Networks compute in the dtype of their own parameters, float32 as a rule. On a GPU float32 means float32: TF32,
        which PyTorch allows for convolutions (`torch.backends.cudnn.allow_tf32`), is off here, because its 10-bit
        mantissa is coarser than the effect of most edits.
        """
        if self.length is not None and codes.shape[1] != self.length:
            raise InputError(f"the ensemble reads sequences of {self.length} bases; got {codes.shape[1]}")
        size = batch_size or max(1, (GPU_BASES if self.device.type == "cuda" else CPU_BASES) // max(1, codes.shape[1]))
        predicted = np.empty((self.n_members, len(codes), len(self.tasks)), dtype=np.float32)
        for module, member, rows in zip(self.modules, self.members, predicted, strict=True):
            module.eval()  # somebody may have called .train() since
            for start in range(0, len(codes), size):
                rows[start : start + size] = self._batch(module, member.name, codes[start : start + size])
        return predicted

    def _batch(
        self, module: nn.Module, name: str, codes: UInt8[np.ndarray, "batch length"]
    ) -> Float[np.ndarray, "batch tasks"]:
        dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
        with torch.inference_mode(), full_precision():
            try:
                output = module(one_hot(torch.tensor(codes, device=self.device), dtype=dtype))
            except (RuntimeError, TypeError) as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                first = str(error).splitlines()[0]
                raise InputError(f"{name} cannot read input of shape (batch, 4, {codes.shape[1]}): {first}") from error
        if not isinstance(output, torch.Tensor):
            raise InputError(
                f"{name} must return one tensor (batch, tasks); it returned {type(output).__name__}: say what is "
                "measured of several outputs (--measure; in Python, Measured)"
            )
        needed = (len(codes), len(self.tasks))
        if tuple(output.shape) != needed:
            raise InputError(f"{name} must return (batch, tasks) = {needed}; it returned {tuple(output.shape)}")
        values = output.float().cpu().numpy()
        if not np.isfinite(values).all():
            n_bad = int((~np.isfinite(values)).any(axis=1).sum())
            raise InputError(f"{name} returned NaN or infinity for {n_bad} of {len(codes)} sequences of a batch")
        return values

    def check(self, codes: UInt8[np.ndarray, "loci length"]) -> None:
        """Raise `InputError` when a member cannot be trusted with these sequences.

        Parameters
        ----------
        codes : a few sequences; each is predicted alone and among the others and eight random ones.

        Raises
        ------
        InputError
            Naming the member: its output is not finite, has the wrong shape, or depends on batch mates or on chance.
        """
        random = np.random.default_rng(0).integers(0, 4, size=(8, codes.shape[1]), dtype=np.uint8)
        together = self.predict(np.concatenate([codes, random]), batch_size=len(codes) + len(random))
        alone = self.predict(codes, batch_size=1)
        off = np.abs(alone - together[:, : len(codes)]).max(axis=1, initial=0)
        worst = off - TOLERANCE * np.abs(together).max(axis=1)
        if (worst > 0).any():
            k, t = np.unravel_index(int(worst.argmax()), worst.shape)
            raise InputError(
                f"{self.members[k].name}: its prediction of {self.tasks[t].name!r} for a sequence moves by "
                f"{off[k, t]:.3g} when others join the batch; needed a network without batch statistics and dropout"
            )


def resolve_device(name: str | torch.device) -> torch.device:
    """Return the device of a name.

    Parameters
    ----------
    name : cpu, cuda, cuda:1, ...; auto takes a GPU where there is one.

    Raises
    ------
    InputError
        When PyTorch knows no such device or does not see it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        known = device.type in DEVICES
    except RuntimeError:
        known = False
    if not known:
        raise InputError(f"device must be auto or one of {', '.join(DEVICES)}, such as cuda:1; got {str(name)!r}")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # PyTorch without CUDA asserts
        seen = f"PyTorch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices"
        raise InputError(f"device {str(name)!r} is not there: {seen}") from error
    return device


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a network's first tensor; the CPU where it has none."""
    tensors = [*module.parameters(), *module.buffers()]
    return tensors[0].device if tensors else torch.device("cpu")


def _count_tasks(modules: Sequence[nn.Module], length: int, device: torch.device) -> int:
    """Run a blank sequence through the first network to see how many tasks it predicts."""
    module = modules[0].eval()
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    with torch.inference_mode():
        output = module(torch.zeros((1, 4, length), dtype=dtype, device=device))
    if not isinstance(output, torch.Tensor) or output.ndim != 2:
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise InputError(
            f"a network must return one tensor (batch, tasks); member 0 returned {shape}: say what is measured of it "
            "with Measured"
        )
    return int(output.shape[1])
