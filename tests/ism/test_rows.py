"""Arithmetic on windows against PyTorch's own on whole tensors that are zero outside the window."""

from dataclasses import replace

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from deepmr.ism import rows
from deepmr.ism.intervals import Interval

QUICK = settings(max_examples=60, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
EDITS, LOCI = 3, 2


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def whole(x, start, length):
    """Return a window with zeros around it, as PyTorch lays it out: (edits * loci, channels, length)."""
    padded = torch.zeros((length, *x.shape[1:]), dtype=x.dtype)
    padded[start : start + len(x)] = x
    return padded.flatten(1, 2).permute(1, 2, 0)


def as_rows(y):
    return y.permute(2, 0, 1).unflatten(1, (EDITS, LOCI))


@st.composite
def windows(draw, length):
    start = draw(st.integers(0, length - 1))
    return start, draw(st.integers(start + 1, length))


@st.composite
def convolutions(draw):
    width, stride, dilation = draw(st.integers(1, 7)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    left = draw(st.integers(0, 6))
    length = draw(st.integers(max(1, (width - 1) * dilation + 1 - 2 * left), 30).filter(lambda n: n > 0))
    groups = draw(st.sampled_from([1, 1, 2]))
    return length, width, {"stride": stride, "dilation": dilation, "left": left, "groups": groups}


@given(convolutions(), st.sampled_from([torch.float32, torch.float64]), st.data())
@QUICK
def test_convolution_of_a_window(drawn, dtype, data):
    length, width, options = drawn
    a, b = data.draw(windows(length))
    x = random(b - a, EDITS, LOCI, 4, dtype=dtype)
    weight = random(6, 4 // options["groups"], width, seed=1, dtype=dtype)
    named = {name: options[name] for name in ("stride", "dilation", "groups")}
    expected = as_rows(functional.conv1d(whole(x, a, length), weight, padding=options["left"], **named))
    taps = rows.make_taps(weight, **options)
    assert (taps.matrices is None) == (dtype == torch.float32 or options["groups"] > 1)
    c, d = data.draw(windows(len(expected)))
    for wanted in (Interval(0, len(expected)), Interval(c, d)):
        found = rows.convolve(x, a, wanted, taps)
        torch.testing.assert_close(found, expected[wanted.start : wanted.stop])


@given(st.sampled_from([1, 2, 3, 5]), st.integers(6, 40), st.integers(0, 20), st.integers(20, 60), st.data())
@QUICK
def test_wide_convolution_to_few_channels(out, width, left, length, data):
    """Several positions are made at once where that fills vectors."""
    length = max(length, width - 2 * left)
    a, b = data.draw(windows(length))
    x, weight = random(b - a, EDITS, LOCI, 4, dtype=torch.float32), random(out, 4, width, seed=1, dtype=torch.float32)
    expected = as_rows(functional.conv1d(whole(x, a, length), weight, padding=left))
    taps = rows.make_taps(weight, stride=1, dilation=1, left=left, groups=1)
    assert (taps.wide is not None) == (width >= 2 * (rows.VECTOR // out))
    c, d = data.draw(windows(len(expected)))
    for wanted in (Interval(0, len(expected)), Interval(c, d)):
        found = rows.convolve(x, a, wanted, taps)
        torch.testing.assert_close(found, expected[wanted.start : wanted.stop], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_convolution_where_no_tap_meets_the_window_is_zero(dtype):
    taps = rows.make_taps(random(6, 4, 3, dtype=dtype), stride=1, dilation=1, left=1, groups=1)
    found = rows.convolve(random(2, EDITS, LOCI, 4, dtype=dtype), 10, Interval(2, 7), taps)
    assert found.shape == (5, EDITS, LOCI, 6)
    assert not found.any()


def test_convolution_between_dilated_taps_is_zero():
    taps = rows.make_taps(random(6, 4, 2, dtype=torch.float32), stride=1, dilation=8, left=0, groups=1)
    x = random(1, EDITS, LOCI, 4, dtype=torch.float32)
    found = rows.convolve(x, 9, Interval(1, 10), taps)
    assert found[1:-1].abs().max() == 0
    torch.testing.assert_close(found[0], x[0] @ taps.weight[:, :, 1, 0].T)
    torch.testing.assert_close(found[-1], x[0] @ taps.weight[:, :, 0, 0].T)


@given(st.integers(0, 2**16), st.booleans())
@QUICK
def test_change_of_a_relu_keeps_the_digits_of_small_changes(seed, given_out):
    z = random(5, 1, LOCI, 4, seed=seed, dtype=torch.float32) * 100
    change = random(5, EDITS, LOCI, 4, seed=seed + 1, dtype=torch.float32)
    change[0] *= 1e-6
    expected = (functional.relu(z.double() + change.double()) - functional.relu(z.double())).float()
    out = torch.empty_like(change) if given_out else None
    found = rows.relu_change(change.clone(), z.clamp(max=0), -z.clamp(min=0), out=out)
    assert found is out or not given_out
    exact = (z > 0) & (z.double() + change.double() > 0)
    assert torch.equal(found[exact], change[exact])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(0, 12))
@QUICK
def test_largest_of_neighbours(width, stride, dilation, more):
    x = random((width - 1) * dilation + 1 + more, EDITS, LOCI, 4)
    expected = functional.max_pool1d(whole(x, 0, len(x)), width, stride, dilation=dilation)
    before = x.clone()
    found = rows.largest(x, width, stride, dilation)
    torch.testing.assert_close(found, as_rows(expected))
    found.zero_()  # what is returned is nobody else's memory
    assert torch.equal(x, before)


@given(st.integers(2, 24), st.integers(1, 5), st.integers(1, 4), st.booleans(), st.booleans(), st.data())
@QUICK
def test_average_pool_of_a_window(length, width, stride, ceil, count_padding, data):
    left = data.draw(st.integers(0, width // 2))
    if length + 2 * left < width:
        return
    a, b = data.draw(windows(length))
    x = random(b - a, EDITS, LOCI, 4)
    options = {"ceil_mode": ceil, "count_include_pad": count_padding}
    expected = as_rows(functional.avg_pool1d(whole(x, a, length), width, stride, left, **options))
    counts = rows.pool_counts(
        length,
        len(expected),
        width=width,
        stride=stride,
        left=left,
        count_padding=count_padding,
        device="cpu",
        dtype=torch.float64,
    )
    c, d = data.draw(windows(len(expected)))
    found = rows.pooled_sum(x, a, Interval(c, d), width=width, stride=stride, left=left) / counts[c:d]
    torch.testing.assert_close(found, expected[c:d])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("start", "stop"), [(0, 9), (0, 1), (3, 6), (8, 9)])
def test_dense_layer_of_a_window(dtype, start, stop):
    x, weight = random(stop - start, EDITS, LOCI, 4, dtype=dtype), random(5, 9, 4, seed=1, dtype=dtype)
    flat = whole(x, start, 9).transpose(1, 2).flatten(1)
    expected = functional.linear(flat, weight.flatten(1)).view(EDITS, LOCI, 5)
    torch.testing.assert_close(rows.dense(x, weight[:, start:stop]), expected)


def test_cuts_are_where_another_tap_begins_or_ends_to_meet_the_window():
    taps = rows.make_taps(random(6, 4, 3), stride=1, dilation=5, left=5, groups=1)
    changed = Interval(20, 23)
    meeting = [tuple(20 <= o + 5 * j - 5 < 23 for j in range(3)) for o in range(40)]
    assert rows.cuts(taps, changed) == {o for o in range(1, 40) if meeting[o] != meeting[o - 1]}
    many = rows.make_taps(random(6, 4, rows.MOST_CUT_TAPS + 1), stride=1, dilation=1, left=0, groups=1)
    strided = rows.make_taps(random(6, 4, 3), stride=2, dilation=1, left=0, groups=1)
    assert rows.cuts(many, changed) == rows.cuts(strided, changed) == set()


@given(st.integers(0, 20), st.integers(0, 30), st.integers(1, 9), st.sets(st.integers(-5, 60), max_size=4))
@QUICK
def test_chunks_tile_an_interval(start, length, size, at):
    span = Interval(start, start + length)
    found = rows.chunks(span, size, at=at)
    assert [p for part in found for p in range(part.start, part.stop)] == list(range(start, start + length))
    assert all(0 < len(part) <= size for part in found)
    edges = {part.start for part in found}
    assert all(edge in edges for edge in at if start <= edge < start + length)


def test_workspace_hands_memory_back():
    like, space = torch.zeros(1), rows.Workspace()
    with torch.inference_mode():
        first = space.take((4, 5), like)
        address = first.data_ptr()
        space.give(first[1:, :2])
        smaller = space.take((3, 2), like)
        assert smaller.shape == (3, 2)
        assert smaller.data_ptr() == address
        assert space.take((3, 2), like).data_ptr() != address  # that is in use
        space.give(smaller)
        assert space.take((4, 5), like).data_ptr() == address  # a part of it gives all of it back
        space.clear()
        assert space.take((2,), like).shape == (2,)


def test_workspace_of_growing_windows_keeps_no_more_than_is_used_at_once():
    like, space = torch.zeros(1), rows.Workspace()
    for n in range(1, 200):
        both = [space.take((n, 3), like), space.take((200 - n, 2), like)]
        for tensor in both:
            space.give(tensor)
        assert len(space._free) == 2


@pytest.mark.parametrize("wanted", [Interval(3, 30), Interval(0, 40), Interval(12, 13)], ids=str)
def test_thin_head_by_a_product_a_tap(wanted):
    """As a GPU does it: several positions at once, one product a tap."""
    torch.manual_seed(0)
    weight = torch.randn(2, 6, 17, dtype=torch.float64)
    window = torch.randn(9, 3, 2, 6, dtype=torch.float64)
    taps = rows.make_taps(weight, stride=1, dilation=1, left=8, groups=1)
    assert taps.matrices is not None
    assert taps.wide is None
    at_once = replace(taps, together=8, wide=rows._widened(weight, 8, 8))
    assert at_once.wide.matrices is not None
    whole = torch.zeros(40, 3, 2, 6, dtype=torch.float64)
    whole[10:19] = window
    defined = functional.conv1d(whole.flatten(1, 2).permute(1, 2, 0), weight, padding=8)
    defined = defined.permute(2, 0, 1).reshape(40, 3, 2, 2)[wanted.start : wanted.stop]
    for form in (taps, at_once):
        torch.testing.assert_close(rows.convolve(window, 10, wanted, form), defined, rtol=1e-12, atol=1e-12)
