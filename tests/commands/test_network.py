"""More than two tasks: assigned instruments, direct effects and networks, from a table of effects to a graph."""

import json

import numpy as np
import pandas as pd
import pytest

from deepmr.cli import execute
from deepmr.commands.meta import meta
from deepmr.commands.mr import mr
from deepmr.commands.network import network
from deepmr.commands.record import UNASSIGNED, recorded_assignment, unassigned, warnings_beside
from deepmr.commands.report import report
from deepmr.commands.thresholds import thresholds
from deepmr.errors import InputError
from deepmr.inference import false_discovery
from deepmr.io.provenance import file_sha256
from deepmr.io.tables import read_estimates, read_table

TASKS = ("A", "B", "C")
N_LOCI, MEMBERS, SIGNS = 12, 5, (1.0, -1.0, 0.8, -0.8)


@pytest.fixture(scope="module")
def effects(tmp_path_factory):
    """Effects of edits where A acts on B by 2 and B on C by 0.5, up to the noise of members."""
    rng = np.random.default_rng(0)
    one = np.concatenate([np.outer(SIGNS, row) for row in ([1, 2, 1], [0, 2, 1], [0, 0, 1], [0, 0, 0])])
    loci = np.repeat([f"l{i:02d}" for i in range(N_LOCI)], len(one))
    effect = np.tile(one, (N_LOCI, 1))[None] + 0.02 * rng.normal(size=(MEMBERS, len(loci), 3))
    path = tmp_path_factory.mktemp("chain") / "effects.npz"
    np.savez(path, effect=effect.astype(np.float32), tasks=np.array(TASKS), locus=loci)
    return path


@pytest.fixture(scope="module")
def assigned(effects):
    path = effects.with_name("mr.tsv")
    return mr(effects, out=path, method=["ivw", "wald"], assign="most"), path


def rows_of(path, method="ivw"):
    table = read_estimates(path).table
    return table[table["method"] == method].groupby(["exposure", "outcome"])["beta"].mean()


def test_a_reverse_effect_is_one_of_shared_edits(effects, assigned):
    summary, path = assigned
    mr(effects, out=effects.with_name("any.tsv"), method=["ivw"])
    before, after = rows_of(effects.with_name("any.tsv")), rows_of(path)
    assert before["B", "A"] > 0.15
    assert abs(after["B", "A"]) < 0.01
    assert abs(after["C", "A"]) < 0.01
    assert after["A", "B"] == pytest.approx(2, abs=0.05)
    assert after["A", "C"] == pytest.approx(1, abs=0.05)
    lost = {(row["exposure"], row["outcome"]): row["of_other_tasks"] for row in summary["assigned"]}
    assert lost == {
        ("A", "B"): 0, ("A", "C"): 0, ("B", "A"): 48, ("B", "C"): 48, ("C", "A"): 96, ("C", "B"): 96,
    }  # fmt: skip


def test_direct_effects_with_the_other_tasks_as_further_exposures(effects, tmp_path):
    options = {"multivariable": True, "assign": "most", "method": ["mv_equal", "mv_ivw"]}
    summary = mr(effects, out=tmp_path / "mv.tsv", save_instruments=tmp_path / "i.tsv", **options)
    table = read_estimates(tmp_path / "mv.tsv")
    assert table.error_factors.shape[0] == MEMBERS
    assert (table.table["n_exposures"] == 2).all()
    assert table.table["conditional_f"].notna().all()
    meta(tmp_path / "mv.tsv", out=tmp_path / "pooled.tsv")
    pooled = rows_of(tmp_path / "pooled.tsv", "mv_equal")
    assert pooled["A", "C"] == pytest.approx(0, abs=0.03)
    assert pooled["B", "C"] == pytest.approx(0.5, abs=0.03)
    assert pooled["A", "B"] == pytest.approx(2, abs=0.03)
    assert pooled["B", "A"] == pytest.approx(0, abs=0.03)
    assert any(line.startswith("outcome A: 48 of") for line in summary["assigned"])
    assert "beta_exposure_A" in read_table(tmp_path / "i.tsv")


def test_direct_effects_of_two_exposures_and_one_outcome(effects, tmp_path):
    options = {"multivariable": True, "exposure": ["A", "B"], "outcome": ["C"], "min_instruments": 9}
    with pytest.raises(InputError, match="needs at least two exposures"):
        mr(effects, out=tmp_path / "mv.tsv", **{**options, "exposure": ["A"]})
    summary = mr(effects, out=tmp_path / "mv.tsv", **{**options, "min_instruments": 3})
    assert {row["exposure"] for row in summary["direct_effects"]} == {"A", "B"}
    for name, value in (("split_members", True), ("bootstrap", effects), ("interval", "mean")):
        with pytest.raises(InputError, match="does not go with --multivariable"):
            mr(effects, out=tmp_path / "o.tsv", **options, **{name: value})
    with pytest.raises(InputError, match="one or the other"):
        mr(effects, out=tmp_path / "o.tsv", split_members=True, assign="most")


