"""Masks instead of dropout: drawn once, the same for every sequence, on weights that stay where they are."""

import numpy as np
import pytest
import torch
from torch import nn

from deepmr.errors import InputError
from deepmr.io.models import ensemble_sha256
from deepmr.ism.choice import in_precision
from deepmr.ism.mutate import mutate
from deepmr.sequence.dropout import FixedDropout, mask_seed, mc_dropout_ensemble, with_fixed_dropout
from deepmr.sequence.ensemble import Ensemble, MemberInfo
from deepmr.types import Task

from .networks import norm_network, random_sequences


def onehot(n, length, seed=0):
    codes = torch.tensor(random_sequences(n, length, seed).codes)
    return (codes[:, None] == torch.arange(4)[:, None]).float()


def masks_of(module):
    return [part.mask for part in module.modules() if isinstance(part, FixedDropout)]


def flat(p=0.5, length=10, n_tasks=2):
    return nn.Sequential(nn.Flatten(), nn.Dropout(p), nn.Linear(4 * length, n_tasks)).eval()


def test_a_copy_multiplies_every_sequence_with_one_mask():
    network, x = flat(), onehot(6, 10)
    for copy in with_fixed_dropout(network, length=10, seed=1, n_members=3):
        (mask,) = masks_of(copy)
        assert mask.shape == (40,)
        assert set(mask.tolist()) == {0.0, 2.0}
        expected = x.flatten(1) * mask @ network[2].weight.T + network[2].bias
        torch.testing.assert_close(copy(x), expected)
        torch.testing.assert_close(copy(x[3:4]), expected[3:4])
        assert not any(part.training for part in copy.modules())


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_masks_keep_the_expected_share_and_the_mean(p):
    (copy,) = with_fixed_dropout(flat(p, length=5000), length=5000, seed=0, n_members=1)
    (mask,) = masks_of(copy)
    assert float((mask == 0).float().mean()) == pytest.approx(p, abs=0.02)
    assert float(mask.max()) == pytest.approx(1 / (1 - p))
    assert float(mask.mean()) == pytest.approx(1, abs=0.1)


def test_dropout_of_everything_is_zero_and_not_infinite():
    (copy,) = with_fixed_dropout(flat(1.0), length=10, seed=0, n_members=1)
    assert (masks_of(copy)[0] == 0).all()


def test_many_masks_of_a_linear_network_have_the_moments_of_dropout():
    network, x = flat(0.2), onehot(1, 10)
    predicted = torch.cat([copy(x) for copy in with_fixed_dropout(network, length=10, seed=0, n_members=4000)])
    active = (x.flatten(1) * network[2].weight)[:, x.flatten() > 0]  # weights that a base switches on
    sd = (active.square().sum(1) * 0.2 / 0.8).sqrt()
    assert ((predicted.mean(0) - network(x)[0]).abs() < 4 * sd / 4000**0.5).all()
    torch.testing.assert_close(predicted.std(0), sd, rtol=0.05, atol=0)


def test_masks_follow_their_seed():
    network = flat()

    def draw(seed, n=2):
        return [masks_of(copy)[0] for copy in with_fixed_dropout(network, length=10, seed=seed, n_members=n)]

    first, second = draw(0)
    assert not torch.equal(first, second)
    assert torch.equal(draw(0, n=1)[0], first)  # more copies leave the first as they are
    assert not torch.equal(draw(1)[0], first)
    assert not torch.equal(draw(1)[0], second)


def test_layers_have_masks_of_their_own():
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Dropout(0.5), nn.Linear(40, 1))
    first, second = masks_of(with_fixed_dropout(network, length=10, seed=0, n_members=1)[0])
    assert not torch.equal(first, second)


def test_channel_dropout_masks_whole_channels():
    network = nn.Sequential(nn.Conv1d(4, 64, 3), nn.Dropout1d(0.5), nn.Conv1d(64, 64, 3), nn.Dropout2d(0.5))
    network = nn.Sequential(*network, nn.Unflatten(2, (2, 3)), nn.Dropout2d(0.5), nn.Flatten(), nn.Linear(384, 1))
    (copy,) = with_fixed_dropout(network, length=10, seed=0, n_members=1)
    assert [tuple(mask.shape) for mask in masks_of(copy)] == [(64, 1), (64, 1), (64, 1, 1)]
    assert all(0.2 < float((mask == 0).float().mean()) < 0.8 for mask in masks_of(copy))
    seen = copy[:2](onehot(3, 10))
    assert ((seen == 0).all(dim=2).sum(dim=1) == (masks_of(copy)[0] == 0).sum()).all()


def test_weights_and_statistics_are_the_same_tensors():
    network = norm_network(20)
    copies = with_fixed_dropout(network, length=20, seed=0, n_members=3)
    for copy in copies:
        own = dict(copy.named_parameters())
        assert all(own[name] is weight for name, weight in network.named_parameters())
        assert copy[1].running_mean is network[1].running_mean
    assert len({masks_of(copy)[0].data_ptr() for copy in copies}) == 3


