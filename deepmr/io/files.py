"""Atomic writing: a file is there whole or not at all."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepmr.errors import DeepMRError, InputError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed, on failure removed.

    Parameters
    ----------
    path
        Where the finished file goes; its folder must exist.

    Raises
    ------
    InputError
        When the folder is missing or cannot be written to.
    DeepMRError
        When the disk is full.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix or ".tmp")
    except OSError as error:
        raise _explained(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise _explained(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path, *, overwrite: bool) -> None:
    """Raise `InputError` unless `path` can be written: its folder is there, and it is new or may be replaced.

    Parameters
    ----------
    path
        File or folder about to be written.
    overwrite
        Whether one that is there may be replaced.
    """
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; choose another name or pass --overwrite")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the folder {path.parent} is not writable")


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename survives a crash; does nothing where that is not possible."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def _explained(path: Path, error: OSError) -> DeepMRError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DeepMRError(f"{path}: no space left on the disk; nothing was written")
    reason = error.strerror or str(error)
    kind = InputError if isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError) else DeepMRError
    return kind(f"{path}: cannot be written: {reason}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
