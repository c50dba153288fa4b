"""Effects of edits, whichever file they are in: what the commands after `deepmr ism` read."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from deepmr.commands.progress import track
from deepmr.errors import InputError
from deepmr.io.effect_tables import read_effect_table
from deepmr.io.effects import EffectsFile, open_effects
from deepmr.ism.calibration import Calibration
from deepmr.ism.members import merge_members, pool_members, same_effects, split_members
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
        members. Whether variants have their names, which takes time, is the second argument.
    has_members : whether the effects are those of single members, which a calibration corrects.
    file : the open effects file; None for a table.
    network : the network of each member, where some members are the same one or one with other dropout masks: these
        count as one; None where every member counts.
    """

    tasks: tuple[Task, ...]
    loci: tuple[str, ...]
    n_variants: int
    n_blocks: int
    blocks: Callable[[Sequence[str], bool], Iterator[MemberEffects | SummaryStats]]
    has_members: bool = True
    file: EffectsFile | None = None
    network: Int[np.ndarray, "members"] | None = None


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
                blocks=lambda tasks, named: file.blocks(BLOCK, tasks=tasks, named=named),
                file=file,
                network=_networks(path, next(file.blocks(BLOCK)), file.members),
            )
        return
    table, loci = read_effect_table(path)
    tasks = tuple(Task(name=name) for name in table.traits) if isinstance(table, SummaryStats) else table.tasks
    yield Source(
        tasks=tasks,
        loci=tuple(loci),
        n_variants=len(table.variants),
        n_blocks=1,
        blocks=lambda *_: iter([table]),
        has_members=isinstance(table, MemberEffects),
        network=_networks(path, table, None) if isinstance(table, MemberEffects) else None,
    )


def _networks(path: Path, effects: MemberEffects, members: pd.DataFrame | None) -> Int[np.ndarray, "members"] | None:
    """Number members by network where some are the same network, or one with several masks; say so in a warning."""
    n = len(effects.delta)
    number = same_effects(effects)  # bit by bit over many edits: no two trainings give that
    names = [str(k + 1) for k in range(n)] if members is None else members["name"].astype(str).tolist()
    sums = [""] * n if members is None else members["sha256"].astype(str).tolist()
    for k, text in enumerate(sums):
        number[k] = number[sums.index(text)] if text else number[k]
    if (distinct := len(np.unique(number))) < n:
        again = next(k for k in range(n) if number[k] in number[:k])
        twin = names[int(np.argmax(number == number[again]))]
        if distinct == 1:
            raise InputError(f"{path}: its {n} members are one network, {twin}; copies have no spread: needed another")
        log.warning(
            "%s: members %s and %s are the same network; its %d members count as %d, since copies have no spread",
            path, twin, names[again], n, distinct,
        )  # fmt: skip
    if members is not None and "mask_seed" in members:
        masked, networks = pd.factorize(pd.Series(names).str.replace(r"_mask\d+$", "", regex=True))
        if 1 < len(networks) < n:
            number, distinct = np.asarray(masked), len(networks)
            log.warning(
                "%s: its %d members are dropout masks of %d networks: masks share the weights of their network and "
                "thus its errors, so they are averaged, and each network counts as one member", path, n, distinct,
            )  # fmt: skip
        elif len(networks) == 1:
            log.warning(
                "%s: its %d members are dropout masks of one network: their spread says how unsure that network is, "
                "not how another training would differ, so intervals may be far too short", path, n,
            )  # fmt: skip
    return None if distinct == n else np.unique(number, return_inverse=True)[1]


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
    for block in member_blocks(source, tasks, description=description):
        if isinstance(block, SummaryStats):
            yield block
        else:
            yield pool_members(block, calibration=calibration, scaling=scaling, level=level)


def split_blocks(
    source: Source,
    tasks: Sequence[str],
    *,
    description: str,
    calibration: Calibration | None = None,
    scaling: Literal["variance", "isotonic"] = "variance",
    level: float = 0.95,
) -> Iterator[list[SummaryStats]]:
    """Yield what `pooled_blocks` yields by each half of the members.

    Parameters
    ----------
    source : the effects.
    tasks : names of the tasks to read.
    description : what is being done, for the progress.
    calibration, scaling, level : see `pool_members`.

    Raises
    ------
    InputError
        For effects without members, or fewer than four networks.
    """
    for block in member_blocks(source, tasks, description=description):
        if isinstance(block, SummaryStats):
            raise InputError("splitting the members needs effects of single members; these are means")
        halves = split_members(block)
        yield [pool_members(half, calibration=calibration, scaling=scaling, level=level) for half in halves]


def mean_blocks(
    source: Source,
    tasks: Sequence[str],
    *,
    description: str,
    calibration: Calibration | None = None,
    split: bool = False,
) -> Iterator[list[Float[np.ndarray, "variants tasks"]]]:
    """Yield the mean effects alone, by all members or by each half: quicker than `pooled_blocks`, and the same numbers.

    Parameters
    ----------
    source : the effects.
    tasks : names of the tasks to read.
    description : what is being done, for the progress.
    calibration : see `pool_members`.
    split : whether to yield two arrays, one a half.
    """
    temperature = np.array([1.0 if calibration is None else calibration.temperature(name) for name in tasks])
    for block in member_blocks(source, tasks, description=description, named=False):
        if isinstance(block, SummaryStats):
            yield [block.beta[:, [block.traits.index(name) for name in tasks]]]
            continue
        columns = [[task.name for task in block.tasks].index(name) for name in tasks]
        parts = split_members(block) if split else [block]
        yield [part.delta[:, :, columns].mean(axis=0, dtype=np.float64) / temperature for part in parts]


def member_blocks(
    source: Source, tasks: Sequence[str], *, description: str, named: bool = True
) -> Iterator[MemberEffects | SummaryStats]:
    """Yield the effects that every network says, some loci at a time, and show how far it has got.

    Parameters
    ----------
    source : the effects.
    tasks : names of the tasks to read.
    description : what is being done, for the progress.
    named : whether variants need their names.
    """
    for block in track(source.blocks(tasks, named), description=description, total=source.n_blocks, unit="blocks"):
        if source.network is not None and isinstance(block, MemberEffects):
            yield merge_members(block, source.network)
        else:
            yield block
