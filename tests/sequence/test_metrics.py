"""Measures of prediction, against numbers worked out by hand."""

import numpy as np
import pytest

from deepmr.sequence.losses import TaskSpec
from deepmr.sequence.metrics import measure

CONTINUOUS, BINARY = TaskSpec(name="level", kind="continuous"), TaskSpec(name="bound", kind="binary")


def test_known_values():
    target = np.array([[1, 0], [2, 1], [3, 0], [4, 1], [np.nan, np.nan]], dtype=np.float32)
    first = np.array([[1, -1], [2, 0.5], [3, 1], [4, 2], [99, 99]], dtype=np.float32)
    second = np.array([[3, -1], [4, 2], [5, 1], [6, 0.5], [99, 99]], dtype=np.float32)
    table = measure(np.stack([first, second]), target, tasks=[CONTINUOUS, BINARY], names=["a", "b"])
    assert table["member"].tolist() == ["a", "b", "ensemble"] * 2
    assert table["n"].tolist() == [4] * 6
    level, bound = table[table["task"] == "level"], table[table["task"] == "bound"]
    np.testing.assert_allclose(level["r2"], [1, 1 - 16 / 5, 1 - 4 / 5])  # off by 0, 2 and 1
    np.testing.assert_allclose(level["pearson"], 1)
    np.testing.assert_allclose(bound["auroc"], [3 / 4, 3 / 4, 1])  # of 4 pairs one is the wrong way round, or none
    np.testing.assert_allclose(bound["auprc"], [(1 / 1 + 2 / 3) / 2, (1 / 1 + 2 / 3) / 2, 1])
    assert level[["auroc", "auprc"]].isna().all(axis=None)
    assert bound[["r2", "pearson"]].isna().all(axis=None)


def test_counts_are_compared_on_the_square_root_scale():
    counts = np.array([[0], [4], [100], [1000]], dtype=np.float32)
    transformed = 2 * np.sqrt(counts + 0.375)
    anscombe = measure(transformed[None], transformed, tasks=[TaskSpec(name="y", kind="anscombe")], names=["a"])
    poisson = measure(np.log(counts + 1e-6)[None], counts, tasks=[TaskSpec(name="y", kind="poisson")], names=["a"])
    assert anscombe["r2"].tolist() == [1, 1]
    assert 0.99 < poisson["r2"][0] < 1  # the expectation at a rate is a little below the transform of the rate


@pytest.mark.parametrize("known", [[], [1.0], [1.0, 1.0]])
def test_undetermined_measures_are_missing(known):
    target = np.full((3, 1), np.nan, dtype=np.float32)
    target[: len(known), 0] = known
    table = measure(np.ones((1, 3, 1), dtype=np.float32), target, tasks=[BINARY], names=["a"])
    assert table["n"].tolist() == [len(known)] * 2
    assert table[["r2", "pearson", "auroc", "auprc"]].isna().all(axis=None)


def test_a_constant_prediction_has_no_correlation():
    target = np.array([[1], [2]], dtype=np.float32)
    table = measure(np.full((1, 2, 1), 1.5, dtype=np.float32), target, tasks=[CONTINUOUS], names=["a"])
    assert table["r2"].tolist() == [0, 0]
    assert table["pearson"].isna().all()
