"""Codes, strands and the shuffle, on sequences short enough to check by hand."""

import math
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from deepmr.errors import InputError
from deepmr.sequence.alphabet import AMBIGUOUS, decode, dinucleotide_shuffle, encode
from deepmr.types import reverse_complement

bases = st.text(alphabet="ACGTN", max_size=60)


def dinucleotides(codes):
    return Counter(zip(codes[:-1].tolist(), codes[1:].tolist(), strict=True))


def test_encode_takes_both_cases_and_masks_ambiguous_letters():
    assert encode("ACGTNacgtn").tolist() == [0, 1, 2, 3, 4] * 2
    assert encode(b"UuT").tolist() == [3, 3, 3]
    assert encode(AMBIGUOUS + AMBIGUOUS.lower()).tolist() == [4] * 2 * len(AMBIGUOUS)
    assert encode("").shape == (0,)
    assert encode("ACGT").dtype == np.uint8


@pytest.mark.parametrize(
    ("text", "letter", "where"), [("ACEGT", "E", 3), ("AC GT", " ", 3), ("A-", "-", 2), ("AX", "X", 2)]
)
def test_encode_names_a_letter_that_is_no_nucleotide(text, letter, where):
    with pytest.raises(InputError, match=f"{letter}' at position {where} "):
        encode(text)


def test_encode_refuses_letters_beyond_ascii():
    with pytest.raises(InputError, match="position 2"):
        encode("Aé")


@given(bases)
def test_decode_undoes_encode(text):
    assert decode(encode(text)) == text
    assert decode(encode(text.lower())) == text


def test_reverse_complement_by_hand():
    assert decode(reverse_complement(encode("AACGTN"))) == "NACGTT"


@given(bases)
def test_reverse_complement_twice_is_the_same(text):
    codes = np.stack([encode(text), encode(text[::-1])])
    once = reverse_complement(codes)
    assert once.flags.c_contiguous
    np.testing.assert_array_equal(reverse_complement(once), codes)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 4), st.integers(1, 40), st.sampled_from([4, 5]), st.integers(0, 1000))
def test_shuffle_keeps_dinucleotides_ends_and_masks(loci, length, letters, seed):
    codes = np.random.default_rng(seed).integers(0, letters, size=(loci, length)).astype(np.uint8)
    shuffled = dinucleotide_shuffle(codes, seed=seed)
    np.testing.assert_array_equal(shuffled == 4, codes == 4)
    np.testing.assert_array_equal(shuffled[:, [0, -1]], codes[:, [0, -1]])
    for before, after in zip(codes, shuffled, strict=True):
        assert dinucleotides(before) == dinucleotides(after)


def test_shuffle_is_reproducible_and_differs():
    codes = np.random.default_rng(0).integers(0, 4, size=(20, 100)).astype(np.uint8)
    kept = codes.copy()
    first = dinucleotide_shuffle(codes, seed=1)
    np.testing.assert_array_equal(first, dinucleotide_shuffle(codes, seed=1))
    np.testing.assert_array_equal(codes, kept)
    assert np.all((first != codes).mean(axis=1) > 0.3)
    assert np.any(first != dinucleotide_shuffle(codes, seed=2))


def test_shuffle_leaves_what_has_one_path():
    for text in ("A", "AC", "ACG", "AAAA", "ACGT", "NNNN", "ANCNG"):
        assert decode(dinucleotide_shuffle(encode(text)[None], seed=0)[0]) == text


def test_shuffle_of_rare_exits_ends():
    """From every base a single dinucleotide leads on: drawing last edges blindly would hardly ever find it."""
    text = "A" * 333 + "C" * 333 + "G" * 333 + "T"
    assert decode(dinucleotide_shuffle(encode(text)[None], seed=0)[0]) == text


@pytest.mark.parametrize("text", ["ACAGATACC", "AACGTACGACA", "CACGGATCGC"])
def test_every_eulerian_path_is_equally_likely(text):
    codes = encode(text)
    wanted = dinucleotides(codes)
    inner = set(permutations(codes[1:-1].tolist()))
    paths = {(codes[0], *middle, codes[-1]) for middle in inner}
    paths = {p for p in paths if dinucleotides(np.array(p)) == wanted}
    assert len(paths) > 3
    draws = 400 * len(paths)
    shuffled = dinucleotide_shuffle(np.tile(codes, (draws, 1)), seed=7)
    seen = Counter(map(tuple, shuffled.tolist()))
    assert set(seen) == {tuple(int(c) for c in p) for p in paths}
    assert stats.chisquare(list(seen.values())).pvalue > 1e-3
    assert math.isclose(sum(seen.values()), draws)


def test_masked_positions_split_runs():
    codes = encode("ACAGATACCNCACGGATCGC")[None]
    shuffled = dinucleotide_shuffle(np.repeat(codes, 50, axis=0), seed=3)
    for row in shuffled:
        left, right = decode(row).split("N")
        assert sorted(left) == sorted("ACAGATACC")
        assert sorted(right) == sorted("CACGGATCGC")
    assert len({decode(row) for row in shuffled}) > 10


@pytest.mark.parametrize("shape", [(0, 10), (3, 0), (0, 0)])
def test_nothing_to_shuffle(shape):
    assert dinucleotide_shuffle(np.zeros(shape, dtype=np.uint8), seed=0).shape == shape
