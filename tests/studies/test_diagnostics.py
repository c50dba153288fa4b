"""A round of the study of verdicts, and its table by hand."""

import importlib
import sys
from pathlib import Path

import pandas as pd
import pytest

STUDIES = str(Path(__file__).parents[2] / "simulations")


@pytest.fixture(scope="module")
def study():
    sys.path.insert(0, STUDIES)
    yield importlib.import_module("diagnostics")
    sys.path.remove(STUDIES)
    del sys.modules["diagnostics"]


def test_a_round_knows_the_truth(study):
    rows = study.one_round("small", "Y -> X, 0.8", seed=0)
    assert [row["exposure"] for row in rows] == ["X", "Y"]
    assert rows[0]["judgement"] == "not supported"
    assert rows[1]["judgement"].startswith("supported")
    assert study.shortened(rows[0]["both"]) == "one direction only, Y -> X"


def test_the_table_counts(study):
    one = {"truth": "t", "both": "X and Y: one direction only, X -> Y."}
    rows = [
        one | {"exposure": "X", "judgement": "supported", "judgement_without_mixture": "supported"},
        one | {"exposure": "X", "judgement": "undecided", "judgement_without_mixture": "supported with doubts"},
        one | {"exposure": "Y", "judgement": "not supported", "judgement_without_mixture": "not supported"},
    ]
    line = study.markdown(pd.DataFrame(rows)).splitlines()[2]
    assert line == "| t | 1 (2 without *mixture*) | 0 | one direction only, X -> Y (2) |"
