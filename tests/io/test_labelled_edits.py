"""Tables of measured edits: every form, and what is wrong with bad ones."""

import gzip

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.io.labelled_edits import read_labelled_edits

TASKS = ("X", "Y")


def write(tmp_path, text):
    path = tmp_path / "edits.tsv"
    path.write_text("\n".join("\t".join(line.split("|")) for line in text.strip().splitlines()) + "\n")
    return path


DIFFERENCES = """
locus|pos|other_allele|effect_allele|task|difference|se
a|3|A|G|X|-1.5|0.4
a|3|A|G|Y|-3.0|0.6
b|5|C|T|X|-1.0|0.4
"""


def test_differences(tmp_path):
    found = read_labelled_edits(write(tmp_path, DIFFERENCES), tasks=TASKS)
    assert found.tasks == TASKS
    assert found.variants.to_dict("records") == [
        {"locus": "a", "pos": 3, "other_allele": "A", "effect_allele": "G", "line": 2},
        {"locus": "b", "pos": 5, "other_allele": "C", "effect_allele": "T", "line": 4},
    ]
    assert found.difference[0].tolist() == [-1.5, -3.0]
    assert np.isnan(found.difference[1, 1])
    assert found.variance[0] == pytest.approx([0.16, 0.36])
    assert found.shared_variance[0] == pytest.approx([0.08, 0.18])  # half of it is the reference's
    other = read_labelled_edits(tmp_path / "edits.tsv", tasks=TASKS, reference_share=0.25)
    assert other.shared_variance[0] == pytest.approx([0.04, 0.09])


def test_gzip_and_where(tmp_path):
    text = write(tmp_path, DIFFERENCES).read_bytes()
    (tmp_path / "edits.tsv.gz").write_bytes(gzip.compress(text))
    found = read_labelled_edits(tmp_path / "edits.tsv.gz", tasks=TASKS, where="locus=a")
    assert len(found) == 1


def test_values_with_a_column_for_the_reference(tmp_path):
    text = """
locus|offset|effect_allele|task|value|se|reference_value|se_reference
a|2|G|X|4|0.3|5|0.4
a|3|T|X|3|0.3|5|0.4
"""
    found = read_labelled_edits(write(tmp_path, text), tasks=TASKS)
    assert found.difference[:, 0].tolist() == [-1, -2]
    assert found.variance[:, 0] == pytest.approx([0.25, 0.25])
    assert found.shared_variance[:, 0] == pytest.approx([0.16, 0.16])
    assert found.reference[:, 0].tolist() == [5, 5]


def test_values_with_rows_for_the_reference(tmp_path):
    text = """
locus|offset|effect_allele|task|value|se
a|||X|5|0.4
a|2|G|X|4|0.3
"""
    found = read_labelled_edits(write(tmp_path, text), tasks=TASKS)
    assert found.difference.tolist() == [[-1]]
    assert found.shared_variance == pytest.approx(np.array([[0.16]]))


def test_replicates_tell_the_standard_error(tmp_path):
    text = """
locus|offset|effect_allele|task|value|replicate
a|||X|5|1
a|||X|7|2
a|2|G|X|4|1
a|2|G|X|2|2
"""
    found = read_labelled_edits(write(tmp_path, text), tasks=TASKS)
    assert found.difference.tolist() == [[-3]]
    assert found.shared_variance == pytest.approx(np.array([[1.0]]))  # variance 2 between two replicates
    assert found.variance == pytest.approx(np.array([[2.0]]))


