"""Seqlets: where they begin and end, and which instruments lie in them."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.instruments.seqlets import (
    Segmentation,
    assign_seqlets,
    concat_seqlets,
    find_seqlets,
    lay_out,
    offsets_in_locus,
    segment_tracks,
)
from deepmr.instruments.strength import effect_scales, select_instruments
from deepmr.ism.members import pool_members
from tests.instruments.seqlets import saturated, two_seqlets


def spans(track, **options):
    track = np.atleast_2d(np.asarray(track, dtype=float))
    runs = segment_tracks(track, cut=np.ones(len(track)), **options)
    return list(zip(runs.locus.tolist(), runs.start.tolist(), runs.end.tolist(), strict=True))


def test_a_run_is_what_reaches_the_cut():
    assert spans([0, 0, 2, 2, -3, 2, 0, 0]) == [(0, 2, 6)]
    assert spans(np.zeros(10)) == []
    assert spans([[2, 2, 2, 2, 0, 0], [0, 0, 2, 2, 2, 2]]) == [(0, 0, 4), (1, 2, 6)]


def test_runs_do_not_cross_from_one_locus_to_the_next():
    assert spans([[0, 0, 2, 2], [2, 2, 0, 0]], min_width=2) == [(0, 2, 4), (1, 0, 2)]


@pytest.mark.parametrize(("zeros", "expected"), [(3, [(0, 0, 7)]), (4, [(0, 0, 2), (0, 6, 8)])])
def test_gaps_up_to_the_limit_are_bridged(zeros, expected):
    assert spans([2, 2, *[0] * zeros, 2, 2], gap=3, min_width=2) == expected


def test_short_runs_are_no_seqlets():
    assert spans([0, 2, 2, 2, 0, 0, 0, 0, 0, 2, 2, 2, 2], min_width=4) == [(0, 9, 13)]


def test_long_runs_are_split_where_they_are_weakest():
    track = np.full(20, 5.0)
    track[7] = 1.5
    assert spans(track, min_width=4, max_width=15) == [(0, 0, 9), (0, 9, 20)]  # of the four that see it
    track[6:8] = 0  # the parts end where positions count
    assert spans(track, min_width=4, max_width=15) == [(0, 0, 6), (0, 8, 20)]


def test_a_flat_long_run_is_halved_until_it_fits():
    assert spans(np.full(32, 2.0), min_width=4, max_width=8) == [(0, 0, 8), (0, 8, 16), (0, 16, 24), (0, 24, 32)]


@pytest.mark.parametrize("seed", range(5))
def test_runs_are_disjoint_within_bounds_and_the_same_one_locus_at_a_time(seed):
    rng = np.random.default_rng(seed)
    track = rng.normal(size=(7, 120)) * 1.2
    all_at_once = spans(track, min_width=3, max_width=12)
    assert all_at_once == [
        (i, a, b) for i, row in enumerate(track) for _, a, b in spans(row, min_width=3, max_width=12)
    ]
    assert all(3 <= b - a <= 12 for _, a, b in all_at_once)
    assert all(one[0] < other[0] or one[2] <= other[1] for one, other in pairwise(all_at_once))
    for i, a, b in all_at_once:  # both ends count
        assert min(abs(track[i, a]), abs(track[i, b - 1])) >= 1


def test_options_that_cannot_be_met():
    with pytest.raises(InputError, match="at least twice min_width, 20"):
        Segmentation(min_width=10, max_width=15)
    with pytest.raises(InputError, match="floor"):
        Segmentation(floor=0.0)
    with pytest.raises(InputError, match="significance"):
        Segmentation(significance=0.0)


def found_in(effects):
    stats = pool_members(effects)
    scales = effect_scales([stats])
    tracks = lay_out(stats, trait="X")
    return stats, scales, tracks, find_seqlets(tracks, scale=scales["X"])


def test_laid_out_by_hand():
    codes = np.array([[0, 3]], dtype=np.uint8)
    delta = np.zeros((3, 1, 2, 4, 1))
    delta[:, 0, 0, 1:, 0] = [[-3, -1, -2]] * 3 + np.array([[0.1], [0.0], [-0.1]])
    tracks = lay_out(pool_members(saturated(delta, codes, tasks=("X",))), trait="X")
    np.testing.assert_allclose(tracks.effect[0], [[0, -3, -1, -2], [0, 0, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(tracks.largest, [[-3.0, 0.0]], atol=1e-12)
    np.testing.assert_allclose(tracks.contribution, [[2.0, 0.0]], atol=1e-12)
    assert tracks.codes.tolist() == [[0, 3]]


def test_seqlets_lie_where_they_were_put():
    _, _, _, seqlets = found_in(two_seqlets(second=[True, False] * 3))
    table = seqlets.table
    assert table["start"].tolist() == [5, 22, 5] * 3
    assert table["end"].tolist() == [11, 28, 11] * 3
    assert table["seqlet"].tolist() == [1, 2, 1] * 3
    assert table["sequence"].tolist() == ["GATAAG", "TGACTC", "GATAAG"] * 3
    assert table["locus"].tolist() == [f"locus{i}" for i in (0, 0, 1, 2, 2, 3, 4, 4, 5)]


def test_the_outcome_has_no_part_in_it():
    effects = two_seqlets(slopes=(2.0, 9.0))
    other = two_seqlets(slopes=(0.0, -4.0))
    pd.testing.assert_frame_equal(found_in(effects)[3].table, found_in(other)[3].table)


def test_uncertain_positions_do_not_count():
    effects = two_seqlets(members=3)
    effects.delta[:, effects.variants["offset"].between(22, 27), 0] *= np.array([-1.0, 0.1, 1.5])[:, None]
    assert set(found_in(effects)[3].table["start"]) == {5}


def test_every_instrument_is_in_the_seqlet_of_its_place_or_in_none():
    effects = two_seqlets()
    far = (effects.variants["offset"] == 35).to_numpy()  # one strong position alone is no seqlet
    effects.delta[:, far, 0] += -3.0
    stats, scales, _, seqlets = found_in(effects)
    given = select_instruments(stats, exposure="X", outcome="Y", scales=scales)
    label = assign_seqlets(given, seqlets)
    for row, at in zip(given.variants.to_dict("records"), label, strict=True):
        mine = seqlets.table[seqlets.table["locus"] == row["locus"]]
        inside = mine.index[(mine["start"] <= row["offset"]) & (row["offset"] < mine["end"])]
        assert at == (inside[0] if len(inside) else -1)
    assert (label == -1).sum() == 18
    assert np.bincount(label[label >= 0]).tolist() == [18] * 12


def test_blocks_of_loci_give_the_same_seqlets():
    effects = two_seqlets()
    stats, scales, _, whole = found_in(effects)
    parts = [
        find_seqlets(lay_out(stats, trait="X", loci=loci), scale=scales["X"])
        for loci in (["locus0", "locus1"], ["locus2", "locus3", "locus4", "locus5"])
    ]
    stacked = concat_seqlets(parts)
    pd.testing.assert_frame_equal(stacked.table, whole.table)
    np.testing.assert_array_equal(stacked.pattern, whole.pattern)


def test_no_seqlet_at_all():
    effects = two_seqlets()
    effects.delta[:] = 0
    stats, scales, _, seqlets = found_in(effects)
    given = select_instruments(stats, exposure="X", outcome="Y", scales=scales)
    assert len(seqlets) == 0
    assert assign_seqlets(given, seqlets).tolist() == []


def test_positions_without_offsets_count_from_the_first_of_the_locus():
    variants = pd.DataFrame({"locus": ["a", "a", "b"], "pos": [101, 105, 7], "offset": -1})
    assert offsets_in_locus(variants).tolist() == [0, 4, 0]
    assert offsets_in_locus(variants.assign(offset=[3, 4, 5])).tolist() == [3, 4, 5]
