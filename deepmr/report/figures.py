"""What is known of the ensemble itself: calibration curves and histograms of its predictions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deepmr import inference
from deepmr.errors import InputError
from deepmr.ism.calibration import Calibration
from deepmr.ism.coverage import IntervalCalibration
from deepmr.ism.reliability import ProbabilityCalibration
from deepmr.report import words
from deepmr.report.style import CYCLE, GRID, MUTED, PAPER, panel_grid, settle, styled
from deepmr.types import Task

BINS = 40
MAX_PANELS = 12  # most tasks that one figure shows
LEGEND: dict[str, Any] = {
    "loc": "upper center",
    "bbox_to_anchor": (0.5, -0.15),
    "handlelength": 2.6,
    "title_fontsize": 8,
}
CURVES = {
    "before": (CYCLE[1], "-"),
    "variance": (CYCLE[0], "--"),
    "temperature": (CYCLE[0], "--"),
    "isotonic": (CYCLE[2], "-."),
}


@styled
def calibration_figure(calibration: Calibration) -> Figure:
    """Draw how often the ensemble's intervals, or its probabilities, hold on held-out loci: one panel a task.

    Parameters
    ----------
    calibration : with at least one calibrated task; the first twelve are drawn.

    Raises
    ------
    InputError
        When no task could be calibrated.

    Notes
    -----
    Curves "after" are cross-fitted. The grey band holds 95 % of what an exactly calibrated ensemble would show with so
    many loci, point by point (binomial, normal approximation).
    """
    tasks = calibration.tasks[:MAX_PANELS]
    if not tasks:
        raise InputError("no task could be calibrated: there is no curve to draw")
    figure, panels = panel_grid(len(tasks), columns=2, height=4.1)
    for axes, task in zip(panels, tasks, strict=True):
        axes.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls=":", gid="identity")
        if isinstance(task, IntervalCalibration):
            _coverage(axes, task)
        else:
            _reliability(axes, task)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_xticks(np.linspace(0, 1, 6))
        axes.set_yticks(np.linspace(0, 1, 6))
        axes.set_title(task.task)
    return settle(figure)


def _coverage(axes: Axes, task: IntervalCalibration) -> None:
    levels = np.linspace(0, 1, 101)
    half = inference.quantile(0.95) * np.sqrt(levels * (1 - levels) / task.n)
    axes.fill_between(levels, levels - half, levels + half, color=GRID, lw=0, gid="band")
    at = int(np.argmin(np.abs(task.levels - 0.95)))
    for name, coverage in (("before", task.before), ("variance", task.variance), ("isotonic", task.isotonic)):
        colour, dash = CURVES[name]
        meaning = {"before": "as trained", "variance": "variance scaled", "isotonic": "isotonic"}[name]
        label = f"{meaning}: {100 * coverage[at]:.0f} % at 95 %"
        axes.plot(task.levels, coverage, color=colour, ls=dash, label=label, gid=name)
    unused = " (not used: below 1)" if task.raw_scale < 1 else ""
    note = f"{words.count(task.n, 'locus')}, variance × {words.number(task.raw_scale)}{unused}"
    axes.legend(title=note, **LEGEND)
    axes.set(xlabel="level of the interval", ylabel="share of held-out loci inside")


def _reliability(axes: Axes, task: ProbabilityCalibration) -> None:
    for curve in task.curves:
        colour, dash = CURVES[curve.method]
        meaning = {"before": "as trained", "temperature": "temperature", "isotonic": "isotonic"}[curve.method]
        label = f"{meaning}: calibration error {words.number(curve.ece, 3)}"
        axes.plot(curve.predicted, curve.observed, color=colour, ls=dash, lw=1.2, label=label, gid=curve.method)
        size = 6 + 60 * np.sqrt(curve.n / curve.n.sum())
        axes.scatter(curve.predicted, curve.observed, s=size, color=colour, edgecolor=PAPER, lw=0.5, zorder=3)
    positive = words.number(100 * task.n_positive / task.n)
    note = f"{words.count(task.n, 'locus')}, {positive} % positive, temperature {words.number(task.temperature)}"
    axes.legend(title=note, **LEGEND)
    axes.set(xlabel="predicted probability", ylabel="share of positives observed")


@styled
def prediction_histograms(predictions: Float[np.ndarray, "members loci tasks"], *, tasks: Sequence[Task]) -> Figure:
    """Draw what the ensemble predicts for the unmutated loci: the mean as bars, every member as a line.

    Parameters
    ----------
    predictions : in the unit of each task's scale.
    tasks : the last axis; the first twelve are drawn.
    """
    shown = list(tasks)[:MAX_PANELS]
    figure, panels = panel_grid(len(shown), columns=3, height=2.1)
    for k, (axes, task) in enumerate(zip(panels, shown, strict=True)):
        values = np.asarray(predictions[:, :, k], dtype=float)
        edges = np.histogram_bin_edges(values, bins=BINS).tolist()
        axes.hist(values.mean(axis=0), bins=edges, color=CYCLE[0], alpha=0.55, label="mean of members", gid="mean")
        for i, member in enumerate(values):
            label = "one member" if i == 0 else None
            axes.hist(member, bins=edges, histtype="step", color=MUTED, lw=0.6, alpha=0.7, label=label, gid="member")
        axes.set_title(task.name)
        unit = {"identity": "prediction", "log": "prediction (natural log)", "logit": "prediction (logit)"}[task.scale]
        axes.set(xlabel=unit, ylabel="loci" if k % 3 == 0 else "")
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    panels[0].figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return settle(figure)
