"""GWAS summary statistics: tables of many dialects -> SummaryStats, with a reason for every row that cannot be used."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import special

from deepmr.errors import InputError
from deepmr.io.chromosomes import plain_chromosomes, recode
from deepmr.io.delimited import check_cells, parse_table, table_layout
from deepmr.io.files import read_bytes
from deepmr.io.gwas_vcf import is_vcf, read_gwas_vcf
from deepmr.io.sumstats_columns import Columns, Role, guess_columns
from deepmr.schema import GENOME
from deepmr.types import SummaryStats

log = logging.getLogger(__name__)

TEXT = ("variant_id", "second_id", "trait")
CATEGORIES = ("chrom", "effect_allele", "other_allele", "ref", "alt", "test")
Drop = Callable[[np.ndarray, str], None]  # marks rows, with the reason
NORMAL_95 = float(special.ndtri(0.975))
CHECKED = 20_000  # rows whose P value is compared with beta / se
REASONS = (
    "",
    "the variant has no name",
    "the test is not of the additive effect",
    "the effect allele is missing",
    "an allele is not made of A, C, G, T (or D, I, -)",
    "both alleles are the same",
    "the effect is missing",
    "the ratio is not positive",
    "the standard error is missing",
    "the standard error is zero",
    "the standard error is negative",
    "no standard error follows from the P value",
    "the P value is not between 0 and 1",
    "the allele frequency is not between 0 and 1",
    "occurs more than once; the first is kept",
)
_WHY = {text: number for number, text in enumerate(REASONS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gwas:
    """One trait's associations as read from a file.

    Attributes
    ----------
    stats : effects; `variants` has `eaf`, NaN where unknown, and `<trait>_pvalue` where the file has P values.
    dropped : variant_id and reason of every row that cannot be used.
    columns : the column that each field was read from.
    path : the file.
    notes : what was derived or looks odd, a sentence each.
    """

    stats: SummaryStats
    dropped: pd.DataFrame
    columns: dict[str, str]
    path: Path
    notes: tuple[str, ...]

    @property
    def trait(self) -> str:
        """Name of the trait."""
        return self.stats.traits[0]


def read_sumstats(
    path: str | Path, *, role: Role = "exposure", columns: Mapping[str, str] | None = None, trait: str | None = None
) -> list[Gwas]:
    """Read a table of associations, whatever program wrote it: one `Gwas` a trait in it.

    Parameters
    ----------
    path
        Text with a header, plain, gzip or bgzip; cells separated by tabs, commas, semicolons or blanks. Or GWAS-VCF.
    role
        Which columns to read where names end in `.exposure` and `.outcome`.
    columns
        Field -> column name, before any guess (`sumstats_columns.FIELDS`); `n` may be a number.
    trait
        Which of the table's traits to read; or a name for its only one. None takes all, by the names in the table, or
        the file's name.

    Raises
    ------
    InputError
        When the file cannot be read, lacks a column, has a row of another length or a cell that is no number, or no
        row can be used.

    Notes
    -----
    Odds and hazard ratios become logarithms, and their standard error is taken to be of the logarithm. A missing
    standard error follows from the 95 % interval, else from the P value: se = |beta| / z(P), and is as exact as P is.
    """
    path = Path(path)
    content = read_bytes(path)
    if is_vcf(content):
        studies = read_gwas_vcf(path, content, given=columns)
        del content
        _check_alone(path, trait, [name for name, _, _ in studies])
        for _, frame, found in studies:
            _say(path, frame, found)
        return [_gwas(path, frame, trait or name, found) for name, frame, found in studies]
    layout = table_layout(path, content)
    found = guess_columns(path, layout.header, role=role, given=columns)
    check_cells(path, content, layout)
    text = {i: field for field, i in found.index.items() if field in TEXT}
    categories = {i: field for field, i in found.index.items() if field in CATEGORIES}
    numeric = {i: field for field, i in found.index.items() if i not in text and i not in categories}
    frame = parse_table(path, content, layout, text=text, categories=categories, numeric=numeric)
    del content
    if frame.empty:
        raise InputError(f"{path}: the table has no rows")
    _say(path, frame, found)
    if "trait" in frame and trait is None:
        codes, names = pd.factorize(frame["trait"].fillna(path.name.split(".")[0]))
        parts = [(str(name), frame[codes == k] if len(names) > 1 else frame) for k, name in enumerate(names)]
    else:
        present = list(frame["trait"].dropna().unique()) if "trait" in frame else []
        if len(present) > 1 and trait in present:
            frame = frame[frame["trait"] == trait]
        else:
            _check_alone(path, trait, present)
        parts = [(trait or path.name.split(".")[0], frame)]
    return [_gwas(path, part.reset_index(drop=True), name, found) for name, part in parts]


def _check_alone(path: Path, trait: str | None, names: Sequence[str]) -> None:
    """Raise `InputError` when one name is given to several traits."""
    if trait is not None and len(names) > 1:
        raise InputError(f"{path}: has several traits ({', '.join(names[:5])}), none of which is {trait!r}")


def _say(path: Path, frame: pd.DataFrame, found: Columns) -> None:
    log.info("%s: %d rows", path, len(frame))
    log.debug("%s: %s", path, ", ".join(f"{f} <- {c}" for f, c in found.shown.items()))


def _gwas(path: Path, frame: pd.DataFrame, trait: str, found: Columns) -> Gwas:
    why = np.zeros(len(frame), dtype=np.uint8)
    notes: list[str] = []

    def drop(bad: np.ndarray, reason: str) -> None:
        why[bad & (why == 0)] = _WHY[reason]

    chrom, pos = _places(frame)
    effect, other = _alleles(frame)
    names = _names(frame, chrom, pos, effect, other)
    drop(pd.isna(names), "the variant has no name")
    additive = (frame["test"] == "ADD").to_numpy() if "test" in frame else np.ones(len(frame), dtype=bool)
    if additive.any():
        drop(~additive, "the test is not of the additive effect")
    drop(effect.codes < 0, "the effect allele is missing")
    drop(_impossible(effect) | _impossible(other), "an allele is not made of A, C, G, T (or D, I, -)")
    drop(_same(effect, other), "both alleles are the same")
    beta, se, pvalue = _effects(frame, drop, notes)
    eaf = _column(frame, "eaf")
    if eaf is None:
        eaf = np.full(len(frame), np.nan)
    drop((eaf < 0) | (eaf > 1), "the allele frequency is not between 0 and 1")
    drop(_repeated(names, effect, other, why == 0), "occurs more than once; the first is kept")
    keep = why == 0
    if not keep.any():
        counts = pd.Series(why).map(lambda k: REASONS[k]).value_counts()
        raise InputError(f"{path}: none of {len(frame)} rows can be used: {counts.index[0]} ({counts.iloc[0]})")
    n = _sample_sizes(frame, found, keep, notes)
    variants = pd.DataFrame(
        {
            "variant_id": names[keep],
            "locus": _constant(GENOME, int(keep.sum())),
            "chrom": chrom[keep],
            "pos": pos[keep],
            "effect_allele": effect[keep],
            "other_allele": other[keep],
            "eaf": eaf[keep],
        },
        copy=False,
    )
    if "beta" in found.index and _are_ratios(beta[keep]):
        notes.append("all effects lie above 0, around 1: if they are odds ratios, name them: odds_ratio=COLUMN")
    if pvalue is not None:
        variants[f"{trait}_pvalue"] = pvalue[keep]
        _compare(beta[keep], se[keep], pvalue[keep], notes)
    for note in notes:
        log.warning("%s: %s", path, note)
    if ratio := next((found.shown[name] for name in ("odds_ratio", "hazard_ratio") if name in frame), None):
        notes.insert(0, f"took logarithms of {ratio}")  # not worth a warning
        log.info("%s: %s", path, notes[0])
    dropped = _dropped(path, names, why)
    stats = SummaryStats(
        variants=variants,
        traits=(trait,),
        beta=beta[keep][:, None],
        se=se[keep][:, None],
        n=None if n is None else n[:, None],
        estimand="population",
    )
    return Gwas(stats=stats, dropped=dropped, columns=found.shown, path=path, notes=tuple(notes))


def _dropped(path: Path, names: np.ndarray, why: np.ndarray) -> pd.DataFrame:
    """List the rows that cannot be used, each with its reason, and warn of them in a line."""
    lost = np.flatnonzero(why)
    dropped = pd.DataFrame(
        {
            "variant_id": [f"row {i + 1}" if pd.isna(names[i]) else str(names[i]) for i in lost],
            "reason": np.asarray(REASONS, dtype=object)[why[lost]],
        }
    )
    if len(dropped):
        counts = dropped["reason"].value_counts(sort=True)
        said = "; ".join(f"{reason} ({count})" for reason, count in counts.items())
        first = dropped["variant_id"].iloc[0]
        log.warning("%s: %d of %d rows cannot be used, first %s: %s", path, len(lost), len(why), first, said)
    return dropped


def _column(frame: pd.DataFrame, name: str) -> Float[np.ndarray, "rows"] | None:
    return frame[name].to_numpy(float) if name in frame else None


def _constant(name: str, rows: int) -> pd.Categorical:
    return pd.Categorical.from_codes(np.zeros(rows, dtype=np.int8), pd.Index([name], dtype=object))


def _places(frame: pd.DataFrame) -> tuple[pd.Categorical, np.ndarray]:
    """Return chromosomes as 1-22, X, Y, MT without a prefix, empty where unknown, and positions, 0 where unknown."""
    pos = _column(frame, "pos")
    known = np.zeros(len(frame), np.int64) if pos is None else np.nan_to_num(pos, nan=0, posinf=0).astype(np.int64)
    if "chrom" not in frame:
        return _constant("", len(frame)), known
    return plain_chromosomes(frame["chrom"].array), known


def _alleles(frame: pd.DataFrame) -> tuple[pd.Categorical, pd.Categorical]:
    """Return both alleles in capitals; a missing effect allele has code -1, a missing other allele is empty."""

    def column(name: str) -> pd.Categorical:
        raw = frame[name].array
        return recode(raw, [str(allele).strip().upper() for allele in raw.categories])

    effect = column("effect_allele")
    if "other_allele" in frame:
        other = column("other_allele")
    elif "ref" in frame:
        ref, alt = column("ref"), column("alt")
        levels = list(dict.fromkeys([*ref.categories, *alt.categories]))
        ref, alt = ref.set_categories(levels), alt.set_categories(levels)
        is_ref = effect.set_categories(levels).codes == ref.codes
        other = pd.Categorical.from_codes(np.where(is_ref, alt.codes, ref.codes), pd.Index(levels, dtype=object))
    else:
        other = _constant("", len(frame))
    empty = effect.categories.get_loc("")
    codes = np.where(effect.codes == empty, -1, effect.codes)
    return pd.Categorical.from_codes(codes, effect.categories), other


def _impossible(alleles: pd.Categorical) -> np.ndarray:
    bad = [not (set(name) <= set("ACGT") or name in {"D", "I", "-"}) for name in alleles.categories]
    return np.array([*bad, False])[alleles.codes]


def _same(effect: pd.Categorical, other: pd.Categorical) -> np.ndarray:
    shared = other.set_categories(effect.categories)
    return (shared.codes == effect.codes) & (effect.codes >= 0)


def _names(
    frame: pd.DataFrame, chrom: pd.Categorical, pos: np.ndarray, effect: pd.Categorical, other: pd.Categorical
) -> np.ndarray:
    """Return variant names: rs number, other name, or chrom:pos:other:effect; missing where there is nothing."""
    names = np.full(len(frame), None, dtype=object)
    for field in ("variant_id", "second_id"):
        if field in frame and (gap := pd.isna(names)).any():
            names[gap] = frame[field].to_numpy(object)[gap]
    rows = np.flatnonzero(pd.isna(names) & (pos > 0) & (np.asarray(chrom.categories) != "")[chrom.codes])
    if len(rows):
        columns = (chrom[rows].astype(object), pos[rows], other[rows].astype(object), effect[rows].astype(object))
        names[rows] = [f"{c}:{p}:{o}:{e}" for c, p, o, e in zip(*columns, strict=True)]
    return names


def _effects(
    frame: pd.DataFrame, drop: Callable[[np.ndarray, str], None], notes: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return effects, standard errors and P values (NaN where missing); says what it derives."""
    ratio = next((name for name in ("odds_ratio", "hazard_ratio") if name in frame), None)
    raw = frame[ratio or "beta"].to_numpy(float)
    if ratio:
        drop(raw <= 0, "the ratio is not positive")
    beta = np.log(np.where(raw > 0, raw, np.nan)) if ratio else raw
    drop(~np.isfinite(beta), "the effect is missing")
    pvalue, log_p = _column(frame, "pvalue"), None
    if pvalue is None and (minus := _column(frame, "neg_log10_pvalue")) is not None:
        pvalue, log_p = 10.0**-minus, -np.log(10) * minus
    elif pvalue is not None:
        log_p = np.log(np.where(pvalue > 0, pvalue, np.nan))
    if pvalue is not None:
        drop((pvalue < 0) | (pvalue > 1), "the P value is not between 0 and 1")
    se = _column(frame, "se")
    if se is None and "ci_low" in frame and "ci_high" in frame:
        notes.append("standard errors follow from 95 % confidence intervals")
        low, high = frame["ci_low"].to_numpy(float), frame["ci_high"].to_numpy(float)
        if ratio:
            low, high = np.log(np.where(low > 0, low, np.nan)), np.log(np.where(high > 0, high, np.nan))
        se = (high - low) / (2 * NORMAL_95)
    if se is None and log_p is not None:
        notes.append("standard errors follow from effects and P values, and are as exact as these")
        z = -special.ndtri_exp(np.minimum(log_p, 0.0) - np.log(2))
        se = np.where(z > 0, np.abs(beta), np.nan) / np.where(z > 0, z, 1.0)
        drop(~(np.isfinite(se) & (se > 0)), "no standard error follows from the P value")
    if se is None:
        raise InputError("a confidence interval needs both ends: name ci_low=COLUMN and ci_high=COLUMN")
    drop(~np.isfinite(se), "the standard error is missing")
    drop(se == 0, "the standard error is zero")
    drop(se < 0, "the standard error is negative")
    if pvalue is not None and (gap := np.isnan(pvalue) & (se > 0)).any():
        pvalue = np.where(gap, 2 * special.ndtr(-np.abs(beta / np.where(se > 0, se, 1.0))), pvalue)
    return beta, se, pvalue


