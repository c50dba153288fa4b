import numpy as np
import pytest

from deepmr import packed
from deepmr.packed import blocks


@pytest.mark.parametrize("depth", [1, 10_000])
def test_blocks_hold_every_row_once(depth):
    counts = np.array([3, 0, 5, 1, 300, 4, 3])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    seen, loci = [], []
    for block in blocks(offsets, depth=depth):
        seen.extend(block.rows[block.known])
        loci.extend(block.loci)
        assert (block.known.sum(axis=1) == counts[block.loci]).all()
        assert block.known.shape[1] <= packed._WASTE * counts[block.loci].min()
        assert block.rows.size * depth <= packed._CELLS or len(block.loci) == 1
    assert sorted(seen) == list(range(16 + 300))
    assert sorted(loci) == [0, 2, 3, 4, 5, 6]


def test_padding_is_what_was_asked_for():
    offsets = np.array([0, 4, 9])
    (block,) = blocks(offsets)
    values = np.arange(9.0)
    assert block.of(values)[0].tolist() == [0, 1, 2, 3, 0]
    assert block.of(values, padding=np.inf)[0].tolist() == [0, 1, 2, 3, np.inf]
    assert block.of(np.stack([values, -values])).shape == (2, 2, 5)


def test_only_chosen_loci():
    chosen = np.array([False, True, True])
    assert [b.loci.tolist() for b in blocks(np.array([0, 2, 2, 4]), loci=chosen)] == [[2]]
