"""Seqlets that hold two sites are taken apart where other loci know one of them."""

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.instruments.composites import split_composites
from deepmr.instruments.seqlets import Seqlets
from tests.instruments.test_families import WINDOW, motif

FIRST, SECOND = motif("GATAAG"), motif("TGACTCA", 2.5)
GAP = np.zeros((2, 4))


def seqlets_at(patterns, *, start=30):
    """One seqlet a locus with these patterns, from `start` on."""
    windows, rows = np.zeros((len(patterns), WINDOW, 4)), []
    for i, (window, pattern) in enumerate(zip(windows, patterns, strict=True)):
        end = start + len(pattern)
        origin = (start + end) // 2 - WINDOW // 2
        window[start - origin : end - origin] = pattern
        text = "".join("N" if (row == 0).all() else "ACGT"[row.argmax()] for row in pattern)
        rows.append((f"l{i}", 1, start, end, text, float(np.sqrt((np.abs(pattern).max(axis=1) ** 2).sum()))))
    columns = ["locus", "seqlet", "start", "end", "sequence", "strength"]
    return Seqlets(table=pd.DataFrame(rows, columns=columns), pattern=windows)


def spans(seqlets):
    return [tuple(row) for row in seqlets.table[["locus", "seqlet", "start", "end", "sequence"]].to_numpy().tolist()]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("between", [0, 2])
def test_two_sites_side_by_side_are_taken_apart(flip, between):
    joint = np.concatenate([FIRST, GAP[:between], SECOND])
    joint = joint[::-1, ::-1] if flip else joint
    found = split_composites(seqlets_at([FIRST] * 8 + [SECOND] * 6 + [joint]))
    last = 30 + 6 + between + 7
    expected = (
        [("l14", 1, 30, 37, "TGAGTCA"), ("l14", 2, last - 6, last, "CTTATC")]
        if flip
        else [("l14", 1, 30, 36, "GATAAG"), ("l14", 2, last - 7, last, "TGACTCA")]
    )
    assert spans(found)[-2:] == expected
    # Each part is what the seqlet would have been had it been found alone.
    parts = [SECOND[::-1, ::-1], FIRST[::-1, ::-1]] if flip else [FIRST, SECOND]
    for row, part in zip((-2, -1), parts, strict=True):
        alone = seqlets_at([part], start=int(found.table["start"].iloc[row]))
        np.testing.assert_array_equal(found.pattern[row], alone.pattern[0])
        assert found.table["strength"].iloc[row] == pytest.approx(alone.table["strength"].iloc[0])


def test_two_sites_of_one_factor():
    found = split_composites(seqlets_at([FIRST] * 8 + [np.concatenate([FIRST, FIRST])]))
    assert spans(found)[-2:] == [("l8", 1, 30, 36, "GATAAG"), ("l8", 2, 36, 42, "GATAAG")]


def test_a_site_between_two_others():
    joint = np.concatenate([0.8 * SECOND, FIRST, 0.8 * SECOND])
    found = split_composites(seqlets_at([FIRST] * 8 + [joint]))
    assert [row[2:4] for row in spans(found)[-3:]] == [(30, 37), (37, 43), (43, 50)]


def test_what_is_left_alone():
    joint = np.concatenate([FIRST, SECOND])
    for given in (
        seqlets_at([FIRST] * 8 + [SECOND] * 6),  # nothing is mixed
        seqlets_at([FIRST] * 3 + [joint]),  # too few tell how long the site is
        seqlets_at([joint] * 20),  # always together: one site, for all that is known
        seqlets_at([FIRST] * 8 + [np.concatenate([FIRST, SECOND[:3]])]),  # the rest is no seqlet
    ):
        assert split_composites(given) is given


def test_noise_does_not_matter_and_order_stays():
    rng = np.random.default_rng(0)
    plain, joint = [FIRST] * 20, np.concatenate([SECOND, GAP, FIRST])
    patterns = [p + 0.1 * rng.normal(size=p.shape) for p in [joint, *plain, joint]]
    found = split_composites(seqlets_at(patterns))
    assert [row[:4] for row in spans(found)[:2]] == [("l0", 1, 30, 37), ("l0", 2, 39, 45)]
    assert found.table["locus"].tolist() == ["l0", "l0", *[f"l{i}" for i in range(1, 21)], "l21", "l21"]


def test_options_and_nothing():
    empty = seqlets_at([FIRST])
    nothing = Seqlets(table=empty.table.iloc[:0], pattern=empty.pattern[:0])
    assert split_composites(nothing) is nothing
    with pytest.raises(InputError, match="min_width"):
        split_composites(empty, min_width=0)
