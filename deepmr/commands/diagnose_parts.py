"""What `deepmr diagnose` gathers: effects read once, instruments at every threshold, and edits that a model adds."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from deepmr import schema
from deepmr.commands.source import Source, pooled_blocks
from deepmr.errors import InputError
from deepmr.instruments.direction import Assignment, LocusSizes, locus_sizes
from deepmr.instruments.several import select_several
from deepmr.instruments.strength import EffectScale, Selection, effect_scales, is_strong
from deepmr.ism.calibration import Calibration
from deepmr.meta import pool_estimates
from deepmr.mr import METHODS
from deepmr.mr.diagnostics import Evidence, Totals, locus_totals, sample_edits
from deepmr.mr.diagnostics.thresholds import THRESHOLDS
from deepmr.types import Instruments, SummaryStats

log = logging.getLogger(__name__)

Pair = tuple[str, str]
Scaling = Literal["variance", "isotonic"]
LADDER = (0.5, 0.75, 1.0, 1.5, 2.0)  # thresholds of rules other than the relative one, times the one that was used


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Effects as diagnostics need them, from two passes over the file.

    Attributes
    ----------
    scales : how large effects are.
    instruments : of both directions of every pair.
    totals : over all edits of every locus.
    background : all edits of some loci.
    thresholds : table "thresholds" of `schema.DIAGNOSTICS`.
    """

    scales: Mapping[str, EffectScale]
    instruments: dict[Pair, Instruments]
    totals: Totals
    background: SummaryStats
    thresholds: pd.DataFrame


def gather(
    source: Source,
    pairs: Sequence[Pair],
    *,
    selection: Selection,
    calibration: Calibration | None,
    scaling: Scaling,
    method: str,
    min_instruments: int,
    n_background: int,
    level: float,
    seed: int,
    assign: Assignment = "none",
) -> Gathered:
    """Read the effects twice: for their sizes, then for everything else; once more where edits are assigned to tasks.

    Parameters
    ----------
    source : the effects.
    pairs : exposure and outcome; the other direction is added.
    selection : as for the estimates.
    calibration, scaling, level : see `pool_members`.
    method, min_instruments : of the estimates at other thresholds.
    n_background : loci of which all edits are kept.
    seed : of their draw.
    assign : as for the estimates, see `deepmr.instruments.direction.is_own`.
    """
    both = list(dict.fromkeys([*pairs, *((outcome, exposure) for exposure, outcome in pairs)]))
    named = {task for pair in both for task in pair}
    tasks = sorted({task.name for task in source.tasks} if assign != "none" else named)
    stats = partial(pooled_blocks, source, tasks, calibration=calibration, scaling=scaling, level=level)
    scales = effect_scales(stats(description="sizes of effects"))
    sizes = None
    if assign != "none":
        sizes = locus_sizes(stats(description="sizes at every locus"), loci=source.loci)
    ladder = _ladder(selection)
    lowest = replace(selection, threshold=min(ladder))
    kept = np.random.default_rng(seed).permutation(len(source.loci))[:n_background]
    drawn = {source.loci[i] for i in kept}
    strong: list[SummaryStats] = []
    background: list[SummaryStats] = []

    def watched(blocks: Iterator[SummaryStats]) -> Iterator[SummaryStats]:
        for block in blocks:
            rows = np.zeros(len(block.variants), dtype=bool)
            for exposure in tasks:
                rows |= is_strong(block, exposure=exposure, scale=scales[exposure], selection=lowest)
            strong.append(block.take(rows))
            inside = block.variants["locus"].astype(str).isin(drawn).to_numpy(bool)
            background.append(block.take(inside))
            yield block

    totals = locus_totals(watched(stats(description="instruments and controls")), loci=source.loci)
    select = partial(_select, strong, scales=scales, loci=source.loci, sizes=sizes, assign=assign)
    return Gathered(
        scales=scales,
        instruments=select(both, selection=selection),
        totals=totals,
        background=sample_edits(background, loci=drawn),
        thresholds=_thresholds(
            {at: select(pairs, selection=replace(selection, threshold=at)) for at in ladder},
            rule=selection.rule,
            method=method,
            min_instruments=min_instruments,
            level=level,
        ),
    )


