"""Samples with genotypes, phenotypes and covariates, joined by their identifiers, with counts of who is left out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from deepmr.cohort import Cohort, Genotypes
from deepmr.errors import InputError
from deepmr.io.column_names import choose_names
from deepmr.io.covariates import encode_covariates
from deepmr.io.phenotypes import PLINK_MISSING, Order, TraitTable, open_trait_table, rows_of_samples


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortRead:
    """A cohort, and what became of the samples.

    Attributes
    ----------
    cohort : samples with a row in every table, every covariate, and at least one trait, in the genotypes' order.
    counts : samples by what became of them, in the order of the steps; see `read_cohort`.
    notes : what a reader of results should know, a sentence each.
    """

    cohort: Cohort
    counts: dict[str, int]
    notes: tuple[str, ...]


def read_cohort(
    genotypes: Genotypes,
    *,
    phenotypes: Path,
    traits: Sequence[str],
    covariates: Path | None = None,
    covariate_names: Sequence[str] | None = None,
    categorical: Collection[str] = (),
    id_column: str | None = None,
    order: Order = "id",
    missing: Collection[str] = (),
) -> CohortRead:
    """Join genotypes, phenotypes and covariates by sample.

    Parameters
    ----------
    genotypes
        Of `open_genotypes`.
    phenotypes
        Table with a row a sample; see `open_trait_table` for its forms.
    traits
        Columns, or patterns such as `bmi*`; 1, 2, ... where the table has no header.
    covariates
        Another such table; the columns of `covariate_names` are in `phenotypes` where it is not given.
    covariate_names
        Columns; by default none, or all of `covariates`.
    categorical
        Covariates whose numbers are names of categories. Covariates that are not numbers are categories anyway.
    id_column, order, missing
        As in `open_trait_table`. Where the table of covariates has no such column, its own is found by name.

    Returns
    -------
    CohortRead
        Its counts are `genotyped`, then those left out, each for the first of the reasons: `without_phenotype_row`,
        `without_covariate_row`, `missing_covariate`, `without_any_trait`; then `used`; and, of the tables,
        `phenotype_rows_without_genotypes` and `covariate_rows_without_genotypes`.

    Raises
    ------
    InputError
        When a table cannot be read, a column is not there or is no number, a sample occurs twice, or none is left.

    Notes
    -----
    A category becomes columns of 0 and 1 named `site=B`, one a level but the first. A covariate that does not vary, or
    is a sum of those before it, is left out with a note.
    """
    samples = genotypes.samples
    table = open_trait_table(phenotypes, samples, id_column=id_column, order=order, missing=missing)
    beside = table
    if covariates is not None:
        beside = _covariates(covariates, samples, id_column=id_column, order=order, missing=missing)
    names, chosen = _chosen(table, beside, traits, covariate_names)
    notes: list[str] = []
    measured = _cells(table, names, notes)
    values = np.column_stack([_trait(table, name, measured[name], notes) for name in names])
    text = _cells(beside, chosen, notes)
    rows = rows_of_samples(table, samples)
    beside_rows = rows if beside is table else rows_of_samples(beside, samples)
    there = (rows >= 0) & (beside_rows >= 0)
    absent = {name: cells.isna().to_numpy()[beside_rows] & there for name, cells in text.items()}
    notes += [f"covariate {k} is missing in {v.sum()} of the samples with rows" for k, v in absent.items() if v.any()]
    lacking = np.any([np.zeros(len(rows), dtype=bool), *absent.values()], axis=0)
    kept, counts = _kept(rows, beside_rows, lacking, np.isnan(values)[rows].all(1))
    counts["phenotype_rows_without_genotypes"] = table.n_rows - int((rows >= 0).sum())
    if beside is not table:
        counts["covariate_rows_without_genotypes"] = beside.n_rows - int((beside_rows >= 0).sum())
    if not len(kept):
        told = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in counts.items() if n)
        raise InputError(f"{phenotypes}: no sample has genotypes, every covariate and a trait: {told}")
    found = values[rows[kept]]
    for name, column in zip(names, found.T, strict=True):
        notes += _about(name, column, where=phenotypes)
    shared = int(genotypes.variants["variant_id"].duplicated(keep=False).sum())
    if shared:
        notes.append(f"{shared} variants share their identifier with another")
    encoded = encode_covariates(beside, text, beside_rows[kept], categorical=categorical)
    return CohortRead(
        cohort=Cohort(
            genotypes=genotypes if len(kept) == len(samples) else genotypes.take(kept),
            phenotypes=found,
            traits=tuple(names),
            covariates=encoded.values,
            covariate_names=encoded.names,
        ),
        counts=counts,
        notes=(*notes, *encoded.notes),
    )


def _chosen(
    table: TraitTable, beside: TraitTable, traits: Sequence[str], covariates: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """Return names of traits and of covariates; of the latter all of a table of their own, unless they are named."""
    names = choose_names(traits, table.names, what="trait", where=str(table.path))
    if not names:
        raise InputError(f"{table.path}: at least one trait is needed; there are {', '.join(table.names[:12])}")
    alone = beside is not table
    if covariates is None:
        chosen = list(beside.names) if alone else []
    else:
        taken = () if alone else names
        chosen = choose_names(covariates, beside.names, what="covariate", where=str(beside.path), taken=taken)
    both = [name for name in chosen if name in names and not (alone and name.isdigit())]  # 1, 2, ... are no names
    if both:
        raise InputError(f"{beside.path}: {both[0]!r} has two roles, trait and covariate; it can have one")
    return names, chosen


def _covariates(
    path: Path, samples: pd.Index, *, id_column: str | None, order: Order, missing: Collection[str]
) -> TraitTable:
    try:
        return open_trait_table(path, samples, id_column=id_column, order=order, missing=missing)
    except InputError:
        if id_column is None:
            raise
        return open_trait_table(path, samples, order=order, missing=missing)


def _kept(
    rows: Int[np.ndarray, "samples"],
    beside_rows: Int[np.ndarray, "samples"],
    lacking: Bool[np.ndarray, "samples"],
    no_trait: Bool[np.ndarray, "samples"],
) -> tuple[Int[np.ndarray, "kept"], dict[str, int]]:
    """Return the samples to keep, and how many others have which reason as their first."""
    kept = np.ones(len(rows), dtype=bool)
    counts = {"genotyped": len(rows)}
    for reason, left_out in {
        "without_phenotype_row": rows < 0,
        "without_covariate_row": beside_rows < 0,
        "missing_covariate": lacking,
        "without_any_trait": no_trait,
    }.items():
        counts[reason] = int((kept & left_out).sum())
        kept &= ~left_out
    return np.flatnonzero(kept), counts | {"used": int(kept.sum())}


def _cells(table: TraitTable, names: Sequence[str], notes: list[str]) -> dict[str, pd.Series]:
    """Return columns as text, and note what counted as missing that could be a value."""
    text, n_coded = table.cells(names)
    codes = " or ".join(sorted(table.missing))
    notes += [f"{name}: {n} cell(s) with {codes} count as missing" for name, n in n_coded.items() if n]
    return text


def _trait(table: TraitTable, name: str, text: pd.Series, notes: list[str]) -> Float[np.ndarray, "rows"]:
    """Return a trait as numbers; of cases and controls in PLINK's coding, 0 is missing as it is there."""
    values = table.numbers(name, text)
    levels = set(np.unique(values[~np.isnan(values)]))
    if PLINK_MISSING in table.missing and levels == {0.0, 1.0, 2.0}:
        notes.append(f"{name}: {(values == 0).sum()} values of 0 count as missing, as in PLINK's coding of cases")
        return np.where(values == 0, np.nan, values)
    if PLINK_MISSING not in table.missing and (values == float(PLINK_MISSING)).any():
        notes.append(f"{name}: {(values == float(PLINK_MISSING)).sum()} values of -9 count as numbers")
    return values


def _about(name: str, values: Float[np.ndarray, "samples"], *, where: Path) -> list[str]:
    """Return what to know of a trait in the samples that are used."""
    there = values[~np.isnan(values)]
    if not len(there):
        raise InputError(f"{where}: no sample with genotypes and covariates has {name}")
    levels = np.unique(there)
    if len(levels) == 1:
        return [f"{name} does not vary: all {len(there)} samples have {levels[0]:g}"]
    if len(levels) > 2:
        return []
    low, high = ((there == level).sum() for level in levels)
    coding = ", as PLINK codes controls and cases" if levels.tolist() == [1.0, 2.0] else ""
    return [
        f"{name} has two values, {levels[0]:g} in {low} and {levels[1]:g} in {high} samples{coding}: effects are of a "
        "linear model of these numbers, not odds ratios"
    ]
