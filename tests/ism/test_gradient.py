"""Effects to first order: what they are by hand, where they are exact, and how their error is told."""

import numpy as np
import pytest
import torch
from torch import nn

from deepmr.errors import DeepMRError, InputError
from deepmr.ism.gradient import gradient_edits, gradient_error
from deepmr.ism.naive import EditEffects, predict_edits
from deepmr.ism.variants import Edits, single_edits
from tests.ism.stubs import Linear, linear, make_sequences, random_sequences, small_cnn
from tests.ism.test_naive import Hungry
from tests.ism.test_strands import random_edits


def first_order(module, codes, edits=None, **options):
    options = {"n_tasks": 2, "batch_size": 3, **options}
    return gradient_edits(module, codes, single_edits(codes) if edits is None else edits, **options)


def exact(module, codes, edits=None, **options):
    options = {"n_tasks": 2, "batch_size": 64, **options}
    return predict_edits(module, codes, single_edits(codes) if edits is None else edits, **options)


class Squares(nn.Module):
    """The square of a linear network: f(x) = (w x)**2, with the gradient 2 (w x) w."""

    def __init__(self, weight):
        super().__init__()
        self.linear = Linear(weight)

    def forward(self, x):
        return self.linear(x) ** 2


@pytest.mark.parametrize("masked", [0.0, 0.3])
def test_exact_for_a_linear_network(masked):
    codes = random_sequences(7, 12, masked=masked).codes
    module = linear(12, n_tasks=3)
    for edits in (single_edits(codes), random_edits(codes, seed=1)):
        found = first_order(module, codes, edits, n_tasks=3)
        expected = exact(module, codes, edits, n_tasks=3)
        np.testing.assert_allclose(found.reference, expected.reference, atol=1e-5)
        np.testing.assert_allclose(found.delta, expected.delta, atol=1e-5)
        assert found.delta.dtype == found.reference.dtype == np.float32
        assert found.delta.shape == expected.delta.shape


def test_by_hand_where_it_is_not_exact():
    weight = torch.arange(8.0).reshape(4, 2, 1)  # A: 0 1, C: 2 3, G: 4 5, T: 6 7
    codes = make_sequences("CT").codes  # w x = 2 + 7 = 9
    edits = Edits(
        locus=np.array([0, 0]), start=np.array([0, 1, 3]), offset=np.array([0, 0, 1]), base=np.array([3, 0, 2], "u1")
    )  # C1T; C1A with T2G
    found = first_order(Squares(weight).eval(), codes, edits, n_tasks=1)
    assert found.reference.tolist() == [[81.0]]
    assert found.delta[:, 0].tolist() == [18.0 * (6 - 2), 18.0 * (0 - 2 + 5 - 7)]
    assert exact(Squares(weight).eval(), codes, edits, n_tasks=1).delta[:, 0].tolist() == [13.0**2 - 81, 5.0**2 - 81]


def test_an_edit_of_a_masked_position_adds_its_base_alone():
    weight = torch.arange(8.0).reshape(4, 2, 1)
    codes = make_sequences("CN").codes
    edits = Edits(locus=np.array([0]), start=np.array([0, 1]), offset=np.array([1]), base=np.array([2], "u1"))
    assert first_order(Linear(weight).eval(), codes, edits, n_tasks=1).delta.tolist() == [[5.0]]
    assert exact(Linear(weight).eval(), codes, edits, n_tasks=1).delta.tolist() == [[5.0]]


def test_agrees_with_finite_differences_of_a_network_with_relu():
    codes = random_sequences(3, 20, masked=0.1).codes
    module = small_cnn(20).double()
    edits = random_edits(codes, seed=3)
    found = first_order(module, codes, edits)
    x = (torch.tensor(codes)[:, None] == torch.arange(4)[:, None]).double()
    step = 1e-6
    for i in range(len(edits)):
        towards = torch.zeros_like(x[0])
        for s in range(edits.start[i], edits.start[i + 1]):
            at, old = int(edits.offset[s]), int(codes[edits.locus[i], edits.offset[s]])
            towards[edits.base[s], at] += 1
            towards[old, at] -= 1
        here = x[edits.locus[i]]
        with torch.no_grad():
            slope = (module(here + step * towards[None]) - module(here - step * towards[None]))[0] / (2 * step)
        np.testing.assert_allclose(found.delta[i], slope.numpy(), rtol=1e-5, atol=1e-8)


