"""`deepmr iv sweep`: many fits that differ in their options, compared on samples that none of them has seen."""

import logging
import shlex
from pathlib import Path
from typing import Any

import pandas as pd

from deepmr import checks
from deepmr.commands.sweep_run import RUNS, Loggers, data_files, prepare
from deepmr.commands.sweep_workers import work_in_processes
from deepmr.errors import DeepMRError, InputError
from deepmr.io.files import atomic_path
from deepmr.io.metrics import check_loggers
from deepmr.io.provenance import file_sha256
from deepmr.io.sweep_config import SweepConfig, config_to_json, read_sweep_config, sweep_runs
from deepmr.io.sweep_parameters import RESERVED
from deepmr.io.sweep_runs import retry_failed
from deepmr.io.sweep_study import STUDY, Study, create_study, open_study
from deepmr.io.sweep_table import runs_table
from deepmr.io.tables import write_table
from deepmr.report.style import DPI
from deepmr.report.sweep import sweep_figure

log = logging.getLogger(__name__)

TABLE, FIGURE = "runs.tsv", "runs.png"
NOT_TOLD = 2.0  # standard errors of the difference within which two runs count as alike
SHOWN = 5  # best runs in the summary


def sweep(
    config: Path,
    *,
    n_workers: int = 1,
    create_only: bool = False,
    retry: bool = False,
    tensorboard: Path | None = None,
    wandb: str | None = None,
) -> dict[str, object]:
    """Fit a method with many choices of its options, and compare the fits on held-out samples.

    Makes a folder with an Optuna study (study.db), a fit a run (runs/0 and so on, which `deepmr iv evaluate` reads), a
    table (runs.tsv) and a figure (runs.png). The same command again goes on with what is left after an interruption of
    whatever kind, and several commands at once share the runs among them.

    Parameters
    ----------
    config
        TOML file that says what is fitted to which data and what varies, or a JSON file as ml-mr takes it; or the
        study.db, or the folder, of a sweep that was begun.
    n_workers
        Processes that fit, with one thread each.
    create_only
        Make the study, with its runs waiting, and fit nothing.
    retry
        Queue the runs that have failed once more, under new numbers.
    tensorboard
        Folder for event files of TensorBoard, one folder a run in it.
    wandb
        Project of Weights & Biases, or PROJECT:NAME, the name before the number of each run.

    Returns
    -------
    dict
        Runs by status; the best run with its parameters, the best few; failed runs with their reasons; files; and the
        command that fits the best choice to all samples.

    Raises
    ------
    InputError
        When the configuration, the data or an option cannot be used, or they are not those that the study was made
        from.
    """
    checks.at_least("n_workers", n_workers, 1)
    check_loggers(tensorboard=tensorboard, wandb=wandb)
    path = _study_file(config)
    study = open_study(path)
    try:
        _check_data(study)
        queued = retry_failed(study) if retry else 0
        if queued:
            log.info("%d failed runs are queued again", queued)
    finally:
        study.close()
    try:
        if not create_only:
            work_in_processes(path, n_workers=n_workers, loggers=Loggers(tensorboard=tensorboard, wandb=wandb))
    finally:  # after Ctrl-C, too
        summary, finished = _write(path)
    if not create_only and not finished:
        failed = summary["failed_runs"]
        if isinstance(failed, list) and failed:
            raise DeepMRError(f"all runs have failed; run {failed[0]['run']}: {failed[0]['reason']}")
    return summary


def _study_file(config: Path) -> Path:
    """Return the study, made first where it is not there."""
    if config.suffix == ".db":
        return config
    if config.is_dir():
        return config / STUDY
    read = read_sweep_config(config)
    path = read.folder / STUDY
    if path.exists():
        study = open_study(path)
        try:
            _check_same(study.config, read, path)
        finally:
            study.close()
        return path
    prepare(read)  # what is wrong with the data is known before there is a study
    runs = sweep_runs(read)
    log.info("%d runs", len(runs))
    create_study(read, runs, {name: file_sha256(file) for name, file in data_files(read).items()})
    return path


def _check_same(old: SweepConfig, new: SweepConfig, path: Path) -> None:
    before, after = config_to_json(old), config_to_json(new)
    differ = [name for name in after if before.get(name) != after[name]]
    if differ:
        raise InputError(
            f"{path} was made from another configuration, which differs in {', '.join(differ)}; "
            "choose another folder, or remove this one"
        )


