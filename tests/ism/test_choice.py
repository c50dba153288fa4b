"""The choice of an engine: every way it can go, and what is said of it."""

import functools
import logging

import numpy as np
import pytest
import torch
from torch import nn

from deepmr.errors import InputError
from deepmr.ism import engine as engines
from deepmr.ism import rows
from deepmr.ism.choice import EngineReport, prepare_members
from deepmr.ism.mutate import mutate
from deepmr.ism.selfcheck import TOLERANCE, Check, check_engine, edits_to_check
from deepmr.ism.variants import single_edits
from tests.ism.definition import defined_effects, engine_of
from tests.ism.stubs import Stub, random_sequences
from tests.ism.zoo import Mean, settle

logging.getLogger("torch").setLevel(logging.ERROR)
LENGTH = 60
SEQUENCES = random_sequences(3, LENGTH, seed=2, masked=0.05)
N_VARIANTS = int(3 * SEQUENCES.known.sum())


class Scaled(nn.Module):
    """A network with a number of its own that is no weight: tracing bakes it in."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor
        self.body = nn.Sequential(nn.Conv1d(4, 8, 5, padding=2), nn.GELU(), nn.Conv1d(8, 8, 3, padding=1), nn.ReLU())
        self.end = nn.Sequential(Mean(), nn.Linear(8, 2))

    def forward(self, x):
        return self.end(torch.tanh(self.factor * self.body(x)))


class Mixing(nn.Module):
    """Every position is normalised by all others at once."""

    def __init__(self):
        super().__init__()
        self.norm, self.conv = nn.InstanceNorm1d(4, affine=True), nn.Conv1d(4, 8, 3, padding=1)
        self.end = nn.Linear(8, 2)

    def forward(self, x):
        return self.end(self.conv(self.norm(x)).tanh().mean(2))


def other():
    return nn.Sequential(nn.Conv1d(4, 6, 7), nn.ReLU(), nn.MaxPool1d(3), nn.Flatten(), nn.Linear(6 * 18, 2))


@functools.cache
def scaled(seed=0, factor=1.0):
    return settle(lambda: Scaled(factor), seed, gain=2)


@pytest.fixture
def large(monkeypatch):
    """No job is too small."""
    monkeypatch.setattr("deepmr.ism.choice.SMALL_JOB", 0)


@pytest.fixture
def traces(monkeypatch):
    """Count the networks that are traced."""
    counted = []
    original = engines.capture

    def capture(module, *args, **kwargs):
        counted.append(type(module).__name__)
        return original(module, *args, **kwargs)

    monkeypatch.setattr(engines, "capture", capture)
    return counted


def choose(*modules, engine="auto", **options):
    return prepare_members(Stub(modules, n_tasks=2), SEQUENCES, n_variants=N_VARIANTS, engine=engine, **options)


def assert_right(members, *modules):
    """Compare every member's effects with the definition."""
    edits = single_edits(SEQUENCES.codes)
    for member, module in zip(members, modules, strict=True):
        defined = defined_effects(module, SEQUENCES.codes, edits)
        found = member.effects(SEQUENCES, edits).delta
        assert np.abs(found - defined).max() < 2e-5 * np.abs(defined).max()


def test_a_small_job_is_not_worth_tracing(caplog, traces):
    with caplog.at_level(logging.INFO, "deepmr"):
        members, report = choose(scaled())
    assert (report.engine, members[0].engine, traces) == ("naive", "naive", [])
    assert report.reason == f"{N_VARIANTS} plain passes take less time than tracing would"
    assert report.sentence() == f"engine naive: {report.reason}"
    assert report.sentence() in caplog.text
    assert report.to_dict() == {"engine": "naive", "engine_reason": report.reason}


def test_as_asked_for(traces):
    members, report = choose(scaled(), engine="naive")
    assert (report.engine, report.reason, traces) == ("naive", "plain passes, as asked for", [])
    members, report = choose(scaled(), engine="windowed")  # though the job is small
    assert (report.engine, report.reason, len(traces)) == ("windowed", "as asked for", 1)
    assert_right(members, scaled())


