import h5py
import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.io.matrix_rows import open_rows, write_rows

MATRIX = np.arange(15, dtype="f4").reshape(5, 3)


@pytest.mark.parametrize("name", ["p.npy", "p.h5", "p.bm", "p"])
def test_rows_come_back_whatever_the_name(name, tmp_path):
    write_rows(tmp_path / name, MATRIX)
    with open_rows(tmp_path / name) as rows:
        assert rows.shape == (5, 3)
        parts = list(rows.blocks(2))
        assert [len(part) for part in parts] == [2, 2, 1]
        assert parts[0].dtype == float
        np.testing.assert_array_equal(np.concatenate(parts), MATRIX)
        with pytest.raises(InputError, match="rows must be at least 1"):
            next(rows.blocks(0))


def test_a_file_that_is_there_stays(tmp_path):
    write_rows(tmp_path / "p", MATRIX)
    with pytest.raises(InputError, match="exists"):
        write_rows(tmp_path / "p", MATRIX)
    write_rows(tmp_path / "p", MATRIX[:2], overwrite=True)
    with open_rows(tmp_path / "p") as rows:
        assert rows.shape == (2, 3)


def test_the_only_matrix_of_an_hdf5_file(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["genotypes/dosages"] = MATRIX
        file["genotypes/pos"] = np.arange(5)
    with open_rows(path) as rows:
        np.testing.assert_array_equal(rows.read(1, 3), MATRIX[1:3])
    with h5py.File(path, "a") as file:
        file["more"] = MATRIX
    with pytest.raises(InputError, match="it has /genotypes/dosages, /more"), open_rows(path):
        pass


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"text", "neither"), (b"", "neither"), (b"\x93NUMPY\x01\x00", "not a whole .npy file"), (None, "cannot be read")],
)
def test_files_that_are_none(content, message, tmp_path):
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match=message), open_rows(tmp_path / "x"):
        pass


def test_a_vector_is_no_matrix(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(3.0))
    with pytest.raises(InputError, match="1 dimensions"), open_rows(tmp_path / "x.npy"):
        pass
