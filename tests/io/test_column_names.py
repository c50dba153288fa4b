"""Names of columns: ranges, patterns, what is missing, what has two roles."""

import pytest

from deepmr.errors import InputError
from deepmr.io.column_names import check_roles, choose_names, expand_ranges

HEADER = ("id", "age", "sex", "v1", "v2", "v3", "v10", "rs5", "rs6", "y")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("v1", ["v1"]),
        ("v{1..3}", ["v1", "v2", "v3"]),
        ("v{9..11}", ["v9", "v10", "v11"]),
        ("v{08..10}_x", ["v08_x", "v09_x", "v10_x"]),
        ("v{001..2}", ["v001", "v002"]),
        ("v{2..1}", ["v2", "v1"]),
        ("{1..2}b{0..1}", ["1b0", "1b1", "2b0", "2b1"]),
        ("a{b}", ["a{b}"]),
        ("t{-1..1}", ["t-1", "t0", "t1"]),
    ],
)
def test_ranges(text, names):
    assert expand_ranges(text) == names


def test_a_range_has_an_end():
    with pytest.raises(InputError, match="at most 100,000 names; this one has 1,000,001"):
        expand_ranges("v{0..1000000}")


def chosen(*patterns, taken=()):
    return choose_names(patterns, HEADER, what="instrument", where="t.tsv", taken=taken)


def test_names_ranges_and_patterns_in_the_order_given():
    assert chosen("rs6", "v{1..2}") == ["rs6", "v1", "v2"]
    assert chosen("rs*", "v?") == ["rs5", "rs6", "v1", "v2", "v3"]
    assert chosen("v10", "v*") == ["v10", "v1", "v2", "v3"]
    assert choose_names(["v*"], ("v*", "v1"), what="w", where="t") == ["v*"]


def test_a_pattern_passes_over_columns_with_another_role():
    assert chosen("*", taken={"id", "y", "age", "sex"}) == ["v1", "v2", "v3", "v10", "rs5", "rs6"]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["vv2"], "t.tsv: no column 'vv2' for the instrument; did you mean 'v2'?"),
        (["AGE"], "did you mean 'age'?"),
        (["qqqqq"], "no column 'qqqqq' for the instrument; there are id, age, sex"),
        (["v{1..5}"], r"no column 'v4' \(and 1 more\) for the instrument"),
        (["zz*"], "no instrument matches 'zz\\*'"),
        (["v1", "v{1..2}"], "instrument 'v1' is named more than once"),
    ],
)
def test_what_is_not_there_is_named(patterns, message):
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        chosen(*patterns)


def test_a_column_has_one_role():
    check_roles({"exposure": ["x"], "instrument": ["v1"]}, where="t")
    with pytest.raises(InputError, match="t: column 'x' has two roles, exposure and covariate; it can have one"):
        check_roles({"exposure": ["x"], "covariate": ["a", "x"]}, where="t")
