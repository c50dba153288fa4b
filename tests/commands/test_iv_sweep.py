"""Sweeps from configuration to table: every run once, whatever happens to the processes."""

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from deepmr import nonlinear
from deepmr.cli import execute
from deepmr.commands.iv_sweep import sweep
from deepmr.commands.sweep_workers import work_through
from deepmr.errors import DeepMRError, InputError
from deepmr.io.iv_data import read_iv_data
from deepmr.io.responses import read_meta, read_response
from deepmr.io.sweep_config import read_sweep_config, sweep_runs
from deepmr.io.sweep_runs import finish_run, open_runs, take_run
from deepmr.io.sweep_study import create_study, open_study
from deepmr.io.sweep_table import runs_table
from deepmr.nonlinear import fit_response
from deepmr.nonlinear.validation import projected_moment, split_samples

ROOT = Path(__file__).parents[2]
DATASET = '[dataset]\nfile = "d.tsv"\nexposure = "x"\noutcome = "y"\ninstruments = "v{1..5}"\n'


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    z = rng.binomial(2, 0.3, (600, 5)).astype(float)
    u = rng.standard_normal(600)
    x = z @ np.full(5, 0.4) + 0.5 * u + 0.5 * rng.standard_normal(600)
    y = 0.4 * (x - 1) ** 2 - 0.6 * u + 0.3 * rng.standard_normal(600)
    columns = {"x": x, "y": y} | {f"v{k + 1}": z[:, k] for k in range(5)}
    pd.DataFrame(columns).to_csv(tmp_path / "d.tsv", sep="\t", index=False)
    return tmp_path


@pytest.fixture
def in_process(monkeypatch):
    """Work here rather than in processes of their own."""
    monkeypatch.setattr(
        "deepmr.commands.iv_sweep.work_in_processes",
        lambda path, *, n_workers, loggers: work_through(path, loggers),
    )


@pytest.fixture
def ledger(monkeypatch):
    monkeypatch.setitem(nonlinear.METHODS, "ledger", "tests.commands.sweep_ledger:Ledger")


def write(folder, sweep_lines="", parameters="", *, dataset=DATASET, name="s.toml"):
    path = folder / name
    path.write_text(f"[sweep]\n{sweep_lines}\n{dataset}\n{parameters}")
    return path


def parameter(name, **keys):
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"name": name, **keys}.items()]
    return "[[parameters]]\n" + "\n".join(lines) + "\n"


FUNCTIONS = parameter("n_functions", sampler="list", values=[2, 3, 6]) + parameter(
    "n_folds", sampler="literal", value=2
)


def table(folder):
    return pd.read_csv(folder / "s_sweep" / "runs.tsv", sep="\t")


def test_runs_are_the_fits_that_the_api_makes(folder, in_process):
    found = sweep(write(folder, "held_out = 0.25\nseed = 3", FUNCTIONS))
    assert found["runs"] == {"finished": 3}
    runs = table(folder)
    assert list(runs["n_functions"]) == [2, 3, 6]
    best = runs.loc[runs["metric"].idxmin()]
    assert found["best_run"] == best["run"]
    assert found["best_parameters"] == {"n_functions": best["n_functions"], "n_folds": 2}
    data = read_iv_data(folder / "d.tsv", exposure="x", outcome="y", instruments=["v{1..5}"]).data
    split = next(split_samples(data, n_folds=4, seed=3))
    for run, n_functions in enumerate([2, 3, 6]):
        options = {"n_functions": n_functions, "n_folds": 2}
        here = fit_response(split.fitted, method="sieve", options=options, seed=3)
        saved = read_response(folder / "s_sweep" / "runs" / str(run))
        x = np.linspace(-1, 4, 9)
        np.testing.assert_array_equal(saved.avg_iv_reg_function(x).estimate, here.avg_iv_reg_function(x).estimate)
        assert runs["metric"][run] == projected_moment(here, split.held_out).value
    assert runs["metric"][0] > runs["metric"][1]  # a line does not fit
    assert runs["above_best"].min() == runs["above_best_se"].min() == 0
    assert runs["above_best_se"][0] < 0.9 * runs["metric_se"][0]
    assert found["not_told_from_the_best"].endswith("of 2 other runs, at two standard errors")
    meta = read_meta(folder / "s_sweep" / "runs" / "1")
    assert meta["provenance"]["sweep"] == {
        "run": 1,
        "method": "sieve",
        "parameters": {"n_functions": 3, "n_folds": 2},
    }
    assert (folder / "s_sweep" / "runs.png").stat().st_size > 10_000
    assert "--options n_functions=" in found["fit_all_samples"]


