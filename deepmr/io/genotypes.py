"""Genotypes of a population, whichever format they are in."""

from pathlib import Path

from deepmr import checks
from deepmr.cohort import Genotypes
from deepmr.errors import InputError
from deepmr.io.bimbam import read_bimbam
from deepmr.io.genotypes_npz import read_npz_genotypes
from deepmr.io.genotypes_plink import open_plink
from deepmr.io.genotypes_vcf import Field, read_vcf_genotypes
from deepmr.io.plink import SUFFIXES

VCF_SUFFIXES = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")
BIMBAM_SUFFIXES = (".geno.txt", ".geno.txt.gz", ".geno", ".geno.gz", ".bimbam", ".bimbam.gz")


def open_genotypes(
    path: Path,
    *,
    threads: int = 1,
    field: Field = "auto",
    annotation: Path | None = None,
    samples: Path | None = None,
    max_bytes: int = 4 << 30,
) -> Genotypes:
    """Open genotypes, in the format that the name of the file says.

    Parameters
    ----------
    path
        Prefix of PLINK 1 files, or any one of the three (.bed, .bim, .fam); VCF or BCF (.vcf, .vcf.gz, .bcf);
        NumPy arrays (.npz); mean genotypes of BIMBAM (.geno.txt, .geno.txt.gz, .bimbam).
    threads
        How many decode a block of PLINK's.
    field
        Of a VCF, as in `read_vcf_genotypes`.
    annotation, samples
        Of BIMBAM files, as in `read_bimbam`.
    max_bytes
        Most memory for genotypes of a VCF or BIMBAM file, which are read whole; PLINK's are read in blocks.

    Raises
    ------
    InputError
        When no such file is there, it is damaged, or an option does not fit its format.
    """
    checks.at_least("threads", threads, 1)
    name = path.name.lower()
    bimbam = name.endswith(BIMBAM_SUFFIXES)
    for option, value in {"annotation": annotation, "samples": samples}.items():
        if value is not None and not bimbam:
            raise InputError(f"{path}: {option} is for mean genotypes of BIMBAM ({', '.join(BIMBAM_SUFFIXES)}) alone")
    if bimbam:
        return read_bimbam(path, annotation=annotation, samples=samples, max_bytes=max_bytes)
    if name.endswith(VCF_SUFFIXES):
        return read_vcf_genotypes(path, field=field, max_bytes=max_bytes)
    if name.endswith(".npz"):
        return read_npz_genotypes(path)
    if path.suffix in SUFFIXES or Path(f"{path}.bed").exists():
        return open_plink(path, threads=threads)
    raise InputError(
        f"{path}: no genotypes: no {path.name}.bed is there, and the name is not of a VCF ({', '.join(VCF_SUFFIXES)}), "
        f".npz or BIMBAM file ({', '.join(BIMBAM_SUFFIXES)})"
    )
