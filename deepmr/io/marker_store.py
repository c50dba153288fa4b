"""Rotated genotypes in HDF5: markers turned once, for any number of scans of traits of the same samples."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from deepmr import __version__, checks
from deepmr.cohort import VARIANT_COLUMNS, Genotypes
from deepmr.errors import InputError
from deepmr.io.files import atomic_path
from deepmr.io.hdf5 import LIBVER, label_axes, read_frame, write_attrs, write_frame
from deepmr.population.association import Precision, Progress, cut_blocks
from deepmr.population.markers import prepare_markers
from deepmr.population.spectrum import Spectrum
from deepmr.population.stored import StoredBlock

FORMAT, FORMAT_VERSION = "deepmr-rotated-markers", "1.0"
ROTATED, MARKERS = "rotated", "markers"
PLAIN = "matrix"  # another name of the rotated markers, by which whatever reads a matrix finds them
CHUNK = 1 << 20  # bytes of a chunk, about
ABOUT = ("mean", "n", "eaf", "mac", "status")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerStore:
    """A file of rotated markers, opened for each read: it can be sent to other processes.

    Attributes
    ----------
    path : of the file.
    variants : `VARIANT_COLUMNS`, a row a variant.
    samples : identifiers, in the order of the spectrum's columns.
    about : mean, n, eaf, mac and status of each variant, of `prepare_markers`.
    spectra : checksum of the spectrum of each chromosome, or of `ALL`.
    rank : eigenvectors.
    low_rank : whether the markers before rotation are there too.
    block : variants that were rotated together; scans in these blocks are the same to the last bit.
    precision : of the numbers.
    """

    path: Path
    variants: pd.DataFrame
    samples: pd.Index
    about: pd.DataFrame
    spectra: dict[str, str]
    rank: int
    low_rank: bool
    block: int
    precision: Precision

    def __len__(self) -> int:
        return len(self.variants)

    @property
    def by_chromosome(self) -> bool:
        """Whether each chromosome has a spectrum of its own."""
        return "" not in self.spectra

    def read(self, start: int, stop: int) -> StoredBlock:
        """Return rotated markers start to stop, and what is known of them."""
        with _opened(self.path) as file:
            rotated = file[ROTATED][start:stop]
            markers = file[MARKERS][start:stop] if self.low_rank else None
        about = {name: self.about[name].to_numpy()[start:stop] for name in ABOUT}
        return StoredBlock(rotated=rotated, markers=markers, about=about)

    def blocks(self) -> Iterator[StoredBlock]:
        """Yield all markers in order, a block at a time."""
        for _, pieces in cut_blocks(self.variants, self.block, by_chromosome=self.by_chromosome):
            for start, stop in pieces:
                yield self.read(start, stop)

    def check_spectrum(self, chrom: str, spectrum: Spectrum) -> None:
        """Raise `InputError` unless a chromosome's markers were rotated by this spectrum."""
        if chrom not in self.spectra:
            has = "by the chromosome" if self.by_chromosome else "for all chromosomes"
            raise InputError(f"{self.path}: has spectra {has}, and none for {chrom or 'all chromosomes'!r}")
        if self.spectra[chrom] != spectrum_sha256(spectrum):
            of = f" of chromosome {chrom}" if chrom else ""
            raise InputError(
                f"{self.path}: markers{of} were rotated by another spectrum (checksum {self.spectra[chrom][:12]}): "
                "give the one they were written with, or write them again"
            )


def write_marker_store(
    genotypes: Genotypes,
    spectra: Spectrum | Callable[[str], Spectrum],
    path: Path,
    *,
    precision: Precision = "float64",
    min_mac: int | float = 0.0,
    max_missing: int | float = 1.0,
    block: int = 1024,
    progress: Progress | None = None,
) -> MarkerStore:
    """Rotate markers and write them, whole or not at all.

    Parameters
    ----------
    genotypes
        Of the samples of the spectrum, in its order.
    spectra
        As in `associate_variants`; those of several chromosomes must have one rank.
    path
        File to write; an existing one is replaced.
    precision
        Of rotation and numbers; float32 takes half the room.
    min_mac, max_missing
        As in `prepare_markers`: which markers are left out of every scan of the store.
    block
        Variants rotated together.
    progress
        Called after every block.

    Returns
    -------
    MarkerStore
        What was written, open for reading.

    Notes
    -----
    A file has variants x rank numbers, and in a model of low rank variants x samples more. They are not compressed,
    since rotated genotypes have no pattern to compress; each chunk has a checksum, so that damage is an error and not
    a number.
    """
    variants, samples = genotypes.variants, genotypes.samples
    alone = isinstance(spectra, Spectrum)
    pieces = list(cut_blocks(variants, block, by_chromosome=not alone))
    dtype = np.float64 if precision == "float64" else np.float32
    about: dict[str, list[np.ndarray]] = {name: [] for name in ABOUT}
    sums: dict[str, str] = {}
    rank, done = -1, 0
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver=LIBVER) as file:
        for chrom, parts in pieces:
            spectrum = spectra if isinstance(spectra, Spectrum) else spectra(chrom)
            _check_spectrum(spectrum, len(samples), rank, chrom)
            if rank < 0:
                rank = spectrum.rank
                _create(file, len(variants), len(samples), rank, dtype)
            if sums.setdefault(chrom, digest := spectrum_sha256(spectrum)) != digest:
                raise InputError(f"the spectrum of chromosome {chrom} must be the same each time; two differ")
            vectors = spectrum.vectors.astype(dtype, copy=False)
            for start, stop in parts:
                ready = prepare_markers(
                    genotypes.read(start, stop), min_mac=min_mac, max_missing=max_missing, dtype=dtype
                )
                file[ROTATED][start:stop] = ready.centred @ vectors.T
                if MARKERS in file:
                    file[MARKERS][start:stop] = ready.centred
                for name in ABOUT:
                    about[name].append(getattr(ready, name))
                done += stop - start
                if progress is not None:
                    progress(done, len(variants))
        write_frame(file, "variants", variants[list(VARIANT_COLUMNS)])
        write_frame(file, "about", pd.DataFrame({name: np.concatenate(parts) for name, parts in about.items()}))
        file.create_dataset("samples", data=[str(name) for name in samples], dtype=h5py.string_dtype())
        header = {"precision": precision, "block": block, "min_mac": min_mac, "max_missing": max_missing}
        shape = {"n_variants": len(variants), "n_samples": len(samples), "rank": rank}
        version = {"format": FORMAT, "format_version": FORMAT_VERSION, "deepmr_version": __version__}
        write_attrs(file, {**version, **shape, **header, "spectra": json.dumps(sums)})
    return open_marker_store(path)


