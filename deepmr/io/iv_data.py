"""Individual-level data: tables of samples, and PLINK genotypes -> `IVData`, with counts of what was left out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import IVData, OutcomeType
from deepmr.io.column_names import check_roles, choose_names
from deepmr.io.iv_genotypes import Joined, join_samples, open_genotypes, read_dosages
from deepmr.io.iv_table import SampleTable, Separator, open_table
from deepmr.io.plink import PlinkPanel

MissingGenotypes = Literal["drop", "mean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCounts:
    """What became of the rows of a table.

    Attributes
    ----------
    n_read : rows of the table.
    n_kept : complete cases.
    missing : rows without a value, by column; a row may lack several.
    imputed : missing values of instruments that were set to the mean, by instrument.
    n_without_genotypes : rows whose sample the genotypes do not have.
    n_unused_genotypes : samples of the genotypes that the table does not have.
    """

    n_read: int
    n_kept: int
    missing: dict[str, int] = field(default_factory=dict)
    imputed: dict[str, int] = field(default_factory=dict)
    n_without_genotypes: int = 0
    n_unused_genotypes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadIVData:
    """Individual-level data and what was left out of them."""

    data: IVData
    counts: SampleCounts


def read_iv_data(
    path: Path,
    *,
    exposure: str | None,
    outcome: str | None,
    instruments: Sequence[str],
    covariates: Sequence[str] = (),
    weight: str | None = None,
    cluster: str | None = None,
    outcome_type: OutcomeType = "continuous",
    separator: Separator = "auto",
    genotypes: Path | None = None,
    sample_id: str | None = None,
    missing_genotypes: MissingGenotypes = "drop",
) -> ReadIVData:
    """Read samples that have a value in every column that is used.

    Parameters
    ----------
    path
        Table with a row a sample: text with a header, plain or gzip, or Parquet.
    exposure, outcome
        Columns; None for what a sample of two does not have.
    instruments
        Columns, or variants of `genotypes`: names, ranges (v{1..20}) and patterns (rs*).
    covariates
        Columns, named in the same ways.
    weight, cluster
        Columns of sample weights and of what groups samples whose errors correlate.
    outcome_type
        A binary outcome is 0 or 1.
    separator
        What separates the cells of text.
    genotypes
        PLINK data set, its path without suffix; instruments that it does not have are columns of the table.
    sample_id
        Column with the identifiers of the genotypes' samples.
    missing_genotypes
        Leave samples out that lack an instrument, or set it to the mean of the others.

    Raises
    ------
    InputError
        For a column that is not there, has two roles or holds text in place of numbers; for an exposure, outcome or
        instrument that does not vary; when no row is complete.
    """
    checks.one_of("missing_genotypes", missing_genotypes, get_args(MissingGenotypes))
    if (genotypes is None) != (sample_id is None):
        raise InputError("genotypes and sample_id go together: identifiers join the table to the PLINK files")
    table, where = open_table(path, separator=separator), str(path)
    panel = None if genotypes is None else open_genotypes(genotypes)
    single = {"exposure": exposure, "outcome": outcome, "weight": weight, "cluster": cluster, "sample_id": sample_id}
    roles = {role: choose_names([name], table.names, what=role, where=where) for role, name in single.items() if name}
    taken = {name for names in roles.values() for name in names}
    roles["covariate"] = choose_names(covariates, table.names, what="covariate", where=where, taken=taken)
    taken |= set(roles["covariate"])
    variants, roles["instrument"] = _instruments(instruments, table, panel, where=where, taken=taken)
    check_roles(roles, where=where)
    frame = table.columns(
        numbers=[
            *(n for role in ("exposure", "outcome", "weight") for n in roles.get(role, ())),
            *roles["covariate"],
            *roles["instrument"],
        ],
        groups=roles.get("cluster", []),
        identifiers=roles.get("sample_id", []),
    )
    if not len(frame):
        raise InputError(f"{path}: has no rows; needed a row a sample")
    _check_numbers(frame, table, where=where, weight=weight)
    joined = None if panel is None or sample_id is None else join_samples(panel, frame[sample_id], where=where)
    extra = None if panel is None or joined is None else read_dosages(panel, variants, joined)
    return _complete_cases(
        frame,
        roles,
        where=where,
        outcome_type=outcome_type,
        joined=joined,
        variants=variants,
        dosages=extra,
        impute=missing_genotypes == "mean",
    )


def _instruments(
    patterns: Sequence[str], table: SampleTable, panel: PlinkPanel | None, *, where: str, taken: set[str]
) -> tuple[list[str], list[str]]:
    """Return the variants and the columns that are instruments; a pattern means variants where there are any."""
    if not patterns:
        raise InputError(f"{where}: needed at least one instrument; got none")
    if panel is None:
        return [], choose_names(patterns, table.names, what="instrument", where=where, taken=taken)
    variants, columns = [], []
    ids = panel.variants["variant_id"].astype(str).tolist()
    for pattern in patterns:
        try:
            variants += choose_names([pattern], ids, what="instrument", where=str(panel.bed.with_suffix(".bim")))
        except InputError as error:
            try:
                columns += choose_names([pattern], table.names, what="instrument", where=where, taken=taken)
            except InputError:
                raise error from None
    both = [*variants, *columns]
    checks.unique("instruments", both)
    return variants, columns


def _check_numbers(frame: pd.DataFrame, table: SampleTable, *, where: str, weight: str | None) -> None:
    """Raise `InputError` for an infinite number, or a weight that is not positive, with its line."""
    for name in frame.select_dtypes("number"):
        values = frame[name].to_numpy()
        wrong = {"a finite number": np.isinf(values)}
        if name == weight:
            wrong["a positive weight"] = values <= 0
        for needed, bad in wrong.items():
            if bad.any():
                row = int(np.argmax(bad))
                raise InputError(f"{where}: {table.place(row)}, column {name!r}: {values[row]:g} is not {needed}")


def _complete_cases(
    frame: pd.DataFrame,
    roles: dict[str, list[str]],
    *,
    where: str,
    outcome_type: OutcomeType,
    joined: Joined | None,
    variants: list[str],
    dosages: Float[np.ndarray, "joined variants"] | None,
    impute: bool,
) -> ReadIVData:
    """Keep the rows that lack nothing, and count the others."""
    n_read = len(frame)
    if joined is not None:
        frame = frame.iloc[joined.rows]
    columns = roles["instrument"]
    missing = {
        name: frame[name].isna().to_numpy() for name in frame if name not in (*columns, *roles.get("sample_id", ()))
    }
    lacking = {name: frame[name].isna().to_numpy() for name in columns}
    if dosages is not None:
        lacking |= {name: np.isnan(column) for name, column in zip(variants, dosages.T, strict=True)}
    kept = ~_any([*missing.values(), *(() if impute else lacking.values())], len(frame))
    counts = {name: int(rows.sum()) for name, rows in (missing | ({} if impute else lacking)).items() if rows.any()}
    if not kept.any():
        worst = max(counts, key=lambda name: counts[name])
        raise InputError(f"{where}: no row is complete; {counts[worst]} of {len(frame)} have no {worst}")
    names = (*variants, *columns)
    values = np.empty((int(kept.sum()), len(names)))
    for k, name in enumerate(names):
        values[:, k] = (dosages[:, k] if dosages is not None and k < len(variants) else frame[name].to_numpy())[kept]
    imputed = _impute(values, names, where=where) if impute else {}
    flat = [name for name, column in zip(names, values.T, strict=True) if np.ptp(column) == 0]
    if flat:
        others = f", as do {len(flat) - 1} others" if len(flat) > 1 else ""
        level = values[0, names.index(flat[0])]
        raise InputError(f"{where}: instrument {flat[0]!r} must vary; all {len(values)} samples have {level:g}{others}")
    data = _made(frame[kept], roles, names, values, outcome_type=outcome_type, where=where)
    return ReadIVData(
        data=data,
        counts=SampleCounts(
            n_read=n_read,
            n_kept=len(values),
            missing=counts,
            imputed=imputed,
            n_without_genotypes=0 if joined is None else n_read - len(joined.rows),
            n_unused_genotypes=0 if joined is None else joined.n_unused,
        ),
    )


def _any(masks: Sequence[Bool[np.ndarray, "rows"]], n: int) -> Bool[np.ndarray, "rows"]:
    found = np.zeros(n, dtype=bool)
    for mask in masks:
        found |= mask
    return found


def _impute(values: Float[np.ndarray, "samples instruments"], names: Sequence[str], *, where: str) -> dict[str, int]:
    """Set missing values to the mean of their column, in place; return how many by name."""
    imputed = {}
    for name, column in zip(names, values.T, strict=True):
        absent = np.isnan(column)
        if absent.all():
            raise InputError(f"{where}: instrument {name!r} has no value in any of the {len(column)} samples")
        if absent.any():
            column[absent] = column[~absent].mean()
            imputed[name] = int(absent.sum())
    return imputed


def _made(
    frame: pd.DataFrame,
    roles: dict[str, list[str]],
    names: tuple[str, ...],
    instruments: Float[np.ndarray, "samples instruments"],
    *,
    outcome_type: OutcomeType,
    where: str,
) -> IVData:
    def column(role: str) -> Float[np.ndarray, "samples"] | None:
        return frame[roles[role][0]].to_numpy(dtype=float) if role in roles else None

    clusters = None
    if "cluster" in roles:
        clusters = pd.factorize(frame[roles["cluster"][0]].astype(str))[0].astype(np.int64)
    try:
        return IVData(
            instruments=instruments,
            exposure=column("exposure"),
            outcome=column("outcome"),
            covariates=np.ascontiguousarray(frame[roles["covariate"]].to_numpy(dtype=float)),
            instrument_names=names,
            covariate_names=tuple(roles["covariate"]),
            exposure_name=roles.get("exposure", ["exposure"])[0],
            outcome_name=roles.get("outcome", ["outcome"])[0],
            outcome_type=outcome_type,
            weights=column("weight"),
            clusters=clusters,
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
