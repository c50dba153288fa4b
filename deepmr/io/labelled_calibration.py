"""Calibration on labelled edits to and from JSON; and whichever calibration a file holds."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from deepmr.errors import InputError
from deepmr.io.calibration import FORMAT as LEVEL_FORMAT
from deepmr.io.calibration import calibration_of, read_content, reading
from deepmr.io.files import atomic_path
from deepmr.ism.calibration import Calibration
from deepmr.labelled import LabelledCalibration, PairCalibration

FORMAT, VERSION = "deepmr-labelled-calibration", 1
NEEDED = "the JSON that deepmr calibrate writes"


def write_labelled_calibration(
    calibration: LabelledCalibration,
    path: Path,
    *,
    worth: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a calibration on labelled edits as JSON, all at once or not at all.

    Parameters
    ----------
    calibration : what to write.
    path : file to write; replaced when it is there.
    worth : what more labels would be worth, for a reader of the file.
    provenance : what made it.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        **{f.name: getattr(calibration, f.name) for f in fields(calibration)},
        "skipped": dict(calibration.skipped),
        "selection": dict(calibration.selection),
        "units": dict(calibration.units),
        "pairs": [
            {"applied": pair.applied, "applied_se": pair.applied_se, **asdict(pair)} for pair in calibration.pairs
        ],
        "worth": dict(worth or {}),
        "provenance": dict(provenance or {}),
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=_plain, allow_nan=False) + "\n")


def read_any_calibration(path: Path) -> Calibration | LabelledCalibration:
    """Read a calibration of levels or one on labelled edits, whichever the file holds.

    Parameters
    ----------
    path : JSON that `deepmr calibrate` wrote.

    Raises
    ------
    InputError
        When the file cannot be read, is no calibration, or is one of another version.
    """
    content = read_content(path)
    if content.get("format") == LEVEL_FORMAT:
        return calibration_of(path, content)
    return _labelled_of(path, content)


def read_labelled_calibration(path: Path) -> LabelledCalibration:
    """Read what `write_labelled_calibration` has written.

    Parameters
    ----------
    path : the file.

    Raises
    ------
    InputError
        When the file cannot be read, is no calibration on labelled edits, or is one of another version.
    """
    return _labelled_of(path, read_content(path))


def _labelled_of(path: Path, content: dict[str, Any]) -> LabelledCalibration:
    if content.get("format") != FORMAT:
        raise InputError(f"{path}: not a calibration; needed {NEEDED}")
    with reading(path, content, version=VERSION):
        return LabelledCalibration(
            pairs=tuple(_pair(entry) for entry in content["pairs"]),
            skipped=dict(content["skipped"]),
            warnings=tuple(content["warnings"]),
            loci=tuple(content["loci"]),
            digests=tuple(content["digests"]),
            members=tuple(content["members"]),
            level_calibration=str(content["level_calibration"]),
            selection=dict(content["selection"]),
            units=dict(content.get("units", {})),
        )


def _pair(entry: dict[str, Any]) -> PairCalibration:
    values = {f.name: entry[f.name] for f in fields(PairCalibration)}
    values["loci"] = tuple(values["loci"])
    numeric = {name: np.asarray(value, dtype=float) for name, value in values.items() if isinstance(value, list)}
    return PairCalibration(**(values | numeric))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"cannot write {type(value).__name__} as JSON")