def test_the_command_of_the_best_choice_fits_all_samples(folder, in_process):
    found = sweep(write(folder, "", FUNCTIONS))
    assert execute([*shlex.split(found["fit_all_samples"])[1:], "--quiet"]) == 0
    meta = read_meta(folder / "s_sweep" / "best")
    assert meta["n"] == 600
    assert meta["options"]["n_functions"] == found["best_parameters"]["n_functions"]


def test_in_processes_of_their_own(folder):
    found = sweep(write(folder, "", FUNCTIONS), n_workers=2)
    assert found["runs"] == {"finished": 3}
    assert sweep(folder / "s_sweep")["best_run"] == found["best_run"]  # the folder stands for its study


def test_cross_validation_fits_all_samples(folder, in_process):
    sweep(write(folder, "n_folds = 3", parameter("n_functions", sampler="list", values=[2, 4])))
    assert read_meta(folder / "s_sweep" / "runs" / "0")["n"] == 600
    assert table(folder)["metric"].is_monotonic_decreasing


def test_two_samples(folder, in_process):
    frame = pd.read_csv(folder / "d.tsv", sep="\t")
    frame.drop(columns="x").to_csv(folder / "e.tsv", sep="\t", index=False)
    frame.drop(columns="y").to_csv(folder / "d.tsv", sep="\t", index=False)
    dataset = DATASET.replace('outcome = "y"\n', "") + '[outcome_dataset]\nfile = "e.tsv"\noutcome = "y"\n'
    path = write(folder, "", parameter("n_folds", sampler="literal", value=2), dataset=dataset)
    study = read_sweep_config(path)
    assert study.outcome_dataset["instruments"] == ["v{1..5}"]
    assert study.outcome_dataset["exposure"] is None
    assert sweep(path)["runs"] == {"finished": 1}


def test_the_same_command_goes_on_and_finished_runs_are_not_run_again(folder, in_process):
    path = write(folder, "", FUNCTIONS)
    assert sweep(path, create_only=True)["runs"] == {"waiting": 3}
    study = folder / "s_sweep" / "study.db"
    first = sweep(study)
    times = [(folder / "s_sweep" / "runs" / str(k) / "run.json").stat().st_mtime_ns for k in range(3)]
    assert sweep(path) == first
    assert [(folder / "s_sweep" / "runs" / str(k) / "run.json").stat().st_mtime_ns for k in range(3)] == times
    known = optuna.load_study(study_name="deepmr", storage=f"sqlite:///{study}")
    assert known.best_trial.number == first["best_run"]
    assert known.best_params == first["best_parameters"]


