"""Fitted responses <-> folders: `meta.json`, `arrays.safetensors` and, where there is one, the log of training.

Nothing in a folder is executed when it is read: arrays are plain numbers, `kind` a word of a fixed table.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd

from deepmr.individual import DoseResponse, FitRecord
from deepmr.io import array_folders
from deepmr.io.array_folders import ARRAYS, META, FolderFormat
from deepmr.io.directories import atomic_directory
from deepmr.nonlinear import response_from_state

__all__ = ["ARRAYS", "META", "TRAINING", "read_meta", "read_response", "write_files", "write_response"]

FORMAT = FolderFormat(name="deepmr-iv-response", version=1, of="deepmr iv")
TRAINING = "training.csv"
_PAIRS = ("domain", "central", "quartiles", "instruments", "covariates", "warnings")  # tuples, which JSON has as lists


def write_response(
    response: DoseResponse,
    folder: Path,
    provenance: Mapping[str, Any],
    log: pd.DataFrame | None = None,
    *,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Write a fitted response as a folder, whole or not at all.

    Parameters
    ----------
    response
        Any fitted one.
    folder
        Where to; one that is there is replaced, so call `directories.check_directory` with marker `META` first.
    provenance
        What `provenance.provenance` returned.
    log
        Of training: a row an epoch.
    data
        What else is to be known of the samples, for `meta.json`.
    """
    with atomic_directory(folder) as unfinished:
        write_files(response, unfinished, provenance, log, data=data)


def write_files(
    response: DoseResponse,
    folder: Path,
    provenance: Mapping[str, Any],
    log: pd.DataFrame | None = None,
    *,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Write the files of a response into a folder that is there, as where others are written with them.

    Parameters
    ----------
    response, folder, provenance, log, data
        As in `write_response`.
    """
    state = response.state()
    if log is not None:
        log.to_csv(folder / TRAINING, index=False)
    meta = {"kind": state.kind, **asdict(response.record), "settings": state.settings, "data": data or {}}
    array_folders.write_files(folder, FORMAT, arrays=state.arrays, meta={**meta, "provenance": provenance})


def read_meta(folder: Path) -> dict[str, Any]:
    """Read the description of a fit.

    Parameters
    ----------
    folder
        What `write_response` wrote.

    Raises
    ------
    InputError
        When it is no such folder.
    """
    return array_folders.read_meta(folder, FORMAT)


def read_response(folder: Path) -> DoseResponse:
    """Read a fitted response, which predicts what it did when it was written, to the last digit.

    Parameters
    ----------
    folder
        What `write_response` wrote.

    Raises
    ------
    InputError
        When it is no such folder, or a file in it is missing, damaged or changed.
    """
    return array_folders.read_made(folder, FORMAT, record=_record, make=response_from_state)


def _record(meta: Mapping[str, Any]) -> FitRecord:
    values = {field.name: meta[field.name] for field in fields(FitRecord)}
    values |= {name: tuple(values[name]) for name in _PAIRS}
    values |= {name: {k: float(v) for k, v in values[name].items()} for name in ("losses", "diagnostics")}
    values["options"] = {k: tuple(v) if isinstance(v, list) else v for k, v in values["options"].items()}
    return FitRecord(**values)
