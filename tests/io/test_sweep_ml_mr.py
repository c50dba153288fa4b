"""Configurations of ml-mr: sections and options under our names, a clear line for what has no counterpart."""

import json
import logging
from dataclasses import dataclass
from typing import Literal

import pytest

from deepmr import nonlinear
from deepmr.errors import InputError
from deepmr.io.sweep_config import read_sweep_config, sweep_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Options as a method with networks has them."""

    n_quantiles: int = 5
    non_crossing: bool = False
    density: Literal["mixture", "ridge"] = "mixture"
    exposure_hidden: tuple[int, ...] = (128, 64)
    exposure_epochs: int = 1000
    exposure_learning_rate: float = 1e-3
    outcome_learning_rate: float = 1e-3
    batch_size: int | None = 512


@pytest.fixture
def quantile_iv(monkeypatch):
    monkeypatch.setitem(nonlinear.METHODS, "quantile_iv", "tests.io.test_sweep_ml_mr:Network")


CONFIG = {
    "sweep": {"max_runs": 6, "sweep_directory": "found", "model": "quantile_iv"},
    "dataset": {
        "filename": "d.csv",
        "sep": ",",
        "exposure": "x",
        "outcome": "y",
        "instruments": ["v1", "v2"],
        "covariables": ["age"],
        "sampling_weights": None,
    },
    "stage2_dataset": {"filename": "e.csv", "outcome": "z"},
    "parameters": [
        {"name": "n_quantiles", "sampler": "list", "values": [3, 5]},
        {"name": "exposure_hidden", "sampler": "list", "values": [[128, 64], [32]]},
        {"name": "exposure_max_epochs", "sampler": "literal", "value": 100},
        {"name": "exposure_learning_rate", "sampler": "random_uniform", "low": 1e-4, "high": 1e-2, "log": True},
        {"name": "outcome_learning_rate", "sampler": "grid", "start": 0.001, "stop": 0.1, "n_values": 3, "log": True},
        {"name": "exposure_batch_size", "sampler": "random_uniform_int", "low": 100, "high": 1000},
    ],
}


def write(tmp_path, config):
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps(config))
    return path


def changed(**sections):
    return {**CONFIG, **sections}


def test_it_is_read_as_ours(tmp_path, quantile_iv):
    config = read_sweep_config(write(tmp_path, CONFIG))
    assert config.methods == ("quantile_iv",)
    assert config.folder == tmp_path / "found"
    assert config.dataset == {
        "file": str(tmp_path / "d.csv"),
        "separator": "comma",
        "exposure": "x",
        "outcome": "y",
        "instruments": ["v1", "v2"],
        "covariates": ["age"],
    }
    assert config.outcome_dataset["file"] == str(tmp_path / "e.csv")
    assert config.outcome_dataset["outcome"] == "z"
    assert config.outcome_dataset["instruments"] == ["v1", "v2"]
    names = ["n_quantiles", "exposure_hidden", "exposure_epochs", "exposure_learning_rate"]
    assert [one.name for one in config.parameters] == [*names, "outcome_learning_rate", "batch_size"]
    runs = sweep_runs(config)
    assert len(runs) == 6
    assert sorted(one["exposure_hidden"] for one in runs) == ["128,64"] * 3 + ["32"] * 3
    assert sorted(one["outcome_learning_rate"] for one in runs) == [0.001] * 2 + [0.01] * 2 + [0.1] * 2
    assert {one["exposure_epochs"] for one in runs} == {100}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"swep": {}}, "the configuration has no 'swep'; did you mean 'sweep'?"),
        ({"sweep": {"model": "quantile"}}, "model must be one of .*; got 'quantile'; did you mean 'quantile_iv'?"),
        ({"sweep": {"model": "quantile_iv", "max_run": 3}}, "sweep has no 'max_run'; did you mean 'max_runs'?"),
        ({"dataset": {"file": "d"}}, "dataset has no 'file'; did you mean 'filename'?"),
        ({"dataset": {"filename": "d", "sep": "|"}}, "sep must be a tab, comma, semicolon or blank; got '|'"),
        (
            {"parameters": [{"name": "q_hat", "sampler": "literal", "value": True}]},
            "parameter q_hat has no counterpart among the options of quantile_iv.*; these are n_quantiles",
        ),
        ({"parameters": {}}, "parameters must be a list of objects"),
    ],
)
def test_what_has_no_counterpart_is_said(tmp_path, quantile_iv, change, said):
    with pytest.raises(InputError, match=said.replace("?", r"\?").replace("|", r"\|")) as caught:
        read_sweep_config(write(tmp_path, changed(**change)))
    assert "\n" not in str(caught.value)


def test_a_model_whose_method_is_not_there_and_text_that_is_no_json(tmp_path, monkeypatch):
    monkeypatch.delitem(nonlinear.METHODS, "dfiv", raising=False)
    with pytest.raises(InputError, match="there is no method for model dfiv; there are "):
        read_sweep_config(write(tmp_path, changed(sweep={"model": "dfiv"})))
    path = tmp_path / "sweep.json"
    path.write_text("{")
    with pytest.raises(InputError, match="not a JSON file"):
        read_sweep_config(path)


def test_values_and_what_makes_no_difference_here(tmp_path, quantile_iv, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("deepmr"), "propagate", True)
    parameters = [
        {"name": "exposure_network_type", "sampler": "list", "values": ["mixture_density_net", "ridge"]},
        {"name": "nmqn", "sampler": "literal", "value": True},
        {"name": "nmqn_penalty_lambda", "sampler": "literal", "value": 1},
    ]
    config = read_sweep_config(write(tmp_path, changed(parameters=parameters)))
    assert [(one.name, one.values) for one in config.parameters] == [
        ("density", ("mixture", "ridge")),
        ("non_crossing", (True,)),
    ]
    assert "nmqn_penalty_lambda is left out: quantiles that do not cross" in caplog.text
