"""Gaps between motifs by hand, and an effect that falls with them."""

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.simulate.labels import bind, binding_probabilities, factors_of
from deepmr.simulate.motifs import gap_of
from deepmr.simulate.options import SimulationOptions
from deepmr.simulate.oracle import oracle_edits, oracle_predictor
from deepmr.simulate.sequences import simulate_loci
from deepmr.simulate.spacing import EDGES, bucket_gaps, pair_gaps
from deepmr.simulate.truth import true_effects


def test_gaps_by_hand():
    rows = [
        ("a", "exposure", 0, 10),
        ("a", "outcome", 12, 20),
        ("b", "outcome", 0, 5),
        ("b", "exposure", 9, 12),
        ("c", "exposure", 0, 10),
        ("d", "exposure", 0, 10),
        ("d", "outcome", 4, 20),
        ("d", "confounder", 50, 60),
    ]
    gaps = pair_gaps(pd.DataFrame(rows, columns=["locus", "role", "start", "end"]))
    assert gaps.to_dict("list") == {"locus": ["a", "b", "d"], "gap": [2, 4, 0]}
    np.testing.assert_array_equal(gap_of(np.array([0, 9, 0]), np.array([12, 0, 4]), widths=(10, 5)), [2, 4, 0])


def test_gaps_of_a_simulation_are_what_was_planted(motifs):
    options = SimulationOptions(motifs=motifs, scenario="both")
    loci = simulate_loci(400, options=options, split="test", seed=2)
    gaps = pair_gaps(loci.planted()).set_index("locus")["gap"]
    pairs = loci.take(loci.kind == "both")
    assert set(gaps.index) == set(pairs.names)
    assert (gaps[pairs.names] == pairs.starts[:, 1] - pairs.starts[:, 0] - 10).all()
    assert (gaps.min(), gaps.max()) >= options.gaps[:1]
    assert bucket_gaps(gaps).notna().all()


def test_buckets_keep_their_upper_edge():
    buckets = bucket_gaps(pd.Series([15, 16, 25, 26, 75, 80]))
    assert buckets.astype(object).where(buckets.notna(), "").tolist() == [
        "",
        "(15, 25]",
        "(15, 25]",
        "(25, 35]",
        "(65, 75]",
        "",
    ]
    assert next(iter(buckets.cat.categories)) == "(15, 25]"
    assert len(buckets.cat.categories) == len(EDGES) - 1


def test_bad_gaps_are_refused():
    frame = pd.DataFrame({"locus": "a", "role": "exposure", "start": [1, 5], "end": [3, 7]})
    with pytest.raises(InputError, match="a has several of the exposure"):
        pair_gaps(frame)
    with pytest.raises(InputError, match="needs the column"):
        pair_gaps(frame.drop(columns="role"))
    with pytest.raises(InputError, match="must rise"):
        bucket_gaps(pd.Series([1]), edges=(5, 5))


def test_closeness_is_the_mean_over_pairs_of_sites(motifs):
    options = SimulationOptions(motifs=motifs, interaction_distance=20.0, motif_scale=0.5)
    loci = simulate_loci(12, options=options, split="test", seed=2)
    binding = bind(loci.codes, factors_of(options))
    matrices = [0.5 * np.log((m * (1 - 1e-5) + 1e-5 / 4) / np.array([0.27, 0.23, 0.23, 0.27])) for m in motifs.matrices]
    for i in range(12):
        bound = []
        for scores in matrices[:2]:
            energy = [
                sum(scores[j, loci.codes[i, t + j]] for j in range(len(scores))) for t in range(101 - len(scores))
            ]
            bound.append([1 / (1 + np.exp(-e)) for e in energy])
        total = near = 0.0
        for t, first in enumerate(bound[0]):
            for u, second in enumerate(bound[1]):
                total += first * second
                near += first * second * np.exp(-max(u - t - 10, t - u - 16, 0) / 20)
        assert binding.closeness[i] == pytest.approx(near / total, rel=1e-9)


def test_effects_fall_with_the_gap(motifs):
    options = SimulationOptions(motifs=motifs, interaction_distance=30.0)
    loci = simulate_loci(600, options=options, split="test", seed=2)
    loci = loci.take(loci.kind == "both")
    truth = true_effects(loci, options=options)
    gap = pair_gaps(loci.planted()).set_index("locus")["gap"][truth["locus"]].to_numpy()
    strong = truth["sum_dx2"] > 0.1 * truth["sum_dx2"].median()
    expected = np.sqrt(10 * np.exp(-gap / 30))  # about the square root of the strength
    assert np.median(np.abs(truth["beta"] / expected - 1)[strong]) < 0.1
    assert (
        np.corrcoef(truth["beta"][strong], expected[strong])[0, 1] > 0.9
    )  # sites that an edit leaves pull some loci off


def test_a_long_distance_is_none_and_effects_of_edits_agree(motifs):
    loci = simulate_loci(8, options=SimulationOptions(motifs=motifs), split="test", seed=2)
    far = SimulationOptions(motifs=motifs, interaction_distance=1e9)
    near = SimulationOptions(motifs=motifs)
    assert binding_probabilities(loci.codes, options=near).closeness is None
    slow, fast = (oracle_edits(loci.codes, member=oracle_predictor(options).members[0]) for options in (far, near))
    np.testing.assert_allclose(slow.delta, fast.delta, atol=1e-6)
