"""More than two tasks: assigned instruments, direct effects and networks, from a table of effects to a graph."""

import json

import numpy as np
import pandas as pd
import pytest

from deepmr.cli import execute
from deepmr.commands.meta import meta
from deepmr.commands.mr import mr
from deepmr.commands.network import network
from deepmr.commands.report import report
from deepmr.errors import InputError
from deepmr.inference import false_discovery
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