def test_members_of_one_architecture_share_a_trace(large, traces, caplog):
    modules = [scaled(seed) for seed in range(3)]
    with caplog.at_level(logging.INFO, "deepmr"):
        members, report = choose(*modules)
    assert len(traces) == 1
    assert [member.engine for member in members] == ["windowed"] * 3
    assert report.engine == "windowed"
    assert report.reason == "it saves work and agrees with double precision"
    assert report.at_full_length == ()
    assert report.predicted_speedup > 2
    assert 0 < report.check.error < 1e-5
    assert "no operation left out; largest error on the edits checked" in caplog.text
    said = report.to_dict()
    assert said["operations_at_full_length"] == []
    assert said["speedup_predicted"] == pytest.approx(report.predicted_speedup, abs=0.01)
    assert said["check_error"] == pytest.approx(report.check.error, rel=0.1)
    assert_right(members, *modules)


def test_a_number_that_the_trace_baked_in_is_noticed(large, traces):
    modules = [scaled(0, 1.0), scaled(1, 3.0), scaled(2, 1.0)]
    members, report = choose(*modules)
    assert len(traces) == 2  # a trace of its own for the one that differs
    assert report.engine == "windowed"
    assert report.check.error < 1e-5
    assert_right(members, *modules)


def test_members_of_two_architectures(large, traces):
    modules = [scaled(), settle(other, 1, gain=2), scaled(1), settle(other, 2, gain=2)]
    members, report = choose(*modules)
    assert report.engine == "windowed"
    assert traces[:2] == ["Scaled", "Sequential"]
    assert_right(members, *modules)


def test_what_saves_too_little_is_left_unless_one_insists(large, caplog):
    mixing = settle(Mixing, 0, gain=2)
    _, report = choose(mixing)
    assert report.engine == "naive"
    assert "windows would save too little, " in report.reason
    assert "times the multiplications" in report.reason
    with caplog.at_level(logging.WARNING, "deepmr"):
        members, report = choose(mixing, engine="windowed")
    assert report.at_full_length[0] == "instance_norm"
    assert "operations at full length (instance_norm, " in caplog.text
    assert_right(members, mixing)


def doctor(monkeypatch, factor):
    """Make windows wrong: the weights of every convolution by a factor."""
    original = rows.make_taps
    monkeypatch.setattr(rows, "make_taps", lambda weight, **options: original(weight * factor, **options))


def test_wrong_windows_are_not_used(large, monkeypatch, caplog):
    doctor(monkeypatch, 1.001)
    with caplog.at_level(logging.INFO, "deepmr"):
        members, report = choose(scaled())
    assert report.engine == "naive"
    assert "the windows of member 0 are off by " in report.reason
    error = float(report.reason.split("off by ")[1].split()[0])
    assert 1e-4 < error < 1e-2
    assert f"at most {TOLERANCE:.0e} is allowed" in report.reason
    assert report.reason in caplog.text
    assert_right(members, scaled())
    with pytest.raises(
        InputError, match="engine windowed cannot be used: member 0: the windows of member 0 are off by"
    ):
        choose(scaled(), engine="windowed")


def test_windows_that_break_are_not_used(large, monkeypatch):
    def broken(*_args, **_options):
        raise RuntimeError("sizes do not match\nat line 3")

    monkeypatch.setattr("deepmr.ism.rows.convolve", broken)
    members, report = choose(scaled())
    assert report.engine == "naive"
    assert report.reason == "plain passes, because windows of member 0 fail (RuntimeError: sizes do not match)"
    assert_right(members, scaled())


def test_double_precision(large):
    members, report = choose(scaled(), precision="double")
    assert report.engine == "windowed"
    assert report.check.error < 1e-7  # of effects rounded to single precision
    assert members[0].windows.dtype == torch.float64
    assert next(scaled().parameters()).dtype == torch.float32
    assert_right(members, scaled())


def test_both_strands_agree_with_plain_passes(large):
    stub = Stub([scaled(), scaled(1)], n_tasks=2)
    windowed, naive = (mutate(stub, SEQUENCES, engine=engine, strands="both") for engine in ("auto", "naive"))
    assert np.abs(windowed.delta - naive.delta).max() < 1e-5 * np.abs(naive.delta).max()
    one = mutate(stub, SEQUENCES)
    assert np.abs(one.delta - naive.delta).max() > 1e-2 * np.abs(naive.delta).max()


def test_gradient_says_how_far_off_it_is(caplog):
    with caplog.at_level(logging.INFO, "deepmr"):
        members, report = choose(scaled(), scaled(1), engine="gradient")
    assert report.engine == "gradient"
    sentence = report.gradient.sentence()
    assert "Effects to first order against" in sentence
    assert f"engine gradient: {sentence}" in caplog.text
    assert report.to_dict()["gradient_error"] == sentence
    edits = single_edits(SEQUENCES.codes)
    errors = [
        np.abs(member.effects(SEQUENCES, edits).delta - defined_effects(module, SEQUENCES.codes, edits)).max()
        for member, module in zip(members, (scaled(), scaled(1)), strict=True)
    ]
    assert min(errors) > 1e-3


