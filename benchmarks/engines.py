"""Engines of mutagenesis behind one face: each gives seconds per sequence, one sample at a time.

Engines whose time does not depend on where an edit is are timed on evenly spread batches of one sequence and scaled to
all of its edits, when all of them would take long.
"""

import importlib
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from benchmarks.channels_last import to_channels_last
from benchmarks.networks import BothHeads, Case
from deepmr.ism.engine import WindowedEngine
from deepmr.ism.graph import CaptureError
from deepmr.ism.variants import Edits, single_edits
from deepmr.sequence.measured import Measured
from deepmr.sequence.profiles import ProfileScore
from deepmr.sequence.scalars import LogCount

LADDER = [2**k for k in range(15)]
STEADY = 0.05  # seconds of a measurement that is no longer noise


def traced(network: nn.Module, length: int) -> WindowedEngine:
    """Make the windowed engine of a network; two heads are measured as `deepmr` measures them."""
    weight = next(network.parameters())
    with torch.inference_mode():
        n_tasks = network(torch.zeros(2, 4, length, dtype=weight.dtype, device=weight.device)).shape[1]
    if isinstance(network, BothHeads):
        with torch.inference_mode():
            profile = network.network(torch.zeros(2, 4, length, dtype=weight.dtype, device=weight.device))[0]
        strands = profile.shape[1] // network.n_tasks
        network = Measured(network.network, [LogCount(1), ProfileScore(0, strands_per_task=strands)]).eval()
    return WindowedEngine(network, length=length, n_tasks=n_tasks, columns=None, device=weight.device)


class UnavailableError(Exception):
    """An engine cannot run on a network, and why."""


