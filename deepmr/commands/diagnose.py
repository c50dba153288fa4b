"""`deepmr diagnose`: from effects and estimates to tables of diagnostics, figures and a verdict in words."""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from deepmr import checks, schema
from deepmr.commands.calibrations import named, read_calibrations
from deepmr.commands.chosen import read_selection
from deepmr.commands.diagnose_parts import Pair, evidence_of, gather, read_thresholds
from deepmr.commands.record import record_beside, warnings_beside
from deepmr.commands.source import Source, open_source
from deepmr.errors import InputError
from deepmr.io.directories import atomic_directory, check_directory
from deepmr.io.provenance import provenance
from deepmr.io.tables import read_estimates, read_table, write_table
from deepmr.ism.calibration import Calibration
from deepmr.meta import pool_estimates
from deepmr.mr import METHODS
from deepmr.mr.diagnostics import Diagnosis, Evidence, Verdict, diagnose_pair, relate
from deepmr.mr.diagnostics.verdict import LABELLED, SHARED
from deepmr.report import words
from deepmr.report.diagnostics import dose_response, null_distribution, threshold_sensitivity
from deepmr.report.style import DPI
from deepmr.types import Estimates

log = logging.getLogger(__name__)

MARKER = "verdict.json"
LOCUS_WORDS = ("supported", "undecided", "not supported")
Result = tuple[Pair, Evidence, Diagnosis]


def diagnose(
    effects: Path,
    *,
    estimates: Path,
    out: Path,
    meta: Path | None = None,
    model: Path | None = None,
    method: str = "ivw",
    calibration: Path | None = None,
    thresholds: Path | None = None,
    n_loci: int = 50,
    n_draws: int = 999,
    n_background: int = 500,
    level: float = 0.95,
    seed: int = 0,
    figures: Literal["png", "svg", "pdf", "none"] = "png",
    device: str = "auto",
    trust_code: bool = False,
    overwrite: bool = False,
) -> dict[str, object]:
    """Diagnose estimates: what speaks for them, what against, and a verdict in words.

    For every pair in the table: strength, curvature, scatter, direction, unusual edits, sensitivity to the threshold,
    permuted outcomes and members one by one; with the model at hand also double edits and shuffled sequences. Writes a
    folder: a table of each, figures, verdict.txt and verdict.json.

    Parameters
    ----------
    effects
        Effects of edits that the estimates were made from: effects.h5, or a TSV or NPZ table made elsewhere.
    estimates
        What deepmr mr wrote; instruments are chosen as recorded beside it.
    out
        Folder to make.
    meta
        What deepmr meta wrote; by default loci are pooled anew.
    model
        Ensemble directory that the effects come from: adds double edits, shuffled sequences and validation quality.
    method
        Estimator whose effects are judged.
    calibration
        What deepmr calibrate wrote of levels, to correct standard errors; by default the one recorded beside the
        estimates. Effects calibrated on labelled edits are judged as they stand in the estimates.
    thresholds
        Table of pooled effects at other rules and thresholds, to be judged in place of those computed here.
    n_loci
        Most loci of an exposure at which the model makes double edits and shuffles.
    n_draws
        Permutations of each kind.
    n_background
        Loci, drawn at random, whose outcomes are permuted.
    level
        Level of the confidence intervals.
    seed
        Of all draws.
    figures
        Format of the figures, or none.
    device
        auto, cpu, cuda or cuda:1, for the model.
    trust_code
        Run Python code that the ensemble brings along.
    overwrite
        Replace a folder that this command made.

    Returns
    -------
    dict
        The verdicts, how many loci are supported, findings by severity, and the folder.

    Raises
    ------
    InputError
        For a file or option that cannot be used, or estimates that are not of these effects.
    """
    options = {name: value for name, value in locals().items() if name != "overwrite"}
    checks.one_of("method", method, METHODS)
    checks.level(level)
    for name, count, least in (("n_loci", n_loci, 1), ("n_draws", n_draws, 19), ("n_background", n_background, 2)):
        checks.at_least(name, count, least)
    checks.at_least("seed", seed, 0)
    check_directory(out, marker=MARKER, overwrite=overwrite)
    local = read_estimates(estimates)
    pooled = None if meta is None else read_estimates(meta)
    made = record_beside(estimates).get("options", {})
    paths = _recorded(made) if calibration is None else [calibration]
    calibrated, _ = read_calibrations(paths)  # labels are in the estimates already
    ready = None if thresholds is None else read_thresholds(thresholds, read_table(thresholds))
    scaling = made.get("scaling", "variance")
    with open_source(effects) as source:
        pairs = _pairs(local, source, method, estimates)
        assign = made.get("assign", "none")
        causes = [t.name for t in source.tasks] if assign != "none" else [task for pair in pairs for task in pair]
        selection = read_selection(source, causes, options=made)
        gathered = gather(
            source,
            pairs,
            selection=selection,
            calibration=calibrated,
            scaling=scaling,
            method=method,
            min_instruments=int(made.get("min_instruments", 3)),
            n_background=n_background,
            level=level,
            seed=seed,
            assign=assign,
        )
        pieces = {
            pair: evidence_of(
                source, gathered, pair, selection=selection, ready=ready, calibration=calibrated, scaling=scaling,
                level=level,
            )
            for pair in pairs
        }  # fmt: skip
        if model is not None:
            pieces = _with_model(
                pieces,
                model,
                source,
                calibration=calibrated,
                made=made,
                n_loci=n_loci,
                seed=seed,
                level=level,
                device=device,
                trust_code=trust_code,
            )
    results = []
    for pair, given in pieces.items():
        for mine in _by_estimand(local, pair, method):
            row = _pooled_row(mine, pooled, method, level)
            found = diagnose_pair(
                given, estimates=mine, pooled=row, method=method, n_draws=n_draws, seed=seed, level=level
            )
            results.append((pair, given, found))
    inputs = {"effects": effects, "estimates": estimates, "meta": meta, "model": model, "thresholds": thresholds,
              **named(paths)}  # fmt: skip
    record = provenance("diagnose", options=options, inputs={k: v for k, v in inputs.items() if v}, seed=seed)
    said = [*_said(results), *warnings_beside(estimates).values()]
    with atomic_directory(out) as folder:
        _write(results, said, folder, record)
        n_figures = 0 if figures == "none" else _draw(results, folder, suffix=figures)
    return _summary(results, said) | {"figures": n_figures, "folder": str(out)}


