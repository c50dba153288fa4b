"""Engines through the command: what ran is in the summary and the file, and the numbers are the same by each."""

import contextlib
import functools
import json
import logging

import h5py
import numpy as np
import pytest
from torch import nn

from deepmr.commands.info import info
from deepmr.commands.ism import ism
from deepmr.errors import InputError
from deepmr.io.models import write_ensemble
from deepmr.ism.member import Member
from deepmr.sequence.ensemble import MemberInfo
from deepmr.sequence.models import PaperCNN
from deepmr.types import Task
from tests.ism.zoo import settle

logging.getLogger("torch").setLevel(logging.ERROR)
LENGTH, N_LOCI = 40, 5
ARRAYS = ("effect", "reference", "sequence", "mask")
ARGUMENTS = {"filters": 6, "hidden": 8}
DROPPING = """
from torch import nn


class Dropping(nn.Module):
    def __init__(self, n_tasks, length):
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(4, 6, 5, padding=2), nn.ReLU(), nn.Dropout(0.3))
        self.rest = nn.Sequential(nn.Conv1d(6, 6, 3, padding=1), nn.ReLU(), nn.Dropout(0.3), nn.Flatten())
        self.output = nn.Linear(6 * length, n_tasks)

    def forward(self, x):
        return self.output(self.rest(self.first(x)))
"""


def write(folder, modules, architecture="paper_cnn", arguments=ARGUMENTS, **options):
    write_ensemble(
        folder,
        modules,
        architecture=architecture,
        arguments=arguments,
        length=LENGTH,
        tasks=[Task(name="A"), Task(name="B")],
        members=[MemberInfo(name=f"m{k}", seed=k) for k in range(len(modules))],
        **options,
    )


def paper_cnn(seed):
    """Make a network whose effects are well above the rounding of its output."""
    return settle(lambda: PaperCNN(2, LENGTH, **ARGUMENTS), seed, gain=2)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write(folder / "ensemble", [paper_cnn(seed) for seed in range(2)])
    rng = np.random.default_rng(0)
    rows = ["".join(rng.choice(list("ACGT"), LENGTH)) for _ in range(N_LOCI)]
    rows[2] = rows[2][:5] + "NN" + rows[2][7:]
    (folder / "peaks.fa").write_text("".join(f">p{i}\n{row}\n" for i, row in enumerate(rows)))
    return folder


@pytest.fixture
def options(inputs, tmp_path):
    names = {"model": inputs / "ensemble", "fasta": inputs / "peaks.fa", "out": tmp_path / "effects.h5"}
    return names | {"device": "cpu", "block_size": 2}


def run(inputs, out, **options):
    base = {"model": inputs / "ensemble", "fasta": inputs / "peaks.fa", "device": "cpu", "block_size": 2}
    return ism(**base | {"out": out} | options)


@pytest.fixture(scope="module")
def done(inputs, tmp_path_factory):
    """Return (summary, file) of an engine, each run once."""
    folder = tmp_path_factory.mktemp("done")

    @functools.cache
    def run_once(engine, strands):
        out = folder / f"{engine}_{strands}.h5"
        return run(inputs, out, engine=engine, strands=strands), out

    return lambda engine, strands="forward": run_once(engine, strands)


def arrays(path):
    with h5py.File(path, "r") as file:
        return {name: file[name][:] for name in ARRAYS}


def attributes(path):
    with h5py.File(path, "r") as file:
        return dict(file.attrs)


def layout(path):
    """Return what a file has in it, without the numbers."""
    found = {}
    with h5py.File(path, "r") as file:
        file.visititems(
            lambda name, item: found.update(
                {name: (getattr(item, "shape", None), str(getattr(item, "dtype", "")), sorted(item.attrs))}
            )
        )
        return found, set(file.attrs)


def assert_same(path, other):
    for name, values in arrays(path).items():
        assert values.tobytes() == arrays(other)[name].tobytes(), name


def assert_close(path, other, most=1e-5):
    one, two = arrays(path), arrays(other)
    assert np.abs(one["effect"] - two["effect"]).max() < most * np.abs(two["effect"]).max()
    np.testing.assert_allclose(one["reference"], two["reference"], atol=1e-5)
    for name in ("sequence", "mask"):
        np.testing.assert_array_equal(one[name], two[name])


