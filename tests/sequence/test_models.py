"""The networks: shapes, sizes known by hand, and refusals."""

import pytest
import torch
from torch import nn

from deepmr.errors import InputError
from deepmr.sequence.models import ARCHITECTURES, DilatedCNN, PaperCNN, build_network


@pytest.mark.parametrize("architecture", ARCHITECTURES.values())
def test_predicts_every_task(architecture):
    network = architecture(n_tasks=3, length=100)
    assert network(torch.zeros(5, 4, 100)).shape == (5, 3)
    assert isinstance(network.output, nn.Linear)


def test_paper_network_has_the_published_layers():
    network = PaperCNN(2)
    convolutions = (4 * 15 * 7 + 15) + 2 * (15 * 15 * 7 + 15)
    dense = (82 * 15 * 30 + 30) + (30 * 30 + 30) + (30 * 2 + 2)
    assert sum(p.numel() for p in network.parameters()) == convolutions + 3 * 2 * 15 + dense
    kinds = [type(layer).__name__ for layer in network.modules() if not list(layer.children())]
    assert kinds == ["Conv1d", "BatchNorm1d", "ReLU"] * 3 + ["Flatten", "Linear", "ReLU", "Linear", "ReLU", "Linear"]


def test_dilated_network_takes_any_length_and_sees_far():
    torch.manual_seed(0)
    network = DilatedCNN(1, length=200, filters=8, n_dilated=3, width=5).eval()
    x = torch.zeros(1, 4, 200)
    hidden = []
    network.dilated[-1].register_forward_hook(lambda _module, _inputs, output: hidden.append(output))
    network(x)
    x[:, 0, 100] = 1
    network(x)
    changed = (hidden[0] != hidden[1]).any(dim=1)[0].nonzero().ravel()
    reach = 2 + (2 + 4 + 8)  # half the first filter, then the dilations
    assert 100 - reach <= changed.min()
    assert changed.max() <= 100 + reach
    assert changed.max() - changed.min() > reach
    assert network(torch.zeros(1, 4, 77)).shape == (1, 1)


def test_refuses_what_cannot_be_built():
    with pytest.raises(InputError, match="3 convolutions of width 7 need more than 18 bases; got 18"):
        PaperCNN(1, length=18)
    assert PaperCNN(1, length=19)(torch.zeros(2, 4, 19)).shape == (2, 1)
    with pytest.raises(InputError, match="must be odd; got 4"):
        DilatedCNN(1, length=50, width=4)


class Plain(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width


def test_build_network_fills_in_tasks_and_length():
    network = build_network(PaperCNN, {"filters": 3}, n_tasks=4, length=40)
    assert network(torch.zeros(1, 4, 40)).shape == (1, 4)
    assert build_network(Plain, {"width": 7}, n_tasks=4, length=40).width == 7


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"fliters": 3}, "PaperCNN takes the arguments n_tasks, length, filters.*got fliters = 3"),
        ({"filters": "many"}, "got filters = 'many'"),
        ({"width": 200}, "PaperCNN: 3 convolutions of width 200"),
    ],
)
def test_build_network_says_which_arguments_are_wrong(arguments, said):
    with pytest.raises(InputError, match=said):
        build_network(PaperCNN, arguments, n_tasks=1, length=100)
