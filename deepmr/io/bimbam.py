"""Mean genotypes in BIMBAM's format, as GEMMA reads them: a line a variant, without sample identifiers."""

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr.cohort import VARIANT_COLUMNS
from deepmr.errors import InputError
from deepmr.io.chromosomes import plain_chromosomes
from deepmr.io.delimited import split_cells
from deepmr.io.files import GZIP, read_bytes
from deepmr.io.genotypes_stored import Growing, StoredGenotypes

_MISSING = re.compile(rb"(?<![^,\s])(?:NA|\.)(?![^,\s])")
_FIXED = 3  # cells before the genotypes


def read_bimbam(
    path: Path, *, annotation: Path | None = None, samples: Path | None = None, max_bytes: int = 4 << 30
) -> StoredGenotypes:
    """Read mean genotypes into memory, four bytes each.

    Parameters
    ----------
    path
        Lines of variant, effect allele, other allele, and the expected copies of the effect allele for each sample,
        separated by commas or blanks; plain or gzip. NA is a missing genotype.
    annotation
        Lines of variant, position and chromosome. Without it these are unknown: an empty chromosome, position 0.
    samples
        Identifiers of the samples, one a line, or a .fam file. Without it they are 1, 2, ...
    max_bytes
        Most memory that genotypes may take.

    Raises
    ------
    InputError
        When a line is damaged, lines differ in length, the files do not fit together, or memory does not suffice.
    """
    ids, alleles = [], []
    held: Growing | None = None
    for number, line in enumerate(_lines(path), 1):
        cells, row = _parsed(path, number, line)
        if held is None:
            held = Growing(path=path, n_samples=len(row), dtype=np.float32, max_bytes=max_bytes)
        if len(row) != held.n_samples:
            raise InputError(f"{path}: line {number} has {len(row)} genotypes; line 1 has {held.n_samples}")
        held.append(row)
        ids.append(cells[0])
        alleles.append(cells[1:])
    if held is None:
        raise InputError(f"{path}: the file is empty")
    chrom, pos = _places(annotation, ids)
    variants = pd.DataFrame(alleles, columns=["effect_allele", "other_allele"], dtype="category")
    variants.insert(0, "variant_id", pd.Series(ids, dtype=object))
    variants = variants.assign(chrom=chrom, pos=pos)[list(VARIANT_COLUMNS)]
    return StoredGenotypes(variants=variants, samples=_samples(samples, path, held.n_samples), values=held.finish())


def _lines(path: Path) -> Iterator[bytes]:
    """Yield lines that are not empty, decompressed."""
    try:
        with path.open("rb") as handle:
            zipped = handle.read(2) == GZIP
            handle.seek(0)
            for line in gzip.GzipFile(fileobj=handle) if zipped else handle:
                if line.strip():
                    yield line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: the gzip data are truncated or damaged: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _parsed(path: Path, number: int, line: bytes) -> tuple[list[str], Float[np.ndarray, "samples"]]:
    """Return variant and alleles, and genotypes."""
    separator = b"," if b"," in line else None
    parts = line.strip().split(separator, _FIXED)
    if len(parts) <= _FIXED:
        raise InputError(f"{path}: line {number} has {len(parts)} cell(s); needed a variant, two alleles and genotypes")
    try:
        cells = [part.strip().decode() for part in parts[:_FIXED]]
        row = np.fromstring(_MISSING.sub(b"nan", parts[_FIXED]), dtype=np.float32, sep="," if separator else " ")
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: line {number}: a genotype is not a number") from error
    if np.isinf(row).any():
        raise InputError(f"{path}: line {number}: a genotype is infinite")
    return cells, row


def _places(annotation: Path | None, ids: list[str]) -> tuple[pd.Categorical, np.ndarray]:
    """Return chromosomes and positions of variants."""
    if annotation is None:
        nowhere = pd.Categorical(np.full(len(ids), None, dtype=object), categories=pd.Index([], dtype=object))
        return plain_chromosomes(nowhere), np.zeros(len(ids), dtype=np.int64)
    known: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(_text_lines(annotation), 1):
        cells = split_cells(line)[0]
        if len(cells) < 3 or not (cells[1].isdigit() or cells[1] == "NA"):
            raise InputError(f"{annotation}: line {number}: needed variant, position and chromosome; got {line!r}")
        place = (int(cells[1]) if cells[1].isdigit() else 0, cells[2])
        if known.setdefault(cells[0], place) != place:
            raise InputError(f"{annotation}: line {number}: variant {cells[0]!r} has two positions")
    absent = [one for one in ids if one not in known]
    if absent:
        raise InputError(f"{annotation}: {len(absent)} of {len(ids)} variants are not there, such as {absent[0]!r}")
    chrom = pd.DataFrame({"chrom": [known[one][1] for one in ids]}, dtype="category")["chrom"].array
    return plain_chromosomes(chrom), np.array([known[one][0] for one in ids], dtype=np.int64)


def _samples(samples: Path | None, path: Path, n: int) -> pd.Index:
    """Return identifiers: those of a file, or numbers from 1."""
    if samples is None:
        return pd.Index([str(k + 1) for k in range(n)])
    column = 1 if samples.suffix == ".fam" else 0
    rows = [split_cells(line)[0] for line in _text_lines(samples)]
    short = next((k for k, row in enumerate(rows) if len(row) <= column), None)
    if short is not None:
        raise InputError(f"{samples}: line {short + 1} has no sample identifier")
    found = pd.Index([row[column] for row in rows], dtype=object)
    if len(found) != n:
        raise InputError(f"{samples}: has {len(found)} samples; {path} has {n}")
    if found.has_duplicates:
        raise InputError(f"{samples}: sample {found[found.duplicated()][0]!r} occurs more than once")
    return found


def _text_lines(path: Path) -> list[str]:
    try:
        return [line for line in read_bytes(path).decode().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file") from error
