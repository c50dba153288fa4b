"""The command on a small ensemble and FASTA, with everything that can go wrong on the way."""

import json
import logging
import os
import shlex
import shutil
import signal
import threading
import time

import h5py
import numpy as np
import pytest
import torch

from deepmr.cli import build_app
from deepmr.commands.info import info
from deepmr.commands.ism import ism
from deepmr.errors import DeepMRError, IncompleteError, InputError
from deepmr.io.effects import open_effects
from deepmr.io.models import read_ensemble, write_ensemble
from deepmr.ism.member import Member
from deepmr.ism.mutate import mutate
from deepmr.sequence.ensemble import MemberInfo
from deepmr.sequence.models import PaperCNN
from deepmr.types import Task

LENGTH, N_LOCI = 40, 11
ARRAYS = ("effect", "reference", "sequence", "mask")


def text_of(seed, n=N_LOCI, length=LENGTH):
    rng = np.random.default_rng(seed)
    rows = ["".join(rng.choice(list("ACGT"), length)) for _ in range(n)]
    rows[2] = rows[2][:5] + "NR" + rows[2][7:].lower()
    return "".join(f">p{i}::chr2:{1000 * i}-{1000 * i + length}\n{row}\n" for i, row in enumerate(rows))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    modules = []
    for seed in range(3):
        torch.manual_seed(seed)
        modules.append(PaperCNN(2, LENGTH, filters=6, hidden=8).eval())
    members = [MemberInfo(name=f"m{k}", seed=k, held_out=("chr1",)) for k in range(3)]
    tasks = [Task(name="A"), Task(name="B", scale="logit")]
    options = {"architecture": "paper_cnn", "arguments": {"filters": 6, "hidden": 8}, "length": LENGTH, "tasks": tasks}
    write_ensemble(folder / "ensemble", modules, members=members, **options)
    write_ensemble(folder / "single", modules[:1], members=members[:1], **options)
    (folder / "peaks.fa").write_text(text_of(0))
    return folder


@pytest.fixture
def options(inputs, tmp_path):
    return {
        "model": inputs / "ensemble",
        "fasta": inputs / "peaks.fa",
        "out": tmp_path / "effects.h5",
        "device": "cpu",
        "block_size": 4,
    }


def arrays(path):
    with h5py.File(path, "r") as file:
        return {name: file[name][:] for name in ARRAYS}


def assert_same(path, other):
    for name, values in arrays(path).items():
        np.testing.assert_array_equal(values, arrays(other)[name], err_msg=name)


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "effects.h5"
    ism(model=inputs / "ensemble", fasta=inputs / "peaks.fa", out=out, device="cpu", block_size=4)
    return out


def test_run_from_files_to_file(options, inputs):
    summary = ism(**options)
    n_variants = 3 * (N_LOCI * LENGTH - 2)
    assert summary["loci"] == N_LOCI
    assert summary["masked_positions"] == 2
    assert summary["variants"] == n_variants
    assert summary["passes"] == 3 * (n_variants + N_LOCI)
    assert summary["engine"] == "naive"
    assert sorted(p.name for p in options["out"].parent.iterdir()) == ["effects.h5"]
    with open_effects(options["out"]) as file:
        expected = mutate(read_ensemble(inputs / "ensemble", device="cpu"), file.sequences)
        block = next(file.blocks(100))
        np.testing.assert_allclose(block.delta, expected.delta, atol=1e-6 * np.abs(expected.delta).max())
        assert block.variants["variant_id"].iloc[0].startswith("chr2:1:")
        assert file.attrs["command"] == "ism"
        assert "sha256" in file.attrs["inputs"]


def test_single_member_is_allowed(options, inputs):
    assert ism(**options | {"model": inputs / "single"})["members"] == 1


def test_dry_run_says_how_much_work_it_is_and_does_none(options):
    summary = ism(**options, dry_run=True)
    assert summary["passes"] == 3 * (3 * (N_LOCI * LENGTH - 2) + N_LOCI)
    assert summary["units"] == summary["units_left"] == 9
    assert summary["file_mb_uncompressed"] == pytest.approx((N_LOCI * 3 * 2 * (LENGTH * 3 + 1) * 4) / 1e6, abs=1e-3)
    assert summary["batch_size"] == [512] * 3
    assert list(options["out"].parent.iterdir()) == []