@pytest.mark.parametrize("strands", ["forward", "both"])
def test_windows_and_plain_passes_give_the_same_file(done, strands):
    (windowed, file), (naive, other) = done("windowed", strands), done("naive", strands)
    assert_close(file, other)
    assert layout(file) == layout(other)
    assert (windowed["engine"], naive["engine"]) == ("windowed", "naive")
    assert windowed["variants"] == naive["variants"]
    assert windowed["passes"] == naive["passes"]
    assert (windowed["passes"] == 2 * 2 * (windowed["variants"] + N_LOCI)) == (strands == "both")


def test_summary_and_file_say_what_ran(done):
    summary, out = done("windowed")
    assert summary["engine_reason"] == "as asked for"
    assert summary["operations_at_full_length"] == []
    assert summary["speedup_predicted"] > 1
    assert summary["speedup_measured"] > 0
    assert summary["check_error"] < 1e-5
    assert summary["check_error_naive"] < 1e-5
    attrs = attributes(out)
    assert attrs["engine"] == "windowed"
    assert json.loads(attrs["options"])["engine"] == "windowed"
    report = json.loads(attrs["engine_report"])
    assert report == {name: summary[name] for name in report}
    expected = {"engine", "engine_reason", "operations_at_full_length", "speedup_predicted", "speedup_measured"}
    assert report.keys() == expected | {"check_error", "check_error_naive"}
    assert info(out)["engine"] == "windowed"
    naive = json.loads(attributes(done("naive")[1])["engine_report"])
    assert naive == {"engine": "naive", "engine_reason": "plain passes, as asked for"}


def test_both_strands_are_another_run(done, inputs):
    _, out = done("windowed")
    with pytest.raises(InputError, match=r"another run \(strands differ\)"):
        run(inputs, out, engine="windowed", strands="both")
    with pytest.raises(InputError, match=r"another run \(engine differ\)"):
        run(inputs, out, engine="naive")


def test_auto_leaves_a_small_job_to_plain_passes(options, done):
    summary = ism(**options)
    assert summary["engine"] == "naive"
    assert "take less time than tracing would" in str(summary["engine_reason"])
    assert_same(options["out"], done("naive")[1])


def test_auto_takes_windows_for_a_large_one(options, done, monkeypatch):
    monkeypatch.setattr("deepmr.ism.choice.SMALL_JOB", 0)
    summary = ism(**options)
    assert summary["engine"] == "windowed"
    assert summary["engine_reason"] == "it saves work and agrees with double precision"
    assert_same(options["out"], done("windowed")[1])
    assert "already complete" in str(ism(**options)["status"])


def test_gradient_says_how_far_off_it_is(options, done, caplog):
    with caplog.at_level(logging.INFO, "deepmr"):
        summary = ism(**options, engine="gradient")
    assert "Effects to first order against" in str(summary["gradient_error"])
    assert f"engine gradient: {summary['gradient_error']}" in caplog.text
    report = json.loads(attributes(options["out"])["engine_report"])
    assert report["gradient_error"] == summary["gradient_error"]
    found, exact = arrays(options["out"]), arrays(done("naive")[1])
    np.testing.assert_allclose(found["reference"], exact["reference"], atol=1e-5)
    correlation = np.corrcoef(found["effect"].ravel(), exact["effect"].ravel())[0, 1]
    assert 0.3 < correlation < 0.9999


@pytest.mark.parametrize("engine", ["windowed", "naive", "auto", "gradient"])
def test_dry_run_says_the_engine(options, engine):
    summary = ism(**options, engine=engine, dry_run=True)
    assert summary["engine"] == ("naive" if engine == "auto" else engine)
    assert summary["engine_reason"]
    assert ("speedup_predicted" in summary) == (engine == "windowed")
    assert "speedup_measured" not in summary
    assert list(options["out"].parent.iterdir()) == []


