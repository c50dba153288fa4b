"""`deepmr report` of an analysis of GWAS results: what `deepmr mr` wrote, on one page."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepmr.commands.mr_gwas import dropped_path, instruments_path
from deepmr.commands.record import record_beside
from deepmr.errors import InputError
from deepmr.io.files import atomic_path
from deepmr.io.instruments import read_instruments
from deepmr.io.provenance import file_sha256, provenance
from deepmr.io.tables import read_estimates, read_table
from deepmr.report import words
from deepmr.report.gwas import GwasRun, Trait, verdicts
from deepmr.report.page import render_gwas_page
from deepmr.types import Estimates, Instruments

log = logging.getLogger(__name__)


def report_gwas(
    *, estimates: Path, instruments: Path | None, out: Path, options: Mapping[str, Any]
) -> dict[str, object]:
    """Write the page of an analysis of GWAS results.

    Parameters
    ----------
    estimates
        Table of `deepmr mr` without an effects file.
    instruments
        Its instruments; None for those recorded beside the table.
    out
        HTML file to write.
    options
        All options as given, for the record.
    """
    local, record = read_estimates(estimates), record_beside(estimates)
    if source := record.get("options", {}).get("effects"):
        raise InputError(f"{estimates} was made from {source}: needed that file too, and --meta")
    place = instruments or _recorded(record, estimates)
    pairs = read_instruments(place, several=True) if len(local) or place.is_file() else []
    _check_pairs(local, pairs, estimates, place)
    recorded = [Trait(
        name=str(one["trait"]), role=str(one["role"]), file=Path(str(one["file"])).name, rows=int(one["rows"]),
        used=int(one["used"]), columns=dict(one["columns"]), notes=tuple(map(str, one["notes"])),
    ) for one in record.get("traits", [])]  # fmt: skip
    lost = dropped_path(estimates)
    inputs = {"estimates": estimates, "instruments": place}
    run = GwasRun(
        estimates=local,
        instruments=tuple(pairs),
        traits=tuple(recorded),
        counts=tuple(record.get("variants", [])),
        dropped=read_table(lost) if lost.is_file() else None,
        min_instruments=int(record.get("options", {}).get("min_instruments", 3)),
        provenance={estimates.name: record, "this page": provenance("report", options=options, inputs=inputs)},
        estimates_name=estimates.name,
        dropped_name=lost.name,
        instruments_name=place.name,
        notes=tuple(_notes(record, lost, pairs)),
    )
    page = render_gwas_page(run)
    with atomic_path(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    log.info("wrote %s, %.1f MB", out, len(page.encode()) / 1e6)
    columns = ["exposure", "outcome", "method", "beta", "ci_low", "ci_high", "n"]
    said = verdicts(run)
    return {
        "warnings": list(run.doubts()),
        "effects": run.headline[columns].to_dict(orient="records"),
        "verdict": list(said[0][1]) if len(said) == 1 else [f"{pair}: {_short(one)}" for pair, one in said],
        "estimand": words.EFFECTS["population"],
        "notes": list(run.notes),
        "report": str(out),
    }


def _short(sentences: Sequence[str]) -> str:
    """Return the answer and what to make of it, of many sentences the first and the last."""
    return " ".join(dict.fromkeys((sentences[0], sentences[-1])))


def _recorded(record: Mapping[str, Any], estimates: Path) -> Path:
    """Return where the instruments are: where the record says, or beside the table."""
    beside = instruments_path(estimates)
    named = record.get("options", {}).get("save_instruments")
    if named is None:
        return beside
    places = (Path(named), estimates.parent / Path(named).name)
    return next((path for path in places if path.is_file()), beside)


def _check_pairs(local: Estimates, pairs: list[Instruments], estimates: Path, place: Path) -> None:
    """Raise `InputError` unless the instruments are those of the estimates."""
    known = {(exposure, pair.outcome): len(pair.variants) for pair in pairs for exposure in pair.exposures}
    table = local.table
    for exposure, outcome, n in zip(table["exposure"], table["outcome"], table["n"], strict=True):
        if (exposure, outcome) not in known:
            raise InputError(f"{place}: has no instruments of {exposure} and {outcome}, which {estimates} has")
        if n > known[exposure, outcome]:
            raise InputError(
                f"{place}: has {known[exposure, outcome]} instruments of {exposure} and {outcome}; "
                f"{estimates} used {n}: another run's?"
            )


def _notes(record: Mapping[str, Any], lost: Path, pairs: list[Instruments]) -> Iterator[str]:
    """Yield what a reader should know is missing or doubtful, a sentence each."""
    options = record.get("options", {})
    if not record:
        yield "Nothing is recorded beside the estimates: files, columns and steps are not shown."
    if not lost.is_file():
        yield f"{lost.name} is not there: dropped variants are not shown."
    for path, sha in ((one.get("path", ""), one.get("sha256")) for one in record.get("inputs", {}).values()):
        if Path(path).is_file() and file_sha256(Path(path)) != sha:
            yield f"{Path(path).name} has changed since the estimates were made: run deepmr mr again."
    for doubt in dict.fromkeys(str(text) for one in record.get("variants", []) for text in one.get("doubts", [])):
        yield f"{doubt}."
    if options.get("correlation") is not None:
        yield "The instruments are correlated: figures and sensitivity analyses take them as independent."
    loose = any(one.get("clumped_by") == "none" for one in record.get("variants", []))
    if loose and options.get("correlation") is None:
        yield "The instruments were not clumped: intervals are right if they are independent."
    ratios = {"odds_ratio", "hazard_ratio"}
    read = {str(one["trait"]) for one in record.get("traits", []) if ratios & set(one["columns"])}
    alone = {pair.outcome for pair in pairs if len(pair.exposures) == 1 and pair.n is not None}
    for trait in sorted(alone & read):
        yield (
            f"The test of the direction takes {trait} as measured. For a disease, deepmr sensitivity with --cases, "
            "--controls and --prevalence takes its liability."
        )
    if any(len(pair.exposures) > 1 for pair in pairs):
        yield "Several exposures are in one model: there are no figures of single variants, whose effects are shared."
