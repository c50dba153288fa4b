"""The correlation of errors that `deepmr lmm` recorded beside its tables, for traits whose samples are shared."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr.commands.record import record_beside
from deepmr.errors import InputError
from deepmr.io.sumstats import Gwas

RECORDED = "error_correlation"  # in the record beside a table
_ASSOCIATIONS = "deepmr-associations"
_NOT_GENOTYPES = frozenset({"pheno", "covariate_file", "kinship", "annotation"})


def recorded_error_corr(files: Sequence[Gwas]) -> Float[np.ndarray, "traits traits"] | None:
    """Return the correlation of errors of traits that one run of `deepmr lmm` tested; None where it did not.

    Parameters
    ----------
    files : as read, in the order of the matrix to return.

    Raises
    ------
    InputError
        When a record has a correlation of these traits that is none.

    Notes
    -----
    Tables are of one run when the records beside them have the same matrix, which names the traits.
    """
    found = [record_beside(one.path).get(RECORDED) for one in files]
    first = found[0]
    if not isinstance(first, dict) or any(one != first for one in found[1:]):
        return None
    traits = [str(name) for name in first.get("traits", [])]
    names = [_name_in_table(one, traits) for one in files]
    if not set(names) <= set(traits) or len(set(names)) < len(names):
        return None
    at = [traits.index(name) for name in names]
    return _checked(first.get("matrix"), len(traits), files[0])[np.ix_(at, at)]


def same_genotypes(files: Sequence[Gwas]) -> bool:
    """Return whether `deepmr lmm` made all tables from the same files of genotypes: their alleles are on one strand.

    Parameters
    ----------
    files : as read.
    """
    sums = []
    for one in files:
        record = record_beside(one.path)
        inputs = record.get("inputs")
        if record.get("format") != _ASSOCIATIONS or not isinstance(inputs, dict):
            return False
        sums.append({name: made.get("sha256") for name, made in inputs.items() if name not in _NOT_GENOTYPES})
    return bool(sums[0]) and all(one == sums[0] for one in sums)


def _name_in_table(one: Gwas, traits: Sequence[str]) -> str:
    """Return the name that a trait has in its table, where the user gave it another."""
    if one.trait in traits or "trait" not in one.columns:
        return one.trait
    return str(pd.read_csv(one.path, sep="\t", nrows=1, dtype=str)[one.columns["trait"]].iloc[0])


def _checked(matrix: Any, size: int, one: Gwas) -> Float[np.ndarray, "traits traits"]:
    try:
        values = np.array(matrix, dtype=float)
    except (TypeError, ValueError):
        values = np.empty(0)
    good = values.shape == (size, size) and bool((np.abs(values) <= 1).all()) and np.allclose(values, values.T)
    if not good or not np.allclose(np.diagonal(values), 1):
        raise InputError(
            f"{one.path}.json: {RECORDED} must be a correlation matrix of {size} traits; pass --error-corr none, or "
            "run deepmr lmm again"
        )
    return values
