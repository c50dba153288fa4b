"""Figures of effects that vary with context: what is drawn, and where."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.contextual.effects import EffectCurve
from deepmr.errors import InputError
from deepmr.report.contextual import Surface, effect_curves_figure, relevance_figure, surface_figure

GRID = np.linspace(0, 1, 11)


def curve(**given):
    made = EffectCurve(
        along="spacing",
        coefficient="CTCF",
        outcome="PU.1",
        kind="heterogeneous",
        grid=GRID,
        estimate=GRID**2,
        low=GRID**2 - 0.1,
        high=GRID**2 + 0.1,
        uniform_low=GRID**2 - 0.2,
        uniform_high=GRID**2 + 0.2,
        difference=1.0,
        pvalue_flat=0.01,
        outside=(GRID > 0.35) & (GRID < 0.65),
        observed=np.array([0.1, 0.9, 3.0]),
        level=0.9,
    )
    return replace(made, **given)


def marks(figure, gid):
    return figure.findobj(lambda artist: artist.get_gid() == gid)


def texts(figure):
    return [t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text"))]


def test_curves_have_bands_rugs_and_shaded_extrapolation():
    plain = curve(low=None, high=None, uniform_low=None, uniform_high=None, pvalue_flat=None, kind="context")
    figure = effect_curves_figure([curve(), plain], truths={0: GRID})
    assert [len(marks(figure, gid)) for gid in ("estimate", "band", "uniform", "truth")] == [2, 1, 1, 1]
    np.testing.assert_allclose(marks(figure, "rug")[0].get_xdata(), [0.1, 0.9])
    shaded = marks(figure, "outside")[0].get_extents().transformed(figure.axes[0].transData.inverted())
    assert (shaded.x0, shaded.x1) == pytest.approx((0.35, 0.65))
    assert "effect of CTCF" in texts(figure)
    assert "90 % for the whole curve" in texts(figure)
    assert "not flat: P = 0.01" in texts(figure)
    with pytest.raises(InputError, match="no effect"):
        effect_curves_figure([])


def test_surfaces_share_the_colours_of_estimate_and_truth():
    values = np.outer(GRID, GRID) - 0.2
    surface = Surface(
        label="CTCF",
        x_name="spacing",
        y_name="GC",
        x=GRID,
        y=GRID,
        estimate=values,
        se=values**2,
        truth=2 * values,
        outside=values > 0.5,
        places=np.full((3, 2), 0.5),
    )
    figure = surface_figure([surface])
    limits = [marks(figure, gid)[0].get_clim() for gid in ("estimate", "truth")]
    assert limits[0] == limits[1] == (-1.6, 1.6)
    assert len(marks(figure, "places")) == 3
    assert len(surface_figure([replace(surface, se=None, truth=None, outside=None)]).axes) == 2
    with pytest.raises(InputError, match="no surface"):
        surface_figure([])


def test_relevance_says_which_contexts_are_found():
    figure = relevance_figure({"GC": 0.1, "spacing": 0.5}, pvalues={"spacing": 1e-9, "GC": 0.4})
    bars = marks(figure, "relevance")
    assert len(bars) == 2
    assert bars[0].get_facecolor() != bars[1].get_facecolor()
    assert "P = 1e−09" in texts(figure)
    assert len(marks(relevance_figure({"GC": 0.0}), "relevance")) == 1
    with pytest.raises(InputError, match="relevance"):
        relevance_figure({})
