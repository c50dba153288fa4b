"""Labelled edits find their predicted effects."""

import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.labelled.matching import match_edits

VARIANTS = pd.DataFrame(
    [["a:1:A:C", "a", 1, "C", "A", 0], ["a:1:A:G", "a", 1, "G", "A", 0], ["b:1:T:-", "b", 1, "-", "T", 0]],
    columns=["variant_id", "locus", "pos", "effect_allele", "other_allele", "offset"],
)


def find(*rows, place="pos"):
    columns = ["locus", place, "other_allele", "effect_allele"]
    return match_edits(pd.DataFrame(rows, columns=columns), VARIANTS, ["a", "b"])


def test_rows_by_place_and_allele():
    assert find(("b", 1, "T", "-"), ("a", 1, "A", "G"), ("a", 1, "", "C")).tolist() == [2, 1, 0]
    assert find(("a", 0, "A", "G"), place="offset").tolist() == [1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("c", 1, "A", "G"), r"labelled edits: the locus 'c' has no predicted effects \(1 of 1 edits\)"),
        (("a", 1, "T", "G"), "a, pos 1, T to G: the alleles contradict the sequence, which has A there"),
        (("a", 1, "", "A"), "a, pos 1, . to A: the alleles contradict the sequence"),
        (("a", 2, "A", "G"), "a, pos 2, A to G: has no predicted effect"),
    ],
)
def test_edits_that_do_not_fit(row, message):
    with pytest.raises(InputError, match=message):
        find(row)


def test_messages_name_file_and_line():
    labelled = pd.DataFrame(
        [["a", 1, "A", "G", 2], ["a", 1, "T", "C", 7]],
        columns=["locus", "pos", "other_allele", "effect_allele", "line"],
    )
    with pytest.raises(InputError, match=r"^e.tsv: line 7, a, pos 1, T to C: the alleles contradict the sequence"):
        match_edits(labelled, VARIANTS, ["a", "b"], source="e.tsv")
    with pytest.raises(InputError, match=r"^e.tsv: line 2, the locus 'a' has no predicted effects .2 of 2 edits"):
        match_edits(labelled, VARIANTS, ["b"], source="e.tsv")


SEQUENCE = "ACGTTGCAAC"
ALL = pd.DataFrame(
    [
        (f"a:{k + 1}:{base}:{new}", "a", k + 1, new, base, k)
        for k, base in enumerate(SEQUENCE)
        for new in "ACGT"
        if new != base
    ],
    columns=VARIANTS.columns,
)


@pytest.mark.parametrize(
    ("place", "step", "said"), [("pos", -1, "pos looks 0-based"), ("offset", 1, "offset looks 1-b")]
)
@pytest.mark.parametrize("named", [True, False])
def test_places_that_are_off_by_one(place, step, said, named):
    labelled = ALL[["locus", place, "other_allele", "effect_allele"]].copy()
    labelled[place] += step
    if not named:
        labelled["other_allele"] = ""
    with pytest.raises(InputError, match=said):
        match_edits(labelled, ALL, ["a"])


def test_one_wrong_allele_is_no_hint():
    labelled = ALL[["locus", "pos", "other_allele", "effect_allele"]].copy()
    labelled.loc[3, "other_allele"] = "G"
    with pytest.raises(InputError, match="contradict") as caught:
        match_edits(labelled, ALL, ["a"])
    assert "0-based" not in str(caught.value)
