"""Individual-level data: tables of samples, and PLINK genotypes -> `IVData`, with counts of what was left out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import OutcomeType
from deepmr.io.column_names import check_roles, choose_names, expand_ranges
from deepmr.io.complete_cases import Genotypes, ReadIVData, complete_cases
from deepmr.io.iv_genotypes import join_samples, open_panel, read_dosages
from deepmr.io.iv_table import SampleTable, Separator, open_table
from deepmr.io.plink import PlinkPanel

MissingGenotypes = Literal["drop", "mean"]


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
    panel = None if genotypes is None else open_panel(genotypes)
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
    genotyped = None
    if panel is not None and sample_id is not None:
        joined = join_samples(panel, frame[sample_id], where=where)
        genotyped = Genotypes(joined=joined, names=tuple(variants), dosages=read_dosages(panel, variants, joined))
    impute = missing_genotypes == "mean"
    return complete_cases(frame, roles, where=where, outcome_type=outcome_type, genotypes=genotyped, impute=impute)


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
    known, bim = set(ids), str(panel.bed.with_suffix(".bim"))
    for pattern in patterns:
        names = [pattern] if pattern in known else expand_ranges(pattern)
        if known.issuperset(names):
            variants += names
            continue
        try:
            variants += choose_names([pattern], ids, what="instrument", where=bim, kind="variant")
        except InputError as error:
            try:
                columns += choose_names([pattern], table.names, what="instrument", where=where, taken=taken)
            except InputError:
                raise error from None
    checks.unique("instruments", [*variants, *columns])
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
