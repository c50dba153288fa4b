"""The page of `deepmr context`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from deepmr.commands.context_analysis import ContextAnalysis
from deepmr.report.context import ContextRun
from deepmr.report.page import render_context_page


def write_page(
    path: Path,
    found: ContextAnalysis,
    *,
    skipped: pd.DataFrame,
    notes: Sequence[str],
    record: Mapping[str, Any],
    predicted: pd.DataFrame | None,
    provenance: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write the page of contextual effects.

    Parameters
    ----------
    path : file to write.
    found : what is shown.
    skipped : loci left out: locus, reason.
    notes : what a reader has to know.
    record : of the command.
    predicted : effects of further loci, or None.
    provenance : how the inputs were made, by name.
    """
    effects, fit, verdict = found.effects, found.fit, found.verdict
    run = ContextRun(
        exposure=effects.exposure,
        outcome=effects.outcome,
        method=effects.method,
        estimand=effects.estimand,
        verdict=verdict.sentence,
        contextual=bool(verdict.found),
        pvalue=verdict.pvalue,
        kernels=verdict.kernels,
        comparators=found.comparators,
        curves=found.curves,
        loci=found.loci,
        skipped=skipped,
        relevance=fit.relevance,
        attenuation=fit.attenuation,
        tau=(fit.tau, fit.tau_low, fit.tau_high),
        shapes=fit.shares,
        held_out="" if found.held_out is None else found.held_out.note,
        predictions=predicted,
        sensitivity=found.sensitivity,
        egger=found.egger,
        level=fit.level,
        notes=tuple(notes),
        provenance={"contextual effects": record, **provenance},
    )
    path.write_text(render_context_page(run), encoding="utf-8")
