"""Tables of phenotypes and covariates: which row is whose, and columns of them as numbers or text."""

import io
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.errors import InputError
from deepmr.io.delimited import split_cells
from deepmr.io.files import read_bytes
from deepmr.io.iv_table import SampleTable, open_table
from deepmr.io.tables import PARQUET

Order = Literal["id", "genotypes"]
FAMILY = "fid"
ID_NAMES = ("iid", "sample_id", "sampleid", "sample", "individual_id", "individual", "id", "eid", "s")  # in this order
PLINK_FAM = ("FID", "IID", "father", "mother", "sex")
PLINK_MISSING = "-9"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|na|nan|\.|-|", re.IGNORECASE)
_LOOKED_AT = 200  # lines by which the layout of a table without a header is told


@dataclass(frozen=True, slots=True, kw_only=True)
class TraitTable:
    """A table of which every row is a sample's.

    Attributes
    ----------
    path : the file.
    table : its columns.
    names : of the columns that may be traits or covariates: all but identifiers.
    keys : identifiers by which a row may be known, one array a way; empty where rows are in the order of the genotypes.
    n_rows : how many rows there are.
    missing : texts that mean a missing value, beside empty cells, NA and the like.
    """

    path: Path
    table: SampleTable
    names: tuple[str, ...]
    keys: tuple[pd.Index, ...]
    n_rows: int
    missing: frozenset[str]

    def cells(self, names: Sequence[str]) -> tuple[dict[str, pd.Series], dict[str, int]]:
        """Return columns as text, None where missing, and how many cells of each had one of the texts of `missing`."""
        frame = self.table.columns(numbers=(), groups=(), identifiers=names)
        codes = pd.to_numeric(pd.Series(sorted(self.missing), dtype=object), errors="coerce").dropna()
        columns, n_coded = {}, {}
        for name in names:
            text = frame[name].astype(object)
            coded = text.isin(self.missing) | pd.to_numeric(text, errors="coerce").isin(codes)
            columns[name], n_coded[name] = text.where(text.notna() & ~coded, None), int(coded.sum())
        return columns, n_coded

    def numbers(self, name: str, text: pd.Series) -> Float[np.ndarray, "rows"]:
        """Return text as numbers, NaN where missing; raise `InputError` naming the first that is none."""
        values = pd.to_numeric(text, errors="coerce").to_numpy(float)
        bad = (np.isnan(values) & text.notna().to_numpy()) | np.isinf(values)
        if bad.any():
            row = int(np.argmax(bad))
            raise InputError(
                f"{self.path}: {self.table.place(row)}, column {name!r}: {text.iloc[row]!r} is not a finite number"
            )
        return values


def open_trait_table(
    path: Path,
    samples: pd.Index,
    *,
    id_column: str | None = None,
    order: Order = "id",
    missing: Collection[str] = (),
) -> TraitTable:
    """Open a table of samples, with or without a header.

    Parameters
    ----------
    path
        Text separated by tabs, commas, semicolons or blanks, plain or gzip; a .fam file; or Parquet.
    samples
        Identifiers in the genotypes, by which a first line of data is told from a header.
    id_column
        Column with the identifiers; by default the first of `ID_NAMES` that the table has.
    order
        "id" where rows are known by identifiers; "genotypes" where they have none and are in the order of the
        genotypes, as in GEMMA's phenotype files. Such a table has as many rows as there are samples.
    missing
        Texts that mean a missing value, beside empty cells, NA and the like.

    Raises
    ------
    InputError
        When the table cannot be read, has no identifiers, or has some where none are expected.

    Notes
    -----
    A file of PLINK's (columns FID and IID, named or not, or a .fam file) means a missing value by -9, as PLINK does.
    Columns of a table without a header are named 1, 2, ... from the first after the identifiers.
    """
    checks.one_of("order", order, ("id", "genotypes"))
    names = None if path.suffix == PARQUET else _invented_names(path, samples, order=order)
    table = open_table(path, names=names)
    lower = {name.lower(): name for name in reversed(table.names)}
    chosen = id_column if id_column is not None else next((lower[name] for name in ID_NAMES if name in lower), None)
    if order == "genotypes":
        if chosen in table.names:
            raise InputError(
                f"{path}: has sample identifiers, column {chosen!r}; rows must not be taken by their order"
            )
        n_rows = len(table.columns(numbers=(), groups=(), identifiers=table.names[:1]))
        return TraitTable(path=path, table=table, names=table.names, keys=(), n_rows=n_rows, missing=frozenset(missing))
    if chosen is None or chosen not in table.names:
        needed = "no column of sample identifiers, such as IID" if id_column is None else f"no column {id_column!r}"
        raise InputError(f"{path}: {needed}; it has {', '.join(table.names[:12])}")
    family = lower.get(FAMILY)
    known = table.columns(numbers=(), groups=(), identifiers=[c for c in (chosen, family) if c is not None])
    keys = [pd.Index(known[chosen], dtype=object)]
    if family is not None and family != chosen:
        keys.append(pd.Index(known[family] + ":" + known[chosen], dtype=object))
        missing = {*missing, PLINK_MISSING}
    fixed = {chosen, family, *(PLINK_FAM if path.suffix == ".fam" else ())}
    return TraitTable(
        path=path,
        table=table,
        names=tuple(name for name in table.names if name not in fixed),
        keys=tuple(keys),
        n_rows=len(known),
        missing=frozenset(missing),
    )


