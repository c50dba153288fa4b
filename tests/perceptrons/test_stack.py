"""Stacks against torch's own layers."""

import numpy as np
import pytest
import torch
from torch import nn

from deepmr.errors import InputError
from deepmr.perceptrons.stack import Architecture, Stack


def sequential(stack, member):
    """The same network from torch's layers."""
    made = stack.architecture
    parts = list(torch.split(stack.parameters[member], made.parameter_sizes()))
    norms = [parts.pop(0) for _ in made.normalised]
    layers = []

    def norm():
        weights = norms.pop(0)
        layer = nn.BatchNorm1d(len(weights) // 2)
        layer.weight.data, layer.bias.data = weights.chunk(2)
        layers.append(layer)

    if made.input_batch_norm:
        norm()
    for k, (a, b) in enumerate(zip(made.sizes[:-1], made.sizes[1:], strict=True)):
        layer = nn.Linear(a, b)
        layer.weight.data, layer.bias.data = parts[2 * k].view(a, b).T, parts[2 * k + 1]
        layers.append(layer)
        if k < len(made.hidden):
            layers.append(getattr(nn, made.activation)())
            if made.batch_norm:
                norm()
    return nn.Sequential(*layers)


@pytest.mark.parametrize("norms", [(False, False), (True, False), (True, True)])
def test_a_member_is_the_network_of_torch(norms):
    architecture = Architecture(
        n_inputs=3, n_outputs=2, hidden=(7, 5), activation="Tanh", batch_norm=norms[0], input_batch_norm=norms[1]
    )
    stack = Stack.fresh(architecture, [4, 5, 6])
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    for training in (True, False):
        with torch.no_grad():
            found = stack(x, training=training)
            for k in range(3):
                plain = sequential(stack, k)
                if not training:  # torch remembers the unbiased variance, which differs by n / (n - 1)
                    plain(x)
                    plain.eval()
                torch.testing.assert_close(
                    found[k], plain(x), atol=2e-3 if not training and any(norms) else 1e-6, rtol=0
                )


def test_members_draw_what_torch_draws_and_the_same_in_any_company():
    architecture = Architecture(n_inputs=100, n_outputs=40, hidden=())
    stack = Stack.fresh(architecture, [1, 2])
    assert stack.parameters.abs().max() <= 0.1
    assert stack.parameters.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.02)
    assert (Stack.fresh(architecture, [2]).parameters[0] == stack.parameters[1]).all()


def test_inputs_of_their_own_and_shared_ones_agree():
    stack = Stack.fresh(Architecture(n_inputs=2, n_outputs=1, hidden=(4,)), [1, 2])
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(stack(x), stack(x.repeat(2, 1, 1)))


def test_a_stack_comes_back_as_it_was():
    stack = Stack.fresh(Architecture(n_inputs=2, n_outputs=1, hidden=(4,), batch_norm=True), [1, 2])
    again = Stack.from_state(stack.state("a/"), stack.settings(), "a/")
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
    assert (stack(x) == again(x)).all()
    assert again.architecture == stack.architecture


def test_bad_architectures_are_told():
    with pytest.raises(InputError, match="every layer of a network needs a unit; got 1, 0, 1"):
        Architecture(n_inputs=1, n_outputs=1, hidden=(0,))
