"""The loop: members alone and together, weights, validation, stopping."""

import pytest
import torch

from deepmr.errors import InputError
from deepmr.perceptrons.split import Split
from deepmr.perceptrons.stack import Architecture, Stack
from deepmr.perceptrons.training import (
    Batch,
    EarlyStopping,
    Schedule,
    generators,
    minibatches,
    train,
    validate,
    weighted_mean,
)

N, SEEDS = 200, [11, 12, 13]
ARCHITECTURE = Architecture(n_inputs=2, n_outputs=1, hidden=(8,))


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, 2, generator=generator)
    y = x[:, 0] - x[:, 1] + 0.5 * torch.randn(N, generator=generator)
    order = torch.stack([torch.randperm(N, generator=generator) for _ in SEEDS])
    weights = torch.rand(3, 150, generator=generator) + 0.1
    split = Split(order[:, :150], weights, order[:, 150:], torch.ones(3, 50))

    def objective(stack, batch):
        predicted = stack(x[batch.rows], training=batch.training)[..., 0]
        return weighted_mean((predicted - y[batch.rows]) ** 2, batch.weights)

    return split, objective


def trained(split, objective, members=(0, 1, 2), **options):
    chosen, seeds = torch.tensor(members), [SEEDS[k] for k in members]
    schedule = Schedule(**{"epochs": 12, "batch_size": 32, "learning_rate": 0.01, "patience": 3, **options})
    stack = Stack.fresh(ARCHITECTURE, seeds)
    return train(stack, objective, split=split.take(chosen), schedule=schedule, seeds=seeds, stage="test")


@pytest.mark.parametrize("options", [{}, {"averaging": 0.9}, {"batch_size": None}])
def test_a_member_of_a_stack_is_the_network_trained_alone(problem, options):
    together = trained(*problem, **options)
    for k in range(3):
        alone = trained(*problem, members=(k,), **options)
        torch.testing.assert_close(alone.stack.parameters[0], together.stack.parameters[k], atol=1e-5, rtol=1e-5)
        assert alone.epochs[0] == together.epochs[k]
        assert len(alone.logs) == len([row for row in together.logs if row.member == k])


def test_the_same_seed_gives_the_same_bits(problem):
    one, two = trained(*problem), trained(*problem)
    assert (one.stack.parameters == two.stack.parameters).all()
    assert one.logs == two.logs


def test_it_is_adam_on_the_weighted_loss(problem):
    split, objective = problem
    found = trained(split, objective, members=(1,), epochs=3, batch_size=None, weight_decay=0.1, patience=9)
    stack = Stack.fresh(ARCHITECTURE, SEEDS[1:2])
    stack.parameters.requires_grad_()
    optimizer = torch.optim.Adam([stack.parameters], lr=0.01, weight_decay=0.1)
    own = split.take(torch.tensor([1]))
    for _ in range(3):
        optimizer.zero_grad()
        objective(stack, Batch(torch.tensor([0]), own.training, own.training_weights, True)).sum().backward()
        optimizer.step()
    torch.testing.assert_close(found.stack.parameters, stack.parameters.detach(), atol=1e-6, rtol=1e-5)


def test_weights_of_two_are_rows_twice(problem):
    split, objective = problem
    stack = Stack.fresh(ARCHITECTURE, SEEDS[:1])
    rows = split.training[:1]
    twice = torch.ones_like(rows, dtype=torch.float32)
    twice[:, ::3] = 2
    copies = torch.cat([rows, rows[:, ::3]], dim=1)
    weighed = objective(stack, Batch(torch.tensor([0]), rows, twice, True))
    copied = objective(stack, Batch(torch.tensor([0]), copies, torch.ones_like(copies, dtype=torch.float32), True))
    torch.testing.assert_close(weighed, copied)


def test_validation_samples_are_never_in_training(problem):
    split, objective = problem
    seen = {True: [set(), set(), set()], False: [set(), set(), set()]}

    def spy(stack, batch):
        for member, rows in zip(batch.members.tolist(), batch.rows.tolist(), strict=True):
            seen[batch.training][member] |= set(rows)
        return objective(stack, batch)

    trained(split, spy)
    for k in range(3):
        assert seen[True][k] == set(split.training[k].tolist())
        assert seen[False][k] == set(split.validation[k].tolist())


def test_the_best_weights_are_kept(problem):
    found = trained(*problem, epochs=40)
    again = validate(found.stack, problem[1], problem[0], torch.arange(3))
    torch.testing.assert_close(again, found.losses)
    for k in range(3):
        losses = [row.validation_loss for row in found.logs if row.member == k]
        assert min(losses) == pytest.approx(found.losses[k].item())
        assert losses.index(min(losses)) + 1 == found.epochs[k]
        assert len(losses) == min(40, found.epochs[k] + 3)


def test_patience_is_of_each_member():
    stack = Stack.fresh(ARCHITECTURE, SEEDS)
    stopping = EarlyStopping(stack, patience=2)
    members = torch.arange(3)
    assert stopping.update(members, torch.tensor([3.0, 3.0, 3.0]), stack, 1).all()
    assert stopping.update(members, torch.tensor([4.0, 2.0, 3.0]), stack, 2).tolist() == [True, True, True]
    assert stopping.update(members, torch.tensor([4.0, 2.0, 1.0]), stack, 3).tolist() == [False, True, True]
    assert stopping.losses.tolist() == [3.0, 2.0, 1.0]


def test_an_epoch_has_every_training_sample_once(problem):
    split, _ = problem
    batches = list(minibatches(split, generators(SEEDS), batch_size=32))
    rows = torch.cat([one for one, _ in batches], dim=1)
    assert len(batches) == 5
    assert (rows.sort(dim=1).values == split.training.sort(dim=1).values).all()


def test_a_loss_that_is_not_finite_is_told(problem):
    split, objective = problem
    with pytest.raises(InputError, match="test network of member 0 has no finite loss after an epoch; a smaller"):
        trained(split, lambda stack, batch: objective(stack, batch) / (0.0 if batch.training else 1.0))


def test_bad_schedules_are_told():
    with pytest.raises(InputError, match="learning rate must be positive"):
        Schedule(learning_rate=0.0)
    with pytest.raises(InputError, match="patience must be at least 1; got 0"):
        Schedule(patience=0)
