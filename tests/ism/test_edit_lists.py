"""Lists of edits through windows against the definition: several bases, few loci, uneven counts, short loci, indels."""

import functools
import logging

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from deepmr.ism.cost import Schedule
from deepmr.ism.edit_table import resolve_edits
from deepmr.ism.member import Member
from deepmr.ism.variants import single_edits
from tests.ism.definition import (
    CPU,
    defined_effects,
    engine_of,
    largest_error,
    listed,
    onehot,
    random_codes,
    window_effects,
)
from tests.ism.editing import edited, text_of
from tests.ism.stubs import random_sequences
from tests.ism.zoo import Mean, settle

logging.getLogger("torch").setLevel(logging.ERROR)
QUICK = settings(max_examples=30, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
LENGTH, N_LOCI = 40, 5


def build():
    pooled = nn.Sequential(nn.Conv1d(4, 8, 7, padding=3), nn.GELU(), nn.MaxPool1d(3, 2))
    return nn.Sequential(pooled, nn.Conv1d(8, 6, 3, dilation=2), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 15, 2))


@functools.cache
def trained():
    return settle(build, 3, gain=2)


@functools.cache
def engine(dtype=torch.float64):
    return engine_of(trained(), LENGTH, n_tasks=2, dtype=dtype)


@st.composite
def variants(draw):
    """Return substitutions of one to all bases of a locus; some loci may have none, some many."""
    found = []
    for locus in sorted(draw(st.lists(st.integers(0, N_LOCI - 1), min_size=1, max_size=12))):
        shape = draw(st.sampled_from(["one", "kmer", "scattered", "ends", "all"]))
        start, width = draw(st.integers(0, LENGTH - 8)), draw(st.integers(2, 8))
        offsets = {
            "one": lambda start=start: {start},
            "kmer": lambda start=start, width=width: set(range(start, start + width)),
            "scattered": lambda: draw(st.sets(st.integers(0, LENGTH - 1), min_size=1, max_size=6)),
            "ends": lambda: {0, LENGTH - 1},
            "all": lambda: set(range(LENGTH)),
        }[shape]()
        found.append((locus, {offset: draw(st.integers(0, 3)) for offset in offsets}))
    return found


@given(variants(), st.integers(1, 9), st.integers(1, N_LOCI), st.sampled_from([0.0, 0.3]))
@QUICK
def test_lists_of_substitutions(drawn, width, n_loci, masked):
    """New bases may be the old ones, or stand where the base is masked."""
    codes, edits = random_codes(len(drawn), N_LOCI, LENGTH, masked), listed(*drawn)
    defined = defined_effects(trained(), codes, edits)
    found = window_effects(engine(), codes, edits, width=width, n_loci=n_loci)
    assert np.abs(found - defined).max() < 1e-9 * max(1e-3, np.abs(defined).max())
    single = engine(torch.float32).predict(codes, edits, schedule=Schedule(width=width, n_loci=n_loci, speedup=1.0))
    assert np.abs(single.delta - defined).max() < 1e-5 * max(1e-1, np.abs(defined).max())
    with torch.no_grad():
        reference = trained()(onehot(codes, torch.float32)).numpy()
    np.testing.assert_allclose(single.reference, reference, atol=1e-5)


def test_an_edit_to_the_same_base_has_no_effect():
    codes = random_codes(0, 2, LENGTH)
    same = [(locus, {offset: int(codes[locus, offset]) for offset in (3, 4, 30)}) for locus in (0, 1)]
    assert not window_effects(engine(), codes, listed(*same)).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_edits_at_all(dtype):
    codes = np.full((3, LENGTH), 4, dtype=np.uint8)
    found = engine(dtype).predict(codes, single_edits(codes), schedule=Schedule(width=3, n_loci=2, speedup=1.0))
    assert found.delta.shape == (0, 2)
    assert found.reference.shape == (3, 2)
    assert np.ptp(found.reference, axis=0).max() < 1e-6