def open_marker_store(path: Path) -> MarkerStore:
    """Open what `write_marker_store` wrote: its tables are read now, its markers when they are asked for.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        When it cannot be read, is damaged, or is no such file.
    """
    with _opened(path) as file:
        attrs = dict(file.attrs)
        _check_format(path, attrs)
        store = MarkerStore(
            path=path,
            variants=read_frame(file["variants"]),
            samples=pd.Index(file["samples"].asstr()[:], dtype=object),
            about=read_frame(file["about"]),
            spectra=json.loads(attrs["spectra"]),
            rank=int(attrs["rank"]),
            low_rank=MARKERS in file,
            block=int(attrs["block"]),
            precision=str(attrs["precision"]),  # type: ignore[arg-type]
        )
        wanted = (int(attrs["n_variants"]), int(attrs["n_samples"]))
        found = {name: file[name].shape for name in (ROTATED, MARKERS) if name in file}
        dtype = str(file[ROTATED].dtype)
    expected = {ROTATED: (wanted[0], store.rank)} | ({MARKERS: wanted} if store.low_rank else {})
    sizes = (len(store.variants), len(store.samples))
    if found != expected or sizes != wanted or len(store.about) != wanted[0] or dtype != store.precision:
        raise InputError(f"{path}: damaged: its arrays do not have the shapes that its header says")
    return store


def spectrum_sha256(spectrum: Spectrum) -> str:
    """Return a checksum of eigenvalues and eigenvectors, by which a store knows its spectrum.

    Parameters
    ----------
    spectrum : signs of eigenvectors count, and so does every bit.
    """
    digest = hashlib.sha256(f"{spectrum.rank} {spectrum.n}".encode())
    for values in (spectrum.eigenvalues, spectrum.vectors):
        digest.update(np.ascontiguousarray(values, dtype="<f8").data)
    return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    except KeyError as error:
        raise InputError(f"{path}: damaged, or no store of rotated markers: {error.args[0]}") from error
    except (OSError, RuntimeError) as error:  # what HDF5 raises, of files that are absent, foreign, cut or damaged
        why = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as a store of rotated markers: {why}") from error


def _check_format(path: Path, attrs: Mapping[str, Any]) -> None:
    if attrs.get("format") != FORMAT:
        raise InputError(
            f"{path} is not a store of rotated markers: its format is {attrs.get('format')!r}, not {FORMAT!r}"
        )
    version = str(attrs.get("format_version"))
    if version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
        raise InputError(f"{path} has format version {version}; this deepmr reads {FORMAT_VERSION}: write it again")


def _check_spectrum(spectrum: Spectrum, n: int, rank: int, chrom: str) -> None:
    if spectrum.n != n:
        raise InputError(f"the spectrum is of {spectrum.n} samples, the genotypes have {n}")
    checks.finite("vectors", spectrum.vectors)
    if rank >= 0 and spectrum.rank != rank:
        raise InputError(
            f"spectra of one store must have one rank; that of chromosome {chrom} has {spectrum.rank}, those before "
            f"have {rank}"
        )


def _create(file: h5py.File, variants: int, samples: int, rank: int, dtype: type[np.floating]) -> None:
    """Make the arrays, in chunks of whole rows."""
    shapes = {ROTATED: (rank, "variant eigenvector")}
    if rank < samples:
        shapes[MARKERS] = (samples, "variant sample")
    for name, (columns, axes) in shapes.items():
        rows = int(np.clip(CHUNK // max(np.dtype(dtype).itemsize * columns, 1), 1, max(variants, 1)))
        data = file.create_dataset(name, (variants, columns), dtype, chunks=(rows, columns), fletcher32=True)
        label_axes(data, axes)
    file[PLAIN] = h5py.SoftLink(f"/{ROTATED}")
