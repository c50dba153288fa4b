"""`deepmr context`: effects that vary with contexts are found, shuffled ones are not, and contexts of edits refused."""

import json

import numpy as np
import pandas as pd
import pytest

from deepmr.commands.context import context
from deepmr.commands.context_effects import LocalEffects, join, permuted
from deepmr.errors import InputError
from deepmr.io.contexts import read_contexts
from deepmr.io.contextual_fits import read_fit
from deepmr.io.tables import read_table
from deepmr.simulate.contextual import simulate_context_effects

FILES = {"comparators.tsv", "loci.tsv", "curve.tsv", "skipped.tsv", "context.json", "fit"}
N = 48


def write(folder, *, n=N, seed=0):
    """Effects 1 + 4 (gap - 0.5)^2 of n loci with a context that matters, and one that does not."""
    rng = np.random.default_rng(seed)
    gap, gc = rng.uniform(0, 1, n), rng.uniform(0.3, 0.6, n)
    se = rng.uniform(0.05, 0.15, n)
    beta = 1 + 4 * (gap - 0.5) ** 2 + rng.normal(size=n) * se
    loci = [f"l{k:03d}" for k in range(n)]
    estimates = pd.DataFrame({"locus": loci, "exposure": "A", "outcome": "B", "beta": beta, "se": se})
    estimates.to_csv(folder / "mr.tsv", sep="\t", index=False)
    chrom = [f"chr{1 + k % 6}" for k in range(n)]
    table = pd.DataFrame({"locus": loci, "chrom": chrom, "gap": gap, "gc": gc, "length": 100})
    table.to_csv(folder / "f.tsv", sep="\t", index=False)
    return table, beta


def write_edits(folder, *, n=16, k=8, members=3):
    """Effects of edits on A and B by several members; the slope at each locus goes with its context."""
    rng = np.random.default_rng(1)
    gap = np.linspace(0, 1, n)
    rows = [
        {"locus": f"l{i:03d}", "variant_id": f"v{i}_{j}", "task": task, "member": f"m{m}", "beta": value}
        for i in range(n)
        for j in range(k)
        for a in [rng.choice([-1, 1]) * rng.uniform(0.5, 2)]
        for m in range(members)
        for task, value in [("A", a + 0.02 * rng.normal()), ("B", (1 + gap[i]) * a + 0.02 * rng.normal())]
    ]
    pd.DataFrame(rows).to_csv(folder / "edits.tsv", sep="\t", index=False)
    table = pd.DataFrame({"locus": [f"l{i:03d}" for i in range(n)], "gap": gap})
    table.to_csv(folder / "f.tsv", sep="\t", index=False)
    return gap


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("context")
    table, beta = write(folder)
    table.assign(gap=table["gap"] + 0.001).head(5).to_csv(folder / "new.tsv", sep="\t", index=False)
    summary = context(
        folder / "mr.tsv", context=folder / "f.tsv", out=folder / "out", folds=2, predict=folder / "new.tsv"
    )
    return folder / "out", summary, table, beta


def test_a_context_that_matters_is_found(found):
    out, summary, _, _ = found
    assert summary["verdict"].startswith("Evidence of contextual effects")
    assert {path.name for path in out.iterdir()} == FILES | {"report.html", "predictions.tsv"}
    record = json.loads((out / "context.json").read_text())
    assert record["contextual"] is True
    assert record["relevance"]["gap"] > 5 * record["relevance"]["gc"]
    assert set(record["inputs"]) == {"effects", "context", "predict"}
    assert record["held_out"]["note"].startswith("6 chromosomes")
    assert "length" in record["notes"][0]
    assert [row["method"] for row in summary["comparators"]] == ["fixed", "random", "linear", "clusters", "contextual"]


def test_the_curve_has_the_truth_in_its_bands(found):
    curve = pd.read_csv(found[0] / "curve.tsv", sep="\t")
    gap = curve[curve["context"] == "gap"]
    truth = 1 + 4 * (gap["value"] - 0.5) ** 2
    assert ((gap["band_low"] <= truth) & (truth <= gap["band_high"])).all()
    assert (gap["band_low"] < gap["ci_low"]).all()
    assert (gap["band_high"] > gap["ci_high"]).all()
    assert set(curve["context"]) == {"gap", "gc"}  # what does not vary has no curve


