"""Fitted responses <-> folders: `meta.json`, `arrays.safetensors` and, where there is one, the log of training.

Nothing in a folder is executed when it is read: arrays are plain numbers, `kind` a word of a fixed table.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.numpy
from safetensors import SafetensorError

from deepmr.errors import InputError
from deepmr.individual import DoseResponse, FitRecord
from deepmr.io.directories import atomic_directory
from deepmr.io.files import read_bytes
from deepmr.nonlinear import response_from_state

FORMAT, VERSION = "deepmr-iv-response", 1
META, ARRAYS, TRAINING = "meta.json", "arrays.safetensors", "training.csv"
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
    # The order in memory is kept: it decides in which order numbers are added, hence the last digit of a prediction.
    turned = [name for name, a in state.arrays.items() if a.flags.f_contiguous and not a.flags.c_contiguous]
    arrays = {name: np.array(a.T if name in turned else a, order="C") for name, a in state.arrays.items()}
    content = safetensors.numpy.save(arrays)
    (folder / ARRAYS).write_bytes(content)
    if log is not None:
        log.to_csv(folder / TRAINING, index=False)
    meta = {
        "format": FORMAT,
        "format_version": VERSION,
        "kind": state.kind,
        **_plain(asdict(response.record)),
        "settings": _plain(state.settings),
        "arrays": {"file": ARRAYS, "sha256": hashlib.sha256(content).hexdigest(), "transposed": turned},
        "data": _plain(data or {}),
        "provenance": _plain(provenance),
    }
    (folder / META).write_text(json.dumps(meta, indent=2, allow_nan=False) + "\n")


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
    path = folder / META
    if not path.is_file():
        raise InputError(f"{folder}: not a fit of deepmr iv: it has no {META}")
    try:
        meta = json.loads(read_bytes(path))
    except ValueError as error:
        raise InputError(f"{path}: damaged: not JSON: {error}") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise InputError(f"{path}: not a fit of deepmr iv: its format is not {FORMAT!r}")
    if meta.get("format_version") != VERSION:
        raise InputError(f"{path}: format version {meta.get('format_version')}; this DeepMR reads version {VERSION}")
    return meta


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
    meta = read_meta(folder)
    try:
        record = _record(meta)
        kind, settings, about = str(meta["kind"]), meta["settings"], meta["arrays"]
        sha256, turned = about["sha256"], about["transposed"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / META}: damaged: {_told(error)}") from error
    path = folder / ARRAYS
    content = read_bytes(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InputError(f"{path}: damaged or changed: its checksum is not the one in {META}")
    try:
        loaded = safetensors.numpy.load(content)
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file: {error}") from error
    arrays = {name: np.array(a, order="C").T if name in turned else np.array(a) for name, a in loaded.items()}
    try:
        return response_from_state(kind, arrays, settings, record)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder}: what it holds is not a response of kind {kind!r}: {_told(error)}") from error


def _record(meta: Mapping[str, Any]) -> FitRecord:
    values = {field.name: meta[field.name] for field in fields(FitRecord)}
    values |= {name: tuple(values[name]) for name in _PAIRS}
    values |= {name: {k: float(v) for k, v in values[name].items()} for name in ("losses", "diagnostics")}
    values["options"] = {k: tuple(v) if isinstance(v, list) else v for k, v in values["options"].items()}
    return FitRecord(**values)


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; numbers that are not finite as text, which `float` reads."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def _told(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
