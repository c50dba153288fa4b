"""How the alleles of two studies relate: the same, swapped, on the other strand, or not at all."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Int8, UInt8

Palindromes = Literal["infer", "drop", "keep"]

REASONS = (
    "",
    "alleles differ",
    "palindromic",
    "palindromic, and the frequencies do not tell the strand",
    "palindromic, and one allele is missing",
    "one allele is missing, and the other does not fit",
    "one allele is missing, and the frequencies do not fit",
)
FITS, DIFFER, PALINDROMIC, AMBIGUOUS, HALF_PALINDROMIC, HALF_DIFFERS, HALF_FREQUENCY = range(7)
_MISSING, _DELETED, _INSERTED, _SEQUENCES = -1, 4, 5, 6  # codes: 0-3 for A C G T, from 6 on other sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class AlleleCodes:
    """Alleles as numbers that mean the same in all columns.

    Attributes
    ----------
    columns : one array a column: 0-3 for A C G T, 4 and 5 for D and I, from 6 on other sequences, -1 for none.
    lengths : number of bases by code.
    """

    columns: tuple[Int[np.ndarray, "_"], ...]
    lengths: Int[np.ndarray, "codes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How the alleles of pairs of variants relate.

    Attributes
    ----------
    sign : 1 where the second effect stays, -1 where it changes its sign, 0 where the pair does not fit.
    reason : index into `REASONS`; 0 where the pair fits.
    strand : whether the second study reads the other strand.
    """

    sign: Int8[np.ndarray, "pairs"]
    reason: UInt8[np.ndarray, "pairs"]
    strand: Bool[np.ndarray, "pairs"]


def allele_codes(*columns: pd.Series) -> AlleleCodes:
    """Number the alleles of several columns alike.

    Parameters
    ----------
    columns : text or categorical; empty or missing for no allele.
    """
    known = {"": _MISSING, "A": 0, "C": 1, "G": 2, "T": 3, "D": _DELETED, "I": _INSERTED}
    lengths = [1] * _SEQUENCES
    coded = []
    for column in columns:
        levels = column.astype("category").array
        for name in levels.categories:
            if name not in known:
                known[name] = len(lengths)
                lengths.append(len(name) if name != "-" else 0)
        table = np.array([*(known[name] for name in levels.categories), _MISSING], dtype=np.int32)
        coded.append(table[levels.codes])
    return AlleleCodes(columns=tuple(coded), lengths=np.array(lengths))


def compare_alleles(
    alleles: AlleleCodes,
    *,
    frequency: Float[np.ndarray, "pairs"],
    other_frequency: Float[np.ndarray, "pairs"],
    palindromes: Palindromes = "infer",
    tolerance: float = 0.08,
) -> Comparison:
    """Compare effect and other allele of a first study with those of a second, pair by pair.

    Parameters
    ----------
    alleles : effect and other allele of the first, then of the second study.
    frequency, other_frequency : of the effect alleles of the first and the second; NaN where unknown.
    palindromes : for A/T and C/G, which read the same on both strands. `infer`: take the strand on which both
        frequencies lie on the same side of one half; drop those within `tolerance` of it. `drop`: drop all. `keep`:
        take both studies to read the same strand.
    tolerance : how far from one half a frequency must be to tell a strand.

    Notes
    -----
    The rules are those of TwoSampleMR's actions 2, 3 and 1. Only single bases are looked for on the other strand. D and
    I stand for the shorter and the longer of the other study's two sequences. Where one study names one allele only,
    the pair fits if that allele is one of the other's and the frequencies agree on which (`keep`: without regard to
    them), never by way of the other strand.

    References
    ----------
    Hemani et al. (2018), doi:10.7554/eLife.34408; Hartwig et al. (2016), doi:10.1093/ije/dyw314.
    """
    a1, a2, b1, b2 = alleles.columns
    b1, b2 = _spelled(b1, b2, a1, a2, alleles.lengths)
    a1, a2 = _spelled(a1, a2, b1, b2, alleles.lengths)
    sign = np.zeros(len(a1), dtype=np.int8)
    reason = np.full(len(a1), DIFFER, dtype=np.uint8)
    strand = np.zeros(len(a1), dtype=bool)
    both = (a2 >= 0) & (b2 >= 0)
    same, swapped = (a1 == b1) & (a2 == b2) & both, (a1 == b2) & (a2 == b1) & both
    palindromic = _palindromic(a1, a2)
    base = (b1 < 4) & (b2 < 4) & both & ~palindromic & ~same & ~swapped
    flipped = base & (a1 == 3 - b1) & (a2 == 3 - b2)
    flipped_swapped = base & (a1 == 3 - b2) & (a2 == 3 - b1)
    sign[same | flipped], sign[swapped | flipped_swapped] = 1, -1
    strand |= flipped | flipped_swapped
    reason[sign != 0] = FITS
    _settle_palindromes(
        np.flatnonzero(palindromic & (sign != 0)), sign, reason, strand, frequency, other_frequency,
        palindromes=palindromes, tolerance=tolerance,
    )  # fmt: skip
    lone = np.flatnonzero(~both)
    if len(lone):
        sign[lone], reason[lone] = _half_known(
            a1[lone], a2[lone], b1[lone], b2[lone], frequency[lone], other_frequency[lone],
            strict=palindromes != "keep", tolerance=tolerance,
        )  # fmt: skip
    return Comparison(sign=sign, reason=reason, strand=strand)


