"""Which column of a table of GWAS results means what: guessed from its header, shown, and overridden by the user."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepmr.errors import InputError

Role = Literal["exposure", "outcome"]

# Header names (lower case, anything but letters and digits as "_") that mean a field, the surest first: GWAS-SSF,
# TwoSampleMR, PLINK 1 and 2, REGENIE, SAIGE, BOLT-LMM, METAL, GCTA, FinnGen, OpenGWAS.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "variant_id": (
        *("rsid", "rs_id", "rs", "snp", "snpid", "rsnumber", "rs_number", "markername", "marker_name", "marker"),
        *("markerid", "variant_id", "variantid", "variant", "varid", "id", "rsids", "dbsnp"),
    ),
    "second_id": ("variant_id", "variantid", "variant", "markerid", "id"),
    "chrom": ("chromosome", "chrom", "chr", "chromosome_name", "hg19chr", "chr_name"),
    "pos": (
        *("base_pair_location", "bp", "pos", "position", "base_pair", "bp_location", "pos_b37", "bp_hg19", "chr_pos"),
        *("chromstart", "genpos"),  # REGENIE's position, but centimorgans in BOLT-LMM, which also has BP
    ),
    "effect_allele": (
        *("effect_allele", "ea", "allele1", "a1", "alt", "alternate_allele", "coded_allele", "tested_allele"),
        *("inc_allele", "risk_allele", "effectallele", "eff_allele"),
    ),
    "other_allele": (
        *("other_allele", "oa", "nea", "non_effect_allele", "noneffect_allele", "allele0", "allele2", "a2", "a0"),
        *("omitted", "ref", "reference_allele", "noncoded_allele", "otherallele", "non_effect"),
    ),
    "ref": ("ref",),
    "alt": ("alt",),
    "beta": ("beta", "effect", "effects", "b", "log_odds", "logor", "log_or", "effect_size", "est", "estimate"),
    "odds_ratio": ("odds_ratio", "or", "oddsratio"),
    "hazard_ratio": ("hazard_ratio", "hr", "hazardratio"),
    "se": (
        *("standard_error", "se", "stderr", "std_err", "sebeta", "se_beta", "beta_se", "log_or_se", "std_error"),
        *("standarderror", "logor_se", "se_logor", "sd_error"),
    ),
    "ci_low": ("ci_lower", "ci_low", "l95", "lower_ci", "or_95l", "or_95_l", "ci_lower_95", "lci", "lower"),
    "ci_high": ("ci_upper", "ci_high", "u95", "upper_ci", "or_95u", "or_95_u", "ci_upper_95", "uci", "upper"),
    "pvalue": (
        "p_value",
        "pval",
        "pvalue",
        "p",
        "p_bolt_lmm",
        "p_bolt_lmm_inf",
        "p_lrt",
        "p_wald",
        "p_val",
        "gc_pvalue",
    ),
    "neg_log10_pvalue": ("neg_log_10_p_value", "neg_log10_p_value", "log10p", "mlogp", "mlog10p", "neg_log10_p", "lp"),
    "eaf": (
        *("effect_allele_frequency", "eaf", "a1freq", "a1_freq", "freq1", "af1", "af_alt", "alt_freq", "alt_freqs"),
        *("freq", "effect_allele_freq", "eff_allele_freq", "af_allele1", "frq", "af", "a1_frq", "frequency"),
    ),
    "n": ("n", "samplesize", "sample_size", "n_total", "obs_ct", "nmiss", "totaln", "total_n", "n_samples", "weight"),
    "n_cases": ("n_cases", "ncase", "n_case", "ncases", "cases"),
    "n_controls": ("n_controls", "ncontrol", "n_control", "ncontrols", "controls"),
    "trait": ("phenotype", "trait", "phenotype_col", "exposure", "outcome"),
    "test": ("test",),
}
FIELDS = tuple(SYNONYMS)
ALTERNATIVES = (("beta", "odds_ratio", "hazard_ratio"), ("pvalue", "neg_log10_pvalue"))  # one of each is read
_WORKING = frozenset({"second_id", "ref", "alt"})  # guessed where needed, never named by a user


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What was found in a header.

    Attributes
    ----------
    index : number of the column of each field.
    shown : name of the column of each field, as the file spells it, or the value that the user gave for every row.
    constants : values that the user gave for every row: `n`.
    """

    index: dict[str, int]
    shown: dict[str, str]
    constants: dict[str, float]


def guess_columns(
    path: Path, header: Sequence[str], *, role: Role = "exposure", given: Mapping[str, str] | None = None
) -> Columns:
    """Find the columns of a table of GWAS results.

    Parameters
    ----------
    path : the file, for messages.
    header : its column names.
    role : `.exposure` or `.outcome`, the suffix to read where names have such suffixes, as in TwoSampleMR.
    given : field -> column name, which goes before any guess; `n` may be a number instead.

    Raises
    ------
    InputError
        When a field or a column named by the user is unknown, a column that the user names would be read as two
        fields, or what is needed is not in the header.
    """
    names = _normalised(header, role)
    found = _guess(names)
    shown = {}
    constants: dict[str, float] = {}
    for field, column in (given or {}).items():
        if field not in FIELDS or field in _WORKING:
            raise InputError(
                f"no field {field!r}; columns can be named for {', '.join(f for f in FIELDS if f not in _WORKING)}"
            )
        if column in header:
            found[field] = list(header).index(column)
        elif field == "n" and re.fullmatch(r"\d+(\.\d+)?(e\d+)?", column):
            found.pop("n", None)
            constants["n"], shown["n"] = float(column), column
        else:
            near = difflib.get_close_matches(column, header, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(header)}"
            raise InputError(f"{path}: there is no column {column!r} for {field}; {hint}")
    found = _without_rivals(path, header, found, set(given or {}))
    _check(path, header, found)
    shown |= {field: header[i] for field, i in found.items() if field not in _WORKING}
    return Columns(index=found, shown={f: shown[f] for f in FIELDS if f in shown}, constants=constants)


