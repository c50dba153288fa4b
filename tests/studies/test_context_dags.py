"""A small round of the study of Bayesian networks whose weights vary with context."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

STUDIES = str(Path(__file__).parents[2] / "simulations")


@pytest.fixture(scope="module")
def study():
    sys.path.insert(0, STUDIES)
    yield importlib.import_module("context_dags")
    sys.path.remove(STUDIES)
    del sys.modules["context_dags"]


def test_a_round_gives_its_table(study):
    train, test, weights = study.sines(1, "own", 0, n=200, d=3)
    rows = {name: study.score(name, train, test, weights) for name in ("population, DAGMA", "ordered, smooth")}
    table = pd.DataFrame(rows).T
    assert table.loc["ordered, smooth", "test_l2"] < table.loc["population, DAGMA", "test_l2"]
    assert np.isnan(table.loc["population, DAGMA", "coverage"])
    assert len(study.markdown(table).splitlines()) == 4
