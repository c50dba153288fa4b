"""Tables of associations, written block by block: a scan is never in memory as a whole."""

import gzip
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from deepmr.io.files import atomic_path

DIGITS = 10  # that count: (beta / se)^2 keeps nine
LEVEL = 4  # of gzip: two thirds of the size that the fastest makes, in half the time of its default


class AssociationWriter:
    """Adds blocks of associations to a table that is being written."""

    def __init__(self, handle: io.TextIOBase) -> None:
        self._handle = handle
        self._columns: list[str] = []

    def add(self, table: pd.DataFrame) -> None:
        """Write a block; the first one gives the header. Missing values are empty cells.

        Parameters
        ----------
        table : the same columns each time.
        """
        if not self._columns:
            self._columns = list(table.columns)
            self._handle.write("\t".join(self._columns) + "\n")
        cells = [_cells(table[name]) for name in self._columns]
        self._handle.writelines("\t".join(row) + "\n" for row in zip(*cells, strict=True))


@contextmanager
def association_writer(path: Path) -> Iterator[AssociationWriter]:
    """Yield a writer of a tab-separated table, gzip where its name ends in .gz; all of it is there at the end, or none.

    Parameters
    ----------
    path : file to write; an existing one is replaced.

    Raises
    ------
    InputError
        When its folder is missing or cannot be written to.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as raw:
        if path.suffix == ".gz":
            with (
                gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=LEVEL, mtime=0) as packed,
                io.TextIOWrapper(packed, encoding="utf-8", newline="", write_through=False) as text,
            ):
                yield AssociationWriter(text)
        else:
            with io.TextIOWrapper(raw, encoding="utf-8", newline="") as text:
                yield AssociationWriter(text)


def _cells(column: pd.Series) -> Sequence[str]:
    """Return a column as text."""
    if column.dtype.kind == "f":
        return ["" if value != value else f"{value:.{DIGITS}g}" for value in column.tolist()]
    return [str(value) for value in column.tolist()]
