"""Relationship matrices that other programs wrote: GEMMA, PLINK, GCTA, or a table with names."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr.errors import InputError
from deepmr.io.files import read_bytes
from deepmr.population.relationship import Relationship

SINGLE = 2.0**-24  # largest relative error of a number in single precision
PACKED = ".grm.bin"


def read_kinship(path: Path, samples: Sequence[str] | pd.Index | None = None) -> Relationship:
    """Read a relationship matrix.

    Parameters
    ----------
    path
        One of: a square or lower-triangular table of numbers, plain or gzip, its samples in a file of the same name
        with `.id` added (PLINK's .rel and .rel.id) or, without such a file (GEMMA's .cXX.txt and .sXX.txt), in the
        order of `samples`; a table whose header and first column are names; GCTA's .grm.bin with its .grm.id.
    samples
        Identifiers. For a matrix without names, those of its rows, as many; for one with names, those wanted, which
        are taken out of it; all, unless given.

    Returns
    -------
    Relationship
        Its `rounding` is that of the digits of the file, so that eigenvalues that these move below zero are told from
        those of a matrix that is no relationship matrix.

    Raises
    ------
    InputError
        When the file is not such a matrix, or samples are missing from it.
    """
    if path.name.endswith(PACKED):
        matrix, rounding = _packed(path), SINGLE
        names: list[str] | None = _identifiers(path.with_name(path.name.removesuffix(".bin") + ".id"))
    else:
        matrix, rounding, names = _table(path)
        beside = path.with_name(path.name.removesuffix(".gz") + ".id")
        if names is None and beside.exists():
            names = _identifiers(beside)
    rows = names if names is not None else samples
    if rows is None:
        raise InputError(f"{path}: has no names of samples, and no file {beside.name} beside it; pass samples")
    index = pd.Index([str(sample) for sample in rows])
    if len(index) != len(matrix):
        raise InputError(f"{path}: is of {len(matrix)} samples; {len(index)} have names")
    try:
        found = Relationship(
            matrix=matrix, samples=index, n_markers=None, kind="given", source=path.name, rounding=rounding
        )
        return found if names is None or samples is None else found.select([str(s) for s in samples])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _table(path: Path) -> tuple[Float[np.ndarray, "samples samples"], float, list[str] | None]:
    """Return a table of text, the largest relative error that its digits allow, and its names, if any."""
    lines = [line for line in _text(path).splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{path}: the file is empty; needed a relationship matrix")
    first = _cells(lines[0])
    names: list[str] | None = None
    numbered = 1 < len(first) == len(lines) - 1 == len(_cells(lines[1])) - 1  # names may be numbers
    if numbered or not _are_numbers(first):
        names, lines = _named(path, first, lines)
    matrix = _numbers(path, lines, 2 if names else 1)
    return matrix, _rounding(lines[len(lines) // 2]), names


def _named(path: Path, header: list[str], lines: list[str]) -> tuple[list[str], list[str]]:
    """Return the names of a table with a header and a first column of names, and its lines without either."""
    rows = [_cells(line) for line in lines[1:]]
    left = [row[0] for row in rows]
    names = header[-len(rows) :] if rows else []
    if not rows or names != left or len(header) - len(rows) not in (0, 1):
        raise InputError(f"{path}: needed a header and a first column with the same {len(rows)} names")
    return names, ["\t".join(row[1:]) for row in rows]


def _numbers(path: Path, lines: list[str], first: int) -> Float[np.ndarray, "samples samples"]:
    """Return the numbers of a square, or of a lower triangle."""
    n = len(lines)
    matrix = np.empty((n, n))
    width = len(_cells(lines[0]))
    triangle = width == 1 and n > 1
    for i, line in enumerate(lines):
        try:
            row = np.array(_cells(line), dtype=float)
        except ValueError as error:
            raise InputError(f"{path}: line {i + first}: {error}") from error
        needed = i + 1 if triangle else n
        if len(row) != needed:
            raise InputError(f"{path}: line {i + first} has {len(row)} numbers; needed {needed} of {n} rows")
        matrix[i, :needed] = row
        if triangle:
            matrix[:i, i] = row[:-1]
    if not np.isfinite(matrix).all():
        i, j = (int(k) for k in np.argwhere(~np.isfinite(matrix))[0])
        raise InputError(f"{path}: line {i + first}, number {j + 1}: must be finite; it is {matrix[i, j]}")
    return matrix


def _packed(path: Path) -> Float[np.ndarray, "samples samples"]:
    """Return GCTA's lower triangle in single precision, row by row."""
    content = read_bytes(path)
    values = np.frombuffer(content[: len(content) // 4 * 4], dtype="<f4")
    n = int((np.sqrt(8 * len(values) + 1) - 1) / 2)
    if n * (n + 1) * 2 != len(content) or not n:
        raise InputError(f"{path}: has {len(content)} bytes, which is no triangle of single-precision numbers")
    matrix = np.empty((n, n))
    for i in range(n):
        row = values[i * (i + 1) // 2 : (i + 1) * (i + 2) // 2]
        matrix[i, : i + 1] = row
        matrix[:i, i] = row[:-1]
    return matrix


def _identifiers(path: Path) -> list[str]:
    """Return the last column but further ones of PLINK's and GCTA's files: family and individual, or individual."""
    rows = [line.split() for line in _text(path).splitlines() if line.strip()]
    if not rows:
        raise InputError(f"{path}: the file is empty; needed identifiers of samples")
    column = 1 if len(rows[0]) > 1 else 0
    if rows[0][0].startswith("#"):
        header = [cell.lstrip("#") for cell in rows[0]]
        column = header.index("IID") if "IID" in header else column
        rows = rows[1:]
    short = next((k for k, row in enumerate(rows) if len(row) <= column), None)
    if short is not None:
        raise InputError(f"{path}: row {short + 1} has {len(rows[short])} cells; needed {column + 1}")
    return [row[column] for row in rows]


def _text(path: Path) -> str:
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text table") from error


def _cells(line: str) -> list[str]:
    if "\t" in line:
        return [cell.strip().strip('"') for cell in line.strip("\r\n").rstrip("\t").split("\t")]
    return [cell.strip('"') for cell in re.split(r"[\s,;]+", line.strip())]


def _are_numbers(cells: list[str]) -> bool:
    try:
        [float(cell) for cell in cells]
    except ValueError:
        return False
    return True


def _rounding(line: str) -> float:
    """Return half a unit of the last digit of the longest number of a line, relative to its first digit.

    PLINK writes 6 digits; numbers of fewer are taken for exact to as many.
    """
    mantissas = (re.split("[eE]", cell)[0] for cell in _cells(line))
    digits = max(len(re.sub(r"\D", "", mantissa).lstrip("0")) for mantissa in mantissas)
    return 0.5 * 10.0 ** (1 - max(digits, 6))