@contextlib.contextmanager
def broken_after(units):
    """Break in the middle of a unit after so many."""
    done = []
    original = Member.effects

    def effects(self, *args, **kwargs):
        if len(done) == units:
            raise KeyboardInterrupt
        done.append(self.engine)
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Member, "effects", effects)
        yield done


@pytest.mark.parametrize("units", [1, 4])
def test_a_broken_run_of_windows_continues_bit_by_bit(options, done, units):
    with broken_after(units), pytest.raises(KeyboardInterrupt):
        ism(**options, engine="windowed")
    with broken_after(10**9) as ran:
        ism(**options, engine="windowed")
    assert ran == ["windowed"] * (6 - units)
    assert_same(options["out"], done("windowed")[1])


@pytest.mark.parametrize(("begun", "work"), [("windowed", 10**30), ("naive", 0)])
def test_auto_continues_with_the_engine_of_the_shards(options, done, monkeypatch, begun, work):
    """Even where it would now choose the other."""
    with broken_after(2), pytest.raises(KeyboardInterrupt):
        ism(**options, engine=begun)
    monkeypatch.setattr("deepmr.ism.choice.SMALL_JOB", work)
    assert ism(**options, dry_run=True)["units_left"] == 4
    with broken_after(10**9) as ran:
        summary = ism(**options)
    assert ran == [begun] * 4
    assert summary["engine"] == begun
    assert_same(options["out"], done(begun)[1])


def test_shards_of_another_engine_are_left_alone(options):
    with broken_after(2), pytest.raises(KeyboardInterrupt):
        ism(**options, engine="windowed")
    with pytest.raises(InputError, match=r"shards of another run \(engine differ\)"):
        ism(**options, engine="naive")


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_windows_do_not_depend_on_the_batch(options, done, batch_size):
    ism(**options, engine="windowed", batch_size=batch_size)
    assert_same(options["out"], done("windowed")[1])


@pytest.mark.parametrize("block_size", [1, 3, N_LOCI])
def test_blocks_change_no_more_than_rounding(options, done, block_size):
    ism(**options | {"block_size": block_size}, engine="windowed")
    assert_close(options["out"], done("windowed")[1], most=1e-6)


def test_parts_and_chosen_tasks_by_windows(options, done):
    chosen = options | {"engine": "windowed", "task": ["B"]}
    ism(**chosen, shard="1/2")
    ism(**chosen, shard="2/2")
    found, whole = arrays(options["out"])["effect"], arrays(done("windowed")[1])["effect"]
    np.testing.assert_array_equal(found[:, :, 0], whole[:, :, 1])


def test_double_precision(options, done):
    summary = ism(**options, engine="windowed", precision="double")
    assert summary["check_error"] < 1e-7
    assert_close(options["out"], done("naive")[1])


def test_a_scan_by_windows(options, tmp_path):
    naive = tmp_path / "naive.h5"
    for out, engine in ((options["out"], "windowed"), (naive, "naive")):
        ism(**options | {"out": out}, engine=engine, scan="substitute:3:random", within=["5:20"])
    with h5py.File(options["out"]) as one, h5py.File(naive) as other:
        a, b = one["effect"][:], other["effect"][:]
        assert np.abs(a - b).max() < 1e-5 * np.abs(b).max()


def test_dropout_masks_go_through_windows(inputs, tmp_path):
    code = tmp_path / "dropping.py"
    code.write_text(DROPPING)
    scope: dict[str, type[nn.Module]] = {}
    exec(DROPPING, scope)
    write(
        tmp_path / "dropping",
        [settle(lambda: scope["Dropping"](2, LENGTH), 0, gain=2)],
        "dropping.py:Dropping",
        {},
        code=code,
    )
    out = {engine: tmp_path / f"{engine}.h5" for engine in ("windowed", "naive")}
    for engine, path in out.items():
        summary = run(inputs, path, model=tmp_path / "dropping", engine=engine, mc_dropout=3, seed=5, trust_code=True)
        assert summary["members"] == 3
        assert summary["engine"] == engine
    assert_close(out["windowed"], out["naive"])
    effect = arrays(out["windowed"])["effect"]  # loci, members, tasks, ...
    assert np.abs(effect[:, 0] - effect[:, 1]).max() > 1e-2 * np.abs(effect).max()
