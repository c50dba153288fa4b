"""Covariates as numbers: categories as columns of 0 and 1, without what does not vary or repeats the others."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.errors import InputError
from deepmr.io.phenotypes import TraitTable

_MOST_LEVELS = 100
_FEW_LEVELS = 10  # of a category, however few the samples
_INDEPENDENT = 1e-8  # least part of a column, of length 1, that those before it do not explain


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Covariates of samples.

    Attributes
    ----------
    values : numbers, with the intercept linearly independent.
    names : of the columns; `site=B` for a level.
    notes : what was left out, and the levels of categories.
    """

    values: Float[np.ndarray, "samples covariates"]
    names: tuple[str, ...]
    notes: tuple[str, ...]


def encode_covariates(
    table: TraitTable,
    text: Mapping[str, pd.Series],
    rows: Int[np.ndarray, "samples"],
    *,
    categorical: Collection[str] = (),
) -> Encoded:
    """Turn covariates into linearly independent columns of numbers.

    Parameters
    ----------
    table : which they come from, for messages.
    text : cells of each covariate.
    rows : of the samples; none has a missing cell.
    categorical : covariates whose numbers are names of categories.

    Raises
    ------
    InputError
        When a column has numbers and a few cells that are none, or nearly as many levels as samples.
    """
    for name in categorical:
        checks.one_of("categorical", name, text)
    notes: list[str] = []
    columns: dict[str, np.ndarray] = {}
    for column, cells in text.items():
        here = cells.iloc[rows]
        name = f"covariate_{column}" if column.isdigit() else column  # of a table without a header
        n_numbers = int(pd.to_numeric(here, errors="coerce").notna().sum())
        if column in categorical or 2 * n_numbers < len(here):
            columns |= _levels(name, here, notes, where=str(table.path))
        else:
            columns[name] = _numbers(table, column, cells)[rows]
    if len(columns) > len(rows):
        raise InputError(
            f"{table.path}: {len(columns)} columns of covariates and the intercept need more than {len(columns) + 1} "
            f"samples; {len(rows)} have them all"
        )
    return _independent(columns, len(rows), notes)


def _numbers(table: TraitTable, name: str, cells: pd.Series) -> Float[np.ndarray, "rows"]:
    try:
        return table.numbers(name, cells)
    except InputError as error:
        raise InputError(f"{error}, though most are; where numbers are categories, say that {name!r} is one") from error


def _levels(name: str, cells: pd.Series, notes: list[str], *, where: str) -> dict[str, np.ndarray]:
    """Return a column of 0 and 1 for every level but the first."""
    counts = cells.value_counts()
    levels = category_levels(name, cells, where=where)
    if len(levels) == 1:
        notes.append(f"covariate {name} is left out: all {len(cells)} samples have {levels[0]}")
        return {}
    told = ", ".join(f"{level} ({counts[level]})" for level in levels)
    notes.append(f"covariate {name} has {len(levels)} levels: {told}; effects are against {levels[0]}")
    single = [level for level in levels if counts[level] == 1]
    if single:
        notes.append(f"covariate {name}: one sample alone has {', '.join(single)}, which its indicator fits exactly")
    return indicators(name, cells, levels)


def category_levels(
    name: str, cells: pd.Series, *, where: str, what: str = "covariate", unit: str = "samples"
) -> list[str]:
    """Return the levels of a category in their order: as numbers where they are numbers.

    Parameters
    ----------
    name : of the column.
    cells : text, none missing.
    where : what the column is in, for messages.
    what, unit : what a column and its rows are, for messages.

    Raises
    ------
    InputError
        When there are nearly as many levels as rows, or very many.
    """
    levels = sorted(cells.unique(), key=_natural)
    if len(levels) > min(_MOST_LEVELS, max(_FEW_LEVELS, len(cells) // 2)):
        raise InputError(
            f"{where}: {what} {name!r} has {len(levels)} levels such as {levels[0]!r} in {len(cells)} {unit}: too many "
            "for a category"
        )
    return levels


def indicators(name: str, cells: pd.Series, levels: Sequence[str]) -> dict[str, Float[np.ndarray, "rows"]]:
    """Return a column of 0 and 1 for every level but the first, named `<name>=<level>`.

    Parameters
    ----------
    name : of the category.
    cells : text.
    levels : in their order.
    """
    values = cells.to_numpy(object)
    return {f"{name}={level}": (values == level).astype(float) for level in levels[1:]}


def _natural(level: str) -> tuple[bool, float, str]:
    """Order levels as numbers where they are numbers."""
    number = pd.to_numeric(level, errors="coerce")
    return (bool(np.isnan(number)), 0.0 if np.isnan(number) else float(number), level)


def _independent(columns: Mapping[str, np.ndarray], n: int, notes: list[str]) -> Encoded:
    """Leave out columns that do not vary or that those before them explain, by Gram-Schmidt done twice."""
    basis = np.empty((n, len(columns)))
    names: list[str] = []
    for name, column in columns.items():
        if column.min() == column.max():
            notes.append(f"covariate {name} is left out: all {n} samples have {column[0]:g}")
            continue
        left = column - column.mean()
        left /= np.linalg.norm(left)
        for _ in range(2):
            left -= basis[:, : len(names)] @ (basis[:, : len(names)].T @ left)
        size = np.linalg.norm(left)
        if size < _INDEPENDENT:
            notes.append(f"covariate {name} is left out: it is a sum of others, {', '.join(names)}")
            continue
        basis[:, len(names)] = left / size
        names.append(name)
    values = np.column_stack([columns[name] for name in names]) if names else np.zeros((n, 0))
    return Encoded(values=values, names=tuple(names), notes=tuple(notes))
