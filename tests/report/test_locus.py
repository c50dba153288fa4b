"""The locus view."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deepmr.report import locus as locus_module
from deepmr.report.locus import best_window, draw_logo, four_rows, locus_view
from deepmr.report.style import BASE_COLOURS
from deepmr.types import MASKED

CODES = np.array([0, 1, 2, 3, MASKED], dtype=np.uint8)


def test_four_rows_puts_each_effect_at_its_new_base():
    values = np.arange(1.0, 16).reshape(5, 3)
    expected = np.array([[0, 4, 7, 10], [1, 0, 8, 11], [2, 5, 0, 12], [3, 6, 9, 0]])
    rows = four_rows(values, CODES)
    np.testing.assert_array_equal(rows[:, :4], expected)
    assert np.isnan(rows[:, 4]).all()


def test_letters_are_the_reference_as_tall_as_they_contribute():
    axes = Figure().subplots()
    draw_logo(axes, np.array([2.0, -1.0, 0.0, 0.5, 9.0]), CODES, slice(0, 5), 101)
    glyphs = [patch for patch in axes.patches if patch.get_extents().height > 0]
    drawn = {}
    for glyph in glyphs:
        box = glyph.get_path().get_extents(glyph.get_transform() - axes.transData)
        drawn[round((box.x0 + box.x1) / 2)] = (to_hex(glyph.get_facecolor()), round(box.y0, 6), round(box.y1, 6))
    assert drawn == {
        101: (BASE_COLOURS["A"], 0.0, 2.0),
        102: (BASE_COLOURS["C"], -1.0, 0.0),
        104: (BASE_COLOURS["T"], 0.0, 0.5),
    }
    assert axes.get_xlim() == (100.5, 105.5)


def test_the_window_holds_the_strongest_site_of_any_task_near_its_middle():
    mean = np.zeros((2, 1000, 3))
    mean[0, 400:410] = 0.01  # small unit, but all that this task does
    mean[1, 420:430] = 100.0
    first = best_window(mean, 100)
    assert first <= 400
    assert first + 100 >= 430
    assert abs(first + 50 - 415) <= 5
    assert best_window(np.zeros((1, 30, 3)), 100) == 0


def view(length=40, n_tasks=2, **options):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, length).astype(np.uint8)
    codes[5] = MASKED
    mean = rng.normal(size=(n_tasks, length, 3))
    figure = locus_view(mean, np.abs(mean) / 10, codes, tasks=[f"task {k}" for k in range(n_tasks)], **options)
    return figure, mean, codes


def images(figure):
    return [axes for axes in figure.axes if axes.images]


def test_every_task_has_logo_heatmap_and_uncertainty_on_the_same_positions():
    figure, mean, codes = view(chrom="chr7", start=1000)
    heat, strip = images(figure)[:2]
    assert heat.images[0].get_array().shape == (4, 40, 4)
    assert heat.images[0].get_extent() == [1000.5, 1040.5, 3.5, -0.5]
    assert strip.images[0].get_extent()[:2] == [1000.5, 1040.5]
    assert [t.get_text() for t in heat.get_yticklabels()] == list("ACGT")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title for title in titles if title] == ["task 0", "task 1"]
    assert [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()] == ["position on chr7"]
    rgba = heat.images[0].get_array()
    rows = four_rows(mean[0], codes)
    top = np.unravel_index(np.nanargmax(rows), rows.shape)
    bottom = np.unravel_index(np.nanargmin(rows), rows.shape)
    assert rgba[top][0] > rgba[top][2], "the largest effect is red"
    assert rgba[bottom][2] > rgba[bottom][0], "the smallest is blue"
    np.testing.assert_allclose(rgba[codes[0], 0, :3], 0.97, atol=0.02, err_msg="no effect is white")
    assert to_hex(rgba[0, 5]) == locus_module.MASK


def test_without_coordinates_positions_count_in_the_locus():
    figure, _, _ = view()
    assert images(figure)[0].images[0].get_extent()[:2] == [0.5, 40.5]
    assert any(axes.get_xlabel() == "position in the locus" for axes in figure.axes)


def test_instruments_are_marked_on_their_exposure_alone():
    figure, _, _ = view(start=100, instruments={"task 1": np.array([[3, 2], [3, 0], [9, 1]])})
    first, _, second, _ = images(figure)
    assert not first.lines
    wedges, dots = (next(line for line in second.lines if line.get_gid() == gid) for gid in ("instruments", "edits"))
    assert wedges.get_xdata().tolist() == [104, 110]
    assert list(zip(dots.get_xdata(), dots.get_ydata(), strict=True)) == [(104, 2), (104, 0), (110, 1)]
    assert second.get_ylim() == (3.5, -0.5)


def test_a_long_locus_shows_all_of_the_heatmap_and_a_window_of_the_logo():
    figure, _, _ = view(length=2114, n_tasks=1, start=5000, instruments={"task 0": np.array([[7, 1]])})
    heat = images(figure)[0]
    assert heat.images[0].get_extent()[:2] == [5000.5, 7114.5]
    assert heat.images[0].get_array().shape[1] == 529  # four positions a column
    (box,) = [p for p in heat.patches if isinstance(p, Rectangle) and p.get_gid() == "window"]
    assert box.get_width() == 100
    logo = next(axes for axes in figure.axes if axes.get_title(loc="right"))
    low, high = logo.get_xlim()
    assert logo.get_title(loc="right") == f"enlarged: {low + 0.5:,.0f} to {high - 0.5:,.0f}"
    assert (low, high) == (box.get_x(), box.get_x() + 100)
    assert {line.get_gid() for line in heat.lines} == {"instruments"}


@pytest.mark.parametrize("length", [641, 1280, 1281])
def test_columns_keep_the_largest_effect_of_a_group(length):
    values = np.zeros((1, length))
    values[0, length - 1], values[0, 3] = -5.0, 2.0
    columns = locus_module._columns(values)
    assert columns.shape[1] <= 640
    assert columns.min() == -5
    assert columns.max() == 2


def test_a_locus_without_any_effect_is_drawn():
    codes = np.full(12, MASKED, dtype=np.uint8)
    zero = np.zeros((1, 12, 3))
    assert images(locus_view(zero, zero, codes, tasks=["a"]))
