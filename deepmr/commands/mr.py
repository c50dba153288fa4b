"""`deepmr mr`: from effects of edits, or files of GWAS results, to causal effects, a row per pair, locus and method."""

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from cyclopts import Parameter

from deepmr import checks
from deepmr.commands.calibrations import check_apart, named, read_calibrations, warn_of_pairs
from deepmr.commands.chosen import choose_instruments, read_selection, warn_of_copies
from deepmr.commands.gwas_instruments import Clumping, ErrorCorr, GwasOptions
from deepmr.commands.mr_direct import mr_direct
from deepmr.commands.mr_gwas import dropped_path, instruments_path, mr_gwas
from deepmr.commands.mr_intervals import check_interval, estimates_with_intervals, resampled_pairs
from deepmr.commands.record import recorded_warnings
from deepmr.commands.source import Source, open_source
from deepmr.errors import InputError, TooFewInstruments
from deepmr.inference import MemberInterval
from deepmr.instruments.direction import Assignment
from deepmr.instruments.matching import Match
from deepmr.instruments.strands import Palindromes
from deepmr.instruments.strength import Rule, Selection
from deepmr.io.files import check_writable
from deepmr.io.provenance import provenance
from deepmr.io.tables import skipped_path, write_estimates, write_table
from deepmr.ism.calibration import Calibration
from deepmr.labelled import LabelledCalibration, apply_labelled, with_calibrated
from deepmr.mr import METHODS
from deepmr.mr.multivariable import METHODS as MULTIVARIABLE
from deepmr.types import Estimates, Instruments

log = logging.getLogger(__name__)

Pair = tuple[str, str]
COMMON = {
    "effects",
    "out",
    "exposure",
    "outcome",
    "method",
    "multivariable",
    "min_instruments",
    "level",
    "save_instruments",
    "overwrite",
}
OF_EFFECTS = Parameter(group="For an effects file")
OF_GWAS = Parameter(group="For files of GWAS results")
FOR_EFFECTS = {"rule", "threshold", "significance", "spans", "motif", "split_members", "assign"} | {
    "calibration",
    "scaling",
    "allow_overlap",
    "interval",
    "bootstrap",
}

MODEL = "intervals are of the effect in the model: an error that all its members share is in none of them"
BESIDE = "; calibrated effects, beside them, allow for it as far as the labels show it"
UNCALIBRATED = "; nor were standard errors checked against data (deepmr calibrate, --calibration)"


