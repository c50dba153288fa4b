"""Figures of calibration on labelled edits."""

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.labelled import apply_labelled, fit_labelled, with_calibrated
from deepmr.meta import pool_estimates
from deepmr.report.labelled import before_after_figure, misses_figure, worth_figure
from tests.labelled.planted import plant


@pytest.fixture(scope="module")
def study():
    planted = plant(np.random.default_rng(0), n_lab=40)
    calibration = fit_labelled(planted.labels, planted.predicted, planted.labelled, levels=planted.levels)
    return calibration, with_calibrated(planted.target, apply_labelled(planted.target, calibration))


def find(axes, gid):
    return [artist for artist in axes.get_children() if artist.get_gid() == gid]


def test_misses(study):
    calibration, _ = study
    (axes,) = misses_figure(calibration).axes
    (pair,) = calibration.pairs
    (points,) = find(axes, "loci")
    assert len(points.get_offsets()) == 40
    (identity,), (shifted,) = find(axes, "identity"), find(axes, "shifted")
    assert shifted.get_ydata() - identity.get_ydata() == pytest.approx([pair.applied] * 2)
    with pytest.raises(InputError, match="no pair is calibrated for method 'egger'"):
        misses_figure(calibration, method="egger")


def test_before_and_after(study):
    _, both = study
    pooled = pool_estimates(both)
    truth = pd.DataFrame({"exposure": ["X"], "outcome": ["Y"], "beta": [4.15]})
    (axes,) = before_after_figure(pooled, method="ivw", truth=truth).axes
    rows = pooled.table.set_index("estimand")
    for name in ("model", "calibrated"):
        (line,) = find(axes, name)
        assert line.get_xdata() == pytest.approx(rows.loc[name, ["ci_low", "ci_high"]].to_numpy(float))
    assert find(axes, "truth")
    alone = pooled.take((pooled.table["estimand"] == "model").to_numpy())
    with pytest.raises(InputError, match="no pair has both"):
        before_after_figure(alone, method="ivw")


def test_worth(study):
    calibration, _ = study
    (axes,) = worth_figure(calibration.pairs[0]).axes
    (now,) = find(axes, "now")
    assert now.get_xdata()[0] == 40
    assert axes.get_xscale() == "log"
