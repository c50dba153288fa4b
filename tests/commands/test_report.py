"""`deepmr report`, from the files of a run to a page."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepmr.commands.ism import ism
from deepmr.commands.meta import meta
from deepmr.commands.mr import mr
from deepmr.commands.report import report
from deepmr.commands.source import open_source
from deepmr.errors import InputError
from deepmr.io.calibration import write_calibration
from deepmr.io.tables import read_estimates
from tests.commands.linear import SITES, SLOPE, write_fasta, write_linear
from tests.report.toy import toy_calibration

N = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of linear networks: outcome = SLOPE x exposure."""
    folder = tmp_path_factory.mktemp("report")
    write_fasta(folder / "peaks.fa", N, seed=0, chroms=("chr1", "chr2"))
    write_linear(folder / "ensemble")
    calibration = toy_calibration(names=("X", "binary"))
    ism(model=folder / "ensemble", fasta=folder / "peaks.fa", out=folder / "effects.h5", trust_code=True, device="cpu")
    write_calibration(
        replace(calibration, tasks=calibration.tasks[:1]),
        folder / "calibration.json",
        provenance={"command": "calibrate"},
    )
    mr(folder / "effects.h5", out=folder / "mr.tsv", save_instruments=folder / "instruments.tsv")
    meta(folder / "mr.tsv", out=folder / "meta.tsv")
    return folder


def loci_of(folder):
    with open_source(folder / "effects.h5") as source:
        return source.loci


def make(folder, out, *, effects="effects.h5", estimates="mr.tsv", pooled="meta.tsv", **options):
    return report(folder / effects, estimates=folder / estimates, meta=folder / pooled, out=out, **options)


def test_a_page_with_everything(folder, tmp_path):
    truth = tmp_path / "truth.tsv"
    truth.write_text("exposure\toutcome\tbeta\n" + f"X\tY\t{SLOPE}\n")
    mr(folder / "effects.h5", out=tmp_path / "mr.tsv", calibration=[folder / "calibration.json"])
    meta(tmp_path / "mr.tsv", out=tmp_path / "meta.tsv")
    summary = report(
        folder / "effects.h5", estimates=tmp_path / "mr.tsv", meta=tmp_path / "meta.tsv", out=tmp_path / "report.html",
        calibration=folder / "calibration.json", truth=truth, n_loci=2,
    )  # fmt: skip
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert summary["report"] == str(tmp_path / "report.html")
    assert summary["notes"] == []
    assert len(summary["loci_shown"]) == 2
    assert [row["method"] for row in summary["effects"]] == ["ivw", "ivw"]
    assert summary["effects"][0]["beta"] == pytest.approx(SLOPE, rel=0.05)
    assert {(row["exposure"], row["true"]) for row in summary["truth"]} == {("X", SLOPE)}
    assert {"holds", "misses"} >= {row["interval"] for row in summary["truth"]}
    assert page.count("<figure>") == 10
    assert summary["estimand"] == "effect in the model"
    assert [row["estimand"] for row in summary["effects"]] == ["model", "model"]
    assert summary["verdict"][0].startswith("X raises Y in the model: ")
    assert len(summary["verdict"]) == 2
    for name in summary["loci_shown"]:
        assert f"<h3>{name}</h3>" in page
    assert "true effect: 2" in page
    for record in ("effects.h5", "ensemble members", "calibration.json", "mr.tsv", "meta.tsv", "this page"):
        assert f"<strong>{record}</strong>" in page
    assert re.search(r"<dt>inputs\.effects\.sha256</dt><dd>[0-9a-f]{64}</dd>", page)
    assert not re.search(r"https?:", page)


def test_instruments_of_the_page_are_those_of_the_estimates(folder, tmp_path):
    make(folder, tmp_path / "report.html", n_loci=0)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    used = pd.read_csv(folder / "instruments.tsv", sep="\t")
    n = (used["exposure"] == "X").sum()
    assert re.search(rf'<td>X</td><td>Y</td>(<td class="n"[^>]*>{N}</td>){{2}}<td class="n"[^>]*>{n}</td>', page)
    assert "not as many" not in page
    assert 'id="loci"' not in page


