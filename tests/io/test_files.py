"""Files are read whole or refused in one line, and written whole or not at all."""

import errno
import gzip
import os
import resource
import stat
from pathlib import Path

import pytest

from deepmr.errors import DeepMRError, InputError
from deepmr.io import files
from deepmr.io.files import BGZIP_END, atomic_path, check_writable, read_bytes, sync_folder

TEXT = b"ACGT\n" * 1000


def bgzip(*blocks):
    """Return blocks as bgzip writes them: gzip members that carry their own size, then an empty one."""
    written = b""
    for block in blocks:
        member = gzip.compress(block, mtime=0)
        deflated = member[10:]
        size = 10 + 2 + 6 + len(deflated)
        written += (
            member[:3] + b"\x04" + member[4:10] + b"\x06\x00BC\x02\x00" + (size - 1).to_bytes(2, "little") + deflated
        )
    return written + BGZIP_END


def failing(number):
    def fail(*_args):
        raise OSError(number, os.strerror(number))

    return fail


def write_half(path, error):
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error


def left_in(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("content", [TEXT, gzip.compress(TEXT, mtime=0), bgzip(TEXT[:2000], TEXT[2000:])])
def test_read_bytes_tells_compression_from_the_content(tmp_path, content):
    path = tmp_path / "any.name"
    path.write_bytes(content)
    assert read_bytes(path) == TEXT


@pytest.mark.parametrize("cut", [9, 500, -1, -9])
def test_truncated_gzip_is_refused(tmp_path, cut):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(os.urandom(2000), mtime=0)[:cut])
    with pytest.raises(InputError, match=r"x\.gz: the gzip data are truncated or damaged"):
        read_bytes(path)


def test_bgzip_cut_between_blocks_is_refused(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(bgzip(TEXT)[: -len(BGZIP_END)])
    assert gzip.decompress(path.read_bytes()) == TEXT  # gzip alone does not notice
    with pytest.raises(InputError, match="bgzip data are truncated"):
        read_bytes(path)


def test_damaged_gzip_is_refused(tmp_path):
    content = bytearray(gzip.compress(os.urandom(2000), mtime=0))
    content[1000] ^= 255
    path = tmp_path / "x.gz"
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="damaged"):
        read_bytes(path)


def test_missing_file_and_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"gone\.fa: cannot be read: No such file"):
        read_bytes(tmp_path / "gone.fa")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_bytes(tmp_path)


def test_atomic_path_replaces_when_the_block_ends_well(tmp_path):
    path = tmp_path / "out.tsv"
    path.write_text("old")
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".tsv"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert left_in(tmp_path) == ["out.tsv"]


def test_atomic_path_makes_files_that_others_may_read(tmp_path):
    with atomic_path(tmp_path / "out") as temporary:
        temporary.write_text("x")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt()])
def test_atomic_path_leaves_nothing_when_the_block_fails(tmp_path, error):
    path = tmp_path / "out.tsv"
    path.write_text("old")
    with pytest.raises(type(error)):
        write_half(path, error)
    assert path.read_text() == "old"
    assert left_in(tmp_path) == ["out.tsv"]


def test_atomic_path_on_a_full_disk(tmp_path):
    with pytest.raises(DeepMRError, match=r"out: no space left") as caught:
        write_half(tmp_path / "out", OSError(errno.ENOSPC, "No space left on device"))
    assert caught.value.exit_code == 1
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_atomic_path_on_a_disk_that_is_full_only_when_flushed(tmp_path, monkeypatch, number):
    monkeypatch.setattr(files.os, "fsync", failing(number))
    with pytest.raises(DeepMRError, match="no space left on the disk"), atomic_path(tmp_path / "out") as temporary:
        temporary.write_text("whole")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EACCES, InputError), (errno.EROFS, InputError), (errno.EIO, DeepMRError)]
)
def test_atomic_path_tells_the_users_mistakes_from_the_disks(tmp_path, number, kind):
    refused = pytest.raises(DeepMRError, match=f"out: cannot be written: {os.strerror(number)}")
    with refused as caught, atomic_path(tmp_path / "out"):
        failing(number)()
    assert type(caught.value) is kind


def test_atomic_path_when_the_system_refuses_to_write_on(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with (
            pytest.raises(DeepMRError, match="out: cannot be written: File too large"),
            atomic_path(tmp_path / "out") as temporary,
        ):
            temporary.write_bytes(b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left_in(tmp_path) == []


def test_atomic_path_keeps_an_error_to_one_line(tmp_path):
    with pytest.raises(DeepMRError) as caught, atomic_path(tmp_path / "out"):
        raise OSError("HDF5 says\n  a lot\n  of things")
    assert "\n" not in str(caught.value)
    assert "HDF5 says" in str(caught.value)


@pytest.mark.parametrize("place", ["gone/out", "file/out"])
def test_a_missing_folder_is_bad_input(tmp_path, place):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"out: the folder .* does not exist"), atomic_path(tmp_path / place):
        pass
    with pytest.raises(InputError, match="does not exist"):
        check_writable(tmp_path / place, overwrite=True)


def test_a_folder_is_not_replaced_by_a_file(tmp_path):
    (tmp_path / "out").mkdir()
    refused = pytest.raises(InputError, match="out: cannot be written: Is a directory")
    with refused, atomic_path(tmp_path / "out") as temporary:
        temporary.write_text("x")
    assert left_in(tmp_path) == ["out"]


def test_check_writable_asks_before_it_replaces(tmp_path):
    path = tmp_path / "out"
    check_writable(path, overwrite=False)
    path.write_text("x")
    with pytest.raises(InputError, match="out exists; choose another name or pass --overwrite"):
        check_writable(path, overwrite=False)
    check_writable(path, overwrite=True)
    assert left_in(tmp_path) == ["out"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_check_writable_notices_a_folder_that_refuses(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(InputError, match="Permission denied"):
        check_writable(tmp_path / "out", overwrite=False)


def test_check_writable_notices_a_folder_that_takes_no_files():
    """The kernel's own folder takes no files, whoever asks."""
    with pytest.raises(DeepMRError, match="/proc/out: cannot be written"):
        check_writable(Path("/proc/out"), overwrite=False)


@pytest.mark.parametrize(
    ("number", "message"), [(errno.EACCES, "Permission denied"), (errno.ENOSPC, "no space left on the disk")]
)
def test_check_writable_tries(tmp_path, monkeypatch, number, message):
    monkeypatch.setattr(Path, "touch", lambda _path, **_options: failing(number)())
    with pytest.raises(DeepMRError, match=message):
        check_writable(tmp_path / "out", overwrite=False)


def test_sync_folder_forgives_what_it_cannot_open_or_flush(tmp_path, monkeypatch):
    sync_folder(tmp_path)
    monkeypatch.setattr(files.os, "fsync", failing(errno.EINVAL))
    sync_folder(tmp_path)
    sync_folder(tmp_path / "gone")
    assert left_in(tmp_path) == []
