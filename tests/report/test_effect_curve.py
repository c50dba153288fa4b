"""Curves of effects over contexts, and the page that holds them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepmr.report import context, context_sections, context_tables
from deepmr.report.context import ContextRun
from deepmr.report.effect_curve import effect_curve, foreseen
from deepmr.report.page import render_context_page

VALUES = np.linspace(0, 10, 21)


def curve_of(name, values, slope):
    beta = 1 + slope * values
    return pd.DataFrame(
        {
            "context": name, "value": values, "beta": beta, "ci_low": beta - 0.1, "ci_high": beta + 0.1,
            "band_low": beta - 0.2, "band_high": beta + 0.2, "outside": values > 8,
        }
    )  # fmt: skip


@pytest.fixture
def run():
    rng = np.random.default_rng(0)
    gap, both = rng.uniform(0, 8, 30), rng.integers(0, 2, 30).astype(float)
    f = 1 + 0.2 * gap + 0.5 * both
    loci = pd.DataFrame(
        {
            "locus": [f"<l{k}>" for k in range(30)], "chrom": "", "beta": f + 0.1, "se": 0.1, "context_beta": f,
            "own_beta": f, "own_low": f - 0.1, "own_high": f + 0.1, "outside": False, "gap": gap, "both": both,
            "held_out_beta": f,
        }
    )  # fmt: skip
    names = ["random", "contextual"]
    numbers = {"beta": 1.5, "se": 0.1, "ci_low": 1.3, "ci_high": 1.7, "tau": 0.1, "n_coefficients": 1.0}
    scores = {"held_out_rmse": 0.2, "held_out_log_score": 0.1, "held_out_coverage": 0.95}
    gain = {"gain": [0.3, np.nan], "gain_low": [0.1, np.nan], "gain_high": [0.5, np.nan]}
    return ContextRun(
        exposure="<b>A</b>",
        outcome="B",
        method="ivw",
        estimand="model",
        verdict="Evidence of contextual effects: P = 1e-5.",
        contextual=True,
        pvalue=1e-5,
        kernels=pd.DataFrame({"kernel": ["linear"], "pvalue": [1e-6]}),
        comparators=pd.DataFrame({"method": names, **numbers, **scores, **gain}),
        curves=pd.concat([curve_of("gap", VALUES, 0.2), curve_of("both", np.array([0.0, 1.0]), 0.5)]),
        loci=loci,
        skipped=pd.DataFrame({"locus": ["x"], "reason": ["no row in the table of contexts"]}),
        relevance={"both": 0.2, "gap": 0.6},
        attenuation={"gap": 0.8},
        tau=(0.1, 0.05, 0.2),
        shapes={"constant": 0.0, "smooth": 1.0},
        held_out="6 chromosomes, held out in 6 folds",
    )


def drawn(figure, gid):
    return [one for axes in figure.axes for one in axes.get_children() if one.get_gid() == gid]


def test_a_curve_is_drawn_with_both_bands_and_dotted_where_no_locus_is_near(run):
    points = context_sections.adjusted(run, "gap")
    figure = effect_curve(run.curves[run.curves["context"] == "gap"], points, mean=1.5, exposure="A", outcome="B")
    inside, outside = drawn(figure, "effect")[0], drawn(figure, "outside")[0]
    assert np.isfinite(inside.get_ydata()).sum() == 17
    assert np.isfinite(outside.get_ydata()).sum() == 4
    wide, narrow = drawn(figure, "simultaneous")[0], drawn(figure, "pointwise")[0]
    heights = [one.get_paths()[0].vertices[:, 1] for one in (wide, narrow)]
    assert heights[0].min() < heights[1].min()
    assert heights[0].max() > heights[1].max()


def test_an_indicator_has_an_interval_a_value_and_loci_beside_it(run):
    points = context_sections.adjusted(run, "both")
    figure = effect_curve(run.curves[run.curves["context"] == "both"], points, mean=1.5, exposure="A", outcome="B")
    assert drawn(figure, "effect")[0].get_xdata().tolist() == [0, 1]
    place = np.asarray(drawn(figure, "loci")[0].get_offsets())[:, 0]
    assert ((place - run.loci["both"]) > 0.05).all()
    assert ((place - run.loci["both"]) < 0.45).all()


def test_points_have_what_other_contexts_do_taken_off(run):
    points = context_sections.adjusted(run, "gap")
    np.testing.assert_allclose(points["beta"], 1 + 0.2 * run.loci["gap"] + 0.1)


def test_forecasts_say_how_many_intervals_hold(run):
    figure = foreseen(run.loci, level=0.95, coverage=0.9)
    assert "90 % of estimates in the 95 % interval" in [text.get_text() for text in figure.axes[0].texts]


def test_the_page_escapes_names_and_says_what_there_is(run):
    page = render_context_page(run)
    assert "<b>A</b>" not in page
    assert "&lt;b&gt;A&lt;/b&gt;" in page
    assert page.count("<figure>") == 4
    assert page.index("The effect along gap") < page.index("The effect along both")
    assert "no row in the table of contexts" in page
    assert context.facts(run)[-1] == ("gain in log score a locus", "0.300 (0.100 to 0.500)")
    assert context_tables.sensitivity_table(run) is None


def test_without_contexts_that_vary_or_held_out_loci_there_is_less(run):
    scored = ["held_out_rmse", "held_out_log_score", "held_out_coverage", "gain", "gain_low", "gain_high"]
    bare = replace(run, contextual=False, relevance={}, held_out="", comparators=run.comparators.drop(columns=scored))
    page = render_context_page(bare)
    assert "<figure>" not in page
    assert "No evidence" in page
    assert "coverage" not in page


def test_tables_of_further_analyses(run):
    sensitivity = pd.DataFrame(
        {"analysis": ["all", "without gap"], "n": 30, "beta": 1.5, "se": 0.1, "tau": 0.1, "evidence": [0.0, -9.0],
         "moved": [0.0, 3.0], "note": ["", "too few"]}
    )  # fmt: skip
    egger = run.curves.assign(intercept=0.1, intercept_low=-0.1, intercept_high=0.3, intercept_pvalue=0.4)
    page = render_context_page(replace(run, sensitivity=sensitivity, egger=egger))
    assert "What it rests on" in page
    assert "Contextual MR-Egger at both ends of each context." in page


@pytest.mark.parametrize(("estimand", "said"), [("model", True), ("population", False)])
def test_the_page_says_how_loci_are_weighed_beside_deepmr_meta(run, estimand, said):
    page = render_context_page(replace(run, estimand=estimand))
    assert "inverse of their variance" in page
    assert ("deepmr meta weighs loci of this estimand alike" in page) == said
    assert "Log score" in page
