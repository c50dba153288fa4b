"""`deepmr thresholds`: the pooled effect by the rule that chooses instruments and by its threshold."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from deepmr import checks
from deepmr.commands.chosen import read_selection
from deepmr.commands.grid import Scan, scan_rules
from deepmr.commands.meta_parts import check_figure
from deepmr.commands.mr import check_calibration, task_pairs
from deepmr.commands.source import Source, open_source
from deepmr.errors import InputError, TooFewInstruments
from deepmr.instruments.strength import THRESHOLDS, Selection
from deepmr.io.calibration import read_calibration
from deepmr.io.files import atomic_path, check_writable
from deepmr.io.provenance import provenance
from deepmr.io.tables import skipped_path, write_table
from deepmr.mr import METHODS
from deepmr.report.style import DPI
from deepmr.report.thresholds import threshold_figure

GRID = {
    "relative": (0.05, 0.1, 0.25, 0.4, 0.75),
    "f": (3.0, 5.0, 10.0, 30.0, 100.0),
    "zscore": (0.5, 1.0, 2.0, 3.0),
    "motif": (0.0, 0.1, 0.25, 0.5),
}


def thresholds(
    effects: Path,
    *,
    out: Path,
    exposure: list[str] | None = None,
    outcome: list[str] | None = None,
    method: str = "ivw",
    grid: list[str] | None = None,
    significance: float = 0.05,
    spans: Path | None = None,
    motif: list[str] | None = None,
    min_instruments: int = 3,
    loci: Literal["own", "common"] = "own",
    calibration: Path | None = None,
    scaling: Literal["variance", "isotonic"] = "variance",
    allow_overlap: bool = False,
    level: float = 0.95,
    save_figure: Path | None = None,
    overwrite: bool = False,
) -> dict[str, object]:
    """Show how the pooled effect depends on which edits are instruments.

    Chooses the instruments of every pair anew for each rule and threshold, estimates at every locus, and pools: a row
    each, in one pass over the effects however many there are. An effect worth believing hardly moves.

    Parameters
    ----------
    effects
        Effects of edits: effects.h5, or a TSV or NPZ table made elsewhere.
    out
        Table to write (TSV); what has no estimate, and why, goes to `.skipped.tsv` beside it.
    exposure
        Tasks taken as the cause, default all.
    outcome
        Tasks taken as the effect, default all.
    method
        Estimator at single loci; as those of deepmr mr.
    grid
        Rules with their thresholds, as relative=0.1,0.25,0.5; default a range of each rule about its own default.
    significance
        Level of the test that the relative and motif rules add; 1 turns it off.
    spans
        Where instruments of the motif rule lie, as for deepmr mr; without it the rule is left out.
    motif
        Names of the spans that count, as for deepmr mr.
    min_instruments
        Fewest instruments that a locus needs.
    loci
        Pool the loci that each choice has an estimate for, or only those in common to all choices of a pair, so that
        the loci are the same.
    calibration
        What deepmr calibrate wrote; corrects standard errors.
    scaling
        Correction to use: one factor of the variance, or isotonic at the level.
    allow_overlap
        Accept loci that the calibration was fitted to.
    level
        Level of the confidence intervals.
    save_figure
        Pooled effects against thresholds (PNG, SVG or PDF by its ending); several pairs get a file each, with their
        names added.
    overwrite
        Replace results that are there.

    Returns
    -------
    dict
        Between what the pooled effects of each pair and rule lie, and how many loci they rest on; the files.

    Raises
    ------
    InputError
        For a file, task, rule or option that cannot be used.
    TooFewInstruments
        When no choice gives an estimate; nothing is written.
    """
    options = {name: value for name, value in locals().items() if name != "overwrite"}
    checks.one_of("method", method, METHODS)
    checks.level(level)
    checks.at_least("min_instruments", min_instruments, 1)
    wanted = _grid(grid, with_spans=spans is not None)
    record_path = out.with_name(out.name + ".json")
    if save_figure is not None:
        check_figure(save_figure)
    for path in (out, skipped_path(out), record_path):
        check_writable(path, overwrite=overwrite)
    calibrated = None if calibration is None else read_calibration(calibration)
    with open_source(effects) as source:
        pairs = task_pairs([task.name for task in source.tasks], exposure, outcome)
        figures = {} if save_figure is None else _figure_files(save_figure, pairs)
        for path in figures.values():
            check_writable(path, overwrite=overwrite)
        if calibrated is not None:
            check_calibration(calibrated, source, pairs, allow_overlap=allow_overlap)
        found = scan_rules(
            source,
            pairs,
            selections=_selections(source, pairs, wanted, options),
            method=method,
            min_instruments=min_instruments,
            common=loci == "common",
            calibration=calibrated,
            scaling=scaling,
            level=level,
        )
    if found.table.empty:
        raise TooFewInstruments(f"no choice of instruments gives an estimate by {method} at any locus")
    inputs = {"effects": effects} | {
        name: path for name, path in (("calibration", calibration), ("spans", spans)) if path is not None
    }
    _write(found, out, record=provenance("thresholds", options=options, inputs=inputs))
    drawn = _draw(found, figures)
    files: dict[str, object] = {"table": str(out), "loci_skipped": str(skipped_path(out))}
    files |= {"figures": drawn} if drawn else {}
    return {"pooled": _ranges(found.table)} | files


def _grid(texts: Sequence[str] | None, *, with_spans: bool) -> list[tuple[str, float]]:
    """Return rules and thresholds as they are asked for."""
    if texts is None:
        return [(rule, value) for rule, values in GRID.items() if rule != "motif" or with_spans for value in values]
    found = []
    for text in texts:
        rule, _, values = text.partition("=")
        checks.one_of("rule of --grid", rule, THRESHOLDS)
        try:
            numbers = [float(value) for value in values.split(",")]
        except ValueError:
            raise InputError(f"--grid must be a rule and its thresholds, as relative=0.1,0.25; got {text!r}") from None
        found += [(rule, value) for value in numbers]
    checks.unique("points of --grid", found)
    return found


def _selections(
    source: Source, pairs: Sequence[tuple[str, str]], wanted: Sequence[tuple[str, float]], options: dict[str, object]
) -> list[Selection]:
    exposures = [exposure for exposure, _ in pairs]
    shared = {"significance": options["significance"]}
    by_motif: dict[str, object] = {"spans": options["spans"], "motif": options["motif"]}
    if options["spans"] is not None and not any(rule == "motif" for rule, _ in wanted):
        raise InputError("--spans are for the rule motif, which --grid does not name")
    base = None
    found = []
    for rule, threshold in wanted:
        how: dict[str, object] = {**shared, "rule": rule, "threshold": threshold}
        if rule != "motif":
            found.append(read_selection(source, exposures, options=how))
            continue
        base = base or read_selection(source, exposures, options={**how, **by_motif})  # the file is read once
        found.append(Selection(rule="motif", threshold=threshold, significance=base.significance, spans=base.spans))
    return found


def _write(found: Scan, out: Path, *, record: dict[str, object]) -> None:
    with atomic_path(out.with_name(out.name + ".json")) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")
        write_table(found.skipped, skipped_path(out))
        write_table(found.table, out)


def _figure_files(path: Path, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Path]:
    if len(pairs) == 1:
        return {pairs[0]: path}
    names = {pair: re.sub(r"[^\w.+-]+", "-", f"{path.stem}_{pair[0]}_{pair[1]}")[:120] for pair in pairs}
    return {pair: path.with_name(name + path.suffix) for pair, name in names.items()}


def _draw(found: Scan, files: dict[tuple[str, str], Path]) -> list[str]:
    drawn = []
    for (exposure, outcome), path in files.items():
        mine = (found.table["exposure"] == exposure) & (found.table["outcome"] == outcome)
        if mine.any():
            figure = threshold_figure(found.table, exposure=exposure, outcome=outcome)
            with atomic_path(path) as temporary:
                figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=DPI)
            drawn.append(str(path))
    return drawn


def _ranges(table: pd.DataFrame) -> list[dict[str, object]]:
    """Return between what the effects of each pair and rule lie, for the screen."""
    rows = []
    for (exposure, outcome, rule), part in table.groupby(["exposure", "outcome", "rule"], sort=False):
        row: dict[str, object] = {"exposure": exposure, "outcome": outcome, "rule": rule}
        row["thresholds"] = ", ".join(f"{value:g}" for value in part["threshold"])
        row |= {"least_beta": float(part["beta"].min()), "largest_beta": float(part["beta"].max())}
        row |= {"fewest_loci": int(part["n_loci"].min()), "most_loci": int(part["n_loci"].max())}
        rows.append(row)
    return rows
