"""A small round of the study of networks by context."""

import importlib
import sys
from pathlib import Path

import pandas as pd
import pytest

STUDIES = str(Path(__file__).parents[2] / "simulations")


@pytest.fixture(scope="module")
def study():
    sys.path.insert(0, STUDIES)
    yield importlib.import_module("context_graphs")
    sys.path.remove(STUDIES)
    del sys.modules["context_graphs"]


def test_a_round_gives_its_table(study):
    rows = study.undirected("markov, 5 nodes", ["population", "varying, sparse"], n=120, seed=0)
    table = pd.DataFrame(rows)
    assert list(table["model"]) == ["population", "varying, sparse"]
    assert table["mse_markov"].iloc[1] < table["mse_markov"].iloc[0]
    assert table["mse_correlation"].isna().tolist() == [False, True]
    text = study.markdown(table)
    assert len(text.splitlines()) == 4
