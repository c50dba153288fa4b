"""Locks that end with the process which holds them, however it ends: the kernel keeps them."""

import os
from contextlib import suppress
from pathlib import Path


class NumberedLocks:
    """Locks with numbers on one file, each held by one process at a time.

    A process has at most one such object for a file: closing a second one would end the locks of the first, by the
    rules of POSIX. They hold on file systems over a network where the server knows locks.

    Parameters
    ----------
    path : file to lock; made where there is none, and never written to.
    """

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def take(self, number: int) -> bool:
        """Take a lock unless another process holds it; return whether it was taken.

        Parameters
        ----------
        number : from 0 on.
        """
        try:
            _lock(self._handle, number)
        except OSError:
            return False
        return True

    def wait(self, number: int) -> None:
        """Take a lock as soon as no other process holds it; go on without where the file system has no locks.

        Parameters
        ----------
        number : from 0 on.
        """
        with suppress(OSError):
            _wait(self._handle, number)

    def give(self, number: int) -> None:
        """Give a lock back.

        Parameters
        ----------
        number : that was taken.
        """
        _unlock(self._handle, number)

    def close(self) -> None:
        """Give all of them back."""
        os.close(self._handle)


if os.name == "nt":
    import msvcrt

    def _lock(handle: int, number: int) -> None:
        os.lseek(handle, number, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]

    def _wait(handle: int, number: int) -> None:
        while True:
            os.lseek(handle, number, os.SEEK_SET)
            with suppress(OSError):  # gives up after ten seconds
                msvcrt.locking(handle, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined, unused-ignore]
                return

    def _unlock(handle: int, number: int) -> None:
        os.lseek(handle, number, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined, unused-ignore]

else:
    import fcntl

    def _lock(handle: int, number: int) -> None:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)

    def _wait(handle: int, number: int) -> None:
        fcntl.lockf(handle, fcntl.LOCK_EX, 1, number)

    def _unlock(handle: int, number: int) -> None:
        fcntl.lockf(handle, fcntl.LOCK_UN, 1, number)
