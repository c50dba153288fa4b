"""`deepmr report` of GWAS results: from two files of other names and coding to a page."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepmr.commands.mr import mr
from deepmr.commands.report import report
from deepmr.commands.sensitivity import sensitivity
from deepmr.errors import InputError
from tests.commands.test_mr_gwas import N, studies
from tests.report.test_page import Outline, text_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with one variant lost for each of several reasons."""
    folder = tmp_path_factory.mktemp("gwas")
    exposure, outcome = studies(folder)
    exposure.loc[0, "standard_error"] = 0.0
    exposure.loc[3, "effect_allele_frequency"] = 0.48  # palindromic
    exposure.to_csv(folder / "x.tsv.gz", sep="\t", index=False)
    outcome.loc[6, ["A1", "A2"]] = ["A", "G"]
    outcome.drop(index=2).to_csv(folder / "y.txt", sep=" ", index=False)
    files = {"exposure": [str(folder / "x.tsv.gz")], "outcome": [str(folder / "y.txt")]}
    mr(**files, out=folder / "r.tsv", method=["ivw_random", "egger", "median_weighted"])
    return folder


@pytest.fixture(scope="module")
def page(folder):
    report(estimates=folder / "r.tsv", out=folder / "r.html")
    return (folder / "r.html").read_text(encoding="utf-8")


def test_the_page_answers_in_words_and_shows_every_figure(folder, page):
    text = text_of(page)
    table = pd.read_csv(folder / "r.tsv", sep="\t")
    answer = text[: text.index("Figure 1.")]
    assert "Does x cause y?" in answer
    assert "Effect of x on y in the population" in answer
    assert f"{np.exp(table['beta'][0]):.3g}" in answer, "effects were read from odds ratios"
    assert "the odds of y are multiplied by" in answer
    assert "In agreement" in answer
    assert "slope through the origin, weighted by inverse variance" in text
    captions = re.findall(r'<p class="what">Figure (\d+)\.', page)
    assert captions == [str(k) for k in range(1, 8)]  # methods, scatter, single, funnel, density, one left out, radial
    assert Outline(page).tags.count("svg") == 7


def test_the_page_shows_what_was_read_and_every_dropped_variant(folder, page):
    text = text_of(page)
    assert "odds_ratio OR" in text.replace("odds_ratio  OR", "odds_ratio OR")
    dropped = pd.read_csv(folder / "r.dropped.tsv", sep="\t")
    assert len(dropped) == 4
    for _, row in dropped.iterrows():
        assert row["variant_id"] in page
        assert row["reason"] in text
    assert page.count("<details>") == 5  # four reasons, the instruments
    assert f"x → y: {N - 4} instruments" in text
    assert re.search(r"<dt>inputs\.exposure_1\.sha256</dt><dd>[0-9a-f]{64}</dd>", page)


def test_the_page_is_whole_and_refers_to_nothing_outside(page):
    outline = Outline(page)
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    inside = {f"#{name}" for name in outline.ids}
    assert all(address in inside or address.startswith("data:image/png;base64,") for address in outline.addresses)
    assert page.count("<script") == 1
    assert not re.search(r"https?:|@import|url\((?!#)", page)


