"""Small rounds of the studies of coefficients that vary with context."""

import importlib
import sys
from pathlib import Path

import pandas as pd
import pytest

from deepmr.simulate.contexts import simulate_contexts

STUDIES = str(Path(__file__).parents[2] / "simulations")


@pytest.fixture
def study(request):
    sys.path.insert(0, STUDIES)
    yield importlib.import_module(request.param)
    sys.path.remove(STUDIES)
    del sys.modules[request.param]


@pytest.mark.parametrize("study", ["context_demo"], indirect=True)
def test_an_arm_of_the_demo_and_its_figure(study, tmp_path):
    drawn = simulate_contexts("quadratic", sampling="discs", noise_sd=0.0, seed=0)
    population, _ = study.run_arm(drawn, "population", "contexts", {}, 0)
    ridge, beta = study.run_arm(drawn, "ridge", "both", {}, 0)
    assert ridge["effect_mse"] < 1e-12 < 0.1 < population["effect_mse"]
    study.draw(drawn, {"ridge": beta}, tmp_path / "surfaces.png")
    assert (tmp_path / "surfaces.png").stat().st_size > 10_000
    assert {given for _, given, _ in study.arms(["gp"])} == set(study.GIVEN)


@pytest.mark.parametrize("study", ["context_estimators"], indirect=True)
def test_a_unit_is_kept_and_tabulated(study, tmp_path):
    (tmp_path / "units").mkdir()
    cell = ("quadratic", "random", 0.1, 0)
    for _ in range(2):  # the second time there is nothing left to do
        name = study.run_unit(cell, tmp_path, n=100, n_test=50, methods=["population", "ridge"])
    frame = pd.read_json(tmp_path / "units" / name)
    assert list(frame["method"]) == ["population", "ridge"]
    assert frame["mse"].iloc[1] < 0.2 * frame["mse"].iloc[0]
    study.write_tables(frame, tmp_path)
    assert "random, ridge" in (tmp_path / "estimators.md").read_text()
