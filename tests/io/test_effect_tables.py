"""Effects made elsewhere, per member or with standard errors, as TSV and NPZ."""

import gzip
import io
import itertools

import numpy as np
import pandas as pd
import pytest

from deepmr import schema
from deepmr.errors import InputError
from deepmr.io.effect_tables import read_effect_table
from deepmr.types import MemberEffects, SummaryStats

MEMBERS = "locus\tvariant_id\ttask\tmember\tbeta\n"
MEANS = "locus\tvariant_id\ttask\tbeta\tse\n"
ALLELES = MEANS.strip() + "\teffect_allele\tother_allele\n"


@pytest.fixture
def read(tmp_path):
    """Return a function that reads a text (or bytes) as a TSV of effects."""

    def of(content, name="effects.tsv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_effect_table(path)

    return of


@pytest.fixture
def archive(read):
    """Return a function that writes arrays as NPZ and reads them as effects."""

    def of(**arrays):
        content = io.BytesIO()
        np.savez(content, **arrays)
        return read(content.getvalue(), "effects.npz")

    return of


def test_members_by_hand(read):
    effects, loci = read(
        MEMBERS
        + "p\tv1\tX\tm0\t1\np\tv1\tY\tm0\t2\np\tv1\tX\tm1\t3\np\tv1\tY\tm1\t4\n"
        + "q\tv2\tX\tm0\t5\nq\tv2\tY\tm0\t6\nq\tv2\tX\tm1\t7\nq\tv2\tY\tm1\t8\n"
    )
    assert isinstance(effects, MemberEffects)
    assert loci == ("p", "q")
    assert [task.name for task in effects.tasks] == ["X", "Y"]
    assert effects.delta.dtype == np.float32
    assert effects.delta.tolist() == [[[1, 2], [5, 6]], [[3, 4], [7, 8]]]
    assert list(effects.variants.columns) == [*schema.VARIANTS, "offset"]
    assert effects.variants["variant_id"].tolist() == ["v1", "v2"]
    unknown = effects.variants[["chrom", "pos", "effect_allele", "other_allele", "offset"]].drop_duplicates()
    assert unknown.to_numpy().tolist() == [["", 0, "", "", -1]]


def test_means_by_hand(read):
    effects, loci = read(MEANS + "p\tv1\tX\t0.1\t0.5\np\tv2\tX\t-2\t0\np\tv1\tY\t3\t0.3\np\tv2\tY\t4\t0.4\n")
    assert isinstance(effects, SummaryStats)
    assert loci == ("p",)
    assert effects.traits == ("X", "Y")
    assert effects.beta.tolist() == [[0.1, 3], [-2, 4]]
    assert effects.se.tolist() == [[0.5, 0.3], [0, 0.4]]
    assert effects.error_factors is None


def test_variants_of_a_locus_end_up_next_to_each_other(read):
    effects, loci = read(MEANS + "q\tv1\tX\t1\t1\np\tv1\tX\t2\t1\nq\tv2\tX\t3\t1\n")
    assert loci == ("q", "p")
    assert effects.variants["locus"].tolist() == ["q", "q", "p"]
    assert effects.variants["variant_id"].tolist() == ["v1", "v2", "v1"]
    assert effects.beta[:, 0].tolist() == [1, 3, 2]


def test_rows_in_any_order(read):
    rows = [
        f"{locus}\t{variant}\t{task}\t{member}\t{number}\n"
        for number, (locus, variant, task, member) in enumerate(itertools.product("pq", "vw", "XY", "012"))
    ]
    shuffled = [rows[0], *np.random.default_rng(0).permutation(rows[1:])]
    cells = []
    for lines in (rows, shuffled):
        frame = read(MEMBERS + "".join(lines))[0].to_frame().set_index(["locus", "variant_id"])
        cells.append({(*key, *pair) for key, pair in zip(frame.index, frame[["X", "Y"]].to_numpy(), strict=True)})
    assert cells[0] == cells[1]
    assert len(cells[0]) == 12


def test_what_is_known_of_a_variant_is_kept(read):
    effects, _ = read(
        "locus\tvariant_id\tchrom\tpos\tother_allele\teffect_allele\toffset\ttask\tbeta\tse\tnote\n"
        "p\t1:7:A:C\tchr1\t7\tA\tC\t2\tX\t1\t1\thello\n"
    )
    assert effects.variants.to_dict("records") == [
        {
            "variant_id": "1:7:A:C",
            "locus": "p",
            "chrom": "chr1",
            "pos": 7,
            "effect_allele": "C",
            "other_allele": "A",
            "offset": 2,
        }
    ]
    assert effects.variants["pos"].dtype == np.int64


def test_means_are_of_a_population_unless_the_table_says_otherwise(read):
    rows = "locus\tvariant_id\ttask\tbeta\tse{}\na\tv\tX\t1\t0.1{}\na\tw\tX\t2\t0.1{}\n"
    assert read(rows.format("", "", ""))[0].estimand == "population"
    assert read(rows.format("\testimand", "\tmodel", "\tmodel"))[0].estimand == "model"
    with pytest.raises(InputError, match="estimand must be the same for all effects; got model, population"):
        read(rows.format("\testimand", "\tmodel", "\tpopulation"))
    with pytest.raises(InputError, match="estimand must be one of model, calibrated, population; got 'truth'"):
        read(rows.format("\testimand", "\ttruth", "\ttruth"))


def test_gzip(read):
    assert read(gzip.compress((MEANS + "p\tv\tX\t1\t1\n").encode()), "effects.tsv.gz")[1] == ("p",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a tab-separated table"),
        (MEMBERS, "the table has no rows"),
        ("locus\tbeta\tse\np\t1\t1\n", r"not an effect table: the column\(s\) variant_id, task are missing"),
        ("locus\tvariant_id\ttask\tbeta\np\tv\tX\t1\n", "needed either a column 'member' .* or 'se'"),
        ("locus\tvariant_id\ttask\tbeta\tse\tmember\np\tv\tX\t1\t1\t0\n", "needed either a column 'member' .* or 'se'"),
        (MEANS + "p\tv\tX\t1\t1\np\tv\tX\t1\t1\n", "p v, X: occurs more than once"),
        (MEANS + "p\tv\tX\t1\t1\np\tw\tX\t1\t1\np\tw\tY\t1\t1\n", "p v, Y: is missing"),
        (MEMBERS + "p\tv\tX\tm0\t1\np\tv\tX\tm1\t1\np\tw\tX\tm0\t1\n", "m1, p w, X: is missing"),
        (MEANS + "p\tv\tX\t1\t1\np\tw\tX\t\t1\n", "line 3, column 'beta': '' is not a finite number"),
        (MEANS + "p\tv\tX\tone\t1\n", "line 2, column 'beta': 'one' is not a finite number"),
        (MEANS + "p\tv\tX\t1\tNA\n", "line 2, column 'se': 'NA' is not a finite number"),
        (MEANS + "p\tv\tX\t1\t-1\n", "se must be zero or positive; 1 of 1 is not"),
        (ALLELES + "p\tv\tX\t1\t1\tA\tC\np\tv\tY\t1\t1\tC\tA\n", "p v has more than one effect_allele"),
        (MEANS + "p\tv\tX\t1\n", r"line 2 has 4 cell\(s\); the header has 5"),
        (MEANS.strip() + "\tpos\np\tv\tX\t1\t1\t2.5\n", "line 2, column 'pos': 2.5 is not a whole number"),
    ],
)
def test_bad_table_ends_in_one_line(read, content, message):
    with pytest.raises(InputError, match=r"effects\.tsv: .*" + message) as caught:
        read(content)
    assert "\n" not in str(caught.value)


