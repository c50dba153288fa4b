"""Numbers that only just fit: scatter far beyond errors, ratios beyond floating point, effects of any unit."""

import warnings

import numpy as np
import pytest

from deepmr.mr import METHODS
from tests.mr.builders import deviations, pack, rescaled, simulated


@pytest.mark.parametrize("method", ["ivw_penalised", "egger_penalised"])
@pytest.mark.parametrize("members", [0, 5])
def test_penalties_that_leave_nothing_are_a_reason(method, members):
    """Every ratio is hundreds of errors from the others: standard errors of 1e97 would come of the penalties."""
    x = np.linspace(0.5, 2, 12)
    y = x * np.tile([1.0, -1, 2, -3], 3)
    rng = np.random.default_rng(1)
    factors = deviations(rng.normal(size=(members, 12, 2))) * 1e-3 if members else None
    skipped = METHODS[method](pack(x, y, 1e-3, 1e-3, factors=factors)).skipped
    assert skipped["reason"].tolist() == [
        "its instruments scatter so far beyond their errors that penalties leave less than "
        + ("1 of them" if method == "ivw_penalised" else "2 of them")
    ]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("members", [0, 4])
def test_an_exposure_effect_of_next_to_nothing_neither_warns_nor_stops_other_loci(method, members):
    given = simulated(counts=(12, 12), members=members)
    given.beta_exposure[0] = 1e-300
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if method == "cml" else "error")  # cml: overflow in a start it then leaves
        estimates = METHODS[method](given)
    done = estimates.table["locus"].tolist()
    assert done == ["locus0", "locus1"] or (method == "anderson_rubin" and estimates.skipped["reason"].all())
    assert np.isfinite(estimates.table[["beta", "se"]].to_numpy(float)).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_units_far_from_one(method, unit):
    given = simulated(counts=(12,))
    base, other = (METHODS[method](g).table.iloc[0] for g in (given, rescaled(given, outcome=unit)))
    assert (other["beta"] / unit, other["se"] / unit) == pytest.approx((base["beta"], base["se"]), rel=1e-4)


@pytest.mark.parametrize("method", ["ivw_fixed", "ivw_random", "ivw_robust"])
def test_too_few_with_a_ratio_says_that_it_is_about_ratios(method):
    skipped = METHODS[method](pack([0.0, 1.0, 2.0], [0.1, 0.5, 1.0]), weights="delta").skipped
    assert skipped["reason"].tolist() == ["needs at least 3 instruments with a non-zero exposure effect; has 2"]
