"""PLINK genotypes (.bed, .bim, .fam) as a panel for linkage disequilibrium; only the variants asked for are decoded."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from bed_reader import open_bed
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
        return np.ascontiguousarray(self.read(rows, np.flatnonzero(self.used)).T)

    def read(
        self,
        rows: Int[np.ndarray, "variants"] | slice,
        columns: Int[np.ndarray, "samples"] | slice,
        *,
        threads: int = 1,
    ) -> Float[np.ndarray, "variants samples"]:
        """Return copies of A1, a variant a row.

        Parameters
        ----------
        rows : row numbers of `variants`.
        columns : row numbers of `samples`.
        threads : how many decode.
        """
        # Opened anew each time, which costs microseconds: the panel can be sent to other processes.
        bed = open_bed(self.bed, iid_count=self.n_samples, sid_count=len(self.variants), skip_format_check=True)
        try:
            return bed.read((columns, rows), dtype="float32", order="F", num_threads=threads).T
        except (OSError, ValueError) as error:
            raise InputError(f"{self.bed}: cannot be read: {' '.join(str(error).split())}") from error


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
    names = ["family", "sample", "father", "mother", "sex"]
    samples = _table(fam, names, text=[0, 1, 2, 3], more="phenotypes")
    if not len(variants) or not len(samples):
        raise InputError(f"{bim if len(samples) else fam}: the file is empty")
    variants["chrom"] = plain_chromosomes(variants["chrom"].array)
    variants["pos"] = variants["pos"].fillna(0).clip(lower=0).astype(np.int64)  # PLINK: negative where unknown
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
    more: str = "",
) -> pd.DataFrame:
    """Read a table of blanks or tabs without a header; further columns only where `more` says what they are."""
    content = read_bytes(path)
    if not content.strip():
        raise InputError(f"{path}: the file is empty")
    cells = len(content.split(b"\n", 1)[0].split())
    if cells < len(names) or (cells > len(names) and not more):
        needed = ", ".join([*names, more] if more else names)
        raise InputError(f"{path}: line 1 has {cells} cell(s); needed {len(names)}: {needed}")
    return parse_table(
        path,
        content,
        Layout(skipped=0, header=(*names, *(f"{more} {i + 1}" for i in range(cells - len(names)))), separator=BLANKS),
        text={i: names[i] for i in text},
        categories={i: names[i] for i in categories or ()},
        numeric={i: names[i] for i in numeric or ()},
    )