def test_a_pooled_table_of_other_estimates_is_noticed(folder, tmp_path):
    mr(folder / "effects.h5", out=tmp_path / "mr.tsv", method=["ivw", "egger", "wald"], level=0.9)
    summary = make(folder, tmp_path / "report.html", estimates=tmp_path / "mr.tsv", n_loci=0)
    assert any("pooled from another table" in note for note in summary["notes"])


def test_pooled_effects_are_not_pooled_again(folder, tmp_path):
    with pytest.raises(InputError, match="pooled already"):
        meta(folder / "meta.tsv", out=tmp_path / "again.tsv")


def test_other_options_than_recorded_are_noticed(folder, tmp_path):
    record = json.loads((folder / "mr.tsv.json").read_text())
    for name in ("mr.tsv", "mr.skipped.tsv"):
        (tmp_path / name).write_text((folder / name).read_text())
    record["options"] |= {"rule": "zscore", "threshold": 3.0, "calibration": "gone.json"}
    (tmp_path / "mr.tsv.json").write_text(json.dumps(record))
    summary = make(folder, tmp_path / "report.html", estimates=tmp_path / "mr.tsv", n_loci=0)
    assert any("not as many as the estimates used" in note for note in summary["notes"])
    assert any("a calibration that this page was not given" in note for note in summary["notes"])
    record["options"]["calibration"] = None
    (tmp_path / "mr.tsv.json").write_text(json.dumps(record))
    given = {"estimates": tmp_path / "mr.tsv", "calibration": folder / "calibration.json"}
    summary = make(folder, tmp_path / "corrected.html", **given, n_loci=0)
    assert any("The estimates used no calibration" in note for note in summary["notes"])
    (tmp_path / "mr.tsv.json").unlink()
    summary = make(folder, tmp_path / "again.html", estimates=tmp_path / "mr.tsv", n_loci=0)
    assert any("Nothing is recorded beside the estimates" in note for note in summary["notes"])


def test_named_loci_are_shown_in_their_order_and_the_default_are_the_strongest(folder, tmp_path):
    loci = loci_of(folder)
    summary = make(folder, tmp_path / "named.html", locus=[loci[3], loci[1]])
    assert summary["loci_shown"] == [loci[3], loci[1]]
    summary = make(folder, tmp_path / "default.html", n_loci=1)
    strength = read_estimates(folder / "mr.tsv").table.groupby("locus")["n"].max()
    assert strength[summary["loci_shown"][0]] == strength.max(), "effects of all sites are of about one size"


def test_local_true_effects_are_averaged_over_the_loci_with_an_estimate(folder, tmp_path):
    loci = loci_of(folder)
    rows = [(name, "X", "Y", 1.0 + (i == 0)) for i, name in enumerate(loci)] + [("elsewhere", "X", "Y", 99.0)]
    truth = tmp_path / "truth.tsv"
    columns = ["locus", "exposure", "outcome", "beta"]
    pd.DataFrame(rows, columns=columns).to_csv(truth, sep="\t", index=False)
    make(folder, tmp_path / "report.html", truth=truth, n_loci=0)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"true effect: {(N + 1) / N:.2f}" in page
    pd.DataFrame(rows[-1:], columns=columns).to_csv(truth, sep="\t", index=False)
    summary = make(folder, tmp_path / "none.html", truth=truth, n_loci=0)
    assert any("table of true effects has none" in note for note in summary["notes"])


