"""Sequences from FASTA, and windows of a genome around peaks."""

import gzip
import logging
import os

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.io.fasta import read_fasta, read_loci, sample_loci, write_fasta
from deepmr.io.files import BGZIP_END
from deepmr.sequence.alphabet import decode
from deepmr.types import Sequences

CHR1 = "AACCGGTTACGTACGTNNNNACGTTGCA"  # 28 bases
CHR2 = "ttttacgtgg"


def bases(sequences):
    return [decode(codes) for codes in sequences.codes]


def coordinates(sequences):
    return list(zip(sequences.loci["chrom"], sequences.loci["start"], sequences.loci["end"], strict=True))


@pytest.fixture
def fasta(tmp_path):
    """Return a function that reads a text (or bytes) as a FASTA file."""

    def read(content, **options):
        path = tmp_path / "peaks.fa"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_fasta(path, **options)

    return read


def test_by_hand(fasta):
    sequences = fasta(">a\nACGT\n>b more words\nTT\nNA\n")
    assert list(sequences.loci.columns) == ["locus", "chrom", "start", "end"]
    assert sequences.loci["locus"].tolist() == ["a", "b"]
    assert coordinates(sequences) == [("", -1, -1)] * 2
    assert sequences.codes.tolist() == [[0, 1, 2, 3], [3, 3, 4, 0]]


def test_soft_masked_bases_are_bases_and_ambiguous_ones_masked(fasta):
    assert bases(fasta(">a\nacgtU\n>b\nNRYKM\n")) == ["ACGTT", "NNNNN"]


@pytest.mark.parametrize(
    "text",
    [
        ">a\r\nAC\r\nGT\r\n>b\r\nTTTT\r\n",
        "\n\n>a\nACGT\n\n\n>b\n\nTT\n\nTT\n\n",
        ">a\nACGT\n>b\nTTTT",
        ">  a\nAC GT \n>b\tx\nTT\tTT\n",
    ],
    ids=["Windows", "blank lines", "no last line end", "spaces"],
)
def test_layouts(fasta, text):
    sequences = fasta(text)
    assert sequences.loci["locus"].tolist() == ["a", "b"]
    assert bases(sequences) == ["ACGT", "TTTT"]


def test_a_greater_sign_inside_a_header(fasta):
    sequences = fasta(">a>b C>T\nACGT\n")
    assert sequences.loci["locus"].tolist() == ["a>b"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("chr1:100-104", ("chr1", 100, 104)),
        ("peak7::chr1:100-104", ("chr1", 100, 104)),
        ("peak7::chr1:100-104(+)", ("chr1", 100, 104)),
        ("chr1:100-104(.)", ("chr1", 100, 104)),
        ("GL000192.1:0-4 extra", ("GL000192.1", 0, 4)),
        ("peak7 chr1:100-104", ("chr1", 100, 104)),
        ("chr1:100-104 chr9:0-4", ("chr1", 100, 104)),
        ("peak7 of chr1:100-104", ("", -1, -1)),
        ("peak:7", ("", -1, -1)),
    ],
)
def test_coordinates_of_a_header(fasta, caplog, header, expected):
    sequences = fasta(f">{header}\nACGT\n")
    assert coordinates(sequences) == [expected]
    assert sequences.loci["locus"].tolist() == [header.split()[0]]
    assert caplog.text == ""


@pytest.mark.parametrize("header", ["chr1:101-104", "chr1:100-200", "p::chr1:100-104(-)", "chr1:104-100"])
def test_coordinates_that_do_not_fit_are_dropped_with_a_warning(fasta, caplog, header):
    with caplog.at_level(logging.WARNING):
        sequences = fasta(f">{header}\nACGT\n>chr2:0-4\nACGT\n")
    assert coordinates(sequences) == [("", -1, -1), ("chr2", 0, 4)]
    assert "peaks.fa: coordinates of 1 of 2 headers are not kept" in caplog.text


def test_loci_without_a_known_base_are_kept_and_counted(fasta, caplog):
    assert bases(fasta(">a\nNNNN\n>b\nACGT\n")) == ["NNNN", "ACGT"]
    assert "1 of 2 loci have no known base" in caplog.text


@pytest.mark.parametrize("twice", [False, True])
def test_gzip_whatever_its_name(fasta, twice):
    content = gzip.compress(b">a\nACGT\n", mtime=0) + (gzip.compress(b">b\nTTTT\n", mtime=0) if twice else b"")
    assert bases(fasta(content)) == ["ACGT", "TTTT"][: 1 + twice]


