"""What a page takes from the effects themselves: instruments, a sample of edits, and the loci it shows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from deepmr.commands.chosen import choose_instruments, read_selection
from deepmr.commands.source import Source, pooled_blocks
from deepmr.instruments.strength import EffectScale, effect_scales, select_pairs
from deepmr.ism.calibration import Calibration
from deepmr.report.content import EffectSample, LocusEffects
from deepmr.types import MASKED, Estimates, Instruments, SummaryStats

SAMPLE = 50_000  # edits in the figure of standard errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """Instruments of every pair, how large effects are on each task, and a sample of all edits."""

    instruments: tuple[Instruments, ...]
    scales: Mapping[str, EffectScale]
    sample: EffectSample


def select(
    source: Source,
    tasks: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    *,
    calibration: Calibration | None,
    options: Mapping[str, Any],
) -> Selected:
    """Select the instruments as `deepmr mr` did, and keep a sample of all edits in passing.

    Parameters
    ----------
    source : the effects.
    tasks : those to read.
    pairs : exposure and outcome of each.
    calibration : what corrects the standard errors.
    options : of `deepmr mr`, as recorded beside its table; its defaults for those that are not there.
    """
    rng = np.random.default_rng(0)
    share = min(1.0, SAMPLE / max(source.n_variants, 1))
    betas: list[np.ndarray] = []
    ses: list[np.ndarray] = []
    how = {name: options[name] for name in ("scaling", "level") if name in options}
    stats = partial(pooled_blocks, source, tasks, calibration=calibration, **how)

    def sampled(blocks: Iterator[SummaryStats]) -> Iterator[SummaryStats]:
        for block in blocks:
            rows = rng.random(len(block.variants)) < share
            columns = [block.traits.index(name) for name in tasks]
            betas.append(block.beta[rows][:, columns])
            ses.append(block.se[rows][:, columns])
            yield block

    scales = effect_scales(sampled(stats(description="sizes of effects")))
    assign = options.get("assign", "none")
    causes = [exposure for exposure, _ in pairs] if assign == "none" else [task.name for task in source.tasks]
    selection = read_selection(source, causes, options=options)
    found: Iterable[Instruments]
    if assign == "none":
        blocks = stats(description="instruments")
        found = select_pairs(blocks, pairs=pairs, scales=scales, loci=source.loci, selection=selection)
    else:
        found = choose_instruments(
            source, pairs, selection=selection, calibration=calibration, assign=assign, **how
        ).ways[0]
    sample = EffectSample(beta=np.concatenate(betas), se=np.concatenate(ses), n_edits=source.n_variants)
    return Selected(instruments=tuple(found), scales=scales, sample=sample)


def strongest(selected: Selected, *, n_loci: int) -> tuple[str, ...]:
    """Return the loci whose instruments move their exposures most, every exposure in its own unit.

    Parameters
    ----------
    selected : instruments of every pair.
    n_loci : how many at most; loci without an instrument are never among them.
    """
    by_exposure = {pair.exposure: pair for pair in selected.instruments}
    if not by_exposure:
        return ()
    loci = selected.instruments[0].loci
    score = np.zeros(len(loci))
    for name, pair in by_exposure.items():
        number = np.repeat(np.arange(len(loci)), pair.counts)
        size = np.abs(pair.beta_exposure[:, 0]) / (selected.scales[name].quantile or 1.0)
        score += np.bincount(number, weights=size, minlength=len(loci))
    best = np.argsort(-score, kind="stable")[:n_loci]
    return tuple(loci[i] for i in best if score[i] > 0)


def locus_effects(source: Source, loci: Sequence[str], tasks: Sequence[str]) -> tuple[LocusEffects, ...]:
    """Return all effects at some loci; none where the file does not hold every edit.

    Parameters
    ----------
    source : the effects.
    loci : names of the loci.
    tasks : names of the tasks.
    """
    file = source.file
    if file is None or file.layout != "saturation":
        return ()
    columns = file.task_columns(tasks)
    found = []
    for name in loci:
        row = file.locus_row(name)
        place = file.loci.iloc[row]
        found.append(
            LocusEffects(
                locus=name,
                chrom=str(place["chrom"]),
                start=int(place["start"]),
                codes=np.where(file.mask[row], file.sequences.codes[row], MASKED).astype(np.uint8),
                effect=file.locus(row)[:, columns],
            )
        )
    return tuple(found)


def differing(local: Estimates, instruments: Sequence[Instruments]) -> int:
    """Return at how many loci the estimates used another number of instruments.

    Parameters
    ----------
    local : estimates at single loci.
    instruments : of every pair.
    """
    if not instruments or local.table.empty:
        return 0
    keys = ["exposure", "outcome", "locus"]
    here = [
        pd.DataFrame(dict(zip(keys, (p.exposure, p.outcome, list(p.loci)), strict=True)) | {"here": p.counts})
        for p in instruments
    ]
    used = local.table.groupby(keys)["n"].max().reset_index()  # a method may leave some out
    both = used.merge(pd.concat(here), on=keys)
    return int(both.loc[both["n"] != both["here"], "locus"].nunique())
