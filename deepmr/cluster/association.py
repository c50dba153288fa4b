"""Association on several processes or machines, with results that do not depend on which does what."""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from deepmr import checks
from deepmr.cluster.backends import Run, backend
from deepmr.cluster.tasks import Columns, Source, Task, cut_tasks
from deepmr.cohort import Cohort
from deepmr.errors import InputError
from deepmr.io.marker_store import MarkerStore
from deepmr.population.association import Associations, Precision, Progress, cut_blocks, join_blocks
from deepmr.population.marker_statistics import MarkerTest
from deepmr.population.null_model import OnBoundary
from deepmr.population.scan import Gamma, Scan, block_table, prepare_scan
from deepmr.population.spectrum import Spectrum
from deepmr.population.stored import check_stored_samples

Stretch = tuple[str, list[tuple[int, int]]]
Name = TypeVar("Name")


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
        Called after every block with variants done and variants in all (of this part).

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
    source: Source = cohort.genotypes
    if store is not None:
        check_stored_samples(store, cohort)
        source, block, precision = store, store.block, store.precision
    variants = source.variants
    whole = list(cut_blocks(variants, block, by_chromosome=not isinstance(spectra, Spectrum)))
    parts = whole if shard is None else take_shard(whole, shard)
    total, done = sum(stop - start for _, pieces in parts for start, stop in pieces), 0
    tables, nulls = [], {}
    with threadpool_limits(n_threads), backend(where, n_workers, retries) as run:
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
            tasks = cut_tasks(
                source, pieces, blocks_per_task=blocks_per_task, min_mac=min_mac, max_missing=max_missing,
                n_threads=n_threads,
            )  # fmt: skip
            for start, stop, columns in scan_tasks(run, scan, tasks):
                tables.append(block_table(variants.iloc[start:stop], cohort.traits, columns))
                done += stop - start
                if progress is not None:
                    progress(done, total)
    return join_blocks(cohort, tables, nulls)


def scan_tasks(run: Run, scan: Scan, tasks: Iterable[Task]) -> Generator[tuple[int, int, Columns], None, None]:
    """Yield first variant, the one after the last, and results of each block, in order; drop what waits if stopped.

    Parameters
    ----------
    run : of `backend`.
    scan : of `prepare_scan`.
    tasks : of `cut_tasks`.
    """
    with closing(run(scan, tasks)) as done:
        for task, found in done:
            for (start, stop), columns in zip(task.pieces, found, strict=True):
                yield start, stop, columns


def shard_numbers(shard: str) -> tuple[int, int]:
    """Return i and n of i/n.

    Parameters
    ----------
    shard : such as 2/8.

    Raises
    ------
    InputError
        When it is not of that form.
    """
    numbers = shard.split("/")
    if len(numbers) != 2 or not all(n.isdecimal() for n in numbers) or not 1 <= int(numbers[0]) <= int(numbers[1]):
        raise InputError(f"--shard must be i/n with 1 <= i <= n, such as 2/8; got {shard!r}")
    return int(numbers[0]), int(numbers[1])


def take_shard(
    stretches: Sequence[tuple[Name, list[tuple[int, int]]]], shard: str
) -> list[tuple[Name, list[tuple[int, int]]]]:
    """Return part i of n of the blocks, in order, so that parts one after the other are the whole.

    Parameters
    ----------
    stretches : of `cut_blocks`, whatever their names.
    shard : i/n.

    Raises
    ------
    InputError
        When it is not of that form, or there are fewer blocks than parts.
    """
    i, n = shard_numbers(shard)
    blocks = sum(len(pieces) for _, pieces in stretches)
    if n > blocks:
        raise InputError(f"there are {blocks} blocks of variants for {n} shards: take fewer shards or smaller blocks")
    low, high, seen = (i - 1) * blocks // n, i * blocks // n, 0
    found = []
    for name, pieces in stretches:
        mine = pieces[max(low - seen, 0) : max(high - seen, 0)]
        if mine:
            found.append((name, mine))
        seen += len(pieces)
    return found


def _n_markers(whole: Sequence[Stretch], piece: tuple[int, int]) -> int:
    """Return how many variants the stretch of a block has, ours or not: it decides how they are tested."""
    pieces = next(pieces for _, pieces in whole if piece in pieces)
    return pieces[-1][1] - pieces[0][0]