def test_bgzip(fasta):
    plain = gzip.compress(b">a\nACGT\n", mtime=0)
    block = plain[:3] + b"\x04" + plain[4:10] + b"\x06\x00BC\x02\x00" + (len(plain) + 7).to_bytes(2, "little")
    assert bases(fasta(block + plain[10:] + BGZIP_END)) == ["ACGT"]
    with pytest.raises(InputError, match="bgzip data are truncated"):
        fasta(block + plain[10:])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty; needed FASTA records"),
        (b" \n\n", "the file is empty"),
        (gzip.compress(b"", mtime=0), "the file is empty"),
        (gzip.compress(b">a\nACGT\n" * 9, mtime=0)[:-12], "gzip data are truncated or damaged"),
        (b"chr1\t10\t20\n", r"not a FASTA file: starts with 'chr1\\t10\\t20', needed '>'"),
        (b">a\nACGT\n>\nACGT\n", "record 2 has no name"),
        (b">a\nACGT\n>b\n>c\nACGT\n", "record 'b' has no sequence"),
        (b">a\nACGT\n>b\n", "record 'b' has no sequence"),
        (b">a\nACGT\n>b\nTTTT\n>a\nACGT\n", "the name 'a' occurs more than once"),
        (b">sp|P1\nMKVLAAGE\n", "record 'sp|P1' has 'L', which is no nucleotide code; needed DNA".replace("|", r"\|")),
        (b">a\nAC-T\n", "record 'a' has '-'"),
        (b">a\nACGT\n>b\nACG\n", "record 'b' has 3 bases; record 'a' has 4"),
        (b">a\nACGT\nTT>b\nACGT\n", "record 'a' has '>'"),
        (b">a\nAC\xe9T\n", "record 'a' has 'é'"),
    ],
)
def test_bad_files_end_in_one_line(fasta, content, message):
    with pytest.raises(InputError, match=r"peaks\.fa: .*" + message) as caught:
        fasta(content)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match=r"absent\.fa: cannot be read: No such file"):
        read_fasta(tmp_path / "absent.fa")
    with pytest.raises(InputError, match="Is a directory"):
        read_fasta(tmp_path)


@pytest.mark.parametrize("length", [3, 5])
def test_length_that_the_model_needs(fasta, length):
    assert fasta(">a\nACGT\n", length=4).length == 4
    with pytest.raises(InputError, match=f"record 'a' has 4 bases; the model reads {length}"):
        fasta(">a\nACGT\n", length=length)


def test_written_sequences_read_back(tmp_path):
    places = {"chrom": ["chr1", "", "chr2"], "start": [0, -1, 7], "end": [3, -1, 10]}
    loci = pd.DataFrame({"locus": ["chr1:0-3", "b", "peak7"], **places})
    sequences = Sequences(loci=loci, codes=np.array([[0, 1, 4], [3, 2, 0], [3, 3, 3]], dtype=np.uint8))
    path = tmp_path / "out.fa"
    write_fasta(sequences, path)
    assert path.read_text() == ">chr1:0-3\nACN\n>b\nTGA\n>peak7 chr2:7-10\nTTT\n"
    back = read_fasta(path)
    np.testing.assert_array_equal(back.codes, sequences.codes)
    assert back.loci.to_dict("list") == loci.to_dict("list")


def test_sample_is_reproducible_without_replacement_in_the_order_of_the_file():
    loci = pd.DataFrame({"locus": [f"l{i}" for i in range(50)], "chrom": "", "start": -1, "end": -1})
    sequences = Sequences(loci=loci, codes=(np.arange(50)[:, None] % 4).astype(np.uint8))
    drawn = sample_loci(sequences, 20, seed=1)
    numbers = [int(name[1:]) for name in drawn.loci["locus"]]
    assert len(set(numbers)) == 20
    assert numbers == sorted(numbers)
    assert drawn.codes[:, 0].tolist() == [n % 4 for n in numbers]
    assert sample_loci(sequences, 20, seed=1).loci.equals(drawn.loci)
    assert not sample_loci(sequences, 20, seed=2).loci.equals(drawn.loci)
    assert sample_loci(sequences, 50, seed=1).loci.equals(loci)
    for n in (0, 51):
        with pytest.raises(InputError, match=f"cannot draw {n} loci: there are 50"):
            sample_loci(sequences, n, seed=1)


