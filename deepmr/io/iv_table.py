"""Tables of samples, text or Parquet: some columns of them, as numbers, groups or identifiers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks
from deepmr.errors import InputError
from deepmr.io.delimited import BLANKS, Layout, check_cells, parse_table, split_cells, table_layout
from deepmr.io.files import read_bytes
from deepmr.io.tables import PARQUET, read_table

Separator = Literal["auto", "tab", "comma", "semicolon", "blank"]
SEPARATORS = {"auto": None, "tab": "\t", "comma": ",", "semicolon": ";", "blank": BLANKS}


@runtime_checkable
class SampleTable(Protocol):
    """A table with a row a sample, of which only what is asked for is parsed."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""

    def columns(self, *, numbers: Sequence[str], groups: Sequence[str], identifiers: Sequence[str]) -> pd.DataFrame:
        """Return columns: numbers (NaN where missing), text of few values, text."""

    def place(self, row: int) -> str:
        """Say where a row stands, for messages."""


@dataclass(frozen=True, slots=True)
class _Text:
    path: Path
    content: bytes
    layout: Layout

    @property
    def names(self) -> tuple[str, ...]:
        return self.layout.header

    def columns(self, *, numbers: Sequence[str], groups: Sequence[str], identifiers: Sequence[str]) -> pd.DataFrame:
        at = {name: i for i, name in enumerate(self.layout.header)}
        return parse_table(
            self.path,
            self.content,
            self.layout,
            text={at[name]: name for name in identifiers},
            categories={at[name]: name for name in groups},
            numeric={at[name]: name for name in numbers},
        )

    def place(self, row: int) -> str:
        return f"line {row + self.layout.skipped + 1}"


@dataclass(frozen=True, slots=True)
class _Parquet:
    path: Path
    frame: pd.DataFrame

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(map(str, self.frame.columns))

    def columns(self, *, numbers: Sequence[str], groups: Sequence[str], identifiers: Sequence[str]) -> pd.DataFrame:
        found = {name: self._numbers(name) for name in numbers}
        return pd.DataFrame(found | {name: self._words(name) for name in (*groups, *identifiers)})

    def place(self, row: int) -> str:
        return f"row {row + 1}"

    def _numbers(self, name: str) -> Float[np.ndarray, "rows"]:
        column = self.frame[name]
        values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        bad = np.isnan(values) & column.notna().to_numpy()
        if bad.any():
            row = int(np.argmax(bad))
            raise InputError(f"{self.path}: {self.place(row)}, column {name!r}: {column.iloc[row]!r} is not a number")
        return values

    def _words(self, name: str) -> pd.Series:
        """Return a column as text: whole numbers that became 1.0 because some are missing as 1."""
        column = self.frame[name]
        if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
            column = column.astype("Int64")
        return (
            column.astype(object).where(column.notna(), None).map(lambda value: value if value is None else str(value))
        )


def open_table(path: Path, *, separator: Separator = "auto", names: Sequence[str] | None = None) -> SampleTable:
    """Open a table of samples.

    Parameters
    ----------
    path
        Text with a header, plain or gzip, or Parquet (.parquet).
    separator
        What separates cells of text; "auto" is the first of tab, comma and semicolon that the header has, else blanks.
    names
        Names of the columns of a text without a header.

    Raises
    ------
    InputError
        When it cannot be read, is empty, or a line has more or fewer cells than the header.
    """
    checks.one_of("separator", separator, SEPARATORS)
    if path.suffix == PARQUET:
        return _Parquet(path, read_table(path))
    content = read_bytes(path)
    if names is None:
        layout = table_layout(path, content, SEPARATORS[separator])
    else:
        first = content.lstrip().split(b"\n", 1)[0].decode("utf-8", "replace")
        layout = Layout(skipped=0, header=tuple(names), separator=split_cells(first, SEPARATORS[separator])[1])
    check_cells(path, content, layout)
    return _Text(path, content, layout)
