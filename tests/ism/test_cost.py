"""Arithmetic counted by hand for small networks, and how a schedule follows it."""

import pytest
import torch
from torch import nn

from deepmr.ism.cost import WIDTHS, choose, plain_cost, window_cost
from deepmr.ism.intervals import Interval
from deepmr.ism.lowering import capture
from deepmr.ism.naive import multiplications
from deepmr.ism.network import Network
from tests.ism.definition import CPU
from tests.ism.zoo import Mean

LENGTH = 200
PLAIN = {
    "convolution": 8 * 4 * 9 * LENGTH,
    "grouped": 8 * 2 * 5 * LENGTH,
    "strided": 6 * 8 * 3 * 100,
    "dense": 2 * 6 * 100,
}


@pytest.fixture(scope="module")
def network():
    layers = (nn.Conv1d(4, 8, 9, padding=4), nn.ReLU(), nn.Conv1d(8, 8, 5, padding=2, groups=4), nn.ReLU())
    module = nn.Sequential(*layers, nn.Conv1d(8, 6, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(600, 2)).eval()
    graph = capture(module.requires_grad_(False), LENGTH, dtype=torch.float32, device=CPU)
    assert plain_cost(graph) == multiplications(module, LENGTH)
    return Network(graph, module)


def test_plain_cost_is_what_one_counts(network):
    assert plain_cost(network.graph) == sum(PLAIN.values())


def test_window_cost_is_what_one_counts(network):
    """A position reaches 9, then 13, then the 7 or 8 of every second that read one of them."""
    multiplied, elements, calls = window_cost(network, Interval(100, 101))
    first, grouped = 1 * 9 * 4 * 8, 9 * 5 * 8 * 8 / 4
    strided = 13 / 2 * 3 * 8 * 6  # inputs over the stride, as a product a tap
    dense = 7 * 6 * 2
    assert multiplied == first + grouped + strided + dense
    assert elements == 1 * 4 + 2 * 9 * 8 + 2 * 13 * 8 + 7 * 6
    assert calls == 7  # the sequence, three convolutions, two activations, the dense layer


@pytest.mark.parametrize("width", [*WIDTHS, LENGTH])
def test_windows_never_cost_more_than_plain_passes(network, width):
    plain = plain_cost(network.graph)
    costs = [window_cost(network, Interval(a, a + width))[0] for a in range(0, LENGTH - width + 1, 7)]
    assert max(costs) <= plain
    assert max(costs) < plain / 2 or width > 16


def test_edges_cost_less_than_the_middle(network):
    at = [window_cost(network, Interval(a, a + 1))[0] for a in (0, LENGTH // 2, LENGTH - 1)]
    assert at[0] < at[1] > at[2]


def test_more_memory_never_means_fewer_loci(network):
    schedules = [choose(network, n_loci=1000, per_position=3.0, memory=2**k) for k in range(10, 40, 3)]
    loci = [schedule.n_loci for schedule in schedules]
    assert loci == sorted(loci)
    assert loci[0] == 1
    assert loci[-1] == 1000
    assert all(schedule.width in WIDTHS for schedule in schedules)
    assert choose(network, n_loci=3, per_position=3.0, memory=2**40).n_loci == 3


def test_speedup_is_plain_over_windows(network):
    found = choose(network, n_loci=1000, per_position=3.0, memory=2**30)
    least = plain_cost(network.graph) / window_cost(network, Interval(100, 101))[0]
    assert least / 3 < found.speedup <= least * 1.1
    few = choose(network, n_loci=1000, per_position=0.001, memory=2**30)  # references cost more than such edits
    assert few.speedup < 1
    assert choose(network, n_loci=1, per_position=0.0, memory=2**30).n_loci == 1


def test_what_mixes_positions_costs_the_same_in_every_window():
    module = nn.Sequential(nn.InstanceNorm1d(4), nn.Conv1d(4, 8, 5, padding=2), Mean(), nn.Linear(8, 2)).eval()
    graph = capture(module, LENGTH, dtype=torch.float32, device=CPU)
    network = Network(graph, module)
    assert window_cost(network, Interval(0, 1))[0] == window_cost(network, Interval(90, 106))[0]
    assert window_cost(network, Interval(0, 1))[0] == plain_cost(graph)
    assert choose(network, n_loci=10, per_position=3.0, memory=2**30).speedup < 1.2
