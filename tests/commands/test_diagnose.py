"""`deepmr diagnose`: from effects and estimates to a folder, with and without the model."""

import json

import pandas as pd
import pytest

from deepmr import schema
from deepmr.commands.diagnose import diagnose
from deepmr.commands.ism import ism
from deepmr.commands.meta import meta
from deepmr.commands.mr import mr
from deepmr.errors import InputError
from tests.commands.linear import write_fasta, write_linear


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Effects of an ensemble in which both tasks read the same sites, with estimates and their mean."""
    folder = tmp_path_factory.mktemp("diagnose")
    write_fasta(folder / "peaks.fa", 12, seed=0)
    write_linear(folder / "ensemble")
    ism(model=folder / "ensemble", fasta=folder / "peaks.fa", out=folder / "effects.h5", trust_code=True, device="cpu")
    mr(folder / "effects.h5", out=folder / "mr.tsv")
    meta(folder / "mr.tsv", out=folder / "meta.tsv")
    return folder


def run(folder, out, **options):
    given = {"estimates": folder / "mr.tsv", "n_draws": 19, "device": "cpu", "trust_code": True}
    return diagnose(folder / "effects.h5", out=out, **(given | options))


def test_a_folder_with_everything(folder, tmp_path):
    out = tmp_path / "out"
    summary = run(folder, out, meta=folder / "meta.tsv", model=folder / "ensemble", n_loci=5)
    assert {path.stem for path in out.glob("*.tsv")} == set(schema.DIAGNOSTICS)
    for name, columns in schema.DIAGNOSTICS.items():
        assert list(pd.read_csv(out / f"{name}.tsv", sep="\t")) == list(columns), name
    assert summary["figures"] == len(list((out / "figures").iterdir())) == 6
    said = (out / "verdict.txt").read_text().splitlines()
    assert said == summary["verdict"]
    assert any("X and Y: both directions: shared instruments" in line for line in said)
    record = json.loads((out / "verdict.json").read_text())
    assert {v["judgement"] for v in record["verdicts"]} == {"undecided"}
    assert record["provenance"]["command"] == "diagnose"
    doubles = pd.read_csv(out / "doubles.tsv", sep="\t")
    assert doubles["locus"].nunique() == 6  # five and all
    assert (abs(doubles["additivity_exposure"] - 1) < 1e-4).all()  # the networks are linear


def test_without_the_model_and_figures(folder, tmp_path):
    out = tmp_path / "out"
    run(folder, out, figures="none")
    assert not (out / "figures").exists()
    assert not (out / "doubles.tsv").exists()
    with pytest.raises(InputError, match="--overwrite"):
        run(folder, out)
    run(folder, out, figures="none", overwrite=True)


def test_each_estimand_has_its_verdict(folder, tmp_path):
    table = pd.read_csv(folder / "mr.tsv", sep="\t")
    both = pd.concat([table, table.assign(estimand="calibrated")])
    both.to_csv(tmp_path / "both.tsv", sep="\t", index=False)
    summary = run(folder, tmp_path / "out", estimates=tmp_path / "both.tsv", figures="none")
    assert [row["estimand"] for row in summary["pairs"]] == ["model", "calibrated"] * 2
    assert any("calibrated effect, in the data-generating process" in line for line in summary["verdict"])
    assert any("Calibrated intervals rest on measured edits" in line for line in summary["verdict"])
    assert not any("is in none of this" in line for line in summary["verdict"])
    alone = run(folder, tmp_path / "alone", figures="none")
    assert alone["verdict"][-1].startswith("An error that all members of the ensemble share is in none of this")


def test_what_does_not_belong_together_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="no rows of method 'raps'"):
        run(folder, tmp_path / "out", method="raps")
    write_linear(tmp_path / "other", seed=3)
    with pytest.raises(InputError, match="checksums of the ensembles differ"):
        run(folder, tmp_path / "out", model=tmp_path / "other")
    table = pd.read_csv(folder / "mr.tsv", sep="\t")
    table.assign(outcome="Z").to_csv(tmp_path / "z.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="'Z' is no task of the effects"):
        run(folder, tmp_path / "out", estimates=tmp_path / "z.tsv")
    table.head(1).assign(locus="nowhere").to_csv(tmp_path / "n.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="1 loci are not among those of the effects"):
        run(folder, tmp_path / "out", estimates=tmp_path / "n.tsv")
    (tmp_path / "t.tsv").write_text("rule\tthreshold\n")
    with pytest.raises(InputError, match="needed the columns"):
        run(folder, tmp_path / "out", thresholds=tmp_path / "t.tsv")
    assert not (tmp_path / "out").exists()
