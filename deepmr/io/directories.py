"""Atomic writing of directories: one is there whole or not at all, and only one of ours is ever replaced."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepmr.errors import DeepMRError, InputError
from deepmr.io.files import sync_folder


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory beside `path` that takes its place when the block ends well, and is removed otherwise.

    Parameters
    ----------
    path
        Where the finished directory goes; one that is there is replaced, so call `check_directory` first.

    Raises
    ------
    DeepMRError
        When it cannot be written.
    """
    try:
        scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    except OSError as error:
        raise DeepMRError(f"{path}: cannot be written: {error.strerror}") from error
    folder, old = scratch / "new", scratch / "old"
    try:
        folder.mkdir()  # unlike the scratch directory, with the permissions that the user's umask gives
        yield folder
        if path.exists():
            path.rename(old)
        try:
            folder.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise DeepMRError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_directory(path: Path, *, marker: str, overwrite: bool) -> None:
    """Raise `InputError` unless a directory can be made at `path`.

    Parameters
    ----------
    path
        Directory about to be made.
    marker
        File that tells a directory of the same kind; no other directory is replaced unless it is empty.
    overwrite
        Whether one of the same kind may be replaced.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the folder {path.parent} is not writable")
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / marker).is_file():
        raise InputError(f"{path} exists and has no {marker}; it is left alone, choose another name")
    if not overwrite:
        raise InputError(f"{path} exists; choose another name or pass --overwrite")
