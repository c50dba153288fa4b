"""L-BFGS on all samples at once: to the minimum, members apart, the best weights kept."""

import pytest
import torch

from deepmr.errors import InputError
from deepmr.perceptrons.full_batch import train_full_batch
from deepmr.perceptrons.split import Split
from deepmr.perceptrons.stack import Architecture, Stack
from deepmr.perceptrons.training import Batch, weighted_mean

N = 90


def problem(hidden=()):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, 2, generator=generator, dtype=torch.float64)
    y = x[:, 0] - x[:, 1] + 0.5 * torch.randn(N, generator=generator, dtype=torch.float64)
    order = torch.stack([torch.randperm(N, generator=generator) for _ in range(3)])
    split = Split(order[:, :60], torch.rand(3, 60, generator=generator) + 0.1, order[:, 60:], torch.ones(3, 30))
    stack = Stack.fresh(Architecture(n_inputs=2, n_outputs=1, hidden=hidden), [1, 2, 3])
    stack = stack.with_parameters(stack.parameters.double())

    def objective(stack, batch):
        predicted = stack(x[batch.rows], training=batch.training)[..., 0]
        return weighted_mean((predicted - y[batch.rows]) ** 2, batch.weights)

    return x, y, split, stack, objective


def test_a_linear_model_reaches_weighted_least_squares():
    x, y, split, stack, objective = problem()
    whole = Split(split.training, split.training_weights, split.training, split.training_weights)
    options = {"epochs": 100, "patience": 100, "weight_decay": 0.0, "stage": "x"}
    found = train_full_batch(stack, objective, split=whole, **options)
    for k in range(3):
        rows, root = split.training[k], split.training_weights[k].double().sqrt()
        design = torch.cat([x[rows], torch.ones(60, 1, dtype=torch.float64)], dim=1)
        exact = torch.linalg.lstsq(root[:, None] * design, (root * y[rows])[:, None]).solution[:, 0]
        torch.testing.assert_close(found.stack.parameters[k], exact, atol=1e-7, rtol=0)


def test_the_best_weights_are_kept_and_patience_ends_training():
    _, _, split, stack, objective = problem(hidden=(20,))
    options = {"epochs": 300, "patience": 15, "weight_decay": 0.0, "stage": "x"}
    found = train_full_batch(stack, objective, split=split, **options)
    for k in range(3):
        own = [one for one in found.logs if one.member == k]
        best = min(own, key=lambda one: one.validation_loss)
        assert float(found.losses[k]) == best.validation_loss
        assert int(found.epochs[k]) == best.epoch
        assert len(own) == best.epoch + 15
        member = torch.tensor([k])
        with torch.no_grad():
            again = objective(found.stack.take(member), _watching(split.take(member)))
        assert float(again[0]) == pytest.approx(best.validation_loss, rel=1e-12)


def test_a_member_is_the_same_in_any_company():
    _, _, split, stack, objective = problem(hidden=(5,))
    options = {"epochs": 10, "patience": 10, "weight_decay": 1e-3, "stage": "x"}
    together = train_full_batch(stack, objective, split=split, **options)
    first = torch.tensor([0])
    alone = train_full_batch(stack.take(first), objective, split=split.take(first), **options)
    assert torch.equal(together.stack.parameters[:1], alone.stack.parameters)


def test_no_finite_loss_is_said():
    _, _, split, stack, objective = problem()
    with pytest.raises(InputError, match="the first network of member 0 has no finite loss to start from"):
        train_full_batch(
            stack.with_parameters(stack.parameters * torch.nan),
            objective,
            split=split,
            epochs=5,
            patience=5,
            weight_decay=0.0,
            stage="first",
        )


def _watching(split):
    return Batch(torch.tensor([0]), split.validation, split.validation_weights, False)