def _repeated(names: np.ndarray, effect: pd.Categorical, other: pd.Categorical, used: np.ndarray) -> np.ndarray:
    """Return which used rows have the name and the two alleles, in any order, of an earlier one."""
    levels = list(dict.fromkeys([*effect.categories, *other.categories]))
    a, b = (side.set_categories(levels).codes.astype(np.int64) for side in (effect, other))
    pair = np.minimum(a, b) * len(levels) + np.maximum(a, b)
    rows = np.flatnonzero(used)
    keys = pd.util.hash_array(names[rows], categorize=False) + pair[rows].astype(np.uint64) * np.uint64(
        0x9E3779B97F4A7C15
    )
    repeated = np.zeros(len(names), dtype=bool)
    repeated[rows] = pd.Series(keys).duplicated().to_numpy()
    return repeated


def _sample_sizes(
    frame: pd.DataFrame, found: Columns, keep: np.ndarray, notes: list[str]
) -> Float[np.ndarray, "rows"] | None:
    if "n" in found.constants:
        return np.full(int(keep.sum()), found.constants["n"])
    n = _column(frame, "n")
    if n is None and "n_cases" in frame and "n_controls" in frame:
        n = frame["n_cases"].to_numpy(float) + frame["n_controls"].to_numpy(float)
    if n is None:
        return None
    n = n[keep]
    bad = ~(n > 0)
    if bad.all():
        return None
    if bad.any():
        notes.append(f"{int(bad.sum())} sample sizes are missing and were set to the median of the others")
        n = np.where(bad, np.median(n[~bad]), n)
    return n


def _are_ratios(beta: np.ndarray) -> bool:
    """Return whether effects look like ratios that are not logarithms yet."""
    return len(beta) >= 20 and bool((beta > 0).all()) and 0.8 < float(np.median(beta)) < 1.25


def _compare(beta: np.ndarray, se: np.ndarray, pvalue: np.ndarray, notes: list[str]) -> None:
    """Note when P values do not come from beta / se: a wrong column, or a ratio taken for its logarithm."""
    rows = np.unique(np.linspace(0, len(beta) - 1, CHECKED).astype(int))
    rows = rows[(pvalue[rows] > 1e-300) & (pvalue[rows] < 0.9) & (beta[rows] != 0)]
    if len(rows) < 20:
        return
    expected = -special.ndtri(pvalue[rows] / 2)
    shift = float(np.median(np.abs(np.abs(beta[rows] / se[rows]) / expected - 1)))
    if shift > 0.2:
        notes.append(
            f"beta / se and the P values disagree, by {shift:.0%} in the median: see whether the columns are right"
        )