@dataclass
class Setting:
    """What every engine gets.

    Attributes
    ----------
    codes : random sequences; engines that take one at a time take the first.
    seconds : time of a sample, about; work beyond it is extrapolated.
    offsets : where effects are compared with float64, both edges among them.
    """

    case: Case
    network: nn.Module
    codes: np.ndarray
    device: torch.device
    seconds: float
    offsets: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.offsets = np.unique(np.linspace(0, self.case.length - 1, 10).round().astype(int))

    @property
    def n_edits(self) -> int:
        """Return the single-base edits of a sequence."""
        return 3 * self.case.length

    @property
    def checked(self) -> np.ndarray:
        """Return the edits at `offsets`, as `single_edits` numbers them."""
        return (3 * self.offsets[:, None] + np.arange(3)).ravel()

    def timed(self, work: Callable[[], Any]) -> float:
        """Return the CPU time of a call on a CPU; on a GPU the time until it is done."""
        return self.timed_result(work)[0]

    def timed_result(self, work: Callable[[], Any]) -> tuple[float, Any]:
        """Return the time of a call, and what it returned."""
        if self.device.type == "cpu":
            start = time.process_time()
            result = work()
            return time.process_time() - start, result
        torch.cuda.synchronize()
        start = time.perf_counter()
        result = work()
        torch.cuda.synchronize()
        return time.perf_counter() - start, result

    def mutants(self, edits: np.ndarray, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return the first sequence, then it with each of the edits: one-hot (1 + edits, 4, length)."""
        every = single_edits(self.codes[:1])
        codes = np.repeat(self.codes[:1], len(edits) + 1, axis=0)
        codes[np.arange(1, len(edits) + 1), every.offset[edits]] = every.base[edits]
        onehot = F.one_hot(torch.from_numpy(codes).long(), 4).transpose(1, 2).to(dtype)
        return onehot.contiguous().to(self.device)

    def spread(self, batch_size: int, n: int) -> list[np.ndarray]:
        """Return n batches of edits, evenly spread: one in the middle of every nth of the sequence."""
        starts = (max(0, self.n_edits - batch_size) * (np.arange(n) + 0.5) / n).round().astype(int)
        return [np.arange(start, min(start + batch_size, self.n_edits)) for start in starts]

    def tune(self, per_edit: Callable[[int], float]) -> tuple[int, float]:
        """Return the batch size at which an edit takes least, and that time.

        Sizes grow as long as they may help; those near the best are then timed again, in turn, since on a busy machine
        one time may mislead.
        """
        times: dict[int, list[float]] = {}
        best = np.inf
        for batch_size in LADDER:
            if batch_size > 2 * self.n_edits:
                break
            try:
                found = per_edit(batch_size)
            except torch.OutOfMemoryError:
                break
            times[batch_size] = [found]
            best = min(best, found)
            spent = found * batch_size
            if spent > 2 * self.seconds or (found > 1.3 * best and spent > STEADY):
                break
        near = [batch_size for batch_size, (found,) in times.items() if found < 1.25 * best]
        for _ in range(3):
            for batch_size in near:
                times[batch_size].append(per_edit(batch_size))
        medians = {batch_size: float(np.median(times[batch_size])) for batch_size in near}
        chosen = min(near, key=medians.__getitem__)
        return chosen, medians[chosen]


class Passes:
    """Forward passes on batches that are there already: the least that naive mutagenesis costs."""

    name: ClassVar[str] = "naive"

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.network = self.prepare(setting)
        self.batch_size, per_edit = setting.tune(self.per_edit)
        whole = per_edit * setting.n_edits <= setting.seconds
        n = max(
            2, -(-setting.n_edits // self.batch_size) if whole else int(setting.seconds / per_edit / self.batch_size)
        )
        self.batches = [setting.mutants(edits)[1:] for edits in setting.spread(self.batch_size, n)]
        self.extrapolated = not whole
        self.note = f"batch {self.batch_size}"

    def prepare(self, setting: Setting) -> nn.Module:
        """Return what is timed."""
        return setting.network

    def per_edit(self, batch_size: int) -> float:
        """Return the time of an edit in batches of this size."""
        x = self.setting.mutants(np.arange(batch_size) % self.setting.n_edits)[1:]
        self.passes([x])
        return min(self.setting.timed(lambda: self.passes([x])) for _ in range(2)) / batch_size

    def passes(self, batches: list[torch.Tensor]) -> None:
        """Predict every batch."""
        with torch.inference_mode():
            for x in batches:
                self.network(x)

    def sample(self) -> float:
        """Return seconds per sequence."""
        seconds = self.setting.timed(lambda: self.passes(self.batches))
        return seconds / sum(len(x) for x in self.batches) * self.setting.n_edits

    def effects(self) -> np.ndarray:
        """Return the effects of the edits that are checked."""
        x = self.setting.mutants(self.setting.checked)
        with torch.inference_mode():
            y = torch.cat([self.network(part) for part in x.split(min(self.batch_size, len(x)))])
        return (y[1:] - y[:1]).cpu().numpy()


class ChannelsLast(Passes):
    """The same with channels last."""

    name: ClassVar[str] = "channels_last"

    def prepare(self, setting: Setting) -> nn.Module:
        """Convert the network, and check that it is the same."""
        x = setting.mutants(setting.checked[:3])
        with torch.inference_mode():
            expected = setting.network(x)
            try:
                network = to_channels_last(setting.network)
                found = network(x)
            except (RuntimeError, ValueError, TypeError) as error:
                raise UnavailableError(f"cannot be converted: {line(error)}") from error
        tolerance = 1e-4 if setting.device.type == "cpu" else 5e-3  # TF32 on a GPU
        if not torch.allclose(found, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max())):
            raise UnavailableError("converted, it predicts something else")
        return network


class TangermemeSlow:
    """tangermeme's `saturation_mutagenesis(fast=False)` on spans of the sequence."""

    name: ClassVar[str] = "tangermeme_slow"

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.module = tangermeme()
        self.x = setting.mutants(np.arange(0)).cpu()
        self.batch_size, per_edit = setting.tune(self.per_edit)
        self.extrapolated = per_edit * setting.n_edits > setting.seconds
        n = min(setting.case.length, max(1, int(setting.seconds / per_edit / 3)))
        self.spans = [(0, setting.case.length)]
        if self.extrapolated:
            width = max(1, min(n // 2, setting.case.length // 2))
            self.spans = [(0, width), (setting.case.length - width, setting.case.length)]
        self.note = f"batch {self.batch_size}"

    def run(self, first: int, last: int, batch_size: int) -> None:
        """Predict every edit of a span."""
        options = {"batch_size": batch_size, "raw_outputs": True, "device": str(self.setting.device)}
        self.module.saturation_mutagenesis(self.setting.network, self.x, start=first, end=last, fast=False, **options)

    def per_edit(self, batch_size: int) -> float:
        """Return the time of an edit in batches of this size."""
        width = min(self.setting.case.length, max(1, batch_size // 3))
        self.run(0, width, batch_size)
        return min(self.setting.timed(lambda: self.run(0, width, batch_size)) for _ in range(2)) / (3 * width + 1)

    def sample(self) -> float:
        """Return seconds per sequence."""
        seconds = self.setting.timed(lambda: [self.run(*span, self.batch_size) for span in self.spans])
        n = sum(3 * (last - first) + 1 for first, last in self.spans)  # each predicts its reference as well
        return seconds / n * (self.setting.n_edits + 1)


class TangermemeFast:
    """tangermeme's `saturation_mutagenesis(fast=True)`, once captured; the capture is told apart in the note.

    It captures a network only for a job above 30 s, estimated on its first batch. Here the public function is called
    once with that limit, `_FAST_MIN_SECONDS`, at 0, and its class of captured networks recorded: so its own check ran
    and the path is known, and what it captured can be timed without the capture. Where it would decline because fast
    is slower than slow, that limit is lifted too and the note says so.
    """

    name: ClassVar[str] = "tangermeme_fast"

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.module = tangermeme()
        start = time.perf_counter()
        fast, said = self.capture(most_relative_time=1.0)
        note = ""
        if fast is None and "fast=True took" in said:
            note = "; it would take its slow path, as faster"
            fast, said = self.capture(most_relative_time=float("inf"))
        if fast is None:
            raise UnavailableError(said)
        self.fast = fast
        first = time.perf_counter() - start
        _, self.bases, self.positions = self.module._single_edits(fast.X[0], 0, setting.case.length)
        self.batch_size, per_edit = setting.tune(self.per_edit)
        self.extrapolated = per_edit * setting.n_edits > 4 * setting.seconds  # whole runs where they are bearable
        n = int(setting.seconds / per_edit / self.batch_size) if self.extrapolated else 0
        self.batches = setting.spread(self.batch_size, max(2, n)) if self.extrapolated else [np.arange(setting.n_edits)]
        self.note = f"batch {self.batch_size}, first call {first:.0f} s with capture and check{note}"

    def capture(self, most_relative_time: float) -> tuple[Any, str]:
        """Call the public function on the whole sequence; return what it captured and used, or why it did not."""
        module, made = self.module, []

        class Recorded(module._FastISM):
            n_predicted = 0

            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments)
                made.append(self)

            def predict_edits(self, i: int, chars: torch.Tensor, *arguments: Any) -> Any:
                Recorded.n_predicted = len(chars)
                return super().predict_edits(i, chars, *arguments)

        kept = module._FastISM, module._FAST_MIN_SECONDS, module._FAST_MAX_RELATIVE_TIME
        module._FastISM, module._FAST_MIN_SECONDS, module._FAST_MAX_RELATIVE_TIME = Recorded, 0.0, most_relative_time
        batch_size = 32
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                options = {"batch_size": batch_size, "raw_outputs": True, "device": str(self.setting.device)}
                x = self.setting.mutants(np.arange(0)).cpu()
                module.saturation_mutagenesis(self.setting.network, x, fast=True, **options)
        finally:
            module._FastISM, module._FAST_MIN_SECONDS, module._FAST_MAX_RELATIVE_TIME = kept
        said = [str(w.message) for w in caught if "is using fast=False" in str(w.message)]
        if said or not made:
            return None, said[0].split(". Pass fast=False")[0] if said else "it did not try"
        if Recorded.n_predicted < self.setting.n_edits - batch_size:
            return None, "it captured the network, but did not use it"
        return made[-1], ""

    def run(self, batches: list[np.ndarray], batch_size: int) -> list[torch.Tensor]:
        """Predict batches of edits."""
        return [self.fast.predict_edits(0, self.bases[b], self.positions[b], batch_size) for b in batches]

    def per_edit(self, batch_size: int) -> float:
        """Return the time of an edit in batches of this size."""
        batches = self.setting.spread(batch_size, 1)
        self.run(batches, batch_size)
        return min(self.setting.timed(lambda: self.run(batches, batch_size)) for _ in range(2)) / len(batches[0])

    def sample(self) -> float:
        """Return seconds per sequence: the activations of its reference, then its edits."""
        self.fast._example = None
        reference = self.setting.timed(lambda: self.fast._set_example(0))
        seconds = self.setting.timed(lambda: self.run(self.batches, self.batch_size))
        return reference + seconds / sum(len(b) for b in self.batches) * self.setting.n_edits

    def effects(self) -> np.ndarray:
        """Return the effects of the edits that are checked."""
        every = single_edits(self.setting.codes[:1])
        checked = self.setting.checked
        bases, positions = (torch.from_numpy(a[checked].astype(np.int64)) for a in (every.base, every.offset))
        y = self.fast.predict_edits(0, bases, positions, self.batch_size)
        with torch.inference_mode():
            reference = self.setting.network(self.setting.mutants(np.arange(0)))
        return (y - reference.cpu()).numpy()


class Ours:
    """The windowed engine of `deepmr`, on whole sequences; tracing is not timed, as it is not for tangermeme."""

    name: ClassVar[str] = "ours"
    extrapolated: ClassVar[bool] = False

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        start = time.perf_counter()
        try:
            self.engine = traced(setting.network, setting.case.length)
        except CaptureError as error:
            raise UnavailableError(line(error)) from error
        seconds = time.perf_counter() - start
        codes = setting.codes
        self.schedule = self.engine.schedule(n_loci=len(codes), per_position=3.0)
        full = self.engine.operations_at_full_length()
        self.note = (
            f"{len(codes)} sequences, windows of {self.schedule.width} positions, {self.schedule.n_loci} loci at once, "
            f"{len(full)} operations at full length, traced in {seconds:.1f} s"
        )
        self.found = self.predict(single_edits(codes[:1, :1]), codes[:1])

    def predict(self, edits: Edits, codes: np.ndarray) -> np.ndarray:
        """Return the effects of edits: (edits, tasks)."""
        return self.engine.predict(codes, edits, schedule=self.schedule).delta

    def sample(self) -> float:
        """Return seconds per sequence."""
        edits = single_edits(self.setting.codes)
        seconds, self.found = self.setting.timed_result(lambda: self.predict(edits, self.setting.codes))
        return seconds / len(self.setting.codes)

    def effects(self) -> np.ndarray:
        """Return the effects of the edits that are checked."""
        codes = self.setting.codes[:1]
        return self.predict(single_edits(codes), codes)[self.setting.checked]


ENGINES = {engine.name: engine for engine in (Passes, ChannelsLast, TangermemeFast, TangermemeSlow, Ours)}


def tangermeme() -> Any:
    """Return the module, which the package hides behind the function of that name."""
    try:
        return importlib.import_module("tangermeme.saturation_mutagenesis")
    except ImportError as error:
        raise UnavailableError("tangermeme is not installed") from error


def line(error: BaseException) -> str:
    """Return the first line of an error."""
    return next(iter(str(error).splitlines()), type(error).__name__)
