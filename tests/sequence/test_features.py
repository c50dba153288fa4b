"""Contexts of loci from sequence: planted motifs at known places and strands, palindromes, ties, masked bases."""

import sys

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.sequence.alphabet import encode
from deepmr.sequence.features import composition, sequence_features
from deepmr.sequence.motif_hits import reachable, scan_motifs
from deepmr.types import Sequences, reverse_complement

SITE, OTHER, PALINDROME = "GATTACAGG", "TTGCCATAC", "ACCTAGCTAGGT"
BACKWARDS = {"GATTACAGG": "CCTGTAATC", "TTGCCATAC": "GTATGGCAA"}
LENGTH = 60


def matrix(text, share=0.97):
    """A motif that is nearly one text."""
    wide = np.full((len(text), 4), (1 - share) / 3)
    wide[np.arange(len(text)), encode(text)] = share
    return wide


MOTIFS = {"A": matrix(SITE), "B": matrix(OTHER), "P": matrix(PALINDROME)}


def planted(*sites, length=LENGTH, fill="A"):
    """A sequence of one base with texts at given places."""
    letters = list(fill * length)
    for start, text in sites:
        letters[start : start + len(text)] = text
    return "".join(letters)


def loci(*texts):
    frame = pd.DataFrame({"locus": [f"l{k}" for k in range(len(texts))], "chrom": "", "start": -1, "end": -1})
    return Sequences(loci=frame, codes=np.stack([encode(text) for text in texts]))


def features(*texts, pairs=(("A", "B"),), threshold=1e-4):
    return sequence_features(loci(*texts), MOTIFS, pairs=pairs, threshold=threshold)


def test_a_planted_motif_is_found_at_its_place_and_strand():
    forward, backward, none = planted((10, SITE)), planted((40, BACKWARDS[SITE])), planted()
    table = features(forward, backward, none)
    assert table["A_present"].tolist() == [1, 1, 0]
    assert table["A_strand"].tolist() == [1, -1, 0]
    assert table["A_position"].tolist() == [10 + 4.5 - 30, 40 + 4.5 - 30, 0]
    assert table["A_hits"].tolist() == [1, 1, 0]
    best = 9 * np.log2((0.97 + 1e-4) / 0.25)
    np.testing.assert_allclose(table["A_score"], [best, best, 0], atol=1e-4)
    assert not table["B_present"].any()


def test_a_pair_has_its_gap_spacing_and_orientation():
    a, b = SITE, OTHER
    rows = [
        planted((10, a), (30, b)),  # one direction
        planted((10, a), (30, BACKWARDS[b])),  # towards each other
        planted((10, BACKWARDS[a]), (30, b)),  # away
        planted((30, a), (10, b)),
        planted((10, a)),
    ]
    table = features(*rows)
    assert table["A:B_both"].tolist() == [1, 1, 1, 1, 0]
    assert table["A:B_gap"].tolist() == [11, 11, 11, 11, LENGTH]
    assert table["A:B_spacing"].tolist() == [20, 20, -20, -20, 0]
    assert table["A:B_orientation"].tolist() == [0, 1, -1, 0, 0]


def test_the_other_strand_of_a_locus_has_the_same_pair():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), LENGTH)) for _ in range(20)]
    rows = [text[:8] + a + text[17:25] + b + text[34:] for text in texts for a in (SITE, BACKWARDS[SITE])
            for b in (OTHER, BACKWARDS[OTHER])]  # fmt: skip
    here = loci(*rows)
    there = Sequences(loci=here.loci, codes=reverse_complement(here.codes))
    tables = [sequence_features(one, MOTIFS, pairs=[("A", "B")]) for one in (here, there)]
    same = ["gc", "cpg", "A_hits", "B_hits", "A:B_gap", "A:B_spacing", "A:B_orientation"]
    pd.testing.assert_frame_equal(tables[0][same], tables[1][same])
    assert (tables[0]["A_position"] == -tables[1]["A_position"]).all()
    assert (tables[0]["A_strand"] == -tables[1]["A_strand"]).all()
    assert set(tables[0]["A:B_orientation"]) == {-1, 0, 1}


