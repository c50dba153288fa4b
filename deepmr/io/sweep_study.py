"""The study of a sweep: an Optuna study in an SQLite file, of which any number of processes take runs.

A run belongs to the process that holds the lock of its number. Locks end with their process, so a run that is marked as
running and whose lock is free was interrupted, and whoever takes the lock goes on with it. Nothing depends on clocks or
on the isolation of transactions.
"""

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import StorageInternalError
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from deepmr.errors import DeepMRError, InputError
from deepmr.io.files import sync_folder
from deepmr.io.locks import NumberedLocks
from deepmr.io.sweep_config import MOMENT, SweepConfig, config_from_json, config_to_json
from deepmr.io.sweep_parameters import SweepParameter, Value, applies

STUDY, LOCKS, NAME = "study.db", ".study.lock", "deepmr"
WAIT_S = 300  # that a process waits for the others to let the file go
ATTEMPTS = 3  # times that a run may take its process down
_RETRYING = 1 << 40  # number of the lock of whoever queues failed runs again
_OPEN = (TrialState.WAITING, TrialState.RUNNING)
STATUS = {
    TrialState.COMPLETE: "finished",
    TrialState.FAIL: "failed",
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """An open study.

    Attributes
    ----------
    config : what it was made from.
    checksums : of the data files, by name.
    token : of this study alone: what an earlier one has left in the same folder has another.
    """

    config: SweepConfig
    checksums: Mapping[str, str]
    token: str
    storage: RDBStorage
    study: optuna.Study
    study_id: int
    locks: NumberedLocks

    def close(self) -> None:
        """Let go of the files, and of all runs that were taken."""
        self.storage.remove_session()
        self.storage.engine.dispose()
        self.locks.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenRun:
    """A run that this process has taken.

    Attributes
    ----------
    number : of the run.
    parameters : of it.
    identifier : of the trial in the file.
    """

    number: int
    parameters: dict[str, Value]
    identifier: int


def create_study(config: SweepConfig, runs: Sequence[Mapping[str, Value]], checksums: Mapping[str, str]) -> None:
    """Write a study with all its runs waiting, whole or not at all; one that is there already stays.

    Parameters
    ----------
    config : of the sweep; its folder is made where there is none.
    runs : parameters of each.
    checksums : of the data files, by name.
    """
    folder = config.folder
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made: {error.strerror}") from error
    path, unfinished = folder / STUDY, folder / f".{STUDY}.{secrets.token_hex(4)}"
    storage = _storage(unfinished, safe=False)
    try:
        study = optuna.create_study(storage=storage, study_name=NAME, direction="minimize")
        study.set_user_attr("config", config_to_json(config))
        study.set_user_attr("checksums", dict(checksums))
        study.set_user_attr("token", secrets.token_hex(8))
        study_id = storage.get_study_id_from_name(NAME)
        kinds = _distributions(config, runs)
        for run in runs:
            chosen = {name: kinds[name] for name in run}
            storage.create_new_trial(
                study_id, create_trial(state=TrialState.WAITING, params=dict(run), distributions=chosen)
            )
        storage.remove_session()
        storage.engine.dispose()
        with unfinished.open("rb") as handle:
            os.fsync(handle.fileno())
        try:
            os.link(unfinished, path)  # unlike a rename, never in place of a study that another process has begun
        except FileExistsError:
            return
        except OSError:  # a file system without links
            if not path.exists():
                unfinished.rename(path)
        sync_folder(folder)
    finally:
        storage.engine.dispose()
        unfinished.unlink(missing_ok=True)


def open_study(path: Path) -> Study:
    """Open a study.

    Parameters
    ----------
    path
        `study.db` in the folder of a sweep.

    Raises
    ------
    InputError
        When there is no such file, or it is no study of a sweep.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no study; make one from a configuration: deepmr iv sweep config.toml")
    try:
        with path.open("rb") as handle:
            if handle.read(15) != b"SQLite format 3":
                raise InputError(f"{path}: not a study: it is no SQLite file")
        storage = _storage(path)
        study = optuna.load_study(study_name=NAME, storage=storage)
        attributes = study.user_attrs
        config = config_from_json(attributes["config"], path.parent)
        checksums, token = attributes["checksums"], str(attributes["token"])
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, RuntimeError, sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
        raise InputError(f"{path}: not a study of deepmr iv sweep: {' '.join(str(error).split())[:200]}") from error
    return Study(
        config=config,
        checksums=checksums,
        token=token,
        storage=storage,
        study=study,
        study_id=storage.get_study_id_from_name(NAME),
        locks=NumberedLocks(path.parent / LOCKS),
    )


def _storage(path: Path, *, safe: bool = True) -> RDBStorage:
    """Open the file; one that is thrown away when it is not finished need not be safe against a loss of power."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    engine = {"connect_args": {"timeout": WAIT_S}}
    if not safe:
        engine["poolclass"] = sqlalchemy.pool.StaticPool  # type: ignore[assignment]
    storage = RDBStorage(sqlalchemy.engine.URL.create("sqlite", database=str(path)).render_as_string(), engine)
    if not safe:
        with storage.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA synchronous=OFF")
    return storage


def _distributions(config: SweepConfig, runs: Sequence[Mapping[str, Value]]) -> dict[str, BaseDistribution]:
    """Return what Optuna calls the values that each parameter can have."""
    found: dict[str, BaseDistribution] = {one.name: _distribution(one) for one in config.parameters}
    for name in {name for run in runs for name in run}:
        if isinstance(found.get(name, CategoricalDistribution([0])), CategoricalDistribution):
            values = dict.fromkeys((type(run[name]), run[name]) for run in runs if name in run)
            found[name] = CategoricalDistribution([value for _, value in values])
    return found


def _distribution(parameter: SweepParameter) -> BaseDistribution:
    if parameter.kind == "integer":
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    if parameter.kind == "float":
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    return CategoricalDistribution(list(parameter.values))


def open_runs(study: Study) -> list[tuple[int, int]]:
    """Return number and identifier of the runs that are not over, as they were when it was asked.

    Parameters
    ----------
    study : open.
    """
    with study.storage.engine.connect() as connection:  # the trials whole would take a hundred times as long
        rows = connection.execute(
            sqlalchemy.text(
                "SELECT number, trial_id FROM trials WHERE study_id = :id AND state IN (:a, :b) ORDER BY 1"
            ),
            {"id": study.study_id, "a": _OPEN[0].name, "b": _OPEN[1].name},
        )
        return [(int(number), int(identifier)) for number, identifier in rows]


def take_run(study: Study, number: int, identifier: int) -> TakenRun | None:
    """Take a run, or return None where another process has it or it is over.

    Parameters
    ----------
    study : open.
    number, identifier : of the run.
    """
    if not study.locks.take(number):
        return None
    trial = study.storage.get_trial(identifier)
    if trial.state.is_finished():
        study.locks.give(number)
        return None
    if trial.state == TrialState.WAITING:
        study.storage.set_trial_state_values(identifier, TrialState.RUNNING)
    else:  # whoever had it is gone
        deaths = int(trial.user_attrs.get("deaths", 0)) + 1
        study.storage.set_trial_user_attr(identifier, "deaths", deaths)
        if deaths >= ATTEMPTS:
            run = TakenRun(number=number, parameters=dict(trial.params), identifier=identifier)
            fail_run(study, run, f"its process was ended {deaths} times: killed, or out of memory")
            return None
    parameters = _suggested(study, number, identifier) if study.config.adaptive else dict(trial.params)
    return TakenRun(number=number, parameters=parameters, identifier=identifier)


def _suggested(study: Study, number: int, identifier: int) -> dict[str, Value]:
    """Choose parameters by what the runs before have shown; those of an interrupted run stay."""
    config = study.config
    # A sampler a run: its draws depend on the number of the run, and not on which process has drawn how often.
    study.study.sampler = TPESampler(seed=(config.seed * 1_000_003 + number) % 2**32, constant_liar=True)
    trial = Trial(study.study, identifier)
    found: dict[str, Value] = {}
    method = config.methods[0]
    if len(config.methods) > 1:
        method = found["method"] = str(trial.suggest_categorical("method", config.methods))
    for one in config.parameters:
        if not applies(one, method):
            continue
        if one.kind == "integer":
            found[one.name] = trial.suggest_int(one.name, int(one.low), int(one.high), log=one.log)
        elif one.kind == "float":
            found[one.name] = trial.suggest_float(one.name, one.low, one.high, log=one.log)
        else:
            value = trial.suggest_categorical(one.name, one.values)
            found[one.name] = "none" if value is None else value
    return found


def finish_run(study: Study, run: TakenRun, metric: float, result: Mapping[str, Any]) -> None:
    """Record what a run has given, and give it back.

    Parameters
    ----------
    study : open.
    run : that was taken.
    metric : the least is best.
    result : numbers by name, and whatever else is to be known.
    """
    study.storage.set_trial_user_attr(run.identifier, "result", json.loads(json.dumps(dict(result))))
    study.storage.set_trial_state_values(run.identifier, TrialState.COMPLETE, [metric])
    study.locks.give(run.number)


def fail_run(study: Study, run: TakenRun, reason: str) -> None:
    """Record why a run has failed, and give it back.

    Parameters
    ----------
    study : open.
    run : that was taken.
    reason : one line.
    """
    study.storage.set_trial_user_attr(run.identifier, "reason", reason[:2000])
    study.storage.set_trial_state_values(run.identifier, TrialState.FAIL)
    study.locks.give(run.number)


def release_run(study: Study, run: TakenRun) -> None:
    """Let a run wait again, as when the sweep is interrupted, unless it is over.

    Parameters
    ----------
    study : open.
    run : that was taken.
    """
    if not study.storage.get_trial(run.identifier).state.is_finished():
        study.storage.set_trial_state_values(run.identifier, TrialState.WAITING)
    study.locks.give(run.number)


def retry_failed(study: Study) -> int:
    """Queue every failed run again, under a new number, once; return how many there are.

    Parameters
    ----------
    study : open.
    """
    if not study.locks.take(_RETRYING):
        raise DeepMRError("another process is queueing the failed runs again; run the same command without that")
    try:
        failed = study.storage.get_all_trials(study.study_id, deepcopy=False, states=(TrialState.FAIL,))
        again = {one.user_attrs.get("retry_of") for one in _all(study)}
        chosen = [one for one in failed if one.number not in again]
        for one in chosen:
            study.storage.create_new_trial(
                study.study_id,
                create_trial(
                    state=TrialState.WAITING,
                    params=one.params,
                    distributions=one.distributions,
                    user_attrs={"retry_of": one.number},
                ),
            )
        return len(chosen)
    finally:
        study.locks.give(_RETRYING)


def count_runs(study: Study) -> dict[str, int]:
    """Return how many runs are in each state.

    Parameters
    ----------
    study : open.
    """
    return {word: study.storage.get_n_trials(study.study_id, (state,)) for state, word in STATUS.items()}


def _all(study: Study) -> list[FrozenTrial]:
    return study.storage.get_all_trials(study.study_id, deepcopy=False)


def runs_table(study: Study) -> pd.DataFrame:
    """Return a row a run: number, status, parameters, metric, its standard error, losses, seconds, reason.

    Parameters
    ----------
    study : open.

    Notes
    -----
    A failed run that was queued again has the status "retried"; its successor says so under `retry_of`. A run that was
    interrupted and that no process has is "interrupted".
    """
    trials = _all(study)
    retried = {one.user_attrs["retry_of"] for one in trials if "retry_of" in one.user_attrs}
    names = [one.name for one in study.config.parameters]
    names = list(dict.fromkeys([*(["method"] if len(study.config.methods) > 1 else []), *names]))
    rows = []
    for one in trials:
        result = one.user_attrs.get("result", {})
        status = "retried" if one.number in retried else STATUS[one.state]
        if status == "running" and study.locks.take(one.number):
            study.locks.give(one.number)
            status = "interrupted"
        rows.append(
            {
                "run": one.number,
                "status": status,
                **{name: one.params.get(name) for name in names},
                "metric": one.value if one.state == TrialState.COMPLETE else None,
                "metric_se": result.get(f"{study.config.metric}_se"),
                **({} if study.config.metric == MOMENT else {MOMENT: result.get(MOMENT)}),
                **{f"loss_{name}": value for name, value in result.get("losses", {}).items()},
                "seconds": result.get("seconds"),
                "retry_of": one.user_attrs.get("retry_of"),
                "reason": one.user_attrs.get("reason"),
            }
        )
    frame = pd.DataFrame(rows)
    last = ["seconds", "retry_of", "reason"]
    frame = frame[[name for name in frame.columns if name not in last] + last]
    return frame.astype({"retry_of": "Int64"})
