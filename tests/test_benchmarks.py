"""What the benchmarks compare with is the same network, and the same edits."""

import numpy as np
import pytest
import torch

from benchmarks.channels_last import TwoDimensional, to_channels_last
from benchmarks.engines import Ours, Setting
from benchmarks.ism import error_of, true_effects
from benchmarks.networks import CASES, find_cases
from deepmr.ism.variants import single_edits
from tests.ism.stubs import random_sequences
from tests.ism.zoo import ZOO

SINGLE = [name for name, entry in ZOO.items() if entry.n_outputs == 1]


@pytest.mark.parametrize("name", SINGLE)
def test_a_network_with_channels_last_is_the_same(name):
    network = ZOO[name]().double()
    converted = to_channels_last(network)
    x = torch.from_numpy(random_sequences(3, ZOO[name].length).codes.astype(int))
    x = torch.nn.functional.one_hot(x, 4).transpose(1, 2).double()
    layers = [layer for layer in converted.modules() if isinstance(layer, TwoDimensional)]
    assert layers or name == "basset_2d" or name == "beluga"
    torch.testing.assert_close(converted(x), network(x), rtol=1e-10, atol=1e-12)


def test_edits_are_numbered_alike_everywhere():
    (case,) = find_cases(["basset"])
    network = case.build().double()
    codes = random_sequences(2, case.length).codes
    setting = Setting(case=case, network=network, codes=codes, device=torch.device("cpu"), seconds=0.1)
    assert {0, case.length - 1} <= set(setting.offsets)
    exact = true_effects(setting)
    engine = Ours(setting)
    found = engine.predict(single_edits(codes), codes)
    np.testing.assert_allclose(engine.effects(), found[setting.checked], rtol=1e-9)
    assert error_of(engine.effects(), exact, case) < 1e-6
    assert error_of(found[setting.checked + 1], exact, case) > 0.1


def test_errors_are_relative_to_the_largest_effect_of_the_head():
    case = CASES["b_both"]
    exact = np.ones((2, 12))
    exact[:, 8:] = 100
    found = exact.copy()
    found[0, 9] += 1
    assert error_of(found, exact, case) == pytest.approx(0.01)
    found[1, 0] += 0.5
    assert error_of(found, exact, case) == pytest.approx(0.5)
