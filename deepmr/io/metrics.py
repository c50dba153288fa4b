"""Metrics of training, by run and epoch: to CSV, and to TensorBoard or Weights & Biases where these are installed."""

import importlib
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepmr.errors import DeepMRError, InputError
from deepmr.individual import DoseResponse

COLUMNS = ("stage", "member", "epoch", "training_loss", "validation_loss")
LOSSES = ("training_loss", "validation_loss")


def training_log(response: DoseResponse) -> pd.DataFrame | None:
    """Return losses of a fit by stage, member and epoch, or None where it was not trained in epochs.

    Parameters
    ----------
    response : any fitted one. One of networks has `logs`, dataclasses with these fields.

    Raises
    ------
    DeepMRError
        When the log has other fields.
    """
    found = getattr(response, "logs", None)
    if found is None or len(found) == 0:
        return None
    frame = found if isinstance(found, pd.DataFrame) else _frame(found)
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise DeepMRError(f"a training log needs {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")
    return frame[list(COLUMNS)]


def _frame(rows: Iterable[Any]) -> pd.DataFrame:
    return pd.DataFrame([asdict(row) if is_dataclass(row) and not isinstance(row, type) else dict(row) for row in rows])


def check_loggers(*, tensorboard: Path | None = None, wandb: str | None = None) -> None:
    """Raise `InputError` unless what metrics are to be sent to is installed: before a fit rather than after it.

    Parameters
    ----------
    tensorboard : folder of event files, or None.
    wandb : project, or project:run; or None.
    """
    if tensorboard is not None:
        _import("tensorboard", "tensorboard")
    if wandb is not None:
        split_wandb(wandb)
        _import("wandb", "wandb")


def split_wandb(wandb: str) -> tuple[str, str | None]:
    """Return the project and the run of PROJECT[:RUN].

    Parameters
    ----------
    wandb : as a user writes it.
    """
    project, colon, run = wandb.partition(":")
    if not project or (colon and not run):
        raise InputError(f"wandb must be PROJECT or PROJECT:RUN; got {wandb!r}")
    return project, run or None


def _import(package: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"--{package} needs {package}: pip install 'deepmr[logging]'") from error


def send_metrics(
    log: pd.DataFrame | None,
    *,
    run: str,
    options: Mapping[str, Any],
    results: Mapping[str, float],
    tensorboard: Path | None = None,
    wandb: str | None = None,
) -> None:
    """Send the metrics of a fit to where they are wanted.

    Parameters
    ----------
    log : by stage, member and epoch, as `training_log` returns it; None where there is none.
    run : its name; with Weights & Biases that of PROJECT:RUN comes before it.
    options : of the method.
    results : numbers of the finished fit, by name.
    tensorboard : folder, in which the run has one of its own; None for none.
    wandb : project, or project:run; None for none.
    """
    if tensorboard is not None:
        _to_tensorboard(log, tensorboard / _file_name(run), options, results)
    if wandb is not None:
        _to_wandb(log, wandb, run, options, results)


def series(log: pd.DataFrame | None) -> list[tuple[str, int, float]]:
    """Return name, epoch and value of every loss, in order of the epochs.

    Parameters
    ----------
    log : as for `send_metrics`.

    Notes
    -----
    Names are stage/loss, or stage/loss/member where there are several members. Values that are not finite are left out.
    """
    if log is None:
        return []
    members: dict[str, set[int]] = {}
    for stage, member in zip(log["stage"], log["member"], strict=True):
        members.setdefault(str(stage), set()).add(int(member))
    found = []
    for row in log.sort_values(["epoch", "stage", "member"], kind="stable").to_dict("records"):
        stage = str(row["stage"])
        for loss in LOSSES:
            if np.isfinite(row[loss]):
                member_too = f"/{row['member']}" if len(members[stage]) > 1 else ""
                found.append((f"{stage}/{loss}{member_too}", int(row["epoch"]), float(row[loss])))
    return found


def _to_tensorboard(
    log: pd.DataFrame | None, folder: Path, options: Mapping[str, Any], results: Mapping[str, float]
) -> None:
    """Write an event file; without torch, which a fit in closed form need not load."""
    _import("tensorboard", "tensorboard")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("events.out.tfevents.*"):  # of the same run, when it was interrupted
        old.unlink()
    writer = EventFileWriter(str(folder))
    try:
        now = time.time()
        known = {
            name: value if isinstance(value, bool | int | float) else str(value) for name, value in options.items()
        }
        writer.add_event(Event(wall_time=now, summary=hparams_pb(known, trial_id=folder.name)))
        for name, epoch, value in [*series(log), *((f"result/{key}", 0, one) for key, one in results.items())]:
            summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
            writer.add_event(Event(wall_time=now, step=epoch, summary=summary))
        writer.flush()
    finally:
        writer.close()


def _to_wandb(
    log: pd.DataFrame | None, wandb: str, run: str, options: Mapping[str, Any], results: Mapping[str, float]
) -> None:
    module = _import("wandb", "wandb")
    project, group = split_wandb(wandb)
    name = run if group is None else group if run == "fit" else f"{group}-{run}"
    config = {key: list(one) if isinstance(one, tuple) else one for key, one in options.items()}
    opened = module.init(project=project, name=name, group=group, config=config, reinit=True)
    try:
        rows = series(log)
        for stage in dict.fromkeys(key.partition("/")[0] for key, _, _ in rows):  # epochs start anew in every stage
            opened.define_metric(f"{stage}/epoch")
            opened.define_metric(f"{stage}/*", step_metric=f"{stage}/epoch")
        by_epoch: dict[tuple[str, int], dict[str, float]] = {}
        for key, epoch, value in rows:
            stage = key.partition("/")[0]
            by_epoch.setdefault((stage, epoch), {f"{stage}/epoch": epoch})[key] = value
        for values in by_epoch.values():
            opened.log(values)
        opened.summary.update(dict(results))
    finally:
        opened.finish()


def _file_name(run: str) -> str:
    return re.sub(r"[^\w.-]+", "_", run)
