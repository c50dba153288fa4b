"""Contexts as tables: numbers, categories, known errors, and what is refused."""

import gzip

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.io.contexts import read_contexts

ROWS = """locus\tchrom\tgc\tcell\tacc\tacc_se
a\t1\t0.4\tK562\t1.5\t0.1
b\t1\t0.5\tHepG2\t2\t0.2
c\t2\t\tK562\t3\t0.1
d\t2\t0.7\tA549\t4\tNA
e\t3\t0.8\tK562\t5\t0
"""


def write(tmp_path, text, name="c.tsv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_numbers_categories_and_errors(tmp_path):
    read = read_contexts(write(tmp_path, ROWS))
    assert read.names == ("gc", "cell=HepG2", "cell=K562", "acc")
    assert read.columns == ("gc", "cell", "acc")
    assert read.levels == {"cell": ("A549", "HepG2", "K562")}
    assert read.frame["locus"].tolist() == ["a", "b", "e"]
    assert read.frame["chrom"].tolist() == ["1", "1", "3"]
    assert read.frame["cell=K562"].tolist() == [1, 0, 1]
    assert read.frame["acc_se"].tolist() == [0.1, 0.2, 0]
    np.testing.assert_array_equal(read.values[:, 0], [0.4, 0.5, 0.8])
    skipped = dict(zip(read.skipped["locus"], read.skipped["reason"], strict=True))
    assert skipped == {"c": "no value of context 'gc'", "d": "no value of context 'acc_se'"}


def test_commas_and_gzip_are_the_same(tmp_path):
    one = read_contexts(write(tmp_path, ROWS))
    path = tmp_path / "c.csv.gz"
    path.write_bytes(gzip.compress(ROWS.replace("\t", ",").encode()))
    assert read_contexts(path).frame.equals(one.frame)


def test_columns_are_chosen_by_name_and_pattern(tmp_path):
    path = write(tmp_path, ROWS)
    assert read_contexts(path, columns=["acc"]).names == ("acc",)
    assert read_contexts(path, columns=["a*", "gc"]).names == ("acc", "gc")
    with pytest.raises(InputError, match="did you mean 'gc'"):
        read_contexts(path, columns=["GC"])


def test_a_number_can_be_a_category(tmp_path):
    path = write(tmp_path, "locus\tcopies\n" + "".join(f"l{k}\t{k % 3}\n" for k in range(30)))
    assert read_contexts(path).names == ("copies",)
    assert read_contexts(path, categorical=["copies"]).names == ("copies=1", "copies=2")


def test_a_fit_knows_its_levels_alone(tmp_path):
    levels = {"cell": ("A549", "HepG2", "K562")}
    new = write(tmp_path, "locus\tcell\nx\tK562\ny\tK562\n")
    assert read_contexts(new, levels=levels).frame["cell=HepG2"].tolist() == [0, 0]
    unseen = write(tmp_path, "locus\tcell\nx\tK562\ny\tHAP1\n")
    with pytest.raises(InputError, match=r"line 3, column 'cell': 'HAP1' was not among .* A549, HepG2, K562$"):
        read_contexts(unseen, levels=levels)


def test_a_category_that_does_not_vary_is_left_out(tmp_path):
    path = write(tmp_path, "locus\tcell\tgc\nx\tK562\t1\ny\tK562\t2\n")
    read = read_contexts(path)
    assert read.names == ("gc",)
    assert read.notes == ("Context cell is left out: all loci have K562.",)
    with pytest.raises(InputError, match="no context varies; every locus has cell K562"):
        read_contexts(path, columns=["cell"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name\tgc\na\t1\n", "has no column 'locus'"),
        ("locus\tgc\na\t1\nb\t2\na\t3\n", "locus 'a' has more than one row, line 2 and line 4"),
        ("locus\tgc\n\t1\n", "line 2, column 'locus': is empty"),
        ("locus\tgc\na\t1\nb\t2\nc\tx\n", "line 4, column 'gc': 'x' is not a finite number"),
        ("locus\tgc\na\t1\nb\tinf\n", "line 3, column 'gc': 'inf' is not a finite number"),
        ("locus\tgc\tf_statistic\na\t1\t30\n", "column 'f_statistic' is a result of the edits"),
        ("locus\tgc\tgc_se\na\t1\t-1\n", "line 2, column 'gc_se': -1 is below 0"),
        ("locus\tcell\tcell_se\na\tx\t1\nb\ty\t1\n", "a category has no standard error"),
        ("locus\tchrom\na\t1\n", "has no contexts beside locus, chrom"),
        ("locus\tgc\n", "has no rows"),
        ("locus\tgc\na\t\nb\tNA\n", "no locus has a value of every context; line 2: no value of context 'gc'"),
        (
            "locus\tk\n" + "".join(f"l{k}\tw{k}\n" for k in range(30)),
            "context 'k' has 30 levels such as 'w0' in 30 loci",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path, text, says):
    with pytest.raises(InputError, match=says):
        read_contexts(write(tmp_path, text))


def test_missing_values_can_be_refused(tmp_path):
    with pytest.raises(InputError, match="line 4: no value of context 'gc'"):
        read_contexts(write(tmp_path, ROWS), missing="refuse")
