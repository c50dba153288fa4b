"""Genotypes of a population, whichever format they are in."""

from pathlib import Path

from deepmr.cohort import Genotypes
from deepmr.io.genotypes_plink import open_plink


def open_genotypes(path: Path, *, threads: int = 1) -> Genotypes:
    """Open genotypes.

    Parameters
    ----------
    path
        Prefix of PLINK 1 files, or one of them.
    threads
        How many decode a block.
    """
    return open_plink(path, threads=threads)
