"""GWAS-VCF: associations in a VCF file, one column of each study -> the fields of a table of associations."""

import io
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from deepmr.errors import InputError
from deepmr.io.sumstats_columns import Columns

KEYS = {"ES": "beta", "SE": "se", "LP": "neg_log10_pvalue", "AF": "eaf", "SS": "n"}
FIXED = ("CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT")
PLACES = {"ID": "variant_id", "CHROM": "chrom", "POS": "pos", "ALT": "effect_allele", "REF": "other_allele"}
TYPES: dict[str, str] = dict.fromkeys(("CHROM", "REF", "ALT", "FORMAT"), "category") | {"POS": "float64"}
SHOWN = {field: name for name, field in PLACES.items()}


def is_vcf(content: bytes) -> bool:
    """Return whether a file says that it is a VCF."""
    return content.startswith(b"##fileformat=VCF")


def read_gwas_vcf(
    path: Path, content: bytes, *, given: Mapping[str, str] | None = None
) -> list[tuple[str, pd.DataFrame, Columns]]:
    """Read a GWAS-VCF file: of each study its name, its associations, and where the fields came from.

    Parameters
    ----------
    path
        The file, for messages.
    content
        Its text. Effects are of ALT; LP is -log10 P; AF is in FORMAT or else in INFO, as some files have it; the sample
        size is SS, or else what the header's SAMPLE line counts.
    given
        Columns that the user named: only `n`, as a number for every row, has a place here.

    Raises
    ------
    InputError
        When there is no study, or FORMAT has no effects with standard errors, or a value is no number.

    References
    ----------
    Lyon et al. The variant call format provides efficient and robust storage of GWAS summary statistics. Genome Biol
    2021. https://doi.org/10.1186/s13059-020-02248-0
    """
    if other := set(given or {}) - {"n"}:
        raise InputError(
            f"{path}: the fields of a GWAS-VCF file are known; only n can be given, not {sorted(other)[0]}"
        )
    start = 0 if content.startswith(b"#CHROM") else content.find(b"\n#CHROM") + 1
    end = content.find(b"\n", start)
    header = content[start : end if end >= 0 else len(content)].decode("utf-8", "replace").rstrip("\r").split("\t")
    names = [name.lstrip("#") for name in header]
    if tuple(names[:9]) != FIXED or len(names) < 10:
        raise InputError(f"{path}: a VCF file without studies; needed GWAS-VCF, or a table such as GWAS-SSF")
    if end < 0 or not content[end:].strip():
        raise InputError(f"{path}: the file has no rows")
    frame = _parsed(path, content[end + 1 :], names)
    sizes = _sample_sizes(content[:start].decode("utf-8", "replace"))
    return [_study(path, frame, study, sizes.get(study), given or {}) for study in names[9:]]


def _parsed(path: Path, body: bytes, names: list[str]) -> pd.DataFrame:
    kept = [name for name in names if name not in {"QUAL", "FILTER"}]
    try:
        return pd.read_csv(
            io.BytesIO(body), sep="\t", header=None, names=names, usecols=kept, na_values=["."], index_col=False,
            dtype={name: TYPES.get(name, "object") for name in kept}, encoding="utf-8",
        )  # fmt: skip
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise InputError(f"{path}: not a VCF file: {' '.join(str(error).split())}") from error


def _study(
    path: Path, frame: pd.DataFrame, study: str, size: float | None, given: Mapping[str, str]
) -> tuple[str, pd.DataFrame, Columns]:
    """Return one study's fields; what no row has is left out."""
    found = pd.DataFrame({field: frame[name] for name, field in PLACES.items()})
    values = {field: np.full(len(frame), np.nan) for field in KEYS.values()}
    formats = frame["FORMAT"].array
    for code, keys in enumerate(map(str, formats.categories)):
        rows = np.flatnonzero(formats.codes == code)
        cells = frame[study].to_numpy(object)[rows]
        for name, column in _split(path, cells, keys.split(":"), study).items():
            values[KEYS[name]][rows] = column
    shown = {field: name for name, field in KEYS.items()}
    if np.isnan(values["eaf"]).all():
        values["eaf"], shown["eaf"] = _info_frequencies(frame["INFO"]), "INFO AF"
    for field in ("beta", "se"):
        if np.isnan(values[field]).all():
            raise InputError(
                f"{path}: {study} has no {shown[field]} in FORMAT; needed the fields ES and SE of GWAS-VCF"
            )
    there = {field: column for field, column in values.items() if not np.isnan(column).all()}
    constants: dict[str, float] = {}
    if "n" in given:
        if not re.fullmatch(r"\d+(\.\d+)?(e\d+)?", given["n"]):
            raise InputError(f"{path}: n must be a number for a GWAS-VCF file; got {given['n']!r}")
        constants["n"], shown["n"] = float(given["n"]), given["n"]
    elif "n" not in there and size is not None:
        constants["n"], shown["n"] = size, f"SAMPLE, {size:g}"
    fields = [*SHOWN, *there, *(name for name in constants if name not in there)]
    columns = Columns(index={}, shown={name: {**SHOWN, **shown}[name] for name in fields}, constants=constants)
    return study, found.assign(**there), columns


def _split(path: Path, cells: np.ndarray, keys: list[str], study: str) -> dict[str, np.ndarray]:
    """Return the numbers in cells such as 0.1:0.02:6.2 by key; trailing ones may be left out."""
    wanted = [name for name in KEYS if name in keys]
    if not wanted:
        return {}
    text = "\n".join("." if pd.isna(cell) else cell for cell in cells)
    try:
        parsed = pd.read_csv(
            io.StringIO(text), sep=":", header=None, names=keys, usecols=wanted, na_values=["."], index_col=False,
            dtype=dict.fromkeys(wanted, np.float64), skip_blank_lines=False,
        )  # fmt: skip
    except ValueError as error:
        raise InputError(f"{path}: {study}: {':'.join(keys)} has values that are no numbers: {error}") from error
    return {name: parsed[name].to_numpy() for name in wanted}


def _info_frequencies(info: pd.Series) -> np.ndarray:
    return pd.to_numeric(info.astype(str).str.extract(r"(?:^|;)AF=([^;,]+)")[0], errors="coerce").to_numpy(float)


def _sample_sizes(meta: str) -> dict[str, float]:
    """Return the sample sizes that SAMPLE lines give: cases and controls together."""
    sizes = {}
    for line in re.findall(r"^##SAMPLE=<(.*)>\s*$", meta, re.MULTILINE):
        name = re.search(r"(?:^|,)ID=\"?([^,\"]+)", line)
        counts = re.findall(r"(?:^|,)Total(?:Cases|Controls)=\"?([\d.e+]+)", line)
        if name and counts:
            sizes[name[1]] = float(sum(map(float, counts)))
    return sizes