def _recorded(made: Mapping[str, Any]) -> list[Path]:
    """Return the calibrations that the estimates were made with, where they still are."""
    given = made.get("calibration") or []
    paths = [Path(str(one)) for one in ([given] if isinstance(given, str) else given)]
    for path in paths:
        if not path.is_file():
            log.warning("%s, which the estimates were made with, is gone: standard errors are the ensemble's own", path)
    return [path for path in paths if path.is_file()]


def _pairs(local: Estimates, source: Source, method: str, path: Path) -> list[Pair]:
    """Return the pairs that the method was run on."""
    both = pd.concat([local.table, local.skipped], ignore_index=True)
    mine = both[both["method"] == method]
    if mine.empty:
        run = ", ".join(dict.fromkeys(both["method"])) or "none"
        raise InputError(f"{path}: has no rows of method {method!r}; it has {run}")
    names = [task.name for task in source.tasks]
    pairs = list(dict.fromkeys(zip(mine["exposure"], mine["outcome"], strict=True)))
    for task in dict.fromkeys(name for pair in pairs for name in pair):
        if task not in names:
            raise InputError(f"{path}: {task!r} is no task of the effects, which have {', '.join(names)}")
    strange = set(mine["locus"]) - set(source.loci)
    if strange:
        raise InputError(
            f"{path}: {len(strange)} loci are not among those of the effects, first {sorted(strange)[0]!r}"
        )
    return pairs


def _with_model(
    pieces: Mapping[Pair, Evidence],
    model: Path,
    source: Source,
    *,
    calibration: Calibration | None,
    made: Mapping[str, Any],
    n_loci: int,
    seed: int,
    level: float,
    device: str,
    trust_code: bool,
) -> dict[Pair, Evidence]:
    """Add what the model can compute."""
    from deepmr.commands.diagnose_model import compute, load_model, read_metrics  # torch

    if source.file is None:
        raise InputError("--model needs the effects.h5 that it made, which has the sequences; got a table")
    ensemble = load_model(model, source.file, device=device, trust_code=trust_code)
    computed = compute(
        ensemble,
        source.file,
        [given.instruments for given in pieces.values()],
        calibration=calibration,
        options={"scaling": made.get("scaling", "variance"), "level": level},
        n_loci=n_loci,
        seed=seed,
    )
    metrics = read_metrics(model)
    found = {}
    for (exposure, outcome), given in pieces.items():
        more: dict[str, Any] = {"metrics": metrics}
        if computed is not None:
            pairs = computed.pairs.get(exposure)
            more["shuffled"] = computed.shuffled.get(exposure)
            if pairs is not None and len(pairs):
                more |= {"doubles": computed.doubles, "pairs": pairs}
        found[exposure, outcome] = replace(given, **more)
    return found


def _by_estimand(local: Estimates, pair: Pair, method: str) -> Iterator[Estimates]:
    """Yield the local estimates of a pair for each estimand that has any; once where there is none."""
    table, gone = local.table, local.skipped
    mine = _is(table, pair, method)
    skipped = gone[_is(gone, pair, method)].reset_index(drop=True)
    kinds = list(dict.fromkeys(table.loc[mine, "estimand"])) or [None]
    for kind in kinds:
        chosen = local.take((mine & (table["estimand"] == kind)).to_numpy(bool))
        yield replace(chosen, skipped=skipped)


def _is(frame: pd.DataFrame, pair: Pair, method: str) -> "pd.Series[bool]":
    return (frame["exposure"] == pair[0]) & (frame["outcome"] == pair[1]) & (frame["method"] == method)


