"""The parts of a page that have files of their own: what `deepmr report` shows where they are given."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from deepmr import checks, schema
from deepmr.commands.record import record_beside
from deepmr.commands.seqlets import families_path
from deepmr.errors import InputError
from deepmr.io.files import read_bytes
from deepmr.io.labelled_calibration import read_labelled_calibration
from deepmr.io.tables import numbers, read_table
from deepmr.report.content import Section, leading_method
from deepmr.report.drawn import (
    diagnostics_drawings,
    labelled_drawings,
    network_drawings,
    seqlet_drawings,
    threshold_drawings,
)
from deepmr.report.judged import diagnostics_section, labelled_section
from deepmr.report.sections import network_section, seqlet_section, threshold_section
from deepmr.report.spacing import spacing_effects, spacing_section
from deepmr.types import Estimates

MAX_DISTANCES = 6  # buckets of distance
DRAWN = ("loci", "null", "permutation")  # tables of that folder that the page shows
NUMBERS = (
    "threshold", "beta", "se", "ci_low", "ci_high", "n_loci", "n_instruments", "share", "family", "start", "end",
    "contrast", "contrast_se", "level", "direct_fdr",
    *(f"{kind}{bound}" for kind in ("direct", "total", "mediated") for bound in ("", "_ci_low", "_ci_high")),
)  # fmt: skip
VERDICT = "verdict.json"  # in the folder of deepmr diagnose


def extra_sections(
    files: Mapping[str, Path | None],
    *,
    local: Estimates,
    pooled: Estimates,
    truth: pd.DataFrame | None = None,
    warnings: tuple[str, ...] = (),
) -> tuple[Section, ...]:
    """Read the files that were given and return their parts of the page, in the order in which a reader asks.

    Parameters
    ----------
    files : by option; None for one that was not given.
    local : effects at single loci.
    pooled : global effects.
    truth : true effects of a simulation, columns exposure, outcome, beta.
    warnings : what the network begins with.
    """
    given = {name: path for name in ORDER if (path := files.get(name)) is not None}
    judged = judgements(files.get("diagnostics"))
    builders: dict[str, Builder] = {
        **_BUILDERS,
        "labelled": lambda path, _, pooled: _labelled(path, pooled, truth),
        "network": lambda path, *_: _network(path, warnings, judged),
    }
    return tuple(builders[name](path, local, pooled) for name, path in given.items())


def part_records(files: Mapping[str, Path | None]) -> dict[str, Mapping[str, Any]]:
    """Return how the parts of a page were made, by option; of diagnostics, from their verdicts.

    Parameters
    ----------
    files : by option; None for one that was not given.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for name, path in files.items():
        if path is not None and name != "diagnostics":
            found[name] = record_beside(path)
        elif path is not None and (path / VERDICT).is_file():
            made = _json(path / VERDICT).get("provenance")
            found[name] = made if isinstance(made, Mapping) else {}
    return found


def judgements(folder: Path | None) -> dict[tuple[str, str, str], str]:
    """Return what `deepmr diagnose` judged, by exposure, outcome and estimand.

    Parameters
    ----------
    folder : that it wrote; None for none.
    """
    if folder is None or not (folder / VERDICT).is_file():
        return {}
    found = _json(folder / VERDICT).get("verdicts", [])
    return {
        (one["exposure"], one["outcome"], one["estimand"]): str(one["judgement"]) for one in found if "judgement" in one
    }


def _diagnostics(path: Path, local: Estimates, pooled: Estimates) -> Section:
    if not path.is_dir():
        raise InputError(f"{path}: needed the folder that deepmr diagnose wrote")
    content = _json(path / VERDICT)
    tables = {one.stem: read_table(one) for one in (path / f"{name}.tsv" for name in DRAWN) if one.is_file()}
    loci = tables.pop("loci", None)
    ready = {name: _numeric(path / f"{name}.tsv", table) for name, table in tables.items()}
    try:
        drawings = diagnostics_drawings(ready)
        return diagnostics_section(content, loci=loci, name=path.name, drawings=drawings)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path / VERDICT}: not what deepmr diagnose writes: lacks {error}") from error


def _labelled(path: Path, pooled: Estimates, truth: pd.DataFrame | None) -> Section:
    content = _json(path)
    if "pairs" not in content:
        raise InputError(f"{path}: not a calibration on labelled edits; give one of levels as --calibration")
    try:
        drawings = labelled_drawings(read_labelled_calibration(path), pooled, truth=truth)
        return labelled_section(content, pooled, name=path.name, drawings=drawings)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a calibration on labelled edits: lacks {error}") from error


def _spacing(path: Path, local: Estimates, pooled: Estimates) -> Section:
    frame = _columns(path, "distances", ("locus", "distance"))
    frame = frame.assign(distance=numbers(path, frame, "distance", missing="unknown")).dropna(subset="distance")
    try:
        found = spacing_effects(local, frame, method=leading_method(pooled), n_buckets=MAX_DISTANCES)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return spacing_section(found, name=path.name)


def _thresholds(path: Path, local: Estimates, pooled: Estimates) -> Section:
    frame = _numeric(path, _columns(path, "thresholds", tuple(schema.THRESHOLDS)))
    return threshold_section(frame, name=path.name, drawings=threshold_drawings(frame))


def _seqlets(path: Path, local: Estimates, pooled: Estimates) -> Section:
    needed = ("exposure", "outcome", "locus", "start", "end", "beta", "verdict", "estimand")
    frame, beside = _numeric(path, _columns(path, "seqlets", needed)), families_path(path)
    families = _numeric(beside, read_table(beside)) if beside.is_file() else None
    drawings = () if families is None else seqlet_drawings(frame, families)
    return seqlet_section(frame, name=path.name, drawings=drawings)


def _network(path: Path, warnings: tuple[str, ...], judged: Mapping[tuple[str, str, str], str]) -> Section:
    frame = _numeric(path, _columns(path, "network", ("exposure", "outcome", "estimand")))
    drawings = network_drawings(frame, judgements=judged)
    return network_section(frame, name=path.name, drawings=drawings, warnings=warnings, judgements=judged)


def _columns(path: Path, what: str, needed: tuple[str, ...]) -> pd.DataFrame:
    frame = read_table(path)
    try:
        checks.columns(what, frame.columns, needed)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return frame


def _numeric(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose effects, thresholds and counts are numbers, NaN where they are empty."""
    names = [name for name in NUMBERS if name in frame]
    return frame.assign(**{name: numbers(path, frame, name, missing="not given") for name in names})


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_bytes(path))
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: needed a JSON object")
    return content


Builder = Callable[[Path, Estimates, Estimates], Section]
_BUILDERS: dict[str, Builder] = {
    "diagnostics": _diagnostics,
    "seqlets": _seqlets,
    "spacing": _spacing,
    "thresholds": _thresholds,
}
# What says how sure the answer is comes first.
ORDER = ("labelled", "diagnostics", "network", "seqlets", "spacing", "thresholds")