def mr(
    effects: Path | None = None,
    *,
    out: Path,
    exposure: list[str] | None = None,
    outcome: list[str] | None = None,
    method: list[str] | None = None,
    rule: Annotated[Rule, OF_EFFECTS] = "relative",
    threshold: Annotated[float | None, OF_EFFECTS] = None,
    significance: Annotated[float, OF_EFFECTS] = 0.05,
    spans: Annotated[Path | None, OF_EFFECTS] = None,
    motif: Annotated[list[str] | None, OF_EFFECTS] = None,
    split_members: Annotated[bool, OF_EFFECTS] = False,
    assign: Annotated[Assignment, OF_EFFECTS] = "none",
    min_instruments: int = 3,
    calibration: Annotated[list[Path] | None, OF_EFFECTS] = None,
    scaling: Annotated[Literal["variance", "isotonic"], OF_EFFECTS] = "variance",
    allow_overlap: Annotated[bool, OF_EFFECTS] = False,
    interval: Annotated[MemberInterval, OF_EFFECTS] = "moderated",
    bootstrap: Annotated[Path | None, OF_EFFECTS] = None,
    level: float = 0.95,
    save_instruments: Path | None = None,
    p_threshold: Annotated[float, OF_GWAS] = 5e-8,
    min_f: Annotated[float, OF_GWAS] = 0.0,
    clump: Annotated[Clumping, OF_GWAS] = "auto",
    kb: Annotated[float | None, OF_GWAS] = None,
    r2: Annotated[float, OF_GWAS] = 0.001,
    panel: Annotated[Path | None, OF_GWAS] = None,
    correlation: Annotated[Literal["panel"] | Path | None, OF_GWAS] = None,
    palindromes: Annotated[Palindromes, OF_GWAS] = "infer",
    tolerance: Annotated[float, OF_GWAS] = 0.08,
    match: Annotated[Match, OF_GWAS] = "auto",
    error_corr: Annotated[ErrorCorr, OF_GWAS] = None,
    multivariable: bool = False,
    exposure_columns: Annotated[list[str] | None, OF_GWAS] = None,
    outcome_columns: Annotated[list[str] | None, OF_GWAS] = None,
    to: Annotated[Literal["deepmr", "twosamplemr"], OF_GWAS] = "deepmr",
    overwrite: bool = False,
) -> dict[str, object]:
    """Estimate causal effects: of one mark on another at every locus, or between traits of GWAS results.

    Instruments are the edits that are strong on the exposure; what they do to the outcome has no part in their choice.
    Without an effects file, --exposure and --outcome name files of GWAS results.
    Writes a row per pair, locus and method, the loci without an estimate and why (`.skipped.tsv`), and how the table
    was made (`.json`).

    Parameters
    ----------
    effects
        Effects of edits: effects.h5, or a TSV or NPZ table made elsewhere; none for files of GWAS results.
    out
        Table to write (TSV).
    exposure
        Tasks taken as the cause, default all; or files of GWAS results, FILE or NAME=FILE.
    outcome
        Tasks taken as the effect, default all; or files of GWAS results, FILE or NAME=FILE.
    method
        Estimators; default ivw, egger and wald (GWAS: ivw_random, egger, weighted median and mode; raps and
        debiased_ivw too where instruments are weak, mean F below 10). An unknown name lists them all.
    rule
        How instruments are chosen: by relative size and significance, by the F statistic alone, by the paper's
        pooled z-score, or as by relative size within given spans (motif). deepmr thresholds shows what this matters.
    threshold
        Share of the pooled 99th percentile (default 0.25; for motif, 0 drops the floor of size), F (10) or z-score (1).
    significance
        Level of the test that the relative and motif rules add; 1 turns it off.
    spans
        For rule motif: where instruments may lie, such as hits of a motif; BED, or a table with locus or chrom, start
        and end (0-based, half-open).
    motif
        Names of the spans that count, * for anything: NAME for every exposure, EXPOSURE=NAME for one; default all.
    split_members
        Let one half of the members select instruments whose effects are from the other half, both ways round, and
        average; needs 4 members.
    assign
        Which strong edits belong to the exposure: all (none), those that move it rather than the outcome, each in the
        unit of what edits do to it at that locus (steiger), or rather than any other task (most: for effects in both
        directions, and for networks).
    min_instruments
        Fewest instruments that a locus needs.
    calibration
        What deepmr calibrate wrote: of levels, it corrects standard errors; on labelled edits, it adds calibrated
        effects to those in the model. One of each may be given; one on labelled edits that was made with
        --level-calibration goes with that calibration of levels.
    scaling
        Correction to use: one factor of the variance, or isotonic at the level.
    allow_overlap
        Accept loci that the calibration was fitted to.
    interval
        Intervals of the effect in the model: moderated, members and rubin hold what one more network would show; mean
        and jackknife what endlessly many would show on average; paired_sd, the article's, and gls are to compare with.
    bootstrap
        Effects of the same edits by as many networks trained with --resample; their spread is used where it gives the
        mean over loci a larger error.
    level
        Level of the confidence intervals.
    save_instruments
        Also write the instruments (TSV); of GWAS results they are written in any case, by default beside the table, as
        r.instruments.tsv beside r.tsv.
    p_threshold
        P value on the exposure below which a variant is an instrument.
    min_f
        Least F statistic of an instrument.
    clump
        Keep the strongest variant of a neighbourhood: by linkage disequilibrium in the panel, by distance, or not;
        auto: whichever of these can be done.
    kb
        Size of the neighbourhood in 1,000 bases; default 10,000 with a panel, 1,000 by distance.
    r2
        Squared correlation from which on variants are one clump.
    panel
        PLINK files (prefix of .bed, .bim, .fam) of the same ancestry.
    correlation
        Correlation of the instruments for methods that heed it: a table named by variant, or "panel".
    palindromes
        A/T and C/G: infer the strand from frequencies, drop them all, or keep them as they are coded.
    tolerance
        How far from one half a frequency must be to tell a strand.
    match
        Whether name or position says that two variants are the same.
    error_corr
        Correlation of the errors of exposure and outcome (overlapping samples): a number, none, estimate (from variants
        without effect), or record: what deepmr lmm wrote beside its tables, which is also taken where none of these is
        said and both tables are of one run of it; where that run could record none, the estimate is.
    multivariable
        All exposures in one model, by the mv_ methods: the effect of each with the others held fixed. Of an effects
        file, by default all tasks but the outcome; edits strong on any of them are instruments.
    exposure_columns
        field=COLUMN words that replace guesses, such as beta=BETA se=SE; n=NUMBER gives every row that sample size.
    outcome_columns
        The same for the outcome.
    to
        Column names to write: ours, or those of TwoSampleMR.
    overwrite
        Replace results that are there.

    Returns
    -------
    dict
        Per pair and method: loci used and skipped, instruments, median effect; why loci were skipped; files.

    Raises
    ------
    InputError
        For a file, task or option that cannot be used, or effects of a single member.
    TooFewInstruments
        When no locus has an estimate; the tables are written all the same.
    """
    options = {name: value for name, value in locals().items() if name != "overwrite"}
    _refuse_options_of_the_other(options)
    default = ["ivw_gls", "debiased_gls"] if interval == "gls" else ["ivw", "egger", "wald"]
    methods = list(dict.fromkeys(method or ([] if effects is None or multivariable else default)))
    for name in methods:
        if name in MULTIVARIABLE and not multivariable:
            raise InputError(f"method {name!r} is for several exposures in one model: add --multivariable")
        checks.one_of("method", name, MULTIVARIABLE if multivariable else METHODS)
    checks.level(level)
    if save_instruments == out:
        raise InputError(f"estimates and instruments need two files; got {out} for both")
    for path in filter(None, (out, save_instruments)):
        check_writable(path, overwrite=overwrite)
    if effects is None:
        if not exposure or not outcome:
            raise InputError("needed a file of effects, or files of GWAS results: --exposure FILE --outcome FILE")
        for path in (dropped_path(out), instruments_path(out)):
            check_writable(path, overwrite=True)
        return mr_gwas(
            exposure=exposure,
            outcome=outcome,
            out=out,
            gwas=GwasOptions(**{field.name: options[field.name] for field in fields(GwasOptions)}),
            exposure_columns=exposure_columns or [],
            outcome_columns=outcome_columns or [],
            methods=methods,
            to=to,
            min_instruments=min_instruments,
            level=level,
            save_instruments=save_instruments or instruments_path(out),
            options=options,
        )
    if multivariable:
        for name, given in (
            ("--split-members", split_members),
            ("--bootstrap", bootstrap is not None),
            (f"--interval {interval}", interval != "moderated"),
        ):
            if given:
                raise InputError(f"{name} is for effects of one exposure; it does not go with --multivariable")
    check_interval(interval, methods, bootstrap=bootstrap is not None, split=split_members)
    if split_members and save_instruments is not None:
        raise InputError("--save-instruments is one table; with --split-members each half has instruments of its own")
    calibrated, labelled = read_calibrations(calibration)
    with open_source(effects) as source:
        pairs = task_pairs([task.name for task in source.tasks], exposure, outcome)
        if calibrated is not None:
            check_calibration(calibrated, source, pairs, allow_overlap=allow_overlap)
        if labelled is not None:
            check_apart(source, labelled, allow_overlap=allow_overlap)
        if (calibrated is not None or labelled is not None) and not source.has_members:
            raise InputError(f"{effects}: has no members, and a calibration corrects the spread over members")
        causes = [exposure for exposure, _ in pairs] if assign == "none" else [task.name for task in source.tasks]
        selection = read_selection(source, causes, options=options)
        if labelled is not None:
            _check_selection(labelled, selection, min_instruments, assign)
        inputs = {"effects": effects, **named(calibration)} | {
            name: path for name, path in (("spans", spans), ("bootstrap", bootstrap)) if path is not None
        }
        if multivariable:
            if labelled is not None:
                raise InputError(
                    "a calibration on labelled edits is for effects of one exposure; leave --multivariable out"
                )
            return mr_direct(
                source,
                exposures=exposure or [task.name for task in source.tasks],
                outcomes=list(dict.fromkeys(outcome for _, outcome in pairs)),
                out=out,
                selection=selection,
                assign=assign,
                calibration=calibrated,
                scaling=scaling,
                methods=methods,
                min_instruments=min_instruments,
                level=level,
                save_instruments=save_instruments,
                inputs=inputs,
                options=options,
            )
        chosen = choose_instruments(
            source,
            pairs,
            selection=selection,
            calibration=calibrated,
            scaling=scaling,
            level=level,
            split=split_members,
            assign=assign,
        )
        instruments = chosen.ways[0]
        if not source.has_members and interval != "moderated":
            raise InputError(f"{effects}: has no members, and interval {interval} is made from them")
        resampled = None
        if bootstrap is not None:
            with open_source(bootstrap) as other:
                resampled = resampled_pairs(instruments, source, other, path=bootstrap, calibration=calibrated)
    warn_of_copies(instruments)
    estimates, intervals = estimates_with_intervals(
        chosen, resampled, methods=methods, interval=interval, min_instruments=min_instruments, level=level
    )
    both = estimates
    unlike: dict[Pair, str] = {}
    if labelled is not None:
        # With the members' own errors, as the labels were fitted with, whichever interval the model has.
        plain = chosen.estimate(methods=methods, min_instruments=min_instruments, level=level)
        unlike = warn_of_pairs(plain, labelled)
        both = with_calibrated(estimates, apply_labelled(plain, labelled, level=level))
    record = provenance("mr", options=options, inputs=inputs) | recorded_warnings(unlike)
    if save_instruments is not None:
        write_table(pd.concat([packed.to_frame() for packed in instruments], ignore_index=True), save_instruments)
    write_estimates(both, out, provenance=record)
    if not len(estimates):
        raise TooFewInstruments(
            f"none of {len(source.loci)} loci has an estimate for any of {len(pairs)} pairs; "
            f"{skipped_path(out)} says why"
        )
    estimand = str(estimates.table["estimand"].iloc[0])
    written: dict[str, object] = {} if save_instruments is None else {"instruments": str(save_instruments)}
    if estimand == "model":
        written = (
            intervals
            | {"note": MODEL + (BESIDE if labelled is not None else "" if calibrated is not None else UNCALIBRATED)}
            | written
        )
    summary: dict[str, object] = _summary(estimates, instruments, methods)
    if assign != "none":
        summary["assigned"] = [
            {"exposure": one.exposure, "outcome": one.outcome, "instruments": len(one.variants), "of_other_tasks": lost}
            for one, lost in zip(instruments, chosen.dropped, strict=True)
        ]
    if labelled is not None:
        summary |= _summary_of_calibrated(both, labelled)
        estimand = "model, and calibrated beside it" if len(both) > len(estimates) else estimand
    return summary | {"estimand": estimand, "estimates": str(out)} | written