def test_many_different_windows_are_not_all_remembered(monkeypatch):
    monkeypatch.setattr("deepmr.ism.network.MOST_WINDOWS", 5)
    codes = random_codes(0, 1, LENGTH)
    edits = listed(*((0, {k: 0, LENGTH - 1 - 2 * k: 1}) for k in range(12)))
    found = window_effects(engine(), codes, edits, width=1)
    assert len(engine().network._spans) <= 5
    assert largest_error(found, defined_effects(trained(), codes, edits)) < 1e-9


def test_progress_counts_every_sequence_once():
    codes, done = random_codes(0, 5, LENGTH, 0.1), []
    edits = single_edits(codes)
    engine().predict(codes, edits, schedule=Schedule(width=3, n_loci=2, speedup=1.0), progress=done.append)
    assert sum(done) == len(codes) + len(edits)


def test_chosen_tasks_are_columns_of_all():
    codes = random_codes(0, 2, LENGTH)
    edits, schedule = single_edits(codes), Schedule(width=3, n_loci=2, speedup=1.0)
    every, one = engine().predict(codes, edits, schedule=schedule), engine_of(trained(), LENGTH, n_tasks=2)
    one.columns, one.keep = np.array([1]), torch.tensor([1])
    found = one.predict(codes, edits, schedule=schedule)
    np.testing.assert_array_equal(found.delta, every.delta[:, 1:])
    np.testing.assert_array_equal(found.reference, every.reference[:, 1:])


SHORT = {
    "length of the receptive field": (9, lambda: nn.Sequential(nn.Conv1d(4, 6, 9), nn.ReLU(), nn.Flatten(), last(6))),
    "one base": (1, lambda: nn.Sequential(nn.Conv1d(4, 6, 1), nn.ReLU(), nn.Flatten(), last(6))),
    "one base, padded": (1, lambda: nn.Sequential(nn.Conv1d(4, 6, 5, padding=2), nn.ELU(), Mean(), last(6))),
    "pooled to one": (
        12,
        lambda: nn.Sequential(nn.Conv1d(4, 6, 1), nn.ReLU(), nn.MaxPool1d(12), nn.Flatten(), last(6)),
    ),
    "pooled to one, adaptively": (
        12,
        lambda: nn.Sequential(nn.Conv1d(4, 6, 3), nn.GELU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), last(6)),
    ),
    "wider than the locus": (3, lambda: nn.Sequential(nn.Conv1d(4, 6, 9, padding=4), nn.ReLU(), Mean(), last(6))),
    "no convolution": (6, lambda: nn.Sequential(nn.Flatten(), last(24))),
}


def last(n):
    return nn.Linear(n, 2)


@pytest.mark.parametrize("name", SHORT)
def test_short_loci(name):
    length, make = SHORT[name]
    network = settle(make, 1, gain=2)
    codes = random_codes(2, 3, length)
    edits = single_edits(codes)
    found = window_effects(engine_of(network, length, n_tasks=2), codes, edits, width=5)
    assert largest_error(found, defined_effects(network, codes, edits)) < 1e-9


def member(kind, strands="forward"):
    found = Member(
        module=trained(), name="m", n_tasks=2, columns=None, device=CPU, batch_size=16, engine=kind, strands=strands
    )
    if kind == "windowed":
        found.windows, found.schedule = engine(torch.float32), Schedule(width=4, n_loci=2, speedup=1.0)
    return found


