"""Spectra of relationship matrices in HDF5, so that a matrix is decomposed once."""

import hashlib
import json
import logging
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from deepmr import __version__
from deepmr.errors import InputError
from deepmr.io.files import atomic_path
from deepmr.io.hdf5 import LIBVER, label_axes
from deepmr.io.locks import NumberedLocks
from deepmr.population.spectrum import Spectrum

FORMAT, FORMAT_VERSION = "deepmr-spectrum", "1.0"
logger = logging.getLogger(__name__)
LOCKS = "spectra.lock"
CHUNK = 1 << 20  # bytes of a chunk, about


def write_spectrum(
    spectrum: Spectrum, path: Path, *, samples: Sequence[str] | pd.Index, made_from: Mapping[str, Any] | None = None
) -> None:
    """Write a spectrum, whole or not at all.

    Parameters
    ----------
    spectrum
        To write.
    path
        File to write; an existing one is replaced.
    samples
        Identifiers, in the order of its columns.
    made_from
        What it follows from, such as checksums of files and options; `read_spectrum` compares it.

    Raises
    ------
    InputError
        When the identifiers are not as many as the samples, or not each their own.
    """
    names = [str(sample) for sample in samples]
    if len(names) != spectrum.n or len(set(names)) != len(names):
        raise InputError(
            f"{path}: the spectrum is of {spectrum.n} samples; got {len(set(names))} different identifiers of "
            f"{len(names)}"
        )
    about = {
        "mean_diagonal": spectrum.mean_diagonal,
        "scale": spectrum.scale,
        "kept": spectrum.kept,
        "source": spectrum.source,
        "made_from": _text(made_from),
    }
    vectors = np.ascontiguousarray(spectrum.vectors, dtype=float)
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver=LIBVER) as file:
        file.attrs.update({"format": FORMAT, "format_version": FORMAT_VERSION, "deepmr_version": __version__, **about})
        file.create_dataset("samples", data=names, dtype=h5py.string_dtype())
        file.create_dataset("eigenvalues", data=spectrum.eigenvalues)
        rows = max(1, min(CHUNK // max(8 * spectrum.n, 1), max(spectrum.rank, 1)))
        chunks = (rows, spectrum.n) if vectors.size else None
        label_axes(file.create_dataset("vectors", data=vectors, chunks=chunks), "eigenvector sample")
        file.attrs["sha256"] = _checksum(about, names, spectrum.eigenvalues, vectors)


def read_spectrum(
    path: Path, *, samples: Sequence[str] | pd.Index | None = None, made_from: Mapping[str, Any] | None = None
) -> Spectrum:
    """Read what `write_spectrum` wrote.

    Parameters
    ----------
    path
        File to read.
    samples
        Identifiers that it must be of; in another order, its columns are put into this one.
    made_from
        What it must follow from; not compared unless given.

    Raises
    ------
    InputError
        When the file is damaged or of another kind, of other samples, or made from something else.
    """
    try:
        with h5py.File(path, "r") as file:
            attrs = {
                name: value.item() if isinstance(value, np.generic) else value for name, value in file.attrs.items()
            }
            _check_format(path, attrs)
            about = {name: attrs[name] for name in ("mean_diagonal", "scale", "kept", "source", "made_from")}
            names = file["samples"].asstr()[:].tolist()
            values, vectors = file["eigenvalues"][:], file["vectors"][:]
            whole = attrs["sha256"] == _checksum(about, names, values, vectors)
    except KeyError as error:
        raise InputError(f"{path}: damaged: {error.args[0]}") from error
    except (OSError, RuntimeError, ValueError, TypeError, AttributeError, MemoryError) as error:  # what h5py raises
        why = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as a spectrum: {why}") from error
    if not whole:
        raise InputError(f"{path}: damaged: its content does not have the checksum that it was written with")
    if made_from is not None and about["made_from"] != _text(made_from):
        raise InputError(f"{path}: {_difference(json.loads(about['made_from']), json.loads(_text(made_from)))}")
    spectrum = Spectrum(
        eigenvalues=values,
        vectors=vectors,
        mean_diagonal=about["mean_diagonal"],
        scale=about["scale"],
        source=about["source"],
        kept=about["kept"],
    )
    return spectrum if samples is None else _of_samples(path, spectrum, names, samples)


def cached_spectra(
    make: Callable[[str], Spectrum],
    folder: Path,
    *,
    samples: Sequence[str] | pd.Index,
    made_from: Mapping[str, Any],
) -> Callable[[str], Spectrum]:
    """Return a function from a chromosome to its spectrum that reads it from a folder, or makes and writes it.

    Parameters
    ----------
    make
        From a chromosome to the spectrum made without it, such as a `LeaveOneOut`; "" stands for none.
    folder
        Where spectra are; it must exist. A file that is damaged, of other samples or made otherwise is replaced. Of
        several processes that lack one at the same time, one makes it and the others wait.
    samples
        Identifiers.
    made_from
        All that the spectra depend on, but for the chromosome.
    """

    def spectrum(chrom: str) -> Spectrum:
        path = folder / f"spectrum{re.sub(r'[^A-Za-z0-9]', '_', f'.without.{chrom}') if chrom else ''}.h5"
        wanted = {**made_from, "without": chrom}
        with suppress(InputError):
            return read_spectrum(path, samples=samples, made_from=wanted)
        with _alone(path):
            try:
                return read_spectrum(path, samples=samples, made_from=wanted)  # made by another process meanwhile
            except InputError as error:
                if path.exists():
                    logger.warning("%s; made anew", error)
                made = make(chrom)
                write_spectrum(made, path, samples=samples, made_from=wanted)
                return made

    return spectrum


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process makes this file, and let none make it meanwhile, where the file system has locks."""
    try:
        locks = NumberedLocks(path.with_name(LOCKS))
    except OSError:  # a folder that cannot be written to is told of when the spectrum is
        yield
        return
    number = zlib.crc32(path.name.encode()) >> 1
    try:
        if not locks.take(number):
            logger.info("%s: waiting for another process, which makes it", path)
            locks.wait(number)
        yield
    finally:
        locks.close()


def _check_format(path: Path, attrs: Mapping[str, Any]) -> None:
    if attrs.get("format") != FORMAT:
        raise InputError(f"{path} is not a spectrum: its format is {attrs.get('format')!r}, not {FORMAT!r}")
    version = str(attrs.get("format_version"))
    if version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
        raise InputError(f"{path} has format version {version}; this deepmr reads {FORMAT_VERSION}: make it anew")


def _of_samples(path: Path, spectrum: Spectrum, names: list[str], samples: Sequence[str] | pd.Index) -> Spectrum:
    wanted = [str(sample) for sample in samples]
    if wanted == names:
        return spectrum
    at = pd.Index(names).get_indexer(pd.Index(wanted, dtype=object))
    absent = [sample for sample, row in zip(wanted, at, strict=True) if row < 0]
    if absent:
        raise InputError(
            f"{path}: is of other samples: {len(absent)} of {len(wanted)} are not in it, first {absent[0]!r}"
        )
    if len(set(wanted)) != len(names) or len(wanted) != len(names):
        raise InputError(f"{path}: is of other samples: of {len(names)}, where {len(wanted)} are needed")
    return Spectrum(
        eigenvalues=spectrum.eigenvalues,
        vectors=np.ascontiguousarray(spectrum.vectors[:, at]),
        mean_diagonal=spectrum.mean_diagonal,
        scale=spectrum.scale,
        source=spectrum.source,
        kept=spectrum.kept,
    )


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    for name in (*wanted, *found):
        if found.get(name) != wanted.get(name):
            return f"made from something else: {name} is {found.get(name)!r} in it, and {wanted.get(name)!r} is needed"
    return "made from something else"


def _text(made_from: Mapping[str, Any] | None) -> str:
    return json.dumps(made_from or {}, sort_keys=True, default=str)


def _checksum(about: Mapping[str, Any], names: list[str], values: np.ndarray, vectors: np.ndarray) -> str:
    digest = hashlib.sha256(json.dumps([about, names, values.shape, vectors.shape], sort_keys=True).encode())
    digest.update(np.ascontiguousarray(values, dtype="<f8").data)
    digest.update(np.ascontiguousarray(vectors, dtype="<f8").data)
    return digest.hexdigest()
