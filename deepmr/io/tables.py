"""Tables as files: tab-separated, or Parquet where the name ends in .parquet."""

import codecs
import io
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepmr import schema
from deepmr.errors import InputError
from deepmr.inference import interval, two_sided
from deepmr.io.files import atomic_path, read_bytes
from deepmr.types import Estimates

PARQUET = ".parquet"
NUMERIC = ("beta", "se", "ci_low", "ci_high", "pvalue")
UNKNOWN = ("", "na", "nan", "none", "<na>")


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table with a header; numbers with every digit that reads back to the same number.

    Parameters
    ----------
    frame
        Rows to write; its index is left out.
    path
        File to write, .tsv or .parquet; an existing one is replaced.

    Raises
    ------
    InputError
        For Parquet without pyarrow, or a folder that cannot be written to.
    """
    with atomic_path(path) as temporary:
        _write(frame, temporary, path)


def _write(frame: pd.DataFrame, temporary: Path, path: Path) -> None:
    """Write a table under its temporary name, which has the suffix of its final one."""
    if path.suffix == PARQUET:
        try:
            frame.to_parquet(temporary, index=False)
        except ImportError as error:
            raise InputError(f"{path}: Parquet needs pyarrow: pip install 'deepmr[parquet]'") from error
    else:
        frame.to_csv(temporary, sep="\t", index=False)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table as text, an empty cell as the empty string; Parquet keeps its types.

    Parameters
    ----------
    path
        Tab-separated with a header, plain or gzip, or Parquet.

    Raises
    ------
    InputError
        When the file is missing, empty or no such table, or a row has fewer or more cells than the header.
    """
    content = read_bytes(path)
    if path.suffix == PARQUET:
        try:
            return pd.read_parquet(io.BytesIO(content))
        except ImportError as error:
            raise InputError(f"{path}: Parquet needs pyarrow: pip install 'deepmr[parquet]'") from error
        except (ValueError, OSError) as error:
            raise InputError(f"{path}: not a Parquet file: {' '.join(str(error).split())}") from error
    _check_cells(path, content.removeprefix(codecs.BOM_UTF8))
    try:
        return pd.read_csv(
            io.BytesIO(content), sep="\t", dtype=str, keep_default_na=False, index_col=False, encoding="utf-8"
        )
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise InputError(f"{path}: not a tab-separated table: {' '.join(str(error).split())}") from error


def _check_cells(path: Path, content: bytes) -> None:
    """Raise `InputError` for what pandas would pad, cut or rename without a word."""
    lines = content.splitlines()
    header = next((line for line in lines if line), b"").split(b"\t")
    for name in header:
        if header.count(name) > 1:
            raise InputError(f"{path}: the column {name.decode('utf-8', 'replace')!r} occurs more than once")
    if b'"' in content:  # a quoted cell may hold tabs and line ends
        return
    for number, line in enumerate(lines, 1):
        if line and line.count(b"\t") != len(header) - 1:
            cells = line.count(b"\t") + 1
            raise InputError(f"{path}: line {number} has {cells} cell(s); the header has {len(header)}")


def numbers(
    path: Path,
    frame: pd.DataFrame,
    column: str,
    *,
    missing: str | None = None,
    unknown: Collection[str] = UNKNOWN,
    infinite: bool = False,
) -> np.ndarray:
    """Return a column of text as numbers, NaN where it is empty or NA.

    Parameters
    ----------
    path
        File that the column comes from, for the message.
    frame
        The table.
    column
        Its name.
    missing
        What an empty cell means, for the message; where it means nothing, it is an error.
    unknown
        Texts that count as empty, in lower case.
    infinite
        Whether inf and -inf are values.

    Raises
    ------
    InputError
        Naming the first row that is not such a number.
    """
    text = frame[column].astype(str).str.strip()
    empty = (frame[column].isna() | text.str.lower().isin(unknown)).to_numpy()  # isna: a null of Parquet
    values = pd.to_numeric(text.where(~empty, "nan"), errors="coerce").to_numpy(dtype=float)
    bad = np.isnan(values) if infinite else ~np.isfinite(values)
    if missing is not None:
        bad &= ~empty
    if bad.any():
        row = int(np.argmax(bad))
        hint = "" if missing is None else f" (empty: {missing})"
        raise InputError(f"{path}: line {row + 2}, column {column!r}: {text.iloc[row]!r} is not a finite number{hint}")
    return values


