"""Where tasks are done: here, in threads, in processes, or on a Dask cluster."""

import logging
import multiprocessing
import os
import pickle
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from deepmr.cluster.tasks import NOTHING, Columns, Source, Task, in_memory, run_task
from deepmr.errors import DeepMRError, InputError
from deepmr.population.scan import Scan

log = logging.getLogger(__name__)

LOCAL = ("synchronous", "threads", "processes")
LOST = ("KilledWorker", "CancelledError", "FutureCancelledError", "FuturesCancelledError")  # of Dask, worth another try
AHEAD = 2  # tasks given to each core of a Dask cluster: one to work on, one that waits
Done = Generator[tuple[Task, list[Columns]], None, None]  # in the order of the tasks
Run = Callable[[Scan, Iterable[Task]], Done]


@contextmanager
def backend(where: Any, n_workers: int | None, retries: int) -> Iterator[Run]:
    """Yield what runs tasks somewhere, and gives back each with its results as soon as all before it are done.

    Tasks are taken one by one, only a few more than are worked on: what they hold is never in memory as a whole.

    Parameters
    ----------
    where, n_workers, retries : as in `associate_on`.

    Raises
    ------
    InputError
        When there is no such place, or Dask is needed and not installed.
    """
    n = n_workers or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if hasattr(where, "scatter") and hasattr(where, "submit"):
        yield partial(_on_dask, where, retries)
    elif where == "synchronous":
        yield _here
    elif where == "threads":
        with _ended(ThreadPoolExecutor(n)) as pool:
            yield partial(_in_pool, pool, n, run_task)
    elif where == "processes":
        # A fork of a process with threads of linear algebra can hang.
        context = multiprocessing.get_context("spawn")
        with _ended(ProcessPoolExecutor(n, mp_context=context, initializer=_leave_interrupts)) as pool:
            yield partial(_in_processes, pool, n)
    elif isinstance(where, str | Path) and ("://" in str(where) or str(where).endswith(".json")):
        with _dask().Client(
            **({"address": where} if "://" in str(where) else {"scheduler_file": str(where)})
        ) as client:
            yield partial(_on_dask, client, retries)
    else:
        raise InputError(
            f"work is done on a Dask client, at the address or in the .json file of a scheduler, or by one of "
            f"{', '.join(LOCAL)}; got {where!r}"
        )


@contextmanager
def _ended(pool: Executor) -> Iterator[Executor]:
    """Yield a pool that at the end finishes what is in hand, and begins nothing that waits."""
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts() -> None:
    """Let Ctrl-C, which every process of a terminal gets, be the business of the one that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _here(scan: Scan, tasks: Iterable[Task]) -> Done:
    for task in tasks:
        yield task, run_task(scan, task)


def _in_pool(
    pool: Executor, n: int, work: Callable[[Any, Task], list[Columns]], given: Any, tasks: Iterable[Task]
) -> Done:
    waiting: deque[tuple[Task, Future[list[Columns]]]] = deque()
    try:
        for task in tasks:
            waiting.append((task, pool.submit(work, given, task)))
            if len(waiting) > n:
                yield _first(waiting)
        while waiting:
            yield _first(waiting)
    except BrokenProcessPool as error:
        raise DeepMRError("a worker process ended before its work, as it does when memory runs out") from error
    finally:
        for _, future in waiting:
            future.cancel()


def _first(waiting: deque[tuple[Task, Future[list[Columns]]]]) -> tuple[Task, list[Columns]]:
    task, future = waiting.popleft()
    return task, future.result()


def _in_processes(pool: Executor, n: int, scan: Scan, tasks: Iterable[Task]) -> Done:
    """Run tasks in processes, which read what all tasks share from files: it is too large to go with each of them."""
    with tempfile.TemporaryDirectory(prefix="deepmr-scan-") as name:
        folder = Path(name)
        _store(folder / "scan.pickle", scan)
        given: list[Source] = []

        def light(task: Task) -> Task:
            if in_memory(task.source):
                return task
            if not given:
                _store(folder / "source.pickle", task.source)
                given.append(task.source)
            return replace(task, source=NOTHING)

        yield from _in_pool(pool, n, _run_from_files, folder, map(light, tasks))


def _store(path: Path, content: Any) -> None:
    path.write_bytes(pickle.dumps(content, protocol=5))


def _run_from_files(folder: Path, task: Task) -> list[Columns]:
    if not len(task.source.variants):
        task = replace(task, source=_loaded(folder / "source.pickle"))
    return run_task(_loaded(folder / "scan.pickle"), task)


@lru_cache(maxsize=2)
def _loaded(path: Path) -> Any:
    return pickle.loads(path.read_bytes())  # noqa: S301  written by the process that started this one


@dataclass(slots=True)
class _Sent:
    """A task on a cluster, and the future of its results."""

    task: Task
    future: Any


class _Shared:
    """What tasks on a cluster have in common, sent to its workers once."""

    def __init__(self, client: Any, scan: Scan, retries: int) -> None:
        self._client, self._scan, self._retries = client, scan, retries
        self.send()

    def send(self) -> None:
        """Send it, again where workers were lost with it."""
        self._client.wait_for_workers(1)
        self._given = self._client.scatter(self._scan, broadcast=True, hash=False)
        self._source: tuple[Source, Any] | None = None

    def submit(self, task: Task) -> Any:
        """Give a task to the cluster, without what its workers have."""
        if self._source is None or self._source[0] is not task.source:
            whole = not in_memory(task.source)
            self._source = task.source, self._client.scatter(task.source, broadcast=whole, hash=False)
        return self._client.submit(
            _run_with_source, self._given, self._source[1], replace(task, source=NOTHING), pure=False,
            retries=self._retries,
        )  # fmt: skip


def _on_dask(client: Any, retries: int, scan: Scan, tasks: Iterable[Task]) -> Done:
    """Run tasks on a cluster; what a lost worker had is sent again."""
    shared, left, lost = _Shared(client, scan, retries), iter(tasks), 0
    waiting: deque[_Sent] = deque()
    try:
        while True:
            room = AHEAD * max(sum(client.ncores().values()), 1)
            while len(waiting) < room and (task := next(left, None)) is not None:
                waiting.append(_Sent(task, shared.submit(task)))
            if not waiting:
                return
            try:
                found = waiting[0].future.result()
            except BaseException as error:
                if type(error).__name__ not in LOST:
                    raise
                lost += 1
                if lost > retries:
                    raise DeepMRError(f"a task was lost with its worker, {lost} times over") from error
                log.warning("a worker was lost; its tasks are done again")
                shared.send()
                for sent in waiting:
                    if sent.future.status != "finished":
                        sent.future = shared.submit(sent.task)
                continue
            lost = 0
            yield waiting.popleft().task, found
    finally:
        client.cancel([sent.future for sent in waiting])


def _run_with_source(scan: Scan, source: Any, task: Task) -> list[Columns]:
    return run_task(scan, replace(task, source=source))


def _dask() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise InputError("a cluster needs Dask, which is not installed: pip install 'deepmr[cluster]'") from error
    return distributed