def parse_columns(words: Sequence[str], *, option: str) -> dict[str, str]:
    """Read `field=COLUMN` words, several of which may be joined by commas.

    Parameters
    ----------
    words : what the user wrote.
    option : its name, for messages.
    """
    parts = [part for word in words for part in re.split(r",(?=\w+=)", word)]
    pairs = [part.partition("=") for part in parts]
    for part, (field, equals, column) in zip(parts, pairs, strict=True):
        if not (field and equals and column):
            raise InputError(f"{option} must be field=COLUMN, such as beta=BETA; got {part!r}")
    return {field: column for field, _, column in pairs}


def _normalised(header: Sequence[str], role: Role) -> list[str]:
    """Return comparable names; a column that belongs to the other role has none."""
    other = "outcome" if role == "exposure" else "exposure"
    suffix = next((s for s in (role, other) if any(name.lower().endswith(f".{s}") for name in header)), None)
    names = []
    for name in header:
        stem, dot, end = name.lower().rpartition(".")
        if dot and end in {"exposure", "outcome"}:
            # id.exposure names the study, not the variant
            names.append(_plain(stem) if end == suffix and stem != "id" else "")
        elif name.lower() in {"exposure", "outcome"} and suffix is not None and name.lower() != suffix:
            names.append("")
        else:
            names.append(_plain(name))
    return names


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _guess(names: Sequence[str]) -> dict[str, int]:
    synonyms = dict(SYNONYMS)
    have = set(names)
    if {"allele1", "allele2"} <= have and have & {"af_allele2", "ac_allele2"}:  # SAIGE counts the second allele
        synonyms |= {"effect_allele": ("allele2",), "other_allele": ("allele1",), "eaf": ("af_allele2",)}
    found: dict[str, int] = {}
    for field, candidates in synonyms.items():
        name = next((c for c in candidates if c in have), None)
        if name is not None:
            found[field] = names.index(name)
    if found.get("effect_allele") == found.get("other_allele"):
        found.pop("other_allele", None)
    if found.get("second_id") == found.get("variant_id"):
        found.pop("second_id", None)
    if not ("a1" in have and {"ref", "alt"} <= have and names[found["effect_allele"]] == "a1"):
        found.pop("ref", None)
        found.pop("alt", None)
    elif names[found["other_allele"]] in {"ref", "alt"}:  # PLINK 2: the other one of REF and ALT, row by row
        found.pop("other_allele")
    else:
        found.pop("ref"), found.pop("alt")
    if "beta" in found:  # an odds ratio beside it says the same
        found.pop("odds_ratio", None)
        found.pop("hazard_ratio", None)
    elif "odds_ratio" in found:
        found.pop("hazard_ratio", None)
    return found


def _without_rivals(path: Path, header: Sequence[str], found: Mapping[str, int], named: set[str]) -> dict[str, int]:
    """Leave out guesses that a named field stands in for; raise `InputError` where a column is read as two fields."""
    left = dict(found)
    for group in ALTERNATIVES:
        if chosen := [field for field in group if field in named]:
            if len(chosen) > 1:
                raise InputError(f"{path}: columns are named for {' and '.join(chosen)}, which say the same; name one")
            left = {field: i for field, i in left.items() if field not in group or field == chosen[0]}
    for field in (f for f in FIELDS if f in named and f in left):
        for other in (f for f in FIELDS if f != field and f not in _WORKING and left.get(f) == left[field]):
            hint = "" if other in named else f"; name the right one: {other}=COLUMN"
            raise InputError(f"{path}: the column {header[left[field]]!r} is read as {field} and as {other}{hint}")
    return left


def _check(path: Path, header: Sequence[str], found: Mapping[str, int]) -> None:
    guessed = {field: header[found[field]] for field in FIELDS if field in found and field not in _WORKING}
    read = f"; read were {', '.join(f'{f} <- {c}' for f, c in guessed.items())}" if guessed else ""
    has = f"the file has {', '.join(header)}{read}"
    needs = {
        "an effect (beta, odds_ratio or hazard_ratio)": ("beta", "odds_ratio", "hazard_ratio"),
        "a standard error (se, ci_low and ci_high, or pvalue)": ("se", "ci_low", "pvalue", "neg_log10_pvalue"),
        "the effect allele": ("effect_allele",),
        "the variant (variant_id, or chrom and pos)": ("variant_id", "pos"),
    }
    for what, fields in needs.items():
        if not set(fields) & set(found):
            raise InputError(f"{path}: no column for {what} is known; {has}; name it: {fields[0]}=COLUMN")
    if "variant_id" not in found and "chrom" not in found:
        raise InputError(f"{path}: positions need a chromosome; {has}; name it: chrom=COLUMN")