def rows_of_samples(table: TraitTable, samples: pd.Index) -> Int[np.ndarray, "samples"]:
    """Return the row of each sample, -1 where it has none.

    Parameters
    ----------
    table : of samples.
    samples : identifiers.

    Raises
    ------
    InputError
        When a sample has several rows, or none has one.
    """
    if not table.keys:
        if table.n_rows != len(samples):
            raise InputError(
                f"{table.path}: has {table.n_rows} rows; rows in the order of the genotypes must be as many as their "
                f"{len(samples)} samples"
            )
        return np.arange(table.n_rows)
    keys = max(table.keys, key=lambda one: int(one.isin(samples).sum()))  # the first of equals
    shared = keys.isin(samples)
    if not shared.any():
        if not len(keys):
            raise InputError(f"{table.path}: has no rows; needed a row a sample")
        raise InputError(
            f"{table.path}: no sample is in the genotypes; the table begins with {keys[0]!r}, the genotypes with "
            f"{samples[0]!r}{_what_would_agree(keys, samples)}"
        )
    twice = shared & keys.duplicated()
    if twice.any():
        row = int(np.argmax(twice))
        raise InputError(f"{table.path}: {table.table.place(row)}: sample {keys[row]!r} has more than one row")
    at = np.flatnonzero(shared)
    found = keys[at].get_indexer(samples)
    return np.where(found >= 0, at[found], -1)


def _what_would_agree(keys: pd.Index, samples: pd.Index) -> str:
    """Return the usual reason why no identifier is shared, where it is one of these, else nothing."""
    mine, theirs = keys.astype(str), samples.astype(str)
    if (n := int(mine.str.lstrip("0").isin(theirs.str.lstrip("0")).sum())) > 0:
        return f": {n} agree but for zeros in front, which programs for tables drop from numbers"
    for tail, other, whose in ((mine, theirs, "table"), (theirs, mine, "genotypes")):
        halves = tail.str.split("_", n=1).str[-1]
        if (n := int((halves.isin(other) & (halves != tail)).sum())) > 0:
            return f": {n} agree but for a family and '_' before identifiers of the {whose}, as PLINK 2 joins them"
    return ""


def _invented_names(path: Path, samples: pd.Index, *, order: Order) -> list[str] | None:
    """Return names for a table without a header, None for one with."""
    content = read_bytes(path)
    lines = [line.decode("utf-8-sig", "replace").rstrip("\r\n") for line in islice(_lines(content), _LOOKED_AT)]
    if not lines:
        raise InputError(f"{path}: the file is empty")
    first, separator = split_cells(lines[0])
    if path.suffix == ".fam":
        return [*PLINK_FAM, *_counted(len(first) - len(PLINK_FAM))]
    if order == "genotypes":
        return _counted(len(first)) if all(map(_is_number, first)) else None
    named = first[0].lstrip("#").lower() in (FAMILY, *ID_NAMES)
    cells = [split_cells(line, separator)[0] for line in lines]
    single, double = (sum(_at(row, k) in samples for row in cells) for k in (0, 1))
    pairs = sum(f"{_at(row, 0)}:{_at(row, 1)}" in samples for row in cells)
    data = not {*first[:2]}.isdisjoint(samples) or (len(first) > 2 and all(map(_is_number, first[2:])))
    if named or not data:
        return None
    if max(double, pairs) >= single:
        return ["FID", "IID", *_counted(len(first) - 2)]
    return ["IID", *_counted(len(first) - 1)]


def _lines(content: bytes) -> Iterable[bytes]:
    return (line for line in io.BytesIO(content) if line.strip() and not line.startswith(b"##"))


def _at(row: Sequence[str], k: int) -> str:
    return row[k] if len(row) > k else ""


def _counted(n: int) -> list[str]:
    return [str(k + 1) for k in range(n)]


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell.strip()) is not None
