"""Parts of a page from tables in files, and where they stand on it."""

from dataclasses import replace

import pandas as pd
import pytest

from deepmr.report.content import Drawing, Section
from deepmr.report.page import render_page
from deepmr.report.sections import frame_grid, table_section
from deepmr.report.style import new_figure
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
