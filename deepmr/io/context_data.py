"""Tables of samples as `ContextData`: contexts, predictors and outcomes of complete cases, and counts of the others."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr.contexts import ContextData, OutcomeType
from deepmr.errors import InputError
from deepmr.io.column_names import check_roles, choose_names
from deepmr.io.contexts import encode_columns
from deepmr.io.iv_table import Separator, open_table


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadContextData:
    """Samples and what was left out.

    Attributes
    ----------
    data : complete cases.
    rows : of the table, 0-based, that they are.
    levels : of contexts that are categories, the first of which has no indicator.
    groups : names of the groups, in the order of their numbers; empty where there are none.
    n_read : rows of the table.
    missing : rows without a value, by column; a row may lack several.
    """

    data: ContextData
    rows: np.ndarray
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    n_read: int
    missing: Mapping[str, int] = field(default_factory=dict)


def read_context_data(
    path: Path,
    *,
    outcome: Sequence[str],
    contexts: Sequence[str],
    predictors: Sequence[str] = (),
    se: Sequence[str] | None = None,
    weights: str | None = None,
    groups: str | None = None,
    offset: Sequence[str] | None = None,
    outcome_type: OutcomeType = "continuous",
    categorical: Collection[str] = (),
    levels: Mapping[str, Sequence[str]] | None = None,
    separator: Separator = "auto",
) -> ReadContextData:
    """Read samples for `fit_context`.

    Parameters
    ----------
    path
        A row a sample; text (tabs, commas, semicolons or blanks), plain or gzip, or Parquet.
    outcome, contexts, predictors
        Columns by role, also as patterns. A context may be a category; `<context>_se`, where it is there, is its known
        standard error.
    se, offset
        Known standard errors of the outcomes, and what is added to them on the scale of the link; a column an outcome.
    weights
        Column of how many rows each row stands for.
    groups
        Column that says which samples share deviations of coefficients.
    outcome_type
        As in `ContextData`.
    categorical
        Contexts whose numbers are names of categories.
    levels
        Those of the categories of a fit, which alone are then known.
    separator
        As of `open_table`.

    Raises
    ------
    InputError
        For a file or column that cannot be used, or when no row is complete.
    """
    table, where = open_table(path, separator=separator), str(path)
    roles: dict[str, list[str]] = {}
    given = {"outcome": outcome, "predictor": predictors, "se": se or (), "offset": offset or ()}
    given |= {"weight": [weights] if weights else [], "group": [groups] if groups else [], "context": contexts}
    errors = {f"{name}_se" for name in table.names} & set(table.names)
    for role, names in given.items():
        taken = {*errors, *(name for one in roles.values() for name in one)}
        roles[role] = choose_names(names, table.names, what=role, where=where, taken=taken)
    check_roles(roles, where=where)
    for role in ("se", "offset"):
        if roles[role] and len(roles[role]) != len(roles["outcome"]):
            raise InputError(f"{where}: {role} needs a column an outcome, {len(roles['outcome'])}; got {roles[role]}")
    if not roles["context"]:
        raise InputError(f"{where}: at least one context is needed; got none")
    known_errors = [f"{name}_se" for name in roles["context"] if f"{name}_se" in errors]
    numbers = [name for role in ("outcome", "predictor", "se", "offset", "weight") for name in roles[role]]
    cells = table.columns(numbers=[*numbers, *known_errors], groups=roles["group"], identifiers=roles["context"])
    coded, found = encode_columns(
        table, cells[roles["context"]], where=where, categorical=categorical, levels=levels, unit="samples"
    )
    kept, missing = _complete(cells, where)
    frame = pd.DataFrame({**coded, **{name: cells[name] for name in (*numbers, *known_errors)}})[kept]

    def matrix(names: Sequence[str]) -> Float[np.ndarray, "samples _"]:
        return np.ascontiguousarray(frame[list(names)].to_numpy(dtype=float))

    numbered, named = (
        pd.factorize(cells.loc[kept, roles["group"][0]].astype(str)) if roles["group"] else (None, pd.Index([]))
    )
    try:
        data = ContextData(
            contexts=matrix(list(coded)),
            predictors=matrix(roles["predictor"]),
            outcomes=matrix(roles["outcome"]),
            context_names=tuple(coded),
            predictor_names=tuple(roles["predictor"]),
            outcome_names=tuple(roles["outcome"]),
            outcome_type=outcome_type,
            weights=matrix(roles["weight"])[:, 0] if roles["weight"] else None,
            se_outcome=matrix(roles["se"]) if roles["se"] else None,
            context_se=_errors(frame, list(coded)) if known_errors else None,
            offset=matrix(roles["offset"]) if roles["offset"] else None,
            groups=None if numbered is None else numbered.astype(np.int64),
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return ReadContextData(
        data=data,
        rows=np.flatnonzero(kept),
        levels=found,
        groups=tuple(map(str, named)),
        n_read=len(cells),
        missing=missing,
    )


def _complete(cells: pd.DataFrame, where: str) -> tuple[np.ndarray, dict[str, int]]:
    """Return which rows lack nothing, and how many lack what."""
    if not len(cells):
        raise InputError(f"{where}: has no rows; needed one a sample")
    absent = cells.isna()
    missing = {str(name): int(n) for name, n in absent.sum().items() if n}
    kept = ~absent.any(axis=1).to_numpy()
    if not kept.any():
        worst = max(missing, key=lambda name: missing[name])
        raise InputError(f"{where}: no row is complete; {missing[worst]} of {len(cells)} have no {worst}")
    return kept, missing


def _errors(frame: pd.DataFrame, names: Sequence[str]) -> Float[np.ndarray, "samples contexts"]:
    return np.column_stack([frame.get(f"{name}_se", pd.Series(0.0, index=frame.index)) for name in names])
