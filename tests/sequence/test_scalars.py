"""Scalars: the effect from the change of an output is the difference of the definition on whole outputs."""

import itertools
from decimal import Decimal, getcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmr.errors import InputError
from deepmr.sequence.profiles import FixedProfileScore, ProfileScore
from deepmr.sequence.scalars import SCALARS, LogCount, Logit, Probability, Tasks

PROFILES = [ProfileScore, FixedProfileScore]
LOCI, EDITS, STRANDS, POSITIONS = 2, 5, 4, 23


def profiles(seed, size, change, width, loci=LOCI, edits=EDITS):
    rng = torch.Generator().manual_seed(seed)
    z = size * torch.randn((loci, STRANDS, POSITIONS), generator=rng, dtype=torch.float64)
    return z, change * torch.randn((loci, edits, STRANDS, width), generator=rng, dtype=torch.float64)


def by_definition(scalar, z, d, start):
    """Materialise every edited profile and take the difference of two scores."""
    starts = [start] * d.shape[1] if isinstance(start, int) else start.tolist()
    rows = []
    for locus, edit in itertools.product(range(d.shape[0]), range(d.shape[1])):
        edited = z[locus].clone()
        edited[:, starts[edit] : starts[edit] + d.shape[3]] += d[locus, edit]
        both = torch.stack([edited, z[locus]])
        scores = scalar(both, z[locus].expand_as(both))
        rows.append(scores[0] - scores[1])
    return torch.stack(rows).reshape(d.shape[0], d.shape[1], -1)


def test_profile_score_by_hand():
    z = torch.tensor([[[0.0, np.log(3)]]], dtype=torch.float64)  # softmax 1/4, 3/4
    expected = 0.25 * (-np.log(3) / 2) + 0.75 * (np.log(3) / 2)
    assert ProfileScore()(z, z).item() == pytest.approx(expected)
    assert FixedProfileScore()(z, z).item() == pytest.approx(expected)
    flat = torch.zeros_like(z)
    assert FixedProfileScore()(z, flat).item() == pytest.approx(0)  # weights of the reference, centred logits
    assert ProfileScore()(z + 1000, z).item() == pytest.approx(expected)  # the level of logits does not matter


def test_strands_go_together_or_apart():
    z, _ = profiles(0, 1, 1, 1)
    both = ProfileScore()(z, z)
    pairs = ProfileScore(strands_per_task=2)(z, z)
    single = ProfileScore(strands_per_task=1)(z, z)
    assert (both.shape, pairs.shape, single.shape) == ((LOCI, 1), (LOCI, 2), (LOCI, 4))
    torch.testing.assert_close(pairs[:, 1:], ProfileScore()(z[:, 2:], z))
    torch.testing.assert_close(single[:, :1], ProfileScore()(z[:, :1], z))


@pytest.mark.parametrize("kind", PROFILES)
@pytest.mark.parametrize("start", [0, 9, 18, torch.tensor([0, 18, 7, 7, 1])], ids=["left", "inside", "right", "each"])
@pytest.mark.parametrize("strands", [None, 1, 2])
def test_effect_is_the_difference_of_the_definition(kind, start, strands):
    scalar = kind(strands_per_task=strands)
    z, d = profiles(1, 2, 1, 5)
    expected = by_definition(scalar, z, d, start)
    found = scalar.effect(z, d, start)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(scalar.effect(scalar.prepare(z), d, start), found, rtol=0, atol=0)


@pytest.mark.parametrize("kind", PROFILES)
@given(
    seed=st.integers(0, 10**6),
    size=st.floats(-6, 4),
    change=st.floats(-6, 4),
    width=st.integers(0, POSITIONS),
    at=st.floats(0, 1),
    shift=st.floats(-1e4, 1e4),
)
@settings(max_examples=150, deadline=None)
def test_effect_for_logits_and_changes_of_any_size(kind, seed, size, change, width, at, shift):
    scalar = kind(strands_per_task=2)
    z, d = profiles(seed, 10**size, 10**change, width, loci=1, edits=2)
    z = z + shift
    start = round(at * (POSITIONS - width))
    found = scalar.effect(z, d, start)
    expected = by_definition(scalar, z, d, start)
    # What subtracting two scores of float64 logits of this size can resolve.
    resolved = 1e-10 * expected.abs() + 1e-13 * (1 + z.abs().max() + d.abs().max() if width else 1)
    assert torch.isfinite(found).all()
    assert ((found - expected).abs() <= resolved).all()


