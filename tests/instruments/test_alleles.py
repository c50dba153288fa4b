"""Alleles of two studies brought together: by hand, and against TwoSampleMR."""

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.instruments.alleles import align_alleles
from deepmr.instruments.strands import REASONS, allele_codes, compare_alleles
from deepmr.types import SummaryStats

# effect, other of the first study; of the second; frequencies; sign under infer, drop, keep (0: dropped)
CASES = [
    ("A", "G", "A", "G", 0.5, 0.5, (1, 1, 1)),
    ("A", "G", "G", "A", 0.5, 0.5, (-1, -1, -1)),
    ("A", "G", "T", "A", 0.5, 0.5, (0, 0, 0)),
    ("G", "T", "A", "C", 0.5, 0.5, (-1, -1, -1)),
    ("G", "T", "C", "A", 0.5, 0.5, (1, 1, 1)),
    ("A", "T", "A", "T", 0.2, 0.8, (-1, 0, 1)),
    ("A", "T", "A", "T", 0.2, 0.2, (1, 0, 1)),
    ("A", "T", "A", "T", 0.5, 0.5, (0, 0, 1)),
    ("A", "T", "T", "A", 0.5, 0.5, (0, 0, -1)),
    ("C", "G", "G", "C", 0.2, 0.2, (1, 0, -1)),
    ("A", "T", "A", "T", 0.2, np.nan, (0, 0, 1)),
    ("A", "T", "A", "C", 0.2, 0.2, (0, 0, 0)),
    ("AT", "A", "AT", "A", 0.3, 0.3, (1, 1, 1)),
    ("AT", "A", "D", "I", 0.3, 0.7, (-1, -1, -1)),
    ("I", "D", "AT", "A", 0.3, 0.3, (1, 1, 1)),
    ("I", "D", "D", "I", 0.3, 0.3, (-1, -1, -1)),
    ("I", "D", "AT", "AC", 0.3, 0.3, (0, 0, 0)),
    ("AT", "A", "TA", "T", 0.3, 0.3, (0, 0, 0)),
    ("A", "G", "A", "", 0.2, 0.2, (1, 1, 1)),
    ("A", "G", "G", "", 0.2, 0.8, (-1, -1, -1)),
    ("A", "G", "A", "", 0.2, 0.8, (0, 0, 1)),
    ("A", "G", "T", "", 0.2, 0.2, (0, 0, 0)),
    ("A", "T", "A", "", 0.2, 0.2, (0, 0, 0)),
    ("A", "", "A", "G", 0.2, 0.2, (1, 1, 1)),
    ("A", "", "G", "A", 0.2, 0.8, (-1, -1, -1)),
    ("A", "", "A", "", 0.2, 0.2, (1, 1, 1)),
    ("A", "", "C", "", 0.2, 0.2, (0, 0, 0)),
]


@pytest.mark.parametrize(("k", "palindromes"), list(enumerate(["infer", "drop", "keep"])))
def test_every_case(k, palindromes):
    a1, a2, b1, b2, f, g, sign = zip(*CASES, strict=True)
    columns = [pd.Series(list(c), dtype=object) for c in (a1, a2, b1, b2)]
    found = compare_alleles(
        allele_codes(*columns), frequency=np.array(f), other_frequency=np.array(g), palindromes=palindromes
    )
    assert found.sign.tolist() == [s[k] for s in sign]
    assert np.array_equal(found.reason == 0, found.sign != 0)


def study(trait, rows, beta=1.0):
    frame = pd.DataFrame(rows, columns=["variant_id", "chrom", "pos", "effect_allele", "other_allele", "eaf"])
    size = (len(frame), 1)
    return SummaryStats(
        variants=frame.assign(locus="genome"), traits=(trait,), beta=np.full(size, beta), se=np.ones(size),
        estimand="population",
    )  # fmt: skip


def test_every_variant_is_kept_or_has_a_reason():
    exposure = study("X", [(f"v{i}", "1", i + 1, c[0], c[1], c[4]) for i, c in enumerate(CASES)])
    outcome = study("Y", [(f"v{i}", "1", i + 1, c[2], c[3], c[5]) for i, c in enumerate(CASES[:-2])])
    found = align_alleles(exposure, outcome)
    assert len(found.stats.variants) + len(found.dropped) == len(CASES)
    assert set(found.dropped["reason"]) <= {*REASONS[1:], "not in the outcome"}
    assert (found.dropped["reason"] == "not in the outcome").sum() == 2
    first = found.dropped.iloc[0]
    assert (first["variant_id"], first["detail"]) == ("v2", "A/G (0.5) and T/A (0.5)")
    half = found.stats.variants.set_index("variant_id")["other_allele"]
    assert (half["v23"], half["v24"]) == ("G", "G")  # the outcome names it


