"""The page: what it says, that it is whole, and that names from files cannot break it."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.report import plates, tables
from deepmr.report.content import Plates, Run
from deepmr.report.page import render_page
from deepmr.types import Estimates
from tests.report.toy import SLOPE, TASKS, toy_run

EVIL = ["<script>alert('x')</script>", 'a"b&c --> $\\frac{1}{0}$']
VOID = {"meta", "br", "img", "input", "link", "hr", "wbr", "path", "use", "image", "rect"}


class Outline(HTMLParser):
    """What a browser would see: balance of tags, ids, addresses, text."""

    def __init__(self, page):
        super().__init__()
        self.open, self.ids, self.addresses, self.events, self.labels = [], [], [], [], []
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in {"href", "src", "xlink:href", "action", "data"}:
                self.addresses.append(value)
            if name.startswith("on"):
                self.events.append(name)
            if tag == "svg" and name == "aria-label":
                self.labels.append(value)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["script"], ["style"]):
            self.text.append(data)


@pytest.fixture(scope="module")
def run():
    return toy_run(n=6)


@pytest.fixture(scope="module")
def page(run):
    return render_page(run)


def text_of(page):
    return " ".join(" ".join(Outline(page).text).split())


def test_the_answer_comes_first_in_words_with_estimand_interval_and_loci(page, run):
    row = run.headline.table.iloc[0]
    text = text_of(page)
    answer = text[: text.index("Figure 1.")]
    assert "Effect of GATA1 on TAL1 in the model" in answer
    assert f"{row['beta']:.2f}"[:3] in answer
    assert "95 % CI" in answer
    assert "6 loci" in answer
    assert "prediction interval" in answer
    assert f"true effect: {SLOPE}" in answer
    assert "what the ensemble has learned from sequence, not a measurement in cells" in answer
    assert re.search(r"Where an edit raises GATA1 by 1 unit, TAL1 rises by [\d.]+ units on average over loci", answer)


def test_every_figure_is_there_once_with_a_caption_and_words_how_to_read_it(page):
    outline = Outline(page)
    assert outline.tags.count("svg") == outline.tags.count("figure") == 10
    captions = re.findall(r'<p class="what">Figure (\d+)\. ([^<]+)</p>', page)
    assert [int(number) for number, _ in captions] == list(range(1, 11))
    assert page.count("How to read this.") == 10
    assert page.count("As figure ") == 3, "the second pair at every locus, the second locus and its instruments"
    assert len(outline.labels) == 10
    assert all(len(label) > 20 for label in outline.labels)


def test_the_page_is_whole_and_refers_to_nothing_outside(page):
    outline = Outline(page)
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    inside = {f"#{name}" for name in outline.ids}
    assert all(address in inside or address.startswith("data:image/png;base64,") for address in outline.addresses)
    assert not outline.events
    assert not {"link", "iframe", "object", "img", "base"} & set(outline.tags)
    assert not re.search(r"https?:|@import|url\((?!#)", page)
    assert len(page) < 2e6


def test_its_policy_allows_its_own_script_and_no_other(page):
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert page.count("<script") == 1


def test_names_from_files_are_escaped_everywhere():
    loci = [*EVIL, "c", "d"]
    page = render_page(replace(toy_run(n=4, names=loci), provenance={EVIL[0]: {EVIL[0]: EVIL[1]}}, notes=(EVIL[0],)))
    assert page.count("<script") == 1
    outline = Outline(page)
    assert outline.open == []
    assert not outline.events
    text = text_of(page)
    assert text.count(EVIL[0]) >= 5
    assert EVIL[1] in text


def test_tables_hold_the_numbers_and_what_they_are_sorted_by(run):
    grid = tables.global_table(run)
    assert grid.columns == [
        "exposure", "outcome", "method", "estimand", "effect (95 % CI)", "SE", "P", "prediction interval", "τ", "I²",
        "loci",
    ]  # fmt: skip
    assert len(grid.rows) == len(run.pooled) == 6
    for cells, row in zip(grid.rows, run.pooled.table.to_dict("records"), strict=True):
        assert [cells[0].text, cells[1].text] == [row["exposure"], row["outcome"]]
        assert cells[3].text == "model"
        assert cells[4].value == row["beta"]
        assert cells[8].value == pytest.approx(np.sqrt(row["tau2"]))
        assert cells[10].text == "6"
    local = tables.local_table(run)
    assert len(local.rows) == len(run.local)
    assert [(row[1].text, row[2].text) for row in local.rows][:2] == [("GATA1", "TAL1"), ("TAL1", "GATA1")]
    assert {row[3].text for row in local.rows[:4]} == {"IVW"}


def test_a_long_table_of_loci_is_cut_by_instruments_and_says_where_the_rest_is(run):
    table = pd.concat([run.local.table] * 20, ignore_index=True)
    table["n"] = np.arange(len(table))
    long = replace(run, local=Estimates(table=table))
    grid = tables.local_table(long)
    assert len(grid.rows) == 500
    behind = table["method"] == run.leading
    methods = [row[3].text for row in grid.rows]
    assert methods[: behind.sum()] == ["IVW"] * behind.sum()
    assert "IVW" not in methods[behind.sum() :]
    pairs = [(row[1].text, row[2].text) for row in grid.rows]
    n_pairs = len(set(pairs))
    assert n_pairs > 1
    assert len(set(pairs[:n_pairs])) == n_pairs  # pairs take turns
    for pair in set(pairs):
        rest = [row[-1].value for row, who in zip(grid.rows, pairs, strict=True) if who == pair][behind.sum() :]
        assert rest == sorted(rest, reverse=True)
    assert f"Shown are 500 of {len(table):,} (" in grid.caption


def test_counts_of_instruments_and_reasons_for_skipping(run):
    skipped = pd.DataFrame(
        {
            "method": "ivw",
            "exposure": "GATA1",
            "outcome": "TAL1",
            "locus": ["a", "b", "c"],
            "reason": ["few", "few", "none"],
        }
    )
    instruments, reasons = tables.count_tables(replace(run, local=replace(run.local, skipped=skipped)))
    first = run.instruments[0]
    assert [c.text for c in instruments.rows[0]][:5] == ["GATA1", "TAL1", "6", "6", str(len(first.variants))]
    assert [[c.text for c in row] for row in reasons.rows] == [
        ["GATA1", "TAL1", "IVW", "few", "2"],
        ["GATA1", "TAL1", "IVW", "none", "1"],
    ]


def test_a_record_is_flattened_and_very_long_values_are_cut():
    lines = tables.flatten({"a": {"b": 1, "c": None}, "d": [1, 2], "e": "x" * 1000, "f": float("nan")})
    assert lines[:2] == [("a.b", "1"), ("d", "1, 2")]
    assert len(lines) == 3
    assert len(lines[2][1]) == 402
    numbered = tables.flatten({"traits": [{"trait": "x", "columns": {"beta": "BETA"}}, {"trait": "y"}]})
    assert numbered == [("traits.1.trait", "x"), ("traits.1.columns.beta", "BETA"), ("traits.2.trait", "y")]


def test_a_run_with_nothing_but_tables_says_so_and_draws_no_empty_figures(run):
    bare = Run(tasks=TASKS, pooled=run.pooled, local=run.local)
    page = render_page(bare)
    assert Outline(page).tags.count("figure") == 3
    assert 'id="loci"' not in page
    assert 'id="ensemble"' not in page
    assert "No file says how it was made." in page
    assert "true effect" not in page


def test_a_run_without_any_estimate_is_a_page(run):
    nothing = np.zeros(len(run.pooled), dtype=bool)
    skipped = run.local.table[["method", "exposure", "outcome", "locus"]].assign(reason="too few")
    none = Estimates(table=run.local.table.iloc[:0], skipped=skipped)
    bare = Run(tasks=TASKS, pooled=run.pooled.take(nothing), local=none)
    text = text_of(render_page(bare))
    assert "No pair has a global effect" in text
    assert "too few" in text


def test_one_pair_needs_no_matrix(run):
    one = run.pooled.take((run.pooled.table["exposure"] == "GATA1").to_numpy())
    figures = plates.global_effects(replace(run, pooled=one), Plates())
    assert len(figures) == 1


def test_many_pairs_keep_to_the_strongest(run):
    tasks = [f"t{i}" for i in range(8)]
    rows = [{"exposure": a, "outcome": b} for a in tasks for b in tasks if a != b]
    row = run.headline.table.iloc[0].to_dict()
    table = pd.DataFrame([row | pair | {"beta": 1.0 + i, "se": 1.0} for i, pair in enumerate(rows)])
    many = replace(run, pooled=Estimates(table=table), truth=None)
    assert [card["exposure"] for card in tables.headline(many)] == ["t7"] * 6
    drawn, cut = plates.for_forest(many.pooled, many.leading)
    assert len(drawn) == plates.MAX_FOREST
    assert drawn.table["beta"].min() == 9.0
    assert "The 48 of 56 pairs" in cut


def test_truth_needs_its_columns(run):
    with pytest.raises(InputError, match="true effects needs the column"):
        replace(run, truth=pd.DataFrame({"exposure": ["a"]}))