def test_the_truth_is_joined_by_the_name_of_the_locus(folder, tmp_path):
    """Shuffled loci change nothing; missing ones are told, and leave the mean of those that are known."""
    loci = loci_of(folder)
    columns = ["locus", "exposure", "outcome", "beta"]
    frame = pd.DataFrame([(name, "X", "Y", float(i)) for i, name in enumerate(loci)], columns=columns)
    shuffled, missing = frame.sample(frac=1.0, random_state=0), frame.drop(index=[0, 3]).iloc[::-1]
    pages = {}
    for name, truth in (("whole", frame), ("shuffled", shuffled), ("missing", missing)):
        truth.to_csv(tmp_path / f"{name}.tsv", sep="\t", index=False)
        summary = make(folder, tmp_path / f"{name}.html", truth=tmp_path / f"{name}.tsv", n_loci=0)
        pages[name] = (tmp_path / f"{name}.html").read_text(encoding="utf-8"), summary["notes"]
    assert f"true effect: {np.mean(frame['beta']):.2f}".rstrip("0").rstrip(".") in pages["whole"][0]
    for name in ("whole", "shuffled"):
        assert not any("are known at" in note for note in pages[name][1])
    at = [pages[name][0].index("true effect: ") for name in ("whole", "shuffled")]
    whole, mixed = (pages[n][0][i : i + 20] for n, i in zip(("whole", "shuffled"), at, strict=True))
    assert whole == mixed
    assert any(f"X on Y are known at {N - 2} of {N} loci" in note for note in pages["missing"][1])
    pd.concat([frame, frame.iloc[:1]]).to_csv(tmp_path / "twice.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match=f"more than one true effect of X Y {loci[0]}"):
        make(folder, tmp_path / "twice.html", truth=tmp_path / "twice.tsv")


def test_a_table_of_effects_gives_a_page_without_views(folder, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        (locus, f"{locus}{v}", task, k, beta + 0.01 * rng.normal())
        for locus in ("a", "b", "<script>")
        for v, dx in enumerate([3.0, -2.0, 4.0, 2.5])
        for k in range(3)
        for task, beta in (("X", dx), ("Y", 2 * dx))
    ]
    frame = pd.DataFrame(rows, columns=["locus", "variant_id", "task", "member", "beta"])
    effects = tmp_path / "effects.tsv"
    frame.to_csv(effects, sep="\t", index=False)
    mr(effects, out=tmp_path / "mr.tsv", exposure=["X"], method=["ivw"])
    meta(tmp_path / "mr.tsv", out=tmp_path / "meta.tsv")
    summary = report(effects, estimates=tmp_path / "mr.tsv", meta=tmp_path / "meta.tsv", out=tmp_path / "r.html")
    assert set(summary["loci_shown"]) == {"a", "b", "<script>"}
    assert any("no views of loci" in note for note in summary["notes"])
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count("<script") == 1
    assert page.count("<figure>") == 6  # forest, every locus, three scatters, errors
    assert "<h3>&lt;script&gt;</h3>" in page


def test_mean_effects_with_standard_errors_will_do(folder, tmp_path):
    rows = [("a", f"v{v}", t, b * dx, 0.1) for v, dx in enumerate([3.0, 2.0, 4.0]) for t, b in (("X", 1.0), ("Y", 0.5))]
    effects = tmp_path / "effects.tsv"
    pd.DataFrame(rows, columns=["locus", "variant_id", "task", "beta", "se"]).to_csv(effects, sep="\t", index=False)
    mr(effects, out=tmp_path / "mr.tsv", exposure=["X"])
    meta(tmp_path / "mr.tsv", out=tmp_path / "meta.tsv")
    summary = report(effects, estimates=tmp_path / "mr.tsv", meta=tmp_path / "meta.tsv", out=tmp_path / "r.html")
    assert summary["effects"][0]["beta"] == pytest.approx(0.5)


def test_a_list_of_edits_gives_a_page_without_views(folder, tmp_path):
    with open_source(folder / "effects.h5") as source:
        sequences = source.file.sequences
    rows = []
    for i in range(4):
        for offset in range(SITES.start, SITES.start + 4):
            other = "ACGT"[sequences.codes[i, offset]]
            new = "ACGT"[(sequences.codes[i, offset] + 1) % 4]
            rows.append((f"v{i}_{offset}", sequences.loci["locus"][i], offset, other, new))
    edits = tmp_path / "edits.tsv"
    columns = ["variant_id", "locus", "offset", "other_allele", "effect_allele"]
    pd.DataFrame(rows, columns=columns).to_csv(edits, sep="\t", index=False)
    common = {"model": folder / "ensemble", "fasta": folder / "peaks.fa", "trust_code": True, "device": "cpu"}
    ism(out=tmp_path / "effects.h5", edits=edits, **common)
    mr(tmp_path / "effects.h5", out=tmp_path / "mr.tsv", min_instruments=1)
    meta(tmp_path / "mr.tsv", out=tmp_path / "meta.tsv")
    summary = make(tmp_path, tmp_path / "r.html", n_loci=1)
    assert any("a list of edits" in note for note in summary["notes"])


def test_bad_input_says_what_and_leaves_nothing(folder, tmp_path):
    out = tmp_path / "report.html"
    other = read_estimates(folder / "mr.tsv").table
    for name, changed, message in (
        ("task", other.assign(exposure="Z"), "name the task 'Z'; the effects have X, Y"),
        ("locus", other.assign(locus="nowhere"), "name the locus 'nowhere'"),
    ):
        changed.to_csv(tmp_path / f"{name}.tsv", sep="\t", index=False)
        with pytest.raises(InputError, match=message):
            make(folder, out, estimates=tmp_path / f"{name}.tsv")
    with pytest.raises(InputError, match="no locus 'x' among the 12"):
        make(folder, out, locus=["x"])
    with pytest.raises(InputError, match="n_loci must be at least 0"):
        make(folder, out, n_loci=-1)
    (tmp_path / "truth.tsv").write_text("exposure\toutcome\nX\tY\n")
    with pytest.raises(InputError, match=r"truth\.tsv: true effects needs the column\(s\) beta"):
        make(folder, out, truth=tmp_path / "truth.tsv")
    assert not list(tmp_path.glob("*.html"))
    out.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        make(folder, out)
    assert out.read_text() == "mine"
    make(folder, out, overwrite=True, n_loci=0)
    assert out.read_text().startswith("<!doctype html>")


def test_without_any_estimate_the_page_says_why(folder, tmp_path):
    local, pooled = read_estimates(folder / "mr.tsv"), read_estimates(folder / "meta.tsv")
    local.table.iloc[:0].to_csv(tmp_path / "mr.tsv", sep="\t", index=False)
    pooled.table.iloc[:0].to_csv(tmp_path / "meta.tsv", sep="\t", index=False)
    skipped = local.table[["method", "exposure", "outcome", "locus"]].assign(reason="needs 50 instruments")
    skipped.to_csv(tmp_path / "mr.skipped.tsv", sep="\t", index=False)
    out = tmp_path / "report.html"
    report(folder / "effects.h5", estimates=tmp_path / "mr.tsv", meta=tmp_path / "meta.tsv", out=out, n_loci=0)
    page = out.read_text(encoding="utf-8")
    assert "No pair has a global effect" in page
    assert "needs 50 instruments" in page


def test_parts_with_files_of_their_own(folder, tmp_path):
    loci = loci_of(folder)
    (tmp_path / "spacing.tsv").write_text("locus\tdistance\n" + "".join(f"{n}\t{i}\n" for i, n in enumerate(loci)))
    row = "relative\t0.25\tX\tY\tivw\t2\t1.9\t2.1\t12\t150\tmodel\n"
    header = "rule\tthreshold\texposure\toutcome\tmethod\tbeta\tci_low\tci_high\tn_loci\tn_instruments\testimand\n"
    (tmp_path / "thresholds.tsv").write_text(header + row)
    (tmp_path / "network.tsv").write_text("exposure\toutcome\testimand\tbeta\nX\tY\tmodel\t2\n")
    files = {name: tmp_path / f"{name}.tsv" for name in ("spacing", "thresholds", "network")}
    make(folder, tmp_path / "report.html", n_loci=0, **files)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    places = [page.index(f'<section id="{name}"') for name in ("network", "spacing", "thresholds")]
    assert places == sorted(places)
    assert page.count('href="#spacing"') == 1
    assert "by distance (spacing.tsv)" in page


def test_parts_that_cannot_be_read_are_one_line(folder, tmp_path):
    (tmp_path / "bad.tsv").write_text("locus\tfar\na\t1\n")
    with pytest.raises(InputError, match=r"bad\.tsv: distances needs the column\(s\) distance"):
        make(folder, tmp_path / "r.html", spacing=tmp_path / "bad.tsv")
    with pytest.raises(InputError, match="needed the folder that deepmr diagnose wrote"):
        make(folder, tmp_path / "r.html", diagnostics=tmp_path / "bad.tsv")
    with pytest.raises(InputError, match="not a calibration on labelled edits"):
        make(folder, tmp_path / "r.html", labelled=folder / "calibration.json")
    assert not (tmp_path / "r.html").exists()
