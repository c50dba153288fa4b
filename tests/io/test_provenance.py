"""The record of how a result was made."""

import hashlib
import json
import math
import shlex
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepmr import __version__
from deepmr.errors import InputError
from deepmr.io.provenance import file_sha256, provenance, sequences_sha256
from deepmr.types import Sequences


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "my peaks.fa"
    path.write_text(">a\nACGT\n")
    return path


def toy(**changes):
    given = {"locus": ["a", "b"], "chrom": ["chr1", ""], "start": [0, -1], "end": [4, -1]} | changes
    return Sequences(loci=pd.DataFrame(given), codes=np.array([[0, 1, 2, 3], [3, 2, 1, 4]], dtype=np.uint8))


def test_record_says_what_when_and_from_what(fasta):
    record = provenance("ism", options={"fasta": fasta, "out": Path("x.h5")}, inputs={"fasta": fasta}, seed=3)
    assert record["command"] == "ism"
    assert record["deepmr_version"] == __version__
    assert record["seed"] == 3
    assert record["inputs"] == {"fasta": {"path": str(fasta), "sha256": hashlib.sha256(b">a\nACGT\n").hexdigest()}}
    assert record["versions"]["numpy"] == np.__version__
    assert record["versions"]["torch"] == version("torch")
    assert datetime.fromisoformat(record["created_utc"]).utcoffset().total_seconds() == 0
    assert set(record) >= {"options", "python_version", "platform"}


def test_record_holds_whatever_options_as_json():
    options = {
        "path": Path("a/b"),
        "names": ("x", "y"),
        "nested": {"rate": np.float32(0.5), "count": np.int64(3)},
        "cutoff": math.inf,
        "chosen": {"b", "a"},
        "nothing": None,
        "flag": True,
    }
    record = provenance("mr", options=options, inputs={})
    assert json.loads(json.dumps(record, allow_nan=False))["options"] == {
        "path": "a/b",
        "names": ["x", "y"],
        "nested": {"rate": 0.5, "count": 3},
        "cutoff": "inf",
        "chosen": ["a", "b"],
        "nothing": None,
        "flag": True,
    }


def test_command_line_repeats_the_run(fasta):
    options = {"fasta": fasta, "task_names": ("CTCF", "PU.1"), "keep_shards": True, "resume": False, "sample": None}
    line = provenance("ism", options=options, inputs={})["command_line"]
    words = ["deepmr", "ism", "--fasta", str(fasta), "--task-names", "CTCF", "--task-names", "PU.1"]
    assert shlex.split(line) == [*words, "--keep-shards", "--no-resume"]


def test_missing_input_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"gone\.fa: cannot be read: No such file"):
        provenance("ism", options={}, inputs={"fasta": tmp_path / "gone.fa"})


def test_package_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("deepmr.io.provenance.PACKAGES", ("numpy", "no-such-package"))
    versions = provenance("ism", options={}, inputs={})["versions"]
    assert versions == {"numpy": np.__version__, "no-such-package": "not installed"}


def test_checksum_of_a_folder_knows_names_and_contents(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "members").mkdir(parents=True)
        (tmp_path / name / "members" / "m0").write_text("weights")
        (tmp_path / name / "ensemble.toml").write_text("format")
    first = file_sha256(tmp_path / "one")
    assert first == file_sha256(tmp_path / "two")
    (tmp_path / "two" / "members" / "m0").write_text("Weights")
    assert first != file_sha256(tmp_path / "two")
    (tmp_path / "one" / "members" / "m0").rename(tmp_path / "one" / "members" / "m1")
    assert first != file_sha256(tmp_path / "one")


def test_checksum_of_sequences_knows_names_coordinates_and_bases():
    first = sequences_sha256(toy())
    assert first == sequences_sha256(toy(locus=pd.Categorical(["a", "b"])))
    different = [
        toy(locus=["a", "c"]),
        toy(chrom=["chr2", ""]),
        toy(start=[1, -1]),
        toy().take([1, 0]),
        toy().take([0]),
    ]
    assert len({first, *map(sequences_sha256, different)}) == 6
    changed = Sequences(loci=toy().loci, codes=toy().codes[:, ::-1].copy())
    assert first != sequences_sha256(changed)
