"""Tables of targets: what was measured at each locus."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr.errors import InputError
from deepmr.io.tables import numbers, read_table, write_table
from deepmr.types import Sequences

UNKNOWN = ("", "na")  # NaN is the result of a failed computation: it is refused, not taken for unknown
EXACT = 2.0**53  # whole numbers below it are exact as floating point


def read_targets(path: Path, sequences: Sequences) -> tuple[tuple[str, ...], Float[np.ndarray, "loci tasks"]]:
    """Read the targets of some sequences.

    Parameters
    ----------
    path
        Tab-separated with a header: a column `locus`, then a column a task. An empty cell or NA is unknown, NaN an
        error. Rows may be in any order.
    sequences
        The loci, joined by name.

    Returns
    -------
    tuple
        Names of the tasks; the targets in the order of the sequences, NaN where unknown.

    Raises
    ------
    InputError
        When a locus is missing, unknown or there twice, or a cell is not a finite number.
    """
    frame = read_table(path)
    if "locus" not in frame.columns:
        hint = "; needed tabs between columns" if len(frame.columns) == 1 and "," in str(frame.columns[0]) else ""
        raise InputError(f"{path}: the column 'locus' is missing; it has {', '.join(map(str, frame.columns))}{hint}")
    tasks = tuple(str(name) for name in frame.columns if name != "locus")
    if not tasks:
        raise InputError(f"{path}: has no column of targets beside 'locus'")
    names = pd.Index(frame["locus"].astype(str))
    if names.has_duplicates:
        raise InputError(f"{path}: the locus {names[names.duplicated()][0]!r} occurs more than once")
    wanted = pd.Index(sequences.loci["locus"].astype(str))
    absent, stray = wanted.difference(names, sort=False), names.difference(wanted, sort=False)
    if len(absent):
        raise InputError(f"{path}: {len(absent)} of {len(wanted)} sequences have no targets, first {absent[0]!r}")
    if len(stray):
        raise InputError(f"{path}: {len(stray)} of {len(names)} loci are not among the sequences, first {stray[0]!r}")
    values = np.stack([numbers(path, frame, task, missing="unknown", unknown=UNKNOWN) for task in tasks], axis=1)
    return tasks, values[names.get_indexer(wanted)]


def write_targets(
    path: Path, loci: Sequence[str], names: Sequence[str], values: Float[np.ndarray, "loci tasks"]
) -> None:
    """Write targets as `read_targets` reads them.

    Parameters
    ----------
    path
        File to write; an existing one is replaced.
    loci
        Names of the loci.
    names
        Names of the tasks.
    values
        Targets, NaN for unknown.
    """
    columns: dict[str, object] = {}
    for name, column in zip(names, np.asarray(values, dtype=float).T, strict=True):
        whole = np.all(np.isnan(column) | ((column == np.round(column)) & (np.abs(column) < EXACT)))
        columns[name] = pd.array(column, dtype="Int64" if whole else "Float64")
    write_table(pd.DataFrame({"locus": list(loci), **columns}), path)
