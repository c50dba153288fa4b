"""`deepmr model`: bring state dicts into an ensemble directory, and look into one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

import numpy as np
import torch
from torch import nn

from deepmr import checks
from deepmr.commands.train import parse_arguments
from deepmr.errors import InputError
from deepmr.io.architectures import architecture_file, architecture_name, find_architecture
from deepmr.io.directories import check_directory
from deepmr.io.ensemble_toml import DESCRIPTION, read_description
from deepmr.io.measures import Measure, measure_files, measured, parse_measure
from deepmr.io.models import load_state, read_state, write_ensemble
from deepmr.io.provenance import provenance
from deepmr.io.state_dicts import find_state_dicts, read_state_dict
from deepmr.sequence.ensemble import Ensemble, MemberInfo
from deepmr.sequence.measured import Measured
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
    measure: list[str] | None = None,
    control_shape: list[int] | None = None,
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
        paper_cnn, dilated, bpnet, chrombpnet, package.module:Class or path/model.py:Class.
    task
        What the networks predict, in order: NAME, or NAME:SCALE with identity, log or logit.
    length
        Bases that the networks read.
    out
        Ensemble directory to make.
    arguments
        Arguments of the architecture as JSON, such as '{"filters": 32}'.
    measure
        What is measured of the networks' outputs, in order, for networks that do not return their tasks: NAME or
        NAME:OUTPUT, such as log_count:1 or profile_score:0; path/score.py:Name for a function of your own.
    control_shape
        Shape of a sequence's control tracks, such as 2 1000, where the networks take them; they are zeros.
    counts
        Tasks that predict 2 sqrt(y + 3/8) of a count y.
    trust_code
        Run the architecture's and the measures' code; needed unless DeepMR or a plugin has it.
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
    measures = [parse_measure(text) for text in measure or []]
    measure_code = measure_files(measures, Path(), code=code)
    shape = control_shape or []
    checks.at_least("control_shape", min(shape, default=None), 1)
    given = parse_arguments(arguments)
    modules = []
    for path in paths:
        with torch.random.fork_rng(devices=[]):
            module = build_network(found, given, n_tasks=len(task), length=length)
        load_state(module, read_state_dict(path), where=str(path))
        modules.append(measured(module, measures, shape, trust_code=trust_code))
    scales = _scales(modules[0], measures, task, length=length)
    tasks = tuple(_task(text, scale) for text, scale in zip(task, scales, strict=True))
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
        measures=[_in_directory(m) for m in measures],
        control_shape=shape,
        extra={"imported": {name: value for name, value in record.items() if value is not None}},
        code=code,
        measure_code=measure_code,
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
        Architecture, length, what is measured, tasks and members.

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
    measures = [{**m.to_row(), "options": json.dumps(dict(m.options)) if m.options else ""} for m in about.measures]
    return {
        "model": str(model),
        "architecture": about.architecture,
        "arguments": ", ".join(f"{name} = {value}" for name, value in about.arguments.items()) or "none",
        "length": about.length,
        "sha256": about.sha256,
        **({"control_shape": list(about.control_shape)} if about.control_shape else {}),
        **({"measures": measures} if measures else {}),
        "tasks": [
            {"task": t.name, "scale": t.scale, "predicts": "2 sqrt(y + 3/8)" if t.name in about.counts else "y"}
            for t in about.tasks
        ],
        "members": rows,
    }


def _scales(network: nn.Module, measures: list[Measure], names: list[str], *, length: int) -> list[Scale]:
    """Return the scale of each task by what is measured, after a look at how many tasks that makes."""
    if not isinstance(network, Measured) or not measures:
        return ["identity"] * len(names)
    with torch.inference_mode():
        try:
            parts = network.eval().parts(network.outputs(torch.zeros((1, 4, length))))
        except (RuntimeError, TypeError) as error:
            raise InputError(f"the network cannot read (batch, 4, {length}): {str(error).splitlines()[0]}") from error
    found = [(scalar.scale, part.shape[1]) for scalar, part in zip(network.scalars, parts, strict=True)]
    if sum(n for _, n in found) != len(names):
        told = ", ".join(f"{m.scalar}:{m.output} gives {n}" for m, (_, n) in zip(measures, found, strict=True))
        raise InputError(f"--task names {len(names)} tasks, but {told}")
    return [cast("Scale", scale) for scale, n in found for _ in range(n)]


def _in_directory(measure: Measure) -> Measure:
    """Name the file of a scalar as it is called in the ensemble directory."""
    file = architecture_file(measure.scalar, Path())
    return replace(measure, scalar=f"{file.name}:{measure.scalar.partition(':')[2]}") if file else measure


def _task(text: str, scale: str) -> Task:
    """Read NAME or NAME:SCALE."""
    name, _, scale = text.rpartition(":") if ":" in text else (text, "", scale)
    if not name:
        raise InputError(f"a task must be NAME or NAME:SCALE; got {text!r}")
    checks.one_of(f"scale of task {name!r}", scale, get_args(Scale))
    return Task(name=name, scale=cast("Scale", scale))
