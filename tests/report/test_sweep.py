"""The figure of a sweep: a panel a parameter, the best run marked, no run lost."""

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.report.sweep import sweep_figure


def runs(n=12):
    rng = np.random.default_rng(0)
    metric = rng.exponential(1.0, n)
    metric[3] = 100.0
    return pd.DataFrame(
        {
            "run": np.arange(n),
            "rate": np.geomspace(1e-4, 1, n),
            "hidden": ["64,32", "128,64", None] * (n // 3),
            "same": 1,
            "metric": metric,
            "above_best": metric - metric.min(),
            "above_best_se": 0.5,
        }
    )


def points(axes, what):
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_gid() == what]


def test_every_run_is_there_and_the_best_is_marked():
    frame = runs()
    figure = sweep_figure(frame, ["rate", "hidden", "same"], metric="projected_moment")
    rate, hidden = [axes for axes in figure.axes if axes.get_visible()]
    assert (rate.get_xlabel(), hidden.get_xlabel(), rate.get_xscale()) == ("rate", "hidden", "log")
    assert len(points(rate, "run")) == 12
    assert len(points(hidden, "run")) == 8
    best = frame["metric"].idxmin()
    assert points(rate, "best") == [(frame["rate"][best], frame["metric"][best])]
    assert max(y for _, y in points(rate, "run")) < 20
    assert [one.get_text() for one in hidden.get_xticklabels()] == ["128,64", "64,32"]
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said == [f"best: run {best}", "worse, by two standard errors", "far worse"]


def test_one_run_methods_and_nothing():
    one = runs().head(1).assign(method="sieve")
    assert len(points(sweep_figure(one, ["rate"], metric="m").axes[0], "run")) == 1
    two = runs().assign(method=["sieve", "tsls"] * 6, metric=1.0)
    labels = [text.get_text() for text in sweep_figure(two, ["method"], metric="m").legends[0].get_texts()]
    assert labels[:2] == ["sieve", "tsls"]
    with pytest.raises(InputError, match="no run of the sweep is finished"):
        sweep_figure(runs().assign(metric=np.nan), ["rate"], metric="m")