def stop_after(monkeypatch, units, error=KeyboardInterrupt):
    """Make the run break in the middle of a unit after so many."""
    done = []
    original = Member.effects

    def effects(self, *args, **kwargs):
        if len(done) == units:
            raise error
        done.append(self.name)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Member, "effects", effects)
    return done


@pytest.mark.parametrize("units", [0, 1, 5])
def test_a_broken_run_continues_and_nothing_differs(options, whole, monkeypatch, caplog, units):
    with monkeypatch.context() as patch:
        stop_after(patch, units)
        with pytest.raises(KeyboardInterrupt):
            ism(**options)
    folder = options["out"].with_name("effects.h5.shards")
    assert not options["out"].exists()
    assert len(list(folder.rglob("b*.h5"))) == units
    stray = folder / "m00" / ".b0000.h5.xyz.h5"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"half a shard")
    done = stop_after(monkeypatch, 10**9)
    with caplog.at_level(logging.INFO, "deepmr"):
        ism(**options)
    assert len(done) == 9 - units
    assert not folder.exists()
    assert "removed 1 half-written" in caplog.text
    assert_same(options["out"], whole)


def test_stray_of_a_broken_repacking_is_swept(options, whole):
    stray = options["out"].with_name(".effects.h5.abc.h5")
    stray.write_bytes(b"half a file")
    ism(**options)
    assert not stray.exists()
    assert_same(options["out"], whole)


def test_ctrl_c_finishes_the_unit_in_hand(options, monkeypatch, whole):
    original = Member.effects

    def effects(self, *args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        return original(self, *args, **kwargs)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Member, "effects", effects)
        with pytest.raises(KeyboardInterrupt):
            ism(**options)
    assert signal.getsignal(signal.SIGINT) is before
    assert len(list(options["out"].with_name("effects.h5.shards").rglob("b*.h5"))) == 1
    ism(**options)
    assert_same(options["out"], whole)


