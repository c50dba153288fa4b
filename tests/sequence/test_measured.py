"""A network with its scalars: which output, whose reference, and refusals."""

import numpy as np
import pytest
import torch
from torch import nn

import deepmr
from deepmr.errors import InputError
from deepmr.io.models import ensemble_sha256
from deepmr.sequence.ensemble import Ensemble
from deepmr.sequence.measured import Measured, Reducer
from deepmr.sequence.profiles import FixedProfileScore, ProfileScore
from deepmr.sequence.scalars import LogCount, Tasks
from deepmr.types import RelativeNetwork

from .networks import Returns

LENGTH = 30


class TwoHeads(nn.Module):
    """A profile of two strands and a log count, as BPNet returns them."""

    def __init__(self, seed=0, pack=tuple):
        super().__init__()
        torch.manual_seed(seed)
        self.profile, self.count, self.pack = nn.Conv1d(4, 2, 5), nn.Linear(4 * LENGTH, 1), pack

    def forward(self, x, controls=None):
        profile = self.profile(x)
        if controls is not None:
            profile = profile + controls.sum(dim=(1, 2), keepdim=True) + 1
        return self.pack((profile, self.count(x.flatten(1))))


def batch(n=3):
    codes = torch.randint(0, 4, (n, LENGTH), generator=torch.Generator().manual_seed(1))
    return nn.functional.one_hot(codes, 4).transpose(1, 2).float()


def as_dict(values):
    return {"profile": values[0], "counts": values[1]}


@pytest.mark.parametrize("pack", [tuple, list, as_dict])
def test_tasks_are_in_the_order_of_the_scalars(pack):
    network = TwoHeads(pack=pack)
    x = batch()
    measured = Measured(network, [LogCount(1), ProfileScore(0, strands_per_task=1)])
    profile, count = TwoHeads()(x)
    torch.testing.assert_close(measured.outputs(x), (profile, count))
    found = measured(x)
    assert found.shape == (3, 3)
    torch.testing.assert_close(found[:, :1], count)
    torch.testing.assert_close(found[:, 1:], ProfileScore(strands_per_task=1)(profile, profile))


def test_one_tensor_is_output_0():
    x = batch()
    measured = Measured(Returns(lambda x: x.sum(dim=2)), [Tasks(columns=[1, 3])])
    torch.testing.assert_close(measured(x), x.sum(dim=2)[:, [1, 3]])


def test_reference_is_that_of_each_row_or_its_own():
    network, x = TwoHeads(), batch()
    plain = Measured(network, [LogCount(1)])
    relative = Measured(network, [LogCount(1), FixedProfileScore(0)])
    assert (plain.needs_reference, relative.needs_reference) == (False, True)
    assert isinstance(relative, RelativeNetwork)
    torch.testing.assert_close(relative(x)[:, 1:], ProfileScore()(network(x)[0], x))
    reference = relative.outputs(x.flip(0))
    found = relative(x, reference)
    torch.testing.assert_close(found[:, 1:], FixedProfileScore()(network(x)[0], network(x.flip(0))[0]))
    torch.testing.assert_close(found[:, 0], plain(x)[:, 0])


def test_controls_are_zeros():
    network, x = TwoHeads(), batch()
    measured = Measured(network, [ProfileScore(0)], control_shape=(2, 9))
    torch.testing.assert_close(measured.outputs(x)[0], network(x)[0] + 1)


def test_reducers():
    x = batch()

    def largest(profile):
        return profile.amax(dim=(1, 2))[:, None]

    class Change(nn.Module):
        relative, scale = True, "log"

        def forward(self, value, reference):
            return (value - reference).sum(dim=2)

    measured = Measured(TwoHeads(), [Reducer(largest), Reducer(Change())])
    assert measured.needs_reference
    assert [scalar.scale for scalar in measured.scalars] == ["identity", "log"]
    assert not any(hasattr(scalar, "effect") for scalar in measured.scalars)
    profile = measured.outputs(x)[0]
    found = measured(x, measured.outputs(torch.zeros_like(x)))
    torch.testing.assert_close(found[:, :1], largest(profile))
    torch.testing.assert_close(found[:, 1:], (profile - TwoHeads().profile.bias[:, None]).sum(dim=2))
    with pytest.raises(InputError, match="a reducer must have no weights; Linear has"):
        Reducer(nn.Linear(2, 1))


def test_an_ensemble_of_measured_networks():
    codes = np.random.default_rng(0).integers(0, 4, (6, LENGTH)).astype(np.uint8)
    modules = [Measured(TwoHeads(seed), [LogCount(1), ProfileScore(0)]) for seed in range(2)]
    ensemble = Ensemble.of(modules, ["count", "profile"], length=LENGTH, device="cpu")
    ensemble.check(codes)
    assert ensemble.predict(codes).shape == (2, 6, 2)
    assert deepmr.Measured is Measured
    others = [Measured(TwoHeads(seed), [LogCount(1), FixedProfileScore(0)]) for seed in range(2)]
    other = Ensemble.of(others, ["count", "profile"], length=LENGTH, device="cpu")
    assert ensemble_sha256(ensemble) != ensemble_sha256(other)  # the same weights, measured in another way


def test_networks_of_several_outputs_are_told_what_to_do():
    with pytest.raises(InputError, match="member 0 returned tuple: say what is measured of it with Measured"):
        Ensemble.of([TwoHeads()], length=LENGTH, device="cpu")
    ensemble = Ensemble.of([TwoHeads()], ["a"], length=LENGTH, device="cpu")
    with pytest.raises(
        InputError, match=r"member_0 must return one tensor \(batch, tasks\); it returned tuple: say what"
    ):
        ensemble.predict(np.zeros((1, LENGTH), dtype=np.uint8))
    wrong = Ensemble.of([Measured(nn.Flatten(), [Tasks()], (2,))], ["a"], length=LENGTH, device="cpu")
    with pytest.raises(InputError, match=r"member_0 cannot read input of shape .*: .*takes 2 positional arguments"):
        wrong.predict(np.zeros((1, LENGTH), dtype=np.uint8))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Measured(TwoHeads(), []), "nothing is measured"),
        (lambda: Measured(TwoHeads(), [nn.Identity()]), r"Identity\(\) is no scalar"),
        (
            lambda: Measured(TwoHeads(), [LogCount(2)])(batch()),
            "LogCount reads output 2; the network returns 2, counted",
        ),
        (lambda: Measured(TwoHeads(), [LogCount(-1)])(batch()), "LogCount reads output -1"),
        (
            lambda: Measured(Returns(lambda x: (x, "profile")), [Tasks(1)])(batch()),
            "Tasks reads output 1, which must be a tensor; it is str",
        ),
        (
            lambda: Measured(TwoHeads(), [Reducer(torch.flatten, 0)])(batch()),
            r"flatten must return \(batch, tasks\) for a batch of 3; it returned \(156,\)",
        ),
        (
            lambda: Measured(TwoHeads(), [Tasks(0)])(batch()),
            r"Tasks reads an output \(batch, n\); got shape \(3, 2, 26\)",
        ),
    ],
)
def test_what_cannot_be_measured(make, said):
    with pytest.raises(InputError, match=said):
        make()
