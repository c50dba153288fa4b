"""Contexts of loci as a table: numbers, categories as indicators, and the known errors of predicted ones."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks, schema
from deepmr.errors import InputError
from deepmr.io.column_names import choose_names
from deepmr.io.covariates import category_levels, indicators
from deepmr.io.iv_table import SampleTable, open_table

LOCUS = "locus"
PLACES = ("chrom", "start", "end", "pos")  # where a locus lies is no context of its own accord
# Columns of results, which the edits of a locus have made; short names that may well mean something else are not here.
RESULTS = frozenset({*schema.ESTIMATES, *schema.EXTRA} - {LOCUS, "n", "h", "q", "df", "level"})
Missing = Literal["skip", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextTable:
    """Contexts of loci as numbers.

    Attributes
    ----------
    frame : one row a locus that lacks none: `locus`, `chrom` where the table has it, a column a context, and
        `<context>_se` where its errors are known.
    names : of the contexts, in their order; `site=B` for a level of a category.
    columns : of the file that they come from.
    levels : of each category, the first of which has no indicator.
    skipped : `locus` and `reason` of the rows that lack a value.
    notes : what a reader has to know, in sentences.
    """

    frame: pd.DataFrame
    names: tuple[str, ...]
    columns: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    skipped: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def values(self) -> Float[np.ndarray, "loci contexts"]:
        """The contexts as a matrix."""
        matrix: np.ndarray = self.frame[list(self.names)].to_numpy(float)
        return matrix


def read_contexts(
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    categorical: Collection[str] = (),
    levels: Mapping[str, Sequence[str]] | None = None,
    missing: Missing = "skip",
) -> ContextTable:
    """Read contexts of loci.

    Parameters
    ----------
    path
        A row a locus, with a column `locus`; text (tabs, commas, semicolons or blanks), plain or gzip, or Parquet.
    columns
        Columns to use, also as patterns (`Sox2_*`); by default all but names, places (`chrom`, `start`, `end`, `pos`)
        and errors: `<context>_se` is the standard error of `<context>`.
    categorical
        Columns whose numbers are names of categories. Columns of words are categories without being named.
    levels
        Those of the categories of a fit, which alone are then known.
    missing
        What becomes of a locus without a value: listed as skipped, or an error.

    Raises
    ------
    InputError
        For a file that cannot be read, a locus that occurs twice, a column that is not there, is made of results of
        edits, has numbers and a few cells that are none, or a level that the fit does not know.
    """
    table = open_table(path)
    chosen = _choose(path, table, columns)
    errors = [f"{name}_se" for name in chosen if f"{name}_se" in table.names]
    chrom = [name for name in ("chrom",) if name in table.names]
    cells = table.columns(numbers=[], groups=[], identifiers=[LOCUS, *chrom, *chosen, *errors])
    if not len(cells):
        raise InputError(f"{path}: has no rows; needed one a locus")
    _check_loci(path, table, cells[LOCUS])
    coded, known = encode_columns(
        table, cells[chosen], where=str(path), categorical=categorical, levels=levels, unit="loci"
    )
    for name in errors:
        if name.removesuffix("_se") in known:
            raise InputError(f"{path}: column {name!r}: a category has no standard error")
        coded[name] = _numbers(table, str(path), name, cells[name])
        negative = coded[name] < 0
        if negative.any():
            row = int(np.argmax(negative))
            raise InputError(f"{path}: {table.place(row)}, column {name!r}: {coded[name][row]:g} is below 0")
    reasons = _reasons(cells[[*chosen, *errors]])
    if missing == "refuse" and (reasons != "").any():
        row = int(np.argmax(reasons != ""))
        raise InputError(f"{path}: {table.place(row)}: {reasons[row]}")
    kept = reasons == ""
    single = {name: one[0] for name, one in known.items() if len(one) == 1}
    if len(single) == len(chosen):
        raise InputError(
            f"{path}: no context varies; every locus has {', '.join(f'{k} {v}' for k, v in single.items())}"
        )
    if not kept.any():
        raise InputError(f"{path}: no locus has a value of every context; {table.place(0)}: {reasons[0]}")
    frame = pd.concat([cells[[LOCUS, *chrom]].fillna(""), pd.DataFrame(coded, index=cells.index)], axis=1)
    return ContextTable(
        frame=frame[kept].reset_index(drop=True),
        names=tuple(name for name in coded if name not in errors),
        columns=tuple(chosen),
        levels=known,
        skipped=pd.DataFrame({LOCUS: cells[LOCUS].astype(str), "reason": reasons})[~kept].reset_index(drop=True),
        notes=tuple(f"Context {name} is left out: all loci have {level}." for name, level in single.items()),
    )


def encode_columns(
    table: SampleTable,
    cells: pd.DataFrame,
    *,
    where: str,
    categorical: Collection[str] = (),
    levels: Mapping[str, Sequence[str]] | None = None,
    unit: str = "rows",
) -> tuple[dict[str, Float[np.ndarray, "rows"]], dict[str, tuple[str, ...]]]:
    """Turn columns of text into numbers, NaN where a cell is missing, and categories into indicators.

    Parameters
    ----------
    table : which they come from, for messages.
    cells : the columns.
    where : the file, for messages.
    categorical : columns whose numbers are names of categories.
    levels : those of the categories of a fit; None where these are what says which there are.
    unit : what rows are, for messages.

    Returns
    -------
    Columns by name, and the levels of the categories among them.

    Raises
    ------
    InputError
        When a column has numbers and a few cells that are none, too many levels, or a level that is not known.
    """
    for name in categorical:
        checks.one_of("categorical", name, cells.columns)
    coded: dict[str, Float[np.ndarray, "rows"]] = {}
    known: dict[str, tuple[str, ...]] = {}
    for name in cells.columns:
        here = cells[name].dropna().astype(str)
        n_numbers = int(pd.to_numeric(here, errors="coerce").notna().sum())
        if levels is None:
            is_category = name in categorical or (len(here) > 0 and 2 * n_numbers < len(here))
        else:
            is_category = name in levels
        if not is_category:
            coded[name] = _numbers(table, where, name, cells[name])
            continue
        if levels is None:
            known[name] = tuple(category_levels(name, here, where=where, what="context", unit=unit))
        else:
            known[name] = tuple(levels[name])
            _check_levels(table, where, name, cells[name], known[name])
        absent = cells[name].isna().to_numpy()
        for column, values in indicators(name, cells[name].astype(object), known[name]).items():
            coded[column] = np.where(absent, np.nan, values)
    return coded, known


def _choose(path: Path, table: SampleTable, columns: Sequence[str] | None) -> list[str]:
    """Return the columns that are contexts; refuse what is made from the effects themselves."""
    if LOCUS not in table.names:
        raise InputError(f"{path}: has no column 'locus'; it has {', '.join(table.names[:12])}")
    errors = {f"{name}_se" for name in table.names} & set(table.names)
    taken = {LOCUS, *PLACES, *errors}
    if columns is None:
        chosen = [name for name in table.names if name not in taken]
    else:
        chosen = choose_names(columns, table.names, what="context", where=str(path), taken=taken)
    for name in chosen:
        if name in RESULTS:
            raise InputError(
                f"{path}: column {name!r} is a result of the edits that effects come from; a context must be known "
                "without them, as what deepmr features writes"
            )
        if name == LOCUS:
            raise InputError(f"{path}: the name of a locus is no context")
    if not chosen:
        raise InputError(f"{path}: has no contexts beside {', '.join(table.names[:12])}")
    return chosen


def _check_loci(path: Path, table: SampleTable, loci: pd.Series) -> None:
    if loci.isna().any():
        raise InputError(f"{path}: {table.place(int(np.argmax(loci.isna())))}, column 'locus': is empty")
    twice = loci.duplicated()
    if twice.any():
        row = int(np.argmax(twice))
        first = int(np.argmax(loci == loci.iloc[row]))
        raise InputError(
            f"{path}: locus {loci.iloc[row]!r} has more than one row, {table.place(first)} and {table.place(row)}"
        )


def _check_levels(table: SampleTable, where: str, name: str, cells: pd.Series, levels: Sequence[str]) -> None:
    unseen = (cells.notna() & ~cells.isin(levels)).to_numpy()
    if unseen.any():
        row = int(np.argmax(unseen))
        new = list(dict.fromkeys(cells[unseen]))
        raise InputError(
            f"{where}: {table.place(row)}, column {name!r}: {', '.join(map(repr, new[:5]))} was not among the "
            f"categories that the fit has seen, {', '.join(levels)}"
        )


def _numbers(table: SampleTable, where: str, name: str, cells: pd.Series) -> Float[np.ndarray, "rows"]:
    values: np.ndarray = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    bad = (np.isnan(values) & cells.notna().to_numpy()) | np.isinf(values)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(f"{where}: {table.place(row)}, column {name!r}: {cells.iloc[row]!r} is not a finite number")
    return values


def _reasons(cells: pd.DataFrame) -> np.ndarray:
    """Return why each row cannot be used, empty where it can."""
    reasons = np.full(len(cells), "", dtype=object)
    for name in cells.columns:
        absent = cells[name].isna().to_numpy() & (reasons == "")
        reasons[absent] = f"no value of context {name!r}"
    return reasons