def _refuse_options_of_the_other(options: Mapping[str, object]) -> None:
    """Raise `InputError` for an option that has no part in what was asked for."""
    whole = inspect.signature(mr).parameters
    of_gwas = options["effects"] is None
    other = FOR_EFFECTS if of_gwas else set(whole) - COMMON - FOR_EFFECTS
    for name in whole:
        if name in other and options.get(name, whole[name].default) != whole[name].default:
            option = f"--{name.replace('_', '-')}"
            raise InputError(
                f"{option} is for an effects file; exposure and outcome are files of GWAS results here"
                if of_gwas
                else f"{option} is for files of GWAS results; here the effects are those of {options['effects']}"
            )


def task_pairs(tasks: Sequence[str], exposure: list[str] | None, outcome: list[str] | None) -> list[Pair]:
    """Return the ordered pairs asked for.

    Parameters
    ----------
    tasks
        Those that there are.
    exposure, outcome
        Names; None for all.

    Raises
    ------
    InputError
        For an unknown task, or no pair.
    """
    for name in (*(exposure or ()), *(outcome or ())):
        if name not in tasks:
            raise InputError(
                f"there is no task {name!r}; the effects have {', '.join(tasks)}{checks.meant(name, tasks)}"
            )
    pairs = [(e, o) for e in dict.fromkeys(exposure or tasks) for o in dict.fromkeys(outcome or tasks) if e != o]
    if not pairs:
        raise InputError(f"a pair needs two different tasks; the effects have {', '.join(tasks)}")
    return pairs


