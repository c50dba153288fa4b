"""Runs of a sweep, each taken by one process.

A run belongs to the process that holds the lock of its number. Locks end with their process, so a run that is marked as
running and whose lock is free was interrupted, and whoever takes the lock goes on with it. Nothing depends on clocks or
on the isolation of transactions.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from optuna.samplers import TPESampler
from optuna.trial import Trial, TrialState, create_trial

from deepmr.errors import DeepMRError
from deepmr.io.sweep_parameters import Value, applies
from deepmr.io.sweep_study import Study

ATTEMPTS = 3  # times that a run may take its process down
_RETRYING = 1 << 40  # number of the lock of whoever queues failed runs again
_OPEN = (TrialState.WAITING, TrialState.RUNNING)


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
        again = {one.user_attrs.get("retry_of") for one in study.storage.get_all_trials(study.study_id, deepcopy=False)}
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
