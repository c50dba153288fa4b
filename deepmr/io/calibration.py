"""Calibration to and from JSON: small enough to read, and what `deepmr mr` and the report take."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from deepmr.errors import InputError
from deepmr.io.files import atomic_path
from deepmr.ism.calibration import Calibration
from deepmr.ism.coverage import IntervalCalibration
from deepmr.ism.reliability import ProbabilityCalibration, Reliability

FORMAT, VERSION = "deepmr-calibration", 1
KINDS: dict[str, type[IntervalCalibration] | type[ProbabilityCalibration]] = {
    "interval": IntervalCalibration,
    "probability": ProbabilityCalibration,
}


def write_calibration(calibration: Calibration, path: Path, *, provenance: Mapping[str, Any] | None = None) -> None:
    """Write a calibration as JSON, all at once or not at all.

    Parameters
    ----------
    calibration : what to write.
    path : file to write; replaced when it is there.
    provenance : what made it, kept under "provenance".
    """
    names = {cls: name for name, cls in KINDS.items()}
    tasks = [{"kind": names[type(task)], **asdict(task), **_applied(task)} for task in calibration.tasks]
    content = {
        "format": FORMAT,
        "version": VERSION,
        **{f.name: getattr(calibration, f.name) for f in fields(calibration) if f.name != "skipped"},
        "tasks": tasks,
        "skipped": dict(calibration.skipped),
        "provenance": dict(provenance or {}),
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=_plain, allow_nan=False) + "\n")


def read_calibration(path: Path) -> Calibration:
    """Read what `write_calibration` has written.

    Raises
    ------
    InputError
        When the file cannot be read, is no calibration, or is one of another version.
    """
    return calibration_of(path, read_content(path))


def read_content(path: Path) -> dict[str, Any]:
    """Read the JSON object of a calibration, of whichever kind.

    Parameters
    ----------
    path : the file.

    Raises
    ------
    InputError
        When the file cannot be read or holds no JSON object.
    """
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: not a JSON file: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a calibration; needed the JSON that deepmr calibrate writes")
    return content


def calibration_of(path: Path, content: Mapping[str, Any]) -> Calibration:
    """Return the calibration of levels that a JSON object holds.

    Parameters
    ----------
    path : where it comes from, for messages.
    content : the object.

    Raises
    ------
    InputError
        When it is no such calibration, or one of another version.
    """
    if content.get("format") == "deepmr-labelled-calibration":
        raise InputError(f"{path}: a calibration on labelled edits; needed one of levels, by --model and --targets")
    if content.get("format") != FORMAT:
        raise InputError(f"{path}: not a calibration; needed the JSON that deepmr calibrate writes")
    with reading(path, content, version=VERSION):
        return Calibration(
            tasks=tuple(_task(entry) for entry in content["tasks"]),
            n_members=int(content["n_members"]),
            skipped=dict(content["skipped"]),
            warnings=tuple(content["warnings"]),
            loci=tuple(content["loci"]),
            digests=tuple(content["digests"]),
            members=tuple(content["members"]),
        )


@contextmanager
def reading(path: Path, content: Mapping[str, Any], *, version: int) -> Iterator[None]:
    """Say in one line what is wrong with a calibration of another version or with values it lacks or has wrong.

    Parameters
    ----------
    path : where it comes from.
    content : the JSON object.
    version : that can be read.
    """
    if content.get("version") != version:
        raise InputError(f"{path}: calibration of version {content.get('version')}; this deepmr reads {version}")
    try:
        yield
    except KeyError as error:
        raise InputError(f"{path}: a calibration without {error.args[0]!r}; it is cut short or was edited") from error
    except (InputError, TypeError, ValueError) as error:
        raise InputError(f"{path}: a calibration with a wrong value: {error}") from error


def _applied(task: IntervalCalibration | ProbabilityCalibration) -> dict[str, float]:
    """Add what a reader of the file wants and `read_calibration` derives."""
    return {"scale": task.scale} if isinstance(task, IntervalCalibration) else {}


def _task(entry: dict[str, Any]) -> IntervalCalibration | ProbabilityCalibration:
    cls = KINDS[entry["kind"]]
    values = {f.name: entry[f.name] for f in fields(cls)}
    if cls is ProbabilityCalibration:
        values["curves"] = tuple(_arrays(Reliability, curve) for curve in values["curves"])
    return cls(**_arrays_in(values))


def _arrays(cls: type[Reliability], values: dict[str, Any]) -> Reliability:
    return cls(**_arrays_in({f.name: values[f.name] for f in fields(cls)}))


def _arrays_in(values: dict[str, Any]) -> dict[str, Any]:
    """Turn lists of numbers into arrays."""
    return {name: np.asarray(value) if isinstance(value, list) else value for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.round(6).tolist()
    raise TypeError(f"cannot write {type(value).__name__} as JSON")
