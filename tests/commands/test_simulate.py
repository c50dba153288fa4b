"""`deepmr simulate`: what is written, and that it fits together."""

import json

import numpy as np
import pandas as pd
import pytest

from deepmr.anscombe import anscombe
from deepmr.cli import execute
from deepmr.commands.simulate import simulate
from deepmr.errors import InputError
from deepmr.io.edits import read_edits
from deepmr.io.fasta import read_fasta
from deepmr.io.motifs import paper_motifs
from deepmr.io.targets import read_targets
from deepmr.ism.edit_table import resolve_edits
from deepmr.simulate.labels import expected_targets
from deepmr.simulate.options import SimulationOptions
from deepmr.simulate.truth import DEFINITIONS

SMALL = {"n_train": 80, "n_test": 60}


def table(path):
    return pd.read_csv(path, sep="\t", keep_default_na=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("simulate") / "sim"
    summary = simulate(out=out, scenario="both", calibration_split=40, labelled_edits=3, seed=4, **SMALL)
    return out, summary


def test_every_file_is_there_and_reads_back(run):
    out, summary = run
    names = {"calibration.fa", "calibration.tsv", "labelled_edits.tsv", "labelled_edits_truth.tsv", "loci.tsv"}
    names |= {"planted.tsv", "simulation.json", "test.fa", "test.tsv", "train.fa", "train.tsv", "truth.tsv"}
    assert {path.name for path in out.iterdir()} == names
    loci = table(out / "loci.tsv").set_index("locus")
    assert loci.index.is_unique
    options = SimulationOptions(motifs=paper_motifs(), scenario="both")
    for split, size in (("train", 100), ("test", 60), ("calibration", 40)):
        sequences = read_fasta(out / f"{split}.fa", length=100)
        tasks, counts = read_targets(out / f"{split}.tsv", sequences)
        assert tasks == ("GATA", "TAL1")
        assert len(sequences) == size == summary[f"{split}_loci"]
        assert (counts == counts.round()).all()  # raw counts, for losses of counts
        rows = loci.loc[sequences.loci["locus"]]
        assert (rows["split"] == split).all()
        expected = expected_targets(sequences.codes, options=options)
        np.testing.assert_allclose(rows[["expected_exposure", "expected_outcome"]], expected, rtol=1e-9)
        noise = anscombe(counts) - expected_targets(sequences.codes, options=options, z=rows["z"].to_numpy())
        assert np.abs(noise).max() < 5
    assert (loci["parent"] != "").sum() == 20


def test_planted_spans_hold_their_strings(run):
    out, _ = run
    frames = [read_fasta(out / f"{split}.fa").to_frame() for split in ("train", "test", "calibration")]
    text = pd.concat(frames).set_index("locus")["sequence"]
    planted = table(out / "planted.tsv")
    for row in planted.itertuples():
        assert text[row.locus][row.start : row.end] == row.string
    kinds = table(out / "loci.tsv").set_index("locus")["kind"]
    both = planted[planted["role"] != "confounder"].groupby("locus").size() == 2
    assert set(both.index[both]) == set(kinds.index[kinds == "both"])


def test_truth_joins_by_locus_and_is_stated(run):
    out, summary = run
    truth = table(out / "truth.tsv")
    kinds = table(out / "loci.tsv").set_index("locus")["kind"]
    assert (truth["kind"] == kinds.loc[truth["locus"]].to_numpy()).all()
    assert set(truth["locus"]) <= set(read_fasta(out / "test.fa").loci["locus"])
    description = json.loads((out / "simulation.json").read_text())
    assert description["definition"] == DEFINITIONS["averaged"] == summary["definition"]
    assert description["provenance"]["options"]["seed"] == 4
    assert (description["gamma"], description["alpha"]) == (10, 100)
    forward = truth[(truth["exposure"] == "GATA") & (truth["kind"] == "both")]
    stated = {(row["exposure"], row["kind"], row["statistic"]): row["beta"] for row in description["effects"]}
    assert stated["GATA", "both", "mean"] == pytest.approx(forward["beta"].mean())
    pooled = forward["sum_dxdy"].sum() / forward["sum_dx2"].sum()
    assert stated["GATA", "both", "pooled ratio"] == pytest.approx(pooled)
    assert {key[0] for key in stated} == {"GATA", "TAL1"}
    assert [row["beta"] for row in summary["true_effects"]] == [row["beta"] for row in description["effects"]]


def test_labelled_edits_belong_to_the_calibration_loci(run):
    out, summary = run
    labelled = table(out / "labelled_edits.tsv")
    assert len(labelled) == summary["labelled_edits"] > 30
    sequences = read_fasta(out / "calibration.fa").to_frame().set_index("locus")["sequence"]
    for edit in labelled.itertuples():
        assert sequences[edit.locus][edit.offset] == edit.other_allele
    edits, names = resolve_edits(read_edits(out / "labelled_edits.tsv"), read_fasta(out / "calibration.fa"))
    assert len(edits) == len(names) == len(labelled)  # `deepmr ism --edits` takes the table as it is
    truth = table(out / "labelled_edits_truth.tsv")
    assert truth["variant_id"].tolist() == labelled["variant_id"].tolist()
    np.testing.assert_allclose(truth["GATA"] - truth["GATA_reference"], truth["dx"], rtol=1e-9)


@pytest.mark.parametrize("loci", ["exposure", "both"])
def test_loci_select_test_sequences_and_nothing_else_moves(run, tmp_path, loci):
    whole, _ = run
    out = tmp_path / "sim"
    simulate(out=out, scenario="both", calibration_split=10, labelled_edits=1, seed=4, loci=loci, **SMALL)
    assert (out / "train.tsv").read_bytes() == (whole / "train.tsv").read_bytes()
    some, every = table(out / "test.tsv"), table(whole / "test.tsv")
    pd.testing.assert_frame_equal(some, every[every["locus"].isin(some["locus"])].reset_index(drop=True))
    kinds = table(out / "loci.tsv")
    wanted = {"exposure": {"exposure", "both"}, "both": {"both"}}[loci]
    assert set(kinds.loc[kinds["split"] == "test", "kind"]) == wanted
    truth = table(whole / "truth.tsv")
    kept = truth[truth["locus"].isin(some["locus"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(table(out / "truth.tsv"), kept)


def test_same_seed_same_bytes(tmp_path):
    for name in ("a", "b"):
        simulate(out=tmp_path / name, seed=7, **SMALL)
    for path in (tmp_path / "a").iterdir():
        if path.name != "simulation.json":  # has the time in it
            assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert not (tmp_path / "a" / "calibration.fa").exists()


def test_options_of_the_model_reach_the_counts(tmp_path):
    options = {"smoothing": 0.1, "binding_shift": -6.0, "effect": "none", "confounder_strength": 0.5}
    options |= {"confounder_shift": -2.0, "confounder_sharpness": 2.0}
    simulate(out=tmp_path / "a", scenario="both", **options, **SMALL)
    sequences = read_fasta(tmp_path / "a" / "test.fa")
    expected = expected_targets(
        sequences.codes, options=SimulationOptions(motifs=paper_motifs(), scenario="both", **options)
    )
    loci = table(tmp_path / "a" / "loci.tsv").set_index("locus").loc[sequences.loci["locus"]]
    np.testing.assert_allclose(loci[["expected_exposure", "expected_outcome"]], expected, rtol=1e-9)
    simulate(out=tmp_path / "b", interaction_distance=20.0, **SMALL)
    effects = json.loads((tmp_path / "b" / "simulation.json").read_text())["effects"]
    assert 0 < next(row["beta"] for row in effects if row["statistic"] == "median") < 3


def test_overwriting_replaces_a_simulation_and_nothing_else(tmp_path):
    simulate(out=tmp_path / "a", calibration_split=5, **SMALL)
    with pytest.raises(InputError, match="pass --overwrite"):
        simulate(out=tmp_path / "a", **SMALL)
    simulate(out=tmp_path / "a", overwrite=True, **SMALL)
    assert not (tmp_path / "a" / "calibration.fa").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(InputError, match="left alone"):
        simulate(out=tmp_path / "mine", overwrite=True, **SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "mine"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_train": 0}, "n_train must be at least 1; got 0"),
        ({"n_test": 0}, "n_test must be at least 1"),
        ({"variants": -0.1}, "variants must be at least 0"),
        ({"calibration_split": -1}, "calibration_split must be at least 0"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"effect": "none", "interaction_distance": 5.0}, "with effect 'none' there is none"),
        ({"length": 30}, "length must be at least 42"),
        ({"n_test": 1, "loci": "both", "seed": 3}, "none of 1 test loci has the motifs of loci = 'both'; raise n_test"),
    ],
)
def test_wrong_options_write_nothing(tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        simulate(out=tmp_path / "sim", **{**SMALL, **wrong})
    assert list(tmp_path.iterdir()) == []


def test_command_line_takes_strengths_by_number_and_by_name(tmp_path, capsys):
    sizes = ["--n-train", "20", "--n-test", "20"]
    drawn = ["--gamma", "mixture", "--alpha", "drawn", "--binding-shift", "-3", "--motif-scale", "0.5"]
    assert execute(["simulate", "--out", str(tmp_path / "a"), *sizes, *drawn, "--truth", "released"]) == 0
    description = json.loads((tmp_path / "a" / "simulation.json").read_text())
    assert description["provenance"]["options"]["gamma"] == "mixture"
    assert 0 <= description["gamma"] < 12
    assert 80 < description["alpha"] < 120
    assert description["definition"] == DEFINITIONS["released"]
    assert "true effects" in capsys.readouterr().out
    assert execute(["simulate", "--out", str(tmp_path / "b"), *sizes, "--gamma", "many"]) == 2
    assert execute(["simulate", "--out", str(tmp_path / "no" / "b"), *sizes]) == 3
