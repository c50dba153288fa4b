"""Binding probabilities by hand and by brute force."""

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.simulate.motifs import CHUNK, MotifSet, log_odds, occupancy, sharpen, smooth

UNIFORM = (0.25, 0.25, 0.25, 0.25)
AC = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1]])  # a match multiplies the odds by 2.8, a mismatch by 0.4


def codes(text):
    return np.array([["ACGTN".index(base) for base in text]], dtype=np.uint8)


def brute_force(sequence, scores, shift):
    width = len(scores)
    free = 1.0
    for start in range(len(sequence) - width + 1):
        energy = -shift - sum(scores[j, sequence[start + j]] for j in range(width))
        free *= 1 - 1 / (1 + np.exp(energy))
    return 1 - free


@pytest.mark.parametrize(
    ("text", "odds"),
    [
        ("AC", [2.8 * 2.8]),
        ("GG", [0.4 * 0.4]),
        ("ACA", [2.8 * 2.8, 0.4 * 0.4]),
        ("AACN", [2.8 * 0.4, 2.8 * 2.8, 0.4]),  # the masked base leaves the odds as they are
    ],
)
def test_occupancy_by_hand(text, odds):
    expected = 1 - np.prod([1 / (1 + o) for o in odds])
    assert occupancy(codes(text), log_odds(AC, background=UNIFORM))[0] == pytest.approx(expected, rel=1e-12)


def test_shift_multiplies_the_odds():
    scores = log_odds(AC, background=UNIFORM)
    odds = 2.8 * 2.8 * np.exp(-3)
    assert occupancy(codes("AC"), scores, shift=-3.0)[0] == pytest.approx(odds / (1 + odds), rel=1e-12)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 10, 15, 16, 20])
def test_occupancy_equals_a_loop_over_windows(width):
    rng = np.random.default_rng(width)
    scores = log_odds(smooth(rng.dirichlet([0.5] * 4, size=width), share=1e-3))
    sequences = rng.integers(4, size=(7, 20), dtype=np.uint8)
    expected = [brute_force(sequence, scores, -1.5) for sequence in sequences]
    np.testing.assert_allclose(occupancy(sequences, scores, shift=-1.5), expected, rtol=1e-9, atol=1e-15)


def test_chunks_do_not_show():
    sequences = np.random.default_rng(0).integers(4, size=(CHUNK + 3, 12), dtype=np.uint8)
    whole = occupancy(sequences, log_odds(AC))
    np.testing.assert_array_equal(whole[-5:], occupancy(sequences[-5:], log_odds(AC)))
    assert occupancy(sequences[:0], log_odds(AC)).shape == (0,)


def test_small_probability_keeps_its_digits():
    scores = np.full((2, 4), -30.0)
    assert occupancy(codes("AC"), scores)[0] == pytest.approx(np.exp(-60), rel=1e-9)


def test_smoothing_mixes_with_uniform():
    np.testing.assert_allclose(smooth(np.array([[1.0, 0, 0, 0]]), share=0.4), [[0.7, 0.1, 0.1, 0.1]])


def test_motif_set_refuses_what_are_no_probabilities():
    names = ("a", "b", "c")
    assert MotifSet(names=names, matrices=(AC, AC[:1], AC)).widths.tolist() == [2, 1, 2]
    with pytest.raises(InputError, match="motif b: base probabilities must sum to 1"):
        MotifSet(names=names, matrices=(AC, AC * 2, AC))
    with pytest.raises(InputError, match="motif c must be zero or positive"):
        MotifSet(names=names, matrices=(AC, AC, np.array([[1.5, -0.5, 0, 0]])))


def test_sharpening_by_hand():
    matrix = np.array([[0.5, 0.25, 0.25, 0.0], [0.25, 0.25, 0.25, 0.25]])
    np.testing.assert_allclose(sharpen(matrix, power=2.0), [[2 / 3, 1 / 6, 1 / 6, 0], [0.25] * 4])
    np.testing.assert_allclose(sharpen(matrix, power=1.0), matrix)
