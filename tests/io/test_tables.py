"""Tables of estimates and others as files."""

import gzip
import importlib.util
import json

import numpy as np
import pandas as pd
import pytest

from deepmr import schema
from deepmr.errors import InputError
from deepmr.io.tables import (
    numbers,
    read_estimates,
    read_table,
    skipped_path,
    whole_numbers,
    write_estimates,
    write_table,
)
from deepmr.types import Estimates

needs_pyarrow = pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed")
without_pyarrow = pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed")


@pytest.fixture
def table(tmp_path):
    """Return a function that reads a text (or bytes) as a table."""

    def read(content):
        path = tmp_path / "t.tsv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path)

    return read


@pytest.mark.parametrize(
    "content",
    [
        "a\tb\nx\t1\n\t2\n",
        "a\tb\r\nx\t1\r\n\t2\r\n",
        "a\tb\nx\t1\n\t2",
        "a\tb\n\nx\t1\n\n\t2\n\n",
        '"a"\t"b"\n"x"\t"1"\n""\t2\n',
        "\ufeffa\tb\nx\t1\n\t2\n",
        gzip.compress(b"a\tb\nx\t1\n\t2\n", mtime=0),
    ],
    ids=["plain", "Windows", "no last line end", "blank lines", "quoted", "byte order mark", "gzip"],
)
def test_read_table_by_hand(table, content):
    assert table(content).to_dict("list") == {"a": ["x", ""], "b": ["1", "2"]}


def test_text_stays_text(table):
    frame = table("locus\tx\nNA\t007\nnan\t1e5\n")
    assert frame["locus"].tolist() == ["NA", "nan"]
    assert frame["x"].tolist() == ["007", "1e5"]


def test_a_quoted_cell_may_hold_a_tab(table):
    assert table('a\tb\n"x\ty"\t1\n')["a"].tolist() == ["x\ty"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a tab-separated table: No columns"),
        ("\n\n", "not a tab-separated table: No columns"),
        ("a\tb\n1\t2\n1\n", r"line 3 has 1 cell\(s\); the header has 2"),
        ("a\tb\n1\t2\t3\n", r"line 2 has 3 cell\(s\); the header has 2"),
        ("a\tb\ta\n1\t2\t3\n", "the column 'a' occurs more than once"),
        ('a\tb\n"1\t2\n', "not a tab-separated table: Error tokenizing"),
        (b"a\tb\n\xff\t2\n", "not a tab-separated table: 'utf-8' codec"),
        (gzip.compress(b"a\tb\n1\t2\n", mtime=0)[:-9], "gzip data are truncated"),
    ],
)
def test_bad_table_ends_in_one_line(table, content, message):
    with pytest.raises(InputError, match=r"t\.tsv: " + ".*" + message) as caught:
        table(content)
    assert "\n" not in str(caught.value)


def test_missing_table(tmp_path):
    with pytest.raises(InputError, match=r"t\.tsv: cannot be read: No such file"):
        read_table(tmp_path / "t.tsv")


@pytest.mark.parametrize("name", ["t.tsv", "t.tsv.gz"])
def test_written_numbers_read_back_to_the_last_bit(tmp_path, name):
    rng = np.random.default_rng(0)
    values = rng.standard_normal(2000) * 10.0 ** rng.integers(-300, 300, 2000)
    path = tmp_path / name
    write_table(pd.DataFrame({"x": values}, index=np.arange(5, 2005)), path)
    np.testing.assert_array_equal(numbers(path, read_table(path), "x"), values)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_numbers_by_hand(tmp_path):
    frame = pd.DataFrame({"x": ["1", " -2.5e3 ", "", "NA", "nan", "None"]})
    np.testing.assert_array_equal(
        numbers(tmp_path, frame, "x", missing="unknown"), [1, -2500, np.nan, np.nan, np.nan, np.nan]
    )
    mixed = pd.DataFrame({"x": pd.array([1.5, None], dtype="Float64"), "y": [np.nan, 2], "z": [None, "3"]})  # Parquet
    for column, expected in {"x": [1.5, np.nan], "y": [np.nan, 2], "z": [np.nan, 3]}.items():
        np.testing.assert_array_equal(numbers(tmp_path, mixed, column, missing="unknown", unknown=("",)), expected)
    infinite = numbers(tmp_path, pd.DataFrame({"x": ["inf", "-inf", "3"]}), "x", infinite=True)
    np.testing.assert_array_equal(infinite, [np.inf, -np.inf, 3])