def test_loci_and_predictions_have_their_rows(found):
    out, _, table, beta = found
    loci = pd.read_csv(out / "loci.tsv", sep="\t")
    assert loci["locus"].tolist() == table["locus"].tolist()
    np.testing.assert_allclose(loci["beta"], beta)
    truth = 1 + 4 * (table["gap"] - 0.5) ** 2
    assert np.sqrt(((loci["own_beta"] - truth) ** 2).mean()) < 0.7 * np.sqrt(((loci["beta"] - truth) ** 2).mean())
    predictions = pd.read_csv(out / "predictions.tsv", sep="\t")
    assert len(predictions) == 5
    assert (predictions["pi_low"] < predictions["ci_low"]).all()


def test_the_fit_can_be_read_again(found):
    out, _, table, _ = found
    fit = read_fit(out / "fit")
    curve = pd.read_csv(out / "curve.tsv", sep="\t")
    gap = curve[curve["context"] == "gap"]
    points = np.column_stack([gap["value"], np.full(len(gap), table["gc"].median()), np.full(len(gap), 100.0)])
    np.testing.assert_allclose(fit.coefficients(points).mu[:, 0], gap["beta"], rtol=1e-6)


def test_the_page_begins_with_the_verdict_and_loads_nothing(found):
    page = (found[0] / "report.html").read_text()
    assert page.index("Evidence of contextual effects") < page.index("What a contextual effect has to beat")
    assert "http" not in page.split("<main>")[1].replace("http://www.w3.org", "")
    assert page.count("<figure>") == 4
    assert "--permute" in page


def test_contexts_of_other_loci_are_no_evidence(tmp_path):
    write(tmp_path)
    summary = context(
        tmp_path / "mr.tsv", context=tmp_path / "f.tsv", out=tmp_path / "out", shape="linear", folds=0, permute=3
    )
    assert summary["verdict"].startswith("No evidence of contextual effects")
    assert any(note.startswith("NEGATIVE CONTROL") for note in summary["notes"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "NEGATIVE CONTROL" in page
    assert "No evidence of contextual effects" in page


def test_permuted_loci_keep_nothing_of_their_own_contexts(tmp_path):
    """What members share is split along the contexts that loci are given: along the old ones it would tell them."""
    given = simulate_context_effects("linear", n_loci=60, n_new=0, n_contexts=3, n_members=4)
    given.contexts.head(50).to_csv(tmp_path / "f.tsv", sep="\t", index=False)
    table = read_contexts(tmp_path / "f.tsv")
    local = LocalEffects(estimates=given.estimates, instruments=None, chrom={})
    own, shuffled = (join(local, one, stage="two")[0] for one in (table, permuted(local, table, seed=1)))
    assert own.chrom == shuffled.chrom
    np.testing.assert_array_equal(own.beta, shuffled.beta)
    np.testing.assert_allclose(np.sort(own.contexts, axis=0), np.sort(shuffled.contexts, axis=0))
    assert (own.contexts != shuffled.contexts).mean() > 0.9
    basis = np.column_stack([np.ones(50), shuffled.contexts])
    left = np.linalg.lstsq(basis, shuffled.error_factors.T, rcond=None)[1]
    assert left.sum() < 1e-12 * (shuffled.error_factors**2).sum()


@pytest.mark.parametrize("stage", ["two", "one"])
def test_effects_of_edits_in_two_stages_and_in_one(tmp_path, stage):
    gap = write_edits(tmp_path)
    summary = context(
        tmp_path / "edits.tsv", context=tmp_path / "f.tsv", out=tmp_path / "out", exposure="A", outcome="B",
        stage=stage, shape="linear", folds=0, page=False, egger=True, sensitivity=stage == "two",
    )  # fmt: skip
    assert summary["verdict"].startswith("Evidence")
    curve = pd.read_csv(tmp_path / "out" / "curve.tsv", sep="\t")
    np.testing.assert_allclose(curve["beta"], 1 + curve["value"], atol=0.05)
    egger = pd.read_csv(tmp_path / "out" / "egger.tsv", sep="\t")
    np.testing.assert_allclose(egger["beta"], 1 + egger["value"], atol=0.1)
    assert len(gap) == summary["loci"]
    assert (tmp_path / "out" / "sensitivity.tsv").exists() == (stage == "two")


def test_loci_without_contexts_are_listed(tmp_path):
    table, _ = write(tmp_path)
    table.loc[3, "gap"] = np.nan
    table.iloc[:-2].to_csv(tmp_path / "f.tsv", sep="\t", index=False)
    summary = context(
        tmp_path / "mr.tsv", context=tmp_path / "f.tsv", out=tmp_path / "out", shape="constant", folds=0, page=False
    )
    assert summary["loci"] == N - 3
    skipped = read_table(tmp_path / "out" / "skipped.tsv")
    assert skipped["locus"].tolist() == ["l003", f"l{N - 2:03d}", f"l{N - 1:03d}"]
    assert skipped["reason"].tolist()[:2] == ["no value of context 'gap'", "no row in the table of contexts"]


def bad(folder, **options):
    given = {"context": folder / "f.tsv", "out": folder / "out", "folds": 0} | options
    context(given.pop("effects", folder / "mr.tsv"), **given)


def test_contexts_from_edits_are_refused(tmp_path):
    write(tmp_path)
    with pytest.raises(InputError, match="contexts and effects are one file"):
        bad(tmp_path, context=tmp_path / "mr.tsv")
    (tmp_path / "f.tsv.json").write_text(json.dumps({"command": "seqlets", "inputs": {"effects": {}}}))
    with pytest.raises(InputError, match="was made from edits, by deepmr seqlets"):
        bad(tmp_path)
    (tmp_path / "f.tsv.json").unlink()
    with pytest.raises(InputError, match=r"effects.h5: holds effects of edits"):
        bad(tmp_path, context=tmp_path / "effects.h5")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"columns": ["gab"]}, "did you mean 'gap'"),
        ({"folds": 1}, "--folds must be 0, for none, or at least 2"),
        ({"stage": "one"}, "--stage one starts from instruments"),
        ({"egger": True}, "--egger starts from instruments"),
        ({"exposure": "C"}, "there is no exposure 'C'; it has A"),
        ({"level": 1.5}, "level"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path, options, says):
    write(tmp_path)
    with pytest.raises(InputError, match=says):
        bad(tmp_path, **options)
    assert not (tmp_path / "out").exists()


