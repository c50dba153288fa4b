"""Arithmetic on windows against PyTorch on whole sequences."""

from dataclasses import replace

import pytest
import torch

from deepmr.ism import rows
from deepmr.ism.intervals import Interval


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
    defined = torch.nn.functional.conv1d(whole.flatten(1, 2).permute(1, 2, 0), weight, padding=8)
    defined = defined.permute(2, 0, 1).reshape(40, 3, 2, 2)[wanted.start : wanted.stop]
    for form in (taps, at_once):
        torch.testing.assert_close(rows.convolve(window, 10, wanted, form), defined, rtol=1e-12, atol=1e-12)