def _select(
    strong: Sequence[SummaryStats],
    pairs: Sequence[Pair],
    *,
    scales: Mapping[str, EffectScale],
    loci: Sequence[str],
    selection: Selection,
    sizes: LocusSizes | None,
    assign: Assignment,
) -> dict[Pair, Instruments]:
    """Select the instruments of every pair among edits that are strong on some task."""
    models = [((exposure,), outcome) for exposure, outcome in pairs]
    found = select_several(
        strong, models=models, scales=scales, loci=loci, selection=selection, sizes=sizes, assign=assign
    )
    return {pair: one.instruments for pair, one in zip(pairs, found, strict=True)}


def evidence_of(
    source: Source,
    gathered: Gathered,
    pair: Pair,
    *,
    selection: Selection,
    ready: pd.DataFrame | None,
    calibration: Calibration | None,
    scaling: Scaling,
    level: float,
) -> Evidence:
    """Put together what is at hand on one direction of a pair.

    Parameters
    ----------
    source : the open effects.
    gathered : from them.
    pair : exposure and outcome.
    selection : by which instruments were chosen.
    ready : estimates at other thresholds, in place of those gathered; None takes these.
    calibration, scaling, level : with which effects were pooled.
    """
    exposure, outcome = pair
    table = gathered.thresholds if ready is None else ready
    mine = (table["exposure"] == exposure) & (table["outcome"] == outcome)
    file = source.file
    sizes = (gathered.scales[exposure].quantile, gathered.scales[outcome].quantile)
    reference = None
    if file is not None:
        mean = file.reference.mean(axis=0)[:, file.task_columns([exposure, outcome])].astype(float)
        warm = [1.0 if calibration is None else calibration.temperature(name) for name in pair]
        reference = mean / np.array(warm)
    background = gathered.background.error_factors
    factors = (1.0, 1.0)
    if calibration is not None and background is not None:
        df = float(len(background) - 1)
        one, other = (calibration.se_factor(name, scaling=scaling, level=level, df=df) for name in pair)
        factors = (float(one), float(other))
    return Evidence(
        instruments=gathered.instruments[pair],
        backward=gathered.instruments[(outcome, exposure)],
        totals=gathered.totals,
        background=gathered.background,
        sizes=sizes,
        floor=selection.cut * sizes[0] if selection.rule == "relative" else None,
        reference=reference,
        thresholds=table[mine].reset_index(drop=True),
        rule=selection.rule,
        threshold=selection.cut,
        members=None if file is None else tuple(map(str, file.members["name"])),
        se_factors=factors,
    )


def _ladder(selection: Selection) -> tuple[float, ...]:
    """Return the thresholds to compare, the one that was used among them."""
    usual = THRESHOLDS if selection.rule == "relative" else tuple(k * selection.cut for k in LADDER)
    return tuple(sorted({*usual, selection.cut}))


def _thresholds(
    chosen: Mapping[float, Mapping[Pair, Instruments]],
    *,
    rule: str,
    method: str,
    min_instruments: int,
    level: float,
) -> pd.DataFrame:
    """Estimate and pool at every threshold; a pair that has no estimate at one has no row there."""
    rows = []
    for threshold, pairs in chosen.items():
        for given in pairs.values():
            local = METHODS[method](given, min_instruments=min_instruments, level=level)
            if not len(local):
                continue
            row = pool_estimates(local, level=level).table.iloc[0]
            names = ("exposure", "outcome", "method", "beta", "ci_low", "ci_high")
            counts = {"n_loci": len(local), "n_instruments": int(local.table["n"].sum())}
            rows.append({"rule": rule, "threshold": threshold, **{n: row[n] for n in names}, **counts})
    return pd.DataFrame(rows, columns=list(schema.DIAGNOSTICS["thresholds"]))


def read_thresholds(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Check a table of estimates at other thresholds and rules, and turn its numbers into numbers.

    Parameters
    ----------
    path : it was read from, for the message.
    frame : its cells as text.

    Raises
    ------
    InputError : for a column that is missing or a cell that is no number.
    """
    columns = list(schema.DIAGNOSTICS["thresholds"])
    missing = [name for name in columns if name not in frame]
    if missing:
        raise InputError(f"{path}: needed the columns {', '.join(columns)}; {', '.join(missing)} missing")
    found = frame[columns].copy()
    for name in columns:
        if name not in ("rule", "exposure", "outcome", "method"):
            found[name] = pd.to_numeric(found[name], errors="coerce")
            if found[name].isna().any():
                line = int(np.argmax(found[name].isna())) + 2
                raise InputError(f"{path}: line {line}, column {name!r}: not a number")
    return found
