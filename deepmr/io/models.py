"""Ensemble directories <-> Ensemble: `ensemble.toml` and one safetensors file a member, never a pickle.

The format is described in `docs/ensemble_format.md`.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import tomli_w
import torch
from safetensors import SafetensorError
from torch import nn

from deepmr.errors import InputError
from deepmr.io.architectures import find_architecture
from deepmr.io.directories import atomic_directory, check_directory
from deepmr.io.ensemble_toml import (
    DESCRIPTION,
    FORMAT,
    FORMAT_VERSION,
    PLAIN_VERSION,
    read_bytes,
    read_description,
)
from deepmr.io.measures import Measure, measured
from deepmr.sequence.ensemble import Ensemble, MemberInfo, resolve_device
from deepmr.sequence.measured import Measured
from deepmr.sequence.models import build_network
from deepmr.types import ALPHABET, Task


def read_ensemble(path: Path, *, device: str | torch.device = "auto", trust_code: bool = False) -> Ensemble:
    """Read an ensemble directory.

    Parameters
    ----------
    path : directory with `ensemble.toml` and the members.
    device : cpu, cuda, cuda:1, ...; auto takes a GPU where there is one.
    trust_code : import or execute the architecture's code although it is neither DeepMR's nor an entry point's.

    Returns
    -------
    Ensemble
        Its members have been checked on random sequences: finite, of the right shape, independent of batch mates.

    Raises
    ------
    InputError
        When the directory is not an ensemble, a member is missing, corrupted (checksum) or does not fit the
        architecture, or code would have to be trusted.
    """
    place = resolve_device(device)
    about = read_description(path)
    architecture = find_architecture(about.architecture, folder=path, trust_code=trust_code)
    modules = []
    for member, file in zip(about.members, about.files, strict=True):
        with torch.random.fork_rng(devices=[]):  # the first weights are thrown away; the caller's generator stays
            module = build_network(architecture, about.arguments, n_tasks=len(about.tasks), length=about.length)
        load_state(module, read_state(path / file, member.sha256), where=f"{path}: {member.name}")
        module = measured(module, about.measures, about.control_shape, folder=path, trust_code=trust_code)
        modules.append(module.to(place))
    ensemble = Ensemble(
        modules=tuple(modules),
        tasks=about.tasks,
        length=about.length,
        members=about.members,
        counts=about.counts,
        sha256=about.sha256,
    )
    codes = np.random.default_rng(1).integers(0, 4, size=(4, about.length), dtype=np.uint8)
    try:
        ensemble.check(codes)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return ensemble


def write_ensemble(
    path: Path,
    modules: Sequence[nn.Module],
    *,
    architecture: str,
    arguments: Mapping[str, Any],
    length: int,
    tasks: Sequence[Task],
    members: Sequence[MemberInfo],
    counts: Sequence[str] = (),
    measures: Sequence[Measure] = (),
    control_shape: Sequence[int] = (),
    extra: Mapping[str, Any] | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    code: Path | None = None,
    measure_code: Sequence[Path] = (),
    overwrite: bool = False,
) -> str:
    """Write an ensemble directory; it appears complete or not at all.

    Parameters
    ----------
    path : directory to make.
    modules : one network a member; their state dicts are written, of a `Measured` that of its network.
    architecture : `package.module:Class`, or `file.py:Class` together with `code`.
    arguments : of the class beside `n_tasks` and `length`: numbers, texts, booleans and lists of them.
    length : bases of a sequence.
    tasks : in the order of the output.
    members : names, seeds and held-out chromosomes; the checksums are made here.
    counts : tasks of scale identity that predict the Anscombe transform of counts.
    measures : what is measured of the networks' outputs, in the order of the tasks; none where they return them.
    control_shape : of the zeros that the networks take as control tracks.
    extra : tables for people to read, such as {"training": {...}}.
    tables : written as NAME.tsv beside the members.
    code : file to copy into the directory as the architecture's code.
    measure_code : the same for measures `file.py:Name`.
    overwrite : replace an ensemble directory that is there; nothing else is ever replaced.

    Returns
    -------
    The ensemble's identity, as `ensemble_sha256` gives it.

    Raises
    ------
    InputError
        When the path exists and may not be replaced.
    DeepMRError
        When it cannot be written.
    """
    check_directory(path, marker=DESCRIPTION, overwrite=overwrite)
    with atomic_directory(path) as folder:
        (folder / "members").mkdir()
        rows = []
        for module, member in zip(modules, members, strict=True):
            file = f"members/{member.name}.safetensors"
            state = (module.network if isinstance(module, Measured) else module).state_dict()
            content = safetensors.torch.save({k: v.detach().cpu().clone() for k, v in state.items()})
            _write(folder / file, content)
            digest = hashlib.sha256(content).hexdigest()
            seed = {} if member.seed is None else {"seed": member.seed}
            rows.append(
                {"name": member.name, "file": file, "sha256": digest, **seed, "held_out": list(member.held_out)}
            )
        marks = [
            {"name": t.name, "scale": t.scale, **({"transform": "anscombe"} if t.name in counts else {})} for t in tasks
        ]
        about = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION if measures or control_shape else PLAIN_VERSION,
            "architecture": architecture,
            "length": length,
            "alphabet": ALPHABET,
            "arguments": dict(arguments),
            **({"control_shape": list(control_shape)} if control_shape else {}),
            **({"measure": [measure.to_row() for measure in measures]} if measures else {}),
            "tasks": marks,
            "members": rows,
            **(extra or {}),
        }
        _write(folder / DESCRIPTION, tomli_w.dumps(about).encode())
        for source in {*measure_code, *([code] if code else [])}:
            _write(folder / source.name, source.read_bytes())
        for name, table in (tables or {}).items():
            _write(folder / f"{name}.tsv", table.to_csv(sep="\t", index=False, lineterminator="\n").encode())
        return read_description(folder).sha256


def ensemble_sha256(ensemble: Path | Ensemble) -> str:
    """Return the identity of an ensemble: two with the same one predict the same.

    Parameters
    ----------
    ensemble : directory, or the ensemble in memory. One that was made in memory is identified by its weights, layers,
        tasks and length.
    """
    if isinstance(ensemble, Path):
        return read_description(ensemble).sha256
    if ensemble.sha256:
        return ensemble.sha256
    digest = hashlib.sha256(repr((ensemble.tasks, ensemble.counts, ensemble.length)).encode())
    for module in ensemble.modules:
        digest.update(repr(module).encode())
        for name, tensor in module.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_state(module: nn.Module, state: Mapping[str, torch.Tensor], *, where: str) -> None:
    """Put weights into a network; the first one that does not fit is an `InputError`.

    Parameters
    ----------
    module : network to fill.
    state : its state dict.
    where : what the message calls the member.
    """
    expected = module.state_dict()
    kind = type(module).__name__
    for key, tensor in expected.items():
        if key not in state:
            raise InputError(f"{where} does not fit {kind}: weights {key!r} are missing; it has {_some(state)}")
        if state[key].shape != tensor.shape:
            raise InputError(
                f"{where} does not fit {kind}: {key!r} must have shape {tuple(tensor.shape)}; "
                f"got {tuple(state[key].shape)}"
            )
    for key in state:
        if key not in expected:
            raise InputError(f"{where} does not fit {kind}: weights {key!r} have no place in it")
    module.load_state_dict(dict(state))


def read_state(path: Path, sha256: str) -> dict[str, torch.Tensor]:
    """Read a member's weights and check them against their checksum.

    Parameters
    ----------
    path : safetensors file.
    sha256 : that the file must have.

    Raises
    ------
    InputError
        When the file is missing, changed or not safetensors.
    """
    content = read_bytes(path, "member")
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256.lower():
        raise InputError(
            f"{path} is corrupted or was changed: its SHA-256 is {digest[:12]}..., {DESCRIPTION} says {sha256[:12]}..."
        )
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise InputError(f"{path} is not a safetensors file: {error}") from error


def _some(state: Mapping[str, torch.Tensor]) -> str:
    return ", ".join([*sorted(state)[:3], *(["..."] if len(state) > 3 else [])]) or "none"


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
