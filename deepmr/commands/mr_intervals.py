"""Estimates of `deepmr mr` with the intervals that were asked for, and with resampled members where they are given."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from deepmr import checks
from deepmr.commands.chosen import Chosen
from deepmr.commands.source import Source, member_blocks
from deepmr.errors import InputError
from deepmr.inference import MemberInterval
from deepmr.ism.calibration import Calibration, sequence_digests
from deepmr.mr import METHODS, estimate_effects
from deepmr.mr.gls import egger_gls, ivw_gls
from deepmr.mr.intervals import MEANINGS, WITH_BOOTSTRAP, member_intervals
from deepmr.mr.resampled_members import larger_errors, resampled_instruments
from deepmr.mr.resampling import Estimator, jackknife_members
from deepmr.report.words import percent
from deepmr.types import Estimates, Instruments, SummaryStats, concat_estimates

# Methods whose weights are made from what members share, by what runs them so.
GLS: dict[str, Estimator] = {
    "ivw_gls": partial(ivw_gls, weights="joint"),
    "egger_gls": partial(egger_gls, weights="joint"),
    "debiased_gls": METHODS["debiased_gls"],
    "profile_score": METHODS["profile_score"],
}


def check_interval(interval: MemberInterval, methods: Sequence[str], *, bootstrap: bool, split: bool) -> None:
    """Raise `InputError` for an interval that the methods, or resampled members, do not go with.

    Parameters
    ----------
    interval : that was asked for.
    methods : estimators.
    bootstrap : whether effects of resampled members are given.
    split : whether one half of the members selects the instruments of the other.
    """
    checks.one_of("interval", interval, get_args(MemberInterval))
    if interval == "gls":
        for name in methods:
            if name not in GLS:
                raise InputError(f"interval gls goes with the methods {', '.join(GLS)}; got {name}")
    if split and bootstrap:
        raise InputError("--split-members and --bootstrap are one or the other")
    if split and interval not in WITH_BOOTSTRAP:
        raise InputError(f"--split-members goes with the intervals {', '.join(WITH_BOOTSTRAP)}; got {interval}")
    if bootstrap and interval not in WITH_BOOTSTRAP:
        raise InputError(f"--bootstrap goes with the intervals {', '.join(WITH_BOOTSTRAP)}; got {interval}")


def estimates_with_intervals(
    chosen: Chosen,
    resampled: Sequence[Instruments] | None,
    *,
    methods: Sequence[str],
    interval: MemberInterval,
    min_instruments: int,
    level: float,
) -> tuple[Estimates, dict[str, object]]:
    """Estimate every pair with every method; give the intervals, and what a summary says of them.

    Parameters
    ----------
    chosen : instruments of each pair; without shared errors, the methods' own intervals are given.
    resampled : the same with the errors of resampled members, or None.
    methods, min_instruments, level : as for `estimate_effects`.
    interval : see `deepmr.mr.intervals.member_intervals`.
    """
    instruments = chosen.ways[0]
    if all(packed.error_factors is None for packed in instruments):
        return chosen.estimate(methods=methods, min_instruments=min_instruments, level=level), {}
    said: dict[str, object] = {"interval": f"{interval}: {percent(level)} intervals {MEANINGS[interval]}"}
    if interval in ("gls", "jackknife"):
        found = []
        for packed in instruments:
            for name in methods:
                method = GLS.get(name, METHODS[name]) if interval == "gls" else METHODS[name]
                run = partial(method, min_instruments=min_instruments, level=level)
                found.append(run(packed) if interval == "gls" else jackknife_members(packed, run, level=level))
        estimates = concat_estimates(found)
    else:
        estimates = chosen.estimate(methods=methods, min_instruments=min_instruments, level=level)
    if resampled is not None:
        others = estimate_effects(resampled, methods=methods, min_instruments=min_instruments, level=level)
        estimates, choices = larger_errors(estimates, others)
        said["bootstrap"] = [asdict(choice) for choice in choices]
    return member_intervals(estimates, kind=interval, level=level), said


def resampled_pairs(
    instruments: Sequence[Instruments],
    source: Source,
    other: Source,
    *,
    path: Path,
    calibration: Calibration | None,
) -> list[Instruments]:
    """Return the instruments of every pair with the errors of resampled members.

    Parameters
    ----------
    instruments : of each pair, chosen on the effects of `source`.
    source, other : effects of the ensemble, and of the resampled one: the same loci, edits and tasks.
    path : of the latter, for messages.
    calibration : gives the temperature of binary tasks; its factor of the spread is of the ensemble's own members.

    Raises
    ------
    InputError : where the two do not hold the same loci, edits and tasks, as many members, or are the same networks.
    """
    names = sorted({name for packed in instruments for name in (*packed.exposures, packed.outcome)})
    _check_alike(source, other, names, path)
    scale = np.ones(len(names)) if calibration is None else np.array([calibration.temperature(n) for n in names])
    wanted = pd.MultiIndex.from_frame(
        pd.concat([packed.variants[["locus", "variant_id"]] for packed in instruments], ignore_index=True)
    ).unique()
    rows = np.full(len(wanted), False)
    effects: np.ndarray | None = None
    for block in member_blocks(other, names, description="resampled members"):
        if isinstance(block, SummaryStats):
            raise InputError(f"{path}: has no members; needed the effects of single networks")
        order = [[task.name for task in block.tasks].index(name) for name in names]
        here = pd.MultiIndex.from_frame(block.variants[["locus", "variant_id"]]).get_indexer(wanted)
        if effects is None:
            effects = np.zeros((len(block.delta), len(wanted), len(names)))
        effects[:, here >= 0] = block.delta[:, here[here >= 0]][:, :, order] / scale
        rows |= here >= 0
    if effects is None or not rows.all():
        missing = wanted[int(np.argmin(rows))] if len(wanted) else ("", "")
        raise InputError(f"{path}: has no effect of the edit {missing[1]} of locus {missing[0]}; needed the same edits")
    own = instruments[0].error_factors
    if own is not None and len(own) != len(effects):
        raise InputError(f"{path}: has {len(effects)} members; needed {len(own)}, as many as the ensemble has")
    return [_resampled(packed, effects, wanted, names) for packed in instruments]


def _resampled(packed: Instruments, effects: np.ndarray, wanted: pd.MultiIndex, names: Sequence[str]) -> Instruments:
    at = wanted.get_indexer(pd.MultiIndex.from_frame(packed.variants[["locus", "variant_id"]]))
    traits = [names.index(name) for name in (*packed.exposures, packed.outcome)]
    return resampled_instruments(packed, effects[:, at][:, :, traits])


def _check_alike(source: Source, other: Source, names: Sequence[str], path: Path) -> None:
    if not (source.has_members and other.has_members):
        raise InputError(f"{path}: --bootstrap needs effects of single members in both files")
    tasks = [task.name for task in other.tasks]
    for name in names:
        if name not in tasks:
            raise InputError(f"{path}: has no task {name!r}; it has {', '.join(tasks)}")
    if source.loci != other.loci:
        first = next((a for a, b in zip(source.loci, other.loci, strict=False) if a != b), "their number")
        raise InputError(f"{path}: needed the loci of the effects in their order; they differ, first at {first}")
    if source.n_variants != other.n_variants:
        raise InputError(
            f"{path}: has {other.n_variants} edits; needed the same edits as the effects, {source.n_variants}"
        )
    if source.file is not None and other.file is not None:
        if sequence_digests(source.file.sequences) != sequence_digests(other.file.sequences):
            raise InputError(f"{path}: its loci have other sequences than those of the effects, under the same names")
        both = set(source.file.members["sha256"]) & set(other.file.members["sha256"]) - {""}
        if both:
            raise InputError(f"{path}: holds networks of the ensemble itself; needed ones trained on resampled data")
