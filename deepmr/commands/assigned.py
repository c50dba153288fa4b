"""Instruments of several exposures, and instruments that belong to one task: for `deepmr mr` on an effects file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from deepmr.commands.source import Source, mean_blocks, pooled_blocks
from deepmr.instruments.direction import Assignment, locus_sizes
from deepmr.instruments.several import Chosen, Model, select_several
from deepmr.instruments.strength import EffectScale, Selection, scales_of_parts
from deepmr.ism.calibration import Calibration
from deepmr.types import SummaryStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Instruments of every model.

    Attributes
    ----------
    chosen : one a model.
    scales : how large effects are on each task.
    """

    chosen: tuple[Chosen, ...]
    scales: dict[str, EffectScale]


def choose_models(
    source: Source,
    models: Sequence[Model],
    *,
    selection: Selection,
    assign: Assignment,
    calibration: Calibration | None = None,
    scaling: Literal["variance", "isotonic"] = "variance",
    level: float = 0.95,
) -> Models:
    """Select the instruments of every model: two passes over the effects, three where edits are assigned to tasks.

    Parameters
    ----------
    source : the effects.
    models : exposures and outcome of each.
    selection : how strong an instrument must be.
    assign : see `deepmr.instruments.direction.is_own`; looks at all tasks there are.
    calibration, scaling, level : see `pool_members`.
    """
    named = {name for exposures, outcome in models for name in (*exposures, outcome)}
    tasks = [task.name for task in source.tasks if assign != "none" or task.name in named]
    first = mean_blocks(source, tasks, description="sizes of effects", calibration=calibration, split=False)
    scales = scales_of_parts(first, traits=tasks)[0]

    def effects(description: str) -> Iterator[SummaryStats]:
        return pooled_blocks(
            source, tasks, description=description, calibration=calibration, scaling=scaling, level=level
        )

    sizes = None if assign == "none" else locus_sizes(effects("sizes at every locus"), loci=source.loci)
    chosen = select_several(
        effects("instruments"),
        models=models,
        scales=scales,
        loci=source.loci,
        selection=selection,
        sizes=sizes,
        assign=assign,
    )
    return Models(chosen=tuple(chosen), scales=scales)
