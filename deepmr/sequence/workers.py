"""Fit several networks: on CPUs one single-threaded process a core, on a GPU one network after the other."""

import multiprocessing
import os
import queue
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepmr.errors import DeepMRError
from deepmr.sequence.fitting import FittedNetwork, TrainingData, TrainOptions, fit_network
from deepmr.sequence.losses import TaskSpec

# In a worker: the queue of epochs done, and whether to stop. Both can only be inherited, hence the module's variables.
_epochs: Any = None
_stop: Any = None


def fit_networks(
    data: TrainingData,
    tasks: tuple[TaskSpec, ...],
    *,
    options: TrainOptions,
    seeds: Mapping[str, int],
    device: torch.device,
    n_workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, FittedNetwork]:
    """Fit one network a seed; the result does not depend on the number of processes.

    Parameters
    ----------
    data, tasks, options, device : as for `fit_network`.
    seeds : of every member, by name.
    n_workers : processes on a CPU; by default one a core that this process may use.
    progress : called with epochs done.

    Raises
    ------
    DeepMRError
        When a member fails, naming it; an `InputError` stays one.
    """
    n = min(len(seeds), n_workers or available_cores())
    if device.type == "cpu" and n > 1:
        return _in_processes(data, tasks, options, seeds, n, progress)
    fitted = {}
    for name, seed in seeds.items():
        try:
            fitted[name] = fit_network(data, tasks, options=options, seed=seed, device=device, progress=progress)
        except DeepMRError as error:
            raise type(error)(f"{name}: {error}") from error
    return fitted


def available_cores() -> int:
    """Return the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_processes(
    data: TrainingData,
    tasks: tuple[TaskSpec, ...],
    options: TrainOptions,
    seeds: Mapping[str, int],
    n_workers: int,
    progress: Callable[[int], None] | None,
) -> dict[str, FittedNetwork]:
    context = multiprocessing.get_context("spawn")  # a fork of a process that has used torch can hang
    epochs, stop = context.Queue(), context.Event()
    with tempfile.TemporaryDirectory(prefix="deepmr-train-") as folder:
        file = Path(folder) / "data.npz"
        np.savez(file, **{name: getattr(data, name) for name in TrainingData.__slots__})
        pool = ProcessPoolExecutor(n_workers, mp_context=context, initializer=_start_worker, initargs=(epochs, stop))
        try:
            futures = {pool.submit(_fit, file, tasks, options, seed): name for name, seed in seeds.items()}
            pending = set(futures)
            while pending:
                done, pending = wait(pending, timeout=0.2, return_when=FIRST_EXCEPTION)
                _drain(epochs, progress)
                for future in done:
                    _check(future.exception(), futures[future])
            return {futures[future]: future.result() for future in futures}
        finally:
            stop.set()  # after an error or Ctrl-C the others end with the epoch in hand
            pool.shutdown(cancel_futures=True)
            _drain(epochs, progress)


def _check(error: BaseException | None, name: str) -> None:
    """Raise a worker's exception with the member's name."""
    if isinstance(error, BrokenProcessPool):
        raise DeepMRError(
            f"{name}: a training process died: killed, out of memory, or started from a script whose call is not "
            "under `if __name__ == '__main__':`; n_workers=1 trains in this process"
        ) from error
    if isinstance(error, DeepMRError):
        raise type(error)(f"{name}: {error}") from error
    if error is not None:
        raise DeepMRError(f"{name}: training failed: {type(error).__name__}: {error}") from error


def _drain(epochs: Any, progress: Callable[[int], None] | None) -> None:
    while True:
        try:
            n = epochs.get_nowait()
        except queue.Empty:
            return
        if progress is not None:
            progress(n)


def _start_worker(epochs: Any, stop: Any) -> None:
    global _epochs, _stop
    _epochs, _stop = epochs, stop
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent,), daemon=True).start()


def _die_with(parent: Any) -> None:
    """End this process when its parent does: it would train on, and then wait for ever."""
    parent.join()
    os._exit(1)


def _fit(file: Path, tasks: tuple[TaskSpec, ...], options: TrainOptions, seed: int) -> FittedNetwork:
    with np.load(file) as arrays:
        data = TrainingData(**arrays)
    return fit_network(data, tasks, options=options, seed=seed, device=torch.device("cpu"), progress=_report)


def _report(n_epochs: int) -> None:
    _epochs.put(n_epochs)
    if _stop.is_set():
        raise DeepMRError("stopped")
