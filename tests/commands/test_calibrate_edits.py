"""`deepmr calibrate --labelled-edits` and what `deepmr mr` makes of it, on linear ensembles that share an error."""

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepmr.cli import build_app
from deepmr.commands.calibrate import calibrate
from deepmr.commands.diagnose import diagnose
from deepmr.commands.ism import ism
from deepmr.commands.meta import meta
from deepmr.commands.mr import mr
from deepmr.commands.report import report
from deepmr.errors import InputError
from deepmr.io.effects import open_effects
from deepmr.io.labelled_calibration import read_any_calibration, read_labelled_calibration
from deepmr.io.tables import read_estimates
from deepmr.labelled import LabelledCalibration
from tests.commands.linear import SLOPE, write_fasta, write_linear, write_two_sites

TRUE = SLOPE + 0.3  # the ensemble has learned SLOPE
NOISE = 0.3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An ensemble, effects of labelled and of other loci, and a table of labelled edits whose slope is another."""
    path = tmp_path_factory.mktemp("labels")
    write_linear(path / "ensemble")
    common = {"device": "cpu", "trust_code": True}
    for name, n, seed in (("labelled", 30, 1), ("target", 20, 2)):
        write_fasta(path / f"{name}.fa", n, seed=seed)
        ism(model=path / "ensemble", fasta=path / f"{name}.fa", out=path / f"{name}.h5", **common)
    label(path / "labelled.h5", path / "edits.tsv")
    return path


def label(effects, out, *, as_predicted=False):
    """Measure edits of the sites: x as predicted, y = TRUE x, each with noise, beside one noisy reference a locus.

    as_predicted: y as predicted too, and edits that move either.
    """
    rng = np.random.default_rng(1)
    with open_effects(effects) as file:
        (block,) = file.blocks(1000)
    predicted = block.delta.mean(axis=0)
    x = predicted[:, 0]
    chosen = np.flatnonzero(np.abs(predicted).max(axis=1) > 2 if as_predicted else np.abs(x) > 2)
    variants = block.variants.iloc[chosen].astype({"locus": str})
    home = pd.factorize(variants["locus"])[0]
    true = predicted[chosen] if as_predicted else np.column_stack([x[chosen], TRUE * x[chosen]])
    reference = 5 + NOISE * rng.normal(size=(home.max() + 1, 2))
    value = 5 + true + NOISE * rng.normal(size=true.shape)
    parts = [
        variants[["locus", "offset", "other_allele", "effect_allele"]].assign(
            task=task, value=value[:, k], se=NOISE, reference_value=reference[home, k], se_reference=NOISE, kind="all"
        )
        for k, task in enumerate(("X", "Y"))
    ]
    pd.concat(parts).to_csv(out, sep="\t", index=False)


def run(folder, tmp_path, **options):
    given = {"effects": folder / "labelled.h5", "labelled_edits": folder / "edits.tsv", "out": tmp_path / "labels.json"}
    return calibrate(**given | options)


def test_shared_error_is_found_and_removed(folder, tmp_path):
    summary = run(folder, tmp_path)
    row = next(row for row in summary["pairs"] if (row["exposure"], row["method"]) == ("X", "ivw"))
    assert row["shift"] == pytest.approx(0.3, abs=0.05)
    assert row["loci"] == 30
    assert "doubling the labelled loci" in summary["worth"][0]
    assert all((tmp_path / name).read_bytes()[:4] == b"\x89PNG" for name in ("labels.png", "labels.worth.png"))
    found = read_any_calibration(tmp_path / "labels.json")
    assert isinstance(found, LabelledCalibration)
    assert len(found.digests) == len(found.loci) == 30
    content = json.loads((tmp_path / "labels.json").read_text())
    assert set(content["provenance"]["inputs"]) == {"labelled_edits", "effects"}

    said = mr(folder / "target.h5", out=tmp_path / "mr.tsv", calibration=[tmp_path / "labels.json"])
    assert said["estimand"] == "model, and calibrated beside it"
    assert said["calibrated"][0]["median_calibrated"] == pytest.approx(TRUE, abs=0.06)
    both = read_estimates(tmp_path / "mr.tsv")
    assert (both.table["estimand"] == "calibrated").mean() == 0.5
    meta(tmp_path / "mr.tsv", out=tmp_path / "meta.tsv")
    pooled = read_estimates(tmp_path / "meta.tsv").table
    rows = pooled[(pooled["exposure"] == "X") & (pooled["method"] == "ivw")].set_index("estimand")
    assert rows.loc["calibrated", "ci_low"] < TRUE < rows.loc["calibrated", "ci_high"]
    assert not rows.loc["model", "ci_low"] < TRUE < rows.loc["model", "ci_high"]


def test_without_an_effects_file_the_labelled_loci_are_mutated(folder, tmp_path):
    run(folder, tmp_path)
    model = {"model": folder / "ensemble", "fasta": folder / "labelled.fa", "device": "cpu", "trust_code": True}
    run(folder, tmp_path, effects=None, **model, out=tmp_path / "other.json")
    first, second = (read_labelled_calibration(tmp_path / name) for name in ("labels.json", "other.json"))
    assert first.digests == second.digests
    assert first.members == second.members
    assert first.pairs[0].shift == pytest.approx(second.pairs[0].shift, abs=1e-4)


def test_written_and_read_are_the_same(folder, tmp_path):
    run(folder, tmp_path, method=["ivw"])
    found = read_labelled_calibration(tmp_path / "labels.json")
    assert [pair.key for pair in found.pairs] == [("ivw", "X", "Y"), ("ivw", "Y", "X")]
    assert found.selection["rule"] == "relative"
    assert found.pairs[0].applied == pytest.approx(found.pairs[0].shrink * found.pairs[0].shift)


def test_labelled_loci_are_not_analysed(folder, tmp_path):
    run(folder, tmp_path)
    with pytest.raises(InputError, match="30 of 30 loci were used for the calibration"):
        mr(folder / "labelled.h5", out=tmp_path / "mr.tsv", calibration=[tmp_path / "labels.json"])


def test_methods_and_selections_that_were_not_calibrated_are_said(folder, tmp_path, caplog):
    run(folder, tmp_path, method=["ivw"])
    with caplog.at_level(logging.WARNING):
        mr(folder / "target.h5", out=tmp_path / "mr.tsv", calibration=[tmp_path / "labels.json"], threshold=0.5)
    text = caplog.text
    assert text.count("stay effects in the model") == 1
    assert "egger, wald (X on Y, Y on X) stay effects in the model: the calibration has none of them" in text
    assert "threshold is 0.5 here and was 0.25 when the labelled edits calibrated" in text


def test_two_calibrations_of_one_kind(folder, tmp_path):
    run(folder, tmp_path)
    twice = [tmp_path / "labels.json", tmp_path / "labels.json"]
    with pytest.raises(InputError, match="both calibrations on labelled edits; needed one"):
        mr(folder / "target.h5", out=tmp_path / "mr.tsv", calibration=twice)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chrom": ["chr1"]}, "--chrom is for calibrating levels; with --labelled-edits"),
        ({"sample": 0}, "sample must be at least 1"),
        ({"sample": 31}, r"has labels at 30 loci; cannot draw 31 of them \(--sample\)"),
        ({"effects": None}, "needed predicted effects of the labelled loci: --effects, or --model and --fasta"),
        ({"model": "ensemble"}, "--model and --fasta go without it"),
        ({"method": ["nonsense"]}, "method must be one of"),
        ({"rule": "motif"}, "motif"),
        ({"where": "kind=none"}, "no labelled edit has kind=none"),
    ],
)
def test_options_that_do_not_go_together(folder, tmp_path, options, message):
    options = {name: folder / value if name == "model" else value for name, value in options.items()}
    with pytest.raises(InputError, match=message):
        run(folder, tmp_path, **options)
    assert not (tmp_path / "labels.json").exists()


def test_options_of_labels_without_labels(folder, tmp_path):
    with pytest.raises(InputError, match="--effects is for calibrating on --labelled-edits"):
        calibrate(effects=folder / "labelled.h5", out=tmp_path / "c.json")
    with pytest.raises(InputError, match="needed --model, --fasta, --targets; or --labelled-edits"):
        calibrate(out=tmp_path / "c.json")


def test_labels_for_one_task_only(folder, tmp_path):
    with pytest.raises(InputError, match="has labels for X only"):
        run(folder, tmp_path, where="task=X")


def test_another_ensemble_is_refused(folder, tmp_path):
    run(folder, tmp_path)
    content = json.loads((tmp_path / "labels.json").read_text())
    content["members"] = ["0" * 64] * 5
    (tmp_path / "labels.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="made with another ensemble"):
        mr(folder / "target.h5", out=tmp_path / "mr.tsv", calibration=[tmp_path / "labels.json"])


def test_files_that_are_no_calibration(folder, tmp_path):
    run(folder, tmp_path)
    content = json.loads((tmp_path / "labels.json").read_text())
    for change, message in (
        ({"format": "other"}, "not a calibration"),
        ({"version": 9}, "calibration of version 9"),
        ({"pairs": [{}]}, "without 'method'"),
    ):
        (tmp_path / "bad.json").write_text(json.dumps(content | change))
        with pytest.raises(InputError, match=message):
            read_labelled_calibration(tmp_path / "bad.json")


def test_a_sample_of_the_labelled_loci(folder, tmp_path):
    few = run(folder, tmp_path, sample=10)
    assert {row["loci"] for row in few["pairs"]} == {10}
    drawn = read_labelled_calibration(tmp_path / "labels.json")
    assert len(drawn.loci) == 10
    assert json.loads((tmp_path / "labels.json").read_text())["provenance"]["seed"] == 0
    run(folder, tmp_path, sample=10, seed=1, overwrite=True)
    assert read_labelled_calibration(tmp_path / "labels.json").loci != drawn.loci


def test_labelled_loci_unlike_those_analysed_are_said_wherever_the_effects_go(folder, tmp_path, caplog):
    run(folder, tmp_path)
    content = json.loads((tmp_path / "labels.json").read_text())
    for pair in content["pairs"]:
        pair["slope"] = [3 * one for one in pair["slope"]]
    (tmp_path / "unlike.json").write_text(json.dumps(content))
    with caplog.at_level(logging.WARNING):
        mr(folder / "target.h5", out=tmp_path / "mr.tsv", calibration=[tmp_path / "unlike.json"])
    assert "the labelled loci are unlike those analysed" in caplog.text
    warned = json.loads((tmp_path / "mr.tsv.json").read_text())["warnings"]
    recorded = [one["sentence"] for one in warned]
    assert recorded[0].startswith("X → Y (ivw, egger, wald): the labelled loci are unlike those analysed")
    assert meta(tmp_path / "mr.tsv", out=tmp_path / "meta.tsv")["findings"][: len(recorded)] == recorded
    assert json.loads((tmp_path / "meta.tsv.json").read_text())["warnings"] == warned
    given = {"estimates": tmp_path / "mr.tsv", "meta": tmp_path / "meta.tsv"}
    page = report(folder / "target.h5", **given, labelled=tmp_path / "unlike.json", out=tmp_path / "r.html", n_loci=0)
    assert page["notes"][: len(recorded)] == recorded
    assert "doubtful: the labelled loci are unlike those analysed" in page["verdict"][0]
    judged = diagnose(folder / "target.h5", **given, out=tmp_path / "d", n_draws=19, figures="none")
    assert judged["verdict"][-len(recorded) :] == recorded
    assert {row["estimand"] for row in judged["pairs"]} == {"model", "calibrated"}


def test_edits_assigned_otherwise_are_refused(folder, tmp_path):
    run(folder, tmp_path)
    with pytest.raises(InputError, match="calibrated with --assign none, and --assign is steiger here") as caught:
        mr(folder / "target.h5", out=tmp_path / "mr.tsv", calibration=[tmp_path / "labels.json"], assign="steiger")
    assert "deepmr calibrate --labelled-edits --assign steiger, or give --assign none" in str(caught.value)
    assert not (tmp_path / "mr.tsv").exists()
    content = json.loads((tmp_path / "labels.json").read_text())
    del content["selection"]["assign"]  # made before there was the option: not assigned
    (tmp_path / "old.json").write_text(json.dumps(content))
    assert mr(folder / "target.h5", out=tmp_path / "mr.tsv", calibration=[tmp_path / "old.json"])["calibrated"]


def test_labels_of_edits_that_belong_to_the_exposure(tmp_path):
    """Own edits of X move Y by SLOPE; those of Y leave X alone but for what the networks have got wrong."""
    write_two_sites(tmp_path / "ensemble")
    common = {"device": "cpu", "trust_code": True}
    for name, n, seed in (("labelled", 30, 1), ("target", 10, 2)):
        write_fasta(tmp_path / f"{name}.fa", n, seed=seed)
        ism(model=tmp_path / "ensemble", fasta=tmp_path / f"{name}.fa", out=tmp_path / f"{name}.h5", **common)
    label(tmp_path / "labelled.h5", tmp_path / "edits.tsv", as_predicted=True)
    means = {}
    for assign in ("none", "steiger"):
        summary = run(tmp_path, tmp_path, assign=assign, method=["ivw"], overwrite=True)
        means[assign] = {row["exposure"]: row for row in summary["pairs"]}
        found = read_labelled_calibration(tmp_path / "labels.json")
        assert found.selection["assign"] == assign
        given = {"calibration": [tmp_path / "labels.json"], "assign": assign, "method": ["ivw"], "overwrite": True}
        assert mr(tmp_path / "target.h5", out=tmp_path / "mr.tsv", **given)["calibrated"]
    assert means["none"]["Y"]["in_the_model"] > 0.2  # echo: edits of X move both
    assert means["steiger"]["Y"]["in_the_model"] == pytest.approx(0.0, abs=0.02)
    assert means["steiger"]["Y"]["shift"] == pytest.approx(0.0, abs=0.02)
    assert means["steiger"]["Y"]["edits"] < means["none"]["Y"]["edits"]


def in_unit(folder, tmp_path, task, factor):
    """Write the labels with those of one task in another unit."""
    edits = pd.read_csv(folder / "edits.tsv", sep="\t")
    columns = ["value", "reference_value", "se", "se_reference"]
    edits.loc[edits["task"] == task, columns] *= factor
    edits.to_csv(tmp_path / "scaled.tsv", sep="\t", index=False)
    return tmp_path / "scaled.tsv"


@pytest.mark.parametrize("task", ["X", "Y"])
@pytest.mark.parametrize("factor", [1 / 30, 30])
def test_labels_in_another_unit_are_refused(folder, tmp_path, task, factor):
    edits = in_unit(folder, tmp_path, task, factor)
    with pytest.raises(
        InputError, match=f"scaled.tsv: measured changes of {task} are .* times the predicted ones"
    ) as e:
        run(folder, tmp_path, labelled_edits=edits)
    assert "labels must be in the unit of the predictions" in str(e.value)
    assert not (tmp_path / "labels.json").exists()


def test_a_doubtful_unit_is_said_wherever_the_effects_go(folder, tmp_path, caplog):
    edits = in_unit(folder, tmp_path, "Y", 0.3)
    with caplog.at_level(logging.WARNING):
        run(folder, tmp_path, labelled_edits=edits, method=["ivw"])
    said = "measured changes of Y are 0.34"
    assert said in caplog.text
    assert any(said in line for line in read_labelled_calibration(tmp_path / "labels.json").warnings)
    given = {"calibration": [tmp_path / "labels.json"], "method": ["ivw"]}
    mr(folder / "target.h5", out=tmp_path / "mr.tsv", **given)
    recorded = [one["sentence"] for one in json.loads((tmp_path / "mr.tsv.json").read_text())["warnings"]]
    assert len(recorded) == 2
    assert all(said in sentence for sentence in recorded)
    assert recorded[0].startswith("X → Y: ")
    assert meta(tmp_path / "mr.tsv", out=tmp_path / "meta.tsv")["findings"][:2] == recorded
    given = {"estimates": tmp_path / "mr.tsv", "meta": tmp_path / "meta.tsv", "labelled": tmp_path / "labels.json"}
    page = report(folder / "target.h5", **given, out=tmp_path / "r.html", n_loci=0)
    assert "labels may be in another unit" in page["verdict"][0]


def test_calibrations_of_one_option_or_of_two(tmp_path):
    app = build_app()
    words = ["mr", "e.h5", "--out", "m.tsv"]
    for given in (["--calibration", "a", "b"], ["--calibration", "a", "--calibration", "b"]):
        _, bound, _ = app.parse_args([*words, *given], exit_on_error=False)
        assert bound.arguments["calibration"] == [Path("a"), Path("b")]
