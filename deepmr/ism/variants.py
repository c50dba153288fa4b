"""Edits of sequences: as arrays for the engines, as a frame of variants for the reader. Imports no torch."""

import itertools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, UInt8

from deepmr.types import ALPHABET, MASKED, Sequences

NOTHING = "-"  # the allele without a base: what a deletion leaves, what an insertion replaces
SHIFTS = ("cut", "deleted", "inserted", "moved")  # the columns of `Shifts`, in an effects file too
Anchor = Literal["center", "left", "right"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifts:
    """How deletions and insertions move the bases around them; all 0 for a variant that only substitutes.

    The locus keeps its length: bases that leave it are lost, positions that become empty are masked.

    Attributes
    ----------
    cut : bases of the reference to the left of the edit.
    deleted : bases of the reference removed from `cut` on.
    inserted : new bases between the two flanks.
    moved : positions that the left flank moves to the right; 0 where the right flank moves instead.
    """

    cut: Int[np.ndarray, "variants"]
    deleted: Int[np.ndarray, "variants"]
    inserted: Int[np.ndarray, "variants"]
    moved: Int[np.ndarray, "variants"]

    @property
    def any(self) -> Bool[np.ndarray, "variants"]:
        """True for a deletion or an insertion."""
        return (self.deleted > 0) | (self.inserted > 0)

    def take(self, rows: Any) -> "Shifts | None":
        """Return the shifts of some variants; None where none of them shifts."""
        chosen = Shifts(**{name: getattr(self, name)[rows] for name in SHIFTS})
        return chosen if chosen.any.any() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """Variants in the order of their loci: variant i writes the bases start[i] to start[i + 1].

    A variant is either substitutions alone, or one deletion or insertion: then its bases are the inserted ones.

    Attributes
    ----------
    locus : row of the variant's locus among the sequences, never decreasing.
    offset : 0-based position of a base in the edited sequence, which for a substitution is that in the locus; that of
        an inserted base may lie outside the locus and is not written then.
    base : code of the new base, 0 to 3.
    shifts : deletions and insertions; None where every variant only substitutes.
    """

    locus: Int[np.ndarray, "variants"]
    start: Int[np.ndarray, "variants_plus_one"]
    offset: Int[np.ndarray, "substitutions"]
    base: UInt8[np.ndarray, "substitutions"]
    shifts: Shifts | None = None

    def __len__(self) -> int:
        return len(self.locus)

    @property
    def substitutions_only(self) -> bool:
        """Whether no variant deletes or inserts."""
        return self.shifts is None

    @property
    def shifted(self) -> Bool[np.ndarray, "variants"]:
        """True for a variant that deletes or inserts, False for one that only substitutes."""
        return np.zeros(len(self), dtype=bool) if self.shifts is None else self.shifts.any

    @property
    def first(self) -> Int[np.ndarray, "variants"]:
        """Offset in the locus of the first base that is substituted, deleted, or follows an insertion."""
        first = np.append(self.offset, 0)[self.start[:-1]]  # a deletion writes no base
        return first if self.shifts is None else np.where(self.shifted, self.shifts.cut, first)

    def take(self, rows: Any) -> "Edits":
        """Return the variants that a boolean mask or rising row numbers select."""
        chosen = np.arange(len(self))[rows]
        counts = np.diff(self.start)[chosen]
        start = np.append(0, np.cumsum(counts))
        bases = np.arange(start[-1]) + np.repeat(self.start[chosen] - start[:-1], counts)
        return Edits(
            locus=self.locus[chosen],
            start=start,
            offset=self.offset[bases],
            base=self.base[bases],
            shifts=None if self.shifts is None else self.shifts.take(chosen),
        )

    def rows_of(self, loci: slice) -> slice:
        """Return the variants of a run of loci."""
        return slice(*np.searchsorted(self.locus, [loci.start, loci.stop]).tolist())

    def of_loci(self, loci: slice) -> "Edits":
        """Return the edits of a run of loci, numbered from its first."""
        variants = self.rows_of(loci)
        first, last = variants.start, variants.stop
        rows = slice(self.start[first], self.start[last])
        return Edits(
            locus=self.locus[first:last] - loci.start,
            start=self.start[first : last + 1] - self.start[first],
            offset=self.offset[rows],
            base=self.base[rows],
            shifts=None if self.shifts is None else self.shifts.take(variants),
        )


def editable(
    codes: UInt8[np.ndarray, "loci length"], within: Bool[np.ndarray, "loci length"] | None = None
) -> Bool[np.ndarray, "loci length"]:
    """Return which positions are edited: those of known bases, where `within` is given of these only its own."""
    known: np.ndarray = codes != MASKED
    return known if within is None else known & within


def single_edits(
    codes: UInt8[np.ndarray, "loci length"], *, within: Bool[np.ndarray, "loci length"] | None = None
) -> Edits:
    """Return every edit of one known base: by locus, offset, then new base in the order A C G T.

    Parameters
    ----------
    codes : reference bases of the loci.
    within : the positions to edit; all by default.
    """
    locus, offset = np.nonzero(editable(codes, within))
    other = codes[locus, offset]
    third = np.arange(3, dtype=np.uint8)
    base = third + (third >= other[:, None])
    return Edits(
        locus=np.repeat(locus, 3), start=np.arange(base.size + 1), offset=np.repeat(offset, 3), base=base.ravel()
    )


def to_dense(
    delta: Float[np.ndarray, "variants tasks"],
    codes: UInt8[np.ndarray, "loci length"],
    *,
    within: Bool[np.ndarray, "loci length"] | None = None,
) -> Float[np.ndarray, "loci tasks length 3"]:
    """Lay the effects of every single-base edit out by position; positions that are not edited are 0."""
    dense = np.zeros((*codes.shape, 3, delta.shape[1]), dtype=delta.dtype)
    dense[editable(codes, within)] = delta.reshape(-1, 3, delta.shape[1])
    return np.moveaxis(dense, 3, 1)


def from_dense(
    effect: Float[np.ndarray, "loci *members tasks length 3"],
    codes: UInt8[np.ndarray, "loci length"],
    *,
    within: Bool[np.ndarray, "loci length"] | None = None,
) -> Float[np.ndarray, "variants *members tasks"]:
    """Undo `to_dense`; member axes between loci and tasks are kept."""
    edited: np.ndarray = np.moveaxis(effect, (-2, -1), (1, 2))[editable(codes, within)]
    return edited.reshape(-1, *edited.shape[2:])


def variants_of(edits: Edits, sequences: Sequences, *, variant_id: list[str] | None = None) -> pd.DataFrame:
    """Return one row a variant: the columns of `schema.VARIANTS` and `offset`.

    Parameters
    ----------
    edits : the variants.
    sequences : the loci that they edit.
    variant_id : names; by default chrom:pos:other_allele:effect_allele, with the locus in place of an unknown chrom.

    Notes
    -----
    `pos` is start + offset + 1 where the locus has coordinates, else offset + 1. A variant of several substitutions
    carries the first position and joins its alleles with commas. A deletion carries the position of its first base, an
    insertion that of the base that follows it; the allele without a base is "-".
    """
    loci = sequences.loci
    placed, start = placed_starts(sequences)
    first = edits.first
    pos = start[edits.locus] + first + 1
    columns = _alleles(edits, sequences.codes)
    if variant_id is None:
        place = np.where(placed, loci["chrom"], loci["locus"]).tolist()
        parts = zip(edits.locus.tolist(), pos.tolist(), columns["other_allele"], columns["effect_allele"], strict=True)
        variant_id = [f"{place[i]}:{p}:{ref}:{alt}" for i, p, ref, alt in parts]
    return pd.DataFrame(
        {
            "variant_id": variant_id,
            "locus": pd.Categorical.from_codes(edits.locus, pd.Index(loci["locus"].astype(str))),
            "chrom": pd.Categorical(np.where(placed, loci["chrom"], "")).take(edits.locus),
            "pos": pos,
            **columns,
            "offset": first,
        }
    )


def placed_starts(sequences: Sequences) -> tuple[Bool[np.ndarray, "loci"], Int[np.ndarray, "loci"]]:
    """Say which loci have coordinates, and where they start: 0 where they have none."""
    start = sequences.loci["start"].to_numpy(int)
    placed = (start >= 0) & (sequences.loci["chrom"] != "").to_numpy(bool)
    return placed, np.where(placed, start, 0)


def letters_of(codes: UInt8[np.ndarray, "bases"]) -> str:
    """Return bases as text, masked ones as N."""
    return np.frombuffer(f"{ALPHABET}N".encode(), dtype=np.uint8)[codes].tobytes().decode()


def _alleles(edits: Edits, codes: UInt8[np.ndarray, "loci length"]) -> dict[str, Any]:
    """Return the columns effect_allele and other_allele."""
    row = np.repeat(edits.locus, np.diff(edits.start))
    inside = np.clip(edits.offset, 0, codes.shape[1] - 1)  # inserted bases replace none: what is read here is not used
    both = {"effect_allele": edits.base, "other_allele": codes[row, inside]}
    if edits.shifts is None and len(edits.base) == len(edits):
        return {name: pd.Categorical.from_codes(bases, pd.Index(list(ALPHABET))) for name, bases in both.items()}
    columns = {name: _join(letters_of(bases), edits.start) for name, bases in both.items()}
    if edits.shifts is not None:
        written = letters_of(edits.base)
        for i in np.flatnonzero(edits.shifted).tolist():
            a, n = edits.shifts.cut[i], edits.shifts.deleted[i]
            columns["effect_allele"][i] = written[edits.start[i] : edits.start[i + 1]] or NOTHING
            columns["other_allele"][i] = letters_of(codes[edits.locus[i], a : a + n]) or NOTHING
    return columns


def _join(letters: str, start: Int[np.ndarray, "variants_plus_one"]) -> list[str]:
    return [",".join(letters[a:b]) for a, b in itertools.pairwise(start.tolist())]
