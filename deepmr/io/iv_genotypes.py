"""Genotypes of PLINK files for the samples of a table, joined by sample identifier."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from deepmr.errors import InputError
from deepmr.io.plink import PlinkPanel, read_plink

_AT_ONCE = 16  # variants decoded in one piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Rows of a table that have genotypes.

    Attributes
    ----------
    rows : their numbers in the table.
    samples : the number of each in the .fam file.
    n_unused : samples of the .fam file that the table does not have.
    """

    rows: Int[np.ndarray, "joined"]
    samples: Int[np.ndarray, "joined"]
    n_unused: int


def open_panel(prefix: Path) -> PlinkPanel:
    """Open a PLINK data set with all of its samples, founders or not.

    Parameters
    ----------
    prefix : path without suffix, or any one of the three files.
    """
    panel = read_plink(prefix)
    return replace(panel, used=np.ones(panel.n_samples, dtype=bool))


def join_samples(panel: PlinkPanel, ids: pd.Series, *, where: str) -> Joined:
    """Find the samples of a table in a PLINK data set by their identifier, the second column of the .fam file.

    Parameters
    ----------
    panel : the data set.
    ids : identifiers of the table's rows, as text; a missing one has no genotypes.
    where : the table, for messages.

    Raises
    ------
    InputError
        When an identifier of the table occurs twice in either, or no sample is in both.
    """
    fam = panel.bed.with_suffix(".fam")
    known = pd.Index(panel.samples["sample"])
    given = ids.dropna()
    twice = given[given.duplicated()]
    if len(twice):
        raise InputError(f"{where}: sample {twice.iloc[0]!r} has more than one row")
    repeated = known[known.duplicated() & known.isin(given)]
    if len(repeated):
        raise InputError(f"{fam}: sample {repeated[0]!r} occurs more than once")
    unique = ~known.duplicated()
    at = known[unique].get_indexer(pd.Index(ids.to_numpy(object)))
    at[ids.isna().to_numpy()] = -1
    rows = np.flatnonzero(at >= 0)
    if not len(rows):
        mine, theirs = (repr(one.iloc[0]) if len(one) else "none" for one in (given, panel.samples["sample"]))
        raise InputError(f"{where}: no sample is in {fam}; the table begins with {mine}, the .fam file with {theirs}")
    return Joined(rows=rows, samples=np.flatnonzero(unique)[at[rows]], n_unused=len(known) - len(rows))


def read_dosages(panel: PlinkPanel, variants: list[str], joined: Joined) -> Float[np.ndarray, "joined variants"]:
    """Return copies of the effect allele (A1), NaN where a genotype is missing.

    Parameters
    ----------
    panel : the data set.
    variants : identifiers.
    joined : which samples.

    Raises
    ------
    InputError
        When an identifier is that of several variants.
    """
    ids = pd.Index(panel.variants["variant_id"])
    wanted = ids.isin(variants)
    found = pd.Series(np.flatnonzero(wanted), index=ids[wanted])
    if found.index.has_duplicates:
        twice = found.index[found.index.duplicated()][0]
        raise InputError(f"{panel.bed.with_suffix('.bim')}: variant {twice!r} occurs more than once")
    numbers = found.loc[variants].to_numpy()
    dosages = np.empty((len(joined.rows), len(variants)))
    for start in range(0, len(variants), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        dosages[:, part] = panel.dosages(numbers[part])[joined.samples]
    return dosages
