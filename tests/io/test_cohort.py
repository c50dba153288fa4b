"""Samples are joined by identifier, whatever the order of the tables; who is left out is counted."""

import gzip
import shutil

import numpy as np
import pandas as pd
import pytest

from deepmr.cohort import ArrayGenotypes
from deepmr.errors import InputError
from deepmr.io.cohort import read_cohort
from deepmr.io.genotypes import open_genotypes
from deepmr.population.association import prepare_scan
from deepmr.population.relationship import relationship_of, spectrum_of_relationship
from tests.io.population_files import random_dosages, write_plink

IDS = ["a", "b", "c", "d", "e", "f", "01"]
GENOTYPES = ArrayGenotypes(
    variants=pd.DataFrame({
        "variant_id": ["rs1", "rs2"], "chrom": "1", "pos": [1, 2], "effect_allele": "A", "other_allele": "G",
    }),
    samples=pd.Index(IDS),
    dosages=np.arange(14.0).reshape(2, 7),
)  # fmt: skip
TRAITS = "id\ty\tz\nzz\t9\t9\nf\t6\tNA\nb\t2\t20\n01\t7\t\na\t1\t10\nc\tNA\t.\nd\t4\t40\n"  # without e, zz beside
COVARIATES = "id\tage\tsite\nq\t1\tA\na\t30\tB\nb\t41\tA\nd\t\tA\nf\t55.5\tC\n01\t20\tB\nc\t1\tA\n"