def test_a_table_of_several_pairs_asks_which(tmp_path):
    write(tmp_path)
    one = pd.read_csv(tmp_path / "mr.tsv", sep="\t")
    both = pd.concat([one, one.assign(exposure="B", outcome="A")])
    both.to_csv(tmp_path / "mr.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="has several of exposure: A, B; pick one by --exposure"):
        bad(tmp_path)
    one.assign(locus="*").head(1).to_csv(tmp_path / "mr.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="has pooled effects alone"):
        bad(tmp_path)


def test_a_result_is_not_replaced_unasked(tmp_path):
    write(tmp_path)
    how = {"shape": "constant", "page": False}
    bad(tmp_path, **how)
    with pytest.raises(InputError, match="pass --overwrite"):
        bad(tmp_path, **how)
    bad(tmp_path, **how, overwrite=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("")
    with pytest.raises(InputError, match=r"has no context.json; it is left alone"):
        bad(tmp_path, out=tmp_path / "other", overwrite=True)


def test_a_category_not_seen_is_told_before_the_fit(tmp_path):
    table, _ = write(tmp_path)
    table["cell"] = ["K562", "HepG2"] * (N // 2)
    table.to_csv(tmp_path / "f.tsv", sep="\t", index=False)
    table.assign(cell="HAP1").head(2).to_csv(tmp_path / "new.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="'HAP1' was not among the categories that the fit has seen, HepG2, K562"):
        bad(tmp_path, predict=tmp_path / "new.tsv")


def test_contexts_that_do_not_vary_are_nothing_to_go_with(tmp_path):
    table, _ = write(tmp_path)
    table.assign(gap=1.0, gc=0.5).to_csv(tmp_path / "f.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="no context varies over the 48 loci with effects"):
        bad(tmp_path)


def test_units_of_contexts_do_not_matter(tmp_path):
    table, _ = write(tmp_path)
    how = {"shape": "linear", "page": False, "overwrite": True}
    bad(tmp_path, **how)
    first = pd.read_csv(tmp_path / "out" / "curve.tsv", sep="\t")
    table.assign(gap=1e9 * table["gap"] + 3e9, gc=1e-9 * table["gc"]).to_csv(tmp_path / "f.tsv", sep="\t", index=False)
    bad(tmp_path, **how)
    again = pd.read_csv(tmp_path / "out" / "curve.tsv", sep="\t")
    np.testing.assert_allclose(again[["beta", "ci_low"]], first[["beta", "ci_low"]], rtol=1e-4)


def test_more_contexts_than_loci_can_be_fitted(tmp_path):
    table, _ = write(tmp_path, n=12)
    rng = np.random.default_rng(0)
    more = pd.DataFrame(rng.normal(size=(12, 15)), columns=[f"c{k}" for k in range(15)])
    pd.concat([table, more], axis=1).to_csv(tmp_path / "f.tsv", sep="\t", index=False)
    bad(tmp_path, shape="linear", page=False)
    methods = pd.read_csv(tmp_path / "out" / "comparators.tsv", sep="\t")["method"].tolist()
    assert methods == ["fixed", "random", "clusters", "contextual"]  # a plane in 17 contexts needs 20 loci


def test_many_contexts_have_the_most_relevant_curves_alone_and_no_plane(tmp_path, recwarn, monkeypatch):
    monkeypatch.setattr("deepmr.commands.context_analysis.MOST_CURVES", 2)
    table, _ = write(tmp_path)
    noise = pd.DataFrame(np.random.default_rng(0).normal(size=(N, 120))).add_prefix("c")
    pd.concat([table, noise], axis=1).to_csv(tmp_path / "f.tsv", sep="\t", index=False)
    out = tmp_path / "out"
    summary = context(tmp_path / "mr.tsv", context=tmp_path / "f.tsv", out=out, shape="linear", folds=0)
    assert pd.read_csv(out / "curve.tsv", sep="\t")["context"].nunique() == 2
    assert "Curves are of the 2 most relevant of 122 contexts." in summary["notes"]
    assert any(note.startswith("The linear meta-regression is left out") for note in summary["notes"])
    assert "The 2 most relevant of 122." in (out / "report.html").read_text()
    assert [(one.filename, one.lineno) for one in recwarn if "fragmented" in str(one.message)] == []


def test_contextual_egger_that_cannot_be_told_costs_nothing_else(tmp_path, monkeypatch):
    write_edits(tmp_path)

    def refuse(*_, **__):
        raise InputError("no slopes are told")

    monkeypatch.setattr("deepmr.commands.context.fit_contextual_egger", refuse)
    summary = context(
        tmp_path / "edits.tsv", context=tmp_path / "f.tsv", out=tmp_path / "out", exposure="A", outcome="B",
        shape="linear", folds=0, page=False, egger=True,
    )  # fmt: skip
    assert "Contextual MR-Egger is left out: no slopes are told." in summary["notes"]
    assert not (tmp_path / "out" / "egger.tsv").exists()


def test_names_of_loci_that_never_match_are_shown(tmp_path):
    table, _ = write(tmp_path)
    table.assign(locus="chr1:" + table["locus"]).to_csv(tmp_path / "f.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="effects are of loci such as 'l000', contexts of 'chr1:l000'"):
        context(tmp_path / "mr.tsv", context=tmp_path / "f.tsv", out=tmp_path / "out")


def test_further_loci_that_lack_a_value_are_named(tmp_path):
    table, _ = write(tmp_path)
    new = table.head(3).copy()
    new.loc[1, "gap"] = np.nan
    new.to_csv(tmp_path / "new.tsv", sep="\t", index=False)
    summary = context(
        tmp_path / "mr.tsv", context=tmp_path / "f.tsv", out=tmp_path / "out", shape="constant", folds=0, page=False,
        predict=tmp_path / "new.tsv",
    )  # fmt: skip
    assert "1 of 3 loci in new.tsv are not predicted; l001: no value of context 'gap'." in summary["notes"]
    assert len(pd.read_csv(tmp_path / "out" / "predictions.tsv", sep="\t")) == 2


def test_a_context_that_follows_from_others_is_named_and_equal_errors_warn_of_nothing(tmp_path, recwarn):
    table, _ = write(tmp_path)
    table.assign(twice=2 * table["gap"] + 1).to_csv(tmp_path / "f.tsv", sep="\t", index=False)
    estimates = pd.read_csv(tmp_path / "mr.tsv", sep="\t")
    estimates.assign(se=0.1).to_csv(tmp_path / "mr.tsv", sep="\t", index=False)
    options = {"context": tmp_path / "f.tsv", "shape": "constant", "folds": 0, "page": False}
    notes = context(tmp_path / "mr.tsv", out=tmp_path / "out", **options)["notes"]
    assert "The linear meta-regression is left out: contexts follow from each other; leave out twice." in notes
    assert [one for one in recwarn if "constant" in str(one.message)] == []
