"""`deepmr mr --multivariable` on an effects file: direct effects of tasks, the other tasks as further exposures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from deepmr.commands.assigned import choose_models
from deepmr.commands.source import Source
from deepmr.errors import InputError, TooFewInstruments
from deepmr.instruments.direction import Assignment
from deepmr.instruments.strength import Selection
from deepmr.io.provenance import provenance
from deepmr.io.tables import skipped_path, write_estimates, write_table
from deepmr.ism.calibration import Calibration
from deepmr.mr.multivariable import PREFERRED_IN_MODEL, estimate_direct_effects
from deepmr.mr.multivariable.strength import weak_instruments
from deepmr.types import concat_estimates


def mr_direct(
    source: Source,
    *,
    exposures: Sequence[str],
    outcomes: Sequence[str],
    out: Path,
    selection: Selection,
    assign: Assignment,
    calibration: Calibration | None,
    scaling: Literal["variance", "isotonic"],
    methods: Sequence[str],
    min_instruments: int,
    level: float,
    save_instruments: Path | None,
    inputs: Mapping[str, Path],
    options: Mapping[str, object],
) -> dict[str, object]:
    """Estimate the effect of every exposure with the others held fixed, for each outcome at every locus.

    Parameters
    ----------
    source
        The effects.
    exposures
        Tasks that share a model; the outcome among them is left out of its own.
    outcomes
        Tasks taken as the effect, one a model.
    out
        Table to write.
    selection, assign
        Which edits are instruments: those strong on any exposure.
    calibration, scaling
        Correct standard errors.
    methods
        Estimators; empty for the usual ones.
    min_instruments, level, save_instruments
        As in `deepmr mr`.
    inputs, options
        For the record.

    Raises
    ------
    InputError
        Where a model has fewer than two exposures.
    TooFewInstruments
        When no locus has an estimate.
    """
    models = [(tuple(x for x in exposures if x != outcome), outcome) for outcome in outcomes]
    for causes, outcome in models:
        if len(causes) < 2:
            raise InputError(
                f"--multivariable needs at least two exposures beside the outcome {outcome}; got "
                f"{', '.join(causes) or 'none'} (without it, effects are those of one exposure)"
            )
    found = choose_models(
        source, models, selection=selection, assign=assign, calibration=calibration, scaling=scaling, level=level
    )
    chosen = [one.instruments for one in found.chosen]
    names = list(methods) or list(PREFERRED_IN_MODEL)
    estimates = concat_estimates(
        estimate_direct_effects(one, methods=names, min_instruments=min_instruments, level=level) for one in chosen
    )
    if save_instruments is not None:
        write_table(pd.concat([one.to_frame() for one in chosen], ignore_index=True), save_instruments)
    write_estimates(estimates, out, provenance=provenance("mr", options=dict(options), inputs=dict(inputs)))
    if not len(estimates):
        raise TooFewInstruments(
            f"none of {len(source.loci)} loci has a direct effect in any of {len(models)} models; "
            f"{skipped_path(out)} says why"
        )
    table = estimates.table
    key = ["exposure", "outcome", "method"]
    shown = table.groupby(key, sort=False).agg(
        used=("locus", "size"), median_beta=("beta", "median"), median_conditional_f=("conditional_f", "median")
    )
    skipped = estimates.skipped.groupby([*key, "reason"], sort=False).size().reset_index(name="loci")
    summary: dict[str, object] = {
        "direct_effects": shown.reset_index().to_dict(orient="records"),
        "loci_skipped": skipped.to_dict(orient="records"),
        "strength": [f"outcome {one.outcome}: {weak_instruments(one)[1]}" for one in chosen],
    }
    if assign != "none":
        summary["assigned"] = [
            f"outcome {one.instruments.outcome}: {one.dropped} of {int(np.sum(one.strong))} strong edits belong to "
            "other tasks"
            for one in found.chosen
        ]
    written = {} if save_instruments is None else {"instruments": str(save_instruments)}
    return summary | {"estimand": str(table["estimand"].iloc[0]), "estimates": str(out)} | written
