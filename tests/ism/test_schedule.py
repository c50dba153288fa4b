"""Edits put together: every variant in one slot, every window just as wide as its edits."""

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from deepmr.ism.intervals import Interval
from deepmr.ism.schedule import groups_of
from deepmr.ism.variants import single_edits
from tests.ism.definition import listed, random_codes
from tests.ism.stubs import make_sequences

QUICK = settings(max_examples=100, deadline=None, derandomize=True, database=None, phases=[Phase.generate])


@st.composite
def variants(draw, n_loci=7, length=30):
    """Return lists of substitutions, some of several bases, for some of the loci."""
    found = []
    for locus in sorted(draw(st.lists(st.integers(0, n_loci - 1), max_size=25))):
        offsets = draw(st.sets(st.integers(0, length - 1), min_size=1, max_size=draw(st.sampled_from([1, 1, 2, 5]))))
        found.append((locus, {offset: draw(st.integers(0, 3)) for offset in offsets}))
    return found


def made_by(batches):
    """Read groups back: variant -> locus, bases."""
    found = {}
    for _, groups in batches:
        for group in groups:
            for slot, column in zip(*np.nonzero(group.variants >= 0), strict=True):
                assert group.variants[slot, column] not in found
                here = (group.slot == slot) & (group.column == column)
                offsets = (group.offset[here] + group.window.start).tolist()
                bases = dict(zip(offsets, group.base[here].tolist(), strict=True))
                found[int(group.variants[slot, column])] = int(group.loci[column]), bases
    return found


@given(variants(), st.integers(1, 12), st.integers(1, 8))
@QUICK
def test_every_variant_is_in_one_slot(drawn, width, n_loci):
    batches = list(groups_of(listed(*drawn), width=width, n_loci=n_loci)) if drawn else []
    assert made_by(batches) == dict(enumerate(drawn))
    for loci, groups in batches:
        assert loci.stop - loci.start == n_loci
        assert loci.start % n_loci == 0
        for group in groups:
            offsets = group.offset + group.window.start
            assert group.window == Interval(int(offsets.min()), int(offsets.max()) + 1)
            assert set(group.loci) <= set(range(loci.start, loci.stop))
            assert (np.diff(group.loci) > 0).all()
            assert (group.variants >= 0).any(axis=0).all()  # every locus has an edit
            assert (group.variants >= 0).any(axis=1).all()  # and every slot is used
            used = group.variants >= 0
            assert (used[:-1] >= used[1:]).all()  # the first slots of each locus
            first = [min(drawn[v][1]) for v in group.variants[used]]
            assert max(first) // width == min(first) // width
    starts = [loci.start for loci, _ in batches]
    assert starts == sorted(set(starts))


def test_single_edits_by_hand():
    codes = make_sequences("ACNGT", "NCGTA").codes
    ((loci, (first, second)),) = groups_of(single_edits(codes), width=3, n_loci=2)
    assert loci == slice(0, 2)
    assert first.window == Interval(0, 3)
    assert first.variants.T.tolist() == [[0, 1, 2, 3, 4, 5], [12, 13, 14, 15, 16, 17]]
    assert first.loci.tolist() == [0, 1]
    assert first.offset[first.column == 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert first.offset[first.column == 1].tolist() == [1, 1, 1, 2, 2, 2]
    assert second.window == Interval(3, 5)
    assert second.variants.shape == (6, 2)


def test_a_distant_pair_does_not_widen_the_window_of_its_neighbours():
    edits = listed((0, {3: 1}), (0, {4: 1, 90: 2}), (0, {5: 2}), (1, {3: 0, 4: 0}))
    ((_, groups),) = groups_of(edits, width=4, n_loci=2)
    assert [(group.window, sorted(group.variants[group.variants >= 0].tolist())) for group in groups] == [
        (Interval(3, 5), [0, 3]),
        (Interval(5, 6), [2]),
        (Interval(4, 91), [1]),
    ]


def test_loci_without_edits_are_passed_over():
    edits = listed((2, {0: 1}), (9, {7: 1}))
    batches = list(groups_of(edits, width=4, n_loci=3))
    assert [loci for loci, _ in batches] == [slice(0, 3), slice(9, 12)]
    assert [group.loci.tolist() for _, groups in batches for group in groups] == [[2], [9]]


def test_no_edits_are_no_groups():
    assert list(groups_of(listed(), width=4, n_loci=3)) == []
    assert list(groups_of(single_edits(np.full((2, 5), 4, dtype=np.uint8)), width=4, n_loci=3)) == []


def test_uneven_counts_leave_slots_empty():
    codes = random_codes(0, 3, 8)
    codes[1, 2:] = 4
    ((_, groups),) = groups_of(single_edits(codes), width=4, n_loci=3)
    assert groups[0].variants.shape == (12, 3)
    assert (groups[0].variants[6:, 1] == -1).all()
    assert groups[1].loci.tolist() == [0, 2]
