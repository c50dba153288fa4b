"""Structure of the planted sequences."""

from itertools import pairwise

import numpy as np
import pytest

from deepmr.simulate.motifs import BACKGROUND
from deepmr.simulate.options import SimulationOptions
from deepmr.simulate.sequences import ABSENT, KINDS, add_variants, simulate_loci

N = 8000


@pytest.fixture(scope="module")
def options(motifs):
    return SimulationOptions(motifs=motifs, scenario="both")


@pytest.fixture(scope="module")
def loci(options):
    return simulate_loci(N, options=options, split="train", seed=3)


def four_se(p):
    return 4 * np.sqrt(p * (1 - p) / N)


def test_every_kind_is_a_quarter_of_the_loci(loci):
    for kind in KINDS:
        assert abs((loci.kind == kind).mean() - 0.25) < four_se(0.25)


def test_indicators_are_independent(loci):
    exposure, outcome, confounder = (loci.starts != ABSENT).T
    for first, second in ((exposure, outcome), (exposure, confounder), (outcome, confounder), (exposure, loci.z == 1)):
        assert abs((first & second).mean() - 0.25) < four_se(0.25)
        assert abs(first.mean() - 0.5) < four_se(0.5)


def test_motifs_never_overlap_and_stay_inside(loci):
    widths = loci.motifs.widths
    for starts in loci.starts:
        spans = sorted((start, start + width) for start, width in zip(starts, widths, strict=True) if start != ABSENT)
        assert all(start >= 0 and end <= 100 for start, end in spans)
        assert all(left[1] <= right[0] for left, right in pairwise(spans))


@pytest.mark.parametrize(("scenario", "largest"), [("unconfounded", 74), ("sequence", 59)])
def test_pairs_have_the_exposure_left_and_a_uniform_gap(motifs, scenario, largest):
    loci = simulate_loci(N, options=SimulationOptions(motifs=motifs, scenario=scenario), split="test", seed=0)
    pair = loci.starts[loci.kind == "both"]
    gap = pair[:, 1] - pair[:, 0] - motifs.widths[0]
    assert (gap.min(), gap.max()) == (16, largest)
    spread = (largest - 16 + 1) / np.sqrt(12)
    assert abs(gap.mean() - (16 + largest) / 2) < 4 * spread / np.sqrt(len(gap))


def test_single_motifs_start_anywhere(motifs):
    loci = simulate_loci(N, options=SimulationOptions(motifs=motifs), split="test", seed=0)
    for role, kind in enumerate(("exposure", "outcome")):
        starts = loci.starts[loci.kind == kind, role]
        assert sorted(set(starts)) == list(range(100 - motifs.widths[role] + 1))
    assert (loci.starts[:, 2] == ABSENT).all()
    assert (loci.z == 0).all()


def test_planted_bases_follow_the_motif_and_others_the_background(loci):
    planted = np.zeros(loci.codes.shape, dtype=bool)
    for role, matrix in enumerate(loci.motifs.matrices):
        rows = np.flatnonzero(loci.starts[:, role] != ABSENT)
        columns = loci.starts[rows, role, None] + np.arange(len(matrix))
        planted[rows[:, None], columns] = True
        seen = (loci.codes[rows[:, None], columns][..., None] == np.arange(4)).mean(axis=0)
        np.testing.assert_allclose(seen, matrix, atol=4 * np.sqrt(0.25 / len(rows)))
    background = (loci.codes[~planted][:, None] == np.arange(4)).mean(axis=0)
    np.testing.assert_allclose(background, BACKGROUND, atol=4 * np.sqrt(0.25 / (~planted).sum()))


def test_seed_decides_and_splits_and_sizes_do_not_meddle(options):
    first = simulate_loci(50, options=options, split="train", seed=1)
    np.testing.assert_array_equal(first.codes, simulate_loci(50, options=options, split="train", seed=1).codes)
    assert (first.codes != simulate_loci(50, options=options, split="train", seed=2).codes).any(axis=1).all()
    assert (first.codes != simulate_loci(50, options=options, split="test", seed=1).codes).any(axis=1).all()


def test_scenarios_with_the_same_motifs_share_their_sequences(motifs):
    plain, random = (
        simulate_loci(50, options=SimulationOptions(motifs=motifs, scenario=scenario), split="test", seed=1)
        for scenario in ("unconfounded", "random")
    )
    np.testing.assert_array_equal(plain.codes, random.codes)
    assert 0 < random.z.sum() < 50


def test_frames_name_what_was_planted(loci):
    some = loci.take(np.arange(N) < 40)
    planted = some.planted()
    text = dict(some.sequences.to_frame()[["locus", "sequence"]].to_numpy())
    assert len(planted) == (some.starts != ABSENT).sum()
    for row in planted.itertuples():
        assert text[row.locus][row.start : row.end] == row.string
        assert row.end - row.start == dict(zip(loci.motifs.names, loci.motifs.widths, strict=True))[row.motif]
    frame = some.to_frame()
    assert frame["kind"].tolist() == some.kind.tolist()
    assert set(frame["parent"]) == {""}
    both = set(frame.loc[frame["kind"] == "both", "locus"])
    roles = planted.groupby("locus")["role"].agg(set)
    assert both == {locus for locus, has in roles.items() if {"exposure", "outcome"} <= has}


@pytest.mark.parametrize("edits", ["each", "one"])
def test_variants_have_substitutions_in_their_parents_motifs(loci, options, edits):
    parents = loci.take(np.arange(N) < 500)
    whole = add_variants(parents, n_variants=400, edits=edits, options=options, seed=3)
    np.testing.assert_array_equal(whole.codes[:500], parents.codes)
    assert len(whole) == 900
    assert whole.sequences.loci["locus"].is_unique
    for row in range(500, 900):
        parent = whole.parent[row]
        changed = np.flatnonzero(whole.codes[row] != whole.codes[parent])
        starts = whole.starts[parent]
        spans = [
            range(start, start + width)
            for start, width in zip(starts, loci.motifs.widths, strict=True)
            if start != ABSENT
        ]
        inside = [sum(offset in span for offset in changed) for span in spans]
        assert len(changed) == (1 if edits == "one" or not spans else len(spans))
        assert not spans or (max(inside) == 1 and sum(inside) == len(changed))
    assert whole.to_frame()["parent"].iloc[500:].tolist() == parents.names[whole.parent[500:]].tolist()
    assert abs(whole.z[500:].mean() - 0.5) < 0.11  # drawn afresh


def test_variants_edit_every_place_and_base_alike(loci, options):
    parents = loci.take(loci.kind == "exposure")
    whole = add_variants(parents, n_variants=3000, options=options, seed=1)
    rows = np.arange(len(parents), len(whole))
    changed = whole.codes[rows] != whole.codes[whole.parent[rows]]
    start = whole.starts[rows, 0, None]
    offset = np.arange(100) - start
    place = np.bincount(offset[changed & (offset >= 0) & (offset < 10)], minlength=10)
    assert place.sum() == 3000
    assert np.abs(place / 3000 - 0.1).max() < 4 * np.sqrt(0.09 / 3000)
