"""Bring the effects of two studies to the same allele: swaps, strands, palindromes, indels, missing alleles."""

from dataclasses import dataclass
from typing import get_args

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, Int8

from deepmr import checks
from deepmr.errors import InputError
from deepmr.instruments.matching import Match, match_variants
from deepmr.instruments.strands import REASONS, Palindromes, allele_codes, compare_alleles, is_palindromic
from deepmr.types import SummaryStats

CLEAR = 0.08  # distance from one half at which a frequency tells which allele is the rarer
FEWEST_OPPOSITE, OPPOSITE = 3, 0.25  # variants, and their share, whose frequencies may disagree without a word
COMPARED = 20_000  # variants whose frequencies are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Variants of two tables that are the same, with alleles that fit, in the order of the first.

    Attributes
    ----------
    left, right : row numbers.
    sign : -1 where the second table's effect allele is the first's other allele, else 1.
    strand : whether the second reads the other strand.
    dropped : variant_id, reason and detail of every other row of the first.
    by : whether names or positions matched them.
    """

    left: Int[np.ndarray, "pairs"]
    right: Int[np.ndarray, "pairs"]
    sign: Int8[np.ndarray, "pairs"]
    strand: Bool[np.ndarray, "pairs"]
    dropped: pd.DataFrame
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Two studies' effects per copy of the same allele.

    Attributes
    ----------
    stats : variants of the first study that fit, with the traits of both.
    dropped : variant_id, reason and detail (alleles and frequencies of both) of every other variant of the first.
    counts : how many variants were kept, and of these swapped, and read from the other strand.
    matched_by : whether names or positions matched them.
    doubt : why the alleles of one study may be named wrongly, from the frequencies of both; empty where they agree.
    """

    stats: SummaryStats
    dropped: pd.DataFrame
    counts: dict[str, int]
    matched_by: str
    doubt: str


def align_alleles(
    exposure: SummaryStats,
    outcome: SummaryStats,
    *,
    palindromes: Palindromes = "infer",
    tolerance: float = 0.08,
    match: Match = "auto",
    other: str = "the outcome",
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
    other : what the second table is called in reasons and messages.

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
    Positions are the exposure's, or, where it has none at all, the outcome's.

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
    pairs = pair_variants(
        exposure.variants, outcome.variants, palindromes=palindromes, tolerance=tolerance, match=match,
        names=("+".join(exposure.traits), other),
    )  # fmt: skip
    return Alignment(
        stats=_combined(exposure, outcome, pairs.left, pairs.right, pairs.sign),
        dropped=pairs.dropped,
        counts={
            "kept": len(pairs.left),
            "swapped": int((pairs.sign < 0).sum()),
            "other_strand": int(pairs.strand.sum()),
        },
        matched_by=pairs.by,
        doubt=_doubt(exposure.variants, outcome.variants, pairs, names=("+".join(exposure.traits), other)),
    )


def pair_variants(
    left: pd.DataFrame,
    right: pd.DataFrame,
    *,
    palindromes: Palindromes = "infer",
    tolerance: float = 0.08,
    match: Match = "auto",
    names: tuple[str, str] = ("the exposure", "the outcome"),
) -> Pairs:
    """Find for each variant of a table the same variant, with the same alleles, in another.

    Parameters
    ----------
    left, right : with the columns of `schema.VARIANTS`, and `eaf` where known.
    palindromes, tolerance : see `compare_alleles`.
    match : see `match_variants`.
    names : what the tables are, for messages and reasons.

    Raises
    ------
    InputError
        When no variant is in both.
    """
    found = match_variants(left, right, match=match, names=names)
    i, j = found.left, found.right
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
    chosen = np.flatnonzero(compared.sign != 0)
    taken = chosen[:0]
    if not found.unique:  # the first that fits, and each variant of the other table once
        chosen = chosen[~pd.Series(i[chosen]).duplicated().to_numpy()]
        again = pd.Series(j[chosen]).duplicated().to_numpy()
        chosen, taken = chosen[~again], chosen[again]
    return Pairs(
        left=i[chosen],
        right=j[chosen],
        sign=compared.sign[chosen],
        strand=compared.strand[chosen],
        dropped=_dropped(left, right, i, j, chosen, taken, compared.reason, other=names[1]),
        by=found.by,
    )


def _frequency(variants: pd.DataFrame) -> np.ndarray:
    return variants["eaf"].to_numpy(float) if "eaf" in variants else np.full(len(variants), np.nan)


def _doubt(left: pd.DataFrame, right: pd.DataFrame, pairs: Pairs, *, names: tuple[str, str]) -> str:
    """Say when frequencies of the same allele are often on opposite sides of one half, as with alleles named wrongly.

    Only alleles that are not palindromic tell: the strand of the others was chosen by their frequencies.
    """
    f, g = _frequency(left)[pairs.left], _frequency(right)[pairs.right]
    g = np.where(pairs.sign < 0, 1 - g, g)
    clear = (np.abs(f - 0.5) >= CLEAR) & (np.abs(g - 0.5) >= CLEAR)  # False where one is NaN
    rows = np.flatnonzero(clear)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(COMPARED, len(rows))).astype(int))]
    rows = rows[~is_palindromic(left.iloc[pairs.left[rows]])]
    opposite = int(((f[rows] < 0.5) != (g[rows] < 0.5)).sum())
    if opposite < FEWEST_OPPOSITE or opposite <= OPPOSITE * len(rows):
        return ""
    return (
        f"{names[0]} and {names[1]}: the frequencies of the same allele lie on opposite sides of one half for {opposite} "
        f"of {len(rows)} variants: see whether the effect allele, the other allele and the frequency are read from the "
        "right columns of both files, else effects may have the wrong sign"
    )


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
    if not (left["pos"] > 0).any():  # in one piece: the two may be of different genome builds
        left["chrom"], left["pos"] = right["chrom"].array[j], right["pos"].to_numpy()[j]
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
    chosen: np.ndarray,
    taken: np.ndarray,
    reason: np.ndarray,
    *,
    other: str,
) -> pd.DataFrame:
    """Return a row for each variant of the first table that no chosen pair has."""
    pair = np.full(len(left), -1)
    pair[i[::-1]] = np.arange(len(i))[::-1]  # the first pair of each
    pair[i[taken]] = taken
    kept = np.zeros(len(left), dtype=bool)
    kept[i[chosen]] = True
    lost = np.flatnonzero(~kept)
    here = pair[lost]
    matched = here >= 0
    why = np.full(len(lost), f"not in {other}", dtype=object)
    why[matched] = np.asarray(REASONS, dtype=object)[reason[here[matched]]]
    why[np.isin(here, taken) & matched] = f"its variant in {other} fits an earlier one"
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
