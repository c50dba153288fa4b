"""What windows cost is known of every network that can be traced."""

import pytest
import torch

from deepmr.ism.cost import choose
from deepmr.ism.lowering import capture
from deepmr.ism.network import Network
from tests.ism.zoo import ZOO


@pytest.mark.parametrize("name", ["paper_cnn", "danq", "enformer", "explainn", "bpnet_lite", "adaptive_pool"])
def test_a_schedule_is_chosen_where_operations_read_numbers_of_sequences(name):
    entry = ZOO[name]
    module = entry()
    graph = capture(module, entry.length, dtype=torch.float32, device=torch.device("cpu"))
    schedule = choose(Network(graph, module), n_loci=10, per_position=3.0)
    assert 1 <= schedule.n_loci <= 10
    assert schedule.speedup > 0
