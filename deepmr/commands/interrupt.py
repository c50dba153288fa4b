"""Ctrl-C between units of work, not within one."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)


@contextmanager
def finish_unit_first() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C back until the unit in hand is done; a second one stops at once.

    Yields
    ------
    A function to call after each unit: raises the KeyboardInterrupt that was held back.
    """
    asked = False

    def hold(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        log.warning("finishing the unit in hand; press Ctrl-C again to stop at once")

    def stop_if_asked() -> None:
        if asked:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield stop_if_asked  # signals belong to the main thread
        return
    before = signal.signal(signal.SIGINT, hold)
    try:
        yield stop_if_asked
    finally:
        signal.signal(signal.SIGINT, before)
