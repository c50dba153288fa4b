"""Folders of `meta.json` and `arrays.safetensors`: what a fit is made of, as plain numbers and words.

Nothing in a folder is executed when it is read, and a changed file is told by its checksum.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from deepmr.errors import InputError
from deepmr.io.files import read_bytes

META, ARRAYS = "meta.json", "arrays.safetensors"
Record = TypeVar("Record")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFormat:
    """What tells folders of one kind from others.

    Attributes
    ----------
    name : in `meta.json`, under "format".
    version : under "format_version".
    of : in messages, as "deepmr iv".
    """

    name: str
    version: int
    of: str


def write_files(
    folder: Path, layout: FolderFormat, *, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]
) -> None:
    """Write both files into a folder that is there.

    Parameters
    ----------
    folder : where to.
    layout : its kind.
    arrays : numbers by name; "arrays" is what the description says of them.
    meta : the rest of the description.

    Notes
    -----
    The order in memory is kept: it decides in which order numbers are added, hence the last digit of a prediction.
    """
    turned = [name for name, a in arrays.items() if a.flags.f_contiguous and not a.flags.c_contiguous]
    made = {name: np.array(a.T if name in turned else a, order="C") for name, a in arrays.items()}
    content = safetensors.numpy.save(made)
    (folder / ARRAYS).write_bytes(content)
    about = {"file": ARRAYS, "sha256": hashlib.sha256(content).hexdigest(), "transposed": turned}
    described = {"format": layout.name, "format_version": layout.version}
    described |= {name: plain(value) for name, value in meta.items()} | {"arrays": about}
    if "provenance" in described:  # last, as it is long
        described["provenance"] = described.pop("provenance")
    (folder / META).write_text(json.dumps(described, indent=2, allow_nan=False) + "\n")


def read_meta(folder: Path, layout: FolderFormat) -> dict[str, Any]:
    """Read the description.

    Parameters
    ----------
    folder : what `write_files` wrote into.
    layout : its kind.

    Raises
    ------
    InputError
        When it is no such folder.
    """
    path = folder / META
    if not path.is_file():
        raise InputError(f"{folder}: not a fit of {layout.of}: it has no {META}")
    try:
        meta = json.loads(read_bytes(path))
    except ValueError as error:
        raise InputError(f"{path}: damaged: not JSON: {error}") from error
    if not isinstance(meta, dict) or meta.get("format") != layout.name:
        raise InputError(f"{path}: not a fit of {layout.of}: its format is not {layout.name!r}")
    found = meta.get("format_version")
    if found != layout.version:
        raise InputError(f"{path}: format version {found}; this DeepMR reads version {layout.version}")
    return meta


def read_arrays(folder: Path, meta: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Read the numbers.

    Parameters
    ----------
    folder : what `write_files` wrote into.
    meta : its description.

    Raises
    ------
    InputError
        When the file is missing, damaged or changed, or the description does not say what it must be.
    """
    try:
        sha256, turned = meta["arrays"]["sha256"], meta["arrays"]["transposed"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder / META}: damaged: {_told(error)}") from error
    path = folder / ARRAYS
    content = read_bytes(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InputError(f"{path}: damaged or changed: its checksum is not the one in {META}")
    try:
        loaded = safetensors.numpy.load(content)
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file: {error}") from error
    return {name: np.array(a, order="C").T if name in turned else np.array(a) for name, a in loaded.items()}


def read_made(
    folder: Path,
    layout: FolderFormat,
    *,
    record: Callable[[Mapping[str, Any]], Record],
    make: Callable[[str, Mapping[str, np.ndarray], Mapping[str, Any], Record], Made],
) -> Made:
    """Read what a folder holds: it is what it was when it was written, to the last digit.

    Parameters
    ----------
    folder : what `write_files` wrote into.
    layout : its kind.
    record : takes the record out of the description.
    make : makes it of `kind`, arrays, `settings` and the record.

    Raises
    ------
    InputError
        When it is no such folder, or a file in it is missing, damaged or changed.
    """
    meta = read_meta(folder, layout)
    try:
        described, kind, settings = record(meta), str(meta["kind"]), meta["settings"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{folder / META}: damaged: {_told(error)}") from error
    arrays = read_arrays(folder, meta)
    try:
        return make(kind, arrays, settings, described)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{folder}: what it holds is not a fit of kind {kind!r}: {_told(error)}") from error


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it; numbers that are not finite as text, which `float` reads.

    Parameters
    ----------
    value : of a description.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def _told(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
