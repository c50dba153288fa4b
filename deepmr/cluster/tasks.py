"""A task: some blocks of variants, what it reads them from, and their tests."""

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

    source: Source
    first: int
    pieces: tuple[tuple[int, int], ...]
    min_mac: int | float
    max_missing: int | float
    n_threads: int


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


def task_size(task: Task) -> int:
    """Return how many variants a task has.

    Parameters
    ----------
    task : the blocks.
    """
    return task.pieces[-1][1] - task.pieces[0][0]


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