def test_batches_tasks_and_gradients_of_weights_do_not_matter():
    codes = random_sequences(5, 20).codes
    module = small_cnn(20)
    one = first_order(module, codes, batch_size=5)
    for batch_size in (1, 2, 100):
        other = first_order(module, codes, batch_size=batch_size)
        np.testing.assert_allclose(other.delta, one.delta, atol=1e-6)
    np.testing.assert_allclose(first_order(module, codes, columns=np.array([1])).delta, one.delta[:, [1]], atol=1e-6)
    swapped = first_order(module, codes, columns=np.array([1, 0]))
    np.testing.assert_allclose(swapped.delta, one.delta[:, ::-1], atol=1e-6)
    np.testing.assert_allclose(swapped.reference, one.reference[:, ::-1], atol=1e-6)
    assert all(p.grad is None for p in module.parameters())
    module.requires_grad_(False)
    with torch.inference_mode():
        np.testing.assert_array_equal(first_order(module, codes, batch_size=5).delta, one.delta)
    with torch.no_grad():
        np.testing.assert_array_equal(first_order(module, codes, batch_size=5).delta, one.delta)


def test_loci_without_variants_have_a_reference():
    codes = make_sequences("ACGT", "NNNN", "TTTT").codes
    edits = Edits(locus=np.array([2]), start=np.array([0, 1]), offset=np.array([3]), base=np.array([0], "u1"))
    module = linear(4, n_tasks=2)
    for batch_size in (1, 3):
        found = first_order(module, codes, edits, batch_size=batch_size)
        assert found.reference.shape == (3, 2)
        np.testing.assert_allclose(found.delta, exact(module, codes, edits).delta, atol=1e-6)


def test_progress_counts_as_forward_passes_do():
    codes = random_sequences(5, 6, masked=0.2).codes
    done = []
    first_order(linear(6, n_tasks=2), codes, batch_size=2, progress=done.append)
    assert len(done) == 3
    assert sum(done) == len(codes) + len(single_edits(codes))


class InPlace(nn.Module):
    """Changes its input, and sees how cuDNN is set."""

    def __init__(self, *layers):
        super().__init__()
        self.layers, self.seen = nn.ModuleList(layers), []

    def forward(self, x):
        x -= 0.25
        self.seen.append((torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32))
        return x.sum(2)[:, :2]


def test_networks_may_change_their_input_and_recurrent_ones_avoid_cudnn():
    codes = random_sequences(2, 5).codes
    plain, recurrent = InPlace().eval(), InPlace(nn.LSTM(4, 4)).eval()
    for module in (plain, recurrent):
        np.testing.assert_allclose(first_order(module, codes).delta, exact(module, codes).delta, atol=1e-6)
    assert plain.seen[0] == (True, False)
    assert recurrent.seen[0] == (False, False)
    assert torch.backends.cudnn.enabled


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: x.detach().sum(2)[:, :2],
        lambda x: (x.sum(2)[:, :2] > 2).float(),
        lambda x: nn.Parameter(torch.ones(2)).expand(len(x), 2),
    ],
)
def test_a_network_without_gradient_is_refused_and_not_taken_for_flat(forward):
    module = nn.Module()
    module.forward = forward
    with pytest.raises(InputError, match="has no gradient with respect to its input"):
        first_order(module.eval(), random_sequences(2, 5).codes)


def test_wrong_output_is_refused():
    with pytest.raises(InputError, match=r"must return \(batch, tasks\) = \(2, 3\)"):
        first_order(linear(5, n_tasks=2), random_sequences(2, 5).codes, n_tasks=3)


