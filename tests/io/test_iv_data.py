"""Individual-level data from tables and PLINK files."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.io.iv_data import read_iv_data

TABLE = """id\tx\ty\tv1\tv2\tage\tw\tfam
a\t1.5\t1\t0\t2\t50\t1\tF1
b\t2.5\t1\t1\tNA\t51\t2\tF1
c\t3.5\t0\t2\t1\t52\t1\tF2
d\t\t1\t1\t0\t53\t1\tF3
e\t5.5\t1\t0\t1\tNA\t1\tF2
f\t6.5\t0\t2\t0\t55\t0.5\tF4
"""
ROLES = {"exposure": "x", "outcome": "y", "instruments": ["v{1..2}"]}


@pytest.fixture
def write(tmp_path):
    def written(text, name="t.tsv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


def test_complete_cases_are_kept_and_the_others_counted(write):
    found = read_iv_data(write(TABLE), **ROLES, covariates=["age"], weight="w", cluster="fam")
    data, counts = found.data, found.counts
    assert data.exposure.tolist() == [1.5, 3.5, 6.5]
    assert data.outcome.tolist() == [1, 0, 0]
    assert data.instruments.tolist() == [[0, 2], [2, 1], [2, 0]]
    assert data.covariates.tolist() == [[50], [52], [55]]
    assert data.weights.tolist() == [1, 1, 0.5]
    assert data.clusters.tolist() == [0, 1, 2]
    assert (counts.n_read, counts.n_kept) == (6, 3)
    assert counts.missing == {"x": 1, "v2": 1, "age": 1}


@pytest.mark.parametrize(
    ("name", "separator"), [("t.tsv", "\t"), ("t.csv", ","), ("t.csv", ";"), ("t.txt", " "), ("t.tsv.gz", "\t")]
)
def test_every_way_to_write_a_table_says_the_same(tmp_path, name, separator):
    text = TABLE.replace("\t\t", "\tNA\t").replace("\t", separator)
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    found = read_iv_data(path, **ROLES)
    assert found.data.instruments.tolist() == [[0, 2], [2, 1], [0, 1], [2, 0]]
    assert found.data.instrument_names == ("v1", "v2")
    named = {"\t": "tab", ",": "comma", ";": "semicolon", " ": "blank"}[separator]
    assert np.array_equal(read_iv_data(path, **ROLES, separator=named).data.exposure, found.data.exposure)


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs pyarrow")
def test_parquet(write, tmp_path):
    text = read_iv_data(write(TABLE), **ROLES, cluster="fam")
    pd.read_csv(tmp_path / "t.tsv", sep="\t").to_parquet(tmp_path / "t.parquet")
    same = read_iv_data(tmp_path / "t.parquet", **ROLES, cluster="fam")
    assert np.array_equal(same.data.instruments, text.data.instruments)
    assert np.array_equal(same.data.clusters, text.data.clusters)


def test_a_typed_table_says_the_same_as_text(write, tmp_path, monkeypatch):
    """As Parquet gives it, whether or not its reader is installed."""
    text = read_iv_data(write(TABLE), **ROLES, cluster="fam")
    frame = pd.read_csv(tmp_path / "t.tsv", sep="\t").convert_dtypes()
    monkeypatch.setattr("deepmr.io.iv_table.read_table", lambda path: frame)
    same = read_iv_data(tmp_path / "t.parquet", **ROLES, cluster="fam")
    assert np.array_equal(same.data.instruments, text.data.instruments)
    assert np.array_equal(same.data.clusters, text.data.clusters)
    assert same.counts == text.counts
    frame["v1"] = ["0", "1", "two", "1", "0", "2"]
    with pytest.raises(InputError, match="row 3, column 'v1': 'two' is not a number"):
        read_iv_data(tmp_path / "t.parquet", **ROLES)


def test_missing_instruments_may_be_set_to_their_mean(write):
    found = read_iv_data(write(TABLE), **ROLES, missing_genotypes="mean")
    assert found.counts.imputed == {"v2": 1}
    assert found.counts.missing == {"x": 1}
    assert found.data.instruments[1].tolist() == [1, (2 + 1 + 1 + 0) / 4]


def test_two_samples_lack_an_exposure_or_an_outcome(write):
    path = write(TABLE)
    first = read_iv_data(path, **ROLES | {"outcome": None}).data
    second = read_iv_data(path, **ROLES | {"exposure": None}).data
    assert first.outcome is None
    assert second.exposure is None
    assert len(second) == 5


@pytest.mark.parametrize(
    ("change", "roles", "message"),
    [
        ({}, {"exposure": "xx"}, "no column 'xx' for the exposure; did you mean 'x'?"),
        ({}, {"covariates": ["aeg"]}, "no column 'aeg' for the covariate; did you mean 'age'?"),
        ({"c\t3.5": "c\tlow"}, {}, "line 4, column 'x': 'low' is not a number"),
        ({"c\t3.5": "c\tinf"}, {}, "line 4, column 'x': inf is not a finite number"),
        ({"\t0.5\tF4": "\t0\tF4"}, {"weight": "w"}, "line 7, column 'w': 0 is not a positive weight"),
        ({}, {"covariates": ["x"]}, "column 'x' has two roles, exposure and covariate"),
        ({}, {"instruments": []}, "needed at least one instrument; got none"),
        ({}, {"genotypes": Path("g")}, "genotypes and sample_id go together"),
        ({"\t51\t": "\t51"}, {}, "line 3 has 7 cell(s); the header has 8"),
    ],
)
def test_bad_tables_are_one_line(write, change, roles, message):
    text = TABLE
    for old, new in change.items():
        text = text.replace(old, new)
    with pytest.raises(InputError) as error:
        read_iv_data(write(text), **ROLES | roles)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def table(**columns):
    return pd.DataFrame(columns).to_csv(sep="\t", index=False)


GOOD = {"x": [1, 2, 3, 4], "y": [0, 1, 0, 1], "v1": [0, 1, 2, 0]}


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"x": [2, 2, 2, 2]}, {}, "x must vary; all 4 samples have 2"),
        ({"y": [1, 1, 1, 1]}, {"outcome_type": "binary"}, "y must vary; all 4 samples have 1"),
        ({"y": [1, 2, 1, 2]}, {"outcome_type": "binary"}, "y must be 0 or 1, as it is binary; 2 of 4 are not, as 2"),
        ({"v1": [1, 1, 1, 1]}, {}, "instrument 'v1' must vary; all 4 samples have 1"),
        ({"v1": [None] * 4}, {}, "no row is complete; 4 of 4 have no v1"),
        ({"v1": [None] * 4}, {"missing_genotypes": "mean"}, "instrument 'v1' has no value in any of the 4 samples"),
        ({"x": [], "y": [], "v1": []}, {}, "has no rows; needed a row a sample"),
        ({"f": ["A"] * 4}, {"cluster": "f"}, "cluster 'f' must have two values or more; all samples have A"),
    ],
)
def test_data_that_cannot_be_used_say_why(write, columns, options, message):
    path = write(table(**GOOD | columns))
    with pytest.raises(InputError, match=f"^{path}: {message}"):
        read_iv_data(path, **ROLES | {"instruments": ["v1"]}, **options)


def write_plink(stem, names, dosage, *, ids, variants):
    codes = np.where(np.isnan(dosage), 1, np.select([dosage == 2, dosage == 1], [0, 2], 3)).astype(np.uint8)
    codes = np.pad(codes, ((0, -len(codes) % 4), (0, 0))).T.reshape(len(variants), -1, 4)
    packed = (codes << np.array([0, 2, 4, 6], dtype=np.uint8)).sum(axis=2).astype(np.uint8)
    stem.with_name(stem.name + ".bed").write_bytes(b"\x6c\x1b\x01" + packed.tobytes())
    bim = [f"1 {name} 0 {k + 1} A G\n" for k, name in enumerate(variants)]
    stem.with_name(stem.name + ".bim").write_text("".join(bim))
    fam = [f"{one} {i} {'p' if k == 0 else 0} 0 0 -9\n" for k, (one, i) in enumerate(zip(names, ids, strict=True))]
    stem.with_name(stem.name + ".fam").write_text("".join(fam))


@pytest.fixture
def genotypes(tmp_path):
    dosage = np.array([[0, 1], [1, np.nan], [2, 2], [1, 0], [0, 0.0]])
    ids = ["f", "c", "a", "zz", "001"]
    write_plink(tmp_path / "g", ["F"] * 5, dosage, ids=ids, variants=["rs1", "rs2"])
    return tmp_path / "g"


def test_genotypes_are_joined_by_sample(write, genotypes):
    """The first sample of the .fam file has a father: non-founders count as others do."""
    roles = {**ROLES, "genotypes": genotypes, "sample_id": "id"}
    found = read_iv_data(write(TABLE), **roles | {"instruments": ["rs1"]})
    assert found.data.exposure.tolist() == [1.5, 3.5, 6.5]
    assert found.data.instruments.tolist() == [[2], [1], [0]]
    assert (found.counts.n_read, found.counts.n_without_genotypes, found.counts.n_unused_genotypes) == (6, 3, 2)
    both = read_iv_data(write(TABLE), **roles | {"instruments": ["rs*", "v1"], "missing_genotypes": "mean"})
    assert both.data.instrument_names == ("rs1", "rs2", "v1")
    assert both.data.instruments.tolist() == [[2, 2, 0], [1, 1.5, 2], [0, 1, 2]]
    assert both.counts.imputed == {"rs2": 1}
    dropped = read_iv_data(write(TABLE), **roles | {"instruments": ["rs*"]})
    assert dropped.counts.missing == {"rs2": 1}
    assert dropped.data.instruments.tolist() == [[2, 2], [0, 1]]


def test_identifiers_keep_their_zeros(write, genotypes):
    path = write("id,x,y\n001,1,2\na,2,3\n1,3,3\n", "t.csv")
    roles = {"exposure": "x", "outcome": "y", "instruments": ["rs1"], "genotypes": genotypes, "sample_id": "id"}
    assert read_iv_data(path, **roles).data.instruments.tolist() == [[0], [2]]


@pytest.mark.parametrize(
    ("text", "instruments", "message"),
    [
        ("id,x,y\nq,1,2\nr,2,3\n", ["rs1"], "no sample is in"),
        ("id,x,y\na,1,2\na,2,3\n", ["rs1"], "sample 'a' has more than one row"),
        ("id,x,y\na,1,2\nc,2,3\n", ["rs7"], "no variant 'rs7' for the instrument; did you mean 'rs2'?"),
    ],
)
def test_genotypes_that_do_not_fit_say_why(write, genotypes, text, instruments, message):
    roles = {"exposure": "x", "outcome": "y", "genotypes": genotypes, "sample_id": "id"}
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        read_iv_data(write(text, "t.csv"), **roles, instruments=instruments)
