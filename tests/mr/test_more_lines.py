"""Penalised, radial and debiased lines on toy data."""

import numpy as np
import pytest

from deepmr.mr.debiased import debiased_ivw
from deepmr.mr.penalties import medians
from deepmr.mr.radial import radial_outliers
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
    frame = radial_outliers(
        pack([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 8.0], 0.01, [0.1, 0.1, 0.1, 1.0]), weights="first"
    )
    assert frame["outlier"].tolist() == [False, False, False, True]