@pytest.mark.parametrize("kind", ["windowed", "naive"])
def test_substitutions_and_indels_together(kind):
    """Windows leave what shifts to plain passes; both are what editing the text gives."""
    rng = np.random.default_rng(4)
    sequences = random_sequences(N_LOCI, LENGTH, seed=9)
    rows, texts = [], []
    for k in range(60):
        locus, offset = int(rng.integers(N_LOCI)), int(rng.integers(4, LENGTH - 9))
        text = text_of(sequences.codes[locus])
        other = text[offset : offset + int(rng.integers(0, 5))]
        new = "".join(rng.choice(list("ACGT"), rng.integers(0 if other else 1, 5)))
        if new == other:
            continue
        rows.append((f"v{k}", f"l{locus}", offset, other or "-", new or "-"))
        texts.append(edited(text, offset, other, new))
    table = pd.DataFrame(rows, columns=["variant_id", "locus", "offset", "other_allele", "effect_allele"])
    edits, names = resolve_edits(table, sequences)
    assert 10 < edits.shifted.sum() < len(edits) - 5
    found = member(kind).effects(sequences, edits)
    made = dict(zip(table["variant_id"], texts, strict=True))
    codes = np.array([["ACGTN".index(base) for base in made[name]] for name in names], dtype=np.uint8)
    with torch.no_grad():
        exact = settle(build, 3, gain=2).double()
        reference = exact(onehot(sequences.codes)).numpy()
        expected = exact(onehot(codes)).numpy() - reference[edits.locus]
    np.testing.assert_allclose(found.delta, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(found.reference, reference, atol=1e-5)


def test_indels_alone_need_no_window():
    sequences = random_sequences(2, LENGTH)
    table = pd.DataFrame(
        {"variant_id": ["a", "b"], "locus": ["l1", "l1"], "offset": [3, 9], "other_allele": "-", "effect_allele": "AC"}
    )
    edits, _ = resolve_edits(table, sequences)
    both = [member(kind).effects(sequences, edits) for kind in ("windowed", "naive")]
    np.testing.assert_allclose(both[0].delta, both[1].delta, atol=1e-6)
    np.testing.assert_allclose(both[0].reference, both[1].reference, atol=1e-6)


def test_both_strands():
    sequences = random_sequences(3, LENGTH, masked=0.1)
    edits = single_edits(sequences.codes)
    windowed, naive = (member(kind, "both").effects(sequences, edits) for kind in ("windowed", "naive"))
    assert np.abs(windowed.delta - naive.delta).max() < 1e-5 * np.abs(naive.delta).max()
    assert np.abs(naive.delta - member("naive").effects(sequences, edits).delta).max() > 1e-3


class Hungry:
    """Runs out of memory above a number of loci, as the references of a block do."""

    def __init__(self, most, error):
        self.most, self.error, self.tried = most, error, []

    def __call__(self, onehot):
        self.tried.append(len(onehot))
        if len(onehot) > self.most:
            raise self.error
        return type(engine().network).references(engine().network, onehot)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError("Unable to allocate")])
def test_out_of_memory_halves_the_loci(error, monkeypatch, caplog):
    sequences = random_sequences(9, LENGTH)
    edits = single_edits(sequences.codes)
    whole = engine().predict(sequences.codes, edits, schedule=Schedule(width=3, n_loci=9, speedup=1.0))
    hungry = Hungry(2, error)
    monkeypatch.setattr(engine().network, "references", hungry, raising=False)
    m = member("windowed")
    m.windows, m.schedule = engine(), Schedule(width=3, n_loci=9, speedup=1.0)
    found = m.effects(sequences, edits)
    assert hungry.tried == [9, 4, 2, 2, 2, 2, 1]
    assert m.schedule == Schedule(width=3, n_loci=2, speedup=1.0)  # and it stays there
    assert "out of memory with 9 loci at once; trying 4" in caplog.text
    np.testing.assert_allclose(found.delta, whole.delta, atol=1e-6 * np.abs(whole.delta).max())
    hungry.most = 0
    with pytest.raises(Exception, match="out of memory on cpu with the windows of one locus"):
        m.effects(sequences, edits)


def test_other_errors_are_not_taken_for_memory(monkeypatch):
    monkeypatch.setattr(engine().network, "references", Hungry(0, RuntimeError("shapes do not fit")), raising=False)
    codes = random_codes(0, 1, LENGTH)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        engine().predict(codes, single_edits(codes), schedule=Schedule(width=3, n_loci=4, speedup=1.0))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gpu_agrees_with_the_definition(dtype):
    codes = random_codes(0, N_LOCI, LENGTH, 0.1)
    edits = single_edits(codes)
    on_gpu = engine_of(trained(), LENGTH, n_tasks=2, dtype=dtype, device=torch.device("cuda"))
    found = on_gpu.predict(codes, edits, schedule=Schedule(width=4, n_loci=2, speedup=1.0))
    defined = defined_effects(trained(), codes, edits)
    assert np.abs(found.delta - defined).max() < 1e-5 * np.abs(defined).max()