@pytest.fixture
def genome(tmp_path):
    path = tmp_path / "genome.fa"
    path.write_text(f">chr1 first\n{CHR1[:10]}\n{CHR1[10:20]}\n{CHR1[20:]}\n>chr2\n{CHR2}\n")
    return path


@pytest.fixture
def windows(tmp_path, genome):
    """Return a function that cuts windows for a BED text."""

    def read(text, *, length=4):
        bed = tmp_path / "peaks.bed"
        bed.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_loci(genome, bed, length=length)

    return read


def test_window_around_the_middle(windows):
    sequences = windows("chr1\t4\t8\nchr1\t13\t20\n")
    assert coordinates(sequences) == [("chr1", 4, 8), ("chr1", 14, 18)]
    assert bases(sequences) == [CHR1[4:8], CHR1[14:18]] == ["GGTT", "GTNN"]
    assert sequences.loci["locus"].tolist() == ["chr1:4-8", "chr1:14-18"]


def test_window_of_odd_length(windows):
    assert coordinates(windows("chr1\t4\t8\n", length=5)) == [("chr1", 4, 9)]


def test_soft_masked_genome_and_whole_chromosome(windows):
    assert bases(windows("chr2\t0\t10\n", length=10)) == [CHR2.upper()]


def narrow_peak(chrom, start, end, summit, name="."):
    return "\t".join(map(str, (chrom, start, end, name, 100, ".", 5.5, 3.2, -1, summit))) + "\n"


def test_summit_or_middle_of_a_narrow_peak(windows):
    sequences = windows(narrow_peak("chr1", 4, 20, 2) + narrow_peak("chr1", 4, 20, 0) + narrow_peak("chr1", 4, 20, -1))
    assert coordinates(sequences) == [("chr1", 4, 8), ("chr1", 2, 6), ("chr1", 10, 14)]


def test_column_10_of_other_formats_is_no_summit(windows):
    """BED12 counts its blocks there."""
    line = "\t".join(map(str, ("chr1", 4, 20, "gene", 0, "+", 4, 20, 0, 2, "3,3", "0,13"))) + "\n"
    assert coordinates(windows(line)) == [("chr1", 10, 14)]


def test_names_are_those_of_column_4_where_unique(windows, caplog):
    lines = "chr1\t4\t8\t{}\nchr1\t8\t12\t{}\n"
    assert windows(lines.format("a", "b")).loci["locus"].tolist() == ["a", "b"]
    assert windows(lines.format(".", ".")).loci["locus"].tolist() == ["chr1:4-8", "chr1:8-12"]
    assert "column 4" not in caplog.text
    for names in (("a", "a"), (".", "b"), ("", "b")):
        assert windows(lines.format(*names)).loci["locus"].tolist() == ["chr1:4-8", "chr1:8-12"]
        assert "not every name in column 4 is there and unique" in caplog.text
        caplog.clear()