def test_frequencies_tell_of_alleles_named_wrongly():
    eaf = [0.1, 0.2, 0.3, 0.9, 0.48]
    right = study("X", [(f"v{i}", "1", i + 1, "A", "G", f) for i, f in enumerate(eaf)])
    swapped = study("Y", [(f"v{i}", "1", i + 1, "G", "A", f) for i, f in enumerate(eaf)])
    assert align_alleles(right, swapped, other="Y").doubt.startswith(
        "X and Y: the frequencies of the same allele lie on opposite sides of one half for 4 of 4 variants"
    )
    well = study("Y", [(f"v{i}", "1", i + 1, "G", "A", 1 - f) for i, f in enumerate(eaf)])
    assert align_alleles(right, well).doubt == ""
    unknown = study("Y", [(f"v{i}", "1", i + 1, "G", "A", np.nan) for i in range(5)])
    assert align_alleles(right, unknown).doubt == ""
    palindromes = study("X", [(f"v{i}", "1", i + 1, "A", "T", f) for i, f in enumerate(eaf)])
    other_strand = study("Y", [(f"v{i}", "1", i + 1, "A", "T", 1 - f) for i, f in enumerate(eaf)])
    assert align_alleles(palindromes, other_strand, palindromes="keep").doubt == "", "the strand, not the allele"


def test_positions_come_from_the_study_that_has_them():
    bare = study("X", [("v1", "", 0, "A", "G", 0.1), ("v2", "", 0, "A", "G", 0.1)])
    placed = study("Y", [("v2", "7", 70, "A", "G", 0.1), ("v1", "6", 60, "A", "G", 0.1)])
    other = study("Z", [("v2", "7", 71, "A", "G", 0.1), ("v1", "6", 61, "A", "G", 0.1)])
    found = align_alleles(align_alleles(bare, placed).stats, other).stats.variants
    assert (found["chrom"].tolist(), found["pos"].tolist()) == (["6", "7"], [60, 70])


def test_three_alleles_at_one_place_find_their_own():
    exposure = study("X", [("rs1", "1", 5, "A", "C", 0.2), ("rs1", "1", 5, "A", "G", 0.1)])
    outcome = study("Y", [("rs1", "1", 5, "G", "A", 0.9), ("rs1", "1", 5, "A", "C", 0.2)])
    found = align_alleles(exposure, outcome)
    assert found.stats.beta.tolist() == [[1.0, 1.0], [1.0, -1.0]]


def test_one_variant_of_the_outcome_serves_once():
    exposure = study("X", [("rs1", "1", 5, "A", "C", 0.2), ("rs1", "1", 5, "T", "G", 0.2)])
    found = align_alleles(exposure, study("Y", [("rs1", "1", 5, "A", "C", 0.2)]))
    assert len(found.stats.variants) == 1
    assert "fits an earlier one" in found.dropped["reason"].iloc[0]


def test_positions_where_names_differ_and_no_overlap():
    exposure = study("X", [("rs1", "1", 5, "A", "C", 0.2)])
    found = align_alleles(exposure, study("Y", [("1:5:C:A", "1", 5, "C", "A", 0.8)]))
    assert found.matched_by == "position"
    assert found.stats.beta.tolist() == [[1.0, -1.0]]
    with pytest.raises(InputError, match="no variant in common: 1 such as rs1, 1 such as rs2"):
        align_alleles(exposure, study("Y", [("rs2", "1", 6, "C", "A", 0.8)]))


def test_order_and_coding_change_nothing():
    rng = np.random.default_rng(0)
    n = 500
    pairs = np.array(["AG", "AC", "CT", "GT", "AT", "CG"])[rng.integers(0, 6, n)]
    eaf, beta = rng.random(n), rng.normal(size=n)
    rows = [(f"rs{i}", "1", i + 1, p[0], p[1], f) for i, (p, f) in enumerate(zip(pairs, eaf, strict=True))]
    exposure = study("X", rows)
    plain = study("Y", rows)
    plain = SummaryStats(variants=plain.variants, traits=("Y",), beta=beta[:, None], se=plain.se, estimand="population")
    order = rng.permutation(n)
    swap = rng.random(n) < 0.5
    table = plain.variants.copy()
    effect, other = table["effect_allele"].to_numpy(object).copy(), table["other_allele"].to_numpy(object).copy()
    effect[swap], other[swap] = other[swap], effect[swap]
    complement = dict(zip("ACGT", "TGCA", strict=True))
    flip = (rng.random(n) < 0.5) & ~np.isin(pairs, ["AT", "CG"])
    for column in (effect, other):
        column[flip] = [complement[base] for base in column[flip]]
    table = table.assign(effect_allele=effect, other_allele=other, eaf=np.where(swap, 1 - eaf, eaf))
    changed = SummaryStats(
        variants=table.iloc[order].reset_index(drop=True), traits=("Y",),
        beta=np.where(swap, -beta, beta)[order][:, None], se=plain.se, estimand="population",
    )  # fmt: skip
    a, b = align_alleles(exposure, plain), align_alleles(exposure, changed)
    assert np.array_equal(a.stats.beta, b.stats.beta)
    assert a.stats.variants["variant_id"].tolist() == b.stats.variants["variant_id"].tolist()
    assert a.dropped["variant_id"].tolist() == b.dropped["variant_id"].tolist()