def test_false_discovery_rate_over_pairs(assigned, tmp_path):
    meta(assigned[1], out=tmp_path / "pooled.tsv")
    table = read_estimates(tmp_path / "pooled.tsv").table
    for method, rows in table.groupby("method"):
        np.testing.assert_allclose(rows["fdr"], false_discovery(rows["pvalue"].to_numpy()), err_msg=method)
    meta(assigned[1], out=tmp_path / "by.tsv", adjust="by")
    assert (read_estimates(tmp_path / "by.tsv").table["fdr"] >= table["fdr"]).all()


@pytest.mark.parametrize("options", [[], ["--estimator", "sparse", "--n-draws", "60"], ["--uncertainty", "draws"]])
def test_network_from_loci_by_the_command_line(assigned, tmp_path, capsys, options):
    out, figure = tmp_path / "n.tsv", tmp_path / "n.svg"
    files = ["--out", str(out), "--save-figure", str(figure)]
    assert execute(["--json", "network", str(assigned[1]), *files, *options]) == 0
    summary = json.loads(capsys.readouterr().out)
    edges = {(row["exposure"], row["outcome"]): row["edge"] for row in summary["effects"]}
    assert {pair for pair, edge in edges.items() if edge == "direct"} == {("A", "B"), ("B", "C")}
    assert edges["A", "C"] == "total"
    (said,) = [said for said in summary["findings"] if said.startswith("A → C: total effect ")]
    assert "none is shown to be direct" in said
    table = pd.read_csv(out, sep="\t")
    assert len(table) == 6
    assert summary["method"] == "ivw"
    assert b"<svg" in figure.read_bytes()
    assert json.loads(out.with_name("n.tsv.json").read_text())["command"]


def test_network_from_pooled_effects(assigned, tmp_path):
    meta(assigned[1], out=tmp_path / "pooled.tsv")
    summary = network(tmp_path / "pooled.tsv", out=tmp_path / "n.tsv", method="wald")
    assert summary["method"] == "wald"
    with pytest.raises(InputError, match="wald"):
        network(tmp_path / "pooled.tsv", out=tmp_path / "o.tsv", method="egger")


