"""Scatter of instruments, and errors against means."""

import numpy as np
import pandas as pd
import pytest

from deepmr.mr import estimate_effects
from deepmr.report.scatter import mr_scatter, se_against_mean
from deepmr.types import Instruments

X = np.array([1.0, -2.0, 3.0, 4.0])


def pair(exposure="X", outcome="Y", slope=2.0):
    """Locus a has one instrument, locus b four, on a line through 0 but for the signs."""
    x = np.concatenate([[9.0], X])
    names = ["variant_id", "locus", "chrom", "pos", "effect_allele", "other_allele"]
    return Instruments(
        loci=("a", "b"),
        offsets=np.array([0, 1, 5]),
        exposures=(exposure,),
        outcome=outcome,
        variants=pd.DataFrame({name: [f"v{i}" for i in range(5)] for name in names}),
        beta_exposure=x[:, None],
        se_exposure=np.full((5, 1), 0.1),
        beta_outcome=slope * x + np.array([0, 0.1, 0, -0.1, 0.05]),
        se_outcome=np.full(5, 0.2),
    )


def lines(axes, gid):
    return [line for line in axes.lines if line.get_gid() == gid]


def test_instruments_of_the_locus_are_turned_to_a_positive_exposure_and_have_their_bars():
    given = pair()
    estimates = estimate_effects(given, methods=["ivw", "egger"])
    (axes,) = mr_scatter([given], estimates, locus="b").axes
    turned, kept = lines(axes, "points")
    np.testing.assert_allclose(turned.get_xdata(), [2.0])
    np.testing.assert_allclose(turned.get_ydata(), [4.0])
    np.testing.assert_allclose(kept.get_xdata(), [1, 3, 4])
    np.testing.assert_allclose(kept.get_ydata(), [2.1, 5.9, 8.05])
    assert turned.get_markerfacecolor() != kept.get_markerfacecolor()
    across, up = (line.get_xydata().reshape(4, 3, 2) for line in lines(axes, "bars"))
    np.testing.assert_allclose(across[:, 1, 0] - across[:, 0, 0], 0.2)
    np.testing.assert_allclose(up[:, 1, 1] - up[:, 0, 1], 0.4)
    assert np.isnan(across[:, 2]).all()


def test_lines_have_the_estimated_slopes_and_only_egger_an_intercept():
    given = pair()
    estimates = estimate_effects(given, methods=["ivw", "egger"])
    (axes,) = mr_scatter([given], estimates, locus="b").axes
    table = estimates.table.set_index("method")
    for method, intercept in (("ivw", 0.0), ("egger", table.loc["egger", "intercept"])):
        (line,) = lines(axes, method)
        (x0, x1), (y0, y1) = line.get_xdata(), line.get_ydata()
        assert (y1 - y0) / (x1 - x0) == pytest.approx(table.loc[method, "beta"])
        assert (x0, y0) == (0.0, pytest.approx(intercept))
    assert table.loc["egger", "intercept"] != 0
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("effect on X", "effect on Y")
    labels = [t.get_text() for t in axes.get_legend().get_texts()]
    assert labels[:2] == ["edit lowers the exposure (1)", "edit raises it (3)"]
    assert labels[2].startswith("IVW: 2 (")


def test_a_locus_without_estimate_shows_its_instruments_and_pairs_get_a_panel_each():
    given = [pair(), pair("Y", "X"), pair("X", "Z")]
    figure = mr_scatter(given, estimate_effects(given, methods=["ivw"]), locus="a")
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["X → Y at a", "Y → X at a", "X → Z at a"]
    assert all(len(lines(axes, "points")) == 1 and not lines(axes, "ivw") for axes in panels)


def test_every_edit_with_an_effect_is_counted_and_the_others_are_named():
    rng = np.random.default_rng(0)
    beta = rng.normal(size=(2000, 2))
    beta[:30, 0] = 0
    se = rng.uniform(0.1, 1, size=(2000, 2))
    figure = se_against_mean(beta, se, tasks=["a", "b"])
    first, second = figure.axes[:2]
    assert first.collections[0].get_array().sum() == 1970
    assert second.collections[0].get_array().sum() == 2000
    assert "30 of 2,000 are exactly 0" in first.get_xlabel()
    assert second.get_xlabel() == "size of the mean effect"
    assert (first.get_xscale(), first.get_yscale()) == ("log", "log")
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["effect = 2 standard errors"]


def test_effects_that_are_all_zero_leave_the_panel_empty():
    (axes,) = se_against_mean(np.zeros((5, 1)), np.zeros((5, 1)), tasks=["a"]).axes
    assert not axes.collections
    assert "5 of 5" in axes.get_xlabel()
