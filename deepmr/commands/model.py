"""`deepmr model`: bring state dicts into an ensemble directory, and look into one."""

from pathlib import Path
from typing import cast, get_args

import numpy as np
import torch

from deepmr import checks
from deepmr.commands.train import parse_arguments
from deepmr.errors import InputError
from deepmr.io.architectures import architecture_file, architecture_name, find_architecture
from deepmr.io.directories import check_directory
from deepmr.io.ensemble_toml import DESCRIPTION, read_description
from deepmr.io.models import load_state, read_state, write_ensemble
from deepmr.io.provenance import provenance
from deepmr.io.state_dicts import find_state_dicts, read_state_dict
from deepmr.sequence.ensemble import Ensemble, MemberInfo
from deepmr.sequence.models import build_network
from deepmr.types import Scale, Task

N_CHECKED = 4  # random sequences that every network is tried on


def import_(
    files: list[Path],
    *,
    architecture: str,
    task: list[str],
    length: int,
    out: Path,
    arguments: str = "{}",
    counts: list[str] | None = None,
    trust_code: bool = False,
    overwrite: bool = False,
) -> dict[str, object]:
    """Convert PyTorch state dicts into an ensemble directory.

    Files are read as weights only: one that holds code is refused, not run.

    Parameters
    ----------
    files
        State dicts (.pt, .pth, .safetensors), one a member, or a folder of them.
    architecture
        paper_cnn, dilated, package.module:Class or path/model.py:Class.
    task
        What the networks predict, in order: NAME, or NAME:SCALE with identity, log or logit.
    length
        Bases that the networks read.
    out
        Ensemble directory to make.
    arguments
        Arguments of the architecture as JSON, such as '{"filters": 32}'.
    counts
        Tasks that predict 2 sqrt(y + 3/8) of a count y.
    trust_code
        Run the architecture's code; needed unless DeepMR or a plugin has it.
    overwrite
        Replace an ensemble that is there.

    Returns
    -------
    dict
        What `deepmr model info` says of the new ensemble.

    Raises
    ------
    InputError
        When a file holds code, weights do not fit the architecture, or a network does not predict the tasks.
    """
    options = {name: value for name, value in locals().items() if value is not None and name != "overwrite"}
    check_directory(out, marker=DESCRIPTION, overwrite=overwrite)
    paths = find_state_dicts(files)
    found = find_architecture(architecture, trust_code=trust_code)
    code = architecture_file(architecture, Path())
    tasks = tuple(_task(text) for text in task)
    given = parse_arguments(arguments)
    modules = []
    for path in paths:
        with torch.random.fork_rng(devices=[]):
            module = build_network(found, given, n_tasks=len(tasks), length=length)
        load_state(module, read_state_dict(path), where=str(path))
        modules.append(module)
    members = tuple(MemberInfo(name=f"member_{k}") for k in range(len(modules)))
    ensemble = Ensemble(modules=tuple(modules), tasks=tasks, length=length, members=members, counts=tuple(counts or ()))
    ensemble.check(np.random.default_rng(1).integers(0, 4, size=(N_CHECKED, length), dtype=np.uint8))
    inputs = {member.name: path for member, path in zip(members, paths, strict=True)}
    record = provenance("model import", options=options, inputs=inputs)
    write_ensemble(
        out,
        modules,
        architecture=f"{code.name}:{found.__qualname__}" if code else architecture_name(found),
        arguments=given,
        length=length,
        tasks=tasks,
        members=members,
        counts=ensemble.counts,
        extra={"imported": {name: value for name, value in record.items() if value is not None}},
        code=code,
        overwrite=overwrite,
    )
    return info(out)


def info(model: Path) -> dict[str, object]:
    """Show what an ensemble directory holds.

    Checks the members' checksums; runs no code.

    Parameters
    ----------
    model
        Ensemble directory.

    Returns
    -------
    dict
        Architecture, length, tasks and members.

    Raises
    ------
    InputError
        When it is no ensemble directory, or a member is missing or corrupted.
    """
    about = read_description(model)
    rows = []
    for member, file in zip(about.members, about.files, strict=True):
        n_weights = sum(tensor.numel() for tensor in read_state(model / file, member.sha256).values())
        rows.append(
            {
                "member": member.name,
                "seed": "unknown" if member.seed is None else member.seed,
                "held_out": ", ".join(member.held_out) or "unknown",
                "weights": n_weights,
                "sha256": member.sha256[:12],
            }
        )
    return {
        "model": str(model),
        "architecture": about.architecture,
        "arguments": ", ".join(f"{name} = {value}" for name, value in about.arguments.items()) or "none",
        "length": about.length,
        "sha256": about.sha256,
        "tasks": [
            {"task": t.name, "scale": t.scale, "predicts": "2 sqrt(y + 3/8)" if t.name in about.counts else "y"}
            for t in about.tasks
        ],
        "members": rows,
    }


def _task(text: str) -> Task:
    """Read NAME or NAME:SCALE."""
    name, _, scale = text.rpartition(":") if ":" in text else (text, "", "identity")
    if not name:
        raise InputError(f"a task must be NAME or NAME:SCALE; got {text!r}")
    checks.one_of(f"scale of task {name!r}", scale, get_args(Scale))
    return Task(name=name, scale=cast("Scale", scale))
