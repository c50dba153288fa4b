"""Where tasks are done: here, in threads, in processes, or on a Dask cluster."""

import multiprocessing
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from deepmr.cluster.tasks import NOTHING, Columns, Task, run_task, task_size
from deepmr.errors import DeepMRError, InputError
from deepmr.population.scan import Scan

LOCAL = ("synchronous", "threads", "processes")
LOST = ("KilledWorker", "CancelledError", "FutureCancelledError", "FuturesCancelledError")  # of Dask, worth another try
Run = Callable[[Scan, Sequence[Task], Callable[[int], None]], list[list[Columns]]]


@contextmanager
def backend(where: Any, n_workers: int | None, retries: int) -> Iterator[Run]:
    """Yield what runs tasks somewhere.

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
        with ThreadPoolExecutor(n) as pool:
            yield partial(_in_pool, pool, run_task)
    elif where == "processes":
        # A fork of a process with threads of linear algebra can hang.
        with ProcessPoolExecutor(n, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield partial(_in_processes, pool)
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


def _here(scan: Scan, tasks: Sequence[Task], advance: Callable[[int], None]) -> list[list[Columns]]:
    found = []
    for task in tasks:
        found.append(run_task(scan, task))
        advance(task_size(task))
    return found


def _in_pool(
    pool: Executor, work: Callable[[Any, Task], list[Columns]], scan: Any, tasks: Sequence[Task], advance: Callable
) -> list[list[Columns]]:
    futures = {pool.submit(work, scan, task): task for task in tasks}
    try:
        for future in as_completed(futures):
            future.result()
            advance(task_size(futures[future]))
    except BrokenProcessPool as error:
        raise DeepMRError("a worker process ended before its work, as it does when memory runs out") from error
    finally:
        for future in futures:
            future.cancel()
    return [future.result() for future in futures]


def _in_processes(pool: Executor, scan: Scan, tasks: Sequence[Task], advance: Callable) -> list[list[Columns]]:
    with tempfile.TemporaryDirectory(prefix="deepmr-scan-") as folder:
        path = Path(folder) / "scan.pickle"
        path.write_bytes(pickle.dumps(scan, protocol=5))
        return _in_pool(pool, _run_from_file, path, tasks, advance)


def _run_from_file(path: Path, task: Task) -> list[Columns]:
    return run_task(_loaded(path), task)


@lru_cache(maxsize=1)
def _loaded(path: Path) -> Scan:
    return pickle.loads(path.read_bytes())  # noqa: S301  written by the process that started this one


def _on_dask(
    client: Any, retries: int, scan: Scan, tasks: Sequence[Task], advance: Callable[[int], None]
) -> list[list[Columns]]:
    """Run tasks on a cluster; what a lost worker had is sent again."""
    found: dict[int, list[Columns]] = {}
    for _ in range(retries + 1):
        client.wait_for_workers(1)
        shared = client.scatter(scan, broadcast=True, hash=False)
        sources: dict[int, Any] = {}  # one future for genotypes in files, one a task for those in memory
        futures = {}
        for k, task in enumerate(tasks):
            if k in found:
                continue
            key = id(task.source)
            if key not in sources:
                sources[key] = client.scatter(task.source, broadcast=task.first == 0, hash=False)
            future = client.submit(
                _run_with_source, shared, sources[key], replace(task, source=NOTHING), pure=False, retries=retries
            )
            futures[future] = k
        try:
            for future in _dask().as_completed(list(futures)):
                if future.status == "finished":
                    found[futures[future]] = future.result()
                    advance(task_size(tasks[futures[future]]))
                elif future.status == "error" and type(future.exception()).__name__ not in LOST:
                    raise future.exception()
        finally:
            client.cancel([*futures, shared, *sources.values()])
        if len(found) == len(tasks):
            return [found[k] for k in range(len(tasks))]
    lost = len(tasks) - len(found)
    raise DeepMRError(f"{lost} of {len(tasks)} tasks were lost with their workers, {retries + 1} times over")


def _run_with_source(scan: Scan, source: Any, task: Task) -> list[Columns]:
    return run_task(scan, replace(task, source=source))


def _dask() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise InputError("a cluster needs Dask, which is not installed: pip install 'deepmr[cluster]'") from error
    return distributed