@pytest.mark.parametrize(
    ("cell", "options", "message"),
    [
        ("two", {}, r"line 3, column 'x': 'two' is not a finite number$"),
        ("1,5", {"missing": "unknown"}, r"'1,5' is not a finite number \(empty: unknown\)"),
        ("", {}, r"line 3, column 'x': '' is not a finite number$"),
        ("NA", {"infinite": True}, "'NA' is not a finite number"),
        ("inf", {}, "'inf' is not a finite number"),
        ("1e999", {"missing": "unknown"}, "'1e999' is not a finite number"),
    ],
)
def test_what_is_no_number_is_named(tmp_path, cell, options, message):
    with pytest.raises(InputError, match=r"t\.tsv: " + ".*" + message):
        numbers(tmp_path / "t.tsv", pd.DataFrame({"x": ["1", cell, "3"]}), "x", **options)


def test_whole_numbers(tmp_path):
    whole = whole_numbers(tmp_path, pd.DataFrame({"x": ["1", "2.0", "-3"]}), "x")
    assert whole.dtype == np.int64
    assert whole.tolist() == [1, 2, -3]
    with pytest.raises(InputError, match=r"line 3, column 'x': 2\.5 is not a whole number"):
        whole_numbers(tmp_path, pd.DataFrame({"x": ["1", "2.5"]}), "x")


@without_pyarrow
def test_parquet_without_pyarrow(tmp_path):
    path = tmp_path / "t.parquet"
    with pytest.raises(InputError, match=r"t\.parquet: Parquet needs pyarrow: pip install 'deepmr\[parquet\]'"):
        write_table(pd.DataFrame({"x": [1]}), path)
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"PAR1")
    with pytest.raises(InputError, match="Parquet needs pyarrow"):
        read_table(path)


@needs_pyarrow
def test_parquet_round_trip(tmp_path, estimates):
    path = tmp_path / "t.parquet"
    write_estimates(estimates, path, provenance={})
    pd.testing.assert_frame_equal(read_estimates(path).table, estimates.table, check_dtype=False)
    path.write_bytes(b"not Parquet")
    with pytest.raises(InputError, match="not a Parquet file"):
        read_table(path)


