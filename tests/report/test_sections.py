"""Parts of a page from tables in files, and where they stand on it."""

from dataclasses import replace

import pandas as pd
import pytest

from deepmr.report.content import Drawing, Section
from deepmr.report.judged import diagnostics_section, labelled_section
from deepmr.report.page import render_page
from deepmr.report.sections import frame_grid, seqlet_section, table_section, threshold_section
from deepmr.report.style import new_figure
from deepmr.types import Estimates
from tests.report.test_page import EVIL, Outline, text_of
from tests.report.toy import toy_run


@pytest.fixture(scope="module")
def run():
    return toy_run(n=4)


def test_a_table_of_text_becomes_numbers_intervals_and_names():
    frame = pd.DataFrame(
        {
            "exposure": ["X", "Y"], "method": ["ivw", "egger"], "estimand": ["model", "calibrated"],
            "beta": ["1.23456", ""], "ci_low": ["1", ""], "ci_high": ["1.5", ""], "level": ["0.9", "0.9"],
            "pvalue": ["1e-12", "0.5"], "n_loci": ["1200", "-3"], "note": ["fine", "7"],
        }
    )  # fmt: skip
    grid = frame_grid(frame, caption="A table.")
    assert grid.columns == [
        "exposure", "method", "estimand", "effect (90 % CI)", "level", "pvalue", "n loci", "note",
    ]  # fmt: skip
    first, second = grid.rows
    assert [cell.text for cell in first] == [
        "X", "IVW", "effect in the model", "1.23 (1 to 1.5)", "0.9", "1e−12", "1,200", "fine",
    ]  # fmt: skip
    assert first[3].value == 1.23456
    assert (second[3].text, second[3].value) == ("–", None)
    assert second[2].text == "calibrated effect (in the data-generating process)"
    assert second[6].text == "−3"
    assert second[7].value is None, "a column with any text is text"


def test_a_long_table_is_cut_and_says_so():
    frame = pd.DataFrame({"a": [str(k) for k in range(7)]})
    grid = frame_grid(frame, caption="A table.", most=3)
    assert len(grid.rows) == 3
    assert grid.caption == "A table. The first 3 of 7."


def test_sections_stand_in_their_part_of_the_page_and_in_its_contents(run):
    figure = new_figure(3.0, 2.0)
    figure.subplots().plot([0, 1], [0, 1])
    drawing = Drawing(figure=figure, alt="a line", caption=f"A line {EVIL[0]}.", reading="It rises.")
    frame = pd.DataFrame({"name": [EVIL[1]], "beta": ["2"]})
    early = Section(anchor="early", title="Early part", sentences=("It is sure.",), drawings=(drawing,), part="sure")
    late = table_section(frame, anchor="late", title="Late part", caption="Late.", sentences=(EVIL[0],))
    page = render_page(replace(run, sections=(late, early)))
    outline = Outline(page)
    assert outline.open == []
    assert page.count("<script") == 1
    assert {"early", "late"} <= set(outline.ids)
    assert [a for a in outline.addresses if a in {"#early", "#late"}] == ["#early", "#late"]
    text = text_of(page)
    order = ["How sure, and why", "It is sure.", "Figure 1. A line", "The evidence", "Figure 2. Global", "Late."]
    assert [text.index(words) for words in order] == sorted(text.index(words) for words in order)
    assert EVIL[1] in text


def test_choices_of_instruments_in_words_and_as_a_table():
    frame = pd.DataFrame(
        {
            "rule": "relative", "threshold": [0.1, 0.25, 0.5], "exposure": "X", "outcome": "Y", "method": "ivw",
            "estimand": "model", "beta": [1.1, 1.0, float("nan")], "ci_low": [0.9, 0.8, float("nan")],
            "ci_high": [1.3, 1.2, float("nan")], "n_loci": [30, 20, 0],
        }
    )  # fmt: skip
    section = threshold_section(frame, name="t.tsv")
    assert section.sentences == (
        "Over 2 choices of instruments, the effect of X on Y in the model lies between 1 and 1.1.",
    )
    assert [row[-1].text for row in section.tables[0].rows] == ["30", "20", "0"]


def test_sites_that_contradict_come_first():
    frame = pd.DataFrame(
        {
            "exposure": "X", "outcome": "Y", "locus": ["a", "a", "b"], "start": [1, 9, 4], "end": [5, 14, 9],
            "beta": [1.0, 5.0, 1.1], "ci_low": 0.5, "ci_high": 6.0, "verdict": ["carries", "contradicts", "alone"],
            "estimand": "model",
        }
    )  # fmt: skip
    section = seqlet_section(frame, name="s.tsv")
    assert "3 sites at 2 loci (" in section.sentences[0]
    assert "at 1 locus a site acts on the outcome otherwise than the rest." in section.sentences[0]
    rows = section.tables[0].rows
    assert [row[2].text for row in rows] == ["a", "a", "b"]
    assert rows[0][-2].text == "contradicts"


def test_what_labels_changed_and_what_more_are_worth(run):
    pair = {"exposure": "GATA1", "outcome": "TAL1", "method": "ivw", "shift": -0.1, "se": 0.02, "shrink": 0.8,
            "applied": -0.08, "scale": 1.1, "floor": 0.05, "loci": ["a", "b"], "n_edits": 10}  # fmt: skip
    design = {"n_loci": 200, "n_edits": 5, "repeats": 1, "half_width": 0.03, "shrink": 0.9}
    table = run.pooled.table
    both = Estimates(table=pd.concat([table, table.assign(estimand="calibrated", beta=table["beta"] - 0.08)]))
    content = {"pairs": [pair], "worth": {"GATA1 on TAL1": [design]}, "warnings": ["Few labels."]}
    section = labelled_section(content, both, name="labels.json")
    assert section.part == "sure"
    first = section.sentences[0]
    assert first.startswith("GATA1 → TAL1: 10 labelled edits at 2 loci say that effects in the model miss by −0.1 ")
    assert "80 % of it is applied: 3." in first
    assert first.endswith("calibrated.")
    assert section.sentences[-1] == "Few labels."
    assert [cell.text for cell in section.tables[1].rows[0]] == ["GATA1 on TAL1", "200", "5", "1", "0.03"]


def test_diagnostics_say_the_worst_first():
    findings = [
        {"check": "strength", "severity": "fine", "sentence": "instruments are strong"},
        {"check": "rejections", "severity": "against", "sentence": "slopes scatter"},
    ]
    verdict = {"exposure": "X", "outcome": "Y", "estimand": "model", "findings": findings}
    content = {"verdicts": [verdict], "said": ["X -> Y: not supported, because ivw scatters."]}
    loci = pd.DataFrame({"exposure": "X", "outcome": "Y", "estimand": "model", "verdict": ["supported", "supported"]})
    section = diagnostics_section(content, loci=loci, name="diagnosis")
    assert section.sentences == ("X → Y: not supported, because IVW scatters.",)
    assert [row[3].text for row in section.tables[0].rows] == ["speaks against it", "fine"]
    assert section.tables[1].rows[0][-1].text == "2"


def test_the_judgement_of_diagnostics_stands_on_the_card(run):
    judged = replace(run, judgements={("GATA1", "TAL1", "model"): "supported with doubts"})
    page = render_page(judged)
    assert page.count('<a href="#diagnostics">Diagnostics, effect in the model: supported with doubts</a>') == 1
