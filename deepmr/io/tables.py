"""Tables as files: tab-separated, or Parquet where the name ends in .parquet."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepmr import schema
from deepmr.errors import InputError
from deepmr.io.fasta import read_bytes
from deepmr.io.files import atomic_path
from deepmr.types import Estimates

PARQUET = ".parquet"
NUMERIC = ("beta", "se", "ci_low", "ci_high", "pvalue", "n", *schema.EXTRA)


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
        When the file is missing, empty or no such table.
    """
    content = read_bytes(path)
    if path.suffix == PARQUET:
        try:
            return pd.read_parquet(io.BytesIO(content))
        except ImportError as error:
            raise InputError(f"{path}: Parquet needs pyarrow: pip install 'deepmr[parquet]'") from error
        except (ValueError, OSError) as error:
            raise InputError(f"{path}: not a Parquet file: {' '.join(str(error).split())}") from error
    try:
        return pd.read_csv(
            io.BytesIO(content), sep="\t", dtype=str, keep_default_na=False, index_col=False, encoding="utf-8"
        )
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise InputError(f"{path}: not a tab-separated table: {' '.join(str(error).split())}") from error


def numbers(path: Path, frame: pd.DataFrame, column: str, *, missing: str = "NaN") -> np.ndarray:
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
        What an empty cell would mean, for the message.

    Raises
    ------
    InputError
        Naming the first row that is neither a finite number nor empty.
    """
    text = frame[column].astype(str).str.strip()
    unknown = text.str.lower().isin(["", "na", "nan", "none", "<na>"]).to_numpy()
    values = pd.to_numeric(text.where(~unknown, "nan"), errors="coerce").to_numpy(dtype=float)
    bad = ~unknown & ~np.isfinite(values)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"{path}: line {row + 2}, column {column!r}: {text.iloc[row]!r} is not a finite number (empty: {missing})"
        )
    return values


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
    with atomic_path(path.with_name(path.name + ".json")) as temporary:
        temporary.write_text(json.dumps(dict(provenance), indent=2) + "\n")
    write_table(estimates.skipped, skipped_path(path))
    write_table(estimates.to_frame(), path)


def skipped_path(path: Path) -> Path:
    """Return where the skipped loci of a table of estimates are."""
    return path.with_name(f"{path.stem}.skipped.tsv")


def read_estimates(path: Path) -> Estimates:
    """Read a table of estimates, with what was skipped where that file lies beside it.

    Parameters
    ----------
    path
        What `write_estimates` wrote, or a table with the same columns.

    Raises
    ------
    InputError
        When a column is missing, unknown, or holds something that is not a number.
    """
    frame = read_table(path)
    missing = [name for name in schema.ESTIMATES if name not in frame.columns]
    if missing:
        raise InputError(f"{path}: not a table of estimates: the column(s) {', '.join(missing)} are missing")
    factors = sorted((name for name in frame.columns if name.startswith("factor_")), key=lambda n: int(n[7:]))
    for name in (*NUMERIC, *factors):
        if name in frame.columns:
            frame[name] = _unbounded(path, frame, name)
    frame["n"] = frame["n"].astype(int)
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


def _unbounded(path: Path, frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as numbers; degrees of freedom, and they alone, may be infinite."""
    if column != "df":
        return numbers(path, frame, column, missing="not given")
    infinite = frame[column].astype(str).str.strip().isin(["inf", "Inf"]).to_numpy()
    values = numbers(path, frame.assign(df=frame[column].astype(str).where(~infinite, "")), column)
    return np.where(infinite, np.inf, values)
