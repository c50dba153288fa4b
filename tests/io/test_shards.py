import os

import h5py
import pytest

from deepmr.errors import DeepMRError, IncompleteError, InputError
from deepmr.io.effects import read_description
from deepmr.io.repack import reserve, write_effects
from deepmr.io.shards import Shards
from tests.io.runs import EDITS, SEQUENCES, compute, make_run


@pytest.fixture
def shards(tmp_path):
    made = Shards(tmp_path / "effects.h5", make_run())
    made.claim(overwrite=False)
    return made


def test_units_cover_members_and_blocks(shards):
    units = shards.run.units
    assert [(u.block, u.member) for u in units] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert units[-1].loci == slice(16, 20)
    assert len({shards.run.unit_key(u) for u in units}) == 6
    assert shards.path(units[3]).relative_to(shards.folder).as_posix() == "m01/b0001.h5"
    assert sum(len(shards.run.edits_of(u)) for u in units) == 2 * 3 * SEQUENCES.known.sum()


def test_missing_units_are_those_without_a_whole_shard(shards):
    units = shards.run.units
    compute(shards, units[:4])
    assert shards.missing() == units[4:]
    shards.path(units[1]).write_bytes(b"torn")
    with h5py.File(shards.path(units[2]), "a") as file:
        file.attrs["unit_key"] = "another run's"
    assert shards.missing(units[:4]) == units[1:3]


def test_shard_says_how_it_was_computed_and_stays_readable_by_old_libraries(shards):
    unit = shards.run.units[1]
    compute(shards, [unit])
    with h5py.File(shards.path(unit), "r") as file:
        assert dict(file.attrs).keys() >= {"unit_key", "member", "block", "device", "batch_size", "threads", "seconds"}
        assert file["effect"].shape == (8, 1, 2, 30, 3)
        assert file["effect"].chunks == (8, 1, 2, 30, 3)
        assert (file["effect"].compression, file["effect"].compression_opts, file["effect"].shuffle) == (
            "gzip",
            1,
            True,
        )
    assert shards.path(unit).read_bytes()[8] == 0  # superblock of the first version


def test_strays_of_a_killed_process_are_swept_from_ones_own_units_only(shards):
    mine, other = shards.run.units[0], shards.run.units[2]
    compute(shards, [mine])
    stray = shards.path(mine).with_name(f".{shards.path(mine).name}.1234.tmp")
    foreign = shards.path(other).with_name(f".{shards.path(other).name}.99.tmp")
    for path in (stray, foreign):
        path.write_bytes(b"half")
    assert shards.sweep([mine]) == 1
    assert not stray.exists()
    assert foreign.exists()
    assert shards.missing([mine]) == []


@pytest.mark.parametrize(
    ("changes", "differ"),
    [
        ({"precision": "double"}, "precision"),
        ({"block_size": 4}, "block_size"),
        ({"ensemble_sha256": "f"}, "ensemble"),
        ({"sequences": SEQUENCES.take(slice(0, 10))}, "sequences"),
        ({"tasks": make_run().tasks[:1]}, "tasks"),
    ],
)
def test_another_run_is_told_apart_and_what_differs_is_named(shards, changes, differ):
    compute(shards, shards.run.units[:1])
    other = Shards(shards.folder.with_suffix(""), make_run(**changes))
    assert other.folder == shards.folder
    with pytest.raises(InputError, match=rf"shards of another run \({differ} differ\)"):
        other.claim(overwrite=False)
    assert shards.missing([shards.run.units[0]]) == []
    other.claim(overwrite=True)
    assert other.missing() == other.run.units


def test_edits_are_part_of_the_run():
    one, other = make_run(edits=EDITS), make_run(edits=EDITS.iloc[:-1])
    assert one.key != other.key != make_run().key
    assert one.key == make_run(edits=EDITS.copy()).key


def test_folder_of_somebody_else_is_left_alone(tmp_path):
    folder = tmp_path / "effects.h5.shards"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds files that are not a run's shards"):
        Shards(tmp_path / "effects.h5", make_run()).claim(overwrite=True)
    assert (folder / "thesis.txt").exists()


def test_part_killed_while_it_claimed_is_no_obstacle(tmp_path):
    shards = Shards(tmp_path / "effects.h5", make_run())
    shards.folder.mkdir()
    (shards.folder / ".run.json.0a1b2c3d.json").write_text("{")
    shards.claim(overwrite=False)
    assert shards.are_ours()


def test_part_that_claims_at_the_same_time_is_no_obstacle(shards, monkeypatch):
    found = iter([None, read_description(shards.folder)])  # the other part writes it between the two looks
    monkeypatch.setattr("deepmr.io.shards.read_description", lambda _folder: next(found))
    shards.claim(overwrite=False)
    assert next(found, None) is None


def test_torn_description_counts_as_another_run(shards):
    (shards.folder / "run.json").write_text("{")
    with pytest.raises(InputError, match="another run"):
        shards.claim(overwrite=False)


def test_nothing_is_put_together_before_every_unit_is_there(shards, tmp_path):
    compute(shards, shards.run.units[:-1])
    with pytest.raises(IncompleteError, match=r"1 of 6 units are missing, first .*m01/b0002.h5"):
        write_effects(tmp_path / "effects.h5", shards, attrs={})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["effects.h5.shards"]


def test_shards_that_another_part_has_just_put_together_are_one_line(shards, tmp_path, monkeypatch):
    compute(shards)
    monkeypatch.setattr(shards, "missing", list)  # they were all there a moment ago
    shards.remove()
    with pytest.raises(DeepMRError, match="No such file"):
        write_effects(tmp_path / "effects.h5", shards, attrs={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), r"effects\.h5: no space left on the disk"),
        (RuntimeError("Can't decrement id ref count (file write failed\n, errno = 28)"), "the shards are kept: Can't"),
    ],
)
def test_full_disk_is_one_line_and_loses_no_shard(shards, tmp_path, monkeypatch, error, said):
    compute(shards)

    def full(*_args):
        raise error

    monkeypatch.setattr("deepmr.io.repack._pack", full)
    with pytest.raises(DeepMRError, match=said) as caught:
        write_effects(tmp_path / "effects.h5", shards, attrs={})
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["effects.h5.shards"]
    assert shards.missing() == []


@pytest.mark.parametrize("fallocate", [True, False])
def test_hdf5_never_meets_a_full_disk(tmp_path, monkeypatch, fallocate):
    if not fallocate:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    with pytest.raises(OSError, match=r"[Nn]o space left|too large"):
        reserve(tmp_path / "effects.h5", 2**60)
    reserve(tmp_path / "effects.h5", 1000)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind root")
def test_folder_without_permission_is_one_line(shards):
    unit = shards.run.units[0]
    shards.path(unit).parent.mkdir()
    shards.path(unit).parent.chmod(0o500)
    with pytest.raises(DeepMRError, match=r"b0000\.h5"):
        compute(shards, [unit])
