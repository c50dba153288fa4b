"""Directories appear whole or not at all, and nobody else's is replaced."""

import pytest

from deepmr.errors import DeepMRError, InputError
from deepmr.io.directories import atomic_directory, check_directory


def test_directory_takes_its_place_when_complete(tmp_path):
    out = tmp_path / "out"
    with atomic_directory(out) as folder:
        (folder / "a.txt").write_text("new")
        assert not out.exists()
    assert (out / "a.txt").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_old_directory_goes_when_the_new_one_is_complete(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.txt").write_text("old")
    with atomic_directory(out) as folder:
        (folder / "a.txt").write_text("new")
        assert (out / "old.txt").exists()
    assert [p.name for p in out.iterdir()] == ["a.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_failure_leaves_everything_as_it_was(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.txt").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_directory(out) as folder:
        (folder / "a.txt").write_text(str(1 / 0))
    assert [p.name for p in out.iterdir()] == ["old.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_failed_rename_puts_the_old_directory_back(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.txt").write_text("old")
    rename = type(out).rename

    def fail_for_new(self, target):
        if self.name == "new":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(type(out), "rename", fail_for_new)
    with pytest.raises(DeepMRError, match="No space left"), atomic_directory(out):
        pass
    assert [p.name for p in out.iterdir()] == ["old.txt"]


def test_missing_folder_is_one_line(tmp_path):
    with pytest.raises(DeepMRError, match="cannot be written"), atomic_directory(tmp_path / "no" / "out"):
        pass


def test_check_names_what_is_in_the_way(tmp_path):
    check_directory(tmp_path / "new", marker="m.json", overwrite=False)
    with pytest.raises(InputError, match="does not exist"):
        check_directory(tmp_path / "no" / "new", marker="m.json", overwrite=False)
    out = tmp_path / "out"
    out.mkdir()
    check_directory(out, marker="m.json", overwrite=False)  # empty
    (out / "thesis.doc").touch()
    with pytest.raises(InputError, match=r"has no m\.json; it is left alone"):
        check_directory(out, marker="m.json", overwrite=True)
    (out / "m.json").touch()
    with pytest.raises(InputError, match="pass --overwrite"):
        check_directory(out, marker="m.json", overwrite=False)
    check_directory(out, marker="m.json", overwrite=True)
    with pytest.raises(InputError, match="left alone"):
        check_directory(out / "m.json", marker="m.json", overwrite=True)