@pytest.mark.parametrize("kind", PROFILES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_extreme_logits(kind, dtype):
    """All mass in one position, which the edit removes, makes or moves by more than float32 can exponentiate."""
    scalar = kind()
    z = torch.zeros((1, 1, POSITIONS), dtype=torch.float64)
    z[0, 0, 11] = 5000
    d = torch.tensor([[-1e4], [-5000], [-4999], [1e4], [-1e-3], [1e-3]], dtype=torch.float64)[None, :, None, :]
    for start in (11, 0, 22):
        expected = by_definition(scalar, z, d, start)
        found = scalar.effect(z.to(dtype), d.to(dtype), start)
        # float32 resolves logits of 5000 to 5e-4, hence weights to that relative error.
        torch.testing.assert_close(found.double(), expected, rtol=5e-4 if dtype == torch.float32 else 1e-10, atol=1e-12)


def exact_effect(z, d, start, *, fixed):
    """Subtract two scores with 80 digits."""
    getcontext().prec = 80

    def score(logits, weights_of):
        weights = [w.exp() for w in weights_of]
        mean = sum(logits) / len(logits)
        return sum(w * (x - mean) for w, x in zip(weights, logits, strict=True)) / sum(weights)

    old = [Decimal(v) for v in z.flatten().tolist()]
    edited = [list(row) for row in np.array(old, dtype=object).reshape(z.shape)]
    for strand, position in itertools.product(range(d.shape[0]), range(d.shape[1])):
        edited[strand][start + position] += Decimal(d[strand, position].item())
    new = [v for row in edited for v in row]
    return float(score(new, old if fixed else new) - score(old, old))


@pytest.mark.parametrize("kind", PROFILES)
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("change", [1e-30, 1e-12, 1e-6])
def test_tiny_effects_keep_their_digits(kind, dtype, rtol, change):
    scalar = kind()
    z, d = profiles(3, 3, change, 4, loci=1, edits=3)
    z, d = z.to(dtype), d.to(dtype)
    found = scalar.effect(z, d, 6)[0, :, 0].double().numpy()
    expected = [exact_effect(z[0], edit, 6, fixed=kind is FixedProfileScore) for edit in d[0]]
    np.testing.assert_allclose(found, expected, rtol=rtol)


def test_a_shift_of_all_logits_is_no_effect():
    z, _ = profiles(4, 3, 1, 1)
    d = torch.full((LOCI, 1, STRANDS, POSITIONS), 2.5, dtype=torch.float64)
    for kind in PROFILES:
        assert kind().effect(z, d, 0).abs().max() < 1e-14


def vector(kind, value):
    return kind()(value, value)


def test_tasks_and_log_counts_are_the_output():
    value = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert vector(Tasks, value).tolist() == vector(LogCount, value).tolist() == value.tolist()
    assert Tasks(columns=[2, 0])(value, value).tolist() == [[3, 1], [6, 4]]
    assert LogCount(columns=[1]).effect(value, value[:, None], 7).tolist() == [[[2]], [[5]]]
    assert (Tasks.scale, LogCount.scale, Logit.scale, Probability.scale) == ("identity", "log", "logit", "identity")


@given(p=st.floats(0.01, 0.99), q=st.floats(0.01, 0.99))
@settings(deadline=None)
def test_logit_effect(p, q):
    ends = torch.tensor([[p], [q]], dtype=torch.float64)
    expected = (vector(Logit, ends)[1] - vector(Logit, ends)[0]).item()
    assert Logit().effect(ends[:1], (ends[1:] - ends[:1])[:, None]).item() == pytest.approx(expected, abs=1e-12)


@given(z=st.floats(-30, 30), d=st.floats(-30, 30))
@settings(deadline=None)
def test_probability_effect(z, d):
    ends = torch.tensor([[z], [z + d]], dtype=torch.float64)
    expected = (vector(Probability, ends)[1] - vector(Probability, ends)[0]).item()
    found = Probability().effect(ends[:1], torch.tensor([[[d]]], dtype=torch.float64)).item()
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-15)


def test_vector_effects_where_subtraction_fails():
    z, d = torch.tensor([[100.0]], dtype=torch.float64), torch.tensor([[[1e-3]]], dtype=torch.float64)
    expected = np.exp(-100) * -np.expm1(-1e-3)  # both probabilities are 1 in float64
    assert Probability().effect(z, d).item() == pytest.approx(expected, rel=1e-12)
    assert Probability().effect(-z, -d).item() == pytest.approx(-expected, rel=1e-12)
    for far in (1e4, -1e4):
        assert Probability().effect(torch.zeros((1, 1)), torch.full((1, 1, 1), far)).item() == np.sign(far) / 2
    p, change = torch.tensor([[1e-8]]), torch.tensor([[[1e-18]]])
    assert Logit().effect(p, change).item() == pytest.approx(1e-10, rel=1e-6)


def test_names():
    assert set(SCALARS) == {"tasks", "log_count", "profile_score", "fixed_profile_score", "logit", "probability"}
    for kind in SCALARS.values():
        scalar = kind(output=3)
        assert scalar.output == 3
        assert scalar.relative is (kind is FixedProfileScore)
        assert "output=3" in repr(scalar)
        assert not list(scalar.parameters())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Tasks(columns=[]), r"columns must be a list of numbers from 0; got \[\]"),
        (lambda: Logit(columns=[-1]), r"columns must be a list of numbers from 0; got \[-1\]"),
        (lambda: ProfileScore(strands_per_task=0), "strands_per_task must be a number from 1; got 0"),
        (lambda: FixedProfileScore(strands_per_task=True), "strands_per_task must be a number from 1; got True"),
        (
            lambda: vector(ProfileScore, torch.zeros(2, 3)),
            r"reads an output \(batch, strands, positions\); got \(2, 3\)",
        ),
        (lambda: ProfileScore(0, 2)(torch.zeros(1, 3, 4), torch.zeros(1, 3, 4)), "must divide .* strands, 3; got 2"),
        (lambda: vector(LogCount, torch.zeros(2)), r"LogCount reads an output \(batch, n\); got shape \(2,\)"),
        (lambda: Tasks(1, [2])(torch.zeros(1, 2), torch.zeros(1, 2)), "there is no column 2: output 1 has 2"),
    ],
)
def test_what_cannot_be_measured(make, said):
    with pytest.raises(InputError, match=said):
        make()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", PROFILES)
def test_gpu_agrees_with_cpu(kind):
    z, d = (values.float() for values in profiles(5, 3, 1, 5))
    starts = torch.tensor([0, 18, 7, 7, 1])
    found = kind().effect(z.cuda(), d.cuda(), starts.cuda()).cpu()
    torch.testing.assert_close(found, kind().effect(z, d, starts), rtol=1e-4, atol=1e-5)
