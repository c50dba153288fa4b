"""VCF and BCF files as genotypes of a population, read by cyvcf2."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.errors import InputError
from deepmr.io.chromosomes import plain_chromosomes
from deepmr.io.files import BGZIP_END, BGZIP_FIELD, GZIP
from deepmr.io.genotypes_stored import MISSING, Growing, StoredGenotypes, variant_names

if TYPE_CHECKING:
    from cyvcf2 import VCF

Field = Literal["auto", "DS", "GT"]
_ABSENT = -2  # cyvcf2's second allele of a haploid call


def read_vcf_genotypes(path: Path, *, field: Field = "auto", max_bytes: int = 4 << 30) -> StoredGenotypes:
    """Read a VCF or BCF file into memory: a byte a call, four bytes a dosage.

    Parameters
    ----------
    path
        Plain, bgzip or BCF.
    field
        What to read: expected copies (DS), or calls (GT). "auto" reads DS where the header has it, and calls for a
        record without it.
    max_bytes
        Most memory that genotypes may take.

    Raises
    ------
    InputError
        When cyvcf2 is not installed, the file is damaged or truncated, has no samples, or does not fit into memory.

    Notes
    -----
    The effect allele is ALT. A site with several ALT alleles becomes a variant for each: copies of that allele against
    all others, named chrom:pos:ref:alt, as variants without an identifier are. A site without ALT is a variant that
    does not vary. A call is missing when any of its alleles is; phase makes no difference. A haploid call counts
    twice, as in PLINK's files, so that the mean is twice the frequency on every chromosome; so does a dosage whose
    call is haploid.
    """
    checks.one_of("field", field, ("auto", "DS", "GT"))
    _check_end(path)
    file = _opened(path)
    names = list(file.samples)
    formats = {h["ID"] for h in file.header_iter() if h["HeaderType"] == "FORMAT"}
    if not names:
        raise InputError(f"{path}: a VCF file without samples; needed genotypes")
    needed = "GT" if field == "auto" else field
    if needed not in formats and not (field == "auto" and "DS" in formats):
        raise InputError(f"{path}: the header has no FORMAT field {needed}")
    dosages = field == "DS" or (field == "auto" and "DS" in formats)
    held = Growing(path=path, n_samples=len(names), dtype=np.float32 if dosages else np.int8, max_bytes=max_bytes)
    rows = []
    for record in _records(path, file):
        alts = list(record.ALT)
        values = _dosages(path, record, max(len(alts), 1), len(names), fall_back=field == "auto") if dosages else None
        if values is None:
            calls, haploid = _calls(path, record, len(names))
            values = _copies(calls, haploid, max(len(alts), 1), dtype=held.dtype)
        for alt, row in zip(alts or ["."], values, strict=True):
            identifier = record.ID if len(alts) < 2 else None
            rows.append((identifier, record.CHROM, record.POS, alt, record.REF))
            held.append(row)
    if not rows:
        raise InputError(f"{path}: the file has no variants")
    return StoredGenotypes(variants=_variants(rows), samples=pd.Index(names), values=held.finish())


def _variants(rows: list[tuple[str | None, str, int, str, str]]) -> pd.DataFrame:
    variants = pd.DataFrame(rows, columns=["variant_id", "chrom", "pos", "effect_allele", "other_allele"])
    variants["chrom"] = plain_chromosomes(pd.Categorical(variants["chrom"]))
    named = variants["variant_id"].notna()
    variants["variant_id"] = variants["variant_id"].where(named, variant_names(variants))
    return variants.astype({"effect_allele": "category", "other_allele": "category"})


def _check_end(path: Path) -> None:
    """Raise `InputError` for a file that ends in the middle, which htslib reads without an error."""
    try:
        with path.open("rb") as handle:
            start = handle.read(18)
            size = handle.seek(0, 2)
            handle.seek(max(size - len(BGZIP_END), 0))
            end = handle.read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    where, mark = BGZIP_FIELD
    if start.startswith(GZIP) and start[where] == mark and end != BGZIP_END:
        raise InputError(f"{path}: the bgzip data are truncated: their end marker is missing")
    if start.startswith(b"##fileformat") and not end.endswith(b"\n"):
        raise InputError(f"{path}: truncated: the last line has no end")


def _opened(path: Path) -> "VCF":
    try:
        from cyvcf2 import VCF
    except ImportError as error:
        raise InputError(f"{path}: VCF and BCF need cyvcf2: pip install 'deepmr[vcf]'") from error
    try:
        return VCF(str(path))
    except Exception as error:  # cyvcf2 raises bare Exception for a header it cannot parse
        raise InputError(f"{path}: not a VCF or BCF file: {' '.join(str(error).split())}") from error


def _records(path: Path, file: "VCF") -> Iterator[Any]:
    """Yield records; say after which one the file is damaged."""
    last, records = "the header", iter(file)
    while True:
        try:
            record = next(records)
        except StopIteration:
            return
        except Exception as error:
            raise InputError(f"{path}: damaged or truncated after {last}") from error
        last = f"{record.CHROM}:{record.POS}"
        yield record


def _calls(path: Path, record: Any, n: int) -> tuple[Int[np.ndarray, "samples ploidy"], np.ndarray]:
    """Return the number of each allele (0 for REF), -1 where missing, and which samples are haploid."""
    if "GT" not in (record.FORMAT or ()):
        return np.full((n, 1), MISSING, dtype=np.int16), np.zeros(n, dtype=bool)
    calls = record.genotype.array()[:, :-1]
    if calls.shape[1] > 2:
        raise InputError(f"{path}: {record.CHROM}:{record.POS} has calls of {calls.shape[1]} alleles; needed 1 or 2")
    if calls.shape[1] == 1:
        return calls, np.ones(n, dtype=bool)
    return calls, calls[:, 1] == _ABSENT


def _copies(
    calls: Int[np.ndarray, "samples ploidy"], haploid: np.ndarray, n_alts: int, *, dtype: type
) -> list[np.ndarray]:
    """Return copies of each ALT allele; a missing call is -1, or NaN where `dtype` has it."""
    missing = (calls == MISSING).any(1)
    rows = []
    for allele in range(1, n_alts + 1):
        copies = (calls == allele).sum(1).astype(dtype)
        copies[haploid] *= 2
        copies[missing] = MISSING if dtype is np.int8 else np.nan
        rows.append(copies)
    return rows


def _dosages(
    path: Path, record: Any, n_alts: int, n: int, *, fall_back: bool
) -> list[Float[np.ndarray, "samples"]] | None:
    """Return DS of each ALT allele; None where a record has none and calls may be used in its place."""
    values = record.format("DS")
    if values is None:
        return None if fall_back else [np.full(n, np.nan, dtype=np.float32)] * n_alts
    if values.shape[1] != n_alts:
        raise InputError(
            f"{path}: {record.CHROM}:{record.POS} has {values.shape[1]} DS a sample; needed one an ALT allele, {n_alts}"
        )
    _, haploid = _calls(path, record, n)
    values = values.astype(np.float32)
    values[haploid & (values <= 1).all(1)] *= 2
    return list(values.T)