def check_calibration(calibration: Calibration, source: Source, pairs: Sequence[Pair], *, allow_overlap: bool) -> None:
    """Raise `InputError` for a calibration of another ensemble or of the loci themselves; warn of tasks without one.

    Parameters
    ----------
    calibration
        What deepmr calibrate wrote.
    source
        The effects.
    pairs
        Exposure and outcome of each.
    allow_overlap
        Whether loci may have served the calibration.
    """
    check_apart(source, calibration, allow_overlap=allow_overlap)
    for task in sorted({task for pair in pairs for task in pair}):
        if calibration.find(task) is None:
            reason = calibration.skipped.get(task, "it is not in the calibration")
            log.warning("standard errors of task %s are the ensemble's own: %s", task, reason)


def _check_selection(
    labelled: LabelledCalibration, selection: Selection, min_instruments: int, assign: Assignment
) -> None:
    """Warn where instruments are chosen otherwise than at the labelled loci: their shift is that of other slopes.

    Raise `InputError` where edits are assigned otherwise: those are edits of other sites, with slopes of their own.
    """
    then = str(labelled.selection.get("assign", "none"))  # calibrations of before there was the option
    if then != assign:
        raise InputError(
            f"the labelled edits were calibrated with --assign {then}, and --assign is {assign} here: the shift is "
            f"that of other edits; make the calibration with deepmr calibrate --labelled-edits --assign {assign}, or "
            f"give --assign {then} here"
        )
    here = {"rule": selection.rule, "threshold": selection.cut, "significance": selection.significance}
    here["min_instruments"] = min_instruments
    for name, value in here.items():
        if name in labelled.selection and labelled.selection[name] != value:
            log.warning(
                "%s is %s here and was %s when the labelled edits calibrated: make both alike",
                name,
                value,
                labelled.selection[name],
            )


