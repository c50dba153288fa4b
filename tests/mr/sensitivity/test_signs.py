"""Whether the signs of effects on exposure and outcome go together."""

import numpy as np
import pytest
from scipy import stats

from deepmr.mr.sensitivity import sign_concordance
from tests.mr.builders import pack, rescaled


def test_signs_are_counted_by_hand():
    x = np.array([1.0, -1, 1, 1, -1, 1, 0, 2])
    y = np.array([1.0, -2, 3, -1, -1, 1, 1, 0])
    found = sign_concordance(pack(np.tile(x, 2), np.tile(y, 2), counts=[8, 8])).table
    for row in found.to_dict("records"):
        assert (row["n"], row["n_agreeing"]) == (6, 5)
        assert row["concordance"] == pytest.approx(2 * 5 / 6 - 1)
        assert row["pvalue"] == pytest.approx(stats.binomtest(5, 6).pvalue)


def test_halves_tell_nothing_and_few_are_skipped():
    even = pack([1.0, 1, 1, 1, 1, 1, 1, 1], [1.0, 1, 1, 1, -1, -1, -1, -1])
    assert sign_concordance(even).table["pvalue"][0] == 1
    assert sign_concordance(pack([1.0, 2], [1.0, 2], counts=[2])).skipped["reason"].tolist() == [
        "needs at least 6 instruments with signs; has 2"
    ]


def test_coding_and_units_change_nothing():
    rng = np.random.default_rng(0)
    given = pack(rng.normal(size=30), rng.normal(size=30), counts=[10, 20])
    signs = rng.choice([-1.0, 1.0], 30)
    assert sign_concordance(rescaled(given, exposure=signs, outcome=signs)).table.equals(sign_concordance(given).table)