def test_missing_files(tmp_path):
    for name in ("effects.tsv", "effects.npz"):
        with pytest.raises(InputError, match=r"No such file"):
            read_effect_table(tmp_path / name)


def test_archive_of_members(archive):
    effect = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    effects, loci = archive(effect=effect, locus=["q", "p", "q"], tasks=["X", "Y"])
    assert isinstance(effects, MemberEffects)
    assert loci == ("q", "p")
    np.testing.assert_array_equal(effects.delta, effect[:, [0, 2, 1]])
    assert effects.variants["variant_id"].tolist() == ["q:1", "q:2", "p:1"]
    assert [task.name for task in effects.tasks] == ["X", "Y"]


def test_archive_of_means(archive):
    beta, se = np.array([[1.0], [2.0]]), np.array([[0.1], [0.2]])
    effects, loci = archive(
        beta=beta, se=se, locus=["p", "p"], tasks=["X"], variant_id=[7, 8], pos=[3, 4], chrom=["chr1", "chr1"]
    )
    assert isinstance(effects, SummaryStats)
    assert loci == ("p",)
    assert effects.variants["variant_id"].tolist() == ["7", "8"]
    assert effects.variants["pos"].tolist() == [3, 4]
    assert effects.variants["chrom"].tolist() == ["chr1", "chr1"]
    np.testing.assert_array_equal(effects.beta, beta)
    np.testing.assert_array_equal(effects.se, se)


