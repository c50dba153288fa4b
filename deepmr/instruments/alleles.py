"""Bring the effects of two studies to the same allele: swaps, strands, palindromes, indels, missing alleles."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Int8, UInt8

from deepmr import checks
from deepmr.errors import InputError
from deepmr.instruments.matching import Match, match_variants
from deepmr.types import SummaryStats

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
ABSENT = "not in the outcome"
TAKEN = "the same variant of the outcome fits an earlier variant"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Two studies' effects per copy of the same allele.

    Attributes
    ----------
    stats : variants of the first study that fit, with the traits of both.
    dropped : variant_id, reason and detail (alleles and frequencies of both) of every other variant of the first.
    counts : how many variants were kept, and of these swapped, and read from the other strand.
    matched_by : whether names or positions matched them.
    """

    stats: SummaryStats
    dropped: pd.DataFrame
    counts: dict[str, int]
    matched_by: str


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
        how = "keep" if palindromes == "keep" else "infer"
        sign[lone], reason[lone] = _half_known(
            *(codes[lone] for codes in (a1, a2, b1, b2)), frequency[lone], other_frequency[lone],
            strict=how == "infer", tolerance=tolerance,
        )  # fmt: skip
    return Comparison(sign=sign, reason=reason, strand=strand)


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


def align_alleles(
    exposure: SummaryStats,
    outcome: SummaryStats,
    *,
    palindromes: Palindromes = "infer",
    tolerance: float = 0.08,
    match: Match = "auto",
) -> Alignment:
    """Bring the effects of one or more outcomes to the effect alleles of an exposure.

    Parameters
    ----------
    exposure : whose coding is kept; effects of several exposures that are aligned already will do.
    outcome : other traits; their effects change sign where their effect allele is the exposure's other one.
    palindromes : what becomes of A/T and C/G, see `compare_alleles`.
    tolerance : how far from one half a frequency must be to tell a strand, 0 to 0.5; 0.08 means below 0.42 or above
        0.58.
    match : whether variants are the same when their names are (`name`) or chromosome and position (`position`);
        `auto` takes names unless hardly any are shared.

    Returns
    -------
    Alignment
        Traits of both, exposure first, for all variants that fit, and the reason for each that does not.

    Raises
    ------
    InputError
        When a trait is in both, no variant is, or the tolerance is out of range.

    Notes
    -----
    Where a name or position stands for several variants (three alleles), the first one whose alleles fit is taken.

    Examples
    --------
    >>> def one(trait, effect, other, beta):
    ...     names = {"variant_id": ["rs1"], "locus": "genome", "chrom": "1", "pos": 5, "eaf": 0.2}
    ...     sites = pd.DataFrame({**names, "effect_allele": effect, "other_allele": other})
    ...     return SummaryStats(variants=sites, traits=(trait,), beta=np.array([[beta]]), se=np.ones((1, 1)))
    >>> align_alleles(one("BMI", "A", "G", 1.0), one("CHD", "C", "T", 0.5)).stats.beta.tolist()
    [[1.0, -0.5]]
    """
    checks.one_of("palindromes", palindromes, get_args(Palindromes))
    if not 0 <= tolerance < 0.5:
        raise InputError(f"tolerance must be at least 0 and below 0.5; got {tolerance:g}")
    if shared := set(exposure.traits) & set(outcome.traits):
        raise InputError(f"{sorted(shared)[0]!r} is both exposure and outcome; needed two traits")
    left, right = exposure.variants, outcome.variants
    pairs = match_variants(left, right, match=match)
    i, j = pairs.left, pairs.right
    compared = compare_alleles(
        allele_codes(
            left["effect_allele"].iloc[i], left["other_allele"].iloc[i],
            right["effect_allele"].iloc[j], right["other_allele"].iloc[j],
        ),
        frequency=_frequency(left)[i],
        other_frequency=_frequency(right)[j],
        palindromes=palindromes,
        tolerance=tolerance,
    )  # fmt: skip
    fits = compared.sign != 0
    taken = np.zeros(len(i), dtype=bool)
    if not pairs.unique:
        kept = np.flatnonzero(fits)
        first = ~pd.Series(i[kept]).duplicated().to_numpy()
        kept = kept[first]
        again = pd.Series(j[kept]).duplicated().to_numpy()
        taken[kept[again]] = True
        fits = np.zeros(len(i), dtype=bool)
        fits[kept[~again]] = True
    chosen = np.flatnonzero(fits)
    return Alignment(
        stats=_combined(exposure, outcome, i[chosen], j[chosen], compared.sign[chosen]),
        dropped=_dropped(left, right, i, j, fits, taken, compared.reason),
        counts={
            "kept": len(chosen),
            "swapped": int((compared.sign[chosen] < 0).sum()),
            "other_strand": int(compared.strand[chosen].sum()),
        },
        matched_by=pairs.by,
    )