def test_counts_as_simulated(tmp_path):
    (tmp_path / "references.tsv").write_text("locus\tX\tY\nb\t7\t8\na\t100\t400\n")
    text = """
variant_id|locus|chrom|pos|effect_allele|other_allele|offset|X|Y
v|a||4|G|A|3|25|36
"""
    found = read_labelled_edits(write(tmp_path, text), tasks=TASKS, references=tmp_path / "references.tsv")
    expected = 2 * np.sqrt(np.array([25, 36]) + 0.375) - 2 * np.sqrt(np.array([100, 400]) + 0.375)
    assert found.difference[0] == pytest.approx(expected)
    assert found.variance[0].tolist() == [2, 2]
    assert found.shared_variance[0].tolist() == [1, 1]
    assert found.variants["offset"].tolist() == [3]


HEAD = "locus|pos|effect_allele|task|"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "difference|se\na|3|G|Z|1|1", "line 2, a: task 'Z'; needed one of X, Y"),
        (HEAD + "difference|se\na|3|G|X|1|0", "column 'se': a standard error must be above 0; got 0"),
        (HEAD + "difference|se\na|3|G|X|1|-1", "a standard error must be above 0; got -1"),
        (HEAD + "difference\na|3|G|X|1", "needed se, the standard error of difference, or a column replicate"),
        (HEAD + "difference|se\na|3|G|X|x|1", "column 'difference': 'x' is not a finite number"),
        (HEAD + "difference|se\na|3|G|X|1|1\na|3|G|X|2|1", "line 3, a: effect_allele 'G'; needed there once"),
        (HEAD + "difference|se\na|3||X|1|1", "effect_allele ''; needed the new base"),
        (HEAD + "difference|value|se\na|3|G|X|1|1|1", "needed one of the columns difference, value, count; it has"),
        (HEAD + "se\na|3|G|X|1", "needed one of the columns difference, value, count; it has none"),
        (HEAD + "value|se\na|3|G|X|1|1", "a, task X: has no reference"),
        (HEAD + "value|se\na|||X|1|1", "has references only, no edit"),
        (HEAD + "count|reference_count\na|3|G|X|-1|2", "line 2, column 'count': a count must not be negative"),
        (HEAD + "difference|se|se_reference\na|3|G|X|1|1|1", "se_reference must be below se"),
        (HEAD + "value|se|reference_value\na|3|G|X|1|1|2\na|4|G|X|1|1|3", "edits of a locus have one reference"),
        (HEAD + "difference|se\na|3|G|X|1|1\na|4|G|X|1|NA", r"edits.tsv: line 3: se is empty \(1 of 2 rows\)"),
        (HEAD + "difference|se\na|3|G|X|1|NA", "needed se, the standard error of difference, or a column replicate"),
        (HEAD + "difference|replicate\na|3|G|X|1|1", "the replicates are no more than one a cell"),
        ("locus|effect_allele|task|difference|se\na|G|X|1|1", r"the column\(s\) pos are missing"),
        ("locus|pos|effect_allele|GATA\na|3|G|1", "needed a column 'task', or columns of counts named X, Y"),
        ("locus|pos|effect_allele|X|Y\na|3|G|1|1", "needed those of their references too: --targets"),
        (HEAD + "difference|se\na|3.5|G|X|1|1", "column 'pos': 3.5 is not a whole number"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_labelled_edits(write(tmp_path, text), tasks=TASKS)
    assert "\n" not in str(caught.value)


def test_a_locus_without_reference_counts(tmp_path):
    (tmp_path / "references.tsv").write_text("locus\tX\tY\nb\t7\t8\n")
    path = write(tmp_path, "locus|pos|effect_allele|X|Y\na|3|G|1|1")
    with pytest.raises(
        InputError, match=r"edits.tsv: line 2: the locus 'a' is not in \S*references.tsv \(1 of 1 rows\)"
    ):
        read_labelled_edits(path, tasks=TASKS, references=tmp_path / "references.tsv")


@pytest.mark.parametrize("where", ["kind", "kind=both", "locus=c"])
def test_where_that_leaves_nothing(tmp_path, where):
    with pytest.raises(InputError, match=r"where|no labelled edit"):
        read_labelled_edits(write(tmp_path, DIFFERENCES), tasks=TASKS, where=where)
