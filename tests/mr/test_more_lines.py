"""Penalised, radial and debiased lines on toy data."""

import numpy as np
import pytest

from deepmr.mr.debiased import debiased_ivw
from deepmr.mr.penalties import medians
from deepmr.mr.sensitivity import OUTLIER_TESTS, q_outliers
from tests.mr.builders import pack


def test_medians_of_odd_even_and_no_rows():
    found = medians(np.array([3.0, 1.0, 2.0, 4.0, 1.0]), np.array([0, 3, 3, 5]))
    assert found[[0, 2]].tolist() == [2.0, 2.5]
    assert np.isnan(found[1])


def test_debiased_slope_by_hand():
    row = debiased_ivw(pack([1.0, 2.0, 2.0], [1.0, 2.0, 2.0], 1.0, 1.0), overdispersion=False).table.iloc[0]
    assert row["beta"] == pytest.approx(9 / 6)
    assert row["condition"] == pytest.approx(2 * np.sqrt(3))


def test_the_instrument_off_the_line_sticks_out():
    given = pack([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 8.0], 0.01, [0.1, 0.1, 0.1, 1.0])
    for test in ("q", "radial"):
        found = OUTLIER_TESTS[test](given).table
        assert found["outlier"].tolist() == [False, False, False, True]
        assert set(found["method"]) == {test}


def test_errors_of_the_exposure_excuse_an_outlier():
    x, y = np.linspace(1, 2, 10), np.linspace(0.5, 1, 10)
    y[4] += 0.4
    se_x = np.where(np.arange(10) == 4, 0.8, 0.01)
    assert q_outliers(pack(x, y, se_x, 0.1)).table["outlier"].sum() == 1
    assert not q_outliers(pack(x, y, se_x, 0.1), weights="modified").table["outlier"].any()
    table = q_outliers(pack(x, y, se_x, 0.1), intercept=True).table
    design = np.column_stack([np.ones(10), x / 0.1])
    rest = y / 0.1 - design @ np.linalg.lstsq(design, y / 0.1, rcond=None)[0]
    assert table["q"].to_numpy() == pytest.approx(rest**2)