def _check_data(study: Study) -> None:
    for name, file in data_files(study.config).items():
        if file_sha256(file) != study.checksums.get(name):
            raise InputError(f"{file} has changed since the study was made; its runs would not compare")


def _write(path: Path) -> tuple[dict[str, object], bool]:
    """Write table and figure; return the summary, and whether a run is finished."""
    study = open_study(path)
    try:
        table = runs_table(study)
    finally:
        study.close()
    folder, config = path.parent, study.config
    write_table(table, folder / TABLE)
    done = table[table["status"] == "finished"].sort_values(["metric", "run"])
    failed = table[table["status"] == "failed"]
    summary: dict[str, object] = {
        "runs": {str(word): int(n) for word, n in table["status"].value_counts().items()},
        "failed_runs": failed[["run", "reason"]].to_dict("records"),
    }
    names = _varied(config, table)
    if len(done):
        best = done.iloc[0]
        chosen = _parameters(best, names)
        summary |= {
            "best_run": int(best["run"]),
            "best_parameters": chosen or "the defaults",
            config.metric: float(best["metric"]),
            **_alike(done),
            "best_runs": _rows(done.head(SHOWN), names),
            "fit_all_samples": _command(config, chosen),
            "best_fit": str(folder / RUNS / str(best["run"])),
        }
        figure = sweep_figure(done, names, metric=config.metric)
        with atomic_path(folder / FIGURE) as temporary:
            figure.savefig(temporary, format="png", dpi=DPI)
    files = [str(folder / name) for name in (STUDY, TABLE, *((FIGURE,) if len(done) else ()))]
    return {**summary, "files": files}, len(done) > 0


def _alike(done: pd.DataFrame) -> dict[str, object]:
    """Say how many runs cannot be told from the best one."""
    if "above_best" not in done or len(done) < 2:
        return {}
    n = int((done["above_best"] <= NOT_TOLD * done["above_best_se"]).sum()) - 1
    return {"not_told_from_the_best": f"{n} of {len(done) - 1} other runs, at two standard errors"}


def _varied(config: SweepConfig, table: pd.DataFrame) -> list[str]:
    names = dict.fromkeys(["method", *(one.name for one in config.parameters)])
    return [name for name in names if name in table]


def _parameters(row: pd.Series, names: list[str]) -> dict[str, Any]:
    return {name: _value(row[name]) for name in names if not _missing(row[name])}


def _missing(value: Any) -> bool:
    return bool(pd.isna(value))


def _value(value: Any) -> Any:
    """Return a value of a table as it was: a column of whole numbers with gaps holds them as others."""
    value = value.item() if hasattr(value, "item") else value
    return int(value) if isinstance(value, float) and value == int(value) else value


def _rows(table: pd.DataFrame, names: list[str]) -> list[dict[str, Any]]:
    found = []
    for _, row in table.iterrows():
        values = {name: "" if _missing(row[name]) else _value(row[name]) for name in names}
        found.append({"run": int(row["run"]), **values, "metric": float(row["metric"])})
        if "above_best" in row:
            found[-1] |= {"above_best": float(row["above_best"]), "se": float(row["above_best_se"])}
    return found


def _command(config: SweepConfig, chosen: dict[str, Any]) -> str:
    """Return the command that fits the choice to all samples, those too that runs were compared on."""
    words = ["deepmr", "iv", "fit", "--method", str(chosen.get("method", config.methods[0]))]
    words += ["--data", str(config.dataset["file"])]
    given = {name: value for name, value in config.dataset.items() if name != "file" and value}
    second = config.outcome_dataset
    if second is not None:
        given |= {"outcome": second["outcome"], "outcome_data": second["file"]}
        given |= {"outcome_genotypes": second["genotypes"]} if "genotypes" in second else {}
    for name, value in given.items():
        words += [f"--{name.replace('_', '-')}", *(value if isinstance(value, list) else [str(value)])]
    options = [f"{name}={value}" for name, value in chosen.items() if name not in RESERVED]
    words += ["--options", *options] if options else []
    words += ["--seed", str(chosen.get("seed", config.seed)), "--out", str(config.folder / "best")]
    return shlex.join(words)
