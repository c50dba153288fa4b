"""Tables of samples as data of a contextual fit."""

import numpy as np
import pytest

from deepmr.contextual import fit_context
from deepmr.errors import InputError
from deepmr.io.context_data import read_context_data

ROWS = """y,se,x1,x2,age,age_se,cell,w,who
1,0.1,1,2,30,0.5,A,1,p
2,0.1,2,2,40,0.5,B,2,q
NA,0.1,3,2,50,0.5,A,1,q
4,0.1,4,3,60,0.5,A,1,p
5,0.1,5,1,70,0.5,,1,p
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text(ROWS)
    return file


def test_complete_cases_by_role(path):
    read = read_context_data(
        path, outcome=["y"], predictors=["x*"], contexts=["age", "cell"], se=["se"], weights="w", groups="who"
    )
    data = read.data
    assert data.context_names == ("age", "cell=B")
    assert data.predictor_names == ("x1", "x2")
    np.testing.assert_array_equal(data.contexts, [[30, 0], [40, 1], [60, 0]])
    np.testing.assert_array_equal(data.context_se, [[0.5, 0]] * 3)
    np.testing.assert_array_equal(data.weights, [1, 2, 1])
    assert data.groups.tolist() == [0, 1, 0]
    assert read.groups == ("p", "q")
    assert read.rows.tolist() == [0, 1, 3]
    assert (read.n_read, read.missing) == (5, {"y": 1, "cell": 1})


def test_what_was_read_can_be_fitted(tmp_path):
    rng = np.random.default_rng(0)
    c, x = rng.uniform(-1, 1, 200), rng.normal(size=200)
    rows = "".join(f"{(1 + 2 * k) * v}\t{v}\t{k}\n" for k, v in zip(c, x, strict=True))
    (tmp_path / "t.tsv").write_text("y\tx\tc\n" + rows)
    data = read_context_data(tmp_path / "t.tsv", outcome=["y"], predictors=["x"], contexts=["c"]).data
    at = fit_context(data, method="population").coefficients(np.array([[0.0]]))
    assert at.beta.shape == (1, 1, 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"outcome": ["Y"]}, "no column 'Y' for the outcome; did you mean 'y'"),
        ({"predictors": ["y"]}, "column 'y' has two roles"),
        ({"contexts": []}, "at least one context is needed"),
        ({"se": ["se", "w"]}, "se needs a column an outcome"),
        ({"predictors": ["cell"]}, "line 2, column 'cell': 'A' is not a number"),
        ({"outcome_type": "binary"}, "outcomes must be 0 or 1"),
    ],
)
def test_what_cannot_be_used_is_one_line(path, change, says):
    with pytest.raises(InputError, match=says):
        read_context_data(path, **({"outcome": ["y"], "contexts": ["age"]} | change))