@pytest.fixture
def write(tmp_path):
    def one(text, name="t.tsv"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return one


def read(path, *, genotypes=GENOTYPES, traits=("y",), **options):
    return read_cohort(genotypes, phenotypes=path, traits=traits, **options)


def test_samples_are_joined_by_identifier(write):
    found = read(write(TRAITS), traits=["y", "z"], covariates=write(COVARIATES, "c.tsv"))
    cohort = found.cohort
    assert cohort.samples.tolist() == ["a", "b", "f", "01"]
    np.testing.assert_array_equal(cohort.phenotypes, [[1, 10], [2, 20], [6, np.nan], [7, np.nan]])
    assert cohort.covariate_names == ("age", "site=B", "site=C")
    np.testing.assert_array_equal(cohort.covariates, [[30, 1, 0], [41, 0, 0], [55.5, 0, 1], [20, 1, 0]])
    np.testing.assert_array_equal(cohort.genotypes.read(0, 2), GENOTYPES.dosages[:, [0, 1, 5, 6]])
    assert found.counts == {
        "genotyped": 7, "without_phenotype_row": 1, "without_covariate_row": 0, "missing_covariate": 1,
        "without_any_trait": 1, "used": 4, "phenotype_rows_without_genotypes": 1, "covariate_rows_without_genotypes": 1,
    }  # fmt: skip
    assert found.notes == (
        "covariate age is missing in 1 of the samples with rows",
        "z has two values, 10 in 1 and 20 in 1 samples: effects are of a linear model of these numbers, "
        "not odds ratios",
        "covariate site has 3 levels: A (1), B (2), C (1); effects are against A",
        "covariate site: one sample alone has A, C, which its indicator fits exactly",
    )


def shuffled(text, seed):
    head, *rows = text.splitlines()
    return "\n".join([head, *np.random.default_rng(seed).permutation(rows)]) + "\n"


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_tables_changes_nothing(write, seed):
    whole = read(write(TRAITS), traits=["y", "z"], covariates=write(COVARIATES, "c.tsv"))
    other = read(
        write(shuffled(TRAITS, seed)), traits=["y", "z"], covariates=write(shuffled(COVARIATES, seed + 9), "c.tsv")
    )
    assert (other.counts, other.notes) == (whole.counts, whole.notes)
    np.testing.assert_array_equal(other.cohort.phenotypes, whole.cohort.phenotypes)
    np.testing.assert_array_equal(other.cohort.covariates, whole.cohort.covariates)
    assert other.cohort.samples.equals(whole.cohort.samples)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_genotypes_is_that_of_the_cohort(write, seed):
    order = np.random.default_rng(seed).permutation(7)
    whole = read(write(TRAITS), covariates=write(COVARIATES, "c.tsv")).cohort
    other = read(write(TRAITS), covariates=write(COVARIATES, "c.tsv"), genotypes=GENOTYPES.take(order)).cohort
    assert other.samples.tolist() == [IDS[k] for k in order if IDS[k] in whole.samples]
    at = other.samples.get_indexer(whole.samples)
    np.testing.assert_array_equal(other.phenotypes[at], whole.phenotypes)
    np.testing.assert_array_equal(other.genotypes.read(0, 2)[:, at], whole.genotypes.read(0, 2))


FORMS = {
    "commas": (TRAITS.replace("\t", ","), "t.csv"),
    "blanks": (TRAITS.replace("01\t7\t\n", "01 7 NA\n").replace("\t", "  "), "t.txt"),
    "semicolons, compressed": (TRAITS.replace("\t", ";"), "t.txt.gz"),
    "quoted, from Windows": (
        "\r\n".join("\t".join(f'"{cell}"' for cell in row.split("\t")) for row in TRAITS.splitlines()),
        "t.tsv",
    ),
    "with a mark of the encoding": ("\ufeff" + TRAITS, "t.tsv"),
    "after comments": ("## made by hand\n\n" + TRAITS, "t.tsv"),
    "another name": (TRAITS.replace("id\t", "#IID\t"), "t.tsv"),
    "another place": ("\n".join("\t".join(row.split("\t")[::-1]) for row in TRAITS.splitlines()), "t.tsv"),
    "families": ("\n".join(f"{'FID' if k == 0 else 'F'}\t{row}" for k, row in enumerate(TRAITS.splitlines())), "t.tsv"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_tables_of_every_form(write, form):
    path, plain = write(*FORMS[form]), read(write(TRAITS, "plain.tsv"))
    found = read(path)
    assert found.counts == plain.counts
    np.testing.assert_array_equal(found.cohort.phenotypes, plain.cohort.phenotypes)


def test_the_two_tables_may_name_their_samples_differently(write):
    path = write(TRAITS.replace("id", "mouse"))
    found = read(path, id_column="mouse", covariates=write("F a 1\nF b 2\nF d 4\nF f 5\n", "c.txt"))
    assert found.cohort.covariates[:, 0].tolist() == [1, 2, 4, 5]
    assert found.counts["without_covariate_row"] == 2  # c and 01
    with pytest.raises(InputError, match="no column 'mouse'"):
        read(write(TRAITS), id_column="mouse")


def test_parquet_says_the_same(tmp_path, write):
    pytest.importorskip("pyarrow")
    frame = pd.read_csv(write(TRAITS), sep="\t", dtype={"id": str}, na_values=".")
    frame.to_parquet(tmp_path / "t.parquet")
    found = read(tmp_path / "t.parquet", traits=["y", "z"]).cohort
    np.testing.assert_array_equal(found.phenotypes, read(write(TRAITS), traits=["y", "z"]).cohort.phenotypes)


HEADERLESS = {
    "PLINK": ("F b 2 20\nF a 1 10\nF d 4 -9\n", 3),
    "the first is not genotyped": ("F zz 9 9\nF b 2 20\nF a 1 10\nF d 4 -9\n", 3),
    "families are identifiers too": ("b b 2 20\na a 1 10\nd d 4 -9\n", 3),
    "identifier alone": ("b 2 20\na 1 10\nd 4 NA\n", 3),
    ".fam": ("F b 0 0 1 2 20\nF a 0 0 2 1 10\nF d 0 0 1 4 -9\n", 3),
}


@pytest.mark.parametrize("form", HEADERLESS)
def test_tables_without_a_header(write, form):
    text, n = HEADERLESS[form]
    found = read(write(text, "t.fam" if form == ".fam" else "t.txt"), traits=["1", "2"])
    assert found.counts["used"] == n
    np.testing.assert_array_equal(found.cohort.phenotypes, [[1, 10], [2, 20], [4, np.nan]])
    assert found.cohort.traits == ("1", "2")
    if form != "identifier alone":
        assert found.notes[0] == "2: 1 cell(s) with -9 count as missing"


def test_minus_nine_is_missing_where_plink_says_so_or_the_user(write):
    text = "id\ty\na\t-9\nb\t2\nc\t3\n"
    found = read(write(text))
    assert found.counts["used"] == 3
    assert found.notes == ("y: 1 values of -9 count as numbers",)
    assert read(write(text), missing=["-9"]).counts["used"] == 2
    assert read(write("FID\tIID\ty\nF\ta\t-9.0\nF\tb\t2\nF\tc\t3\n")).counts["used"] == 2


def test_cases_and_controls_are_noticed(write):
    (note,) = read(write("id\ty\na\t1\nb\t2\nc\t1\n")).notes
    assert note.startswith(
        "y has two values, 1 in 2 and 2 in 1 samples, as PLINK codes controls and cases: effects are"
    )
    found = read(write("FID IID y\nF a 1\nF b 2\nF c 0\n"))
    assert found.cohort.samples.tolist() == ["a", "b"]
    assert found.notes[0] == "y: 1 values of 0 count as missing, as in PLINK's coding of cases"


def test_rows_in_the_order_of_genotypes_only_when_told(write):
    values = write("1 0.5\n2 NA\n3 0.5\n4 0.5\n5 0.5\n6 0.5\nNA NA\n")
    found = read(values, traits=["1"], order="genotypes", covariates=write("1\t2\n" * 6 + "1\t9\n", "c.txt"))
    assert found.cohort.samples.tolist() == IDS[:6]
    assert found.cohort.phenotypes[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert found.cohort.covariate_names == ()
    with pytest.raises(InputError, match=r"no column of sample identifiers, such as IID|no sample is in the genotypes"):
        read(values, traits=["1"])
    with pytest.raises(InputError, match=r"has 2 rows; .* their 7 samples"):
        read(write("1\n2\n"), traits=["1"], order="genotypes")
    with pytest.raises(InputError, match="has sample identifiers, column 'id'; rows must not be taken"):
        read(write(TRAITS), order="genotypes")


def test_samples_known_by_family_and_individual(write, tmp_path):
    dosages = random_dosages(samples=3)
    genotypes = open_genotypes(write_plink(tmp_path / "g", dosages, families=["A", "B", "B"], ids=["1", "1", "2"]))
    for text in ("FID IID y\nB 2 3\nB 1 2\nA 1 1\n", "B 2 3\nB 1 2\nA 1 1\n"):
        found = read(write(text), genotypes=genotypes, traits=["y" if "y" in text else "1"])
        assert found.cohort.phenotypes[:, 0].tolist() == [1, 2, 3]


MANY = [f"s{k}" for k in range(40)]


def many(write, columns, **options):
    """Return covariates of 40 samples."""
    genotypes = ArrayGenotypes(
        variants=GENOTYPES.variants, samples=pd.Index(MANY), dosages=np.zeros((2, 40), dtype=np.float32)
    )
    frame = pd.DataFrame({"IID": MANY, "y": np.arange(40.0), **columns})
    return read(write(frame.to_csv(sep="\t", index=False)), genotypes=genotypes, covariate_names=[*columns], **options)


def test_covariates_that_say_nothing_new_are_left_out(write):
    rng = np.random.default_rng(0)
    age, sex = rng.normal(50, 9, 40), np.arange(40) % 2
    found = many(write, {"age": age, "one": np.ones(40), "sex": sex, "men": 1 - sex, "old": age * 2 + sex + 3})
    assert found.cohort.covariate_names == ("age", "sex")
    assert found.notes == (
        "covariate one is left out: all 40 samples have 1",
        "covariate men is left out: it is a sum of others, age, sex",
        "covariate old is left out: it is a sum of others, age, sex",
    )


def test_covariates_of_any_scale_are_kept(write):
    x = np.random.default_rng(0).normal(size=(40, 3)) * [1e-9, 1, 1e9] + [0, 1e6, 0]
    found = many(write, {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2]})
    np.testing.assert_allclose(found.cohort.covariates, x, rtol=1e-12)


def test_a_single_category_is_left_out(write):
    found = many(write, {"site": ["a"] * 40, "age": np.arange(40)})
    assert found.cohort.covariate_names == ("age",)
    assert found.notes == ("covariate site is left out: all 40 samples have a",)


def test_categories_are_columns_of_zero_and_one(write):
    site = np.array(["10", "9", "2", "9"] * 10)
    assert many(write, {"site": site}).cohort.covariate_names == ("site",)
    found = many(write, {"site": site, "arm": ["x", "w"] * 20}, categorical=["site"])
    assert found.cohort.covariate_names == ("site=9", "site=10")
    assert found.notes == (
        "covariate site has 3 levels: 2 (10), 9 (20), 10 (10); effects are against 2",
        "covariate arm has 2 levels: w (20), x (20); effects are against w",
        "covariate arm=x is left out: it is a sum of others, site=9, site=10",
    )
    np.testing.assert_array_equal(found.cohort.covariates[:, 0], site == "9")


@pytest.mark.parametrize(
    ("column", "options", "message"),
    [
        ([*range(38), "x", 3], {}, "line 40, column 'c': 'x' is not a finite number, though most are"),
        ([f"k{k}" for k in range(40)], {}, "covariate 'c' has 40 levels such as 'k0' in 40 samples"),
        ([*range(39), "inf"], {}, "line 41, column 'c': 'inf' is not a finite number"),
        ([*range(40)], {"categorical": ["d"]}, "categorical must be one of c; got 'd'"),
    ],
)
def test_covariates_that_cannot_be_used_say_why(write, column, options, message):
    with pytest.raises(InputError, match=message):
        many(write, {"c": column}, **options)


BAD = {
    "nothing": ("", {}, "the file is empty"),
    "no rows": ("id\ty\n", {}, "has no rows; needed a row a sample"),
    "no such trait": (TRAITS, {"traits": ["Y"]}, "no column 'Y' for the trait; did you mean 'y'"),
    "no trait": (TRAITS, {"traits": []}, "at least one trait is needed; there are y, z"),
    "trait twice": (TRAITS, {"traits": ["y", "y"]}, "trait 'y' is named more than once"),
    "text": (TRAITS.replace("20", "high"), {"traits": ["z"]}, "line 4, column 'z': 'high' is not a finite number"),
    "infinite": (TRAITS.replace("20", "inf"), {"traits": ["z"]}, "line 4, column 'z': 'inf' is not a finite number"),
    "no identifiers": (TRAITS.replace("id", "who"), {}, "no column of sample identifiers, such as IID; it has who"),
    "not that column": (TRAITS, {"id_column": "who"}, "no column 'who'; it has id, y, z"),
    "sample twice": (TRAITS + "b\t3\t3\n", {}, "line 9: sample 'b' has more than one row"),
    "other samples": ("id\ty\nq\t1\n", {}, "no sample is in the genotypes; .* 'q', the genotypes with 'a'"),
    "short line": (TRAITS.replace("b\t2\t20", "b\t2"), {}, "line 4 has 2 cell"),
    "no values": (TRAITS, {"traits": ["w"]}, "no column 'w'"),
    "two roles": (TRAITS, {"covariate_names": ["y"]}, "'y' has two roles, trait and covariate"),
    "no covariate": (TRAITS, {"covariate_names": ["age"]}, "no column 'age' for the covariate"),
    "all lost": ("id\ty\tx\na\t1\t\nb\t\t3\n", {"covariate_names": ["x"]}, "no sample has genotypes, every covariate"),
    "one trait lost": (
        "id\ty\tz\tx\na\t1\t\t3\nb\t\t3\t\nc\t3\t\t4\n", {"traits": ["y", "z"], "covariate_names": ["x"]},
        "no sample with genotypes and covariates has z",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_tables_that_cannot_be_used_say_why(write, kind):
    text, options, message = BAD[kind]
    path = write(text)
    with pytest.raises(InputError, match=f"(?s){path.name}: .*{message}|{message}") as error:
        read(path, **options)
    assert "\n" not in str(error.value)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "nothing.tsv")


def test_variants_with_the_same_name_are_noted(write):
    variants = GENOTYPES.variants.assign(variant_id="rs1")
    genotypes = ArrayGenotypes(variants=variants, samples=GENOTYPES.samples, dosages=GENOTYPES.dosages)
    assert read(write(TRAITS), genotypes=genotypes).notes[0] == "2 variants share their identifier with another"


@pytest.fixture
def mouse(shared_data, tmp_path):
    folder = shared_data / "lmm" / "mouse_hs1940"
    if not folder.is_dir():
        pytest.skip("the mouse data are not beside the checkout")
    for suffix in ("bed", "bim", "fam"):
        with gzip.open(folder / f"mouse_hs1940.{suffix}.gz") as packed, (tmp_path / f"m.{suffix}").open("wb") as plain:
            shutil.copyfileobj(packed, plain)
    return folder, tmp_path / "m"


def test_mouse_data_from_plink_files(mouse):
    folder, stem = mouse
    genotypes = open_genotypes(stem)
    assert (len(genotypes.samples), len(genotypes.variants)) == (1940, 12_226)
    by_order = read(folder / "mouse_hs1940.pheno.txt.gz", genotypes=genotypes, traits=["1"], order="genotypes")
    by_id = read(stem.with_suffix(".fam"), genotypes=genotypes, traits=["1"])
    assert by_order.counts["used"] == by_id.counts["used"] == len(by_id.cohort) == 1410
    assert by_order.counts["without_any_trait"] == 530
    np.testing.assert_array_equal(by_order.cohort.phenotypes, by_id.cohort.phenotypes)
    both = read(stem.with_suffix(".fam"), genotypes=genotypes, traits=["1", "6"])
    assert [len(part) for part in both.cohort.complete()] == [1410, 1580]


@pytest.mark.slow
def test_mouse_data_from_mean_genotypes(mouse):
    folder, stem = mouse
    means = open_genotypes(
        folder / "mouse_hs1940.geno.txt.gz",
        annotation=folder / "mouse_hs1940.anno.txt.gz", samples=stem.with_suffix(".fam"),
    )  # fmt: skip
    found = read(folder / "mouse_hs1940.pheno.txt.gz", genotypes=means, traits=["1"], order="genotypes")
    assert (len(found.cohort), len(found.cohort.genotypes.variants)) == (1410, 12_226)
    spectrum = spectrum_of_relationship(relationship_of(found.cohort.genotypes))
    null = prepare_scan(found.cohort, spectrum).null
    assert null.h_sq[0] == pytest.approx(0.608801, abs=1e-6)  # as GEMMA prints
    assert null.h_sq_se[0] == pytest.approx(0.032774, abs=1e-6)
    called = open_genotypes(stem).take(np.flatnonzero(np.isin(means.samples, found.cohort.samples)))
    pairs = ("variant_id", "chrom", "pos", "effect_allele", "other_allele")
    same = [(called.variants[name].astype(str) == means.variants[name].astype(str)).mean() for name in pairs]
    assert same == [1] * 5
    a, b = called.read(0, 500), found.cohort.genotypes.read(0, 500)
    close = np.abs(a - b)[~np.isnan(a)] < 0.01
    assert close.mean() > 0.99