def test_second_ctrl_c_stops_at_once(options, monkeypatch):
    def effects(self, *args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
        raise AssertionError

    monkeypatch.setattr(Member, "effects", effects)
    with pytest.raises(KeyboardInterrupt):
        ism(**options)
    assert not list(options["out"].with_name("effects.h5.shards").rglob("b*.h5"))


def test_runs_outside_the_main_thread(options, whole):
    thread = threading.Thread(target=lambda: ism(**options))
    thread.start()
    thread.join()
    assert_same(options["out"], whole)


def test_complete_run_is_not_done_twice(options, monkeypatch):
    ism(**options)
    stamp = options["out"].stat().st_mtime_ns
    shards = options["out"].with_name("effects.h5.shards")
    shards.mkdir()  # killed after the file was written and before its shards were gone
    with open_effects(options["out"]) as file:
        (shards / "run.json").write_text(json.dumps({"run_key": file.attrs["run_key"]}))
    stop_after(monkeypatch, 0, AssertionError)
    for overwrite in (False, True):
        assert "already complete" in str(ism(**options, overwrite=overwrite)["status"])
    assert options["out"].stat().st_mtime_ns == stamp
    assert not shards.exists()


@pytest.mark.parametrize(
    ("before", "after", "differ"),
    [
        ({"sample": 5}, {}, "sequences"),
        ({}, {"task": ["A"]}, "tasks"),
        ({}, {"precision": "double"}, "precision"),
        ({}, {"block_size": 2}, "block_size"),
    ],
)
def test_file_of_another_run_is_left_alone(options, before, after, differ):
    ism(**options | before)
    content = options["out"].read_bytes()
    with pytest.raises(InputError, match=rf"effects\.h5 exists and is of another run \({differ} differ\)"):
        ism(**options | after)
    assert options["out"].read_bytes() == content
    assert "status" not in ism(**options | after, overwrite=True)
    assert options["out"].read_bytes() != content


def test_shards_of_another_run_are_left_alone(options, monkeypatch, whole):
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            ism(**options, sample=5)
    with pytest.raises(InputError, match=r"shards of another run \(sequences differ\)"):
        ism(**options)
    ism(**options, overwrite=True)
    assert_same(options["out"], whole)


def test_file_that_is_no_effects_file_is_left_alone(options):
    options["out"].write_text("thesis")
    with pytest.raises(InputError, match="exists and is not an effects file"):
        ism(**options)
    assert options["out"].read_text() == "thesis"
    ism(**options, overwrite=True)
    open_effects(options["out"]).close()


def test_kept_shards_are_pointed_to_then_put_together(options, whole, monkeypatch):
    ism(**options, keep_shards=True)
    folder = options["out"].with_name("effects.h5.shards")
    assert len(list(folder.rglob("b*.h5"))) == 9
    assert_same(options["out"], whole)
    with monkeypatch.context() as patch:
        stop_after(patch, 0, AssertionError)
        assert "already complete" in str(ism(**options, keep_shards=True)["status"])
    (folder / "m01" / "b0002.h5").unlink()
    with pytest.raises(IncompleteError, match=r"m01/b0002\.h5"):
        open_effects(options["out"])
    done = stop_after(monkeypatch, 10**9)
    ism(**options, keep_shards=True)
    assert done == ["m1"]
    assert_same(options["out"], whole)
    ism(**options)
    assert done == ["m1"]
    assert not folder.exists()
    assert_same(options["out"], whole)


def test_overwriting_a_virtual_file_never_leaves_it_pointing_to_others(options, monkeypatch):
    ism(**options, sample=5, keep_shards=True)
    stop_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        ism(**options, overwrite=True)
    assert not options["out"].exists()


def test_parts_of_an_array_job_add_up(options, whole):
    first = ism(**options, shard="1/2")
    assert first["status"] == "part 1/2 is done; 4 of 9 units are left"
    assert not options["out"].exists()
    foreign = options["out"].with_name("effects.h5.shards") / "m01" / ".b0000.h5.live.h5"  # the other part at work
    foreign.write_bytes(b"")
    ism(**options, shard="1/2")
    assert foreign.exists()
    ism(**options, shard="2/2")
    assert_same(options["out"], whole)
    assert "already complete" in str(ism(**options, shard="1/2")["status"])


def test_part_that_finds_the_file_written_by_another_is_content(options, whole, monkeypatch):
    def beaten(out, shards, **_options):
        shutil.copy(whole, out)
        raise IncompleteError("the shards have gone into the file")

    monkeypatch.setattr("deepmr.commands.ism.write_effects", beaten)
    assert ism(**options)["file"] == str(options["out"])


@pytest.mark.parametrize("name", ["batch_size", "block_size", "threads"])
def test_numbers_below_one_are_refused(options, name):
    with pytest.raises(InputError, match=f"{name} must be at least 1; got -1"):
        ism(**options | {name: -1})
    with pytest.raises(InputError, match="seed must be at least 0; got -1"):
        ism(**options, sample=2, seed=-1)
    assert list(options["out"].parent.iterdir()) == []


def test_the_recorded_command_line_is_one(options, whole):
    ism(**options, task=["B"], sample=3, seed=1)
    with open_effects(options["out"]) as file:
        words = shlex.split(file.attrs["command_line"])
    _, bound, _ = build_app().parse_args(words[1:], exit_on_error=False, print_error=False)
    assert bound.arguments.items() >= (options | {"task": ["B"], "sample": 3, "seed": 1}).items()


@pytest.mark.parametrize("shard", ["3", "0/4", "5/4", "a/b", "1/2/3", "-1/2"])
def test_part_that_makes_no_sense_is_refused(options, shard):
    with pytest.raises(InputError, match="must be i/n"):
        ism(**options, shard=shard)
    with pytest.raises(InputError, match="would remove what the other parts"):
        ism(**options, shard="1/2", overwrite=True)


def test_chosen_tasks(options, whole):
    ism(**options, task=["B"])
    np.testing.assert_allclose(arrays(options["out"])["effect"][:, :, 0], arrays(whole)["effect"][:, :, 1], atol=1e-7)
    with open_effects(options["out"]) as file:
        assert [(task.name, task.scale) for task in file.tasks] == [("B", "logit")]


def test_unknown_task_is_named(options):
    with pytest.raises(InputError, match="no task 'C'; it has A, B"):
        ism(**options, task=["C"])


def test_edits_from_a_table(options, tmp_path):
    sequence = options["fasta"].read_text().splitlines()[7]
    first, second = sequence[9], sequence[20]
    new = {"A": "C", "C": "G", "G": "T", "T": "A"}
    rows = [("x", 3010, first), ("y", 3010, first), ("y", 3021, second)]
    lines = [f"{name}\tp3::chr2:3000-3040\t{pos}\t{base}\t{new[base]}" for name, pos, base in rows]
    table = tmp_path / "edits.tsv"
    table.write_text("\n".join(["variant_id\tlocus\tpos\tother_allele\teffect_allele", *lines]) + "\n")
    summary = ism(**options, edits=table)
    assert (summary["loci"], summary["variants"], summary["passes"]) == (1, 2, 9)
    with open_effects(options["out"]) as file:
        assert file.layout == "edits"
        assert next(file.blocks()).variants["variant_id"].tolist() == ["x", "y"]


def test_windows_of_a_genome(options, tmp_path):
    genome, bed = tmp_path / "genome.fa", tmp_path / "peaks.bed"
    genome.write_text(">chr7\n" + "ACGTTGCA" * 20 + "\n")
    bed.write_text("chr7\t60\t100\tone\nchr7\t70\t110\ttwo\n")
    assert ism(**options | {"fasta": genome, "loci": bed})["loci"] == 2
    with open_effects(options["out"]) as file:
        assert file.loci["start"].tolist() == [60, 70]
        assert next(file.blocks()).variants["variant_id"].iloc[0] == "chr7:61:T:A"


def test_missing_units_at_the_end_are_incomplete(options, monkeypatch):
    monkeypatch.setattr("deepmr.commands.ism._compute", lambda *_args: 0.0)
    with pytest.raises(IncompleteError, match=r"9 of 9 units of .* are missing: run the same command again"):
        ism(**options)


def test_file_that_cannot_be_put_together_keeps_its_shards(options, monkeypatch):
    def full(*_args, **_options):
        raise DeepMRError("no space left on the disk")

    monkeypatch.setattr("deepmr.commands.ism.write_effects", full)
    with pytest.raises(DeepMRError, match="no space left"):
        ism(**options)
    assert len(list(options["out"].with_name("effects.h5.shards").rglob("b*.h5"))) == 9


def test_a_network_with_nan_stops_before_the_long_run(options, inputs, tmp_path):
    broken = PaperCNN(2, LENGTH, filters=6, hidden=8).eval()
    torch.nn.init.constant_(broken.output.bias, torch.nan)
    write_ensemble(
        tmp_path / "broken",
        [broken],
        architecture="paper_cnn",
        arguments={"filters": 6, "hidden": 8},
        length=LENGTH,
        tasks=[Task(name="A"), Task(name="B")],
        members=[MemberInfo(name="m0")],
    )
    with pytest.raises(InputError, match="m0 returned NaN"):
        ism(**options | {"model": tmp_path / "broken"})
    assert not options["out"].with_name("effects.h5.shards").exists()


def test_missing_folder_is_refused(options, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        ism(**options | {"out": tmp_path / "none" / "effects.h5"})


def test_short_disk_is_foretold(options, monkeypatch, caplog):
    monkeypatch.setattr("shutil.disk_usage", lambda _path: shutil._ntuple_diskusage(1, 1, 100))
    ism(**options)
    assert "0 MB are free" in caplog.text


def test_info_says_what_a_file_holds(whole, options):
    found = info(whole)
    assert found["variants"] == 3 * (N_LOCI * LENGTH - 2)
    assert found["self_contained"] is True
    assert found["tasks"] == [{"task": "A", "scale": "identity"}, {"task": "B", "scale": "logit"}]
    assert [row["seed"] for row in found["members"]] == [0, 1, 2]
    assert found["members"][0]["held_out"] == "chr1"
