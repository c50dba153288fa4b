"""Metrics as event files that TensorBoard reads, and as calls of Weights & Biases."""

import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pandas as pd
import pytest

from deepmr.errors import DeepMRError, InputError
from deepmr.io.metrics import check_loggers, send_metrics, series, split_wandb, training_log


@dataclass(frozen=True)
class Row:
    stage: str
    member: int
    epoch: int
    training_loss: float
    validation_loss: float


LOG = (
    Row("exposure", 0, 1, 2.0, 2.5),
    Row("exposure", 0, 2, 1.0, float("nan")),
    Row("outcome", 0, 1, 4.0, 4.5),
    Row("outcome", 1, 1, 5.0, 5.5),
)


@dataclass(frozen=True)
class Response:
    record: object = None
    logs: object = LOG

    def iv_reg_function(self):
        raise NotImplementedError

    avg_iv_reg_function = ate = cate = state = iv_reg_function


def test_a_log_is_a_frame_whichever_way_it_is_held():
    frame = training_log(Response())
    assert list(frame.columns) == ["stage", "member", "epoch", "training_loss", "validation_loss"]
    pd.testing.assert_frame_equal(training_log(Response(logs=frame)), frame)
    assert training_log(Response(logs=None)) is None
    assert training_log(Response(logs=())) is None
    with pytest.raises(DeepMRError, match="needs stage"):
        training_log(Response(logs=frame.drop(columns="stage")))


def test_members_are_told_apart_where_there_are_several():
    assert series(training_log(Response())) == [
        ("exposure/training_loss", 1, 2.0),
        ("exposure/validation_loss", 1, 2.5),
        ("outcome/training_loss/0", 1, 4.0),
        ("outcome/validation_loss/0", 1, 4.5),
        ("outcome/training_loss/1", 1, 5.0),
        ("outcome/validation_loss/1", 1, 5.5),
        ("exposure/training_loss", 2, 1.0),
    ]
    assert series(None) == []


def test_tensorboard_reads_what_is_written(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for _ in range(2):  # the second time in place of the first
        send_metrics(
            training_log(Response()),
            run="3",
            options={"hidden": (64, 32), "rate": 0.1, "nmqn": True},
            results={"metric": 0.25},
            tensorboard=tmp_path / "tb",
        )
    read = accumulators.EventAccumulator(str(tmp_path / "tb" / "3"))
    read.Reload()
    assert [(one.step, one.value) for one in read.Scalars("exposure/training_loss")] == [(1, 2.0), (2, 1.0)]
    assert [one.value for one in read.Scalars("result/metric")] == [0.25]
    assert "_hparams_/session_start_info" in read.Tags()["tensors"]


class Stub:
    """What of wandb is used, with a record of it."""

    def __init__(self):
        self.calls = []
        self.summary = SimpleNamespace(update=lambda values: self.calls.append(("summary", values)))

    def init(self, *, project, name, group, config, reinit):
        self.calls.append(("init", project, name, group, config))
        return self

    def define_metric(self, name, step_metric=None):
        self.calls.append(("define", name, step_metric))

    def log(self, values):
        self.calls.append(("log", values))

    def finish(self):
        self.calls.append(("finish",))


def test_wandb(monkeypatch):
    stub = Stub()
    monkeypatch.setitem(sys.modules, "wandb", stub)
    check_loggers(wandb="mr:first")
    send_metrics(
        training_log(Response()), run="3", options={"hidden": (64, 32)}, results={"metric": 0.25}, wandb="mr:first"
    )
    assert stub.calls == [
        ("init", "mr", "first-3", "first", {"hidden": [64, 32]}),
        ("define", "exposure/epoch", None),
        ("define", "exposure/*", "exposure/epoch"),
        ("define", "outcome/epoch", None),
        ("define", "outcome/*", "outcome/epoch"),
        ("log", {"exposure/epoch": 1, "exposure/training_loss": 2.0, "exposure/validation_loss": 2.5}),
        (
            "log",
            {
                "outcome/epoch": 1,
                "outcome/training_loss/0": 4.0,
                "outcome/validation_loss/0": 4.5,
                "outcome/training_loss/1": 5.0,
                "outcome/validation_loss/1": 5.5,
            },
        ),
        ("log", {"exposure/epoch": 2, "exposure/training_loss": 1.0}),
        ("summary", {"metric": 0.25}),
        ("finish",),
    ]


def test_the_name_of_a_single_fit_is_the_runs(monkeypatch):
    stub = Stub()
    monkeypatch.setitem(sys.modules, "wandb", stub)
    send_metrics(None, run="fit", options={}, results={}, wandb="mr:first")
    send_metrics(None, run="fit", options={}, results={}, wandb="mr")
    assert [call[1:4] for call in stub.calls if call[0] == "init"] == [("mr", "first", "first"), ("mr", "fit", None)]


def test_what_is_not_installed_is_said_before_the_fit(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InputError, match=r"--wandb needs wandb: pip install 'deepmr\[logging\]'"):
        check_loggers(wandb="mr")
    with pytest.raises(InputError, match="--tensorboard needs tensorboard"):
        check_loggers(tensorboard=tmp_path)
    check_loggers()


def test_project_and_run():
    assert split_wandb("mr") == ("mr", None)
    assert split_wandb("mr:a:b") == ("mr", "a:b")
    for wrong in ("", ":run", "mr:"):
        with pytest.raises(InputError, match="PROJECT or PROJECT:RUN"):
            split_wandb(wrong)