def test_out_of_memory_halves_the_batch(caplog):
    codes = random_sequences(9, 10).codes
    module = Hungry(2, torch.OutOfMemoryError("CUDA out of memory")).eval()
    found = first_order(module, codes, n_tasks=1, batch_size=8)
    assert found.batch_size == 2
    assert found.delta.shape == (270, 1)
    assert "out of memory with 8 loci at once; trying 4" in caplog.text
    with pytest.raises(DeepMRError, match="out of memory on cpu with one locus at a time: CUDA out of memory"):
        first_order(Hungry(0, torch.OutOfMemoryError("CUDA out of memory\nmore")).eval(), codes, n_tasks=1)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        first_order(Hungry(0, RuntimeError("shapes do not fit")).eval(), codes, n_tasks=1)


def effects(*columns):
    delta = np.array(columns, dtype=np.float32).T
    return EditEffects(reference=np.zeros((1, len(columns)), np.float32), delta=delta, batch_size=1)


def test_errors_by_hand():
    error = gradient_error(effects([1, 2, 4], [2, 2, 0]), effects([1, 2, 3], [-2, 2, 0]))
    # Task 1: deviations (-4/3, -1/3, 5/3) and (-1, 0, 1); errors 0 0 1. Task 2: (2/3, 2/3, -4/3), (-2, 2, 0); 4 0 0.
    np.testing.assert_allclose(error.correlation, [3 / np.sqrt(42 / 9 * 2), 0], atol=1e-12)
    np.testing.assert_allclose(error.largest, [1 / 3, 2])
    np.testing.assert_allclose(error.rms, [np.sqrt(1 / 14), np.sqrt(2)])
    assert error.sentence() == (
        "Effects to first order against 3 exact ones, in the worst of 2 tasks: correlation 0.00, root-mean-square "
        "error 141 % of the root-mean-square effect, largest error 200 % of the largest effect."
    )


def test_equal_effects_have_no_error():
    same = effects([0.5, -1, 0.25])
    error = gradient_error(same, same)
    assert (error.correlation, error.largest, error.rms) == (pytest.approx(1), 0, 0)
    assert error.sentence().startswith("Effects to first order against 3 exact ones: correlation 1.00, ")


def test_effects_that_do_not_vary_have_no_correlation_and_no_effect_no_share():
    tenth = [0.1] * 7
    error = gradient_error(effects(tenth, range(7), [0] * 7, tenth), effects(range(7), tenth, [0] * 7, [0] * 7))
    assert error.correlation.tolist() == [0, 0, 0, 0]
    assert error.largest[2:].tolist() == [0, np.inf]
    assert error.rms[2:].tolist() == [0, np.inf]


def test_effects_that_cannot_be_compared_are_refused():
    with pytest.raises(InputError, match=r"exact effects must have shape \(2, 1\); got \(3, 1\)"):
        gradient_error(effects([1, 2]), effects([1, 2, 3]))
    with pytest.raises(InputError, match="at least one variant"):
        gradient_error(effects([]), effects([]))
    with pytest.raises(InputError, match="effects to first order must be finite; 1 of 2 is not"):
        gradient_error(effects([1, np.nan]), effects([1, 2]))


def test_the_error_of_a_network_is_that_of_its_effects():
    codes = random_sequences(4, 20).codes
    module = small_cnn(20)
    error = gradient_error(first_order(module, codes), exact(module, codes))
    assert error.n_variants == 240
    assert (error.correlation > 0.5).all()
    assert (error.rms > 0.01).all()
    straight = gradient_error(first_order(linear(20, 2), codes), exact(linear(20, 2), codes))
    assert (straight.correlation > 0.9999).all()
    assert (straight.largest < 1e-5).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_agrees_with_cpu():
    codes = random_sequences(3, 60).codes
    cpu = first_order(small_cnn(60), codes)
    gpu = first_order(small_cnn(60).cuda(), codes, device="cuda")
    assert (np.abs(gpu.delta - cpu.delta).max(0) / np.abs(cpu.delta).max(0)).max() < 1e-4