def test_names_from_files_are_escaped(tmp_path):
    exposure, outcome = studies(tmp_path)
    evil = "<script>alert('x')</script>"
    exposure.assign(rsid=[f"{evil}{i}" for i in range(N)], trait=evil).to_csv(tmp_path / "x.tsv", sep="\t", index=False)
    outcome.assign(SNP=[f"{evil}{i}" for i in range(N)]).to_csv(tmp_path / "y.tsv", sep="\t", index=False)
    files = {"exposure": [str(tmp_path / "x.tsv")], "outcome": [str(tmp_path / "y.tsv")]}
    mr(**files, out=tmp_path / "r.tsv", method=["ivw_random"])
    report(estimates=tmp_path / "r.tsv", out=tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count("<script") == 1
    assert Outline(page).open == []


def test_several_pairs_and_several_exposures_in_one_model(folder, tmp_path):
    exposure, _ = studies(tmp_path)
    other = exposure.assign(beta=np.random.default_rng(5).normal(0.2, 0.05, N))
    other.to_csv(tmp_path / "z.tsv", sep="\t", index=False)
    files = {"exposure": [str(tmp_path / "x.tsv.gz"), str(tmp_path / "z.tsv")], "outcome": [str(tmp_path / "y.txt")]}
    mr(**files, out=tmp_path / "r.tsv", method=["ivw_random"], save_instruments=tmp_path / "i.tsv")
    summary = report(estimates=tmp_path / "r.tsv", out=tmp_path / "r.html")
    assert len(summary["effects"]) == 2
    text = text_of((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "What the sensitivity analyses of x → y say" in text
    assert "What the sensitivity analyses of z → y say" in text
    mr(**files, out=tmp_path / "mv.tsv", multivariable=True)
    summary = report(estimates=tmp_path / "mv.tsv", out=tmp_path / "mv.html")
    assert {row["exposure"] for row in summary["effects"]} == {"x", "z"}
    text = text_of((tmp_path / "mv.html").read_text(encoding="utf-8"))
    assert "with the other exposures held fixed" in text
    assert "conditional F" in text
    assert re.search(r"x, the others held fixed: [−\d.]+ \(.*\) by Multivariable IVW", text)
    assert summary["verdict"][-2].startswith("Instruments are")


def test_traits_with_and_without_sample_sizes_and_frequencies_make_one_page(tmp_path):
    exposure, _ = studies(tmp_path)
    exposure.drop(columns=["n", "effect_allele_frequency"]).to_csv(tmp_path / "z.tsv", sep="\t", index=False)
    files = {"exposure": [str(tmp_path / "z.tsv"), str(tmp_path / "x.tsv.gz")], "outcome": [str(tmp_path / "y.txt")]}
    mr(**files, out=tmp_path / "r.tsv", method=["ivw_random", "egger"])
    summary = report(estimates=tmp_path / "r.tsv", out=tmp_path / "r.html")
    assert len(summary["effects"]) == 2
    assert sensitivity(tmp_path / "r.instruments.tsv", out=tmp_path / "s")


def test_doubts_about_alleles_stand_on_the_page(tmp_path):
    _, outcome = studies(tmp_path)
    outcome.rename(columns={"A1": "A2", "A2": "A1"}).to_csv(tmp_path / "y.txt", sep=" ", index=False)
    files = {"exposure": [str(tmp_path / "x.tsv.gz")], "outcome": [str(tmp_path / "y.txt")]}
    mr(**files, out=tmp_path / "r.tsv", method=["ivw_random"])
    summary = report(estimates=tmp_path / "r.tsv", out=tmp_path / "r.html")
    assert any("opposite sides of one half for 45 of 45 variants" in note for note in summary["notes"])
    text = text_of((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "opposite sides of one half" in text[: text.index("Figure 1.")]


def test_files_that_changed_or_are_gone_are_noticed(folder, tmp_path):
    studies(tmp_path)
    files = {"exposure": [str(tmp_path / "x.tsv.gz")], "outcome": [str(tmp_path / "y.txt")]}
    mr(**files, out=tmp_path / "r.tsv", method=["ivw_random"], clump="none")
    (tmp_path / "r.dropped.tsv").unlink()
    (tmp_path / "y.txt").write_text((tmp_path / "y.txt").read_text() + "\n")
    notes = report(estimates=tmp_path / "r.tsv", out=tmp_path / "r.html")["notes"]
    assert [note.split(":")[0] for note in notes[:3]] == [
        "r.dropped.tsv is not there",
        "y.txt has changed since the estimates were made",
        "The instruments were not clumped",
    ]
    (tmp_path / "r.tsv.json").unlink()
    notes = report(estimates=tmp_path / "r.tsv", out=tmp_path / "again.html")["notes"]
    assert notes[0].startswith("Nothing is recorded beside the estimates")


def test_the_example_of_the_documentation(tmp_path):
    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "gwas.md").read_text(encoding="utf-8")
    files = {
        "exposure": [str(docs / "gwas_example" / "LDL.tsv.gz")],
        "outcome": [str(docs / "gwas_example" / "CHD.csv")],
    }
    effects = mr(**files, exposure_columns=["n=173082"], out=tmp_path / "LDL_CHD.tsv")["effects"]
    for row in effects:
        cells = [row["method"], str(row["n"]), *(f"{row[name]:.4g}" for name in ("beta", "se", "pvalue"))]
        assert re.search(r"LDL +CHD +" + " +".join(map(re.escape, cells)), text), cells
    for sentence in report(estimates=tmp_path / "LDL_CHD.tsv", out=tmp_path / "r.html")["verdict"][:4]:
        assert sentence in text
    assert "the odds of CHD are multiplied by 1.46 (1.32 to 1.62)" in (tmp_path / "r.html").read_text(encoding="utf-8")
    sums = (docs.parent / "data" / "README.md").read_text()
    for name in ("LDL.tsv.gz", "CHD.csv"):
        assert hashlib.sha256((docs / "gwas_example" / name).read_bytes()).hexdigest() in sums


def test_what_looks_odd_on_reading_is_said_in_the_answer_the_verdict_and_on_the_screen(tmp_path):
    _, outcome = studies(tmp_path)
    outcome.rename(columns={"OR": "BETA"}).to_csv(tmp_path / "y.txt", sep=" ", index=False)
    mr(exposure=[str(tmp_path / "x.tsv.gz")], outcome=[str(tmp_path / "y.txt")], out=tmp_path / "r.tsv")
    summary = report(estimates=tmp_path / "r.tsv", out=tmp_path / "r.html")
    doubt = "y: all effects lie above 0, around 1: if they are odds ratios, name them: odds_ratio=COLUMN."
    assert doubt in summary["warnings"]
    assert summary["verdict"][: len(summary["warnings"])] == [f"First of all: {one}" for one in summary["warnings"]]
    text = text_of((tmp_path / "r.html").read_text(encoding="utf-8"))
    answer = text[: text.index("Figure 1.")]
    assert answer.index("These numbers may be wrong.") < answer.index("Effect of x on y")
    assert answer.count(doubt) == 2
    assert re.search(
        r"Where variants raise x by 1 unit of its file, y (rises|falls) by [\d.]+ units of its file\.", answer
    )
    assert "{'" not in text, "Python in the provenance"


def test_how_a_column_was_derived_is_no_warning(folder, tmp_path):
    record = json.loads((folder / "r.tsv.json").read_text())
    assert "took logarithms of OR" in record["traits"][1]["notes"]
    warnings = report(estimates=folder / "r.tsv", out=tmp_path / "r.html")["warnings"]
    assert [one for one in warnings if one.startswith("y")] == []


def test_a_page_of_very_many_variants_names_the_file_instead(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("deepmr.report.gwas_tables.MAX_LISTED", 2)
    report(estimates=folder / "r.tsv", out=tmp_path / "r.html")
    text = text_of((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "2 more reasons are listed in r.dropped.tsv alone" in text
    assert "1 more list is in r.instruments.tsv alone" in text


def test_options_of_the_other_kind_are_refused(folder, tmp_path):
    out = tmp_path / "r.html"
    with pytest.raises(InputError, match="--meta is for effects of edits"):
        report(estimates=folder / "r.tsv", meta=folder / "r.tsv", out=out)
    with pytest.raises(InputError, match="needed --meta"):
        report(folder / "effects.h5", estimates=folder / "r.tsv", out=out)
    with pytest.raises(InputError, match="--instruments is for GWAS results"):
        report(
            folder / "e.h5", estimates=folder / "r.tsv", meta=folder / "r.tsv", instruments=folder / "r.tsv", out=out
        )
    (tmp_path / "mr.tsv").write_text((folder / "r.tsv").read_text())
    (tmp_path / "mr.tsv.json").write_text('{"options": {"effects": "effects.h5"}}')
    with pytest.raises(InputError, match=r"mr\.tsv was made from effects\.h5: needed that file too, and --meta"):
        report(estimates=tmp_path / "mr.tsv", out=out)
    assert not out.exists()