def is_palindromic(variants: pd.DataFrame) -> Bool[np.ndarray, "variants"]:
    """Return which variants are A/T or C/G, whose alleles read the same on both strands.

    Parameters
    ----------
    variants : with effect_allele and other_allele.
    """
    return _palindromic(*allele_codes(variants["effect_allele"], variants["other_allele"]).columns)


def _palindromic(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first >= 0) & (first < 4) & (second >= 0) & (first == 3 - second)


def _spelled(
    first: np.ndarray, second: np.ndarray, other: np.ndarray, another: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Replace D and I by the shorter and the longer sequence of the other study, where it has two."""
    coded = (first == _DELETED) | (first == _INSERTED)
    rows = np.flatnonzero(coded & (other >= 0) & (another >= 0) & (other != _DELETED) & (other != _INSERTED))
    if not len(rows):
        return first, second
    x, y = other[rows], another[rows]
    unequal = lengths[x] != lengths[y]
    rows, x, y = rows[unequal], x[unequal], y[unequal]
    longer = np.where(lengths[x] > lengths[y], x, y)
    shorter = np.where(lengths[x] > lengths[y], y, x)
    spelled = []
    for codes in (first, second):
        new, here = codes.copy(), codes[rows]
        new[rows] = np.where(here == _DELETED, shorter, np.where(here == _INSERTED, longer, here))
        spelled.append(new)
    return spelled[0], spelled[1]


def _settle_palindromes(
    rows: np.ndarray,
    sign: np.ndarray,
    reason: np.ndarray,
    strand: np.ndarray,
    frequency: np.ndarray,
    other_frequency: np.ndarray,
    *,
    palindromes: Palindromes,
    tolerance: float,
) -> None:
    """Change `sign`, `reason` and `strand` at rows with palindromic alleles that fit one another."""
    if palindromes == "drop":
        sign[rows], reason[rows] = 0, PALINDROMIC
    elif palindromes == "infer" and len(rows):
        f = frequency[rows]
        g = np.where(sign[rows] < 0, 1 - other_frequency[rows], other_frequency[rows])
        clear = (np.abs(f - 0.5) >= tolerance) & (np.abs(g - 0.5) >= tolerance)  # False where one is NaN
        other_strand = clear & ((f < 0.5) != (g < 0.5))
        strand[rows] = other_strand
        sign[rows] = np.where(clear, np.where(other_strand, -sign[rows], sign[rows]), 0)
        reason[rows] = np.where(clear, FITS, AMBIGUOUS)


def _half_known(
    a1: np.ndarray,
    a2: np.ndarray,
    b1: np.ndarray,
    b2: np.ndarray,
    f: np.ndarray,
    g: np.ndarray,
    *,
    strict: bool,
    tolerance: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return sign and reason where at least one study names only its effect allele."""

    def similar(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        low, high = 0.5 - tolerance, 0.5 + tolerance
        return ((p < low) & (q < low)) | ((p > high) & (q > high))

    same = a1 == b1
    swapped = ~same & (((a2 >= 0) & (a2 == b1)) | ((b2 >= 0) & (b2 == a1)))
    agree = np.where(swapped, similar(f, 1 - g), similar(f, g))
    palindromic = _palindromic(a1, a2) | _palindromic(b1, b2)
    reason = np.full(len(a1), HALF_DIFFERS, dtype=np.uint8)
    reason[same | swapped] = FITS
    if strict:
        reason[(same | swapped) & ~agree] = HALF_FREQUENCY
    reason[palindromic] = HALF_PALINDROMIC
    sign = np.where(swapped, -1, 1).astype(np.int8)
    sign[reason != FITS] = 0
    return sign, reason