def whole_numbers(path: Path, frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column of text as whole numbers.

    Parameters
    ----------
    path
        File that the column comes from, for the message.
    frame
        The table.
    column
        Its name.

    Raises
    ------
    InputError
        Naming the first row that is no whole number.
    """
    values = numbers(path, frame, column)
    bad = values != np.round(values)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(f"{path}: line {row + 2}, column {column!r}: {values[row]:g} is not a whole number")
    return values.astype(np.int64)


def write_estimates(estimates: Estimates, path: Path, *, provenance: Mapping[str, Any]) -> None:
    """Write estimates, what was skipped (`<stem>.skipped.tsv`) and how they were made (`<name>.json`).

    Parameters
    ----------
    estimates
        Rows to write; shared errors become the columns factor_0, factor_1, ...
    path
        File to write, .tsv or .parquet.
    provenance
        What `provenance.provenance` returned.
    """
    beside, record = skipped_path(path), path.with_name(path.name + ".json")
    # All three are written before the first takes its place: an error leaves the files of an earlier run together.
    with atomic_path(path) as table, atomic_path(beside) as skipped, atomic_path(record) as sidecar:
        _write(estimates.to_frame(), table, path)
        _write(estimates.skipped, skipped, beside)
        sidecar.write_text(json.dumps(dict(provenance), indent=2) + "\n")


def skipped_path(path: Path) -> Path:
    """Return where the skipped loci of a table of estimates are."""
    return path.with_name(f"{path.stem}.skipped.tsv")


NEEDED = ("locus", "beta", "se")
UNNAMED = {"method": "given", "exposure": "exposure", "outcome": "outcome", "estimand": "population", "n": "1"}


def read_estimates(path: str | Path, *, complete: bool = True) -> Estimates:
    """Read a table of estimates, with what was skipped where that file lies beside it.

    Parameters
    ----------
    path
        What `write_estimates` wrote, or a table with the same columns.
    complete
        Whether every column is needed. If not, those of `NEEDED` are: a normal interval and P value follow from beta
        and se, names and the estimand are `UNNAMED`, and an effect counts as one instrument's.

    Raises
    ------
    InputError
        When a column is missing, unknown, or holds something that is not a number.
    """
    path = Path(path)
    frame = read_table(path)
    missing = [name for name in (schema.ESTIMATES if complete else NEEDED) if name not in frame.columns]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise InputError(
            f"{path}: not a table of estimates: {', '.join(missing)} {verb} missing; it has {', '.join(frame.columns)}"
        )
    if not complete:
        frame = _completed(path, frame)
    factors = sorted((c for c in frame.columns if re.fullmatch(r"factor_\d+", c)), key=lambda c: int(c[7:]))
    for name in (*NUMERIC, *factors):
        frame[name] = numbers(path, frame, name)
    for name in set(schema.EXTRA) & set(frame.columns):
        frame[name] = numbers(path, frame, name, missing="not given", infinite=True)
    frame["n"] = whole_numbers(path, frame, "n")
    beside = skipped_path(path)
    skipped = read_table(beside) if beside.is_file() else None
    try:
        return Estimates(
            table=frame.drop(columns=factors),
            error_factors=frame[factors].to_numpy(dtype=float).T if factors else None,
            **({} if skipped is None else {"skipped": skipped}),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _completed(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Add what follows from an effect and its standard error, as text like the rest; leave out what is unknown."""
    known = schema.ESTIMATES | schema.EXTRA
    frame = frame[[name for name in frame.columns if name in known or re.fullmatch(r"factor_\d+", name)]]
    frame = frame.assign(**{name: value for name, value in UNNAMED.items() if name not in frame.columns})
    beta, se = numbers(path, frame, "beta"), numbers(path, frame, "se")
    low, high = interval(beta, se, df=np.inf, level=0.95)
    found = {"ci_low": low, "ci_high": high, "pvalue": two_sided(beta, se)}
    return frame.assign(**{name: values.astype(str) for name, values in found.items() if name not in frame.columns})
