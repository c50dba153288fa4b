"""Parts of a page from tables in files, and where they stand on it."""

from dataclasses import replace

import pandas as pd
import pytest

from deepmr.report.content import Drawing, Section
from deepmr.report.diagnosed import judged_pairs
from deepmr.report.judged import diagnostics_section, labelled_section
from deepmr.report.page import render_page
from deepmr.report.sections import ONE_SITE, frame_grid, seqlet_section, table_section, threshold_section
from deepmr.report.style import new_figure
from deepmr.report.verdicts import GRADES, pair_verdicts
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
        "exposure", "method", "estimand", "effect (90 % CI)", "pvalue", "n loci", "note",
    ]  # fmt: skip
    first, second = grid.rows
    assert [cell.text for cell in first] == [
        "X", "IVW", "effect in the model", "1.23 (1 to 1.5)", "1e−12", "1,200", "fine",
    ]  # fmt: skip
    assert first[3].value == 1.23456
    assert (second[3].text, second[3].value) == ("–", None)
    assert second[2].text == "calibrated effect (in the data-generating process)"
    assert second[5].text == "−3"
    assert second[6].value is None, "a column with any text is text"


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
    assert {row[0].text for row in section.tables[0].rows} == {"share of the largest effects"}


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
    assert "1 that carry most of the effect" in section.sentences[0]
    assert "At 1 locus a site acts on the outcome otherwise than the rest." in section.sentences[0]
    rows = section.tables[0].rows
    assert [row[0].text for row in rows] == ["a", "a", "b"]
    assert rows[0][-1].text == "contradicts"


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
    assert first.startswith(
        "GATA1 → TAL1: 10 labelled edits at 2 loci put the effect in the data-generating process 0.1 "
    )
    assert "below that in the model (standard error 0.02); 80 % of this is applied: 3." in first
    assert first.endswith("calibrated.")
    assert section.sentences[-1] == "Few labels."
    assert [cell.text for cell in section.tables[1].rows[0]] == ["GATA1 on TAL1", "200", "0.03"]
    assert section.tables[1].columns == ["pair", "labelled loci", "5 edits"]


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
    assert section.tables[1].rows[0][1].text == "2"
    twice = content | {"verdicts": [verdict, verdict | {"estimand": "calibrated"}]}
    rows = diagnostics_section(twice, name="diagnosis").tables[0].rows
    assert [row[-1].text for row in rows] == ["model and calibrated", "model and calibrated"]


def cards(page):
    """The text between the first card and the verdicts."""
    return page[page.index('<div class="cards">') : page.index('<ul class="verdicts">')].split('<div class="card">')[1:]


@pytest.mark.parametrize("words", [("supported with doubts", "not supported"), ("undecided", "supported")])
def test_the_judgement_of_diagnostics_leads_the_card_and_is_the_only_verdict(run, words):
    pairs = list(run.headline.table[["exposure", "outcome"]].itertuples(index=False, name=None))
    said = dict(zip(pairs, words, strict=True))
    page = render_page(replace(run, judgements={(*pair, "model"): word for pair, word in said.items()}))
    for word in GRADES.values():
        assert f">{word}<" not in page
        assert f": {word}<" not in page
    assert "doubtful:" not in page
    for card, (pair, word) in zip(cards(page), said.items(), strict=True):
        assert f">{word}</span>" in card
        assert card.index("badge") < card.index(pair[0]) < card.index('class="value')
        assert ("unsure" in card) == ("Estimate for an effect of" in card) == (not word.startswith("supported"))
        assert '<a href="#diagnostics">Why: the diagnostics</a>' in card
    against = "not supported" in words
    assert ('<span class="badge against">not supported' in page) == against
    assert ("speak against an effect" in page) == against
    assert ("leave open whether" in page) != against
    assert "Calibration mends" not in page  # nothing is calibrated


def test_calibration_does_not_make_an_effect_of_what_diagnostics_reject(run):
    table = run.pooled.table
    both = Estimates(table=pd.concat([table, table.assign(estimand="calibrated")], ignore_index=True))
    judged = replace(run, pooled=both, judgements={("GATA1", "TAL1", "model"): "not supported"})
    page = render_page(judged)
    assert "it cannot tell whether an edit reaches TAL1 by another way." in cards(page)[0]
    assert "it cannot tell whether an edit reaches the outcome by another way" in page  # what the two effects are
    (one,) = [one for one in judged_pairs(judged) if (one.exposure, one.outcome) == ("GATA1", "TAL1")]
    assert one.sentence.startswith(
        "GATA1 → TAL1: not supported (diagnosed: effect in the model); the estimate in the data"
    )
    assert one.questioned
    assert "Why: the diagnostics of the effect in the model</a>" in cards(page)[0]


def test_pairs_without_diagnostics_keep_the_verdict_of_their_tables(run):
    assert judged_pairs(run) == pair_verdicts(run)
    gone = {"method": "ivw", "exposure": "TAL1", "outcome": "TAL2", "locus": "a", "reason": "no instrument"}
    lost = replace(run, local=Estimates(table=run.local.table, skipped=pd.DataFrame([gone])))
    judged = replace(lost, judgements={("TAL1", "TAL2", "model"): "undecided"})
    assert judged_pairs(judged)[-1].sentence.startswith("TAL1 → TAL2: undecided. Of TAL1 on TAL2 there is no estimate")


def test_sites_alone_at_their_loci_cannot_show_a_second_pathway():
    frame = pd.DataFrame(
        {
            "exposure": "X", "outcome": "Y", "locus": ["a", "b", "b"], "start": [1, 9, 30], "end": [5, 14, 36],
            "beta": [1.0, 1.2, float("nan")], "verdict": ["alone", "alone", "untested"], "estimand": "model",
        }
    )  # fmt: skip
    (said,) = seqlet_section(frame, name="s.tsv").sentences
    assert said.endswith(f"). {ONE_SITE}")