def test_both_formats_say_the_same(read, archive):
    rng = np.random.default_rng(0)
    beta, se = rng.standard_normal((4, 2)), rng.random((4, 2))
    locus, variant, tasks = ["p", "p", "q", "q"], ["a", "b", "a", "b"], ["X", "Y"]
    rows = [(locus[v], variant[v], tasks[t], beta[v, t], se[v, t]) for v, t in itertools.product(range(4), range(2))]
    text = pd.DataFrame(rows, columns=MEANS.split()).to_csv(sep="\t", index=False)
    (one, loci), (other, same) = read(text), archive(beta=beta, se=se, locus=locus, tasks=tasks, variant_id=variant)
    assert loci == same
    np.testing.assert_array_equal(one.beta, other.beta)
    np.testing.assert_array_equal(one.se, other.se)
    assert one.variants.to_dict("list") == other.variants.to_dict("list")


GOOD = {"effect": np.ones((2, 3, 1)), "locus": ["p", "p", "q"], "tasks": ["X"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"effect": None}, r"the array\(s\) beta, se are missing; it has locus, tasks"),
        ({"locus": None, "tasks": None}, r"the array\(s\) locus, tasks are missing; it has effect"),
        ({"effect": np.ones((3, 1))}, r"effect must be \(members, variants, tasks\) with 3 variants and 1 tasks"),
        ({"effect": np.ones((2, 1, 3))}, r"it is \(2, 1, 3\)"),
        ({"effect": None, "beta": np.ones((3, 1)), "se": np.ones((3, 2))}, r"se must be \(variants, tasks\)"),
        ({"effect": np.full((2, 3, 1), "a")}, "effect must hold numbers; it holds <U1"),
        ({"effect": np.full((2, 3, 1), np.nan)}, "delta must be finite; 6 of 6 are not"),
        ({"effect": None, "beta": np.ones((3, 1)), "se": -np.ones((3, 1))}, "se must be zero or positive"),
        ({"locus": "p"}, r"locus must be a list of names; its shape is \(\)"),
        ({"tasks": []}, r"tasks must be a list of names; its shape is \(0,\)"),
        ({"effect": np.ones((2, 3, 2)), "tasks": ["X", "X"]}, "tasks must be unique; 'X' occurs more than once"),
        ({"variant_id": ["a", "a", "a"]}, "p a occurs more than once"),
        ({"pos": [1, 2]}, r"pos must have one value a variant, 3; its shape is \(2,\)"),
        ({"locus": np.array(["p", "p", None], dtype=object)}, "not a readable NPZ archive: .*allow_pickle=False"),
    ],
)
def test_bad_archive_ends_in_one_line(archive, change, message):
    arrays = {name: value for name, value in (GOOD | change).items() if value is not None}
    with pytest.raises(InputError, match=r"effects\.npz: .*" + message) as caught:
        archive(**arrays)
    assert "\n" not in str(caught.value)


def saved(save, *args, **arrays):
    content = io.BytesIO()
    save(content, *args, **arrays)
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"locus\ttask\n", saved(np.save, np.ones(3)), saved(np.savez, **GOOD)[:-30], saved(np.savez, **GOOD)[:100]],
    ids=["empty", "text", "single array", "no directory", "truncated"],
)
def test_what_is_no_archive_ends_in_one_line(read, content):
    with pytest.raises(InputError, match=r"effects\.npz: not a readable NPZ archive: .+") as caught:
        read(content, "effects.npz")
    assert "\n" not in str(caught.value)


def test_damaged_archive(read):
    content = bytearray(saved(np.savez_compressed, effect=np.random.default_rng(0).random((2, 300, 1))))
    content[2000] ^= 0xFF
    with pytest.raises(InputError, match="not a readable NPZ archive"):
        read(bytes(content), "effects.npz")
