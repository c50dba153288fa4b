"""What has become of the runs of a sweep."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from optuna.trial import TrialState

from deepmr.io.sweep_config import MOMENT
from deepmr.io.sweep_parameters import SweepParameter
from deepmr.io.sweep_study import Study
from deepmr.nonlinear.validation import difference_error

STATUS = {
    TrialState.COMPLETE: "finished",
    TrialState.FAIL: "failed",
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
}


def count_runs(study: Study) -> dict[str, int]:
    """Return how many runs are in each state.

    Parameters
    ----------
    study : open.
    """
    return {word: study.storage.get_n_trials(study.study_id, (state,)) for state, word in STATUS.items()}


def runs_table(study: Study) -> pd.DataFrame:
    """Return a row a run: number, status, parameters, metric, its standard error, losses, seconds, reason.

    Parameters
    ----------
    study : open.

    Notes
    -----
    A failed run that was queued again has the status "retried"; its successor says so under `retry_of`. A run that was
    interrupted and that no process has is "interrupted". `above_best` is how much worse than the best run one is, with
    the standard error of that, which is far below those of both: they share most of their noise.
    """
    trials = study.storage.get_all_trials(study.study_id, deepcopy=False)
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
    if study.config.metric == MOMENT:
        _compare(frame, {one.number: one.user_attrs["result"] for one in trials if "result" in one.user_attrs})
    last = ["seconds", "retry_of", "reason"]
    frame = frame[[name for name in frame.columns if name not in last] + last]
    whole = {one.name for one in study.config.parameters if _whole(one)}
    return frame.astype(dict.fromkeys(("retry_of", *(name for name in names if name in whole)), "Int64"))


def _whole(parameter: SweepParameter) -> bool:
    """Return whether all values are whole numbers: a column of them with gaps is not to turn them into others."""
    return parameter.kind == "integer" or (all(type(one) is int for one in parameter.values) and not parameter.drawn)


def _compare(frame: pd.DataFrame, results: Mapping[int, Mapping[str, Any]]) -> None:
    """Add how much worse than the best run each is."""
    if not frame["metric"].notna().any():
        return
    best = int(frame["metric"].astype(float).argmin())
    result = results[int(frame["run"].iloc[best])]
    moments, noise = np.array(result["moments"]), float(result["noise"])
    frame["above_best"] = frame["metric"] - float(frame["metric"].iloc[best])
    frame["above_best_se"] = [
        difference_error(np.array(results[run]["moments"]), moments, noise) if done else None
        for run, done in zip(frame["run"], frame["metric"].notna(), strict=True)
    ]
