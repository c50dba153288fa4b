"""What a seqlet analysis is made of: from effects of edits to seqlets, their families, slopes and verdicts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int

from deepmr import schema
from deepmr.instruments.composites import split_composites
from deepmr.instruments.families import group_seqlets
from deepmr.instruments.seqlets import DEFAULT as SEGMENTATION
from deepmr.instruments.seqlets import Segmentation, Seqlets, assign_seqlets, concat_seqlets, find_seqlets, lay_out
from deepmr.instruments.strength import DEFAULT as SELECTION
from deepmr.instruments.strength import EffectScale, Selection, select_pairs
from deepmr.mr.seqlets import (
    Between,
    Collapsed,
    Families,
    collapse,
    compare_seqlets,
    judge_families,
    judge_seqlets,
    seqlet_plurality,
    seqlet_slopes,
    usable,
)
from deepmr.types import Estimates, Instruments, SummaryStats, concat_estimates


@dataclass(frozen=True, slots=True, kw_only=True)
class SeqletAnalysis:
    """Seqlets of one pair of traits.

    Attributes
    ----------
    seqlets : found on the exposure.
    family : of each, -1 for none.
    instruments : of all loci.
    label : row of the seqlet that each instrument lies in, -1 for none.
    collapsed, between, families : seqlets with instruments, their slopes, and the plurality.
    table : columns of `schema.SEQLET_EFFECTS`, one row a seqlet.
    family_table : columns of `schema.SEQLET_FAMILIES`, one row a family with instruments.
    estimates : by locus, methods seqlet_ivw and seqlet_plurality.
    """

    seqlets: Seqlets
    family: Int[np.ndarray, "seqlets"]
    instruments: Instruments
    label: Int[np.ndarray, "instruments"]
    collapsed: Collapsed
    between: Between
    families: Families
    table: pd.DataFrame
    family_table: pd.DataFrame
    estimates: Estimates


def analyse_seqlets(
    blocks: Iterable[SummaryStats],
    *,
    exposure: str,
    outcome: str,
    scales: Mapping[str, EffectScale],
    loci: Sequence[str],
    selection: Selection = SELECTION,
    segmentation: Segmentation = SEGMENTATION,
    min_instruments: int = 3,
    level: float = 0.95,
) -> SeqletAnalysis:
    """Find the seqlets of all loci in one pass, and say what each makes of the effect of the exposure.

    Parameters
    ----------
    blocks : effects, every locus whole in one block.
    exposure, outcome : two of the traits; seqlets and instruments are chosen on the exposure alone.
    scales : sizes of effects over all loci, from `effect_scales`.
    loci : all loci, in the order of the blocks.
    selection : what makes an edit an instrument.
    segmentation : what makes a run of positions a seqlet.
    min_instruments : that a locus needs for an estimate.
    level : of the intervals; tests are at 1 - level.
    """
    parts: list[Seqlets] = []

    def watched() -> Iterator[SummaryStats]:
        for block in blocks:
            tracks = lay_out(block, trait=exposure, significance=segmentation.significance)
            parts.append(find_seqlets(tracks, scale=scales[exposure], segmentation=segmentation))
            yield block

    (given,) = select_pairs(watched(), pairs=[(exposure, outcome)], scales=scales, loci=list(loci), selection=selection)
    seqlets = split_composites(concat_seqlets(parts), min_width=segmentation.min_width)
    family, label = group_seqlets(seqlets), assign_seqlets(given, seqlets)
    collapsed = collapse(given, label)
    mine = family[collapsed.label]
    between = compare_seqlets(collapsed, level=level)
    families = judge_families(collapsed, mine, level=level)
    words = judge_seqlets(collapsed, between, families=families, family=mine, level=level)
    valid = usable(families, family)
    whole = seqlet_slopes(given, label, min_instruments=min_instruments, level=level)
    chosen = seqlet_plurality(given, label, valid=valid, min_instruments=min_instruments, level=level)
    return SeqletAnalysis(
        seqlets=seqlets,
        family=family,
        instruments=given,
        label=label,
        collapsed=collapsed,
        between=between,
        families=families,
        table=_seqlet_table(seqlets, family, collapsed, between, words, level),
        family_table=_family_table(seqlets, family, collapsed, families),
        estimates=concat_estimates([whole, chosen]),
    )


def _seqlet_table(
    seqlets: Seqlets,
    family: Int[np.ndarray, "seqlets"],
    collapsed: Collapsed,
    between: Between,
    words: np.ndarray,
    level: float,
) -> pd.DataFrame:
    given = collapsed.instruments
    frame = seqlets.table.assign(exposure=given.exposure, outcome=given.outcome, estimand=given.estimand)
    frame = frame.assign(family=family, n=0, level=level, verdict="untested")
    rows = collapsed.label
    frame.loc[rows, "n"], frame.loc[rows, "verdict"] = collapsed.n, words
    for name in schema.SEQLET_EFFECTS:
        if name not in frame:
            values = np.full(len(frame), np.nan)
            values[rows] = getattr(between, name)
            frame[name] = values
    return frame[list(schema.SEQLET_EFFECTS)]


def _family_table(
    seqlets: Seqlets, family: Int[np.ndarray, "seqlets"], collapsed: Collapsed, families: Families
) -> pd.DataFrame:
    """Return the families that have instruments, those in most loci first."""
    given = collapsed.instruments
    strongest = seqlets.table.assign(family=family).sort_values("strength", ascending=False, kind="stable")
    sequence = strongest.drop_duplicates("family").set_index("family")["sequence"]
    frame = pd.DataFrame({"family": np.arange(len(families.n_loci))})
    frame = frame.assign(exposure=given.exposure, outcome=given.outcome, estimand=given.estimand)
    frame["sequence"] = sequence.reindex(frame["family"]).to_numpy(object)
    for name in schema.SEQLET_FAMILIES:
        if name not in frame:
            frame[name] = getattr(families, name)
    frame = frame[frame["n_loci"] > 0].sort_values(["n_loci", "share"], ascending=False, kind="stable")
    return frame[list(schema.SEQLET_FAMILIES)].reset_index(drop=True)