@pytest.mark.parametrize("engine", ["auto", "windowed", "naive", "gradient"])
def test_a_network_in_training_mode_is_refused(engine):
    with pytest.raises(InputError, match="member 0 is in training mode: its output depends on batch mates"):
        choose(settle(Scaled, 0).train(), engine=engine)


@pytest.mark.parametrize("engine", ["auto", "windowed", "naive"])
def test_nan_is_refused_whatever_the_engine(large, engine):
    broken = settle(Scaled, 0)
    broken.end[1].bias[0] = torch.nan
    with pytest.raises(InputError, match="member 0 returns NaN or infinity for 3 of 3 loci, first 'l0'"):
        mutate(Stub([broken], n_tasks=2), SEQUENCES, engine=engine)


def test_nan_in_a_first_layer_is_refused(large):
    broken = settle(Scaled, 0)
    broken.body[0].weight[0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="returns NaN"):
        mutate(Stub([broken], n_tasks=2), SEQUENCES)


@pytest.mark.parametrize(("engine", "strands", "said"), [("auto", "both", "strands"), ("gradient", "forward", "grad")])
def test_indels_have_no_meaning_for_some(engine, strands, said):
    with pytest.raises(InputError, match=f"{said}.* needs substitutions; there are 4 deletions and insertions"):
        choose(scaled(), engine=engine, strands=strands, n_shifted=4)


def test_wrong_shape_is_the_same_error_by_either_engine(large):
    for engine in ("auto", "naive"):
        with pytest.raises(InputError, match=r"must return \(batch, tasks\)"):
            mutate(Stub([scaled()], n_tasks=3), SEQUENCES, engine=engine)


def test_a_network_that_sees_nothing(large):
    """Every effect is 0, and so is every error."""
    blind = settle(Scaled, 0)
    blind.body[0].weight.zero_()
    members, report = choose(blind)
    assert report.check.error == 0
    assert not members[0].effects(SEQUENCES, single_edits(SEQUENCES.codes)).delta.any()


def test_the_same_job_chooses_the_same(large):
    first, second = (choose(scaled(), scaled(1))[0] for _ in range(2))
    assert [m.schedule for m in first] == [m.schedule for m in second]


def test_edits_to_check_reach_both_edges_of_what_is_known():
    codes = SEQUENCES.codes[:1].copy()
    codes[0, :3] = codes[0, -2:] = 4
    edits = edits_to_check(codes)
    known = np.flatnonzero(codes[0] != 4)
    assert (edits.offset[0], edits.offset[-1], len(edits)) == (known[0], known[-1], 15)
    assert len(edits_to_check(np.full((1, 9), 4, dtype=np.uint8))) == 0
    single = np.full((1, 9), 4, dtype=np.uint8)
    single[0, 5] = 2
    assert edits_to_check(single).offset.tolist() == [5, 5, 5]


def test_check_by_the_worst_task():
    engine = engine_of(scaled(), LENGTH, n_tasks=2, dtype=torch.float32)
    codes = SEQUENCES.codes[:1]
    right = check_engine(engine, scaled(), codes, batch_size=8)
    assert right.passed
    assert right.plain_seconds > 0
    wrong = settle(Scaled, 0, gain=2)
    wrong.load_state_dict(scaled().state_dict())
    wrong.end[1].weight[1] *= 1.01  # the first task agrees
    check = check_engine(engine, wrong, codes, batch_size=8)
    assert not check.passed
    assert check.error == pytest.approx(0.01 / 1.01, rel=1e-2)
    assert check.plain_error < 1e-4
    assert Check(error=TOLERANCE, plain_error=1.0, plain_seconds=1.0).passed
    assert not Check(error=np.nan, plain_error=0.0, plain_seconds=1.0).passed


def test_the_sentence_names_each_operation_once():
    check = Check(error=1e-6, plain_error=2e-6, plain_seconds=1.0)
    names = ("pad", "conv1d", "pad")
    report = EngineReport(engine="windowed", reason="", at_full_length=names, predicted_speedup=12.34, check=check)
    assert report.sentence() == (
        "engine windowed: 12.3 times fewer multiplications than plain passes, 3 operations at full length (pad, "
        "conv1d); largest error on the edits checked 1.0e-06 of the largest effect (plain passes 2.0e-06)"
    )
