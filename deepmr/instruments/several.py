"""Instruments of several exposures in one model, and instruments that are assigned to the task they belong to."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int

from deepmr import checks
from deepmr.errors import InputError
from deepmr.instruments.direction import Assignment, LocusSizes, is_own, precedence
from deepmr.instruments.strength import DEFAULT, EffectScale, Selection, concat_stats, is_strong
from deepmr.types import Instruments, SummaryStats

Model = tuple[tuple[str, ...], str]  # exposures, and the outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Instruments of one model.

    Attributes
    ----------
    instruments : those kept.
    strong : edits strong on any of the exposures, a number a locus, before those of other tasks were dropped.
    """

    instruments: Instruments
    strong: Int[np.ndarray, "loci"]

    @property
    def dropped(self) -> int:
        """Edits that were dropped as those of another task."""
        return int(self.strong.sum() - self.instruments.counts.sum())


def select_several(
    blocks: Iterable[SummaryStats],
    *,
    models: Sequence[Model],
    scales: Mapping[str, EffectScale],
    loci: Sequence[str],
    selection: Selection = DEFAULT,
    sizes: LocusSizes | None = None,
    assign: Assignment = "none",
) -> Iterator[Chosen]:
    """Select the instruments of many models in one pass over blocks of loci; yields one choice a model.

    Parameters
    ----------
    blocks : effects, every locus whole in one block.
    models : exposures, one or several, and the outcome of each.
    scales : sizes of effects over all loci.
    loci : all loci, in the order of the blocks.
    selection : how strong an instrument must be, on any one of the exposures; never on the outcome.
    sizes : how far all edits of every locus move every trait; needed to assign.
    assign : which strong edits belong to the exposures, see `deepmr.instruments.direction.is_own`; it looks at all
        traits of the blocks.

    Raises
    ------
    InputError
        For an outcome among its exposures, an unknown trait, or loci out of order.
    """
    if assign != "none" and sizes is None:
        raise InputError("assigning edits to tasks needs the sizes of effects at every locus; got none")
    for exposures, outcome in models:
        if outcome in exposures:
            raise InputError(f"exposure and outcome must be two traits; got {outcome!r} for both")
        checks.unique("exposures", exposures)
    names = dict.fromkeys(name for exposures, _ in models for name in exposures)
    parts, marks = [], []
    for block in blocks:
        if assign != "none":  # which trait is upstream is read from the strong edits of all
            names |= dict.fromkeys(block.traits)
        strong = np.column_stack(
            [is_strong(block, exposure=name, scale=scales[name], selection=selection) for name in names]
        )
        parts.append(block.take(np.asarray(strong.any(axis=1))))
        marks.append(strong[strong.any(axis=1)])
    whole, strong = concat_stats(parts), np.concatenate(marks)
    number = pd.Index(loci).get_indexer(pd.Index(whole.variants["locus"].astype(str)))
    if np.any(number < 0) or np.any(np.diff(number) < 0):
        raise InputError("variants must lie together by locus, in the order of the loci")
    column = {name: k for k, name in enumerate(names)}
    order = np.zeros((len(whole.traits), len(whole.traits)), dtype=int)
    if sizes is not None and assign != "none":
        order = precedence(whole, strong=strong[:, [column[name] for name in whole.traits]], sizes=sizes)
    for exposures, outcome in models:
        rows = strong[:, [column[name] for name in exposures]].any(axis=1)
        kept = np.asarray(rows)
        if sizes is not None and assign != "none":
            kept = rows & is_own(whole, exposures=exposures, outcome=outcome, sizes=sizes, order=order, assign=assign)
        yield Chosen(
            instruments=_packed(whole.take(kept), exposures=exposures, outcome=outcome, scales=scales, loci=loci),
            strong=np.bincount(number[rows], minlength=len(loci)),
        )


def _packed(
    stats: SummaryStats,
    *,
    exposures: tuple[str, ...],
    outcome: str,
    scales: Mapping[str, EffectScale],
    loci: Sequence[str],
) -> Instruments:
    """Put the edits into instruments; no standard error is below what float32 effects can resolve."""
    traits = [stats.traits.index(name) for name in (*exposures, outcome)]
    least = np.array([scales[name].resolution for name in (*exposures, outcome)])
    se = np.maximum(stats.se[:, traits], least)
    beta = stats.beta[:, traits]
    number = pd.Index(loci).get_indexer(pd.Index(stats.variants["locus"].astype(str)))
    return Instruments(
        loci=tuple(loci),
        offsets=np.searchsorted(number, np.arange(len(loci) + 1)),
        exposures=exposures,
        outcome=outcome,
        variants=stats.variants,
        beta_exposure=beta[:, :-1],
        se_exposure=se[:, :-1],
        beta_outcome=beta[:, -1],
        se_outcome=se[:, -1],
        error_factors=None if stats.error_factors is None else stats.error_factors[:, :, traits],
        estimand=stats.estimand,
    )
