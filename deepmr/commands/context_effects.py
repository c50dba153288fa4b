"""Effects of loci beside their contexts, for `deepmr context`: from effects of edits or a table of estimates."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from deepmr import checks
from deepmr.commands.chosen import choose_instruments, read_selection, warn_of_copies
from deepmr.commands.mr import task_pairs
from deepmr.commands.record import EVERY, UNASSIGNED, record_beside, unassigned, warnings_beside
from deepmr.commands.source import Source, open_source
from deepmr.contextual.loci import LocusEffects, locus_effects_from
from deepmr.contextual.one_stage import fit_one_stage
from deepmr.errors import InputError
from deepmr.instruments.direction import Assignment
from deepmr.io.contexts import LOCUS, PLACES, ContextTable
from deepmr.io.delimited import table_layout
from deepmr.io.files import read_bytes
from deepmr.io.tables import NEEDED, PARQUET, read_estimates, read_table
from deepmr.types import Estimates, Instruments

log = logging.getLogger(__name__)
FROM_EDITS = ("ism", "mr", "meta", "seqlets", "network", "sensitivity", "thresholds", "diagnose", "context")
Stage = Literal["two", "one"]
HDF5 = {".h5", ".hdf5", ".npz"}
GLOBAL = "*"  # in place of a locus, in the tables of deepmr meta


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEffects:
    """Effects of one mark on another at single loci.

    Attributes
    ----------
    estimates : a row a locus, of one method and pair.
    instruments : that they are from; None where these are not known.
    chrom : chromosome by locus; empty where it is not known.
    ensemble : checksum of the networks that effects of edits are from, or "".
    warnings : what the estimates were warned of.
    """

    estimates: Estimates
    instruments: Instruments | None
    chrom: Mapping[str, str]
    ensemble: str = ""
    warnings: tuple[str, ...] = ()


def read_local(
    path: Path,
    *,
    exposure: str | None,
    outcome: str | None,
    method: str | None,
    estimand: str | None,
    options: Mapping[str, Any],
) -> LocalEffects:
    """Estimate the effect at every locus from effects of edits, or read a table of such estimates.

    Parameters
    ----------
    path : effects.h5, a TSV or NPZ table of effects of edits, or what `deepmr mr` wrote.
    exposure, outcome : tasks; None where there is one choice.
    method : of `deepmr.mr.METHODS`; None for ivw, or what the table has.
    estimand : of the rows of a table; None where there is one.
    options : of the choice of instruments: rule, threshold, significance, min_instruments, assign, level; for effects
        of edits alone.

    Raises
    ------
    InputError
        For a file, task or method that cannot be used, and where there are several to choose from.
    """
    if _is_estimates(path):
        return _read_table(path, exposure, outcome, method, estimand)
    if exposure is None or outcome is None:
        raise InputError("effects of edits need --exposure and --outcome, two of their tasks")
    if estimand is not None:
        raise InputError("--estimand picks rows of a table of estimates; effects of edits have one")
    with open_source(path) as source:
        task_pairs([task.name for task in source.tasks], [exposure], [outcome])
        return _estimate(source, exposure, outcome, method or "ivw", options)


def _is_estimates(path: Path) -> bool:
    """Say whether a file is a table of estimates: locus, beta and se, and no variants."""
    if path.suffix in HDF5 or not path.is_file():
        return False
    if path.suffix == PARQUET:
        header = tuple(read_table(path).columns)
    else:
        content = read_bytes(path)
        if content.startswith(b"\x89HDF"):
            return False
        header = table_layout(path, content[: content.find(b"\n") + 1] or content).header
    return set(NEEDED) <= set(header) and "variant_id" not in header


def _estimate(source: Source, exposure: str, outcome: str, method: str, options: Mapping[str, Any]) -> LocalEffects:
    assign: Assignment = options["assign"]
    causes = [exposure] if assign == "none" else [task.name for task in source.tasks]
    chosen = choose_instruments(
        source,
        [(exposure, outcome)],
        selection=read_selection(source, causes, options=options),
        level=options["level"],
        assign=assign,
    )
    warn_of_copies(chosen.ways[0])
    estimates = chosen.estimate(methods=[method], min_instruments=options["min_instruments"], level=options["level"])
    if not len(estimates):
        reasons = estimates.skipped["reason"].value_counts()
        raise InputError(
            f"none of {len(source.loci)} loci has an estimate of {exposure} on {outcome} ({reasons.index[0]})"
        )
    file = source.file
    return LocalEffects(
        estimates=estimates,
        instruments=chosen.ways[0][0],
        chrom={} if file is None else dict(zip(file.loci["locus"], file.loci["chrom"].astype(str), strict=True)),
        ensemble="" if file is None else str(file.attrs.get("ensemble_sha256", "")),
        warnings=(UNASSIGNED,) if assign == "none" else (),
    )


def _read_table(
    path: Path, exposure: str | None, outcome: str | None, method: str | None, estimand: str | None
) -> LocalEffects:
    estimates = read_estimates(path, complete=False)
    asked = {"exposure": exposure, "outcome": outcome, "method": method, "estimand": estimand}
    keep = (estimates.table["locus"].astype(str) != GLOBAL).to_numpy(bool)
    if not keep.any():
        raise InputError(f"{path}: has pooled effects alone; needed a row a locus, as deepmr mr writes")
    for name, value in asked.items():
        there = list(dict.fromkeys(estimates.table.loc[keep, name].astype(str)))
        if value is None and len(there) > 1:
            raise InputError(f"{path}: has several of {name}: {', '.join(there)}; pick one by --{name}")
        if value is not None and value not in there:
            listed = f"{', '.join(there)}{checks.meant(value, there)}"
            raise InputError(f"{path}: there is no {name} {value!r}; it has {listed}")
        keep = keep & (estimates.table[name].astype(str) == (value or there[0])).to_numpy(bool)
    record = record_beside(path)
    pair = tuple(estimates.table.loc[keep, ["exposure", "outcome"]].iloc[0])
    said = unassigned(record) | warnings_beside(path)
    return LocalEffects(
        estimates=estimates.take(keep),
        instruments=None,
        chrom={},
        warnings=tuple(sentence for about, sentence in said.items() if about in (EVERY, pair)),
    )


def refuse_results(path: Path, effects: Path) -> None:
    """Raise `InputError` for contexts that come from edits: they would share the errors of effects.

    Parameters
    ----------
    path : the contexts.
    effects : what effects are from.
    """
    if path.exists() and effects.exists() and path.samefile(effects):
        raise InputError(f"{path}: contexts and effects are one file; a context must be known without the edits")
    if path.suffix in HDF5:
        raise InputError(f"{path}: holds effects of edits; contexts are a table, as deepmr features writes")
    record = record_beside(path)
    command = str(record.get("command", ""))
    if command in FROM_EDITS or "effects" in record.get("inputs", {}):
        raise InputError(
            f"{path}: was made from edits, by deepmr {command or '(unknown)'}; contexts from the same edits as effects "
            "share their errors, and effects would seem to vary with them. Use deepmr features"
        )


def join(local: LocalEffects, contexts: ContextTable, *, stage: Stage) -> tuple[LocusEffects, pd.DataFrame]:
    """Put effects and contexts of loci together; return what is left out too, with the reason.

    Parameters
    ----------
    local : effects.
    contexts : of loci, in any order.
    stage : two, effects of loci were estimated one locus at a time; one, from all instruments together.
    """
    frame = contexts.frame
    if not frame.get("chrom", pd.Series(dtype=str)).astype(bool).any() and any(local.chrom.values()):
        frame = frame.assign(chrom=[local.chrom.get(str(locus), "") for locus in frame[LOCUS]])
    if stage == "one":
        if local.instruments is None:
            raise InputError("--stage one starts from instruments: it needs effects of edits, not a table of estimates")
        fit, skipped = fit_one_stage(local.instruments, frame, names=contexts.names, method="constant")
        effects = fit.effects
    else:
        effects, skipped = locus_effects_from(local.estimates, frame, names=contexts.names)
    lacking = dict(zip(contexts.skipped[LOCUS], contexts.skipped["reason"], strict=True))
    own = skipped["locus"].astype(str).map(lacking)
    absent = skipped["reason"].astype(str).str.startswith("no row") & own.notna()
    return effects, skipped.assign(reason=skipped["reason"].where(~absent, own))


def permuted(local: LocalEffects, contexts: ContextTable, *, seed: int) -> ContextTable:
    """Return contexts in which every locus has those of another one, drawn at random: a control without modifiers.

    To be joined with the effects afterwards: what networks share of their errors is taken apart along the contexts that
    a locus is given, and along those it had before, a fit would find them again.

    Parameters
    ----------
    local : effects; loci without any keep their contexts.
    contexts : of loci.
    seed : of the random order.
    """
    frame = contexts.frame.reset_index(drop=True)
    rows = np.flatnonzero(frame[LOCUS].astype(str).isin(set(local.estimates.table[LOCUS].astype(str))))
    order = np.random.default_rng(seed).permutation(rows)
    given = [name for name in frame.columns if name not in (LOCUS, *PLACES)]
    frame.loc[rows, given] = frame.loc[order, given].to_numpy()
    return replace(contexts, frame=frame)


def shared_networks(local: LocalEffects, contexts: ContextTable, path: Path) -> tuple[str, ...]:
    """Return a warning where contexts are predictions by the networks that effects are from.

    Parameters
    ----------
    local : effects.
    contexts : of loci.
    path : of the contexts.
    """
    predicted = [name for name in contexts.names if name.startswith("pred_")]
    if not predicted or not local.ensemble or record_beside(path).get("ensemble_sha256") != local.ensemble:
        return ()
    return (
        f"The networks that effects are from also predicted {', '.join(predicted)}: what they get wrong about a locus "
        "may be in both. Predict contexts by networks trained on other chromosomes, or leave them out and compare.",
    )