def test_a_palindrome_has_one_place_and_no_strand():
    table = features(planted((20, PALINDROME), (45, OTHER)), pairs=[("P", "B"), ("B", "P")])
    assert table.loc[0, ["P_present", "P_hits", "P_strand"]].tolist() == [1, 1, 0]
    assert table.loc[0, ["P:B_orientation", "B:P_orientation"]].tolist() == [0, 0]
    assert table.loc[0, ["P:B_spacing", "B:P_spacing"]].tolist() == [23.5, -23.5]  # along the sequence; along B


def test_of_equal_matches_the_one_nearest_to_the_centre_counts_then_the_left_one():
    table = features(planted((1, SITE), (40, SITE)), planted((10, SITE), (40, SITE)), planted((12, SITE), (39, SITE)))
    assert table["A_hits"].tolist() == [2, 2, 2]
    assert (table["A_position"] + 30 - 4.5).tolist() == [40, 40, 12]


def test_a_better_match_beats_a_nearer_one():
    weak = SITE[:-1] + "C"
    table = features(planted((2, SITE), (26, weak)), threshold=1e-3)
    assert table["A_position"][0] + 30 - 4.5 == 2
    assert table["A_hits"][0] == 2


def test_masked_bases_match_nothing_and_have_no_composition():
    table = features("N" * LENGTH, planted((10, SITE[:4] + "NNNNN")), planted((10, SITE), fill="N"))
    assert table["A_present"].tolist() == [0, 0, 1]
    assert table["length"].tolist() == [0, LENGTH - 5, 9]
    assert table["gc"].tolist() == [0.5, 1 / 55, 4 / 9]
    assert np.isfinite(table.drop(columns=["locus", "chrom"]).to_numpy(float)).all()


def test_composition_by_hand():
    table = composition(np.stack([encode("CGCGAATT"), encode("CCGGNNAA"), encode("TTTTTTTT")]))
    assert table["gc"].tolist() == [0.5, 4 / 6, 0]
    assert table["cpg"].tolist() == [2 * 8 / 4, 1 * 6 / 4, 0]


def test_many_loci_in_pieces_are_as_at_once(monkeypatch):
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 5, (40, LENGTH), dtype=np.uint8)
    whole = scan_motifs(codes, MOTIFS, threshold=0.01)
    monkeypatch.setattr("deepmr.sequence.motif_hits.BASES_AT_ONCE", 7 * LENGTH)
    parts = scan_motifs(codes, MOTIFS, threshold=0.01)
    for name in ("n_hits", "score", "start", "strand"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_the_scan_is_the_slow_definition():
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 4, (30, LENGTH), dtype=np.uint8)
    motif = rng.dirichlet(np.ones(4), 7)
    hits = scan_motifs(codes, {"m": motif}, threshold=0.05)
    odds = np.log2(motif + 1e-4) - np.log2(0.25)
    for row, sequence in enumerate(codes):
        score = {
            (start, sign): sum(odds[i, base] for i, base in enumerate(window if sign == 1 else 3 - window[::-1]))
            for start in range(LENGTH - 6)
            for window in [sequence[start : start + 7].astype(int)]
            for sign in (1, -1)
        }
        if hits.start[row, 0] < 0:
            continue
        best = max(score, key=lambda at: score[at])
        assert (hits.start[row, 0], hits.strand[row, 0]) == best
        assert hits.score[row, 0] == pytest.approx(score[best], abs=1e-3)
    assert (hits.start >= 0).mean() > 0.5


def test_what_cannot_be_used_is_one_line(monkeypatch):
    with pytest.raises(InputError, match="threshold of P values must be above 0"):
        features(planted(), threshold=0.0)
    with pytest.raises(InputError, match="motif of a pair"):
        features(planted(), pairs=[("A", "C")])
    with pytest.raises(InputError, match="motif 'P' has 12 positions; the loci have 8 bases"):
        features("ACGTACGT")
    with pytest.raises(InputError, match="pairs are of motifs"):
        sequence_features(loci(planted()), pairs=[("A", "B")])
    monkeypatch.setitem(sys.modules, "memelite.fimo", None)
    with pytest.raises(InputError, match=r"pip install 'deepmr\[motif\]'"):
        features(planted())


def test_motifs_too_short_to_match_are_told():
    assert reachable({"short": matrix("ACGTAC"), "long": matrix("ACGTACG")}, threshold=1e-4) == ["long"]
