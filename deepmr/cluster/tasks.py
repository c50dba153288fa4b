"""A task: some blocks of variants, what it reads them from, and their tests."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from deepmr.cohort import VARIANT_COLUMNS, ArrayGenotypes, Genotypes
from deepmr.io.genotypes_stored import StoredGenotypes
from deepmr.io.marker_store import MarkerStore
from deepmr.population.scan import Scan, scan_block
from deepmr.population.stored import scan_stored

Columns = dict[str, np.ndarray]
Source = Genotypes | MarkerStore
LIMIT = threading.local()  # on threads of linear algebra, as a worker has set it: to set it costs some ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Consecutive blocks of one chromosome, and where they are read.

    Attributes
    ----------
    source : genotypes or a store, of which `first` is variant 0.
    pieces : first variant and the one after the last, of each block.
    min_mac, max_missing : as in `prepare_markers`.
    n_threads : of linear algebra; None leaves them as they are.
    """

    source: Source
    first: int
    pieces: tuple[tuple[int, int], ...]
    min_mac: int | float
    max_missing: int | float
    n_threads: int | None


def run_task(scan: Scan, task: Task) -> list[Columns]:
    """Test the blocks of a task; what a worker does.

    Parameters
    ----------
    scan : of `prepare_scan`.
    task : the blocks.
    """
    if task.n_threads is not None and getattr(LIMIT, "n", None) != task.n_threads:
        threadpool_limits(task.n_threads)  # stays so in a worker; who asked for the scan undoes it at home
        LIMIT.n = task.n_threads
    found = []
    for start, stop in task.pieces:
        a, b = start - task.first, stop - task.first
        if isinstance(task.source, MarkerStore):
            found.append(scan_stored(scan, task.source, a, b))
        else:
            dosages = task.source.read(a, b)
            found.append(scan_block(scan, dosages, min_mac=task.min_mac, max_missing=task.max_missing))
    return found


def cut_tasks(
    source: Source,
    pieces: Sequence[tuple[int, int]],
    *,
    blocks_per_task: int,
    min_mac: int | float,
    max_missing: int | float,
    n_threads: int | None,
) -> Iterator[Task]:
    """Yield the tasks of a stretch of variants, each made when it is asked for.

    Parameters
    ----------
    source : genotypes or a store.
    pieces : first variant and the one after the last, of each block.
    blocks_per_task : how many blocks are a task.
    min_mac, max_missing, n_threads : of each task.
    """
    for k in range(0, len(pieces), blocks_per_task):
        group = tuple(pieces[k : k + blocks_per_task])
        part, first = cut_source(source, group[0][0], group[-1][1])
        yield Task(
            source=part, first=first, pieces=group, min_mac=min_mac, max_missing=max_missing, n_threads=n_threads
        )


def in_memory(source: Source) -> bool:
    """Return whether a part of it can be cut out and sent, as of genotypes in memory.

    Parameters
    ----------
    source : genotypes or a store.
    """
    return isinstance(source, ArrayGenotypes | StoredGenotypes)


def cut_source(source: Source, start: int, stop: int) -> tuple[Source, int]:
    """Return what a task reads and the number of its first variant: of genotypes in memory, a part that can be sent.

    Parameters
    ----------
    source : genotypes or a store; those in files stay whole, and are opened where they are read.
    start, stop : variants that are needed.
    """
    if isinstance(source, ArrayGenotypes):
        return replace(source, variants=source.variants.iloc[start:stop], dosages=source.dosages[start:stop]), start
    if isinstance(source, StoredGenotypes):
        return replace(source, variants=source.variants.iloc[start:stop], values=source.values[start:stop]), start
    return source, 0


NOTHING = ArrayGenotypes(
    variants=pd.DataFrame(columns=list(VARIANT_COLUMNS)),
    samples=pd.Index([], dtype=object),
    dosages=np.empty((0, 0)),
)
