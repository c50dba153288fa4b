"""Matrices on disk that are read some rows at a time: NumPy's own files, and HDF5."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Shaped

from deepmr import checks
from deepmr.errors import InputError
from deepmr.io.files import atomic_path

NPY = b"\x93NUMPY"
HDF5 = b"\x89HDF\r\n\x1a\n"
HDF5_SUFFIXES = (".h5", ".hdf5")
ROWS = 1024  # read at a time where the file has no chunks
DATASET = "matrix"  # stores of rotated markers have it too


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRows:
    """A matrix in an open file.

    Attributes
    ----------
    source : array or HDF5 dataset; rows are read by slicing.
    shape : rows and columns.
    rows : how many rows are best read at a time.
    """

    source: Any
    shape: tuple[int, int]
    rows: int

    def read(self, start: int, stop: int) -> Float[np.ndarray, "rows columns"]:
        """Return rows start to stop in double precision."""
        return np.asarray(self.source[start:stop], dtype=float)

    def blocks(self, rows: int | None = None) -> Iterator[Float[np.ndarray, "rows columns"]]:
        """Yield all rows in order, this many at a time."""
        step = self.rows if rows is None else rows
        checks.at_least("rows", step, 1)
        for start in range(0, self.shape[0], step):
            yield self.read(start, min(start + step, self.shape[0]))


@contextmanager
def open_rows(path: Path, *, names: tuple[str, ...] = (DATASET,)) -> Iterator[MatrixRows]:
    """Open a matrix to read its rows; closed afterwards.

    Parameters
    ----------
    path
        NumPy's `.npy`, or HDF5 with one two-dimensional array, or one of these names. Told apart by content.
    names
        Of the array in HDF5; the first that is there.

    Raises
    ------
    InputError
        When the file cannot be read, is neither, or holds no matrix or several.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if start.startswith(NPY):
        try:
            values = np.load(path, mmap_mode="r")
        except ValueError as error:
            raise InputError(f"{path}: not a whole .npy file: {error}") from error
        yield MatrixRows(source=values, shape=_matrix_shape(path, values), rows=ROWS)
    elif start == HDF5:
        with h5py.File(path, "r") as file:
            dataset = _only_matrix(path, file, names)
            chunk = dataset.chunks[0] if dataset.chunks else ROWS
            # Whole chunks, so that none is unpacked twice.
            yield MatrixRows(source=dataset, shape=_matrix_shape(path, dataset), rows=-(-ROWS // chunk) * chunk)
    else:
        raise InputError(f"{path}: a matrix as .npy or HDF5 is needed; the file is neither")


def write_rows(path: Path, matrix: Shaped[np.ndarray, "rows columns"], *, overwrite: bool = False) -> None:
    """Write a matrix whole or not at all: HDF5 where the name ends in .h5 or .hdf5, otherwise as .npy.

    Parameters
    ----------
    path
        Where it goes, under exactly this name.
    matrix
        To be written.
    overwrite
        Whether a file that is there may be replaced.

    Raises
    ------
    InputError
        When the file exists and may not be replaced, or cannot be written.
    """
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; choose another name, or say that it may be overwritten")
    with atomic_path(path) as temporary:
        if path.suffix in HDF5_SUFFIXES:
            with h5py.File(temporary, "w") as file:
                file.create_dataset(DATASET, data=matrix)
        else:
            with temporary.open("wb") as file:
                np.save(file, np.ascontiguousarray(matrix))


def _only_matrix(path: Path, file: h5py.File, names: tuple[str, ...]) -> Any:
    """Return the first array that has one of the names, or the only two-dimensional one."""
    for name in names:
        if isinstance(file.get(name), h5py.Dataset):
            return file[name]
    found: list[Any] = []
    file.visititems(lambda _, item: found.append(item) if getattr(item, "ndim", 0) == 2 else None)
    if len(found) != 1:
        there = ", ".join(item.name for item in found) or "none"
        raise InputError(f"{path}: one matrix, or one named {' or '.join(names)}, is needed; it has {there}")
    return found[0]


def _matrix_shape(path: Path, values: Any) -> tuple[int, int]:
    if len(values.shape) != 2:
        raise InputError(f"{path}: a matrix is needed; the array has {len(values.shape)} dimensions")
    return int(values.shape[0]), int(values.shape[1])
