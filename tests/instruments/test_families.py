"""Families of seqlets: alike on either strand and at any shift, unlike otherwise."""

import numpy as np
import pandas as pd
import pytest

from deepmr import schema
from deepmr.errors import InputError
from deepmr.instruments.families import group_seqlets
from deepmr.instruments.seqlets import Seqlets

WINDOW = 40


def seqlets_of(patterns):
    """Seqlets with these patterns of effects (width, 4), each in the middle of its window."""
    table = pd.DataFrame({name: np.zeros(len(patterns)) for name in schema.SEQLETS})
    windows = np.zeros((len(patterns), WINDOW, 4))
    for window, (start, pattern) in zip(windows, patterns, strict=True):
        window[start : start + len(pattern)] = pattern
    return Seqlets(table=table, pattern=windows)


def motif(word, depth=3.0):
    return -depth * (np.arange(4) != np.array(["ACGT".index(c) for c in word])[:, None])


def test_shifts_strands_and_sizes_do_not_matter():
    patterns = [(16, motif("GATAAG")), (14, 0.5 * motif("GATAAG")), (18, motif("CTTATC")), (16, motif("TGCATG"))]
    assert group_seqlets(seqlets_of(patterns)).tolist() == [0, 0, 0, 1]


def test_noise_does_not_matter():
    rng = np.random.default_rng(0)
    words = ["GATAAG"] * 20 + ["TGACTCA"] * 10
    patterns = [(int(rng.integers(12, 20)), motif(w) + 0.6 * rng.normal(size=(len(w), 4))) for w in words]
    found = group_seqlets(seqlets_of(patterns))
    assert sorted(np.bincount(found).tolist()) == [10, 20]
    assert len(set(found[:20])) == len(set(found[20:])) == 1


def test_the_strongest_leads_and_order_does_not_matter():
    patterns = [(16, motif("TGCATG", 2.0)), (16, motif("GATAAG", 4.0)), (16, motif("TGCATG", 3.0))]
    assert group_seqlets(seqlets_of(patterns)).tolist() == [1, 0, 1]
    assert group_seqlets(seqlets_of(patterns[::-1])).tolist() == [1, 0, 1]


def test_what_has_no_pattern_or_comes_too_late_has_no_family():
    patterns = [(16, motif("GATAAG", 4.0)), (16, 0 * motif("GATAAG")), (16, motif("TGCATG"))]
    assert group_seqlets(seqlets_of(patterns)).tolist() == [0, -1, 1]
    assert group_seqlets(seqlets_of(patterns), most=1).tolist() == [0, -1, -1]
    assert group_seqlets(seqlets_of([])).tolist() == []


def test_options():
    with pytest.raises(InputError, match="similarity"):
        group_seqlets(seqlets_of([]), similarity=0.0)