@pytest.fixture
def estimates():
    """Three rows with extras that one method leaves empty, shared errors, and a locus that was skipped."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "method": ["ivw", "ivw", "egger"],
            "exposure": "CTCF",
            "outcome": "PU.1, log",
            "locus": ["chr1:0-100", "NA", "p 3"],
            "estimand": "model",
            "beta": rng.standard_normal(3) / 3,
            "se": rng.random(3) * 1e-17,
            "ci_low": rng.standard_normal(3),
            "ci_high": rng.standard_normal(3),
            "pvalue": [0.0, 1e-300, 1.0],
            "n": [3, 4, 5],
            "df": [np.inf, 2.0, 1.5],
            "level": 0.95,
            "tau2_high": [np.inf, np.nan, 0.1],
            "intercept": [np.nan, np.nan, 1 / 3],
        }
    )
    skipped = pd.DataFrame([["ivw", "CTCF", "PU.1, log", "q", "2 instruments; needs 3"]], columns=list(schema.SKIPPED))
    return Estimates(table=table, skipped=skipped, error_factors=rng.standard_normal((12, 3)))


@pytest.mark.parametrize("name", ["mr.tsv", "mr.tsv.gz"])
def test_estimates_round_trip_to_the_last_bit(tmp_path, estimates, name):
    path = tmp_path / name
    write_estimates(estimates, path, provenance={"command": "mr"})
    back = read_estimates(path)
    pd.testing.assert_frame_equal(back.table, estimates.table, check_exact=True, check_dtype=False)
    assert back.table["n"].dtype == np.int64
    np.testing.assert_array_equal(back.error_factors, estimates.error_factors)
    assert back.skipped.to_dict("list") == estimates.skipped.to_dict("list")
    assert json.loads((tmp_path / f"{name}.json").read_text()) == {"command": "mr"}
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, f"{name}.json", skipped_path(path).name])


def test_estimates_without_factors_skipped_or_rows(tmp_path, estimates):
    path = tmp_path / "mr.tsv"
    write_estimates(Estimates(table=estimates.table[:0]), path, provenance={})
    assert skipped_path(path) == tmp_path / "mr.skipped.tsv"
    assert skipped_path(path).read_text() == "\t".join(schema.SKIPPED) + "\n"
    back = read_estimates(path)
    assert len(back) == 0
    assert back.error_factors is None
    assert len(back.skipped) == 0


def test_a_table_made_elsewhere_needs_no_skipped_file(tmp_path, estimates):
    path = tmp_path / "theirs.tsv"
    write_table(estimates.table[list(schema.ESTIMATES)], path)
    back = read_estimates(path)
    assert len(back) == 3
    assert list(back.skipped.columns) == list(schema.SKIPPED)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("beta", "big", "line 3, column 'beta': 'big' is not a finite number"),
        ("beta", "", "line 3, column 'beta': '' is not a finite number"),
        ("se", "inf", "line 3, column 'se': 'inf'"),
        ("se", "-1", "se must be zero or positive; 1 of 3 is not, first at row 1"),
        ("pvalue", "NA", "line 3, column 'pvalue': 'NA'"),
        ("n", "", "line 3, column 'n': ''"),
        ("n", "2.5", "line 3, column 'n': 2.5 is not a whole number"),
        ("df", "many", "line 3, column 'df': 'many'"),
        ("factor_0", "", "line 3, column 'factor_0': ''"),
    ],
)
def test_bad_estimates_end_in_one_line(tmp_path, estimates, column, value, message):
    path = tmp_path / "mr.tsv"
    frame = estimates.to_frame().astype(str)
    frame.loc[1, column] = value
    frame.to_csv(path, sep="\t", index=False)
    with pytest.raises(InputError, match=r"mr\.tsv: .*" + message) as caught:
        read_estimates(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drop": ["beta", "n"]}, r"not a table of estimates: beta, n are missing"),
        ({"add": "factor_x"}, "undeclared columns: factor_x"),
        ({"add": "odds"}, "undeclared columns: odds"),
    ],
)
def test_columns_that_do_not_belong(tmp_path, estimates, change, message):
    path = tmp_path / "mr.tsv"
    frame = estimates.table.drop(columns=change.get("drop", []))
    if "add" in change:
        frame[change["add"]] = 1.0
    write_table(frame, path)
    with pytest.raises(InputError, match=r"mr\.tsv: .*" + message):
        read_estimates(path)


def test_a_bad_skipped_table_is_named(tmp_path, estimates):
    path = tmp_path / "mr.tsv"
    write_estimates(estimates, path, provenance={})
    skipped_path(path).write_text("locus\nq\n")
    with pytest.raises(InputError, match=r"skipped needs the column\(s\) method"):
        read_estimates(path)


def test_estimates_that_cannot_be_written_leave_the_earlier_files(tmp_path, estimates):
    path = tmp_path / "mr.tsv"
    write_estimates(estimates, path, provenance={"seed": 1})
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    fewer = estimates.take(np.array([True, False, True]))
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_estimates(fewer, path, provenance={"seed": object()})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_missing_folder(tmp_path, estimates):
    with pytest.raises(InputError, match=r"mr\.tsv: the folder .* does not exist"):
        write_estimates(estimates, tmp_path / "absent" / "mr.tsv", provenance={})
