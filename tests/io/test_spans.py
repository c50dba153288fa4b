"""Files of spans: BED and tables, in coordinates of loci and of the genome."""

import gzip

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.io.spans import read_spans
from deepmr.types import Sequences


def sequences(*, placed):
    loci = pd.DataFrame({"locus": ["a", "b"], "chrom": "", "start": -1, "end": -1})
    if placed:
        loci = pd.DataFrame({"locus": ["a", "b"], "chrom": "chr1", "start": [100, 500], "end": [120, 520]})
    return Sequences(loci=loci, codes=np.zeros((2, 20), dtype=np.uint8))


def read(path, *, placed=False, known=True):
    return read_spans(
        path, sequences(placed=placed) if known else None, loci=("a", "b"), chroms={"chr1"} if placed else {""}
    )


def test_bed_of_loci(tmp_path):
    (tmp_path / "hits.bed").write_text("# hits\na\t3\t8\tGATA\nelsewhere\t0\t4\tGATA\nb\t0\t20\n")
    found = read(tmp_path / "hits.bed")
    assert (found.locus, found.chrom, found.name) == (("a", "b"), ("", ""), ("GATA", ""))
    assert (found.start.tolist(), found.end.tolist()) == ([3, 0], [8, 20])


def test_offsets_in_loci_on_the_genome_are_moved_there(tmp_path):
    (tmp_path / "hits.bed").write_text("b\t3\t8\tGATA\nchr1\t103\t108\tTAL1\n")
    found = read(tmp_path / "hits.bed", placed=True)
    assert (found.locus, found.chrom) == (("b", ""), ("", "chr1"))
    assert (found.start.tolist(), found.end.tolist()) == ([503, 103], [508, 108])


def test_the_table_of_planted_motifs(tmp_path):
    text = "locus\trole\tmotif\tstart\tend\tstring\nb\texposure\tGATA_disc1\t2\t12\tCCTGATACGA\n"
    (tmp_path / "planted.tsv").write_text(text)
    with gzip.open(tmp_path / "planted.tsv.gz", "wt") as file:
        file.write(text)
    for name in ("planted.tsv", "planted.tsv.gz"):
        for known in (True, False):
            found = read(tmp_path / name, known=known)
            assert (found.locus, found.name, found.start.tolist()) == (("b",), ("GATA_disc1",), [2])


def test_a_table_on_the_genome_never_names_loci(tmp_path):
    (tmp_path / "hits.tsv").write_text("chrom\tstart\tend\tname\na\t1\t2\tX\nchr1\t1\t2\tX\n")
    assert read(tmp_path / "hits.tsv", placed=True).chrom == ("chr1",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zz\t1\t2\n", "none of its 1 spans is of a locus or chromosome of the effects, first 'zz'"),
        ("a\t15\t25\n", "a span of locus 'a' ends at 25; the locus has 20 bases"),
        ("locus\tstart\tend\na\t5\t5\n", "line 2: start must be at least 0 and below end; got 5 and 5"),
        ("locus\tstart\tend\na\tx\t5\n", "line 2, column 'start': 'x' is not a finite number"),
        ("start\tend\tmotif\n1\t2\tX\n", "needed the columns locus or chrom, start and end"),
        ("locus\tstart\tend\n", "has no spans"),
        ("", "no intervals"),
    ],
)
def test_bad_files(tmp_path, text, message):
    (tmp_path / "hits.bed").write_text(text)
    with pytest.raises(InputError, match=message):
        read(tmp_path / "hits.bed")


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "hits.bed")
