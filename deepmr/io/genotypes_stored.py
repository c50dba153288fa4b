"""Genotypes held in memory in few bytes: what formats become that cannot be read at any place."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int, Shaped

from deepmr.errors import InputError

MISSING = -1  # of calls held as whole numbers
_FIRST = 1024  # variants that there is room for at the start


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredGenotypes:
    """Genotypes in memory; samples are chosen when a block is read, so that a subset takes no room.

    Attributes
    ----------
    variants : as in `Genotypes`.
    samples : identifiers of the samples read, each once.
    values : copies of the effect allele; whole numbers, negative where missing, or NaN where missing.
    columns : which columns of `values` the samples are; None for all.
    """

    variants: pd.DataFrame
    samples: pd.Index
    values: Shaped[np.ndarray, "variants held"]
    columns: Int[np.ndarray, "samples"] | None = None

    def read(self, start: int, stop: int) -> Shaped[np.ndarray, "variants samples"]:
        """Return copies of the effect allele of variants start to stop, NaN where missing."""
        part = self.values[start:stop]
        if self.columns is not None:
            part = np.take(part, self.columns, axis=1)
        if part.dtype.kind == "f":
            return part
        dosages = part.astype(np.float32)
        dosages[part < 0] = np.nan
        return dosages

    def take(self, rows: Int[np.ndarray, "chosen"]) -> "StoredGenotypes":
        """Return the same variants of these samples alone, in this order."""
        columns = rows if self.columns is None else self.columns[rows]
        return replace(self, samples=self.samples[rows], columns=columns)


@dataclass(slots=True, kw_only=True)
class Growing:
    """Rows of genotypes put together one by one, within a limit of memory.

    Attributes
    ----------
    path : the file they come from, for messages.
    n_samples : length of a row.
    dtype : int8 for calls, float32 for dosages.
    max_bytes : most that they may take.
    """

    path: Path
    n_samples: int
    dtype: type[np.int8] | type[np.float32]
    max_bytes: int
    n: int = 0
    _values: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self._values = np.empty((_FIRST, self.n_samples), dtype=self.dtype)

    def append(self, row: Shaped[np.ndarray, "samples"]) -> None:
        """Add a variant; raise `InputError` when there is no room."""
        if (self.n + 1) * self.n_samples * self._values.itemsize > self.max_bytes:
            raise InputError(
                f"{self.path}: more than {self.n:,} variants of {self.n_samples:,} samples do not fit into "
                f"{self.max_bytes / 2**30:.3g} GiB; convert with plink2 --make-bed, which is read in blocks"
            )
        if self.n == len(self._values):
            # In place: the system moves the pages of a large array, so that no second copy of it is ever there.
            self._values.resize((self.n + self.n // 2, self.n_samples), refcheck=False)
        self._values[self.n] = row
        self.n += 1

    def finish(self) -> Shaped[np.ndarray, "variants samples"]:
        """Return what was put together, and hold it no longer."""
        self._values.resize((self.n, self.n_samples), refcheck=False)
        values, self._values = self._values, np.empty((0, self.n_samples), dtype=self.dtype)
        return values


def variant_names(variants: pd.DataFrame) -> pd.Series:
    """Return chrom:pos:other_allele:effect_allele of each variant, for those without an identifier.

    Parameters
    ----------
    variants : as in `Genotypes`.
    """
    columns = [variants[name].astype(object) for name in ("chrom", "other_allele", "effect_allele")]
    chrom, other, effect = (column.fillna(".").astype(str) for column in columns)
    return chrom + ":" + variants["pos"].astype(str) + ":" + other + ":" + effect
