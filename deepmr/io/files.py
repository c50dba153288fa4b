"""Whole files: read with their compression undone; written whole or not at all."""

import errno
import gzip
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deepmr.errors import DeepMRError, InputError

GZIP = b"\x1f\x8b"
BGZIP_FIELD = slice(12, 14), b"BC"  # where a block of bgzip names its extra field, and what it says there
BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")  # the empty last block
FULL = {errno.ENOSPC, errno.EDQUOT}
REFUSED = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}


def read_bytes(path: Path) -> bytes:
    """Read a whole file, decompressed where its content (not its name) is gzip or bgzip.

    Parameters
    ----------
    path
        File to read.

    Raises
    ------
    InputError
        When it cannot be read, or its compressed data are truncated or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {_reason(error)}") from error
    if not content.startswith(GZIP):
        return content
    where, mark = BGZIP_FIELD
    if content[where] == mark and not content.endswith(BGZIP_END):  # cut between two blocks, each of which is whole
        raise InputError(f"{path}: the bgzip data are truncated: their end marker is missing")
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: the gzip data are truncated or damaged: {_reason(error)}") from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed, on failure removed.

    Parameters
    ----------
    path
        Where the finished file goes; its folder must exist. The temporary name has the same suffix, and no file has it.

    Raises
    ------
    InputError
        When the folder is missing or cannot be written to.
    DeepMRError
        When the disk is full.
    """
    _check_folder(path)
    temporary = _temporary(path)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise _explained(path, error) from error
    finally:
        with suppress(OSError):  # the first error is the one to tell
            temporary.unlink(missing_ok=True)


def check_writable(path: Path, *, overwrite: bool) -> None:
    """Raise `InputError` unless `path` can be written: its folder takes files, and it is new or may be replaced.

    Parameters
    ----------
    path
        File or folder about to be written.
    overwrite
        Whether one that is there may be replaced.
    """
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; choose another name or pass --overwrite")
    _check_folder(path)
    temporary = _temporary(path)
    try:
        temporary.touch(exist_ok=False)  # permissions alone do not tell: the disk may be read-only or full
    except OSError as error:
        raise _explained(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


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


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist")


def _temporary(path: Path) -> Path:
    """Return a new name `.<name>.<random><suffix>`; `shards.remove_strays` knows it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{path.suffix or '.tmp'}")


def _explained(path: Path, error: OSError) -> DeepMRError:
    if error.errno in FULL:
        return DeepMRError(f"{path}: no space left on the disk; nothing was written")
    return (InputError if error.errno in REFUSED else DeepMRError)(f"{path}: cannot be written: {_reason(error)}")


def _reason(error: Exception) -> str:
    """Return one line: HDF5 puts many into an error, and no `strerror`."""
    return getattr(error, "strerror", None) or " ".join(str(error).split())
