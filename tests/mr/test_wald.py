import logging

import numpy as np
import pytest

from deepmr.mr.ivw import ivw_fixed
from deepmr.mr.wald import wald, wald_weighted
from tests.mr.builders import pack, simulated


def test_mean_of_ratios_by_hand():
    row = wald(pack([1.0, 2.0, -1.0], [1.0, 4.0, -3.0])).table.iloc[0]
    assert row["beta"] == pytest.approx(2)  # ratios 1, 2, 3
    assert row["se"] == pytest.approx(1 / np.sqrt(3))
    assert row["sigma"] == pytest.approx(1)
    assert row["df"] == 2
    assert row["ci_high"] == pytest.approx(2 + 4.302653 / np.sqrt(3), rel=1e-6)


def test_weighted_mean_of_ratios_by_hand():
    # Ratios 1 and 3 with variances 0.01 and 0.0025.
    row = wald_weighted(pack([1.0, 2.0], [1.0, 6.0]), min_instruments=2).table.iloc[0]
    assert row["beta"] == pytest.approx((100 * 1 + 400 * 3) / 500)
    assert row["se"] == pytest.approx(1 / np.sqrt(500))
    assert row["q"] == pytest.approx(100 * 1.6**2 + 400 * 0.4**2)


def test_second_order_by_hand():
    row = wald_weighted(pack([2.0], [6.0], 0.1, 0.2), min_instruments=1, order="second").table.iloc[0]
    assert row["se"] == pytest.approx(np.sqrt(0.2**2 / 4 + 36 * 0.1**2 / 16))


def test_first_order_equals_fixed_ivw():
    given = simulated()
    ours, other = wald_weighted(given).table, ivw_fixed(given).table
    assert ours["beta"].to_numpy() == pytest.approx(other["beta"].to_numpy())
    assert ours["se"].to_numpy() == pytest.approx(other["se"].to_numpy())


def test_instruments_without_a_ratio_are_left_out_and_said_so(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("deepmr"), "propagate", True)  # the command line turns it off
    with caplog.at_level(logging.WARNING):
        estimates = wald(pack([0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0], np.ones(7), counts=[4, 3]))
    assert "left out 2 of 7 instruments" in caplog.text
    assert estimates.table["n"].tolist() == [3]
    assert estimates.skipped["reason"][0] == "needs at least 3 instruments with a non-zero exposure effect; has 2"


def test_shared_error_of_the_mean_of_ratios_by_hand():
    factors = np.zeros((2, 2, 2))
    factors[0, :, 1] = [0.3, 0.6]  # moves the ratios by 0.3 and 0.3
    factors[1, :, 0] = [0.1, 0.2]  # moves them by -1 * 0.1 / 1 and -2 * 0.2 / 2
    estimates = wald(pack([1.0, 2.0], [1.0, 4.0], factors=factors), min_instruments=2)
    assert estimates.error_factors[:, 0] == pytest.approx([0.3, -0.15])
    row = estimates.table.iloc[0]
    assert row["se"] == pytest.approx(np.sqrt(0.5 / 2 + 0.3**2 + 0.15**2))
    member = 0.3**2 + 0.15**2
    assert row["df"] == pytest.approx((0.25 + member) ** 2 / (0.25**2 / 1 + member**2 / 1))
