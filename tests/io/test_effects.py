import json
import shutil
import subprocess

import h5py
import numpy as np
import pandas as pd
import pytest

from deepmr.errors import IncompleteError, InputError
from deepmr.io.edits import read_edits
from deepmr.io.effects import identify, open_effects
from deepmr.ism.mutate import mutate
from tests.io.runs import EDITS, SEQUENCES, STUB, compute, make_run, write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("effects")
    write_run(path / "whole.h5", make_run())
    write_run(path / "linked.h5", make_run(), virtual=True)
    write_run(path / "edits.h5", make_run(edits=EDITS))
    write_run(path / "linked_edits.h5", make_run(edits=EDITS), virtual=True)
    return path


def read_all(path, **options):
    with open_effects(path) as file:
        blocks = list(file.blocks(**options))
    variants = pd.concat([block.variants.astype(str) for block in blocks], ignore_index=True)
    return variants, np.concatenate([block.delta for block in blocks], axis=1)


@pytest.mark.parametrize("name", ["whole.h5", "linked.h5"])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_file_gives_back_what_mutate_says(folder, name, size):
    expected = mutate(STUB, SEQUENCES)
    variants, delta = read_all(folder / name, size=size)
    np.testing.assert_array_equal(delta, expected.delta)
    pd.testing.assert_frame_equal(variants, expected.variants.astype(str))


@pytest.mark.parametrize("name", ["edits.h5", "linked_edits.h5"])
@pytest.mark.parametrize("size", [1, 64])
def test_list_of_edits_gives_back_what_mutate_says(folder, name, size):
    expected = mutate(STUB, SEQUENCES, edits=EDITS)
    variants, delta = read_all(folder / name, size=size)
    np.testing.assert_allclose(delta, expected.delta, atol=1e-7)
    wanted = expected.variants.astype(str)
    assert variants["variant_id"].tolist() == wanted["variant_id"].tolist()
    single = ~wanted["effect_allele"].str.contains(",").to_numpy()
    pd.testing.assert_frame_equal(variants[single], wanted[single])


def test_what_a_file_says_of_itself(folder):
    with open_effects(folder / "whole.h5") as file:
        assert file.layout == "saturation"
        assert [task.name for task in file.tasks] == ["t0", "t1"]
        assert file.members["held_out"].tolist() == ["chr1,chr2", ""]
        assert file.n_masked == (SEQUENCES.codes == 4).sum() > 0
        assert file.n_variants == 3 * (SEQUENCES.codes < 4).sum()
        assert file.loci["start"].tolist() == SEQUENCES.loci["start"].tolist()
        np.testing.assert_array_equal(file.sequences.codes, SEQUENCES.codes)
        assert file.attrs["complete"] == 1
        assert file.attrs["batch_size"] == "512"
        assert file.attrs["seconds"] == pytest.approx(3.0)
        assert json.loads(file.attrs["options"]) == {"sample": None}
        np.testing.assert_allclose(file.reference, STUB.predict(SEQUENCES.codes), atol=1e-6)
    with open_effects(folder / "edits.h5") as file:
        assert file.n_variants == len(EDITS["variant_id"].unique())
        assert file.loci["locus"].tolist() == ["l3", "l4", "l7", "l19"]


def test_one_locus_is_dense_over_the_other_bases(folder):
    variants = mutate(STUB, SEQUENCES)
    with open_effects(folder / "whole.h5") as file:
        dense = file.locus("l4")
        np.testing.assert_array_equal(dense, file.locus(4))
        assert dense.shape == (2, 2, 30, 3)
        masked = SEQUENCES.codes[4] == 4
        assert (dense[:, :, masked] == 0).all()
        rows = (variants.variants["locus"] == "l4").to_numpy()
        flat = np.moveaxis(dense, 1, 3)[:, ~masked].reshape(2, -1, 2)
        np.testing.assert_array_equal(flat, variants.delta[:, rows])
        for wrong in ("l99", 20, -1):
            with pytest.raises(InputError, match="has no locus"):
                file.locus(wrong)
    with open_effects(folder / "edits.h5") as file, pytest.raises(InputError, match="holds a list of edits"):
        file.locus("l3")


def test_tasks_are_read_in_the_order_asked_for(folder):
    for name in ("whole.h5", "edits.h5"):
        both = read_all(folder / name)[1]
        np.testing.assert_array_equal(read_all(folder / name, tasks=["t1", "t0"])[1], both[:, :, ::-1])
        np.testing.assert_array_equal(read_all(folder / name, tasks=["t1"])[1], both[:, :, 1:])
    with open_effects(folder / "whole.h5") as file, pytest.raises(InputError, match=r"no task 'x'; it has t0, t1"):
        next(file.blocks(tasks=["x"]))


def test_masked_positions_are_zero_in_file_and_mask(folder):
    with h5py.File(folder / "whole.h5", "r") as file:
        masked = SEQUENCES.codes == 4
        np.testing.assert_array_equal(file["mask"][:], ~masked)
        assert file["mask"].dtype == np.uint8
        assert (np.moveaxis(file["effect"][:], 3, 1)[masked] == 0).all()


