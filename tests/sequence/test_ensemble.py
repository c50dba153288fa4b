"""The ensemble: one predict for all members, always in evaluation mode, and checks of networks one cannot trust."""

import numpy as np
import pytest
import torch
from torch import nn

from deepmr.errors import InputError
from deepmr.ism.mutate import mutate
from deepmr.precision import full_precision
from deepmr.sequence.ensemble import Ensemble, MemberInfo, resolve_device
from deepmr.types import Task

from .networks import CountBases, Returns, norm_network, random_sequences

CODES = np.array([[0, 0, 1, 4], [3, 1, 1, 1]], dtype=np.uint8)


def test_predicts_every_member_locus_and_task():
    ensemble = Ensemble.of([CountBases(), CountBases(factor=10)], ["A", "C"], length=4, device="cpu")
    expected = np.array([[2, 1], [0, 3]], dtype=np.float32)
    assert ensemble.n_members == 2
    assert ensemble.device == torch.device("cpu")
    for batch_size in (None, 1, 2, 100):
        predicted = ensemble.predict(CODES, batch_size=batch_size)
        assert predicted.dtype == np.float32
        np.testing.assert_array_equal(predicted, np.stack([expected, 10 * expected]))
    assert ensemble.predict(CODES[:0]).shape == (2, 0, 2)


def test_networks_are_copied_and_frozen():
    network = norm_network(20)
    ensemble = Ensemble.of([network], ["a", "b"], device="cpu")
    assert network.training
    assert all(p.requires_grad for p in network.parameters())
    assert not any(part.training for part in ensemble.modules[0].modules())
    assert not any(p.requires_grad for p in ensemble.modules[0].parameters())
    with pytest.raises(AttributeError):
        ensemble.length = 3


def test_batch_norm_network_does_not_see_its_batch_mates():
    sequences = random_sequences(40, 20)
    ensemble = Ensemble.of([norm_network(20)], length=20, device="cpu")
    together = ensemble.predict(sequences.codes)
    np.testing.assert_allclose(ensemble.predict(sequences.codes, batch_size=1), together, atol=1e-6)
    ensemble.modules[0].train()  # as a user may do by mistake
    np.testing.assert_array_equal(ensemble.predict(sequences.codes), together)
    effects = mutate(ensemble, sequences).delta
    for row in (0, 17):
        alone = mutate(ensemble, sequences.take(slice(row, row + 1))).delta
        np.testing.assert_allclose(effects[:, 60 * row : 60 * (row + 1)], alone, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_networks_of_another_dtype(dtype):
    ensemble = Ensemble.of([CountBases().to(dtype)], ["A", "C"], device="cpu")
    np.testing.assert_array_equal(ensemble.predict(CODES)[0], [[2, 1], [0, 3]])


def test_tasks_without_names_and_of_any_length():
    ensemble = Ensemble.of([CountBases()], length=4, device="cpu")
    assert ensemble.tasks == (Task(name="task_0"), Task(name="task_1"))
    free = Ensemble.of([CountBases()], [Task(name="A", scale="log"), "C"], device="cpu")
    assert free.tasks == (Task(name="A", scale="log"), Task(name="C"))
    assert free.predict(np.zeros((1, 9), dtype=np.uint8))[0].tolist() == [[9, 0]]
    with pytest.raises(InputError, match="needs its tasks, or the length"):
        Ensemble.of([CountBases()], device="cpu")
    with pytest.raises(InputError, match=r"must return one tensor \(batch, tasks\); member 0 returned \(1, 4, 4\)"):
        Ensemble.of([nn.Identity()], length=4, device="cpu")


@pytest.mark.parametrize(
    ("modules", "tasks", "said"),
    [
        ([], ["a"], "at least one network"),
        ([CountBases()], [], "at least one task"),
        ([CountBases()], ["a", "a"], "task names must be unique"),
    ],
)
def test_refuses_what_is_no_ensemble(modules, tasks, said):
    with pytest.raises(InputError, match=said):
        Ensemble.of(modules, tasks, device="cpu")


def test_refuses_members_and_counts_that_do_not_fit():
    given = {"modules": (CountBases(),), "tasks": (Task(name="A"), Task(name="C")), "length": 4}
    with pytest.raises(InputError, match="1 networks is described as 2 members"):
        Ensemble(**given, members=(MemberInfo(name="a"), MemberInfo(name="b")))
    with pytest.raises(InputError, match="task of counts must be one of A, C; got 'G'"):
        Ensemble(**given, members=(MemberInfo(name="a"),), counts=("G",))


def batch_mean(x):
    return x.sum(dim=2)[:, :2] - x.sum(dim=2)[:, :2].mean(dim=0)


def not_finite(x):
    return torch.log(x.sum(dim=2)[:, :2] - 1)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (not_finite, "member_1 returned NaN or infinity for .* of 10 sequences"),
        (lambda x: x.sum(dim=2)[:, :3], r"member_1 must return \(batch, tasks\) = \(10, 2\); it returned \(10, 3\)"),
        (lambda x: x.sum(dim=2), r"it returned \(10, 4\)"),
        (lambda x: x.sum(), r"it returned \(\)"),
        (lambda x: (x.sum(dim=2), x), "member_1 must return one tensor .* it returned tuple"),
        (lambda x: x @ torch.ones(5, 2), r"member_1 cannot read input of shape \(batch, 4, 4\)"),
        (batch_mean, "member_1: its prediction of '.' for a sequence moves by .* when others join the batch"),
        (lambda x: torch.rand(len(x), 2), "member_1: its prediction of '.' for a sequence moves"),
        (lambda x: nn.functional.dropout(x, 0.5).sum(dim=2)[:, :2], "member_1: its prediction"),
    ],
)
def test_check_names_the_member_that_cannot_be_used(function, said):
    ensemble = Ensemble.of([CountBases(), Returns(function)], ["A", "C"], length=4, device="cpu")
    with pytest.raises(InputError, match=said):
        ensemble.check(CODES)


def test_check_finds_statistics_of_the_batch_in_evaluation_mode():
    network = norm_network(20, track_running_stats=False)
    codes = random_sequences(3, 20).codes
    with pytest.raises(InputError, match="needed a network without batch statistics"):
        Ensemble.of([network], length=20, device="cpu").check(codes)
    Ensemble.of([norm_network(20)], length=20, device="cpu").check(codes)


def test_refuses_sequences_of_another_length():
    with pytest.raises(InputError, match="reads sequences of 5 bases; got 4"):
        Ensemble.of([CountBases()], length=5, device="cpu").predict(CODES)


def test_devices():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "meta", "cuda:x"):
        with pytest.raises(InputError, match="device must be auto or one of cpu, cuda"):
            resolve_device(name)
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(InputError, match=f"device '{absent}' is not there: PyTorch .* CUDA devices"):
        resolve_device(absent)


def test_full_precision_holds_inside_only():
    torch.set_float32_matmul_precision("high")
    try:
        with full_precision():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_agrees_with_cpu():
    codes = random_sequences(50, 20).codes
    network = norm_network(20)
    cpu, gpu = (Ensemble.of([network], length=20, device=device) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(gpu.predict(codes), cpu.predict(codes), atol=1e-5)
