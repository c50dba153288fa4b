"""PLINK genotypes (.bed, .bim, .fam) as a panel for linkage disequilibrium; only the variants asked for are decoded."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from deepmr.errors import InputError
from deepmr.io.chromosomes import plain_chromosomes
from deepmr.io.delimited import BLANKS, Layout, parse_table
from deepmr.io.files import read_bytes

MAGIC = b"\x6c\x1b\x01"  # a .bed file, variant by variant
SUFFIXES = (".bed", ".bim", ".fam")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlinkPanel:
    """A PLINK data set on disk.

    Attributes
    ----------
    variants : variant_id, chrom, pos, effect_allele (A1 of the .bim, which dosages count) and other_allele (A2).
    samples : family and sample, their identifiers in the .fam.
    bed : the .bed file.
    n_samples : how many it holds.
    used : samples whose genotypes are returned: founders, as PLINK measures linkage disequilibrium on them.
    """

    variants: pd.DataFrame
    samples: pd.DataFrame
    bed: Path
    n_samples: int
    used: Bool[np.ndarray, "samples"]

    def dosages(self, rows: Int[np.ndarray, "_"]) -> Float[np.ndarray, "samples _"]:
        """Return copies of A1 for these variants, NaN where a genotype is missing.

        Parameters
        ----------
        rows : row numbers of `variants`.
        """
        stride = (self.n_samples + 3) // 4
        shape = (len(self.variants), stride)
        packed = np.memmap(self.bed, dtype=np.uint8, mode="r", offset=len(MAGIC), shape=shape)[rows]
        genotypes = _decoder()[packed].reshape(len(rows), 4 * stride)[:, : self.n_samples]
        return np.ascontiguousarray(genotypes[:, self.used].T)


def read_plink(prefix: Path) -> PlinkPanel:
    """Open a PLINK data set.

    Parameters
    ----------
    prefix
        Path without suffix, or any one of the three files.

    Raises
    ------
    InputError
        When a file is missing, damaged, or does not fit the others.
    """
    stem = prefix.with_suffix("") if prefix.suffix in SUFFIXES else prefix
    bed, bim, fam = (stem.with_name(stem.name + suffix) for suffix in SUFFIXES)
    names = ["chrom", "variant_id", "morgans", "pos", "effect_allele", "other_allele"]
    variants = _table(bim, names, text=[1], categories=[0, 4, 5], numeric=[3])
    samples = _table(fam, ["family", "sample", "father", "mother", "sex", "phenotype"], text=[0, 1, 2, 3])
    if not len(variants) or not len(samples):
        raise InputError(f"{bim if len(samples) else fam}: the file is empty")
    variants["chrom"] = plain_chromosomes(variants["chrom"].array)
    variants["pos"] = variants["pos"].fillna(0).astype(np.int64)
    founders = ((samples["father"] == "0") & (samples["mother"] == "0")).to_numpy()
    stride = (len(samples) + 3) // 4
    try:
        with bed.open("rb") as handle:
            start = handle.read(len(MAGIC))
        size = bed.stat().st_size
    except OSError as error:
        raise InputError(f"{bed}: cannot be read: {error.strerror}") from error
    if start[:2] != MAGIC[:2]:
        raise InputError(f"{bed}: not a PLINK 1 .bed file")
    if start != MAGIC:
        raise InputError(f"{bed}: genotypes are laid out by sample; write them anew with plink --make-bed")
    if size != len(MAGIC) + stride * len(variants):
        raise InputError(
            f"{bed}: has {size} bytes; {len(variants)} variants (.bim) of {len(samples)} samples (.fam) "
            f"take {len(MAGIC) + stride * len(variants)}"
        )
    used = founders if founders.any() else np.ones(len(samples), dtype=bool)
    identifiers = samples[["family", "sample"]]
    return PlinkPanel(variants=variants, samples=identifiers, bed=bed, n_samples=len(samples), used=used)


def _table(
    path: Path,
    names: list[str],
    *,
    text: list[int],
    categories: list[int] | None = None,
    numeric: list[int] | None = None,
) -> pd.DataFrame:
    """Read a table of blanks or tabs without a header."""
    content = read_bytes(path)
    if not content.strip():
        raise InputError(f"{path}: the file is empty")
    cells = len(content.split(b"\n", 1)[0].split())
    if cells != len(names):
        raise InputError(f"{path}: line 1 has {cells} cell(s); needed {len(names)}: {', '.join(names)}")
    return parse_table(
        path,
        content,
        Layout(skipped=0, header=tuple(names), separator=BLANKS),
        text={i: names[i] for i in text},
        categories={i: names[i] for i in categories or ()},
        numeric={i: names[i] for i in numeric or ()},
    )


@cache
def _decoder() -> Float[np.ndarray, "bytes four"]:
    """Return the four dosages of A1 that each byte holds, the lowest bits first."""
    copies = np.array([2, np.nan, 1, 0], dtype=np.float32)  # 00 two A1, 01 missing, 10 one, 11 none
    codes = np.arange(256)[:, None] >> np.array([0, 2, 4, 6]) & 3
    return copies[codes]
