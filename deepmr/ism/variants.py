"""Edits of sequences: as arrays for the engines, as a frame of variants for the reader. Imports no torch."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, UInt8

from deepmr import checks
from deepmr.errors import InputError
from deepmr.types import ALPHABET, MASKED, Sequences

EDIT_COLUMNS = ("variant_id", "locus", "other_allele", "effect_allele")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """Variants in the order of their loci: variant i makes the substitutions start[i] to start[i + 1].

    Attributes
    ----------
    locus : row of the variant's locus among the sequences, never decreasing.
    offset : 0-based position of a substitution in its locus.
    base : code of the new base, 0 to 3.
    """

    locus: Int[np.ndarray, "variants"]
    start: Int[np.ndarray, "variants_plus_one"]
    offset: Int[np.ndarray, "substitutions"]
    base: UInt8[np.ndarray, "substitutions"]

    def __len__(self) -> int:
        return len(self.locus)

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
        )


def single_edits(codes: UInt8[np.ndarray, "loci length"]) -> Edits:
    """Return every edit of one known base: by locus, offset, then new base in the order A C G T."""
    locus, offset = np.nonzero(codes != MASKED)
    other = codes[locus, offset]
    third = np.arange(3, dtype=np.uint8)
    base = third + (third >= other[:, None])
    return Edits(
        locus=np.repeat(locus, 3), start=np.arange(base.size + 1), offset=np.repeat(offset, 3), base=base.ravel()
    )


def to_dense(
    delta: Float[np.ndarray, "variants tasks"], codes: UInt8[np.ndarray, "loci length"]
) -> Float[np.ndarray, "loci tasks length 3"]:
    """Lay the effects of every single-base edit out by position; masked positions are 0."""
    dense = np.zeros((*codes.shape, 3, delta.shape[1]), dtype=delta.dtype)
    dense[codes != MASKED] = delta.reshape(-1, 3, delta.shape[1])
    return np.moveaxis(dense, 3, 1)


def from_dense(
    effect: Float[np.ndarray, "loci *members tasks length 3"], codes: UInt8[np.ndarray, "loci length"]
) -> Float[np.ndarray, "variants *members tasks"]:
    """Undo `to_dense`; member axes between loci and tasks are kept."""
    known: np.ndarray = np.moveaxis(effect, (-2, -1), (1, 2))[codes != MASKED]
    return known.reshape(-1, *known.shape[2:])


def variants_of(edits: Edits, sequences: Sequences, *, variant_id: list[str] | None = None) -> pd.DataFrame:
    """Return one row a variant: the columns of `schema.VARIANTS` and `offset`.

    Parameters
    ----------
    edits : the variants, all substitutions of known bases.
    sequences : the loci that they edit.
    variant_id : names; by default chrom:pos:other_allele:effect_allele, with the locus in place of an unknown chrom.

    Notes
    -----
    `pos` is start + offset + 1 where the locus has coordinates, else offset + 1. A variant of several substitutions
    carries the first position and joins its alleles with commas.
    """
    loci = sequences.loci
    placed, start = _starts(sequences)
    first = edits.offset[edits.start[:-1]]
    pos = start[edits.locus] + first + 1
    row = np.repeat(edits.locus, np.diff(edits.start))
    other = sequences.codes[row, edits.offset]
    columns: dict[str, Any]
    if len(edits.base) == len(edits):
        columns = {
            name: pd.Categorical.from_codes(codes, pd.Index(list(ALPHABET))) for name, codes in _alleles(edits, other)
        }
    else:
        columns = {name: _join(codes, edits.start) for name, codes in _alleles(edits, other)}
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


def _starts(sequences: Sequences) -> tuple[Bool[np.ndarray, "loci"], Int[np.ndarray, "loci"]]:
    """Say which loci have coordinates, and where they start: 0 where they have none."""
    start = sequences.loci["start"].to_numpy(int)
    placed = (start >= 0) & (sequences.loci["chrom"] != "").to_numpy(bool)
    return placed, np.where(placed, start, 0)


def _alleles(edits: Edits, other: UInt8[np.ndarray, "substitutions"]) -> list[tuple[str, np.ndarray]]:
    return [("effect_allele", edits.base), ("other_allele", other)]


def _join(codes: UInt8[np.ndarray, "substitutions"], start: Int[np.ndarray, "variants_plus_one"]) -> list[str]:
    letters = [ALPHABET[code] for code in codes]
    return [",".join(letters[a:b]) for a, b in itertools.pairwise(start)]


def resolve_edits(table: pd.DataFrame, sequences: Sequences) -> tuple[Edits, list[str]]:
    """Check a table of edits against the sequences and pack it.

    Parameters
    ----------
    table : one row a substitution, columns variant_id, locus, other_allele, effect_allele (one base each), and
        offset (0-based in the locus) or pos (1-based on the chromosome where the locus has coordinates, else in the
        locus). Rows that share a variant_id are made together.
    sequences : the loci; other_allele must be their base.

    Returns
    -------
    The edits and the variant_id of each, in the order of the loci, then of the table.

    Raises
    ------
    InputError
        For an unknown locus, an allele that is no single base, an offset outside the locus, an other_allele that is
        not the reference base, and a variant_id that spans loci or edits one position twice.
    """
    place = "offset" if "offset" in table.columns else "pos"
    checks.columns("edits", table.columns, (*EDIT_COLUMNS, place))
    if table.empty:
        raise InputError("the table of edits has no row")
    locus = pd.Index(sequences.loci["locus"].astype(str)).get_indexer(pd.Index(table["locus"].astype(str)))
    _refuse(table, locus < 0, "locus", f"a locus among the {len(sequences)} sequences")
    base = {
        name: table[name].astype(str).str.upper().map(ALPHABET.find).to_numpy()
        for name in ("effect_allele", "other_allele")
    }
    for name, codes in base.items():
        _refuse(table, (codes < 0) | (table[name].astype(str).str.len() != 1), name, "one base, A C G or T")
    offset = _offsets(table, place, locus, sequences)
    other = sequences.codes[locus, offset]
    letters = np.array([*ALPHABET, "masked"])[other]
    _refuse(table, other != base["other_allele"], "other_allele", "the base of the sequence", letters)
    _refuse(table, base["effect_allele"] == base["other_allele"], "effect_allele", "another base than other_allele")
    group, names = pd.factorize(table["variant_id"].astype(str))
    leader = np.unique(group, return_index=True)[1]
    _refuse(table, locus != locus[leader][group], "variant_id", "on one locus")
    _refuse(table, pd.DataFrame({"g": group, "o": offset}).duplicated(), "variant_id", "one edit a position")
    rank = np.empty(len(names), dtype=int)
    by_locus = np.argsort(locus[leader], kind="stable")
    rank[by_locus] = np.arange(len(names))
    rows = np.lexsort((offset, rank[group]))
    edits = Edits(
        locus=locus[leader][by_locus],
        start=np.append(0, np.cumsum(np.bincount(rank[group], minlength=len(names)))),
        offset=offset[rows],
        base=base["effect_allele"][rows].astype(np.uint8),
    )
    return edits, names[by_locus].tolist()


def _offsets(
    table: pd.DataFrame, place: str, locus: Int[np.ndarray, "substitutions"], sequences: Sequences
) -> Int[np.ndarray, "substitutions"]:
    values = pd.to_numeric(table[place], errors="coerce").to_numpy(float)
    _refuse(table, ~(values == np.floor(values)), place, "a whole number")
    offset = values.astype(int)
    if place == "pos":
        offset = offset - 1 - _starts(sequences)[1][locus]
    outside = (offset < 0) | (offset >= sequences.length)
    _refuse(table, outside, place, f"inside its locus of {sequences.length} bases")
    return offset


def _refuse(table: pd.DataFrame, bad: object, column: str, needed: str, found: np.ndarray | None = None) -> None:
    wrong = np.asarray(bad, dtype=bool)
    if wrong.any():
        i = int(np.argmax(wrong))
        variant, value = table["variant_id"].iloc[i], table[column].iloc[i]
        what = "" if found is None else f", which is {found[i]}"
        raise InputError(
            f"edits: {column} of {variant!r} must be {needed}{what}; got {value!r} in row {i + 1}"
            f" ({int(wrong.sum())} of {len(table)} rows are wrong)"
        )
