"""Tables of associations, written block by block: a scan is never in memory as a whole."""

import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from deepmr.errors import InputError
from deepmr.io.files import GZIP, atomic_path

DIGITS = 10  # that count: (beta / se)^2 keeps nine
Binary = gzip.GzipFile | io.BufferedReader | io.BufferedWriter
TEXT = ("variant_id", "chrom", "effect_allele", "other_allele", "trait", "status")  # columns of words
CHUNK = 100_000  # rows read at once
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
    with (
        atomic_path(path) as temporary,
        packed_text(temporary) as raw,
        io.TextIOWrapper(raw, encoding="utf-8", newline="", write_through=False) as text,
    ):
        yield AssociationWriter(text)


@contextmanager
def packed_text(path: Path) -> Iterator[Binary]:
    """Yield a file to write the bytes of a text to, gzip where its name ends in .gz.

    Parameters
    ----------
    path : file to write; an existing one is replaced.
    """
    with path.open("wb") as raw:
        if path.suffix != ".gz":
            yield raw
            return
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=LEVEL, mtime=0) as packed:
            yield packed


@contextmanager
def open_associations(path: Path) -> Iterator[Binary]:
    """Yield the text of a table of associations as bytes, its compression undone.

    Parameters
    ----------
    path : a file that `association_writer` wrote.

    Raises
    ------
    InputError
        When it cannot be read, or is damaged.
    """
    try:
        raw = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    with raw:
        if raw.peek(2)[:2] != GZIP:
            yield raw
            return
        try:
            with gzip.GzipFile(fileobj=raw) as handle:
                yield handle
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"{path}: the gzip data are damaged: {' '.join(str(error).split())}") from error


def read_associations(path: Path, columns: Sequence[str], *, rows: int = CHUNK) -> Iterator[pd.DataFrame]:
    """Yield a table of associations some rows at a time; nothing of one without a header.

    Parameters
    ----------
    path : a file that `association_writer` wrote.
    columns : to read.
    rows : at a time.
    """
    with open_associations(path) as handle:
        try:
            yield from pd.read_csv(
                handle, sep="\t", usecols=list(columns), chunksize=rows, keep_default_na=False,
                dtype=dict.fromkeys([name for name in TEXT if name in columns], str),
                na_values={name: [""] for name in columns if name not in TEXT},
            )  # fmt: skip
        except pd.errors.EmptyDataError:
            return
        except (ValueError, KeyError) as error:
            raise InputError(f"{path}: is not a table of associations: {' '.join(str(error).split())}") from error


def _cells(column: pd.Series) -> Sequence[str]:
    """Return a column as text."""
    if column.dtype.kind == "f":
        return ["" if value != value else f"{value:.{DIGITS}g}" for value in column.tolist()]
    return [str(value) for value in column.tolist()]
