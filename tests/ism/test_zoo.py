"""The zoo is what it says: every network reacts to edits, in evaluation mode, the same for the same seed.

`test_zoo_windows.py` traces them.
"""

import pytest
import torch

from tests.ism.stubs import random_sequences
from tests.ism.zoo import ZOO


def one_hot(length, n=1, dtype=torch.float64):
    codes = torch.from_numpy(random_sequences(n, length, seed=3).codes.astype(int))
    return torch.nn.functional.one_hot(codes, 4).transpose(1, 2).to(dtype)


def outputs(network, x):
    with torch.no_grad():
        y = network(x)
    return y if isinstance(y, tuple) else (y,)


@pytest.mark.parametrize("name", ZOO)
def test_network_is_what_its_entry_says(name):
    entry = ZOO[name]
    network = entry()
    assert not network.training
    assert sum(p.numel() for p in network.parameters()) < 50_000
    state = network.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in entry().state_dict().items())
    x = one_hot(entry.length).repeat(4, 1, 1)
    middle = entry.length // 2
    for row, offset in enumerate((0, middle, entry.length - 1), start=1):
        x[row, :, offset] = x[row, :, offset].roll(1)
    found = outputs(network.double(), x)
    assert len(found) == entry.n_outputs
    for y in found:
        assert torch.isfinite(y).all()
        assert (y[2] != y[0]).any()
    if entry.n_outputs == 1:
        assert found[0].dim() == 2
