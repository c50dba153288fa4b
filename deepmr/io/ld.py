"""Matrices of linkage disequilibrium, with the names of their variants."""

import re
from pathlib import Path

import numpy as np

from deepmr.errors import InputError
from deepmr.instruments.ld import LdMatrix, ld_names
from deepmr.io.delimited import check_cells, parse_table, table_layout
from deepmr.io.files import read_bytes


def read_ld_matrix(path: Path) -> LdMatrix:
    """Read a square table of correlations whose header names the variants.

    Parameters
    ----------
    path
        Text, plain or gzip; a first column may repeat the names. A name `rs1_A_G` also says the effect allele and the
        other allele that the correlations are for.

    Raises
    ------
    InputError
        When the table has no names, is not square, not symmetric, or not of correlations.
    """
    content = read_bytes(path)
    first = content.lstrip().split(b"\n", 1)[0].decode("utf-8", "replace")
    if first and all(_is_number(cell.strip(' "')) for cell in re.split(r"[\s,;]+", first.strip()) if cell):
        raise InputError(f"{path}: the first line has no names of variants, and their order is not known without them")
    layout = table_layout(path, content)
    header = list(layout.header)
    first_row = content.split(b"\n", layout.skipped + 1)[layout.skipped].split()
    if len(first_row) == len(header) + 1 and len(layout.separator) > 1:  # as R writes row names: no name above them
        raise InputError(f"{path}: the header has no cell above the row names; write the table with one")
    check_cells(path, content, layout)
    has_names = bool(first_row) and not _is_number(_first_cell(content, layout.skipped, layout.separator))
    columns = list(range(int(has_names), len(header)))
    frame = parse_table(
        path,
        content,
        layout,
        text={0: "name"} if has_names else {},
        categories={},
        numeric={i: f"v{i}" for i in columns},
    )
    names = [header[i] for i in columns]
    if len(frame) != len(names):
        raise InputError(f"{path}: has {len(frame)} rows and {len(names)} variants; needed as many")
    if has_names and frame["name"].astype(str).tolist() != names:
        row = next(i for i, (a, b) in enumerate(zip(frame["name"].astype(str), names, strict=True)) if a != b)
        raise InputError(
            f"{path}: line {row + layout.skipped + 1} is of {frame['name'].iloc[row]!r}, but column {row + 1} is of "
            f"{names[row]!r}; needed rows in the order of columns"
        )
    try:
        return LdMatrix(variants=ld_names(names), correlation=frame[[f"v{i}" for i in columns]].to_numpy(np.float64))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _first_cell(content: bytes, skipped: int, separator: str) -> str:
    line = content.split(b"\n", skipped + 1)[skipped].decode("utf-8", "replace")
    cells = line.split() if len(separator) > 1 else line.split(separator)
    return cells[0].strip().strip('"') if cells else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
