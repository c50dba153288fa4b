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
        (("c", 1, "A", "G"), "1 are of loci without predicted effects, first 'c'"),
        (("a", 1, "T", "G"), "a, pos 1, T to G: the alleles contradict the sequence, which has A there"),
        (("a", 1, "", "A"), "a, pos 1, . to A: the alleles contradict the sequence"),
        (("a", 2, "A", "G"), "a, pos 2, A to G: has no predicted effect"),
    ],
)
def test_edits_that_do_not_fit(row, message):
    with pytest.raises(InputError, match=message):
        find(row)
