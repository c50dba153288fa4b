import gzip

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.io.kinship import read_kinship
from deepmr.population.relationship import relationship_of, spectrum_of_relationship
from tests.population.panels import families

SAMPLES = [f"s{k}" for k in range(60)]


@pytest.fixture(scope="module")
def matrix():
    return relationship_of(families(variants=40)).matrix


def lines(matrix, *, digits=10, triangle=False, separator="\t"):
    rows = [row[: i + 1] if triangle else row for i, row in enumerate(matrix)]
    return "".join(separator.join(f"{x:.{digits}g}" for x in row) + "\n" for row in rows)


def identifiers(samples=SAMPLES):
    return "".join(f"family\t{sample}\n" for sample in samples)


def test_numbers_alone_are_in_the_order_of_the_samples(tmp_path, matrix):
    (tmp_path / "k.cXX.txt").write_text(lines(matrix))
    found = read_kinship(tmp_path / "k.cXX.txt", SAMPLES)
    np.testing.assert_allclose(found.matrix, matrix, rtol=1e-9, atol=1e-15)
    assert found.samples.tolist() == SAMPLES
    assert found.rounding == pytest.approx(5e-10)
    with pytest.raises(InputError, match=r"has no names of samples, and no file k\.cXX\.txt\.id beside it"):
        read_kinship(tmp_path / "k.cXX.txt")
    with pytest.raises(InputError, match="is of 60 samples; 59 have names"):
        read_kinship(tmp_path / "k.cXX.txt", SAMPLES[:59])


@pytest.mark.parametrize("triangle", [False, True])
@pytest.mark.parametrize("header", ["", "#FID\tIID\n"])
def test_plink(tmp_path, matrix, triangle, header):
    (tmp_path / "k.rel.gz").write_bytes(gzip.compress(lines(matrix, digits=6, triangle=triangle).encode()))
    (tmp_path / "k.rel.id").write_text(header + identifiers())
    found = read_kinship(tmp_path / "k.rel.gz", ["s7", "s3"])
    np.testing.assert_allclose(found.matrix, matrix[np.ix_([7, 3], [7, 3])], rtol=1e-5)
    whole = read_kinship(tmp_path / "k.rel.gz")
    assert whole.samples.tolist() == SAMPLES
    assert spectrum_of_relationship(whole).rank == 60  # its smallest eigenvalue is negative, by its digits
    with pytest.raises(InputError, match="1 of 1 samples are not in the relationship matrix, first 'x'"):
        read_kinship(tmp_path / "k.rel.gz", ["x"])


@pytest.mark.parametrize("header", [0, 1])
def test_identifiers_without_families(tmp_path, matrix, header):
    (tmp_path / "k.rel").write_text(lines(matrix))
    (tmp_path / "k.rel.id").write_text("#IID\n" * header + "\n".join(SAMPLES))
    assert read_kinship(tmp_path / "k.rel").samples.tolist() == SAMPLES


def test_gcta(tmp_path, matrix):
    matrix[np.tril_indices(60)].astype("<f4").tofile(tmp_path / "k.grm.bin")
    (tmp_path / "k.grm.id").write_text(identifiers())
    found = read_kinship(tmp_path / "k.grm.bin", pd.Index(SAMPLES[::-1]))
    np.testing.assert_allclose(found.matrix, matrix[::-1, ::-1], rtol=1e-6)
    assert found.rounding == 2.0**-24
    assert spectrum_of_relationship(found).rank == 60
    (tmp_path / "k.grm.bin").write_bytes(b"1234567")
    with pytest.raises(InputError, match="has 7 bytes, which is no triangle"):
        read_kinship(tmp_path / "k.grm.bin")


@pytest.mark.parametrize("names", [["a", "b", "c"], ["101", "102", "103"]])
@pytest.mark.parametrize("corner", ["", "id\t", "\t"])
def test_names_in_header_and_first_column(tmp_path, names, corner):
    rows = [[1.0, 0.25, 0.5], [0.25, 1.0, 0.125], [0.5, 0.125, 1.0]]
    text = corner + "\t".join(names) + "\n"
    text += "".join("\t".join([name, *map(str, row)]) + "\n" for name, row in zip(names, rows, strict=True))
    (tmp_path / "k.tsv").write_text(text)
    found = read_kinship(tmp_path / "k.tsv", [names[2], names[0]])
    np.testing.assert_array_equal(found.matrix, [[1.0, 0.5], [0.5, 1.0]])
    (tmp_path / "k.tsv").write_text(text.replace(names[1], "z", 1))
    with pytest.raises(InputError, match="needed a header and a first column with the same 3 names"):
        read_kinship(tmp_path / "k.tsv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty; needed a relationship matrix"),
        ("1 0\n0 x\n", "line 2: could not convert string to float: 'x'"),
        ("1 0\n0\n", "line 2 has 1 numbers; needed 2 of 2 rows"),
        ("1 0\n0 nan\n", "line 2, number 2: must be finite; it is nan"),
        ("1\n0 1 2\n", "line 2 has 3 numbers; needed 2 of 2 rows"),
    ],
)
def test_what_is_no_matrix_is_refused(tmp_path, text, said):
    (tmp_path / "k.txt").write_text(text)
    with pytest.raises(InputError, match=said):
        read_kinship(tmp_path / "k.txt", ["a", "b"])


def test_few_digits_excuse_no_indefinite_matrix(tmp_path):
    (tmp_path / "k.txt").write_text("1 2\n2 1\n")
    with pytest.raises(InputError, match="smallest eigenvalue is -1"):
        spectrum_of_relationship(read_kinship(tmp_path / "k.txt", ["a", "b"]), scaling="none", centre=False)
