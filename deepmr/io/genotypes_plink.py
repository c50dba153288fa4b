"""PLINK files as genotypes of a population: blocks of variants of all samples, or of some in any order."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from bed_reader import create_bed
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.cohort import Genotypes
from deepmr.errors import InputError
from deepmr.io.files import atomic_path
from deepmr.io.genotypes_stored import variant_names
from deepmr.io.plink import SUFFIXES, PlinkPanel, read_plink


@dataclass(frozen=True, slots=True, kw_only=True)
class PlinkGenotypes:
    """Genotypes in PLINK files, of which only the blocks asked for are decoded.

    Attributes
    ----------
    panel : the data set.
    variants : as in `Genotypes`; the effect allele is A1 of the .bim.
    samples : identifiers of the samples read, each once.
    columns : which of the .fam file's samples they are.
    threads : how many decode.
    """

    panel: PlinkPanel
    variants: pd.DataFrame
    samples: pd.Index
    columns: Int[np.ndarray, "samples"]
    threads: int = 1

    def read(self, start: int, stop: int) -> Float[np.ndarray, "variants samples"]:
        """Return copies of A1 of variants start to stop, NaN where missing."""
        return self.panel.read(slice(start, stop), self.columns, threads=self.threads)

    def take(self, rows: Int[np.ndarray, "chosen"]) -> "PlinkGenotypes":
        """Return the same variants of these samples alone, in this order."""
        return replace(self, samples=self.samples[rows], columns=self.columns[rows])


def open_plink(prefix: Path, *, threads: int = 1) -> PlinkGenotypes:
    """Open PLINK 1 files (.bed, .bim, .fam) with all samples, founders or not.

    Parameters
    ----------
    prefix
        Path without suffix, or any one of the three files.
    threads
        How many decode a block.

    Raises
    ------
    InputError
        When a file is missing, damaged, or does not fit the others, or a sample occurs twice.

    Notes
    -----
    Samples are known by their individual identifier (the second column of the .fam file), or by family:individual
    where individuals of several families share one. A variant without an identifier (".") is named
    chrom:pos:other_allele:effect_allele.
    """
    panel = read_plink(prefix)
    fam = panel.bed.with_suffix(".fam")
    samples = pd.Index(panel.samples["sample"])
    if samples.hasnans:
        raise InputError(f"{fam}: line {int(np.argmax(samples.isna())) + 1} has no individual identifier")
    if samples.has_duplicates:
        samples = pd.Index(panel.samples["family"] + ":" + panel.samples["sample"])
    if samples.has_duplicates:
        twice = panel.samples[samples.duplicated()].iloc[0]
        raise InputError(f"{fam}: sample {twice['sample']!r} of family {twice['family']!r} occurs more than once")
    variants = panel.variants
    unnamed = variants["variant_id"].isna()
    if unnamed.any():
        variants = variants.assign(variant_id=variants["variant_id"].where(~unnamed, variant_names(variants)))
    return PlinkGenotypes(
        panel=panel, variants=variants, samples=samples, columns=np.arange(len(samples)), threads=threads
    )


def write_plink(
    genotypes: Genotypes, prefix: Path, *, families: Sequence[str] | None = None, block: int = 1024
) -> tuple[Path, ...]:
    """Write genotypes as PLINK 1 files, a block of variants at a time; the effect allele becomes A1.

    Parameters
    ----------
    genotypes
        Called ones: 0, 1 or 2 copies, or missing.
    prefix
        Path without suffix; files that are there are replaced.
    families
        Identifier of each sample's family; its own by default. Parents are unknown.
    block
        Variants at a time.

    Returns
    -------
    tuple
        The .bed, .bim and .fam file.

    Raises
    ------
    InputError
        When a genotype is a dosage between whole numbers, an identifier has blanks, or a file cannot be written.
    """
    checks.at_least("block", block, 1)
    variants, samples = genotypes.variants, [str(name) for name in genotypes.samples]
    names = {"fid": samples if families is None else list(families), "iid": samples}
    checks.shape("families", np.array(names["fid"], dtype=object), (len(samples),))
    texts = {"chromosome": "chrom", "sid": "variant_id", "allele_1": "effect_allele", "allele_2": "other_allele"}
    names |= {theirs: variants[ours].astype(str).tolist() for theirs, ours in texts.items()}
    for words in names.values():
        unfit = next((word for word in words if len(word.split()) != 1), None)
        if unfit is not None:
            raise InputError(f"{prefix}: PLINK files cannot hold the empty name, or one with blanks; got {unfit!r}")
    files = tuple(prefix.with_name(prefix.name + suffix) for suffix in SUFFIXES)
    with ExitStack() as stack:
        bed, bim, fam = (stack.enter_context(atomic_path(path)) for path in files)
        properties = names | {"bp_position": variants["pos"].tolist()}
        writer = create_bed(bed, len(samples), len(variants), properties=properties, fam_location=fam, bim_location=bim)
        try:
            for start in range(0, len(variants), block):
                for k, dosages in enumerate(genotypes.read(start, min(start + block, len(variants))), start):
                    if not np.isin(dosages[~np.isnan(dosages)], (0, 1, 2)).all():
                        raise InputError(
                            f"{prefix}: PLINK files hold 0, 1 or 2 copies; variant {names['sid'][k]} has others"
                        )
                    writer.write(dosages)
        except BaseException:
            with suppress(ValueError):  # what it has to say of too few variants would hide why
                writer.close()
            raise
        writer.close()
    return files
