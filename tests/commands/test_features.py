"""`deepmr features`: a table of contexts, how it was made, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest

from deepmr.commands.features import features
from deepmr.errors import InputError
from deepmr.io.contexts import read_contexts
from tests.bad_input import LENGTH, write_networks

MEME = """MEME version 4

ALPHABET= ACGT

MOTIF {a}
letter-probability matrix: alength= 4 w= 8
{rows}
MOTIF B
letter-probability matrix: alength= 4 w= 8
{other}
"""


def rows_of(text):
    return "\n".join(" ".join("0.97" if base == one else "0.01" for one in "ACGT") for base in text)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), LENGTH)) for _ in range(5)]
    texts[0] = texts[0][:4] + "GATTACAG" + texts[0][12:20] + "TTGCCATA" + texts[0][28:]
    records = [f">l{k}\n{text}\n" for k, text in enumerate(texts)]
    (tmp_path / "peaks.fa").write_text("".join(records))
    (tmp_path / "m.meme").write_text(MEME.format(a="A:x", rows=rows_of("GATTACAG"), other=rows_of("TTGCCATA")))
    return tmp_path


def test_a_table_and_how_it_was_made(folder):
    out = folder / "f.tsv"
    summary = features(fasta=folder / "peaks.fa", motifs=folder / "m.meme", out=out)
    table = pd.read_csv(out, sep="\t")
    assert table["locus"].tolist() == [f"l{k}" for k in range(5)]
    assert table.loc[0, ["A:x_present", "A:x:B_both", "A:x:B_gap", "A:x:B_spacing"]].tolist() == [1, 1, 8, 16]
    assert summary["motifs"][0]["motif"] == "A:x"
    assert "length" in summary["alike_in_all_loci"]
    record = json.loads((folder / "f.tsv.json").read_text())
    assert record["command"] == "features"
    assert set(record["inputs"]) == {"fasta", "motifs"}
    assert "A:x:B_gap" in read_contexts(out).names
    with pytest.raises(InputError, match="exists"):
        features(fasta=folder / "peaks.fa", motifs=folder / "m.meme", out=out)


def test_motifs_and_pairs_are_chosen(folder):
    how = {"fasta": folder / "peaks.fa", "motifs": folder / "m.meme", "overwrite": True, "out": folder / "f.tsv"}
    features(**how, motif=["B"])
    assert [c for c in pd.read_csv(folder / "f.tsv", sep="\t") if c.startswith("A")] == []
    features(**how, pairs=["none"])
    assert not [c for c in pd.read_csv(folder / "f.tsv", sep="\t") if c.endswith("_gap")]
    features(**how, pairs=["B:A:x"])
    assert [c for c in pd.read_csv(folder / "f.tsv", sep="\t") if c.endswith("_gap")] == ["B:A:x_gap"]


def test_without_motifs_there_is_composition(folder):
    features(fasta=folder / "peaks.fa", out=folder / "f.tsv")
    assert list(pd.read_csv(folder / "f.tsv", sep="\t"))[4:] == ["length", "gc", "cpg"]


def test_predictions_have_the_spread_of_members_as_error(folder):
    write_networks(folder / "ensemble", 3)
    features(fasta=folder / "peaks.fa", out=folder / "f.tsv", model=folder / "ensemble", predict=["PU1"], device="cpu")
    table = pd.read_csv(folder / "f.tsv", sep="\t")
    assert list(table)[-2:] == ["pred_PU1", "pred_PU1_se"]
    assert (table["pred_PU1_se"] > 0).all()
    assert read_contexts(folder / "f.tsv").names == ("length", "gc", "cpg", "pred_PU1")
    record = json.loads((folder / "f.tsv.json").read_text())
    assert len(record["ensemble_sha256"]) == 64


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"motif": ["Z"]}, "has no motif 'Z'; it has 2"),
        ({"pairs": ["A:x"]}, "--pairs A:x: there is no motif 'A'"),
        ({"pairs": ["B"]}, "takes two motifs, A:B; got 'B'"),
        ({"pairs": ["B:B"]}, "a pair is of two motifs"),
        ({"predict": ["PU1"]}, "needs --model"),
        ({"loci": "peaks.fa"}, "--loci needs --length"),
    ],
)
def test_what_cannot_be_used_is_one_line(folder, options, says):
    if "loci" in options:
        options = {"loci": folder / options["loci"]}
    with pytest.raises(InputError, match=says):
        features(fasta=folder / "peaks.fa", motifs=folder / "m.meme", out=folder / "f.tsv", **options)
    assert not (folder / "f.tsv").exists()


def test_a_motif_too_short_to_match_is_told(folder, caplog):
    text = f"MEME version 4\n\nMOTIF s\nletter-probability matrix: alength= 4 w= 5\n{rows_of('ACGTA')}\n"
    (folder / "s.meme").write_text(text)
    features(fasta=folder / "peaks.fa", motifs=folder / "s.meme", out=folder / "f.tsv")
    assert "s is too short to match anywhere at P < 0.0001" in caplog.text
