"""Figures of responses: what is drawn, and where."""

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.individual import Curve
from deepmr.report.first_stage import first_stage_figure
from deepmr.report.response import (
    DrawnCurve,
    Histogram,
    conditional_figure,
    fits_figure,
    members_figure,
    response_figure,
)

X = np.linspace(-2, 2, 21)
NAMES = {"exposure": "body mass index", "outcome": "glucose"}


def drawn(label="fit", *, shift=0.0, bands=True, truth=True, wide=1.0):
    estimate = X**2 + shift
    if not bands:
        return DrawnCurve(label=label, x=X, curve=Curve(estimate=estimate), truth=X**2 if truth else None)
    return DrawnCurve(
        label=label,
        x=X,
        curve=Curve(estimate=estimate, low=estimate - 0.2, high=estimate + 0.2, level=0.9),
        uniform=Curve(estimate=estimate, low=estimate - 0.3 * wide, high=estimate + 0.3 * wide, level=0.9),
        truth=X**2 if truth else None,
    )


def marks(figure, gid):
    return figure.findobj(lambda artist: artist.get_gid() == gid)


def labels(figure):
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    return {text.get_text() for legend in legends for text in legend.get_texts()}


def test_one_response_has_its_curve_both_bands_and_the_truth():
    histogram = Histogram(edges=np.linspace(-2, 2, 5), counts=np.array([1.0, 4, 3, 1]))
    figure = response_figure(drawn(), histogram=histogram, **NAMES)
    (line,) = marks(figure, "estimate")
    assert np.array_equal(line.get_ydata(), X**2)
    assert len(marks(figure, "band")) == len(marks(figure, "uniform")) == len(marks(figure, "truth")) == 1
    assert len(marks(figure, "exposures")) == 1
    assert labels(figure) == {"estimate", "truth", "90 % at each point", "90 % for the whole curve"}
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "body mass index"]
    bare = response_figure(drawn(bands=False, truth=False), **NAMES)
    assert labels(bare) == {"estimate"}


def test_the_response_of_a_binary_outcome_is_a_probability():
    one = response_figure(drawn(), binary=True, **NAMES)
    assert one.axes[0].get_ylabel() == "probability of glucose"
    for figure in (
        fits_figure([drawn(), drawn()], binary=True, **NAMES),
        conditional_figure([[drawn("c=1")]], titles=["fit"], binary=True, **NAMES),
    ):
        assert figure.get_supylabel() == "probability of glucose"
    assert members_figure([X], drawn(), binary=True, **NAMES).axes[0].get_ylabel() == "probability of glucose"
    assert fits_figure([drawn()] * 12, binary=True, **NAMES).axes[0].get_ylabel() == "probability of glucose"
    assert response_figure(drawn(), **NAMES).axes[0].get_ylabel() == "expected glucose"


def test_a_band_that_dwarfs_the_curve_is_cut():
    low, high = response_figure(drawn(wide=1e6), **NAMES).axes[0].get_ylim()
    assert high - low < 100
    near = response_figure(drawn(), **NAMES).axes[0].get_ylim()
    assert near[0] < -0.3
    assert near[1] > 4.3


@pytest.mark.parametrize(("n", "panels"), [(1, 1), (3, 3), (7, 7), (9, 9), (10, 1), (40, 1)])
def test_fits_stand_side_by_side_until_they_are_lines(n, panels):
    figure = fits_figure([drawn(f"run {k}", shift=k / 10) for k in range(n)], **NAMES)
    assert sum(axes.get_visible() for axes in figure.axes) == panels
    lines = marks(figure, "estimate" if panels == n else "fit")
    assert len(lines) == n
    assert "truth" in labels(figure)


def test_lines_of_many_fits_leave_no_room_for_bands_that_are_not_drawn():
    fits = [drawn(f"run {k}", wide=30.0) for k in range(12)]
    wider = DrawnCurve(label="wide", x=X * 2, curve=Curve(estimate=X**2), truth=4 * X**2)
    figure = fits_figure([*fits, wider], **NAMES)
    assert figure.axes[0].get_ylim()[0] > -1
    (truth,) = marks(figure, "truth")
    assert truth.get_xdata()[[0, -1]].tolist() == [-4, 4]  # over the exposures of all fits
    assert np.allclose(truth.get_ydata(), truth.get_xdata() ** 2)


def test_conditions_are_lines_of_a_panel():
    curves = [drawn(f"c={k}", shift=k, truth=False) for k in range(3)]
    figure = conditional_figure([curves, curves], titles=["a", "b"], **NAMES)
    assert len(marks(figure, "condition")) == 6
    assert labels(figure) == {"c=0", "c=1", "c=2"}
    with pytest.raises(InputError, match="at most 9 fits; got 10"):
        conditional_figure([curves] * 10, titles=["a"] * 10, **NAMES)


def test_members_are_lines_under_their_ensemble():
    figure = members_figure([X**2 + k for k in (-1, 0, 1)], drawn("ensemble"), **NAMES)
    assert len(marks(figure, "member")) == 3
    low, high = figure.axes[0].get_ylim()
    assert low < -1
    assert high > 5
    assert "each of 3 members" in labels(figure)


@pytest.mark.parametrize("n", [30, 5000])
def test_the_first_stage_shows_residuals(n):
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=n)
    figure = first_stage_figure(predicted, predicted + rng.normal(size=n), name="x")
    assert "R² = 0." in figure.axes[0].get_title(loc="left")
    assert len(marks(figure, "samples")) == 1
    (mean,) = marks(figure, "mean")
    assert len(mean.get_xdata()) > 3
    discrete = first_stage_figure(np.round(predicted), predicted, name="x")
    assert len(marks(discrete, "mean")) == 1


def test_nothing_to_draw_says_so():
    with pytest.raises(InputError, match="no fit to draw"):
        fits_figure([], **NAMES)
    with pytest.raises(InputError, match="no sample to draw"):
        first_stage_figure(np.array([]), np.array([]), name="x")
