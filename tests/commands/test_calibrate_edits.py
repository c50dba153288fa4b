"""`deepmr calibrate --labelled-edits` and what `deepmr mr` makes of it, on linear ensembles that share an error."""

import json
import logging

import numpy as np
import pandas as pd
import pytest

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
from tests.commands.linear import SLOPE, write_fasta, write_linear

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


def label(effects, out):
    """Measure edits of the sites: x as predicted, y = TRUE x, each with noise, beside one noisy reference a locus."""
    rng = np.random.default_rng(1)
    with open_effects(effects) as file:
        (block,) = file.blocks(1000)
    x = block.delta.mean(axis=0)[:, 0]
    chosen = np.flatnonzero(np.abs(x) > 2)
    variants = block.variants.iloc[chosen].astype({"locus": str})
    home = pd.factorize(variants["locus"])[0]
    true = np.column_stack([x[chosen], TRUE * x[chosen]])
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
    assert "egger: X on Y stays an effect in the model: no labels for this method and pair" in text
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
