"""`deepmr calibrate` on linear ensembles whose error is known."""

import json
import logging

import numpy as np
import pytest

from deepmr.commands.calibrate import _noise, calibrate
from deepmr.errors import InputError
from deepmr.io.calibration import read_calibration
from deepmr.io.targets import write_targets
from deepmr.types import Task
from tests.commands.linear import TASKS, draw_weights, write_fasta, write_linear

N = 400


@pytest.fixture
def inputs(tmp_path):
    def make(*, error=0.05, truth_error=0.05, tasks=TASKS, change=None, **options):
        write_linear(tmp_path / "ensemble", error=error, tasks=tasks, **options)
        names, onehot = write_fasta(tmp_path / "heldout.fa", N, seed=1, chroms=("chr8", "chr2"))
        # every sequence has its own true function, so that sequences tell about members rather than about one draw
        truth = draw_weights(N, seed=2, error=truth_error)[:, : len(tasks)]
        values = np.einsum("ntbl,nbl->nt", truth, onehot)
        values = values if change is None else change(values)
        write_targets(tmp_path / "targets.tsv", names, [task.name for task in tasks], values)
        return {
            "model": tmp_path / "ensemble", "fasta": tmp_path / "heldout.fa", "targets": tmp_path / "targets.tsv",
            "out": tmp_path / "calibration.json", "trust_code": True, "device": "cpu",
        }  # fmt: skip

    return make


def test_calibrated_ensemble(inputs):
    options = inputs()
    summary = calibrate(**options)
    rows = summary["intervals"]
    assert [row["task"] for row in rows] == ["X", "Y"]
    for row in rows:
        assert row["variance_factor"] == pytest.approx(1, abs=0.5)  # one draw of five members
        assert row["targets"] == "value"
    assert [(r["task"], r["intervals"]) for r in summary["coverage"]][:3] == [
        ("X", "as_trained"),
        ("X", "variance"),
        ("X", "isotonic"),
    ]
    for row in summary["coverage"]:
        assert row["50%"] < row["80%"] < row["90%"] <= row["95%"]
        if row["intervals"] == "isotonic":
            assert row["95%"] == pytest.approx(0.95, abs=0.04)
    found = read_calibration(options["out"])
    assert len(found.loci) == len(set(found.digests)) == N
    assert len(found.members) == 5
    assert all(len(digest) == 64 for digest in found.members)
    content = json.loads(options["out"].read_text())
    assert set(content["provenance"]["inputs"]) == {"model", "fasta", "targets"}
    assert options["out"].with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    assert not found.warnings


def test_overconfident_ensemble(inputs):
    summary = calibrate(**inputs(truth_error=0.2))
    for row in summary["intervals"]:
        assert row["variance_factor"] == pytest.approx(16, rel=0.5)
        assert row["applied"] == row["variance_factor"]
        assert row["standard_error"] < 4
    for row in summary["coverage"]:
        if row["intervals"] == "as_trained":
            assert row["95%"] < 0.7
        else:
            assert row["95%"] == pytest.approx(0.95, abs=0.04)


def test_noise_given_per_task(inputs):
    options = inputs(change=lambda v: v + np.random.default_rng(0).normal(size=v.shape))
    rows = {r["task"]: r for r in calibrate(**options, noise=["none", "Y=1.0"])["intervals"]}
    assert rows["X"]["noise"] == "none"
    assert rows["Y"]["noise"] == 1.0
    assert rows["X"]["variance_factor"] > 10
    assert rows["Y"]["variance_factor"] < 10


def test_noise_entries():
    assert _noise(["B=0.5", "poisson"], ["A", "B"]) == {"A": "poisson", "B": 0.5}
    assert _noise(["x=y=none"], ["x=y"]) == {"x=y": "none"}
    with pytest.raises(InputError, match="got 'gauss'"):
        _noise(["gauss"], ["A"])
    with pytest.raises(InputError, match="no task 'C'; the ensemble has A, B"):
        _noise(["C=1"], ["A", "B"])


@pytest.mark.parametrize("marked", [True, False])
def test_counts_by_the_ensemble_or_by_option(inputs, marked):
    # Predictions of both signs: only the convention matters here, targets are any counts.
    options = inputs(change=lambda v: np.round(np.abs(v)), counts=("X",) if marked else ())
    rows = calibrate(**options, **({} if marked else {"counts": ["X"]}))["intervals"]
    assert [(r["targets"], r["noise"]) for r in rows] == [("counts", "poisson"), ("value", "none")]


def test_binary_task(inputs):
    tasks = (Task(name="X", scale="logit"), Task(name="Y"))
    options = inputs(tasks=tasks, change=lambda v: np.column_stack([v[:, 0] > 0.1 * np.arange(N) % 3, v[:, 1]]))
    summary = calibrate(**options)
    before, tempered, mapped = summary["probabilities"]
    assert [r["probabilities"] for r in (before, tempered, mapped)] == ["before", "temperature", "isotonic"]
    assert before["temperature"] == mapped["temperature"] > 0
    assert tempered["log_loss"] <= before["log_loss"] + 0.02
    assert [r["task"] for r in summary["intervals"]] == ["Y"]


def test_skipped_and_ignored(inputs, caplog):
    options = inputs(change=lambda v: np.column_stack([v[:, 0], np.full(N, np.nan)]))
    text = options["targets"].read_text().replace("locus\tX\tY", "locus\tX\tZ")
    options["targets"].write_text(text)
    with caplog.at_level(logging.WARNING):
        summary = calibrate(**options)
    assert "column Z is no task" in caplog.text
    assert summary["skipped"] == [{"task": "Y", "reason": "every target is unknown"}]


def test_chromosomes_that_training_saw_bring_a_warning(inputs):
    options = inputs(held_out=("chr8", "chr9"))
    calibrate(**options)
    (warning,) = read_calibration(options["out"]).warnings
    assert warning.startswith("200 of 400 sequences are on chromosomes that training may have seen, first chr2")
    calibrate(**options, chrom=["chr8"], overwrite=True)
    found = read_calibration(options["out"])
    assert not found.warnings
    assert all("chr8" in name for name in found.loci)
    with pytest.raises(InputError, match="none of 400 sequences is on chr1"):
        calibrate(**options, chrom=["chr1"], overwrite=True)


def test_bad_input_leaves_nothing_behind(inputs, tmp_path):
    options = inputs()
    before = set(tmp_path.iterdir())
    text = options["targets"].read_text()
    options["targets"].write_text(text.replace("locus\tX\tY", "locus\tP\tQ"))
    with pytest.raises(InputError, match="no column is a task of the ensemble; needed some of X, Y"):
        calibrate(**options)
    options["targets"].write_text(text)
    with pytest.raises(InputError, match="no task 'Q'"):
        calibrate(**options, counts=["Q"])
    with pytest.raises(InputError, match="seed must be at least 0; got -1"):
        calibrate(**options, seed=-1)
    lines = text.splitlines()
    options["targets"].write_text("\n".join([lines[0], *(line.split("\t")[0] + "\t\t" for line in lines[1:])]) + "\n")
    with pytest.raises(InputError, match="no task can be calibrated: X: every target is unknown; Y"):
        calibrate(**options)
    assert set(tmp_path.iterdir()) == before
    options["out"].write_text("mine")
    with pytest.raises(InputError, match="exists"):
        calibrate(**options)
    assert options["out"].read_text() == "mine"


def test_single_member_is_refused(inputs):
    with pytest.raises(InputError, match="at least 2 members; got 1"):
        calibrate(**inputs(n_members=1))