def test_whole_file_needs_no_plugin_no_object_references_and_no_shards(folder):
    assert not (folder / "whole.h5.shards").exists()

    def plain(_name, item):
        assert h5py.check_ref_dtype(getattr(item, "dtype", np.dtype("f4"))) is None
        if isinstance(item, h5py.Dataset):
            assert item.compression in (None, "gzip")
            assert item.dtype.kind in "fuiO"
            assert item.dtype.kind != "O" or h5py.check_string_dtype(item.dtype).encoding == "utf-8"

    with h5py.File(folder / "whole.h5", "r") as file:
        file.visititems(plain)
        assert [d.label for d in file["effect"].dims] == ["locus", "member", "task", "offset", "other_base"]


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="h5dump is not installed")
@pytest.mark.parametrize("name", ["whole.h5", "linked.h5", "edits.h5"])
def test_h5dump_reads_it(folder, name):
    done = subprocess.run(["h5dump", "-d", "/effect", str(folder / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "H5T_IEEE_F32LE" in done.stdout
    with h5py.File(folder / name, "r") as file:
        assert f"{file['effect'][0].ravel()[0]:.6g}" in done.stdout


def test_wrong_files_are_refused_in_one_line(folder, tmp_path):
    def refused(path, said):
        with pytest.raises(InputError, match=said) as caught:
            open_effects(path)
        assert "\n" not in str(caught.value)

    refused(tmp_path / "none.h5", "does not exist")
    (tmp_path / "begun.h5.shards").mkdir()
    (tmp_path / "begun.h5.shards" / "run.json").write_text("{}")
    with pytest.raises(IncompleteError, match="not finished"):
        open_effects(tmp_path / "begun.h5")
    torn = tmp_path / "torn.h5"
    torn.write_bytes((folder / "whole.h5").read_bytes()[:3000])
    refused(torn, "not HDF5, or truncated")
    (tmp_path / "text.h5").write_text("locus\tbeta\n")
    refused(tmp_path / "text.h5", "not HDF5, or truncated")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    refused(tmp_path / "other.h5", "its format is None")
    for name, attrs, said in (
        ("future", {"format_version": "2.0"}, r"version 2.0; this deepmr reads 1.1"),
        ("half", {"complete": 0}, "not marked complete"),
    ):
        copy = shutil.copy(folder / "whole.h5", tmp_path / f"{name}.h5")
        with h5py.File(copy, "a") as file:
            file.attrs.update(attrs)
        refused(copy, said)
    copy = shutil.copy(folder / "whole.h5", tmp_path / "hollow.h5")
    with h5py.File(copy, "a") as file:
        del file["tasks"]
    refused(copy, "not a whole effects file")


def test_damaged_chunk_is_noticed(folder, tmp_path):
    copy = shutil.copy(folder / "whole.h5", tmp_path / "damaged.h5")
    with h5py.File(copy, "r") as file:
        where = file["effect"].id.get_chunk_info(0).byte_offset
    with copy.open("r+b") as file:
        file.seek(where)
        file.write(b"\0" * 64)
    with open_effects(copy) as file, pytest.raises(InputError, match="is damaged"):
        next(file.blocks())


def test_missing_shard_is_incomplete_and_named(tmp_path):
    shards = write_run(tmp_path / "v.h5", make_run(), virtual=True)
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("v.h5", "v.h5.shards"):
        shutil.move(tmp_path / name, moved / name)
    open_effects(moved / "v.h5").close()  # paths are relative
    lost = moved / "v.h5.shards" / shards.path(shards.run.units[3]).relative_to(shards.folder)
    lost.unlink()
    with pytest.raises(IncompleteError, match=r"6 shards and 1 are missing, first .*m01/b0001.h5"):
        open_effects(moved / "v.h5")


def test_shards_of_another_run_are_not_read(tmp_path):
    shards = write_run(tmp_path / "v.h5", make_run(), virtual=True)
    other = type(shards)(tmp_path / "v.h5", make_run(precision="double"))
    other.claim(overwrite=True)
    compute(other)
    with pytest.raises(IncompleteError, match="now those of another run"):
        open_effects(tmp_path / "v.h5")


def test_identity_of_what_is_there(folder, tmp_path):
    run = make_run()
    assert (identify(folder / "whole.h5").run_key, identify(folder / "whole.h5").virtual) == (run.key, False)
    assert (identify(folder / "linked.h5").run_key, identify(folder / "linked.h5").virtual) == (run.key, True)
    (tmp_path / "x.h5").write_text("no")
    assert identify(tmp_path / "x.h5").run_key == ""


def test_table_of_edits_is_read_as_text(tmp_path):
    path = tmp_path / "edits.tsv"
    path.write_text("variant_id\tlocus\toffset\tother_allele\teffect_allele\nv\tNA\t3\tA\tT\n")
    assert read_edits(path).iloc[0].tolist() == ["v", "NA", "3", "A", "T"]
    with pytest.raises(InputError, match="does not exist"):
        read_edits(tmp_path / "none.tsv")
    (tmp_path / "bytes.tsv").write_bytes(b"\xff\xfe\x00a\tb\n\x80")
    with pytest.raises(InputError, match="cannot be read"):
        read_edits(tmp_path / "bytes.tsv")
    (tmp_path / "empty.tsv").write_text("")
    with pytest.raises(InputError, match="cannot be read"):
        read_edits(tmp_path / "empty.tsv")
