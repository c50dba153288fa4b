"""Flows: a file of steps, checked before the first one runs."""

import json
from pathlib import Path

import pytest

from deepmr.commands.run import read_flow, run
from deepmr.errors import InputError

SMALL = """
[simulate]
out = "data"
n_train = 60
n_test = 20
seed = 3
"""


@pytest.fixture
def flow(tmp_path):
    def write(text):
        path = tmp_path / "flow.toml"
        path.write_text(text)
        return path

    return write


def test_steps_run_and_the_manifest_says_how(flow, tmp_path):
    path = flow(SMALL)
    summary = run(path)
    assert (tmp_path / "data" / "train.fa").is_file()
    assert [row["step"] for row in summary["steps"]] == ["simulate"]
    manifest = json.loads(Path(str(summary["manifest"])).read_text())
    (step,) = manifest["steps"]
    assert step["command"] == "simulate"
    assert step["provenance"]["options"]["n_train"] == 60
    assert step["provenance"]["seed"] == 3
    assert step["summary"]["train_loci"] == 75


def test_paths_are_relative_to_the_file_and_values_have_their_types(flow, tmp_path):
    text = '[mr]\neffects = "e.h5"\nout = "mr.tsv"\nmethod = ["ivw", "egger"]\nlevel = 0.9\noverwrite = true\n'
    (step,) = read_flow(flow(text))
    assert step.options == {
        "effects": tmp_path / "e.h5",
        "out": tmp_path / "mr.tsv",
        "method": ["ivw", "egger"],
        "level": 0.9,
        "overwrite": True,
    }


def test_files_of_gwas_results_are_relative_to_the_file_and_tasks_are_names(flow, tmp_path):
    text = (
        '[mr]\nexposure = ["a.tsv", "LDL=/data/b.tsv"]\noutcome = "CHD=c.tsv"\nout = "mr.tsv"\ncorrelation = "panel"\n'
    )
    (step,) = read_flow(flow(text + 'panel = "eur"\n'))
    assert step.options["exposure"] == [str(tmp_path / "a.tsv"), "LDL=/data/b.tsv"]
    assert step.options["outcome"] == [f"CHD={tmp_path / 'c.tsv'}"]
    assert (step.options["correlation"], step.options["panel"]) == ("panel", tmp_path / "eur")
    (step,) = read_flow(flow('[mr]\neffects = "e.h5"\nexposure = ["a"]\nout = "mr.tsv"\n'))
    assert step.options["exposure"] == ["a"]


def test_a_flow_from_two_files_of_gwas_results_to_a_page(flow, tmp_path):
    from tests.commands.test_mr_gwas import studies

    studies(tmp_path)
    path = flow(
        '[mr]\nexposure = ["x.tsv.gz"]\noutcome = ["y.txt"]\nout = "r.tsv"\nmethod = ["ivw_random", "egger"]\n'
        '[report]\nestimates = "r.tsv"\nout = "r.html"\n'
    )
    summary = run(path)
    assert {"effects", "estimand", "verdict", "estimates", "report"} <= set(summary)
    assert summary["estimand"] == "effect in the population"
    assert summary["report"] == str(tmp_path / "r.html")
    manifest = json.loads((tmp_path / "flow.manifest.json").read_text())
    assert set(manifest["steps"][0]["provenance"]["inputs"]) == {"exposure_1", "outcome_1"}
    assert "Does x cause y?" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_command_can_run_twice(flow):
    one, other = ('[[meta]]\nestimates = "a.tsv"\nout = "b.tsv"\n', '[[meta]]\nestimates = "c.tsv"\nout = "d.tsv"\n')
    steps = read_flow(flow(f"{one}{other}overwrite = false\n"))
    assert [step.options["out"].name for step in steps] == ["b.tsv", "d.tsv"]
    assert steps[1].options["overwrite"] is False


def test_what_is_there_stays_unless_overwrite_is_asked_for(flow):
    path = flow(SMALL)
    run(path)
    with pytest.raises(InputError, match="data"):
        run(path)
    assert run(path, overwrite=True)["steps"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no sections"),
        ("[simulate", "not a TOML file"),
        ("[sim]\n", r"no command \[sim\]; did you mean|no command \[sim\]; use one of"),
        ("[demo]\n", r"no command \[demo\]"),
        ("simulate = 3\n", r"simulate must be a section"),
        ('[simulate]\nout = "x"\nsead = 3\n', r"\[simulate\] has no option 'sead'; did you mean 'seed'\?"),
        ('[simulate]\nout = "x"\nn_train = "many"\n', r"\[simulate\].*many"),
        ("[simulate]\nn_train = 3\n", r"\[simulate\].*--out"),
        ('[simulate]\nout = "x"\nscenario = "confused"\n', r"\[simulate\].*confused"),
    ],
)
def test_a_wrong_file_runs_nothing(flow, tmp_path, text, message):
    with pytest.raises(InputError, match=message) as error:
        run(flow(text))
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["flow.toml"]


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.toml: cannot be read: No such file"):
        run(tmp_path / "nothing.toml")
