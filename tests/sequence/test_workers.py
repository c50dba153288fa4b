"""Processes that train: whatever happens in one comes back with the member's name."""

import importlib

import numpy as np
import pytest
import torch

from deepmr.errors import DeepMRError, InputError
from deepmr.sequence.fitting import TrainingData, TrainOptions
from deepmr.sequence.losses import TaskSpec
from deepmr.sequence.workers import available_cores, fit_networks

from .networks import random_sequences

FAULTY = """
import os
import time
from torch import nn

class Quits(nn.Module):
    def __init__(self):
        os._exit(3)

class FailsOnce(nn.Module):  # the first network fails, the others train for ever
    def __init__(self):
        super().__init__()
        try:
            os.mkdir(os.environ["DEEPMR_TEST_FOLDER"])
        except FileExistsError:
            self.output = nn.Linear(36, 1)
        else:
            time.sleep(1)
            raise LookupError("lost")

    def forward(self, x):
        return self.output(x.flatten(1))
"""


def fit(architecture, n_workers, epochs=1):
    codes = random_sequences(20, 9).codes
    targets = np.arange(20, dtype=np.float32)[:, None]
    data = TrainingData(codes=codes, targets=targets, valid_codes=codes, valid_targets=targets)
    return fit_networks(
        data,
        (TaskSpec(name="a", kind="continuous"),),
        options=TrainOptions(architecture=architecture, epochs=epochs, patience=epochs),
        seeds={"member_0": 1, "member_1": 2},
        device=torch.device("cpu"),
        n_workers=n_workers,
    )


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    (tmp_path / "faulty_networks.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(tmp_path)  # which the workers inherit
    return importlib.import_module("faulty_networks")


def test_a_worker_that_dies_is_an_error(faulty):
    with pytest.raises(DeepMRError, match=r"member_.: a training process died: killed, out of memory"):
        fit(faulty.Quits, 2)


def test_an_exception_names_the_member_and_stops_the_others(faulty, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPMR_TEST_FOLDER", str(tmp_path / "first"))
    with pytest.raises(DeepMRError, match=r"member_.: training failed: LookupError: lost"):
        fit(faulty.FailsOnce, 2, epochs=10**9)


def test_bad_input_stays_bad_input():
    with pytest.raises(InputError, match="member_0: Flatten cannot be trained"):
        fit(torch.nn.Flatten, 1)


def test_cores():
    assert available_cores() >= 1
