"""One network: it learns in the unit of its targets, reproducibly; its batch-norm statistics are plain averages."""

import numpy as np
import pytest
import torch
from torch import nn

from deepmr.errors import InputError
from deepmr.sequence.fitting import (
    Schedule,
    TrainingData,
    TrainOptions,
    fit_network,
    one_thread,
    random_strands,
    recompute_norms,
)
from deepmr.sequence.losses import TaskSpec
from deepmr.sequence.models import PaperCNN
from deepmr.sequence.onehot import one_hot

from .networks import norm_network, random_sequences

SMALL = {"filters": 6, "width": 3, "hidden": 12, "n_convs": 1}
LEVEL = (TaskSpec(name="level", kind="continuous"),)
CPU = torch.device("cpu")


def toy(n=600, n_valid=200, length=12, seed=0):
    """Targets far from 0: 1000, 40 more for every A, 100 more for a G in the middle; noise of sd 5."""
    codes = random_sequences(n + n_valid, length, seed).codes
    levels = 1000 + 40 * (codes == 0).sum(axis=1) + 100 * (codes[:, length // 2] == 2)
    levels = levels + np.random.default_rng(seed).normal(0, 5, n + n_valid)
    targets = levels[:, None].astype(np.float32)
    return TrainingData(codes=codes[:n], targets=targets[:n], valid_codes=codes[n:], valid_targets=targets[n:])


def options(**changes):
    return TrainOptions(**{"arguments": SMALL, "epochs": 15, **changes})


def predict(fitted, data, arguments=SMALL):
    network = PaperCNN(1, length=data.codes.shape[1], **arguments)
    network.load_state_dict({name: torch.tensor(values) for name, values in fitted.state.items()})
    with torch.no_grad():
        return network.eval()(one_hot(torch.tensor(data.valid_codes))).numpy()


def same(a, b):
    return all(np.array_equal(a.state[name], b.state[name]) for name in a.state)


def test_learns_a_toy_problem_in_target_units():
    data = toy(n=1500)
    done = []
    fitted = fit_network(data, LEVEL, options=options(), seed=1, device=CPU, progress=done.append)
    residual = data.valid_targets - predict(fitted, data)
    r2 = 1 - residual.var() / data.valid_targets.var()
    assert r2 > 0.95
    assert abs(residual.mean()) < 5
    assert fitted.explained[0] == pytest.approx(r2, abs=0.02)
    assert sum(done) == 15
    assert [row.epoch for row in fitted.history] == list(range(1, len(fitted.history) + 1))
    assert fitted.loss == min(row.validation_loss for row in fitted.history)


def test_same_seed_same_weights_and_the_generator_is_left_alone():
    data = toy(n=130, n_valid=40)  # the last batch is one of two sequences
    state = torch.get_rng_state()
    first, again, other = (
        fit_network(data, LEVEL, options=options(epochs=2, resample=seed == 3), seed=seed, device=CPU)
        for seed in (1, 1, 2)
    )
    resampled = fit_network(data, LEVEL, options=options(epochs=2, resample=True), seed=1, device=CPU)
    assert same(first, again)
    assert not same(first, other)
    assert not same(first, resampled)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_batch_of_one_is_left_out():
    data = toy(n=65, n_valid=40)
    fitted = fit_network(data, LEVEL, options=options(epochs=1), seed=1, device=CPU)
    assert np.isfinite(fitted.loss)
    assert fitted.state["convolutions.1.num_batches_tracked"] == 1


def test_early_stopping_keeps_the_best_weights():
    data = toy(n=80, n_valid=60, length=40)
    done = []
    fitted = fit_network(data, LEVEL, options=options(epochs=60, patience=3), seed=0, device=CPU, progress=done.append)
    losses = [row.validation_loss for row in fitted.history]
    assert len(losses) < 60
    assert int(np.argmin(losses)) == len(losses) - 4
    assert sum(done) == 60


def test_a_diverging_network_stops_at_once():
    data = toy(n=130, n_valid=40)
    fitted = fit_network(data, LEVEL, options=options(epochs=5, learning_rate=1e30), seed=1, device=CPU)
    assert len(fitted.history) < 5
    assert not np.isfinite(fitted.history[-1].train_loss)


def test_norm_statistics_are_those_of_the_sequences():
    codes = torch.tensor(random_sequences(500, 20).codes)
    network = norm_network(20)
    recompute_norms(network, codes)
    with torch.no_grad():
        features = network[0](one_hot(codes))
    np.testing.assert_allclose(network[1].running_mean, features.mean(dim=(0, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(network[1].running_var, features.var(dim=(0, 2)), rtol=1e-3)
    assert network[1].momentum == 0.1
    assert not any(part.training for part in network.modules())
    plain = nn.Sequential(nn.Flatten(), nn.Linear(80, 1))
    recompute_norms(plain, codes)
    assert not plain.training


def test_strands():
    codes = torch.tensor(random_sequences(400, 9).codes)
    x = one_hot(codes)
    turned = random_strands(x, torch.Generator().manual_seed(0))
    other = one_hot((3 - codes).flip(1))
    kept = (turned == x).all(dim=(1, 2))
    assert ((turned == other).all(dim=(1, 2)) | kept).all()
    assert 150 < int(kept.sum()) < 250


def test_strands_make_a_network_nearly_blind_to_them():
    data = toy(n=300, n_valid=100)
    fitted = fit_network(data, LEVEL, options=options(reverse_complement=True, epochs=3), seed=1, device=CPU)
    assert not same(fitted, fit_network(data, LEVEL, options=options(epochs=3), seed=1, device=CPU))


def test_schedule_follows_the_size_of_the_data():
    assert TrainOptions().schedule(10_000) == Schedule(epochs=20, learning_rate=1e-2, weight_decay=0.1)
    assert TrainOptions().schedule(50_000) == Schedule(epochs=10, learning_rate=5e-3, weight_decay=0.05)
    assert TrainOptions().schedule(3_200).epochs == 40
    assert TrainOptions().schedule(10).epochs == 200
    given = TrainOptions(epochs=3, learning_rate=1.0, weight_decay=0.0, architecture=nn.Module)
    assert given.schedule(50_000) == Schedule(epochs=3, learning_rate=1.0, weight_decay=0.0)
    assert TrainOptions(architecture=nn.Module).schedule(10_000).learning_rate == 3e-3
    schedule = Schedule(epochs=10, learning_rate=2.0, weight_decay=0.0)
    assert [round(schedule.rate(done), 9) for done in (0.05, 0.1, 0.55, 1.0)] == [1, 2, 1, 0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"validation": 0.0}, "validation must be a share between 0 and 1; got 0"),
        ({"negatives": -1.0}, "negatives must be at least 0; got -1"),
        ({"epochs": 0}, "epochs must be at least 1; got 0"),
        ({"batch_size": 1}, "batch_size must be at least 2; got 1"),
        ({"learning_rate": float("nan")}, "learning_rate must be at least 0; got nan"),
    ],
)
def test_options_out_of_range(changes, said):
    with pytest.raises(InputError, match=said):
        TrainOptions(**changes)


def test_an_architecture_needs_its_last_layer():
    with pytest.raises(InputError, match="Flatten cannot be trained: its last layer must be"):
        fit_network(toy(n=20, n_valid=20), LEVEL, options=TrainOptions(architecture=nn.Flatten), seed=0, device=CPU)


def test_one_thread():
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
