"""Effects of edits, whichever file they are in: what the commands after `deepmr ism` read."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py

from deepmr.commands.progress import track
from deepmr.io.effect_tables import read_effect_table
from deepmr.io.effects import EffectsFile, open_effects
from deepmr.ism.calibration import Calibration
from deepmr.ism.members import pool_members
from deepmr.types import MemberEffects, SummaryStats, Task

log = logging.getLogger(__name__)
BLOCK = 64  # loci in memory at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where effects come from.

    Attributes
    ----------
    tasks, loci : in the order of the file.
    n_variants : edits over all loci.
    n_blocks : how many blocks there are.
    blocks : yields the effects on the named tasks, some loci at a time; means and standard errors where the file has no
        members.
    has_members : whether the effects are those of single members, which a calibration corrects.
    file : the open effects file; None for a table.
    """

    tasks: tuple[Task, ...]
    loci: tuple[str, ...]
    n_variants: int
    n_blocks: int
    blocks: Callable[[Sequence[str]], Iterator[MemberEffects | SummaryStats]]
    has_members: bool = True
    file: EffectsFile | None = None


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open an effects file, or read a table of effects made elsewhere.

    Parameters
    ----------
    path : HDF5, TSV or NPZ.
    """
    if path.suffix in {".h5", ".hdf5"} or (path.is_file() and h5py.is_hdf5(path)):
        with open_effects(path) as file:
            if file.attrs.get("engine") == "gradient":
                log.warning("%s holds effects to first order, a first look: no ground for estimates", path)
            yield Source(
                tasks=file.tasks,
                loci=tuple(file.loci["locus"]),
                n_variants=file.n_variants,
                n_blocks=math.ceil(len(file.loci) / BLOCK),
                blocks=lambda names: file.blocks(BLOCK, tasks=names),
                file=file,
            )
        return
    table, loci = read_effect_table(path)
    tasks = tuple(Task(name=name) for name in table.traits) if isinstance(table, SummaryStats) else table.tasks
    yield Source(
        tasks=tasks,
        loci=tuple(loci),
        n_variants=len(table.variants),
        n_blocks=1,
        blocks=lambda _: iter([table]),
        has_members=isinstance(table, MemberEffects),
    )


def pooled_blocks(
    source: Source,
    tasks: Sequence[str],
    *,
    description: str,
    calibration: Calibration | None = None,
    scaling: Literal["variance", "isotonic"] = "variance",
    level: float = 0.95,
) -> Iterator[SummaryStats]:
    """Yield the effects with their standard errors, some loci at a time, and show how far it has got.

    Parameters
    ----------
    source : the effects.
    tasks : names of the tasks to read.
    description : what is being done, for the progress.
    calibration, scaling, level : see `pool_members`; without meaning for effects that have no members.
    """
    for block in track(source.blocks(tasks), description=description, total=source.n_blocks, unit="blocks"):
        if isinstance(block, SummaryStats):
            yield block
        else:
            yield pool_members(block, calibration=calibration, scaling=scaling, level=level)