@pytest.mark.parametrize(
    "text",
    [
        "#chrom start end\ntrack name=x\nbrowser position chr1\n\nchr1\t4\t8\n",
        "chr1 4 8\n",
        "chr1\t4\t8\r\n",
        "chr1\t4\t8",
        gzip.compress(b"chr1\t4\t8\n", mtime=0),
    ],
    ids=["comments", "spaces", "Windows", "no last line end", "gzip"],
)
def test_layouts_of_bed(windows, text):
    assert coordinates(windows(text)) == [("chr1", 4, 8)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no intervals"),
        ("# nothing\n", "has no intervals"),
        ("chr1\t4\t8\n1\t4\t8\n", r"line 2: .*genome\.fa has no chromosome '1'; it has 'chr1'"),
        ("chrchr2\t4\t8\n", r"has no chromosome 'chrchr2'; it has 'chr2'"),
        ("chrZ\t4\t8\n", r"has no chromosome 'chrZ'; it has chr1, chr2"),
        ("chr1\t24\t31\n", r"line 1: the window chr1:25-29 leaves the chromosome, which has 28 bases"),
        ("chr1\t0\t2\n", r"line 1: the window chr1:-1-3 leaves the chromosome"),
        ("chr1\tfour\t8\n", r"line 1: needed chrom, then start and end .* as numbers; got 'chr1\\tfour\\t8'"),
        ("chrom\tstart\tend\nchr1\t4\t8\n", r"line 1: needed chrom"),
        ("chr1\t4\n", "line 1: needed chrom"),
        ("chr1\t4.0\t8.0\n", "line 1: needed chrom"),
        ("chr1\t8\t8\n", "line 1: start must be at least 0 and below end; got 8 and 8"),
        ("chr1\t9\t8\n", "got 9 and 8"),
        ("chr1\t-2\t8\n", "got -2 and 8"),
        (narrow_peak("chr1", 4, 20, 16), "line 1: the summit is 16 bases from the start of an interval of 16"),
        (narrow_peak("chr1", 4, 20, "x"), "line 1: the summit must be a number; got 'x'"),
        ("chr1\t4\t8\nchr1\t5\t7\n", "the window chr1:4-8 occurs more than once"),
        (gzip.compress(b"chr1\t4\t8\n", mtime=0)[:-9], "gzip data are truncated"),
    ],
)
def test_bad_bed_ends_in_one_line(windows, text, message):
    with pytest.raises(InputError, match=r"peaks\.bed: .*" + message) as caught:
        windows(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a usable FASTA file"),
        (b"no header\nACGT\n", "not a usable FASTA file"),
        (b">chr1\nACGT\n>chr1\nACGT\n", "not a usable FASTA file: Duplicate key"),
        (b">chr1\nACGTA\nAC\nACGTA\n", "not a usable FASTA file"),
        (gzip.compress(b">chr1\nACGTACGTACGT\n", mtime=0), "a genome must be plain FASTA"),
        (b">chr1\nACGTEEEEACGT\n", r"chr1: b?'E' at position 1 is no nucleotide"),
    ],
    ids=["empty", "no FASTA", "twice", "ragged", "gzip", "protein"],
)
def test_bad_genome_ends_in_one_line(tmp_path, content, message):
    bed = tmp_path / "peaks.bed"
    bed.write_text("chr1\t4\t8\n")
    bad = tmp_path / "bad.fa"
    bad.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.fa: .*" + message) as caught:
        read_loci(bad, bed, length=4)
    assert "\n" not in str(caught.value)


def test_missing_genome_or_bed(tmp_path, genome):
    bed = tmp_path / "peaks.bed"
    with pytest.raises(InputError, match=r"peaks\.bed: cannot be read: No such file"):
        read_loci(genome, bed, length=4)
    bed.write_text("chr1\t4\t8\n")
    with pytest.raises(InputError, match=r"absent\.fa: cannot be read: no such file"):
        read_loci(tmp_path / "absent.fa", bed, length=4)


def test_nothing_is_written_beside_the_genome(windows, genome):
    before = sorted(genome.parent.iterdir())
    windows("chr1\t4\t8\n")
    assert sorted(p for p in genome.parent.iterdir() if p.suffix != ".bed") == before


def test_an_index_beside_the_genome_is_used(windows, genome):
    index = genome.with_name("genome.fa.fai")
    index.write_text(f"chr1\t{len(CHR1)}\t12\t10\t11\n")  # says nothing of chr2
    with pytest.raises(InputError, match="has no chromosome 'chr2'"):
        windows("chr2\t2\t8\n")


def test_an_index_older_than_its_genome_is_neither_used_nor_replaced(windows, genome):
    index = genome.with_name("genome.fa.fai")
    index.write_text("chr1\t4\t6\t4\t5\n")
    os.utime(index, (0, 0))
    assert bases(windows("chr2\t2\t8\n")) == ["TACG"]
    assert index.read_text() == "chr1\t4\t6\t4\t5\n"


@pytest.mark.parametrize(("name", "n"), [("ctcf", 39_184), ("pu1", 28_677)])
def test_real_peaks(shared_data, name, n):
    path = shared_data / "chip" / f"{name}.fa.gz"
    sequences = read_fasta(path, length=100)
    assert sequences.codes.shape == (n, 100)
    assert sequences.loci["locus"].is_unique
    assert (sequences.loci["end"] - sequences.loci["start"] == 100).all()
    assert sequences.loci["chrom"].str.startswith("chr").all()
    with gzip.open(path, "rt") as handle:
        header, text = handle.readline(), handle.readline()
    assert sequences.loci["locus"][0] == header[1:].strip()
    assert decode(sequences.codes[0]) == text.strip().upper()


def test_a_genome_without_peaks_is_told(tmp_path):
    path = tmp_path / "genome.fa"
    path.write_text(">chr1\n" + "ACGT" * 300 + "\n")
    with pytest.raises(InputError, match=r"has 1200 bases; the model reads 100; a genome needs a table of peaks"):
        read_fasta(path, length=100)
