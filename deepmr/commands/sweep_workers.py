"""Processes that work through the runs of a sweep, one thread each."""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any

from deepmr.commands.progress import meter
from deepmr.commands.sweep_run import Loggers, complete_run, prepare
from deepmr.errors import DeepMRError
from deepmr.io.sweep_runs import TakenRun, fail_run, finish_run, open_runs, release_run, take_run
from deepmr.io.sweep_study import Study, open_study
from deepmr.io.sweep_table import count_runs

log = logging.getLogger(__name__)

POLL_S = 0.5
END_S = 15  # that a process has to end when it is asked to
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
FRUITLESS = 5  # processes that may die one after the other without a run being over


class Stopped(BaseException):
    """The process was asked to end."""


@dataclass(slots=True, kw_only=True)
class _Worker:
    process: Any
    messages: Connection


def work_in_processes(path: Path, *, n_workers: int, loggers: Loggers) -> None:
    """Work through the runs of a study in processes, until none is left that no other process has.

    Parameters
    ----------
    path
        `study.db`.
    n_workers
        Processes.
    loggers
        Where metrics go.

    Raises
    ------
    DeepMRError
        When a process cannot work at all, as when the data cannot be read. A run that takes its process down is given
        to another one, and fails when it has done so several times.
    """
    study = open_study(path)
    workers: list[_Worker] = []
    try:
        counts = count_runs(study)
        done, total = counts["finished"] + counts["failed"], sum(counts.values())
        if not open_runs(study):
            return
        with meter(description="sweep", total=total, unit="runs") as advance:
            advance(done)
            workers = [_start(path, loggers) for _ in range(min(n_workers, total - done))]
            deaths = 0
            while workers:
                wait([one.process.sentinel for one in workers], timeout=POLL_S)
                counts = count_runs(study)
                now = counts["finished"] + counts["failed"]
                if now > done:
                    advance(now - done)
                    done, deaths = now, 0
                for one in [one for one in workers if not one.process.is_alive()]:
                    workers.remove(one)
                    if _died(one):
                        deaths += 1
                        if deaths >= FRUITLESS:
                            raise DeepMRError(f"{deaths} processes died one after the other: killed, or out of memory")
                        workers.append(_start(path, loggers))
    finally:
        _end(workers)
        study.close()


def _start(path: Path, loggers: Loggers) -> _Worker:
    context = multiprocessing.get_context("spawn")
    messages, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(path, loggers, sender), daemon=False)
    before = {name: os.environ.get(name) for name in THREADS}
    with _without_interrupts():
        os.environ.update(dict.fromkeys(THREADS, "1"))  # read when a process loads its libraries
        try:
            process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
    sender.close()
    return _Worker(process=process, messages=messages)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let processes started here ignore Ctrl-C, which reaches a whole group: this process tells them to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _died(worker: _Worker) -> bool:
    """Return whether a process was killed; raise `DeepMRError` when it has failed."""
    worker.process.join()
    code = worker.process.exitcode
    try:
        said = worker.messages.recv() if worker.messages.poll() else None
    except EOFError:
        said = None
    worker.messages.close()
    if said is not None:
        raise DeepMRError(str(said))
    if code and code > 0:
        raise DeepMRError(
            f"a process of the sweep ended with code {code}: it could not begin, as when a script calls the sweep "
            "outside `if __name__ == '__main__':`"
        )
    return bool(code)


def _end(workers: list[_Worker]) -> None:
    for one in workers:
        one.process.terminate()
    deadline = time.monotonic() + END_S
    for one in workers:
        one.process.join(max(0.1, deadline - time.monotonic()))
        if one.process.is_alive():
            one.process.kill()
            one.process.join()


def work(path: Path, loggers: Loggers, messages: Connection) -> None:
    """Work through the runs of a study; the task of a process.

    Parameters
    ----------
    path : `study.db`.
    loggers : where metrics go.
    messages : takes what went wrong, where nothing can be done.
    """
    signal.signal(signal.SIGTERM, _stop)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    logging.getLogger("deepmr").addHandler(logging.NullHandler())  # what a fit warns of is in its record
    warnings.simplefilter("ignore")
    try:
        work_through(path, loggers)
    except Stopped:
        return
    except DeepMRError as error:
        messages.send(str(error))
    except Exception as error:  # a bug: its trace goes to stderr, as everywhere
        messages.send(f"{type(error).__name__}: {error}")
        raise


def _stop(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what follows gives the run back
    raise Stopped


def _die_with(parent: Any) -> None:
    """End this process when its parent does: nobody would stop it, or take note of what it does."""
    parent.join()
    os._exit(1)


def work_through(path: Path, loggers: Loggers) -> int:
    """Work through the runs of a study in this process; return how many it has had.

    Parameters
    ----------
    path : `study.db`.
    loggers : where metrics go.
    """
    study = open_study(path)
    n = 0
    try:
        prepared = None
        for run in _taken(study):
            try:
                if prepared is None:
                    prepared = prepare(study.config)
                _complete(study, run, prepared, loggers)
            except BaseException:
                release_run(study, run)
                raise
            n += 1
    finally:
        study.close()
    return n


def _complete(study: Study, run: TakenRun, prepared: Any, loggers: Loggers) -> None:
    try:
        metric, result = complete_run(study, run, prepared, loggers)
    except DeepMRError as error:
        fail_run(study, run, " ".join(str(error).split()))
    except Exception as error:  # whatever it is, the other runs can do without this one
        fail_run(study, run, f"{type(error).__name__}: {' '.join(str(error).split())}")
    else:
        finish_run(study, run, metric, result)


def _taken(study: Study) -> Iterator[TakenRun]:
    """Yield runs, each taken, until there is none left to take."""
    while True:
        n = 0
        for number, identifier in open_runs(study):
            run = take_run(study, number, identifier)
            if run is not None:
                n += 1
                yield run
        if not n:
            return
