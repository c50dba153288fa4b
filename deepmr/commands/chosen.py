"""Instruments of effects of edits as the options of `deepmr mr` say: for the commands that select them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepmr.commands.assigned import choose_models
from deepmr.commands.source import Source, mean_blocks, pooled_blocks, split_blocks
from deepmr.errors import InputError
from deepmr.instruments.direction import Assignment
from deepmr.instruments.independence import overlapping
from deepmr.instruments.spans import Spans
from deepmr.instruments.strength import (
    EffectScale,
    Selection,
    scales_of_parts,
    select_pairs,
    select_split,
)
from deepmr.io.spans import read_spans
from deepmr.ism.calibration import Calibration
from deepmr.mr import estimate_effects
from deepmr.mr.splitting import average_halves
from deepmr.types import Estimates, Instruments

log = logging.getLogger(__name__)
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Instruments of every pair.

    Attributes
    ----------
    ways : a list of all pairs; two of them where one half of the members selects for the other.
    scales : how large effects are on each task.
    dropped : strong edits of each pair that were dropped as those of another task.
    """

    ways: tuple[tuple[Instruments, ...], ...]
    scales: Mapping[str, EffectScale]
    dropped: tuple[int, ...] = ()

    def estimate(self, *, methods: Sequence[str], min_instruments: int, level: float) -> Estimates:
        """Estimate the effects; those of halves of the members are averaged.

        Parameters
        ----------
        methods, min_instruments, level : see `estimate_effects`.
        """
        parts = [
            estimate_effects(list(way), methods=methods, min_instruments=min_instruments, level=level)
            for way in self.ways
        ]
        return parts[0] if len(parts) == 1 else average_halves(parts, level=level)


def read_selection(source: Source, exposures: Sequence[str], *, options: Mapping[str, Any]) -> Selection:
    """Return the rule that options of `deepmr mr` name, with the spans of each exposure.

    Parameters
    ----------
    source : the effects.
    exposures : tasks that are taken as the cause.
    options : rule, threshold, significance, spans and motif; defaults for those that are not there.

    Raises
    ------
    InputError
        For a rule that lacks its spans, spans without their rule, a file of spans that cannot be used, or a motif that
        none of them has.
    """
    how = {name: options[name] for name in ("rule", "threshold", "significance") if name in options}
    path, motif = options.get("spans"), options.get("motif") or []
    if (how.get("rule") == "motif") != (path is not None):
        raise InputError(
            "rule motif needs --spans, the file of the stretches in which instruments may lie"
            if path is None
            else "--spans is for --rule motif"
        )
    if path is None:
        if motif:
            raise InputError("--motif names spans: it is for --rule motif with --spans")
        return Selection(**how)
    whole = read_spans(Path(path), _sequences(source), loci=source.loci, chroms=_chroms(source, exposures))
    return Selection(**how, spans=_by_exposure(whole, list(dict.fromkeys(exposures)), motif, source))


def _sequences(source: Source) -> Any:
    return None if source.file is None else source.file.sequences


def _chroms(source: Source, exposures: Sequence[str]) -> set[str]:
    frame = source.file.loci if source.file is not None else next(source.blocks(list(exposures)[:1], False)).variants
    return set(frame["chrom"].astype(str))


def _by_exposure(spans: Spans, exposures: Sequence[str], motif: Sequence[str], source: Source) -> dict[str, Spans]:
    """Give each exposure the spans with the names that `motif` lists for it: NAME for all, EXPOSURE=NAME for one."""
    if not motif:
        return dict.fromkeys(exposures, spans)
    tasks = {task.name for task in source.tasks}
    wanted: dict[str, list[str]] = {exposure: [] for exposure in exposures}
    for entry in motif:
        task, _, name = entry.rpartition("=")
        if task and task not in tasks:
            raise InputError(f"--motif {entry}: there is no task {task!r}; the effects have {', '.join(sorted(tasks))}")
        for exposure in exposures if not task else [task] if task in wanted else []:
            wanted[exposure].append(name)
    for exposure, names in wanted.items():
        if not names:
            raise InputError(f"--motif names no spans for the exposure {exposure}: add {exposure}=NAME, or --exposure")
    return {exposure: spans.named(names) for exposure, names in wanted.items()}


def choose_instruments(
    source: Source,
    pairs: Sequence[Pair],
    *,
    selection: Selection,
    calibration: Calibration | None = None,
    scaling: Literal["variance", "isotonic"] = "variance",
    level: float = 0.95,
    split: bool = False,
    assign: Assignment = "none",
) -> Chosen:
    """Select the instruments of every pair in two passes over the effects: how large they are, and which are strong.

    Parameters
    ----------
    source : the effects.
    pairs : exposure and outcome of each.
    selection : how strong an instrument must be.
    calibration, scaling, level : see `pool_members`.
    split : whether one half of the members selects for the other.
    assign : which strong edits belong to the exposure, see `deepmr.instruments.direction.is_own`.
    """
    if assign != "none":
        if split:
            raise InputError("--assign and --split-members are one or the other")
        models = [((exposure,), outcome) for exposure, outcome in pairs]
        found = choose_models(
            source, models, selection=selection, assign=assign, calibration=calibration, scaling=scaling, level=level
        )
        ways_of_one = tuple(one.instruments for one in found.chosen)
        return Chosen(ways=(ways_of_one,), scales=found.scales, dropped=tuple(one.dropped for one in found.chosen))
    tasks = sorted({task for pair in pairs for task in pair})
    if split and not source.has_members:
        raise InputError("splitting the members needs effects of single members; these are means")
    how: dict[str, Any] = {"calibration": calibration, "scaling": scaling, "level": level}
    sizes = mean_blocks(source, tasks, description="sizes of effects", calibration=calibration, split=split)
    scales = scales_of_parts(sizes, traits=tasks)
    shared: dict[str, Any] = {"pairs": pairs, "loci": source.loci, "selection": selection}
    if split:
        halves = split_blocks(source, tasks, description="instruments", **how)
        ways = zip(*select_split(halves, scales=scales, **shared), strict=True)
        return Chosen(ways=tuple(ways), scales=scales[0])
    stats = pooled_blocks(source, tasks, description="instruments", **how)
    return Chosen(ways=(tuple(select_pairs(stats, scales=scales[0], **shared)),), scales=scales[0])


def warn_of_copies(instruments: Sequence[Instruments]) -> None:
    """Log a warning for every exposure whose instruments overlap each other.

    Parameters
    ----------
    instruments : of every pair.
    """
    for exposure, packed in {packed.exposure: packed for packed in instruments}.items():
        copies = int(overlapping(packed).sum())
        if copies:
            log.warning(
                "%d of %d instruments of %s overlap one before them in their locus: windows of a scan that overlap are "
                "near-copies, so instruments are fewer than they look and the error from their scatter is too small; "
                "scan with a --step of at least the width",
                copies,
                len(packed.variants),
                exposure,
            )
