"""Kinds of targets, their scale, and the masked loss."""

import numpy as np
import pytest
import torch
from torch import nn

from deepmr.errors import InputError
from deepmr.sequence.losses import Objective, TaskSpec, infer_kind, to_learned_scale

UNKNOWN = np.nan
KINDS = ("anscombe", "poisson", "continuous", "binary")
SPECS = tuple(TaskSpec(name=kind, kind=kind) for kind in KINDS)
TARGETS = np.array(
    [[0, 0, -1.5, 0], [3, 7, 2.5, 1], [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN], [10, 2, 0.5, 1], [5, UNKNOWN, 4, 1]],
    dtype=float,
)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 1, 1], "binary"),
        ([0, UNKNOWN], "binary"),
        ([0, 1, 2], "anscombe"),
        ([0, 1, 0.5], "continuous"),
        ([-1, 1], "continuous"),
    ],
)
def test_kind_is_inferred_from_known_values(values, kind):
    assert infer_kind(np.array(values, dtype=float)) == kind


def test_scales_of_the_tasks():
    assert [spec.task.scale for spec in SPECS] == ["identity", "log", "identity", "logit"]


def test_only_anscombe_counts_change_scale():
    learned = to_learned_scale(TARGETS, SPECS)
    assert learned.dtype == np.float32
    np.testing.assert_allclose(learned[:, 0], 2 * np.sqrt(TARGETS[:, 0] + 0.375), rtol=1e-6)
    np.testing.assert_array_equal(learned[:, 1:], TARGETS[:, 1:].astype(np.float32))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (0, -1, "counts of task 'anscombe' must be zero or positive; 1 of 5 is not, first at row 1"),
        (1, -1, "counts of task 'poisson' must be zero or positive"),
        (2, np.inf, "targets of task 'continuous' must be finite"),
        (3, 0.5, "targets of binary task 'binary' must be 0 or 1; row 1 is 0.5"),
    ],
)
def test_targets_that_a_kind_cannot_have(column, value, said):
    targets = TARGETS.copy()
    targets[1, column] = value
    with pytest.raises(InputError, match=said):
        to_learned_scale(targets, SPECS)
    with pytest.raises(InputError, match="targets must have shape"):
        to_learned_scale(TARGETS[:, :2], SPECS)


def objective():
    return Objective(to_learned_scale(TARGETS, SPECS), SPECS), torch.tensor(to_learned_scale(TARGETS, SPECS))


def test_best_constant_costs_one_and_perfection_nothing():
    loss, target = objective()
    constant = torch.zeros(5, 4)  # standardised: 0 means the centre
    assert float(loss(constant, target)) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(loss.explained(loss.center.expand(5, 4), target), 0, atol=1e-6)
    perfect = target.clone()
    perfect[:, 1] = torch.log(target[:, 1] + 1e-9)
    perfect[:, 3] = 60 * target[:, 3] - 30
    np.testing.assert_allclose(loss.explained(perfect, target), 1, atol=1e-5)
    np.testing.assert_allclose(loss.center[[0, 2]], np.nanmean(target.numpy()[:, [0, 2]], axis=0), rtol=1e-6)
    np.testing.assert_allclose(loss.center[1:4:2], [np.log(3), np.log(3)], rtol=1e-6)  # mean count 3; odds 3 to 1


def test_an_unknown_target_changes_nothing():
    loss, target = objective()
    output = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss(output, target).backward()
    gradient = output.grad.clone()
    assert torch.isfinite(gradient).all()
    assert not gradient[2].any()
    assert not gradient[4, 1]
    assert (gradient[torch.isfinite(target)] != 0).all()
    moved = output.detach().clone()
    moved[2] = 1e6
    assert float(loss(moved, target)) == pytest.approx(float(loss(output.detach(), target)), rel=1e-6)


def test_gradient_is_that_of_the_likelihood():
    loss, target = objective()
    output = torch.zeros(5, 4, requires_grad=True)
    loss(output, target).backward()
    eta = (loss.center + loss.spread * output.detach())[[0, 1, 3], 1].requires_grad_()
    nn.functional.poisson_nll_loss(eta, target[[0, 1, 3], 1], log_input=True, reduction="sum").backward()
    np.testing.assert_allclose(output.grad[[0, 1, 3], 1], eta.grad * loss.weight[1] / 5, rtol=1e-5)


def test_poisson_loss_stays_finite_far_outside_the_counts():
    loss, target = objective()
    far = torch.full((5, 4), 1e4, requires_grad=True)
    loss(far, target).backward()
    assert torch.isfinite(far.grad).all()
    assert (far.grad[[0, 1, 3], 1] > 0).all()


def test_folding_gives_predictions_in_target_units():
    loss, _ = objective()
    last = nn.Linear(3, 4)
    x = torch.randn(7, 3)
    standardised = last(x)
    loss.fold_into(last)
    np.testing.assert_allclose(
        last(x).detach(), (loss.center + loss.spread * standardised).detach(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        ([2.0, 2.0, UNKNOWN], "continuous", "all 2 known training targets of task 'a' are 2: nothing to learn$"),
        ([1.0, 1.0, UNKNOWN], "binary", "are 1: nothing to learn; add shuffled sequences as negatives"),
        ([UNKNOWN] * 3, "binary", "task 'a' has no known target among the training loci"),
    ],
)
def test_targets_without_variation(values, kind, said):
    with pytest.raises(InputError, match=said):
        Objective(np.array(values, dtype=np.float32)[:, None], [TaskSpec(name="a", kind=kind)])
