"""What an ensemble directory says of itself: `ensemble.toml`, read and checked without touching weights or code."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from deepmr import checks
from deepmr.errors import InputError
from deepmr.io.architectures import architecture_file
from deepmr.io.measures import Measure, measure_of
from deepmr.sequence.ensemble import MemberInfo
from deepmr.types import ALPHABET, Scale, Task

FORMAT, FORMAT_VERSION = "deepmr-ensemble", "1.1"
PLAIN_VERSION = "1.0"  # of a directory that needs nothing newer: older releases read it
DESCRIPTION = "ensemble.toml"
PICKLES = (".pt", ".pth", ".torch", ".ckpt", ".pkl", ".pickle", ".bin")
HOW_TO_IMPORT = "convert state dicts with: deepmr model import FILE... --architecture A --task T --length N --out DIR"
_REQUIRED = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What `ensemble.toml` says.

    Attributes
    ----------
    arguments : of the architecture's constructor, beside `n_tasks` and `length`.
    counts : tasks that predict the Anscombe transform of counts.
    files : the members' files, relative to the directory.
    measures : what is measured of the networks' outputs; none where they return their tasks.
    control_shape : of the zeros that the networks take as control tracks; empty for none.
    extra : tables that only people read, such as `training`.
    sha256 : identity: of architecture, arguments, length, tasks, measures and the members' checksums.
    """

    architecture: str
    arguments: Mapping[str, Any]
    length: int
    tasks: tuple[Task, ...]
    counts: tuple[str, ...]
    members: tuple[MemberInfo, ...]
    files: tuple[str, ...]
    measures: tuple[Measure, ...]
    control_shape: tuple[int, ...]
    extra: Mapping[str, Any]
    sha256: str


def read_description(path: Path) -> Description:
    """Read and check `ensemble.toml`; no weights are read and no code is run.

    Parameters
    ----------
    path : ensemble directory.

    Raises
    ------
    InputError
        When the path is no ensemble directory, or a key is missing or has the wrong type.
    """
    about = _read_toml(path)
    where = str(path / DESCRIPTION)
    if _key(about, "format", str, where) != FORMAT:
        raise InputError(f"{where}: format must be {FORMAT!r}; got {about['format']!r}")
    version = _key(about, "format_version", str, where)
    if version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
        raise InputError(f"{where}: format_version {version!r} is not one that this version reads, {FORMAT_VERSION}")
    if about.get("alphabet", ALPHABET) != ALPHABET:
        raise InputError(f"{where}: alphabet must be {ALPHABET!r}; got {about['alphabet']!r}")
    length = _key(about, "length", int, where)
    if length < 1:
        raise InputError(f"{where}: length must be positive; got {length}")
    tasks, counts, members, files = [], [], [], []
    for k, row in enumerate(_key(about, "tasks", list, where)):
        place = f"{where}: [[tasks]] {k + 1}"
        name, scale = _key(row, "name", str, place), _key(row, "scale", str, place, default="identity")
        checks.one_of(f"{place}: scale of task {name!r}", scale, get_args(Scale))
        tasks.append(Task(name=name, scale=scale))
        if row.get("transform", "none") not in {"none", "anscombe"}:
            raise InputError(f"{place}: transform must be none or anscombe; got {row['transform']!r}")
        counts += [tasks[-1].name] if row.get("transform") == "anscombe" else []
    for k, row in enumerate(_key(about, "members", list, where)):
        place = f"{where}: [[members]] {k + 1}"
        files.append(_member_file(_key(row, "file", str, place), place))
        members.append(
            MemberInfo(
                name=_key(row, "name", str, place, default=PurePosixPath(files[-1]).stem),
                seed=_key(row, "seed", int, place, default=None),
                sha256=_key(row, "sha256", str, place),
                held_out=tuple(str(chrom) for chrom in _key(row, "held_out", list, place, default=[])),
            )
        )
    if not tasks or not members:
        raise InputError(f"{where}: needs at least one [[tasks]] and one [[members]]")
    measures = tuple(
        measure_of(row, f"{where}: [[measure]] {k + 1}")
        for k, row in enumerate(_key(about, "measure", list, where, default=[]))
    )
    control_shape = tuple(_key(about, "control_shape", list, where, default=[]))
    if not all(type(n) is int and n > 0 for n in control_shape):
        raise InputError(f"{where}: control_shape must be a list of positive numbers; got {list(control_shape)}")
    known = {"format", "format_version", "architecture", "arguments", "length", "alphabet", "tasks", "members"}
    known |= {"measure", "control_shape"}
    description = Description(
        architecture=_key(about, "architecture", str, where),
        arguments=_key(about, "arguments", dict, where, default={}),
        length=length,
        tasks=tuple(tasks),
        counts=tuple(counts),
        members=tuple(members),
        files=tuple(files),
        measures=measures,
        control_shape=control_shape,
        extra={key: value for key, value in about.items() if key not in known},
        sha256="",
    )
    return replace(description, sha256=_identity(description, path))