def _summary_of_calibrated(both: Estimates, labelled: LabelledCalibration) -> dict[str, object]:
    """Return a row a pair and method of the calibrated effects."""
    table = both.table[both.table["estimand"] == "calibrated"]
    rows: list[dict[str, object]] = []
    for pair in labelled.pairs:
        here = dict(zip(("method", "exposure", "outcome"), pair.key, strict=True))
        mine = table[_matches(table, here)]
        if len(mine):
            medians = {"median_in_the_model": mine["beta_raw"].median(), "median_calibrated": mine["beta"].median()}
            shift = {"shift": pair.shift, "shrink": pair.shrink, "applied": pair.applied}
            rows.append({**here, "labelled_loci": len(pair.loci), **shift, **medians})
    return {"calibrated": rows} if rows else {}


def _summary(estimates: Estimates, instruments: Sequence[Instruments], methods: Sequence[str]) -> dict[str, object]:
    table, skipped = estimates.table, estimates.skipped
    rows = []
    for packed in instruments:
        for method in methods:
            here = {"exposure": packed.exposure, "outcome": packed.outcome, "method": method}
            mine = table[_matches(table, here)]
            rows.append(
                {
                    **here,
                    "loci": len(packed.loci),
                    "used": len(mine),
                    "estimand": packed.estimand,
                    "skipped": int(_matches(skipped, here).sum()),
                    "median_instruments": float(mine["n"].median()) if len(mine) else 0.0,
                    "median_beta": float(mine["beta"].median()) if len(mine) else None,
                }
            )
    by = ["exposure", "outcome", "reason"]
    why = skipped.groupby([*by, "method"], sort=False).size().reset_index(name="loci")
    why = why.groupby([*by, "loci"], sort=False)["method"].agg(", ".join).reset_index()  # most reasons hold for all
    why = why[["exposure", "outcome", "method", "reason", "loci"]]
    return {"pairs": rows, "loci_skipped": why.to_dict(orient="records")}


def _matches(frame: pd.DataFrame, values: dict[str, str]) -> "pd.Series[bool]":
    return pd.concat([frame[name] == value for name, value in values.items()], axis=1).all(axis=1)