def test_another_configuration_or_other_data_are_refused(folder, in_process):
    path = write(folder, "", FUNCTIONS)
    sweep(path, create_only=True)
    path.write_text(path.read_text().replace("[2, 3, 6]", "[2, 3]").replace("[sweep]", "[sweep]\nseed = 1"))
    with pytest.raises(InputError, match="made from another configuration, which differs in parameters, seed"):
        sweep(path)
    frame = pd.read_csv(folder / "d.tsv", sep="\t")
    frame.iloc[:-1].to_csv(folder / "d.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match=r"d.tsv has changed since the study was made"):
        sweep(folder / "s_sweep" / "study.db")


def test_failed_runs_are_listed_and_tried_again_only_when_asked(folder, in_process, ledger):
    book = folder / "book"
    parameters = (
        parameter("file", sampler="literal", value=str(book))
        + parameter("fail", sampler="list", values=[False, True])
        + parameter("number", sampler="list", values=[7, 8])
    )
    path = write(folder, 'method = "ledger"', parameters)
    found = sweep(path)
    assert found["runs"] == {"finished": 2, "failed": 2}
    assert found["failed_runs"] == [
        {"run": 2, "reason": "ValueError: told to fail"},
        {"run": 3, "reason": "ValueError: told to fail"},
    ]
    lines = len(book.read_text().splitlines())
    assert sweep(path)["runs"] == found["runs"]
    assert len(book.read_text().splitlines()) == lines
    again = sweep(path, retry=True)
    assert again["runs"] == {"finished": 2, "retried": 2, "failed": 2}
    assert [one["run"] for one in again["failed_runs"]] == [4, 5]
    assert list(table(folder)["retry_of"].dropna()) == [2, 3]
    assert len(book.read_text().splitlines()) == lines + 2
    only = write(folder, 'method = "ledger"\nfolder = "other"', parameters.replace("[false, true]", "[true]"))
    with pytest.raises(DeepMRError, match="all runs have failed; run 0: ValueError: told to fail"):
        sweep(only)


def test_an_interrupted_run_goes_on_and_a_written_one_is_only_noted(folder, in_process, ledger):
    book = folder / "book"
    path = write(
        folder,
        'method = "ledger"',
        parameter("file", sampler="literal", value=str(book)) + parameter("number", sampler="list", values=[0, 1, 2]),
    )
    sweep(path, create_only=True)
    place = folder / "s_sweep" / "study.db"
    study = open_study(place)
    (number, identifier), *_ = open_runs(study)
    assert take_run(study, number, identifier).parameters["number"] == 0
    study.close()  # as when the process is killed: the run is marked as running, and its lock is free
    study = open_study(place)
    assert list(runs_table(study)["status"]) == ["interrupted", "waiting", "waiting"]
    study.close()
    assert sweep(place)["runs"] == {"finished": 3}
    assert Counter(book.read_text().split()[1::4]) == {"0": 2, "1": 2, "2": 2}
    connection = sqlite3.connect(place)  # as when it is killed after a run is written and before it is noted
    connection.execute("UPDATE trials SET state = 'RUNNING' WHERE number = 1")
    connection.commit()
    connection.close()
    before = book.read_text()
    assert sweep(place)["runs"] == {"finished": 3}
    assert book.read_text() == before


def test_a_run_that_others_have_or_that_is_over_is_not_taken(folder):
    config = read_sweep_config(write(folder, "", FUNCTIONS))
    create_study(config, sweep_runs(config), {})
    study = open_study(config.folder / "study.db")
    first = open_runs(study)[0]
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from deepmr.io.sweep_runs import take_run\nfrom deepmr.io.sweep_study import open_study\n"
        f"study = open_study(Path({str(config.folder / 'study.db')!r}))\n"
        f"print([take_run(study, n, n + 1) is not None for n in range(3)], flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as other:
        assert other.stdout.readline().strip() == "[True, True, True]"
        assert [take_run(study, n, identifier) for n, identifier in open_runs(study)] == [None] * 3
        assert list(runs_table(study)["status"]) == ["running"] * 3
        other.kill()
    run = take_run(study, *first)
    assert run.parameters == {"n_functions": 2, "n_folds": 2}
    finish_run(study, run, 0.5, {"seconds": 1.0})
    assert take_run(study, *first) is None
    study.close()


def test_several_methods_and_conditional_parameters(folder, in_process, ledger):
    parameters = (
        parameter("n_functions", sampler="list", values=[2, 4])
        + parameter("file", sampler="literal", value=str(folder / "book"))
        + parameter("seed", sampler="list", values=[0, 5])
    )
    found = sweep(write(folder, 'method = ["sieve", "ledger"]', parameters))
    runs = table(folder)
    assert list(runs["method"]) == ["sieve"] * 4 + ["ledger"] * 2
    assert runs["n_functions"].isna().tolist() == [False] * 4 + [True] * 2
    assert found["runs"] == {"finished": 6}
    assert read_meta(folder / "s_sweep" / "runs" / "1")["seed"] == 5


def test_random_and_adaptive_sweeps_have_so_many_runs_and_are_seeded(folder, in_process):
    parameters = parameter("n_functions", sampler="integer", low=2, high=12, log=True) + parameter(
        "modification", sampler="list", values=["none", "auto"]
    )
    for sampler, n in (("random", 3), ("tpe", 12)):  # the first ten of an adaptive sweep are random
        tried = []
        for name in ("one", "two"):
            path = write(folder, f'max_runs = {n}\nsampler = "{sampler}"\nfolder = "{sampler}{name}"', parameters)
            assert sweep(path)["runs"] == {"finished": n}
            runs = pd.read_csv(folder / f"{sampler}{name}" / "runs.tsv", sep="\t")
            tried.append(runs[["n_functions", "modification"]])
        pd.testing.assert_frame_equal(*tried)
        assert len(set(tried[0]["n_functions"])) >= 3


def test_a_loss_as_metric(folder, in_process):
    path = write(folder, 'metric = "effective_dimension"', FUNCTIONS)
    assert sweep(path)["best_run"] == 0
    assert {"metric", "projected_moment"} <= set(table(folder))
    path = write(folder, 'metric = "nothing"\nfolder = "n"', FUNCTIONS)
    with pytest.raises(DeepMRError, match=r"the fit has no 'nothing' to be compared by; it has .*effective_dimension"):
        sweep(path)


def test_metrics_go_where_they_are_wanted(folder, in_process):
    pytest.importorskip("tensorboard")
    sweep(write(folder, "", FUNCTIONS), tensorboard=folder / "tb")
    assert sorted(p.name for p in (folder / "tb").iterdir()) == ["0", "1", "2"]
    with pytest.raises(InputError, match=r"PROJECT or PROJECT:RUN"):
        sweep(folder / "s_sweep" / "study.db", wandb=":")


def test_a_folder_with_odd_characters(folder, in_process):
    assert sweep(write(folder, 'folder = "a b%20#?é"', FUNCTIONS))["runs"] == {"finished": 3}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[sweep]", "[sweeps]"), r"no section \[sweeps\]; did you mean 'sweep'\?"),
        (("[sweep]", '[sweep]\nmethod = "seive"'), "method must be one of .*; got 'seive'; did you mean 'sieve'"),
        (("[sweep]", "[sweep]\nmax_run = 3"), r"\[sweep\] has no 'max_run'; did you mean 'max_runs'\?"),
        (("[sweep]", "[sweep]\nmax_runs = 0"), "max_runs must be at least 1; got 0"),
        (("[sweep]", '[sweep]\nmax_runs = "3"'), "max_runs must be a whole number; got '3'"),
        (("[sweep]", "[sweep]\nheld_out = 0.9"), "held_out must be from 0.01 to 0.5; got 0.9"),
        (("[sweep]", '[sweep]\nsampler = "grid"'), "sampler must be one of random, tpe; got 'grid'"),
        (('file = "d.tsv"', ""), r"\[dataset\] needs file"),
        (("exposure =", "exposures ="), r"\[dataset\] has no 'exposures'; did you mean 'exposure'\?"),
        (('outcome = "y"', "outcome = 3"), r"\[dataset\] outcome must be text; got 3"),
        (('file = "d.tsv"', 'file = "e.tsv"'), "e.tsv"),
        (('exposure = "x"', 'exposure = "xx"'), "xx"),
        (('exposure = "x"\n', ""), "the first stage needs the exposure"),
        (('outcome = "y"', 'outcome = "y"\nseparator = "pipe"'), "separator"),
        (('name = "n_functions"', 'name = "n_function"'), "has no option 'n_function'; did you mean 'n_functions'"),
        (("[2, 3, 6]", "[2, 3.5]"), "option n_functions of sieve must be int; got 3.5"),
        (('sampler = "list"\nvalues = [2, 3, 6]', 'sampler = "float"\nlow = 1\nhigh = 2'), "must be int; got"),
        (('sampler = "list"\nvalues = [2, 3, 6]', 'sampler = "integer"\nlow = 2\nhigh = 9'), "needs max_runs"),
        (("[sweep]", "[sweep"), "not a TOML file"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_before_there_is_a_study(folder, in_process, change, said):
    path = write(folder, "", FUNCTIONS)
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(InputError, match=said) as caught:
        sweep(path)
    assert "\n" not in str(caught.value)
    assert not (folder / "s_sweep").exists()


def test_what_is_no_study_is_said(folder):
    with pytest.raises(InputError, match="there is no study"):
        sweep(folder / "study.db")
    (folder / "study.db").write_text("text")
    with pytest.raises(InputError, match="not a study: it is no SQLite file"):
        sweep(folder / "study.db")
    (folder / "study.db").unlink()
    optuna.create_study(storage=f"sqlite:///{folder / 'study.db'}", study_name="other")
    with pytest.raises(InputError, match="not a study of deepmr iv sweep"):
        sweep(folder / "study.db")


def command(path, *words):
    return [sys.executable, "-m", "tests.commands.sweep_ledger", "iv", "sweep", str(path), *words]


def start(path, *words):
    return subprocess.Popen(
        command(path, *words),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ends(book):
    return (
        [line.split()[1] for line in book.read_text().splitlines() if line.startswith("end")] if book.exists() else []
    )


def wait_for(condition, seconds=90):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.mark.slow
def test_killed_and_resumed_by_two_at_once(folder):
    book = folder / "book"
    numbers = list(range(40))
    path = write(
        folder,
        'method = "ledger"',
        parameter("file", sampler="literal", value=str(book))
        + parameter("sleep", sampler="literal", value=0.1)
        + parameter("number", sampler="list", values=numbers),
    )
    first = start(path, "--n-workers", "2")
    wait_for(lambda: len(ends(book)) >= 6)
    os.kill(first.pid, signal.SIGKILL)  # the parent alone: its workers end by themselves
    first.wait()
    first.stdout.close()
    first.stderr.close()
    time.sleep(0.5)
    count = len(ends(book))
    assert count < 30
    time.sleep(0.5)
    assert len(ends(book)) == count
    place = folder / "s_sweep"
    times = {p.parent.name: p.stat().st_mtime_ns for p in place.glob("runs/*/run.json")}
    both = [start(place / "study.db"), start(path)]
    outputs = [one.communicate(timeout=120) for one in both]
    assert [one.returncode for one in both] == [0, 0], outputs
    runs = table(folder)
    assert list(runs["status"]) == ["finished"] * 40
    assert sorted(runs["number"]) == numbers
    assert {p.parent.name: p.stat().st_mtime_ns for p in place.glob("runs/*/run.json")} | times == {
        p.parent.name: p.stat().st_mtime_ns for p in place.glob("runs/*/run.json")
    }
    twice = [number for number, n in Counter(ends(book)).items() if n > 1]
    assert len(twice) <= 2  # fitted and not yet written when the processes were killed
    words = [line.split() for line in book.read_text().splitlines()]
    assert len({pid for _, _, pid, _ in words}) == 4
    assert {threads for *_, threads in words} == {"1"}


@pytest.mark.slow
def test_interrupted_from_the_keyboard_and_a_run_that_kills_its_process(folder):
    book = folder / "book"
    path = write(
        folder,
        'method = "ledger"',
        parameter("file", sampler="literal", value=str(book)) + parameter("sleep", sampler="list", values=[0.0, 60.0]),
    )
    first = start(path, "--n-workers", "1")
    wait_for(lambda: book.exists() and book.read_text().count("begin") == 2)
    began = time.monotonic()
    os.killpg(first.pid, signal.SIGINT)  # Ctrl-C reaches the whole group
    _, errors = first.communicate(timeout=30)
    assert time.monotonic() - began < 20
    assert first.returncode == 130
    assert "interrupted; run the same command again" in errors
    assert "Traceback" not in errors
    assert list(table(folder)["status"]) == ["finished", "waiting"]
    deadly = write(
        folder,
        'method = "ledger"\nfolder = "deadly"',
        parameter("file", sampler="literal", value=str(book)) + parameter("die", sampler="list", values=[True, False]),
    )
    done = subprocess.run(command(deadly), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    runs = pd.read_csv(folder / "deadly" / "runs.tsv", sep="\t")
    assert list(runs["status"]) == ["failed", "finished"]
    assert "its process was ended 3 times" in runs["reason"][0]


def test_the_configurations_of_the_page_are_read(tmp_path):
    page = (ROOT / "docs" / "iv_sweep.md").read_text()
    found = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    assert len(found) == 2
    sizes = []
    for text in found:
        (tmp_path / "s.toml").write_text(text)
        if "quantile_iv" in text and "quantile_iv" not in nonlinear.METHODS:
            continue
        sizes.append(len(sweep_runs(read_sweep_config(tmp_path / "s.toml"))))
    assert sizes == [15, 40][: len(sizes)]
