"""Tables of associations block by block: cells, digits, the same bytes however they are cut; all or nothing."""

import gzip

import numpy as np
import pandas as pd
import pytest

from deepmr.io.associations import association_writer

TABLE = pd.DataFrame(
    {
        "variant_id": ["rs1", "rs2", "rs3"],
        "pos": [1, 2, 3_000_000_000],
        "beta": [0.123456789012345, np.nan, -1e-300],
        "n": [10.0, 1_000_000.0, 0.0],
        "status": ["ok", "monomorphic", "ok"],
    }
)


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_cells(tmp_path, name):
    path = tmp_path / name
    with association_writer(path) as writer:
        writer.add(TABLE)
    content = path.read_bytes() if name == "a.tsv" else gzip.decompress(path.read_bytes())
    assert content.decode() == (
        "variant_id\tpos\tbeta\tn\tstatus\nrs1\t1\t0.123456789\t10\tok\nrs2\t2\t\t1000000\tmonomorphic\n"
        "rs3\t3000000000\t-1e-300\t0\tok\n"
    )


def test_blocks_give_the_same_bytes(tmp_path):
    for name, block in (("a.tsv.gz", 1), ("b.tsv.gz", 3)):
        with association_writer(tmp_path / name) as writer:
            for start in range(0, 3, block):
                writer.add(TABLE.iloc[start : start + block])
    assert (tmp_path / "a.tsv.gz").read_bytes() == (tmp_path / "b.tsv.gz").read_bytes()


def test_an_interrupted_table_is_not_there(tmp_path):
    def broken():
        with association_writer(tmp_path / "a.tsv.gz") as writer:
            writer.add(TABLE)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert not list(tmp_path.iterdir())
