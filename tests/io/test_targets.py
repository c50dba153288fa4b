"""Targets joined to sequences by name."""

import gzip

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.io.targets import read_targets, write_targets
from deepmr.types import Sequences


@pytest.fixture
def sequences():
    loci = pd.DataFrame({"locus": ["a", "b", "c"], "chrom": "", "start": -1, "end": -1})
    return Sequences(loci=loci, codes=np.zeros((3, 4), dtype=np.uint8))


@pytest.fixture
def targets(tmp_path, sequences):
    """Return a function that reads a text (or bytes) as the targets of loci a, b and c."""

    def read(content):
        path = tmp_path / "targets.tsv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_targets(path, sequences)

    return read


def test_by_hand(targets):
    names, values = targets("locus\tX\tY\na\t1\t0.5\nb\t2\t-3\nc\t3\t1e2\n")
    assert names == ("X", "Y")
    assert values.dtype == np.float64
    assert values.tolist() == [[1, 0.5], [2, -3], [3, 100]]


@pytest.mark.parametrize(
    "content",
    [
        "locus\tX\nc\t3\na\t1\nb\t2\n",
        "X\tlocus\n3\tc\n1\ta\n2\tb\n",
        "locus\tX\r\nc\t3\r\na\t1\r\nb\t2\r\n",
        gzip.compress(b"locus\tX\nb\t2\nc\t3\na\t1\n", mtime=0),
    ],
    ids=["other order", "locus last", "Windows", "gzip"],
)
def test_rows_are_joined_by_name(targets, content):
    names, values = targets(content)
    assert names == ("X",)
    assert values.tolist() == [[1], [2], [3]]


def test_empty_cells_are_unknown(targets):
    _, values = targets("locus\tX\tY\na\t\t1\nb\tNA\t2\nc\tna\t3\n")
    assert np.isnan(values[:, 0]).all()
    assert values[:, 1].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a tab-separated table"),
        ("name\tX\na\t1\n", "the column 'locus' is missing; it has name, X"),
        ("locus\na\nb\nc\n", "has no column of targets beside 'locus'"),
        ("locus\tX\na\t1\nb\t2\n", "1 of 3 sequences have no targets, first 'c'"),
        ("locus\tX\n", "3 of 3 sequences have no targets, first 'a'"),
        ("locus\tX\na\t1\nb\t2\nc\t3\nd\t4\n", "1 of 4 loci are not among the sequences, first 'd'"),
        ("locus\tX\na\t1\nb\t2\nc\t3\na\t1\n", "the locus 'a' occurs more than once"),
        ("locus\tX\tX\na\t1\t1\nb\t2\t2\nc\t3\t3\n", "the column 'X' occurs more than once"),
        ("locus\tX\na\t1\nb\thigh\nc\t3\n", r"line 3, column 'X': 'high' is not a finite number \(empty: unknown\)"),
        ("locus\tX\na\t1\nb\t2\nc\tinf\n", "line 4, column 'X': 'inf' is not a finite number"),
        ("locus\tX\tY\na\t1\t1\nb\t2\n", r"line 3 has 2 cell\(s\); the header has 3"),
    ],
)
def test_bad_targets_end_in_one_line(targets, content, message):
    with pytest.raises(InputError, match=r"targets\.tsv: .*" + message) as caught:
        targets(content)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path, sequences):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_targets(tmp_path / "targets.tsv", sequences)


def test_written_targets_by_hand(tmp_path):
    path = tmp_path / "targets.tsv"
    write_targets(path, ["a", "b"], ["count", "signal"], np.array([[3, 0.5], [np.nan, np.nan]]))
    assert path.read_text() == "locus\tcount\tsignal\na\t3\t0.5\nb\t\t\n"


def test_written_targets_read_back_to_the_last_bit(tmp_path, sequences):
    values = np.array([[1 / 3, 1e300, 2.0**60], [np.nan, -5.0, 0.0], [1e-300, np.nan, 7.0]])
    path = tmp_path / "targets.tsv"
    write_targets(path, ["a", "b", "c"], ["x", "y", "z"], values)
    names, back = read_targets(path, sequences)
    assert names == ("x", "y", "z")
    np.testing.assert_array_equal(back, values)


def test_nan_is_the_result_of_a_failed_computation_not_an_unknown_target(targets):
    with pytest.raises(InputError, match="line 2, column 'X': 'NaN' is not a finite number \\(empty: unknown\\)"):
        targets("locus\tX\na\tNaN\nb\t1\nc\t2\n")


def test_nulls_of_parquet_are_unknown(tmp_path, sequences):
    pytest.importorskip("pyarrow", reason="Parquet is an extra")
    path = tmp_path / "targets.parquet"
    values = np.array([[1.5, np.nan], [np.nan, 2.0], [0.0, -3.0]])
    write_targets(path, ["a", "b", "c"], ["X", "Y"], values)
    np.testing.assert_array_equal(read_targets(path, sequences)[1], values)


def test_commas_between_columns_are_told(targets):
    with pytest.raises(InputError, match="it has locus,X; needed tabs between columns"):
        targets("locus,X\na,1\n")