def test_the_network_and_the_generators_stay_as_they_were():
    network = norm_network(20)  # in training mode
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    with_fixed_dropout(network, length=20, seed=0, n_members=2)
    assert network.training
    assert type(network[3]) is nn.Dropout
    assert all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_masks_have_the_type_of_what_they_multiply(dtype):
    (copy,) = with_fixed_dropout(flat().to(dtype), length=10, seed=0, n_members=1)
    assert masks_of(copy)[0].dtype == dtype
    assert in_precision(copy, "double")(onehot(2, 10).double()).dtype == torch.float64


def test_copies_can_be_captured():
    (copy,) = with_fixed_dropout(norm_network(20), length=20, seed=0, n_members=1)
    x = onehot(5, 20)
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(copy, (x[:3],), dynamic_shapes=({0: batch},), strict=False)
    assert "3.mask" in program.state_dict
    torch.testing.assert_close(program.module()(x), copy(x))


def ensemble_of(n=2, length=20, **options):
    modules = [norm_network(length) for _ in range(n)]
    members = tuple(MemberInfo(name=f"net{k}", seed=k, sha256=f"{k}" * 64, held_out=("chr1",)) for k in range(n))
    tasks = (Task(name="a"), Task(name="b", scale="log"))
    return Ensemble(modules=tuple(modules), tasks=tasks, members=members, length=length, **options)


def test_members_are_networks_times_masks():
    ensemble = ensemble_of(counts=("a",), sha256="f" * 64)
    masked = mc_dropout_ensemble(ensemble, n_members=3, seed=7)
    assert [member.name for member in masked.members] == [f"net{j}_mask{k}" for j in range(2) for k in range(3)]
    assert [member.seed for member in masked.members] == [0, 0, 0, 1, 1, 1]
    assert [member.mask_seed for member in masked.members] == [
        mask_seed(mask_seed(7, j), k) for j in range(2) for k in range(3)
    ]
    assert all(member.held_out == ("chr1",) for member in masked.members)
    assert len({member.sha256 for member in masked.members}) == 6
    assert (masked.tasks, masked.counts, masked.length) == (ensemble.tasks, ("a",), 20)
    assert masked.modules[4][0].weight is ensemble.modules[1][0].weight
    assert len({mask.numpy().tobytes() for module in masked.modules for mask in masks_of(module)}) == 6


def test_identity_follows_weights_and_masks():
    ensemble = ensemble_of(sha256="f" * 64)
    one = mc_dropout_ensemble(ensemble, n_members=2, seed=0)
    assert one.sha256 not in ("", ensemble.sha256)
    assert mc_dropout_ensemble(ensemble, n_members=2, seed=0).sha256 == one.sha256
    assert mc_dropout_ensemble(ensemble, n_members=2, seed=0).members == one.members
    assert mc_dropout_ensemble(ensemble, n_members=2, seed=1).sha256 != one.sha256
    assert mc_dropout_ensemble(ensemble, n_members=3, seed=0).sha256 != one.sha256
    assert mc_dropout_ensemble(ensemble_of(sha256="e" * 64), n_members=2, seed=0).sha256 != one.sha256
    in_memory = Ensemble.of([norm_network(20)], length=20, device="cpu")
    two = [mc_dropout_ensemble(in_memory, n_members=1, seed=seed) for seed in (0, 1)]
    assert two[0].sha256 == two[0].members[0].sha256 == ""
    assert ensemble_sha256(two[0]) != ensemble_sha256(two[1])  # masks are among the tensors that identify it


def test_masked_members_pass_the_checks_and_are_mutated():
    sequences = random_sequences(4, 20)
    masked = mc_dropout_ensemble(ensemble_of(), n_members=3, seed=0, length=20)
    masked.check(sequences.codes)
    effects = mutate(masked, sequences)
    assert effects.delta.shape == (6, 4 * 60, 2)
    row = 77  # locus 1, offset 5
    edited = sequences.codes[1:2].copy()
    edited[0, 5] = "ACGT".index(effects.variants["effect_allele"].iloc[row])
    difference = masked.predict(edited) - masked.predict(sequences.codes[1:2])
    np.testing.assert_allclose(effects.delta[:, row], difference[:, 0], atol=1e-5)


def test_the_length_must_be_known_and_fit():
    with pytest.raises(InputError, match="reads sequences of 20 bases; got length 30"):
        mc_dropout_ensemble(ensemble_of(), n_members=1, seed=0, length=30)
    any_length = Ensemble.of([norm_network(20)], ["a", "b"], device="cpu")
    with pytest.raises(InputError, match="say which length"):
        mc_dropout_ensemble(any_length, n_members=1, seed=0)
    assert mc_dropout_ensemble(any_length, n_members=1, seed=0, length=20).length == 20


def test_errors_name_the_member():
    plain = nn.Sequential(nn.Flatten(), nn.Linear(80, 2))
    ensemble = Ensemble.of([norm_network(20), plain], ["a", "b"], length=20, device="cpu")
    with pytest.raises(InputError, match="member_1: the network has no dropout"):
        mc_dropout_ensemble(ensemble, n_members=1, seed=0)


@pytest.mark.parametrize(("option", "value"), [("n_members", 0), ("seed", -1)])
def test_numbers_have_a_least_value(option, value):
    with pytest.raises(InputError, match=f"{option} must be at least"):
        with_fixed_dropout(flat(), **{"length": 10, "seed": 0, "n_members": 1, option: value})