def _pooled_row(mine: Estimates, meta: Estimates | None, method: str, level: float) -> dict[str, Any] | None:
    """Return the pooled effect: that of the meta-analysis, or pooled here."""
    if not len(mine):
        return None
    first = mine.table.iloc[0]
    if meta is None:
        return dict(pool_estimates(mine, level=level).table.iloc[0])
    table = meta.table
    rows = table[_is(table, (first["exposure"], first["outcome"]), method) & (table["estimand"] == first["estimand"])]
    if rows.empty:
        log.warning("the meta-analysis has no row of %s: pooled anew", method)
        return dict(pool_estimates(mine, level=level).table.iloc[0])
    return dict(rows.iloc[0])


def _said(results: Sequence[Result]) -> Iterator[str]:
    """Yield the verdict of every pair, then of both directions together, then what none of them can see."""
    verdicts = [found.verdict for _, _, found in results]
    alike: dict[tuple[str, str, str], list[Verdict]] = {}
    for (
        verdict
    ) in verdicts:  # effects of both estimands that are judged alike, and for the same reasons, share a sentence
        reasons = verdict.sentence.replace(verdict.effect, "")
        alike.setdefault((verdict.exposure, verdict.outcome, reasons), []).append(verdict)
    for one, *others in alike.values():
        yield one.sentence.replace(one.effect, " and ".join([one.effect, *(other.effect for other in others)]))
    related: dict[tuple[str, str], dict[str, str]] = {}
    for one, other in combinations(verdicts, 2):
        if (one.exposure, one.outcome, one.estimand) == (other.outcome, other.exposure, other.estimand):
            related.setdefault((one.exposure, one.outcome), {})[one.estimand] = relate(one, other)
    for said in related.values():
        differ = len(set(said.values())) > 1
        yield from ([f"{words.EFFECTS[name]}: {text}" for name, text in said.items()] if differ else set(said.values()))
    caveats = list(dict.fromkeys(verdict.caveat for verdict in verdicts))
    yield from [text for text in caveats if text != SHARED or LABELLED not in caveats]  # the other says where it holds


def _summary(results: Sequence[Result], said: Sequence[str]) -> dict[str, object]:
    rows = []
    for (exposure, outcome), _, found in results:
        loci = found.tables["loci"]["verdict"].value_counts()
        severity = found.tables["findings"]["severity"].value_counts()
        rows.append(
            {
                "exposure": exposure,
                "outcome": outcome,
                "estimand": found.verdict.estimand,
                "verdict": found.verdict.judgement,
                **{f"loci_{word.replace(' ', '_')}": int(loci.get(word, 0)) for word in LOCUS_WORDS},
                **{word: int(severity.get(word, 0)) for word in ("against", "undecided", "doubt", "note", "fine")},
            }
        )
    return {"verdict": list(said), "pairs": rows}


def _write(results: Sequence[Result], said: Sequence[str], folder: Path, record: dict[str, Any]) -> None:
    for name in schema.DIAGNOSTICS:
        parts = [found.tables[name] for _, _, found in results if name in found.tables]
        if parts:
            write_table(pd.concat(parts, ignore_index=True), folder / f"{name}.tsv")
    verdicts = [
        {
            "exposure": found.verdict.exposure,
            "outcome": found.verdict.outcome,
            "estimand": found.verdict.estimand,
            "judgement": found.verdict.judgement,
            "sentence": found.verdict.sentence,
            "caveat": found.verdict.caveat,
            "findings": [asdict(finding) for finding in found.verdict.findings],
        }
        for _, _, found in results
    ]
    text = json.dumps({"verdicts": verdicts, "said": list(said), "provenance": record}, indent=2, ensure_ascii=False)
    (folder / MARKER).write_text(text + "\n", encoding="utf-8")
    (folder / "verdict.txt").write_text("\n".join(said) + "\n", encoding="utf-8")


def _draw(results: Sequence[Result], folder: Path, *, suffix: str) -> int:
    """Draw every pair once, whatever its estimands."""
    place = folder / "figures"
    place.mkdir()
    written = 0
    once = {pair: (given, found.tables) for pair, given, found in results}
    for (exposure, outcome), (given, tables) in once.items():
        drawn = {"dose_response": dose_response(given.instruments, doubles=tables.get("double_effects"))}
        if len(tables.get("thresholds", ())):
            drawn["thresholds"] = threshold_sensitivity(tables["thresholds"], used=given.threshold)
        if "null" in tables:
            drawn["null"] = null_distribution(tables["null"], tables["permutation"])
        for name, figure in drawn.items():
            where = place / f"{name}_{_file_name(f'{exposure}_{outcome}')}.{suffix}"
            figure.savefig(where, format=suffix, dpi=DPI)
            written += 1
    return written


def _file_name(name: str) -> str:
    """Return a name without what a file name may not hold."""
    return re.sub(r"[^\w.+-]+", "-", name)[:120]