def test_loci_without_every_pair_are_left_out_or_refused(assigned, tmp_path):
    table = pd.read_csv(assigned[1], sep="\t")
    few = table[(table["exposure"] != "C") | (table["locus"] < "l02")]
    few.to_csv(tmp_path / "few.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="2 of 12 loci have an effect of every pair; needed 3"):
        network(tmp_path / "few.tsv", out=tmp_path / "n.tsv")
    network(tmp_path / "few.tsv", out=tmp_path / "n.tsv", loci="own")
    lacking = table[(table["exposure"] != "C") | (table["outcome"] != "A")]
    lacking.to_csv(tmp_path / "lacking.tsv", sep="\t", index=False)
    summary = network(tmp_path / "lacking.tsv", out=tmp_path / "two.tsv")
    assert len(summary["effects"]) == 2
    assert summary["skipped"][0]["reason"].startswith("there is no total effect of C on A")


def test_the_page_draws_the_network_and_says_what_is_direct(effects, assigned, tmp_path):
    meta(assigned[1], out=tmp_path / "meta.tsv")
    network(assigned[1], out=tmp_path / "network.tsv")
    report(
        effects, estimates=assigned[1], meta=tmp_path / "meta.tsv", network=tmp_path / "network.tsv",
        out=tmp_path / "report.html", n_loci=0,
    )  # fmt: skip
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    part = page[page.index('<section id="network"') :].partition("</section>")[0]
    assert "Graph of the effects between A, B, C." in part
    assert "A → B: direct effect in the model " in part
    assert "none is shown to be direct" in part
    assert part.count("<svg") == 1
    assert part.count("<tr>") == 7
    assert "total only" in part


@pytest.fixture(scope="module")
def loose(effects):
    """Estimates, pooled effects and a network of A and B where every strong edit serves both."""
    paths = [effects.with_name(f"loose_{name}.tsv") for name in ("mr", "meta", "network")]
    mr(effects, out=paths[0], exposure=["A", "B"], outcome=["A", "B"], method=["ivw"])
    meta(paths[0], out=paths[1])
    return (*paths, network(paths[0], out=paths[2]))


def test_estimates_without_assignment_are_warned_of_first(loose, assigned, tmp_path):
    estimates, pooled, made, summary = loose
    assert next(iter(summary)) == "warnings"
    assert summary["warnings"] == [UNASSIGNED]
    assert "--assign most" in UNASSIGNED
    assert next(iter(json.loads(made.with_name(made.name + ".json").read_text()))) == "warnings"
    assert list(warnings_beside(made).values()) == [UNASSIGNED]
    assert network(pooled, out=tmp_path / "pooled.tsv")["warnings"] == [UNASSIGNED]
    assert "warnings" not in network(assigned[1], out=tmp_path / "assigned.tsv")
    meta(assigned[1], out=tmp_path / "meta.tsv")
    assert "warnings" not in network(tmp_path / "meta.tsv", out=tmp_path / "other.tsv")
    bare = tmp_path / "bare.tsv"
    bare.write_bytes(estimates.read_bytes())
    assert "warnings" not in network(bare, out=tmp_path / "unknown.tsv")


def test_feedback_is_not_said_of_edits_that_serve_both(loose, tmp_path):
    estimates, _, _, summary = loose
    assert sum(row["edge"] == "direct" for row in summary["effects"]) == 2
    assert not any("Feedback" in said for said in summary["findings"])
    (said,) = [said for said in summary["findings"] if "both directions come out" in said]
    assert said.startswith("Between A and B ")
    assert any(said.startswith("With two marks nothing can be mediated") for said in summary["findings"])
    bare = tmp_path / "bare.tsv"
    bare.write_bytes(estimates.read_bytes())
    assert "Feedback: A, B act on each other." in network(bare, out=tmp_path / "n.tsv")["findings"]


def test_gwas_results_have_no_assignment():
    assert recorded_assignment({}) == {}
    assert unassigned({"options": {"assign": "none"}, "inputs": {"exposure_1": {}, "outcome_1": {}}}) == {}
    assert recorded_assignment({"options": {"assign": "most"}, "inputs": {"effects": {}}}) == {"assign": "most"}
    assert recorded_assignment({"inputs": {"estimates": {}}, "assign": "steiger"}) == {"assign": "steiger"}


def section_of(path):
    page = path.read_text(encoding="utf-8")
    return page[page.index('<section id="network"') :].partition("</section>")[0]


def test_the_page_warns_first_and_sets_diagnostics_beside_the_network(effects, loose, tmp_path):
    estimates, pooled, made, _ = loose
    (tmp_path / "diagnostics").mkdir()
    verdicts = [
        {"exposure": cause, "outcome": consequence, "estimand": "model", "judgement": judgement, "findings": []}
        for cause, consequence, judgement in (("A", "B", "supported"), ("B", "A", "not supported"))
    ]
    inputs = {"estimates": {"path": "mr.tsv", "sha256": file_sha256(estimates)}}
    verdict = {"verdicts": verdicts, "said": ["A and B: one direction only."], "provenance": {"inputs": inputs}}
    (tmp_path / "diagnostics" / "verdict.json").write_text(json.dumps(verdict))
    summary = report(
        effects, estimates=estimates, meta=pooled, network=made, diagnostics=tmp_path / "diagnostics",
        out=tmp_path / "report.html", n_loci=0,
    )  # fmt: skip
    part = section_of(tmp_path / "report.html")
    assert part.index("--assign none") < part.index("A → B: direct effect")
    assert part.count("--assign none") == 1
    (edge,) = [said for said in part.split("<p>") if said.startswith("B → A: direct effect")]
    assert "the diagnostics on this page do not support it." in edge
    assert "B → A: the diagnostics on this page do not support it." in part.partition("<figcaption>")[2]
    assert "<td>not supported</td>" in part
    assert "With two marks nothing can be mediated" in part
    assert not any("run deepmr" in note for note in summary["notes"])


def test_a_network_made_before_such_warnings_gets_one(effects, loose, tmp_path):
    estimates, pooled, made, _ = loose
    old = tmp_path / "network.tsv"
    old.write_bytes(made.read_bytes())
    record = json.loads(made.with_name(made.name + ".json").read_text())
    old.with_name("network.tsv.json").write_text(json.dumps({"inputs": record["inputs"]}))
    report(effects, estimates=estimates, meta=pooled, network=old, out=tmp_path / "report.html", n_loci=0)
    assert "--assign none" in section_of(tmp_path / "report.html")


def test_parts_of_other_estimates_or_effects_are_noticed(effects, loose, assigned, tmp_path):
    meta(assigned[1], out=tmp_path / "meta.tsv")
    (tmp_path / "diagnostics").mkdir()
    elsewhere = {"estimates": {"sha256": "0"}, "effects": {"sha256": "0"}}
    content = {"verdicts": [], "said": [], "provenance": {"inputs": elsewhere}}
    (tmp_path / "diagnostics" / "verdict.json").write_text(json.dumps(content))
    thresholds(effects, out=tmp_path / "thresholds.tsv", exposure=["A"], outcome=["B"], grid=["relative=0.05,0.5"])
    options = {"estimates": assigned[1], "meta": tmp_path / "meta.tsv", "network": loose[2], "n_loci": 0}
    options |= {"diagnostics": tmp_path / "diagnostics", "thresholds": tmp_path / "thresholds.tsv"}
    notes = "\n".join(report(effects, out=tmp_path / "report.html", **options)["notes"])
    assert "The network (loose_network.tsv) was made from another table of estimates" in notes
    assert "The diagnostics (diagnostics) are of another table of estimates" in notes
    assert "The thresholds" not in notes
    (tmp_path / "thresholds.tsv.json").write_text(json.dumps({"inputs": elsewhere}))
    network(tmp_path / "meta.tsv", out=tmp_path / "network.tsv")  # of the page's pooled effects: as good
    options |= {"network": tmp_path / "network.tsv", "diagnostics": None}
    notes = report(effects, out=tmp_path / "report.html", overwrite=True, **options)["notes"]
    (said,) = [note for note in notes if "run deepmr" in note]
    assert said.startswith("The thresholds (thresholds.tsv) were tried on other effects")
