"""Errors and coverage of curves with answers known by hand."""

import numpy as np
import pytest

from deepmr.individual import Curve
from deepmr.nonlinear.accuracy import curve_accuracy

TRUTH = np.array([0.0, 1.0, 2.0, 3.0])


def curve(shift, half):
    estimate = TRUTH + np.asarray(shift, dtype=float)
    return Curve(estimate=estimate, low=estimate - half, high=estimate + half, level=0.9)


def test_a_band_that_holds_the_truth_everywhere_covers_it_everywhere():
    found = curve_accuracy(curve(0.1, 0.2), TRUTH, uniform=curve(0.1, 0.3))
    assert found.mse == pytest.approx(0.01)
    assert found.mse_centred == pytest.approx(0)
    assert found.mean_width == pytest.approx(0.4)
    assert found.coverage == 1
    assert found.uniform_width == pytest.approx(0.6)
    assert found.uniform_coverage == 1


def test_points_outside_count_one_by_one_and_break_the_band():
    found = curve_accuracy(curve([0, 0, 0, 1], 0.5), TRUTH, uniform=curve([0, 0, 0, 1], 0.9))
    assert found.coverage == 0.75
    assert found.uniform_coverage == 0
    assert found.mse == pytest.approx(0.25)
    assert found.mse_centred == pytest.approx(0.25 - 0.0625)


def test_what_is_not_known_is_none():
    bare = curve_accuracy(Curve(estimate=TRUTH), TRUTH)
    assert (bare.mse, bare.mean_width, bare.coverage, bare.uniform_coverage) == (0, None, None, None)
    untrue = curve_accuracy(curve(0, 1), uniform=curve(0, 2))
    assert (untrue.mse, untrue.mean_width, untrue.coverage, untrue.uniform_width) == (None, 2, None, 4)
