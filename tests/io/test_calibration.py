"""Calibrations survive the trip through JSON; files that are none are refused in one line."""

import json

import numpy as np
import pytest
from scipy.special import expit

from deepmr.errors import InputError
from deepmr.io.calibration import read_calibration, write_calibration
from deepmr.ism.calibration import fit_calibration
from deepmr.types import Task


@pytest.fixture
def calibration():
    rng = np.random.default_rng(0)
    predictions = rng.normal(size=(5, 120, 4))
    targets = rng.normal(size=(120, 4))
    targets[:, 1] = rng.random(120) < expit(predictions.mean(axis=0)[:, 1])
    targets[:, 2] = np.nan
    targets[:, 3] = rng.poisson(3, size=120)
    tasks = (Task(name="value"), Task(name="binary", scale="logit"), Task(name="unknown"), Task(name="counts"))
    return fit_calibration(predictions, targets, tasks=tasks, counts=["counts"], noise={"value": 0.5})


def test_round_trip(calibration, tmp_path):
    path = tmp_path / "calibration.json"
    write_calibration(calibration, path, provenance={"command": "calibrate"})
    back = read_calibration(path)
    assert (back.n_members, back.skipped, back.warnings) == (5, calibration.skipped, calibration.warnings)
    assert [type(t) for t in back.tasks] == [type(t) for t in calibration.tasks]
    value, binary, counts = back.tasks
    assert value.noise == 0.5
    assert counts.noise == "poisson"
    assert value.raw_scale == calibration.tasks[0].raw_scale
    assert binary.temperature == calibration.tasks[1].temperature
    np.testing.assert_allclose(counts.scores, calibration.tasks[2].scores, atol=1e-6)
    np.testing.assert_allclose(binary.curves[2].observed, calibration.tasks[1].curves[2].observed, atol=1e-6)
    assert back.se_factor("value", df=4.0) == calibration.se_factor("value", df=4.0)
    content = json.loads(path.read_text())
    assert content["provenance"] == {"command": "calibrate"}
    assert content["tasks"][0]["scale"] == max(1, content["tasks"][0]["raw_scale"])
    assert path.stat().st_size < 40_000
    again = tmp_path / "again.json"
    write_calibration(back, again, provenance={"command": "calibrate"})
    assert again.read_text() == path.read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: "{", "not a JSON file"),
        (lambda c: "[]", "not a calibration"),
        (lambda c: json.dumps(c | {"format": "other"}), "not a calibration"),
        (lambda c: json.dumps(c | {"version": 2}), "version 2; this deepmr reads 1"),
        (lambda c: json.dumps({k: v for k, v in c.items() if k != "loci"}), "without 'loci'"),
        (lambda c: json.dumps(c | {"tasks": [c["tasks"][0] | {"kind": "other"}]}), "without 'other'"),
        (lambda c: json.dumps(c | {"tasks": [c["tasks"][0] | {"raw_scale": -1.0}]}), "raw_scale of task 'value' must"),
        (lambda c: json.dumps(c | {"n_members": "five"}), "wrong value"),
    ],
)  # fmt: skip
def test_bad_files(calibration, tmp_path, change, message):
    path = tmp_path / "calibration.json"
    write_calibration(calibration, path)
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(InputError, match=message) as caught:
        read_calibration(path)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_calibration(tmp_path / "none.json")
