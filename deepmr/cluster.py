"""The same blocks of work on several processes or machines: association in threads, processes, or on a Dask cluster."""

import multiprocessing
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from deepmr import checks
from deepmr.cohort import ArrayGenotypes, Cohort, Genotypes
from deepmr.errors import DeepMRError, InputError
from deepmr.io.marker_store import MarkerStore
from deepmr.population.association import Associations, Precision, Progress, cut_blocks
from deepmr.population.marker_statistics import MarkerTest
from deepmr.population.null_model import OnBoundary
from deepmr.population.scan import Gamma, Scan, block_table, prepare_scan, scan_block
from deepmr.population.spectrum import Spectrum
from deepmr.population.stored import check_stored_samples, scan_stored

LOCAL = ("synchronous", "threads", "processes")
LOST = ("KilledWorker", "CancelledError", "FutureCancelledError", "FuturesCancelledError")  # of Dask, worth another try
Columns = dict[str, np.ndarray]
Stretch = tuple[str, list[tuple[int, int]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Consecutive blocks of one chromosome, and where they are read.

    Attributes
    ----------
    source : genotypes or a store, of which `first` is variant 0.
    pieces : first variant and the one after the last, of each block.
    min_mac, max_missing : as in `prepare_markers`.
    n_threads : of linear algebra.
    """

    source: Genotypes | MarkerStore
    first: int
    pieces: tuple[tuple[int, int], ...]
    min_mac: int | float
    max_missing: int | float
    n_threads: int


Run = Callable[[Scan, Sequence[Task], Callable[[int], None]], list[list[Columns]]]


def associate_on(
    where: Any,
    cohort: Cohort,
    spectra: Spectrum | Callable[[str], Spectrum],
    *,
    test: MarkerTest = "f",
    gamma: Gamma = "null",
    precision: Precision = "float64",
    on_boundary: OnBoundary = "ols",
    min_mac: int | float = 0.0,
    max_missing: int | float = 1.0,
    block: int = 1024,
    store: MarkerStore | None = None,
    shard: str | None = None,
    blocks_per_task: int = 8,
    n_workers: int | None = None,
    n_threads: int = 1,
    retries: int = 2,
    progress: Progress | None = None,
) -> Associations:
    """Test every variant for association with every trait, several blocks of variants at a time.

    Parameters
    ----------
    where
        A `distributed.Client`, whatever its cluster (local, dask-jobqueue and so on); the address of a scheduler, such
        as `tcp://host:8786`, or its `.json` file; or, without Dask, `synchronous`, `threads` or `processes`.
    cohort
        Without missing phenotypes (`Cohort.complete`). Genotypes in memory are cut and sent, those in files are opened
        on the worker by their path, which must be the same there.
    spectra, test, gamma, precision, on_boundary, min_mac, max_missing, block
        As in `associate_variants`.
    store
        Rotated markers to read instead of genotypes. Its block, precision and limits hold, whatever is given here.
    shard
        Part of the blocks, such as 2/8, for jobs that know nothing of each other: the tables of all parts, one after
        the other, are that of the whole.
    blocks_per_task
        Blocks that a worker gets at once: more of them cost less communication, fewer are better balanced.
    n_workers
        Threads or processes here; by default one a core.
    n_threads
        Threads of linear algebra in each worker.
    retries
        How often a task is given to Dask again when it fails or its worker is lost.
    progress
        Called after every task with variants done and variants in all (of this part).

    Raises
    ------
    InputError
        When `where` is not known, Dask is needed and not there, or a part has no blocks.
    DeepMRError
        When workers were lost more often than `retries` allows.

    Notes
    -----
    Blocks lie in a fixed grid and are put together in its order, so the table is the same to the last bit, and that of
    `associate_variants` on as many threads of linear algebra, however the blocks are spread. Null models are fitted
    here, once; workers get what tests need of them.
    """
    for name, value in {"blocks_per_task": blocks_per_task, "n_workers": n_workers, "n_threads": n_threads}.items():
        checks.at_least(name, value, 1)
    checks.at_least("retries", retries, 0)
    source: Genotypes | MarkerStore = cohort.genotypes
    if store is not None:
        check_stored_samples(store, cohort)
        source, block, precision = store, store.block, store.precision
    variants = source.variants
    whole = list(cut_blocks(variants, block, by_chromosome=not isinstance(spectra, Spectrum)))
    parts = whole if shard is None else take_shard(whole, shard)
    total, done = sum(stop - start for _, pieces in parts for start, stop in pieces), 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    tables, nulls = [], {}
    with threadpool_limits(n_threads), _backend(where, n_workers, retries) as run:
        for chrom, pieces in parts:
            spectrum = spectra if isinstance(spectra, Spectrum) else spectra(chrom)
            if store is not None:
                store.check_spectrum(chrom, spectrum)
            scan = prepare_scan(
                cohort,
                spectrum,
                test=test,
                gamma=gamma,
                precision=precision,
                on_boundary=on_boundary,
                n_markers=0 if store is not None else _n_markers(whole, pieces[0]),
            )
            nulls[chrom] = scan.null
            groups = [tuple(pieces[k : k + blocks_per_task]) for k in range(0, len(pieces), blocks_per_task)]
            tasks = [
                Task(
                    **_cut(source, group[0][0], group[-1][1]),
                    pieces=group,
                    min_mac=min_mac,
                    max_missing=max_missing,
                    n_threads=n_threads,
                )
                for group in groups
            ]
            for task, found in zip(tasks, run(scan, tasks, advance), strict=True):
                for (start, stop), columns in zip(task.pieces, found, strict=True):
                    tables.append(block_table(variants.iloc[start:stop], cohort.traits, columns))
    sd = cohort.phenotypes.std(0, ddof=1)
    return Associations(
        table=pd.concat(tables, ignore_index=True),
        nulls=nulls,
        trait_sd=dict(zip(cohort.traits, sd.tolist(), strict=True)),
    )


def take_shard(stretches: Sequence[Stretch], shard: str) -> list[Stretch]:
    """Return part i of n of the blocks, in order, so that parts one after the other are the whole.

    Parameters
    ----------
    stretches : of `cut_blocks`.
    shard : i/n.

    Raises
    ------
    InputError
        When it is not of that form, or there are fewer blocks than parts.
    """
    numbers = shard.split("/")
    if len(numbers) != 2 or not all(n.isdigit() for n in numbers) or not 1 <= int(numbers[0]) <= int(numbers[1]):
        raise InputError(f"--shard must be i/n with 1 <= i <= n, such as 2/8; got {shard!r}")
    i, n = int(numbers[0]), int(numbers[1])
    blocks = sum(len(pieces) for _, pieces in stretches)
    if n > blocks:
        raise InputError(f"there are {blocks} blocks of variants for {n} shards: take fewer shards or smaller blocks")
    low, high, seen = (i - 1) * blocks // n, i * blocks // n, 0
    found: list[Stretch] = []
    for chrom, pieces in stretches:
        mine = pieces[max(low - seen, 0) : max(high - seen, 0)]
        if mine:
            found.append((chrom, mine))
        seen += len(pieces)
    return found


def run_task(scan: Scan, task: Task) -> list[Columns]:
    """Test the blocks of a task; what a worker does.

    Parameters
    ----------
    scan : of `prepare_scan`.
    task : the blocks.
    """
    threadpool_limits(task.n_threads)  # stays so in a worker; `associate_on` undoes it where it was called
    found = []
    for start, stop in task.pieces:
        a, b = start - task.first, stop - task.first
        if isinstance(task.source, MarkerStore):
            found.append(scan_stored(scan, task.source, a, b))
        else:
            dosages = task.source.read(a, b)
            found.append(scan_block(scan, dosages, min_mac=task.min_mac, max_missing=task.max_missing))
    return found


def _n_markers(whole: Sequence[Stretch], piece: tuple[int, int]) -> int:
    """Return how many variants the stretch of a block has, ours or not: it decides how they are tested."""
    pieces = next(pieces for _, pieces in whole if piece in pieces)
    return pieces[-1][1] - pieces[0][0]


def _cut(source: Genotypes | MarkerStore, start: int, stop: int) -> dict[str, Any]:
    """Return what is read: of genotypes in memory, the part to be sent; those in files are opened there."""
    if isinstance(source, ArrayGenotypes):
        part = replace(source, variants=source.variants.iloc[start:stop], dosages=source.dosages[start:stop])
        return {"source": part, "first": start}
    return {"source": source, "first": 0}


@contextmanager
def _backend(where: Any, n_workers: int | None, retries: int) -> Iterator[Run]:
    """Yield what runs tasks there."""
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
        advance(_size(task))
    return found


def _in_pool(
    pool: Executor, work: Callable[[Any, Task], list[Columns]], scan: Any, tasks: Sequence[Task], advance: Callable
) -> list[list[Columns]]:
    futures = {pool.submit(work, scan, task): task for task in tasks}
    try:
        for future in as_completed(futures):
            future.result()
            advance(_size(futures[future]))
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
                _run_with_source, shared, sources[key], replace(task, source=_NOTHING), pure=False, retries=retries
            )
            futures[future] = k
        try:
            for future in _dask().as_completed(list(futures)):
                if future.status == "finished":
                    found[futures[future]] = future.result()
                    advance(_size(tasks[futures[future]]))
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


def _size(task: Task) -> int:
    return task.pieces[-1][1] - task.pieces[0][0]


_NOTHING = ArrayGenotypes(
    variants=pd.DataFrame(columns=["variant_id", "chrom", "pos", "effect_allele", "other_allele"]),
    samples=pd.Index([], dtype=object),
    dosages=np.empty((0, 0)),
)
