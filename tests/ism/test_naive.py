import numpy as np
import pytest
import torch
from torch import nn

from deepmr.errors import DeepMRError, InputError
from deepmr.ism.naive import default_batch, even_batches, predict_edits, row_bytes
from deepmr.ism.variants import from_dense, single_edits, to_dense
from deepmr.precision import full_precision
from tests.ism.stubs import Linear, linear, make_sequences, random_sequences, small_cnn


def saturate(module, codes, **options):
    options = {"n_tasks": 1, "batch_size": 7, **options}
    return predict_edits(module, codes, single_edits(codes), **options)


def test_effects_of_a_linear_network_are_differences_of_weights():
    weight = torch.arange(8.0).reshape(4, 2, 1) ** 2  # rows A C G T, two positions
    codes = make_sequences("CT").codes
    found = saturate(Linear(weight).eval(), codes)
    w = weight[:, :, 0].numpy()
    assert found.reference[0, 0] == w[1, 0] + w[3, 1]
    expected = [w[b, 0] - w[1, 0] for b in (0, 2, 3)] + [w[b, 1] - w[3, 1] for b in (0, 1, 2)]
    np.testing.assert_array_equal(found.delta[:, 0], expected)


def test_network_sees_every_reference_and_every_edit_once_and_nothing_else():
    module = linear(6)
    codes = random_sequences(5, 6).codes
    found = saturate(module, codes)
    assert len(module.rows) > 1
    seen = torch.cat(module.rows).argmax(1)
    assert len(seen) == 5 * (3 * 6 + 1)
    assert len(torch.unique(torch.cat([torch.arange(len(seen))[:, None] // 10**9, seen], 1), dim=0)) == len(seen)
    differs = (seen[None] != torch.tensor(codes.astype(int))[:, None]).sum(2)  # loci x rows
    assert ((differs == 0).sum(1) == 1).all()  # one reference a locus
    assert len(found.delta) == 5 * 18


def test_batches_are_full_and_span_loci():
    module = linear(6)
    saturate(module, random_sequences(5, 6).codes, batch_size=50)
    assert [len(rows) for rows in module.rows] == [48, 47] or [len(rows) for rows in module.rows] == [47, 48]


def test_masked_positions_are_zero_columns_and_never_edited():
    module = linear(4)
    codes = make_sequences("ANGT", "NNNN").codes
    found = saturate(module, codes)
    rows = torch.cat(module.rows)
    assert len(rows) == 2 + 9
    assert (rows[:, :, 1] == 0).all()
    assert found.reference[1, 0] == 0
    dense = to_dense(found.delta, codes)
    assert dense.shape == (2, 1, 4, 3)
    assert (dense[0, 0, 1] == 0).all()
    assert (dense[1] == 0).all()
    assert (dense[0, 0, [0, 2, 3]] != 0).all()
    np.testing.assert_array_equal(from_dense(dense, codes), found.delta)


def test_the_batch_size_does_not_matter_beyond_rounding():
    codes = random_sequences(3, 40).codes
    module = small_cnn(40)
    one = saturate(module, codes, n_tasks=2, batch_size=363)
    scale = np.abs(one.delta).max(0)
    for batch_size in (1, 7, 64, 10_000):
        other = saturate(module, codes, n_tasks=2, batch_size=batch_size)
        assert (np.abs(other.delta - one.delta) / scale).max() < 1e-4
        assert (other.delta[:, 0] == saturate(module, codes, n_tasks=2, batch_size=batch_size).delta[:, 0]).all()


def test_effects_keep_their_digits():
    codes = random_sequences(2, 60).codes
    module = small_cnn(60)
    single = saturate(module, codes, n_tasks=2, batch_size=64).delta
    exact = saturate(small_cnn(60).double(), codes, n_tasks=2, batch_size=64).delta
    assert single.dtype == exact.dtype == np.float32
    assert (np.abs(single - exact).max(0) / np.abs(exact).max(0)).max() < 1e-4


def test_an_effect_far_below_the_level_survives():
    weight = torch.zeros((4, 3, 1), dtype=torch.float64)
    weight[0, :, 0] = torch.tensor([1e4, 0.0, 0.0])
    weight[2, 1, 0] = 1e-6
    found = saturate(Linear(weight).eval(), make_sequences("AAA").codes)  # in float64, as the network is
    np.testing.assert_allclose(found.delta[4, 0], 1e-6, rtol=1e-4)


def test_only_the_chosen_tasks_are_kept():
    codes = random_sequences(2, 5).codes
    module = linear(5, n_tasks=4)
    every = saturate(module, codes, n_tasks=4)
    some = saturate(module, codes, n_tasks=4, columns=np.array([3, 1]))
    np.testing.assert_array_equal(some.delta, every.delta[:, [3, 1]])
    np.testing.assert_array_equal(some.reference, every.reference[:, [3, 1]])


class FixedWeights(nn.Module):
    """A profile of one strand, whose score keeps the softmax of the unedited sequence."""

    needs_reference = True

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.profile, self.seen = nn.Conv1d(4, 1, 3).double(), []

    def outputs(self, x):
        self.seen.append(len(x))
        return (self.profile(x),)

    def forward(self, x, reference=None):
        (z,) = self.outputs(x)
        (r,) = (z,) if reference is None else reference
        return (torch.softmax(r, 2) * (z - z.mean(2, keepdim=True))).sum(2)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_edits_are_compared_with_their_own_reference(batch_size):
    sequences = random_sequences(4, 6, masked=0.2)
    module, edits = FixedWeights().eval(), single_edits(sequences.codes)
    found = predict_edits(module, sequences.codes, edits, n_tasks=1, batch_size=batch_size)
    assert max(module.seen) <= batch_size

    def profile(codes):
        x = torch.tensor(codes[None, None] == np.arange(4)[None, :, None]).double()
        return module.profile(x).detach().numpy().ravel()

    for k, (locus, offset, base) in enumerate(zip(edits.locus, edits.offset, edits.base, strict=True)):
        edited = sequences.codes[locus].copy()
        edited[offset] = base
        z, new = profile(sequences.codes[locus]), profile(edited)
        weights = np.exp(z) / np.exp(z).sum()
        expected = weights @ (new - new.mean()) - weights @ (z - z.mean())
        np.testing.assert_allclose(found.delta[k, 0], expected, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(found.reference[locus, 0], weights @ (z - z.mean()), rtol=1e-5)


def test_only_networks_that_need_references_are_given_them():
    module = FixedWeights().eval()
    module.needs_reference = False
    codes = random_sequences(2, 6).codes
    found = predict_edits(module, codes, single_edits(codes), n_tasks=1, batch_size=8)
    assert sum(module.seen) == 2 * 19
    module.needs_reference = True
    assert (found.delta != predict_edits(module, codes, single_edits(codes), n_tasks=1, batch_size=8).delta).any()


class Hungry(nn.Module):
    """Runs out of memory above a number of sequences."""

    def __init__(self, most, error):
        super().__init__()
        self.most, self.error, self.tried = most, error, []

    def forward(self, x):
        self.tried.append(len(x))
        if len(x) > self.most:
            raise self.error
        return x.sum((1, 2))[:, None]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried to allocate"),
        MemoryError("Unable to allocate"),
    ],
)
def test_out_of_memory_halves_the_batch(error, caplog):
    codes = random_sequences(2, 10).codes
    module = Hungry(10, error).eval()
    found = saturate(module, codes, batch_size=32)
    assert found.batch_size == 8
    assert module.tried[:2] == [31, 16]  # 62 rows: two even batches, then four
    assert max(module.tried[2:]) <= 8
    assert "out of memory with 32 sequences at once; trying 16" in caplog.text


def test_out_of_memory_with_one_sequence_is_an_error_of_one_line():
    with pytest.raises(DeepMRError, match="out of memory on cpu with one sequence at a time: no room") as caught:
        saturate(
            Hungry(0, torch.OutOfMemoryError("no room: out of memory\nsecond")).eval(), random_sequences(1, 3).codes
        )
    assert "\n" not in str(caught.value)


def test_other_errors_of_a_network_are_not_taken_for_memory():
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        saturate(Hungry(0, RuntimeError("shapes do not fit")).eval(), random_sequences(1, 3).codes)


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        (
            lambda x: x.sum((1, 2)),
            r"must return \(batch, tasks\) = \(\d+, 1\) for a batch of \d+; it returned \(\d+,\)",
        ),
        (lambda x: (x.sum((1, 2))[:, None],), "must return a tensor .* it returned tuple"),
    ],
)
def test_wrong_output_is_refused(forward, said):
    module = nn.Module()
    module.forward = forward
    with pytest.raises(InputError, match=said):
        saturate(module.eval(), random_sequences(1, 3).codes)


@pytest.mark.parametrize(("n", "batch_size"), [(1, 5), (5, 5), (6, 5), (301, 64), (1000, 7)])
def test_batches_are_even_and_cover_every_row_once(n, batch_size):
    batches = list(even_batches(n, batch_size))
    sizes = [b.stop - b.start for b in batches]
    assert [r for b in batches for r in range(b.start, b.stop)] == list(range(n))
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert len(batches) == -(-n // batch_size)


def test_default_batch_follows_the_largest_activation():
    assert row_bytes(small_cnn(104), 104) == 8 * 100 * 4
    wide = nn.Sequential(nn.Conv1d(4, 4096, 1), nn.AdaptiveAvgPool1d(1), nn.Flatten()).eval()
    assert row_bytes(wide, 1000) == 4096 * 1000 * 4
    assert default_batch(wide, 1000) == 1
    assert default_batch(small_cnn(104), 104) == 512
    assert default_batch(small_cnn(104).double(), 104) == 512
    assert not any(layer._forward_hooks for layer in wide.modules())


def test_tf32_is_off_inside_and_as_before_outside():
    before = torch.backends.cudnn.allow_tf32
    with full_precision():
        assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.deterministic
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_agrees_with_cpu():
    codes = random_sequences(3, 60).codes
    cpu = saturate(small_cnn(60), codes, n_tasks=2, batch_size=64)
    gpu = saturate(small_cnn(60).cuda(), codes, n_tasks=2, batch_size=64, device="cuda")
    assert (np.abs(gpu.delta - cpu.delta).max(0) / np.abs(cpu.delta).max(0)).max() < 1e-4