def _frequency(variants: pd.DataFrame) -> np.ndarray:
    return variants["eaf"].to_numpy(float) if "eaf" in variants else np.full(len(variants), np.nan)


def _combined(
    exposure: SummaryStats, outcome: SummaryStats, i: np.ndarray, j: np.ndarray, sign: np.ndarray
) -> SummaryStats:
    """Put the effects of both on the chosen variants side by side."""
    left, right = exposure.variants.iloc[i].reset_index(drop=True), outcome.variants
    other_eaf = _frequency(right)[j]
    other_eaf = np.where(sign < 0, 1 - other_eaf, other_eaf)
    eaf = _frequency(left)
    left["eaf"] = np.where(np.isnan(eaf), other_eaf, eaf)
    half = (left["other_allele"].isna() | (left["other_allele"] == "")).to_numpy()
    if half.any():  # the other study names it: the effect allele there where the signs differ
        rows = np.flatnonzero(half)
        names = [right[name].iloc[j[rows]].astype(object).to_numpy() for name in ("effect_allele", "other_allele")]
        other = left["other_allele"].astype(object).to_numpy().copy()
        other[rows] = np.where(sign[rows] < 0, names[0], names[1])
        left["other_allele"] = other
    for name in [name for name in right if str(name).endswith("_pvalue")]:
        left[name] = right[name].to_numpy()[j]
    beta = np.concatenate([exposure.beta[i], outcome.beta[j] * sign[:, None]], axis=1)
    both_n = exposure.n is not None and outcome.n is not None
    return SummaryStats(
        variants=left,
        traits=exposure.traits + outcome.traits,
        beta=beta,
        se=np.concatenate([exposure.se[i], outcome.se[j]], axis=1),
        n=np.concatenate([exposure.n[i], outcome.n[j]], axis=1) if both_n else None,  # type: ignore[index]
        estimand=exposure.estimand,
    )


def _dropped(
    left: pd.DataFrame,
    right: pd.DataFrame,
    i: np.ndarray,
    j: np.ndarray,
    fits: np.ndarray,
    taken: np.ndarray,
    reason: np.ndarray,
) -> pd.DataFrame:
    """Return a row for each variant of the exposure that no pair keeps."""
    pair = np.full(len(left), -1)
    pair[i[::-1]] = np.arange(len(i))[::-1]  # the first pair of each
    pair[i[taken]] = np.flatnonzero(taken)
    kept = np.zeros(len(left), dtype=bool)
    kept[i[fits]] = True
    lost = np.flatnonzero(~kept)
    here = pair[lost]
    matched = here >= 0
    why = np.full(len(lost), ABSENT, dtype=object)
    why[matched] = np.asarray(REASONS, dtype=object)[reason[here[matched]]]
    why[matched & taken[here]] = TAKEN
    detail = np.full(len(lost), "", dtype=object)
    rows = here[matched]
    detail[matched] = [
        f"{first} and {second}"
        for first, second in zip(_described(left.iloc[i[rows]]), _described(right.iloc[j[rows]]), strict=True)
    ]
    return pd.DataFrame({"variant_id": left["variant_id"].to_numpy(object)[lost], "reason": why, "detail": detail})


def _described(variants: pd.DataFrame) -> list[str]:
    columns = (variants["effect_allele"].astype(object), variants["other_allele"].astype(object), _frequency(variants))
    return [
        f"{effect}/{other or '?'}" + ("" if np.isnan(eaf) else f" ({eaf:.3g})")
        for effect, other, eaf in zip(*columns, strict=True)
    ]
