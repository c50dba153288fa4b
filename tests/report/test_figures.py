"""Calibration curves and histograms of predictions."""

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.ism.calibration import Calibration
from deepmr.report.figures import calibration_figure, prediction_histograms
from deepmr.types import Task
from tests.report.toy import toy_calibration


@pytest.fixture(scope="module")
def calibration():
    return toy_calibration()


def curve(axes, gid):
    (line,) = [line for line in axes.lines if line.get_gid() == gid]
    return line


def test_coverage_is_drawn_as_measured_before_and_after(calibration):
    axes = calibration_figure(calibration).axes[0]
    task = calibration.tasks[0]
    for gid in ("before", "variance", "isotonic"):
        np.testing.assert_array_equal(curve(axes, gid).get_xdata(), task.levels)
        np.testing.assert_array_equal(curve(axes, gid).get_ydata(), getattr(task, gid))
    assert axes.get_title(loc="left") == "GATA1"
    labels = [t.get_text() for t in axes.get_legend().get_texts()]
    before = 100 * task.before[np.argmin(np.abs(task.levels - 0.95))]
    assert labels[0] == f"as trained: {before:.0f} % at 95 %"
    assert f"variance × {task.raw_scale:.3g}" in axes.get_legend().get_title().get_text()
    assert len({curve(axes, gid).get_linestyle() for gid in ("before", "variance", "isotonic")}) == 3


def test_the_band_is_what_chance_gives_with_so_many_loci(calibration):
    axes = calibration_figure(calibration).axes[0]
    (band,) = [c for c in axes.collections if c.get_gid() == "band"]
    corners = band.get_paths()[0].vertices
    at_half = corners[np.isclose(corners[:, 0], 0.5), 1]
    half = 1.959964 * np.sqrt(0.25 / calibration.tasks[0].n)
    assert [at_half.min(), at_half.max()] == pytest.approx([0.5 - half, 0.5 + half])


def test_probabilities_get_a_reliability_curve_each(calibration):
    axes = calibration_figure(calibration).axes[1]
    task = calibration.tasks[1]
    for measured in task.curves:
        np.testing.assert_array_equal(curve(axes, measured.method).get_xdata(), measured.predicted)
        np.testing.assert_array_equal(curve(axes, measured.method).get_ydata(), measured.observed)
    assert axes.get_xlabel() == "predicted probability"
    assert "temperature" in axes.get_legend().get_title().get_text()


def test_no_calibrated_task_is_an_error():
    with pytest.raises(InputError, match="no task could be calibrated"):
        calibration_figure(Calibration(tasks=(), n_members=5))


def test_histograms_count_every_locus_for_the_mean_and_each_member():
    predictions = np.random.default_rng(0).normal(size=(3, 50, 4))
    tasks = [Task(name=n, scale=s) for n, s in (("a", "identity"), ("b", "log"), ("c", "logit"), ("d", "identity"))]
    figure = prediction_histograms(predictions, tasks=tasks)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["a", "b", "c", "d"]
    labels = ["prediction", "prediction (natural log)", "prediction (logit)", "prediction"]
    assert [axes.get_xlabel() for axes in panels] == labels
    for axes in panels:
        assert sum(bar.get_height() for bar in axes.patches if bar.get_gid() == "mean") == 50
        assert sum(patch.get_gid() == "member" for patch in axes.patches) == 3
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["mean of members", "one member"]


def test_predictions_that_do_not_vary_are_drawn():
    assert prediction_histograms(np.ones((2, 5, 1)), tasks=[Task(name="a")]).axes
