"""Large tables of text, whatever separates their cells: checked and parsed without loops over rows."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from deepmr.errors import InputError

UNKNOWN = [".", "NR", "nr", "na", "#NA", "None", "none"]  # beside what pandas knows: an empty cell, NA, NaN ...
CHUNK = 1 << 25  # bytes of text looked at in one piece
BLANKS = r"\s+"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a table is written.

    Attributes
    ----------
    skipped : lines up to and with the header.
    header : column names.
    separator : what separates cells; a pattern for runs of blanks.
    """

    skipped: int
    header: tuple[str, ...]
    separator: str


def table_layout(path: Path, content: bytes, separator: str | None = None) -> Layout:
    """Find the header, the first line that neither is empty nor starts with ##, and what separates its cells.

    Parameters
    ----------
    path
        The file, for messages.
    content
        Its text.
    separator
        What separates cells, where it is known; `BLANKS` for runs of blanks.

    Raises
    ------
    InputError
        When there is no header, or a name is in it twice.
    """
    start = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    lines = 0
    while start < len(content):
        end = content.find(b"\n", start)
        line = content[start : end if end >= 0 else len(content)]
        start, lines = (end if end >= 0 else len(content)) + 1, lines + 1
        if line.strip() and not line.startswith(b"##"):
            break
    else:
        raise InputError(f"{path}: the file is empty; needed a table with a header")
    try:
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text table") from error
    cells, separator = split_cells(text, separator)
    header = [cell.lstrip("#") for cell in cells]
    for name in header:
        if header.count(name) > 1 and name:
            raise InputError(f"{path}: the column {name!r} occurs more than once")
    return Layout(skipped=lines, header=tuple(header), separator=separator)


def split_cells(line: str, separator: str | None = None) -> tuple[list[str], str]:
    """Return the cells of a line, and what separates them: the first of tab, comma and semicolon in it, else blanks.

    Parameters
    ----------
    line
        One line of text.
    separator
        What separates cells, where it is known.
    """
    if separator is None:
        separator = next((s for s in "\t,;" if s in line), BLANKS)
    cells = line.split() if separator == BLANKS else line.split(separator)
    return [cell.strip().strip('"') for cell in cells], separator


def check_cells(path: Path, content: bytes, layout: Layout) -> None:
    """Raise `InputError` for a line with more or fewer cells than the header: pandas pads or cuts without a word.

    Parameters
    ----------
    path
        The file, for messages.
    content
        Its text. Cells separated by runs of blanks, and quoted cells, are left to the parser.
    layout
        How it is written.
    """
    separator, width, skipped = layout.separator, len(layout.header), layout.skipped
    if separator == BLANKS or b'"' in content:
        return
    line, start = 0, 0
    while start < len(content):
        cut = content.find(b"\n", start + CHUNK)
        end = len(content) if cut < 0 else cut + 1
        piece = np.frombuffer(content, dtype=np.uint8, count=end - start, offset=start)
        ends = np.flatnonzero(piece == ord("\n"))
        if not len(ends) or ends[-1] != len(piece) - 1:
            ends = np.append(ends, len(piece))
        before = np.searchsorted(np.flatnonzero(piece == ord(separator)), ends)
        cells = np.diff(before, prepend=0) + 1
        bad = (cells != width) & (np.diff(ends, prepend=-1) > 2)  # an empty line, perhaps with a carriage return
        bad[: max(skipped - 1 - line, 0)] = False
        if bad.any():
            first = int(np.argmax(bad))
            raise InputError(f"{path}: line {line + first + 1} has {cells[first]} cell(s); the header has {width}")
        line, start = line + len(ends), end


def parse_table(
    path: Path,
    content: bytes,
    layout: Layout,
    *,
    text: Mapping[int, str],
    categories: Mapping[int, str],
    numeric: Mapping[int, str],
) -> pd.DataFrame:
    """Parse some columns of a table.

    Parameters
    ----------
    path
        The file, for messages.
    content
        Its text.
    layout
        How it is written.
    text, categories, numeric
        Number of a column -> its new name: text, text of which there are few values, and numbers, NaN where unknown.

    Raises
    ------
    InputError
        Naming the first line with a cell that should be a number and is not.
    """
    names = [f"c{i}" for i in range(len(layout.header))]
    new = {names[i]: name for i, name in {**text, **categories, **numeric}.items()}
    numbers = [names[i] for i in numeric]
    dtypes: dict[str, object] = {names[i]: object for i in text} | {names[i]: "category" for i in categories}

    def read(columns: list[str], types: dict[str, object]) -> pd.DataFrame:
        return pd.read_csv(
            io.BytesIO(content),
            sep=layout.separator,
            header=None,
            names=names,
            index_col=False,
            skiprows=layout.skipped,
            usecols=columns,
            dtype=types,  # type: ignore[arg-type]
            na_values={c: [*UNKNOWN, "-"] if c in numbers else UNKNOWN for c in columns},
            skipinitialspace=True,
            encoding="utf-8",
        )

    try:
        frame = read(list(new), dtypes | dict.fromkeys(numbers, np.float64))
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a table: {' '.join(str(error).split())}") from error
    except ValueError as error:
        for column in numbers:  # one of them holds text; find the line
            cells = read([column], {column: object})[column]
            bad = (pd.to_numeric(cells, errors="coerce").isna() & cells.notna()).to_numpy()
            if bad.any():
                row = int(np.argmax(bad))
                name = layout.header[int(column[1:])]
                raise InputError(
                    f"{path}: line {row + layout.skipped + 1}, column {name!r}: {cells.iloc[row]!r} is not a number"
                ) from error
        raise InputError(f"{path}: not a table: {' '.join(str(error).split())}") from error
    return frame.rename(columns=new)
