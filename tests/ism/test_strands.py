"""The other strand: the same variants on it, and the mean of both as the effects of a network that reads both."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from deepmr.errors import InputError
from deepmr.ism.naive import EditEffects, predict_edits
from deepmr.ism.strands import average_strands, reverse_complement_edits
from deepmr.ism.variants import Edits, single_edits
from deepmr.types import reverse_complement
from tests.ism.stubs import linear, make_sequences, random_sequences, small_cnn


class BothStrands(nn.Module):
    """The mean of a network's predictions for a sequence and its reverse complement."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return (self.network(x) + self.network(x.flip(1, 2))) / 2


def random_edits(codes, seed, most=4):
    """Variants of one to `most` substitutions; some loci may have none."""
    rng = np.random.default_rng(seed)
    locus = np.sort(rng.integers(0, len(codes), 12))
    known = [np.flatnonzero(row != 4) for row in codes]
    offsets = [np.sort(rng.choice(known[i], min(int(rng.integers(1, most + 1)), len(known[i])), False)) for i in locus]
    rows = np.repeat(locus, [len(o) for o in offsets])
    offset = np.concatenate(offsets)
    base = (codes[rows, offset] + rng.integers(1, 4, len(rows)).astype(np.uint8)) % np.uint8(4)
    start = np.append(0, np.cumsum([len(o) for o in offsets]))
    return Edits(locus=locus, start=start, offset=offset, base=base)


def apply(codes, edits):
    edited = codes[edits.locus]
    rows = np.repeat(np.arange(len(edits)), np.diff(edits.start))
    edited[rows, edits.offset] = edits.base
    return edited


def both(module, codes, edits, **options):
    options = {"n_tasks": 2, "batch_size": 64, **options}
    forward = predict_edits(module, codes, edits, **options)
    other = reverse_complement_edits(edits, codes.shape[1])
    return average_strands(forward, predict_edits(module, reverse_complement(codes), other, **options))


def test_edits_on_the_other_strand_by_hand():
    codes = make_sequences("AACGT").codes
    edits = Edits(
        locus=np.array([0, 0]), start=np.array([0, 1, 3]), offset=np.array([0, 2, 4]), base=np.array([1, 0, 2], "u1")
    )  # A1C; C3A with T5G
    other = reverse_complement_edits(edits, 5)
    assert other.offset.tolist() == [4, 2, 0]
    assert other.base.tolist() == [2, 3, 1]
    assert other.base.dtype == np.uint8
    assert other.start is edits.start
    assert other.locus is edits.locus
    assert apply(reverse_complement(codes), other).tolist() == [[0, 1, 2, 3, 2], [1, 1, 3, 3, 3]]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 12))
def test_editing_and_changing_strand_can_change_places(seed, n, length):
    codes = random_sequences(n, length, seed).codes
    edits = random_edits(codes, seed)
    other = reverse_complement_edits(edits, length)
    np.testing.assert_array_equal(apply(reverse_complement(codes), other), reverse_complement(apply(codes, edits)))
    back = reverse_complement_edits(other, length)
    for name in ("locus", "start", "offset", "base"):
        np.testing.assert_array_equal(getattr(back, name), getattr(edits, name))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.2]))
def test_the_mean_of_the_strands_is_the_effect_in_a_network_that_reads_both(seed, masked):
    codes = random_sequences(3, 24, seed, masked=masked).codes
    network = small_cnn(24, seed=seed % 7).double()
    wrapped = BothStrands(network).eval()
    for edits in (single_edits(codes), random_edits(codes, seed)):
        expected = predict_edits(wrapped, codes, edits, n_tasks=2, batch_size=64)
        found = both(network, codes, edits)
        np.testing.assert_allclose(found.reference, expected.reference, rtol=1e-6)
        np.testing.assert_allclose(found.delta, expected.delta, atol=1e-6 * np.abs(expected.delta).max())


def test_a_symmetric_network_says_the_same_of_both_strands():
    codes = random_sequences(2, 24).codes
    network, edits = BothStrands(small_cnn(24)).eval(), single_edits(codes)
    one = predict_edits(network, codes, edits, n_tasks=2, batch_size=64)
    np.testing.assert_allclose(both(network, codes, edits).delta, one.delta, atol=1e-6)


def test_chosen_tasks_and_the_batch_size_go_through():
    codes = random_sequences(2, 6).codes
    found = both(linear(6, n_tasks=3), codes, single_edits(codes), n_tasks=3, columns=np.array([2]))
    assert found.delta.shape == (36, 1)
    small, large = (
        EditEffects(reference=np.full((1, 1), v, "f4"), delta=np.full((3, 1), -v, "f4"), batch_size=int(v))
        for v in (4.0, 8.0)
    )
    mean = average_strands(large, small)
    assert mean.batch_size == 4
    assert (mean.reference == 6).all()
    assert (mean.delta == -6).all()
    assert mean.delta.dtype == np.float32


def test_effects_of_other_edits_are_refused():
    codes = random_sequences(2, 6).codes
    module = linear(6)
    two = predict_edits(module, codes, single_edits(codes), n_tasks=1, batch_size=64)
    one = predict_edits(module, codes[:1], single_edits(codes[:1]), n_tasks=1, batch_size=64)
    with pytest.raises(InputError, match=r"references of the reverse strand must have shape \(2, 1\); got \(1, 1\)"):
        average_strands(two, one)
    fewer = EditEffects(reference=two.reference, delta=two.delta[:-1], batch_size=1)
    with pytest.raises(InputError, match=r"effects of the reverse strand must have shape \(36, 1\); got \(35, 1\)"):
        average_strands(two, fewer)


def test_networks_see_nothing_but_the_reverse_complement():
    codes = make_sequences("ANGT").codes
    module = linear(4)
    both(module, codes, single_edits(codes), n_tasks=1)
    first, second = module.rows
    assert sorted(map(str, first.flip(1, 2).tolist())) == sorted(map(str, second.tolist()))
    assert torch.equal(first.flip(1, 2), second)  # in the same order
