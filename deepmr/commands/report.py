"""`deepmr report`: one page of a run, put together from its files."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepmr import checks
from deepmr.commands.record import record_beside, unassigned, warnings_beside
from deepmr.commands.report_gwas import report_gwas
from deepmr.commands.report_origins import made_of_page, other_origins
from deepmr.commands.report_parts import differing, locus_effects, select, strongest
from deepmr.commands.report_sections import extra_sections, judgements, part_records
from deepmr.commands.source import Source, open_source
from deepmr.errors import InputError
from deepmr.io.calibration import read_calibration
from deepmr.io.files import atomic_path, check_writable
from deepmr.io.provenance import provenance
from deepmr.io.tables import numbers, read_estimates, read_table
from deepmr.report.content import Run, leading_method
from deepmr.report.diagnosed import judged_pairs
from deepmr.report.forest import by_pair
from deepmr.report.page import render_page, shown_effects
from deepmr.types import Estimates

log = logging.getLogger(__name__)

Pair = tuple[str, str]
EXTRAS = ("labelled", "diagnostics", "seqlets", "network", "spacing", "thresholds")  # files of parts of their own
SHOWN = ("exposure", "outcome", "method", "estimand", "beta", "ci_low", "ci_high", "fdr", "n")


def report(
    effects: Path | None = None,
    *,
    estimates: Path,
    meta: Path | None = None,
    out: Path,
    instruments: Path | None = None,
    calibration: Path | None = None,
    truth: Path | None = None,
    labelled: Path | None = None,
    diagnostics: Path | None = None,
    seqlets: Path | None = None,
    network: Path | None = None,
    spacing: Path | None = None,
    thresholds: Path | None = None,
    locus: list[str] | None = None,
    n_loci: int = 3,
    overwrite: bool = False,
) -> dict[str, object]:
    """Write one self-contained HTML page of a run.

    It opens offline, on a phone too, and prints. From top to bottom: the question, the answer with its interval and
    what it is an effect in, how sure and why, the evidence, single loci, methods, and how every file was made. What has
    a file of its own is shown where that is given. Instruments are selected again, by the options that are
    recorded beside the estimates. Without an effects file, the estimates are of GWAS results: the page has what methods
    and sensitivity analyses say, figures of the variants, what was read, and every dropped variant with its reason.

    Parameters
    ----------
    effects
        Effects of edits: effects.h5, or a TSV or NPZ table (then without views of loci); none for GWAS results.
    estimates
        Table of deepmr mr.
    meta
        Table of deepmr meta; effects of edits need it.
    out
        HTML file to write.
    instruments
        Instruments of GWAS results, where they are not where deepmr mr wrote them.
    calibration
        What deepmr calibrate wrote, if deepmr mr used it.
    truth
        True effects of a simulation (TSV): exposure, outcome, beta, and locus if they are local.
    labelled
        What deepmr calibrate --labelled-edits wrote: what the labels changed, and how many more would be worth.
    diagnostics
        Folder of deepmr diagnose: what speaks against an effect.
    seqlets
        Effects of single sites (TSV).
    network
        Direct effects of every mark on every other (TSV).
    spacing
        A distance of each locus, such as that between two motifs (TSV: locus, distance): effects in buckets of it.
    thresholds
        Effects under other rules for the instruments (TSV).
    locus
        Loci to show; default those with the strongest instruments.
    n_loci
        How many to show when none is named.
    overwrite
        Replace a page that is there.

    Returns
    -------
    dict
        Effects of the leading method; with a truth, every effect beside it; what is thought of each pair, the loci
        shown, what is missing and why, and where the page is.

    Raises
    ------
    InputError
        For a file or locus that cannot be used.
    """
    options = {name: value for name, value in locals().items() if name != "overwrite"}
    if n_loci < 0:
        raise InputError(f"n_loci must be at least 0; got {n_loci}")
    check_writable(out, overwrite=overwrite)
    if effects is None or meta is None:
        _check_gwas(options)
        return report_gwas(estimates=estimates, instruments=instruments, out=out, options=options)
    files = {name: options[name] for name in EXTRAS}
    if instruments is not None:
        raise InputError("--instruments is for GWAS results; those of an effects file are selected again")
    local, pooled = read_estimates(estimates), read_estimates(meta)
    calibrated = None if calibration is None else read_calibration(calibration)
    true, on_truth = (None, ()) if truth is None else _true_effects(truth, local, pooled)
    mr_record, unlike = record_beside(estimates), warnings_beside(estimates)
    parts = part_records({**files, "meta": meta})
    with open_source(effects) as source:
        records = _provenance(options, source, {"mr": estimates, "meta": meta})
        page_inputs = records["this page"]["inputs"]
        warned = {} if network is None else warnings_beside(network)
        if made_of_page(parts.get("network", {}), page=page_inputs):
            warned = unassigned(mr_record) | warned
        pairs = _pairs(local, pooled, source)
        chosen = _chosen(locus, source)
        names = [
            task.name for task in source.tasks if not pairs or task.name in {name for pair in pairs for name in pair}
        ]
        selected = select(source, names, pairs, calibration=calibrated, options=mr_record.get("options", {}))
        other = differing(local, selected.instruments)
        shown = chosen or strongest(selected, n_loci=n_loci)
        run = Run(
            tasks=tuple(task for task in source.tasks if task.name in names),
            pooled=pooled,
            local=local,
            truth=true,
            calibration=calibrated,
            instruments=selected.instruments,
            shown=shown,
            shown_because="named" if chosen else "those whose instruments are strongest, so not typical ones",
            loci=locus_effects(source, shown, names),
            sample=selected.sample,
            predictions=_predictions(source, names),
            counts=_counts(source, local),
            sections=extra_sections(files, local=local, pooled=pooled, truth=true, warnings=tuple(warned.values())),
            judgements=judgements(diagnostics),
            unlike=unlike,
            provenance=records,
            local_name=estimates.name,
            pooled_name=meta.name,
            notes=(
                *unlike.values(),
                *_notes(source, true, mr_record, (calibration, labelled), other),
                *on_truth,
                *other_origins(parts, files={**files, "meta": meta}, page=page_inputs),
            ),
        )
    page = render_page(run)
    with atomic_path(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    log.info("wrote %s, %.1f MB", out, len(page.encode()) / 1e6)
    rows = run.headline.table
    columns = [name for name in SHOWN if name in rows]
    summary: dict[str, object] = {"effects": rows[columns].to_dict(orient="records")}
    summary |= {"truth": list(_beside_truth(run))}
    summary |= {"verdict": [one.sentence for one in judged_pairs(run)], "estimand": shown_effects(run)}
    return summary | {"loci_shown": list(shown), "notes": list(run.notes), "report": str(out)}


def _beside_truth(run: Run) -> Iterator[dict[str, object]]:
    """Yield every pooled effect beside the true one of the same loci, and whether its interval holds it."""
    true = by_pair(run.truth)
    loci = {(row["exposure"], row["outcome"]): row["n"] for row in run.leads.table.to_dict(orient="records")}
    for row in run.pooled.table.to_dict(orient="records"):
        pair = row["exposure"], row["outcome"]
        if pair in true and row["n"] == loci.get(pair):  # the truth is the mean over the leading method's loci
            shown = {name: row[name] for name in ("exposure", "outcome", "method", "estimand", "beta")}
            held = "holds" if row["ci_low"] <= true[pair] <= row["ci_high"] else "misses"
            yield shown | {"ci_low": row["ci_low"], "ci_high": row["ci_high"], "true": true[pair], "interval": held}


def _check_gwas(options: Mapping[str, Any]) -> None:
    """Raise `InputError` for an option of effects of edits where there are none."""
    if options["effects"] is not None:
        raise InputError("effects of edits are shown pooled: needed --meta, the table of deepmr meta")
    for name in ("meta", "calibration", "truth", "locus", *EXTRAS):
        if options[name] is not None:
            raise InputError(f"--{name} is for effects of edits: needed the file of effects too")


def _pairs(local: Estimates, pooled: Estimates, source: Source) -> list[Pair]:
    """Return the pairs of the tables, in their order; both tables must be of these effects."""
    frames = [pooled.table, local.table, local.skipped]
    rows = pd.concat([frame[["exposure", "outcome"]] for frame in frames if len(frame)] or frames[:1])
    pairs = list(dict.fromkeys(zip(rows["exposure"].astype(str), rows["outcome"].astype(str), strict=True)))
    names = [task.name for task in source.tasks]
    for name in dict.fromkeys(name for pair in pairs for name in pair):
        if name not in names:
            raise InputError(f"the estimates name the task {name!r}; the effects have {', '.join(names)}")
    known = set(source.loci)
    other = [name for name in local.table["locus"].astype(str).unique() if name not in known]
    if other:
        raise InputError(f"the estimates name the locus {other[0]!r}, which the effects do not have: another run's?")
    return pairs


def _chosen(locus: Sequence[str] | None, source: Source) -> tuple[str, ...]:
    for name in locus or ():
        if name not in source.loci:
            raise InputError(f"there is no locus {name!r} among the {len(source.loci)} of the effects")
    return tuple(dict.fromkeys(locus or ()))


def _predictions(source: Source, names: Sequence[str]) -> np.ndarray | None:
    if source.file is None:
        return None
    predictions: np.ndarray = source.file.reference[:, :, source.file.task_columns(names)]
    return predictions


def _counts(source: Source, local: Estimates) -> dict[str, int]:
    counts = {"loci": len(source.loci), "loci with an estimate": int(local.table["locus"].nunique())}
    file = source.file
    if file is not None:
        counts |= {"bases of a locus": file.sequences.length, "masked positions": file.n_masked}
        counts |= {"edited positions": int(file.mask.sum())} if file.restricted else {}
        counts |= {"members": len(file.members)}
    return counts | {"edits": source.n_variants}


def _true_effects(path: Path, local: Estimates, pooled: Estimates) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return one true effect a pair, and what to know of it: of local ones the mean over loci with an estimate.

    Truth and estimates are joined by the name of the locus, never by their order: loci without instruments leave.
    """
    frame = read_table(path)
    try:
        checks.columns("true effects", frame.columns, ("exposure", "outcome", "beta"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    frame = frame.assign(beta=numbers(path, frame, "beta")).dropna(subset="beta")
    by_locus = "locus" in frame.columns and not (frame["locus"] == "*").all()
    keys = ["exposure", "outcome"] + (["locus"] if by_locus else [])
    twice = frame[frame.duplicated(keys)]
    if len(twice):
        who = " ".join(twice.iloc[0][keys].astype(str))
        raise InputError(f"{path}: more than one true effect of {who}; needed one definition and statistic of it")
    if not by_locus:
        return frame[[*keys, "beta"]].reset_index(drop=True), ()
    leading = leading_method(pooled)
    used = local.table.loc[local.table["method"] == leading, keys].astype(str).drop_duplicates()
    joined = used.merge(frame.astype(dict.fromkeys(keys, str)), on=keys, validate="one_to_one")
    means = joined.groupby(keys[:2], sort=False)["beta"].agg(["mean", "size"]).reset_index()
    notes = []
    for row in means.merge(used.groupby(keys[:2]).size().rename("all").reset_index()).to_dict(orient="records"):
        if row["size"] < row["all"]:
            notes.append(
                f"True effects of {row['exposure']} on {row['outcome']} are known at {row['size']} of {row['all']} "
                "loci with an estimate: the truth shown is their mean, the estimate that of all."
            )
    return means.rename(columns={"mean": "beta"})[[*keys[:2], "beta"]], tuple(notes)


def _provenance(options: Mapping[str, Any], source: Source, tables: Mapping[str, Path]) -> dict[str, Mapping[str, Any]]:
    inputs = {name: value for name, value in options.items() if isinstance(value, Path) and name != "out"}
    records: dict[str, Mapping[str, Any]] = {}
    if source.file is not None:
        records[inputs["effects"].name] = {name: _decoded(value) for name, value in source.file.attrs.items()}
        members = source.file.members.to_dict("records")
        records["ensemble members"] = {str(member.pop("name")): member for member in members}
    for name in ("calibration", "labelled"):
        if name in inputs:
            records[inputs[name].name] = json.loads(inputs[name].read_text()).get("provenance", {})
    records |= {path.name: record_beside(path) for path in tables.values()}
    records["this page"] = provenance("report", options=options, inputs=inputs)
    return {name: record for name, record in records.items() if record}


def _decoded(value: Any) -> Any:
    """Return an attribute that holds JSON as what it says."""
    if isinstance(value, str) and (value[:1] in {"{", "["} or value == "null"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _notes(
    source: Source,
    run_truth: pd.DataFrame | None,
    mr_record: Mapping[str, Any],
    calibrations: tuple[Path | None, Path | None],
    other: int,
) -> Iterator[str]:
    """Yield what a reader should know is missing or doubtful, a sentence each."""
    levels, labelled = calibrations
    recorded = mr_record.get("options", {}).get("calibration") or []
    used = {Path(str(one)).name for one in ([recorded] if isinstance(recorded, str) else recorded)}
    unseen = used - {path.name for path in calibrations if path is not None}
    calibrated = levels is not None
    if source.file is None:
        yield "The effects come from a table: there are no sequences, hence no views of loci and no predictions."
    elif source.file.layout != "saturation":
        yield "The effects are of a list of edits, not of every edit: there are no views of loci."
    if not mr_record:
        yield "Nothing is recorded beside the estimates: the instruments shown were selected by the default rule."
    elif unseen and not calibrated:
        yield "The estimates used a calibration that this page was not given: errors of edits are uncorrected here."
    elif calibrated and not used:
        yield "The estimates used no calibration: errors of edits are corrected here, those of the estimates are not."
    if mr_record.get("options", {}).get("split_members"):
        yield "Halves of the members chose instruments for each other; those shown are what all members choose."
    elif other:
        yield f"At {other} loci the instruments shown are not as many as the estimates used."
    if not calibrated and labelled is None:
        yield "No calibration was given: whether the ensemble's intervals hold is not shown."
    if run_truth is not None and run_truth.empty:
        yield "The table of true effects has none for these pairs at loci with an estimate."
