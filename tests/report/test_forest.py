"""Forest plot and matrix of pairs."""

import numpy as np
import pandas as pd
import pytest

from deepmr.report.forest import by_pair, forest, pair_heatmap
from deepmr.report.style import METHOD_COLOURS
from deepmr.types import Estimates


def pooled(*rows):
    """Rows of exposure, outcome, method, beta, CI half width, prediction half width (NaN for none)."""
    table = pd.DataFrame(rows, columns=["exposure", "outcome", "method", "beta", "ci", "pi"])
    ends = {
        f"{kind}_{side}": table["beta"] + sign * table[kind]
        for kind in ("ci", "pi")
        for side, sign in (("low", -1), ("high", 1))
    }
    table = table.drop(columns=["ci", "pi"]).assign(
        locus="*", estimand="model", se=0.1, pvalue=0.5, n=40, level=0.9, **ends
    )
    return Estimates(table=table)


TWO = pooled(("X", "Y", "ivw", 3.0, 0.2, 0.9), ("X", "Y", "egger", 2.5, 0.4, np.nan), ("Y", "X", "ivw", 0.1, 0.05, 0.3))


def lines(axes, gid):
    return [line for line in axes.lines if line.get_gid() == gid]


def test_every_row_has_its_interval_and_its_mean_where_the_numbers_are():
    (axes,) = forest(TWO).axes
    drawn = sorted(tuple(np.round(line.get_xdata(), 6)) for line in lines(axes, "confidence"))
    assert drawn == [(0.05, 0.15), (2.1, 2.9), (2.8, 3.2)]
    assert sorted(float(line.get_xdata()[0]) for line in lines(axes, "estimate")) == [0.1, 2.5, 3.0]
    assert sorted(tuple(np.round(line.get_xdata(), 6)) for line in lines(axes, "prediction")) == [
        (-0.2, 0.4),
        (2.1, 3.9),
    ]
    assert len(lines(axes, "cap")) == 4
    confidence, prediction = lines(axes, "confidence")[0], lines(axes, "prediction")[0]
    assert confidence.get_linewidth() > 2 * prediction.get_linewidth()
    assert confidence.get_color() == METHOD_COLOURS["ivw"]
    assert not lines(axes, "arrow")
    assert not lines(axes, "truth")


def test_labels_say_pair_method_level_and_estimand():
    figure = forest(TWO)
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.texts] == ["X → Y", "Y → X"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["IVW", "MR-Egger", "IVW"]
    (side,) = axes.child_axes
    assert next(t.get_text() for t in side.get_yticklabels()) == "3 (2.8 to 3.2), 40 loci"
    assert "in the model" in axes.get_xlabel()
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert legend == ["mean over loci, 90 % confidence interval", "90 % prediction interval (a new locus)"]
    places = [float(line.get_ydata()[0]) for line in lines(axes, "estimate")]
    assert places == axes.get_yticks().tolist()
    assert axes.yaxis_inverted()


def test_true_effects_are_marked_for_their_pair_alone():
    truth = pd.DataFrame({"exposure": ["X", "A"], "outcome": ["Y", "B"], "beta": [3.3, 9.0]})
    figure = forest(TWO, truth=truth)
    (axes,) = figure.axes
    assert [line.get_xdata().tolist() for line in lines(axes, "truth")] == [[3.3]]
    assert "true effect" in [t.get_text() for t in figure.legends[0].get_texts()]


def test_one_method_needs_no_headings():
    (axes,) = forest(TWO.take((TWO.table["method"] == "ivw").to_numpy())).axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["X → Y", "Y → X"]
    assert not axes.texts


def test_an_interval_far_longer_than_the_others_ends_in_an_arrow_and_keeps_its_numbers():
    wild = pooled(*((f"X{i}", "Y", "ivw", 1.0, 0.1, np.nan) for i in range(4)), ("W", "Y", "wald", -300.0, 50.0, 90.0))
    (axes,) = forest(wild).axes
    low, high = axes.get_xlim()
    assert -10 < low < 0 < 1.1 < high < 10
    (arrow,) = lines(axes, "arrow")
    assert arrow.get_marker() == "<"
    assert len(lines(axes, "estimate")) == 4
    assert axes.child_axes[0].get_yticklabels()[-1].get_text().startswith("−300 (−350 to −250)")


def test_a_row_without_width_is_drawn():
    (axes,) = forest(pooled(("X", "Y", "ivw", 0.0, 0.0, 0.0))).axes
    assert axes.get_xlim()[0] < 0 < axes.get_xlim()[1]


def test_heatmap_puts_exposures_down_outcomes_across_and_zero_in_the_middle():
    figure = pair_heatmap(
        pooled(("X", "Y", "ivw", -2.0, 0.5, 1), ("Z", "X", "ivw", 0.5, 1.0, 1)), tasks=["X", "Y", "Z"]
    )
    axes = figure.axes[0]
    (image,) = axes.images
    values = np.ma.filled(image.get_array(), np.nan)
    expected = np.full((3, 3), np.nan)
    expected[0, 1], expected[2, 0] = -2.0, 0.5
    np.testing.assert_array_equal(values, expected)
    assert image.get_clim() == (-2.0, 2.0)
    assert image.norm.vcenter == 0
    assert {t.get_text(): t.get_weight() for t in axes.texts} == {"−2.00": "bold", "0.50": "normal"}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("outcome", "exposure")
    assert [t.get_text() for t in axes.get_yticklabels()] == ["X", "Y", "Z"]


@pytest.mark.parametrize("n", [13, 40])
def test_a_large_matrix_has_colours_only(n):
    tasks = [f"task {i}" for i in range(n)]
    axes = pair_heatmap(pooled(("task 0", "task 1", "ivw", 1.0, 0.1, 1)), tasks=tasks).axes[0]
    assert not axes.texts
    assert axes.images[0].get_array().shape == (n, n)


def test_a_matrix_of_zeros_is_drawn():
    assert pair_heatmap(pooled(("X", "Y", "ivw", 0.0, 0.1, 1)), tasks=["X", "Y"]).axes[0].images


def test_a_truth_that_is_nothing_beside_the_largest_is_0():
    truth = pd.DataFrame({"exposure": ["A", "B", "C"], "outcome": "Z", "beta": [3.26, -7.813e-08, 1e-5]})
    assert by_pair(truth) == {("A", "Z"): 3.26, ("B", "Z"): 0.0, ("C", "Z"): 1e-5}
    assert by_pair(truth[1:2]) == {("B", "Z"): -7.813e-08}
