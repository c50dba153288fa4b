"""Figures of single instruments and of loci: what is on them, not how they look."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.instruments.gwas import GENOME
from deepmr.meta import pool_estimates
from deepmr.mr import estimate_effects
from deepmr.mr.sensitivity import check_sensitivity, leave_one_out, q_outliers, single_instruments
from deepmr.report.caterpillar import NAMED, clip_limits
from deepmr.report.content import Plates, Run
from deepmr.report.funnel import funnel, kernel_density, radial, ratio_density
from deepmr.report.instrument_forests import leave_one_out_forest, single_forest
from deepmr.report.locus_forest import MAX_ROWS, locus_forest
from deepmr.report.page import render_page
from deepmr.report.plates import locus_plates, verdicts
from deepmr.report.scatter import mr_scatter
from deepmr.report.style import method_colour
from tests.mr.builders import pack, simulated

METHODS = ["ivw_random", "egger"]


def given(n=10, *, seed=0, outlier=False):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.5, 2, n) * rng.choice([-1, 1], n)
    y = 0.5 * x + 0.05 * rng.normal(size=n)
    if outlier:
        y[2] += 1.0
    return replace(pack(x, y, 0.05, 0.05), estimand="population")


def artists(axes, gid):
    return [a for a in (*axes.lines, *axes.collections, *axes.patches) if a.get_gid() == gid]


def points(axes, gid="points"):
    return np.concatenate([a.get_offsets() for a in axes.collections if a.get_gid() == gid])


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def ticks(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


@pytest.mark.parametrize("n", [3, NAMED, NAMED + 1, 300, 1000])
def test_single_forest_has_every_ratio_in_order(n):
    pair = given(n)
    single = single_instruments(pair, methods=METHODS)
    axes = single_forest(single, locus="locus0").axes[0]
    drawn = points(axes, "estimates")
    ratios = np.sort(pair.beta_outcome / pair.beta_exposure[:, 0])
    inside = (ratios >= axes.get_xlim()[0]) & (ratios <= axes.get_xlim()[1])
    assert inside.mean() > 0.9
    np.testing.assert_allclose(drawn[:, 0], ratios[inside])
    np.testing.assert_allclose(drawn[:, 1], np.flatnonzero(inside) + 1)
    assert len(artists(axes, "total")) == 2
    names = ticks(axes)
    assert names[-2:] == ["all: IVW (random)", "all: MR-Egger"]
    assert len(names) == (n if n <= NAMED else 6) + 2
    assert axes.get_title(loc="left").endswith(f"{n:,} instruments")
    assert "95 % confidence interval" in axes.get_xlabel()


@pytest.mark.parametrize("n", [NAMED, NAMED + 1, 79, 1000])
def test_every_name_of_a_row_stands_at_its_row_or_has_a_line_to_it(n):
    single = single_instruments(given(n), methods=METHODS)
    axes = single_forest(single, locus="locus0").axes[0]
    rows = single.table[single.table["variant_id"] != "*"].sort_values("beta", kind="stable")
    place = {name: row for row, name in enumerate(rows["variant_id"], 1)}
    ends = [line.get_ydata() for line in artists(axes, "leaders")]
    rows_at = {float(label): float(row) for row, label in ends}
    named = [(y, name) for y, name in zip(axes.get_yticks(), ticks(axes), strict=True) if name in place]
    assert [rows_at.get(y, y) for y, _ in named] == [place[name] for _, name in named]
    assert [name for _, name in named] == (list(place) if n <= NAMED else [*list(place)[:3], *list(place)[-3:]])


def test_every_figure_of_instruments_names_its_locus_unless_it_is_the_genome():
    for locus, where in (("locus0", " at locus0"), (GENOME, "")):
        pair = replace(given(8), loci=(locus,))
        single, estimates = single_instruments(pair), estimate_effects(pair, methods=METHODS)
        drawn = (
            single_forest(single, locus=locus),
            leave_one_out_forest(leave_one_out(pair), locus=locus),
            funnel(single, estimates, locus=locus),
            ratio_density(single, estimates, locus=locus),
            radial(pair, estimates, locus=locus),
        )
        titles = [figure.axes[0].get_title(loc="left") for figure in drawn]
        assert titles == [f"exposure → outcome{where}: 8 instruments"] * 5
        scatter = mr_scatter([pair], estimates, locus=locus).axes[0]
        assert scatter.get_title(loc="left") == f"exposure → outcome{where}"


def test_an_interval_that_goes_on_outside_gets_an_arrow():
    pair = pack([1.0, 1, 1, 1, 0.001], [0.5, 0.52, 0.48, 0.5, 0.3], 0.05, 0.05)
    axes = single_forest(single_instruments(pair, methods=()), locus="locus0").axes[0]
    assert sum(len(line.get_xdata()) for line in artists(axes, "arrows")) == 1
    assert len(points(axes, "estimates")) == 4


def test_leave_one_out_marks_what_turns_the_answer():
    x, y = np.array([1.0, 1, 1.2, 1, 8]), np.array([0.1, -0.1, 0.05, 0.02, 1.4])
    left = leave_one_out(pack(x, y, 0.1, 0.3))
    axes = leave_one_out_forest(left, locus="locus0").axes[0]
    colours = [a.get_facecolor()[0].tolist() for a in axes.collections if a.get_gid() == "estimates"]
    assert len(colours) == 2
    (whole,) = artists(axes, "whole")
    assert whole.get_xdata()[0] == pytest.approx(left.table["beta"].iloc[-1])
    assert ticks(axes)[-1] == "all: IVW (random)"
    with pytest.raises(InputError, match="locus9: there is no estimate to draw"):
        leave_one_out_forest(left, locus="locus9")


def test_the_funnel_has_ratios_precisions_and_upright_lines():
    pair = given(20)
    single, estimates = single_instruments(pair), estimate_effects(pair, methods=METHODS)
    axes = funnel(single, estimates, locus="locus0").axes[0]
    x = np.abs(pair.beta_exposure[:, 0])
    np.testing.assert_allclose(np.sort(points(axes)[:, 1]), np.sort(x / 0.05))
    for method, beta in zip(METHODS, estimates.table["beta"], strict=True):
        (line,) = artists(axes, method)
        assert line.get_xdata()[0] == beta
    assert len(artists(axes, "funnel")) == 2
    assert [text.split(":")[0] for text in legend(axes)] == ["IVW (random)", "MR-Egger"]


def test_ratios_far_out_become_arrows_that_are_counted():
    pair = pack([1.0, 1, 1, 1, 1e-5], [0.5, 0.52, 0.48, 0.5, 0.3], 0.05, 0.05)
    axes = funnel(single_instruments(pair), estimate_effects(pair), locus="locus0").axes[0]
    assert "arrows: 1 further out" in axes.get_xlabel()
    assert len(points(axes)) == 4
    assert sum(len(a.get_xdata()) for a in artists(axes, "outside")) == 1


def test_the_radial_plot_turns_ratios_into_slopes_and_marks_outliers():
    pair = given(20, outlier=True)
    estimates, far = estimate_effects(pair, methods=METHODS), q_outliers(pair)
    axes = radial(pair, estimates, locus="locus0", outliers=far).axes[0]
    both = np.concatenate([points(axes), points(axes, "outliers")])
    slopes = both[:, 1] / both[:, 0]
    np.testing.assert_allclose(np.sort(slopes), np.sort(pair.beta_outcome / pair.beta_exposure[:, 0]))
    assert len(points(axes, "outliers")) == far.table["outlier"].sum() == 1
    assert [text.get_text() for text in axes.texts] == ["v2"]
    (line,) = artists(axes, "ivw_random")
    assert line.get_ydata()[1] / line.get_xdata()[1] == pytest.approx(estimates.table["beta"][0])
    assert not artists(axes, "egger")  # no line through 0
    assert legend(axes)[-1] == "outlier (1)"


def test_the_density_is_one_and_its_modes_are_in_the_legend():
    pair = given(40)
    axes = ratio_density(single_instruments(pair), estimate_effects(pair, methods=METHODS), locus="locus0").axes[0]
    assert len(artists(axes, "density")) == len(artists(axes, "mode")) == 2
    assert [text.split(": mode")[0] for text in legend(axes)[:2]] == ["weighted by inverse variance", "all alike"]
    grid = np.linspace(-5, 5, 4001)
    density = kernel_density(np.array([0.0, 0.5, 0.7]), np.array([1.0, 2, 3]), grid)
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-4)
    assert kernel_density(np.array([0.3]), np.ones(1), grid).argmax() == np.abs(grid - 0.3).argmin()


@pytest.mark.parametrize("n", [5, 80, MAX_ROWS + 500])
def test_the_forest_of_loci_has_its_mean_and_prediction_interval(n):
    rng = np.random.default_rng(0)
    pair = simulated(counts=(4,) * n)
    slopes = np.repeat(rng.normal(0.4, 0.3, n), 4)
    pair = replace(pair, beta_outcome=slopes * pair.beta_exposure[:, 0] + pair.se_outcome * rng.normal(size=4 * n))
    local = estimate_effects(pair, methods=["ivw"])
    pooled = pool_estimates(local)
    axes = locus_forest(local, pooled, exposure="exposure", outcome="outcome", method="ivw").axes[0]
    (total,) = artists(axes, "total")
    assert total.get_xy()[:, 0].max() == pytest.approx(pooled.table["ci_high"][0])
    (line,) = artists(axes, "prediction")
    assert line.get_xdata().tolist() == pytest.approx(pooled.table[["pi_low", "pi_high"]].iloc[0].tolist())
    assert len(points(axes, "estimates")) > 0.95 * min(n, MAX_ROWS)
    assert f"{n:,} loci" in axes.get_title(loc="left")
    assert ("of them drawn" in axes.get_title(loc="left")) == (n > MAX_ROWS)
    assert ticks(axes)[-1].startswith(f"mean of {n:,} loci\n")


def test_limits_hold_what_is_near_and_zero_where_it_is_not_far():
    low, high = np.full(20, 10.0), np.full(20, 10.2)
    assert clip_limits(low, high)[0] > 9
    low, high = clip_limits(np.array([0.2, 0.3, 0.1]), np.array([0.5, 0.6, 0.4]))
    assert low < 0 < high
    low, high = clip_limits(np.array([0.0, 0, 0, -1e6]), np.array([1.0, 1, 1, 1e6]))
    assert -10 < low < 0 < high < 10


def test_a_scatter_of_a_population_has_no_edits_and_many_points_are_small():
    pair = given(150)
    (axes,) = mr_scatter([pair], estimate_effects(pair, methods=METHODS), locus="locus0").axes
    assert legend(axes)[0] == "variant, turned to raise the exposure (150)"
    (drawn,) = artists(axes, "points")
    assert drawn.get_markersize() < 3


def test_methods_without_a_colour_of_their_own_get_different_ones():
    names = ["ivw", "one", "two", "three"]
    assert len({method_colour(name, names) for name in names}) == 4


def population(n=12):
    pair = given(n, outlier=True)
    local = estimate_effects(pair, methods=METHODS)
    return Run(tasks=(), pooled=pool_estimates(local), local=local, instruments=(pair,), shown=("locus0",))


def test_the_page_of_a_population_says_what_single_variants_say():
    run = population()
    ((_, figures),) = locus_plates(run, Plates())
    captions = [plate.caption for plate in figures]
    starts = ("Instruments of locus0", "Funnel of", "Leaving out one instrument of", "Radial plot of")
    assert [any(start in caption for caption in captions) for start in starts] == [True] * 4
    assert all(plate.reading and 'aria-label="' in plate.svg for plate in figures)
    assert figures[-1].detail == "Outliers: v2."
    ((pair, sentences),) = verdicts(run)["locus0"]
    assert pair == "exposure → outcome"
    assert sentences[0].startswith("IVW (random) estimates the effect of exposure on outcome")
    page = render_page(run)
    assert "What the sensitivity analyses of exposure → outcome say" in page
    assert "IVW (random) estimates the effect" in page


def test_the_page_of_a_model_has_none_of_it():
    run = population()
    model = replace(run, instruments=(replace(run.instruments[0], estimand="model"),))
    ((_, figures),) = locus_plates(model, Plates())
    assert len(figures) == 1
    assert verdicts(model) == {}


def test_a_locus_with_two_variants_still_has_a_page():
    pair = given(2)
    local = estimate_effects(pair, methods=["ivw_random"], min_instruments=2)
    run = Run(tasks=(), pooled=pool_estimates(local), local=local, instruments=(pair,), shown=("locus0",))
    assert "Radial plot" in render_page(run)


def test_names_from_files_are_text():
    pair = given(6)
    pair = replace(pair, variants=pair.variants.assign(variant_id=["<b>$x$"] + [f"v{i}" for i in range(5)]))
    found = check_sensitivity(pair, methods=METHODS)
    axes = single_forest(found.findings["single"], locus="locus0").axes[0]
    assert "<b>$x$" in ticks(axes)
    assert isinstance(found.to_frame(), pd.DataFrame)
