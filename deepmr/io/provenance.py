"""Where a result comes from: versions, options, seeds, checksums."""

import hashlib
import math
import platform
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from deepmr import __version__
from deepmr.errors import InputError
from deepmr.types import Sequences

PACKAGES = ("torch", "numpy", "scipy", "pandas", "h5py", "memelite")


def provenance(
    command: str, *, options: Mapping[str, Any], inputs: Mapping[str, Path], seed: int | None = None
) -> dict[str, Any]:
    """Describe how a result was made, as a dictionary that JSON can hold.

    Parameters
    ----------
    command
        Verb of the command.
    options
        All its options as they were used.
    inputs
        Files that were read, by the name of the option; a folder stands for the files directly and deeper in it.
    seed
        Seed of everything random in it, where there is one.

    Raises
    ------
    InputError
        When an input cannot be read.
    """
    used = {name: _plain(value) for name, value in options.items()}
    return {
        "command": command,
        "command_line": shlex.join(["deepmr", *command.split(), *_arguments(used)]),
        "deepmr_version": __version__,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "options": used,
        "inputs": {name: {"path": str(path), "sha256": file_sha256(path)} for name, path in inputs.items()},
        "seed": seed,
        "python_version": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder, that of the names and checksums of all files in it."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()} {file_sha256(file)}\n".encode())
        return digest.hexdigest()
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def sequences_sha256(sequences: Sequences) -> str:
    """Return the SHA-256 of the names, coordinates and bases of loci, in their order."""
    digest = hashlib.sha256()
    loci = sequences.loci
    for row in zip(loci["locus"], loci["chrom"], loci["start"], loci["end"], strict=True):
        digest.update("\t".join(map(str, row)).encode() + b"\n")
    digest.update(sequences.codes.tobytes())
    return digest.hexdigest()


def _arguments(options: Mapping[str, Any]) -> list[str]:
    """Return the words of a command line that give these options; one that is None was not given."""
    words = []
    for name, value in options.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        elif isinstance(value, dict):
            words += _arguments({f"{name}.{key}": item for key, item in value.items()})
        elif value is not None:
            for item in value if isinstance(value, list) else [value]:
                words += [f"--{option}", str(item)]
    return words


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