def read_bytes(path: Path, what: str) -> bytes:
    """Read a whole file; one that cannot be read is an `InputError`.

    Parameters
    ----------
    path : file.
    what : what the message calls it.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {what} cannot be read: {error.strerror}") from error


def _identity(about: Description, path: Path) -> str:
    content: dict[str, Any] = {
        "architecture": about.architecture,
        "code": _code(about.architecture, path, "architecture"),
        "arguments": about.arguments,
        "length": about.length,
        "tasks": [(task.name, task.scale, task.name in about.counts) for task in about.tasks],
        "members": [member.sha256 for member in about.members],
    }
    # Directories without these keep the identity that they had before there were any.
    if about.measures:
        content["measure"] = [(m.scalar, m.output, m.options, _code(m.scalar, path, "scalar")) for m in about.measures]
    if about.control_shape:
        content["control_shape"] = about.control_shape
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _code(name: str, path: Path, what: str) -> str:
    """Return the content of the file that an architecture or a scalar names, as text; empty where it names none."""
    code = architecture_file(name, path)
    if code and code.parent != path:
        raise InputError(f"{path / DESCRIPTION}: the {what}'s file must be in the directory itself; got {name!r}")
    return read_bytes(code, f"the {what}'s code").hex() if code else ""


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise InputError(f"{path}: no such ensemble directory")
    if path.is_file():
        what = "is a PyTorch file, which may hold code" if path.suffix in PICKLES else "is a file"
        raise InputError(f"{path} {what}; needed a directory with {DESCRIPTION}; {HOW_TO_IMPORT}")
    if not (path / DESCRIPTION).is_file():
        pickles = sorted(p.name for p in path.iterdir() if p.suffix in PICKLES)
        hint = f"; it holds PyTorch files ({pickles[0]}, ...): {HOW_TO_IMPORT}" if pickles else ""
        raise InputError(f"{path} is not an ensemble directory: it has no {DESCRIPTION}{hint}")
    try:
        return tomllib.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path / DESCRIPTION} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path / DESCRIPTION} is not TOML: {error}") from error


def _key(table: Any, key: str, kind: type, where: str, *, default: Any = _REQUIRED) -> Any:
    if not isinstance(table, dict):
        raise InputError(f"{where} must be a table; got {table!r}")
    if key not in table:
        if default is _REQUIRED:
            raise InputError(f"{where}: key {key!r} is missing")
        return default
    value = table[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{where}: {key} must be of type {kind.__name__}; got {value!r}")
    return value


def _member_file(name: str, where: str) -> str:
    path = PurePosixPath(name)
    if path.suffix in PICKLES:
        raise InputError(f"{where}: {name} is a PyTorch file, which may hold code; {HOW_TO_IMPORT}")
    if path.is_absolute() or ".." in path.parts or path.suffix != ".safetensors":
        raise InputError(f"{where}: file must be a .safetensors file inside the directory; got {name!r}")
    return name
