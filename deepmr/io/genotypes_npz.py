"""Genotypes as NumPy arrays in one .npz file."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from deepmr import checks
from deepmr.cohort import VARIANT_COLUMNS, Genotypes
from deepmr.errors import InputError
from deepmr.io.chromosomes import plain_chromosomes
from deepmr.io.files import atomic_path
from deepmr.io.genotypes_stored import StoredGenotypes

ARRAYS = ("dosages", *VARIANT_COLUMNS, "samples")


def read_npz_genotypes(path: Path) -> StoredGenotypes:
    """Read genotypes from a .npz file.

    Parameters
    ----------
    path
        File with the arrays `dosages` (variants, samples: copies of the effect allele; NaN where missing, or whole
        numbers, negative where missing), `variant_id`, `chrom`, `pos`, `effect_allele`, `other_allele`, `samples`.

    Raises
    ------
    InputError
        When it is no such file, or the arrays do not fit together.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise ValueError("one array, not several")
        with loaded as file:
            missing = [name for name in ARRAYS if name not in file.files]
            if missing:
                raise InputError(f"{path}: no array {missing[0]!r}; it has {', '.join(file.files)}")
            arrays = {name: file[name] for name in ARRAYS}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{path}: not a .npz file of genotypes: {reason}") from error
    dosages = arrays["dosages"]
    if dosages.ndim != 2 or dosages.dtype.kind not in "fiu":
        raise InputError(f"{path}: dosages must be numbers in two dimensions; got {dosages.dtype}, {dosages.shape}")
    for name, size in dict.fromkeys(VARIANT_COLUMNS, len(dosages)).items() | {("samples", dosages.shape[1])}:
        if arrays[name].shape != (size,):
            raise InputError(f"{path}: {name} must have shape ({size},), as dosages say; got {arrays[name].shape}")
    try:
        pos = arrays["pos"].astype(np.int64)
        samples = pd.Index(arrays["samples"].astype(str), dtype=object)
        checks.unique("samples", samples)
    except (ValueError, InputError) as error:
        raise InputError(f"{path}: {error}") from error
    variants = pd.DataFrame({name: arrays[name].astype(str).astype(object) for name in VARIANT_COLUMNS})
    variants["chrom"] = plain_chromosomes(pd.Categorical(variants["chrom"]))
    variants["pos"] = pos
    return StoredGenotypes(variants=variants, samples=samples, values=np.ascontiguousarray(dosages))


def write_npz_genotypes(genotypes: Genotypes, path: Path) -> None:
    """Write genotypes as `read_npz_genotypes` reads them.

    Parameters
    ----------
    genotypes
        All of them are in memory at once.
    path
        File to write, .npz; an existing one is replaced.
    """
    variants = genotypes.variants
    columns = {name: variants[name].astype(str).to_numpy(str) for name in VARIANT_COLUMNS if name != "pos"}
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(
            handle,
            dosages=genotypes.read(0, len(variants)),
            pos=variants["pos"].to_numpy(np.int64),
            samples=genotypes.samples.astype(str).to_numpy(str),
            **columns,  # type: ignore[arg-type]
        )
