"""Progress of long work: a bar on a terminal, a line a minute in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

log = logging.getLogger(__name__)
T = TypeVar("T")
LINE_EVERY_S = 60.0
WORTH_A_LINE_S = 0.5  # shorter work is logged with --verbose only


class _Rate(ProgressColumn):
    """Units done a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g} {task.fields['unit']}/s", style="progress.data.speed")


@contextmanager
def meter(*, description: str, total: int, unit: str) -> Iterator[Callable[[int | float], None]]:
    """Yield a function that takes the units just done; shows rate and time left on stderr.

    Parameters
    ----------
    description : what is being done, a word or two.
    total : units in all.
    unit : what a unit is, in the plural.
    """
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(description, total=total, unit=unit)
            yield lambda units: bar.update(task, advance=units)
        return
    start = last = time.monotonic()
    done: int | float = 0

    def advance(units: int | float) -> None:
        nonlocal done, last
        done += units
        now = time.monotonic()
        if now - last >= LINE_EVERY_S:
            rate = done / (now - start)
            log.info(
                "%s: %d of %d %s, %.3g/s, %.0f s left", description, done, total, unit, rate, (total - done) / rate
            )
            last = now

    yield advance
    seconds = time.monotonic() - start
    level = logging.INFO if seconds >= WORTH_A_LINE_S else logging.DEBUG
    log.log(level, "%s: %d %s in %.1f s", description, round(done), unit, seconds)


def track(items: Iterable[T], *, description: str, total: int, unit: str) -> Iterator[T]:
    """Yield the items one by one and show how many are done."""
    with meter(description=description, total=total, unit=unit) as advance:
        for item in items:
            yield item
            advance(1)
