"""Intervals of a BED file, as positions of loci."""

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.io.bed import read_intervals, read_subregions
from deepmr.types import Sequences

LENGTH = 10


def sequences_of(*rows):
    loci = pd.DataFrame(rows, columns=["locus", "chrom", "start"]).assign(end=-1)
    return Sequences(loci=loci, codes=np.zeros((len(rows), LENGTH), dtype=np.uint8))


def covered(tmp_path, text, sequences):
    (tmp_path / "x.bed").write_text(text)
    return [np.flatnonzero(row).tolist() for row in read_subregions(tmp_path / "x.bed", sequences)]


def test_positions_on_the_chromosome_and_in_named_loci(tmp_path, caplog):
    sequences = sequences_of(("a", "chr1", 100), ("b", "chr1", 105), ("c", "", -1), ("d", "chr2", 100))
    text = "# note\nchr1\t98\t102\nchr1\t104\t107\tname\nc\t0\t1\nc\t9\t10\nchr1\t200\t300\nchr9\t1\t2\n"
    assert covered(tmp_path, text, sequences) == [[0, 1, 4, 5, 6], [0, 1], [0, 9], []]
    assert "2 of 6 intervals lie in no locus" in caplog.text


def test_a_locus_with_coordinates_goes_by_its_chromosome_alone(tmp_path):
    sequences = sequences_of(("chr2", "chr1", 100), ("chr1", "chr2", 100))
    assert covered(tmp_path, "chr1\t100\t101\n", sequences) == [[0], []]


def test_nested_and_touching_intervals_agree_with_a_loop(tmp_path):
    rng = np.random.default_rng(0)
    sequences = sequences_of(*((f"l{i}", f"chr{i % 2}", int(rng.integers(0, 60))) for i in range(12)))
    starts = rng.integers(0, 80, 30)
    lines = [(f"chr{i % 3}", int(s), int(s + rng.integers(1, 25))) for i, s in enumerate(starts)]
    found = covered(tmp_path, "".join(f"{c}\t{a}\t{b}\n" for c, a, b in lines), sequences)
    for row, positions in zip(sequences.loci.itertuples(), found, strict=True):
        inside = [any(c == row.chrom and a <= row.start + k < b for c, a, b in lines) for k in range(LENGTH)]
        assert positions == np.flatnonzero(inside).tolist()


def test_intervals_outside_are_counted_as_a_loop_does(tmp_path, caplog):
    sequences = sequences_of(("a", "chr1", 20), ("b", "chr1", 50))
    text = "".join(f"chr1\t{s}\t{s + 3}\n" for s in range(70))
    covered(tmp_path, text, sequences)
    outside = sum(not any(s < a + LENGTH and a < s + 3 for a in (20, 50)) for s in range(70))
    assert f"{outside} of 70 intervals lie in no locus" in caplog.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("c\t4\t11\n", "line 1: locus 'c' has 10 bases; the end is 11"),
        ("chr9\t4\t5\nc2\t1\t2\n", "none of its 2 intervals lies in a locus, first 'chr9'"),
        ("c\t5\t5\n", "line 1: start must be at least 0 and below end"),
        ("c\n", "line 1: needed chrom"),
        ("", "has no intervals"),
    ],
)
def test_bad_subregions_are_one_line(tmp_path, text, said):
    with pytest.raises(InputError, match=said) as caught:
        covered(tmp_path, text, sequences_of(("c", "", -1)))
    assert "\n" not in str(caught.value)


def test_intervals_keep_their_line_and_columns(tmp_path):
    (tmp_path / "x.bed").write_text("track\n\nchr1 4 8 name\n")
    (one,) = read_intervals(tmp_path / "x.bed")
    assert (one.line, one.chrom, one.start, one.end, one.fields[3]) == (3, "chr1", 4, 8, "name")
