"""One run of a sweep: a method with some options, fitted, scored on held-out samples and written."""

import json
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from deepmr.commands.iv_samples import Samples, describe
from deepmr.errors import InputError
from deepmr.individual import DoseResponse
from deepmr.io.complete_cases import ReadIVData
from deepmr.io.directories import atomic_directory
from deepmr.io.iv_data import read_iv_data
from deepmr.io.metrics import send_metrics, training_log
from deepmr.io.plink import SUFFIXES
from deepmr.io.provenance import provenance
from deepmr.io.responses import write_files
from deepmr.io.sweep_config import MOMENT, SweepConfig
from deepmr.io.sweep_parameters import RESERVED
from deepmr.io.sweep_runs import TakenRun
from deepmr.io.sweep_study import STUDY, Study
from deepmr.nonlinear import fit_response
from deepmr.nonlinear.validation import Split, projected_moment, split_samples

RUNS, DONE = "runs", "run.json"  # folder of the runs; what a finished one has beside its fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Samples of a sweep.

    Attributes
    ----------
    samples : of one or both stages.
    splits : one, or one a fold.
    record : of how fits are made, as `provenance` returns it, without what differs between runs.
    """

    samples: Samples
    splits: tuple[Split, ...]
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loggers:
    """Where metrics go beside the files of a run; as in `metrics.send_metrics`."""

    tensorboard: Path | None = None
    wandb: str | None = None


def data_files(config: SweepConfig) -> dict[str, Path]:
    """Return the files that a sweep reads, by name.

    Parameters
    ----------
    config : of the sweep.
    """
    found = {}
    for name, section in (("dataset", config.dataset), ("outcome_dataset", config.outcome_dataset)):
        if section is None:
            continue
        found[name] = Path(section["file"])
        if "genotypes" in section:
            prefix = Path(section["genotypes"])
            stem = prefix.with_suffix("") if prefix.suffix in SUFFIXES else prefix
            found |= {f"{name}{suffix}": stem.with_name(stem.name + suffix) for suffix in SUFFIXES}
    return found


def prepare(config: SweepConfig) -> Prepared:
    """Read the samples and split them.

    Parameters
    ----------
    config : of the sweep.
    """
    first = _read(config.dataset)
    second = None if config.outcome_dataset is None else _read(config.outcome_dataset)
    n_folds = config.n_folds or round(1 / config.held_out)
    samples = Samples(first=first, second=second)
    splits = split_samples(first.data, samples.outcome_data, n_folds=n_folds, seed=config.seed)
    return Prepared(
        samples=samples,
        splits=tuple(splits) if config.n_folds else (next(splits),),
        record=provenance("iv sweep", options={"config": str(config.folder / STUDY)}, inputs={}, seed=config.seed),
    )


def _read(section: Mapping[str, Any]) -> ReadIVData:
    options: dict[str, Any] = {
        name: Path(value) if name == "genotypes" else value for name, value in section.items() if name != "file"
    }
    return read_iv_data(Path(section["file"]), **options)


def complete_run(study: Study, run: TakenRun, prepared: Prepared, loggers: Loggers) -> tuple[float, dict[str, Any]]:
    """Fit, score and write a run; one that was written already is not fitted again.

    Parameters
    ----------
    study : open.
    run : that was taken.
    prepared : samples.
    loggers : where metrics go.

    Returns
    -------
    tuple
        Its metric, and what else is to be known of it.
    """
    folder = study.config.folder / RUNS / str(run.number)
    folder.parent.mkdir(exist_ok=True)
    for stray in folder.parent.glob(f".{run.number}.*.tmp"):  # of a process that was killed as it wrote
        shutil.rmtree(stray, ignore_errors=True)
    done = _written(folder, study, run)
    if done is None:
        done = _fitted(folder, study, run, prepared, loggers)
    return done["metric"], done["result"]


def _written(folder: Path, study: Study, run: TakenRun) -> dict[str, Any] | None:
    try:
        done = json.loads((folder / DONE).read_text())
        same = done["study"] == study.token and done["parameters"] == run.parameters
        return {"metric": float(done["metric"]), "result": done["result"]} if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _fitted(folder: Path, study: Study, run: TakenRun, prepared: Prepared, loggers: Loggers) -> dict[str, Any]:
    config, start = study.config, time.perf_counter()
    method = str(run.parameters.get("method", config.methods[0]))
    options = {name: value for name, value in run.parameters.items() if name not in RESERVED}
    seed = int(run.parameters.get("seed", config.seed))
    moments = []
    for split in prepared.splits:
        response = fit_response(
            split.fitted, method=method, options=options, outcome_data=split.fitted_outcome, seed=seed
        )
        moments.append(projected_moment(response, split.held_out))
    if config.n_folds:  # the samples of all folds together
        first, second = prepared.samples.first.data, prepared.samples.outcome_data
        response = fit_response(first, method=method, options=options, outcome_data=second, seed=seed)
    found = {
        MOMENT: float(np.mean([one.value for one in moments])),
        f"{MOMENT}_se": float(np.sqrt(np.sum([one.se**2 for one in moments])) / len(moments)),
    }
    metric = _metric(response, found, config.metric)
    losses = {name: float(value) for name, value in response.record.losses.items()}
    seconds = round(time.perf_counter() - start, 3)
    shared = np.sqrt(len(moments))  # a mean over folds of squares is a square of all of them together
    result = {
        **found,
        "moments": np.concatenate([one.moments / shared for one in moments]).tolist(),
        "noise": float(np.mean([one.noise for one in moments])) / len(moments),
        "losses": losses,
        "warnings": len(response.record.warnings),
        "seconds": seconds,
    }
    done = {"study": study.token, "run": run.number, "parameters": run.parameters, "metric": metric, "result": result}
    record = _record(prepared.record, study, run, method=method, seed=seed)
    log = training_log(response)
    with atomic_directory(folder) as unfinished:
        write_files(response, unfinished, record, log, data=describe(prepared.samples))
        (unfinished / DONE).write_text(json.dumps(done, indent=2) + "\n")
    send_metrics(
        log,
        run=str(run.number),
        options={"method": method, **run.parameters},
        results={"metric": metric, **found, **losses, "seconds": seconds},
        tensorboard=loggers.tensorboard,
        wandb=loggers.wandb,
    )
    return done


def _metric(response: DoseResponse, found: Mapping[str, float], name: str) -> float:
    known = {**response.record.diagnostics, **response.record.losses, **found}
    if name not in known:
        raise InputError(f"the fit has no {name!r} to be compared by; it has {', '.join(sorted(known))}")
    value = float(known[name])
    if not math.isfinite(value):
        raise InputError(f"{name} is not a finite number: {value}")
    return value


def _record(record: Mapping[str, Any], study: Study, run: TakenRun, *, method: str, seed: int) -> dict[str, Any]:
    """Describe how the fit was made; the checksums of the files are the study's."""
    files = data_files(study.config)
    return {
        **record,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": {name: {"path": str(files[name]), "sha256": sha} for name, sha in study.checksums.items()},
        "seed": seed,
        "sweep": {"run": run.number, "method": method, "parameters": run.parameters},
    }
