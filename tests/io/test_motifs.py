"""MEME text in and out; the motifs of the package are the published ones."""

import hashlib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.io.motifs import paper_motifs, read_motifs, write_motifs

ROOT = Path(__file__).resolve().parents[2]
HEAD = "MEME version 5\n\nALPHABET= ACGT\n\n"
ROW = "0.25 0.25 0.25 0.25\n"


def test_round_trip(tmp_path):
    rng = np.random.default_rng(0)
    motifs = {name: rng.dirichlet([1] * 4, size=width) for name, width in (("a", 1), ("b", 7))}
    write_motifs(motifs, tmp_path / "m.meme", url="https://example.org")
    again = read_motifs(tmp_path / "m.meme")
    assert list(again) == ["a", "b"]
    for name, matrix in motifs.items():
        np.testing.assert_allclose(again[name], matrix, atol=5e-7)
    assert (tmp_path / "m.meme").read_text().count("URL https://example.org") == 2


def test_packaged_motifs_are_the_published_ones():
    motifs = paper_motifs()
    assert motifs.names == ("GATA_disc1", "TAL1_known1", "SOX2_1")
    assert motifs.widths.tolist() == [10, 16, 15]
    best = ["".join("ACGT"[base] for base in matrix.argmax(axis=1)) for matrix in motifs.matrices]
    assert best == ["GCAGATAAGG", "CTGAACAGATGGTCGG", "CCTTTGTTATGCAAA"]
    np.testing.assert_array_equal(motifs.matrices[0][0], [0.322751, 0.185185, 0.359788, 0.132275])
    np.testing.assert_array_equal(motifs.matrices[2][-1], [0.730422, 0.090361, 0.091867, 0.087349])
    for matrix in motifs.matrices:
        np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)


def test_data_readme_states_the_checksum_of_the_packaged_motifs():
    readme = ROOT / "data" / "README.md"
    if not readme.is_file():
        pytest.skip("data/README.md is not in an installed package")
    content = (files("deepmr.simulate") / "motifs.meme").read_bytes()
    assert hashlib.sha256(content).hexdigest() in readme.read_text()


def test_width_may_be_left_out_and_other_lines_are_passed_over(tmp_path):
    path = tmp_path / "m.meme"
    text = "strands: + -\nMOTIF x other\nletter-probability matrix:\n" + ROW + ROW + "URL http://a\n"
    path.write_text(HEAD + text + "MOTIF y\nletter-probability matrix: w=1\n" + ROW)
    assert {name: len(matrix) for name, matrix in read_motifs(path).items()} == {"x": 2, "y": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not MEME text"),
        (HEAD, "has no motifs"),
        ("MEME version 5\nALPHABET= ACDEFGHIKLMNPQRSTVWY\n", "line 2: the alphabet must be ACGT"),
        (HEAD + "MOTIF\n", "line 5: a MOTIF line needs a name"),
        (HEAD + "letter-probability matrix: w= 1\n" + ROW, "line 5: a matrix without a MOTIF line"),
        (HEAD + 2 * ("MOTIF x\nletter-probability matrix: w= 1\n" + ROW), "line 8: motif 'x' occurs more than once"),
        (HEAD + "MOTIF x\nletter-probability matrix: w= 2\n" + ROW, "motif x: has 1 positions; its matrix line says 2"),
        (HEAD + "MOTIF x\nletter-probability matrix: w= two\n" + ROW, "line 6: w= must be a number"),
        (HEAD + "MOTIF x\nletter-probability matrix: w= 1\n0.5 0.5 0.5 0.5\n", "line 7: motif x: needs four"),
        (HEAD + "MOTIF x\nletter-probability matrix: w= 1\n0.5 0.5 nan 0\n", "line 7: motif x: needs four"),
        (HEAD + "MOTIF x\nletter-probability matrix: w= 1\n0.5 0.5 0\n", "line 7: motif x: needs four"),
        (HEAD + "MOTIF x\nletter-probability matrix: w= 1\na b c d\n", "line 7: motif x: 'a b c d' is no row"),
        (HEAD + "MOTIF x\nletter-probability matrix:\n\n", "motif x: has no rows"),
    ],
)
def test_bad_files_are_one_line(tmp_path, text, message):
    path = tmp_path / "m.meme"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_motifs(path)


def test_missing_and_binary_files_are_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot be read as text"):
        read_motifs(tmp_path / "no.meme")
    (tmp_path / "b.meme").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as text"):
        read_motifs(tmp_path / "b.meme")
