"""Effect against threshold: what is drawn is what the table says."""

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.report.thresholds import threshold_figure
from deepmr.schema import THRESHOLDS


def table():
    rows = [
        ("relative", 0.5, 1.1, 40, 400),
        ("relative", 0.1, 1.0, 50, 900),
        ("f", 3.0, 2.0, 50, 2500),
        ("f", 30.0, 1.2, 45, 500),
    ]
    frame = pd.DataFrame(rows, columns=["rule", "threshold", "beta", "n_loci", "n_instruments"])
    frame = frame.assign(exposure="x", outcome="y", method="ivw", estimand="model")
    return frame.assign(ci_low=frame["beta"] - 0.1, ci_high=frame["beta"] + 0.1)[list(THRESHOLDS)]


def drawn(axes, gid):
    return [line for line in axes.get_lines() if line.get_gid() == gid]


def test_a_panel_a_rule_in_the_order_of_thresholds():
    figure = threshold_figure(table(), exposure="x", outcome="y", truth=0.5)
    top, below = figure.axes[:2], figure.axes[2:]
    assert [axes.get_title(loc="left") for axes in top] == ["relative", "f"]
    (line,) = drawn(top[0], "effects")
    assert line.get_xydata().tolist() == [[0.1, 1.0], [0.5, 1.1]]
    (line,) = drawn(below[1], "instruments")
    np.testing.assert_allclose(line.get_xydata(), [[3, 50], [30, 500 / 45]])
    assert [text.get_text() for text in below[0].texts] == ["50", "40"]
    assert [line.get_xdata()[0] for line in drawn(top[0], "default")] == [0.25]
    low, high = top[0].get_ylim()
    assert low < 0.5 < 2.1 < high
    assert "x → y, IVW" in figure.get_suptitle()
    assert "(model)" in figure.get_suptitle()


def test_one_far_interval_does_not_rule_the_axis():
    frame = table()
    frame.loc[0, "ci_high"] = 1e4
    assert threshold_figure(frame, exposure="x", outcome="y").axes[0].get_ylim()[1] < 5


def test_bad_tables():
    with pytest.raises(InputError, match="no effect to draw"):
        threshold_figure(table(), exposure="y", outcome="x")
    with pytest.raises(InputError, match=r"needs the column\(s\) rule"):
        threshold_figure(table().drop(columns="rule"), exposure="x", outcome="y")
