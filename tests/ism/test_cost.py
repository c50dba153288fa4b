"""Arithmetic counted by hand for small networks, and how a schedule follows it."""

import itertools

import pytest
import torch
from torch import nn

from deepmr.ism.cost import CPU, SAMPLED, WIDTHS, Machine, choose, plain_cost, window_cost
from deepmr.ism.lowering import capture
from deepmr.ism.naive import multiplications
from deepmr.ism.network import Network
from tests.ism.definition import CPU as CPU_DEVICE
from tests.ism.zoo import ZOO

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
    graph = capture(module.requires_grad_(False), LENGTH, dtype=torch.float32, device=CPU_DEVICE)
    assert plain_cost(graph) == multiplications(module, LENGTH)
    return Network(graph, module)


def test_plain_cost_is_what_one_counts(network):
    assert plain_cost(network.graph) == sum(PLAIN.values())


def test_window_cost_is_what_one_counts(network):
    """A base reaches 9 positions, then 13, then 7 of every second where it is even and 8 where it is odd."""
    found = window_cost(network, 1)
    made = (4 * 8 + 5 * 7) / SAMPLED  # four of the bases sampled are odd, and none is near an edge
    first, grouped = 1 * 9 * 4 * 8, 9 * 5 * 8 * 8 / 4
    strided = 13 / 2 * 3 * 8 * 6  # inputs over the stride, as a product a tap
    assert found.multiplications == pytest.approx(first + grouped + strided + made * 6 * 2)
    assert found.elements == pytest.approx(1 * 4 + 2 * 9 * 8 + 2 * 13 * 8 + made * 6 + 2)
    assert found.calls == 7  # the sequence, three convolutions, two activations, the dense layer
    assert found.largest == 4 * 13 * 8


@pytest.mark.parametrize("width", [*WIDTHS, LENGTH, 3 * LENGTH])
def test_windows_never_cost_more_than_plain_passes(network, width):
    plain, found = plain_cost(network.graph), window_cost(network, width)
    assert found.multiplications <= plain
    assert found.multiplications < plain / 2 or width > 16


def test_wider_windows_cost_more_an_edit(network):
    costs = [window_cost(network, width) for width in WIDTHS]
    for name in ("multiplications", "elements", "bytes", "largest"):
        values = [getattr(cost, name) for cost in costs]
        assert all(a < b * 1.02 for a, b in itertools.pairwise(values)), name


def scheduled(network, memory, *, n_loci=1000, per_position=3.0):
    machine = Machine(call=CPU.call, element=CPU.element, memory=memory, window=memory // 8)
    return choose(network, n_loci=n_loci, per_position=per_position, machine=machine)


def test_more_memory_never_means_fewer_edits_at_once(network):
    schedules = [scheduled(network, 2**k) for k in range(10, 40, 3)]
    loci = [schedule.n_loci * schedule.width for schedule in schedules]
    assert loci == sorted(loci)
    assert schedules[0].n_loci == 1
    assert schedules[-1].n_loci == 1000
    assert all(schedule.width in WIDTHS for schedule in schedules)
    assert scheduled(network, 2**40, n_loci=3).n_loci == 3


def test_speedup_is_plain_over_windows(network):
    found = choose(network, n_loci=1000, per_position=3.0)
    most = plain_cost(network.graph) / window_cost(network, 1).multiplications
    assert most / 3 < found.speedup <= most
    few = choose(network, n_loci=1000, per_position=0.001)  # references cost more than such edits
    assert few.speedup < 1
    assert choose(network, n_loci=1, per_position=0.0).n_loci == 1


def test_what_mixes_positions_costs_the_same_in_every_window():
    layers = (nn.InstanceNorm1d(4), nn.Conv1d(4, 8, 5, padding=2), nn.AdaptiveAvgPool1d(1))
    module = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 2)).eval()
    graph = capture(module, LENGTH, dtype=torch.float32, device=CPU_DEVICE)
    network = Network(graph, module)
    assert window_cost(network, 1).multiplications == window_cost(network, 16).multiplications
    assert window_cost(network, 1).multiplications == plain_cost(graph)
    assert choose(network, n_loci=10, per_position=3.0).speedup < 1


@pytest.mark.parametrize("name", ["paper_cnn", "danq", "enformer", "explainn", "bpnet_lite", "adaptive_pool"])
def test_a_schedule_is_chosen_where_operations_read_numbers_of_sequences(name):
    entry = ZOO[name]
    module = entry()
    graph = capture(module, entry.length, dtype=torch.float32, device=torch.device("cpu"))
    schedule = choose(Network(graph, module), n_loci=10, per_position=3.0)
    assert 1 <= schedule.n_loci <= 10
    assert schedule.speedup > 0
