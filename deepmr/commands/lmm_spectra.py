"""Relationship matrices of `deepmr lmm`, decomposed: made when asked for, or read from a folder that keeps them."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from deepmr.cohort import Cohort
from deepmr.commands.progress import meter
from deepmr.errors import InputError
from deepmr.io.kinship import read_kinship
from deepmr.io.spectra import cached_spectra
from deepmr.population.association import ALL
from deepmr.population.leave_out import LeaveOneOut, leave_one_out
from deepmr.population.randomized import randomized_spectrum
from deepmr.population.relationship import Relationship, relationship_of, spectrum_of_relationship
from deepmr.population.scaled_markers import Kind, Progress, plain_chromosome
from deepmr.population.spectrum import Spectrum


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumOptions:
    """How relationship matrices are made; the options of `deepmr lmm`."""

    loco: bool = False
    kinship: Path | None = None
    kind: Kind = "centred"
    min_maf: float = 0.01
    rank: int | None = None
    seed: int = 0
    block: int = 1024
    folder: Path | None = None


class CohortSpectra:
    """Gives the spectrum of samples without a chromosome; matrices are summed when the first one is asked for."""

    def __init__(
        self, cohort: Cohort, options: SpectrumOptions, *, genotyped: pd.Index, checksums: Mapping[str, str]
    ) -> None:
        self._cohort = cohort
        self._options = options
        self._genotyped = genotyped
        self._checksums = dict(checksums)
        self.source = ""

    def __call__(self, rows: Int[np.ndarray, "rows"], chrom: str) -> Spectrum:
        """Return the spectrum of these samples, made without this chromosome; of all chromosomes for `ALL`.

        Parameters
        ----------
        rows : positions in the cohort.
        chrom : a name.
        """

        def make(name: str) -> Spectrum:
            return self._made(rows, name)

        spectrum = (make if self._options.folder is None else self._kept(make, rows, self._options.folder))(chrom)
        if not self.source or chrom == ALL:
            self.source = spectrum.source
        return spectrum

    def _kept(
        self, make: Callable[[str], Spectrum], rows: Int[np.ndarray, "rows"], folder: Path
    ) -> Callable[[str], Spectrum]:
        """Return a function that reads spectra from the part of the folder that is of these samples, or makes them."""
        names = [str(sample) for sample in self._cohort.samples[rows]]
        part = folder / hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
        part.mkdir(parents=True, exist_ok=True)
        what = {name: value for name, value in asdict(self._options).items() if name not in {"folder", "block", "loco"}}
        cohort = hashlib.sha256("\n".join(map(str, self._cohort.samples)).encode()).hexdigest()
        made_from = what | {"kinship": None, "files": self._checksums, "cohort": cohort}
        return cached_spectra(make, part, samples=names, made_from=made_from)

    def _made(self, rows: Int[np.ndarray, "rows"], chrom: str) -> Spectrum:
        options = self._options
        if options.kinship is not None:
            return spectrum_of_relationship(self._whole.take(rows))
        if options.rank is not None:
            return self._randomized(rows, chrom)
        if not options.loco:
            return spectrum_of_relationship(self._whole.take(rows))
        if chrom == ALL:
            return spectrum_of_relationship(self._by_chromosome.whole.take(rows))
        return self._by_chromosome.take(rows)(chrom)

    def _randomized(self, rows: Int[np.ndarray, "rows"], chrom: str) -> Spectrum:
        options, genotypes = self._options, self._cohort.genotypes.take(rows)
        names = dict.fromkeys(map(plain_chromosome, genotypes.variants["chrom"].astype(str)))
        used = None if chrom == ALL else [name for name in names if name != plain_chromosome(chrom)]
        if used is not None and not used:
            raise InputError(
                f"all variants lie on chromosome {chrom}: no other is left to make a relationship matrix of"
            )
        assert options.rank is not None
        with _pass(f"relationship matrix{_without(chrom)}") as progress:
            return randomized_spectrum(
                genotypes,
                rank=options.rank,
                seed=options.seed,
                kind=options.kind,
                chroms=used,
                min_maf=options.min_maf,
                block=options.block,
                progress=progress,
            )

    @cached_property
    def _whole(self) -> Relationship:
        options = self._options
        if options.kinship is not None:
            return self._given(options.kinship)
        with _pass("relationship matrix") as progress:
            return relationship_of(
                self._cohort.genotypes,
                kind=options.kind,
                min_maf=options.min_maf,
                block=options.block,
                progress=progress,
            )

    def _given(self, path: Path) -> Relationship:
        """Return a matrix from a file, which has a row a genotyped sample, or names, at least those of the cohort."""
        try:
            found = read_kinship(path, self._genotyped)
        except InputError:
            found = read_kinship(path, self._cohort.samples)
        return found.select([str(sample) for sample in self._cohort.samples])

    @cached_property
    def _by_chromosome(self) -> LeaveOneOut:
        options = self._options
        with _pass("relationship matrices") as progress:
            return leave_one_out(
                self._cohort.genotypes,
                kind=options.kind,
                min_maf=options.min_maf,
                block=options.block,
                progress=progress,
            )


@contextmanager
def _pass(description: str) -> Iterator[Progress]:
    """Yield what takes the variants done and those to do, and shows them as `meter` does."""
    with ExitStack() as stack:
        advance: Callable[[int | float], None] | None = None
        before = 0

        def progress(done: int, total: int) -> None:
            nonlocal advance, before
            if advance is None:
                advance = stack.enter_context(meter(description=description, total=total, unit="variants"))
            advance(done - before)
            before = done

        yield progress


def _without(chrom: str) -> str:
    return "" if chrom == ALL else f" without chromosome {chrom}"
