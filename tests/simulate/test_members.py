"""Members around known effects: errors of the size that is asked for, smooth, and shared in the part that is shared."""

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.simulate.members import WIDTH, add_member_errors

LENGTH = 60


def places(n_loci):
    return {"locus": np.repeat(np.arange(n_loci), LENGTH), "offset": np.tile(np.arange(LENGTH), n_loci)}


def test_without_errors_every_member_says_the_truth():
    exact = np.arange(2 * LENGTH, dtype=float)[:, None]
    found = add_member_errors(exact, n_members=3, relative=0.0, common=0.0, floor=0.0, **places(2))
    np.testing.assert_array_equal(found, np.broadcast_to(exact, (3, *exact.shape)))


def test_a_common_error_scales_all_effects_of_a_member_alike():
    exact = np.random.default_rng(0).normal(size=(2 * LENGTH, 2))
    found = add_member_errors(exact, n_members=4, relative=0.0, common=0.1, floor=0.0, seed=3, **places(2))
    gain = found / exact
    np.testing.assert_allclose(gain, np.broadcast_to(gain[:, :1], gain.shape))
    assert len(np.unique(gain[:, 0].round(6))) == 8, "every member and task has its own"


@pytest.mark.parametrize(("relative", "floor"), [(0.1, 0.0), (0.0, 0.1)])
def test_the_truth_is_to_the_members_as_one_more_is(relative, floor):
    n_loci, k = 400, 4
    exact = np.full((n_loci * LENGTH, 1), 2.0)
    found = add_member_errors(exact, n_members=k, relative=relative, common=0.0, floor=floor, seed=1, **places(n_loci))[
        ..., 0
    ]
    variance = (2 * 0.1) ** 2
    assert np.var(found, axis=0, ddof=1).mean() == pytest.approx(variance, rel=0.05)
    missed = (found.mean(axis=0) - 2.0).reshape(n_loci, LENGTH)
    assert np.mean(missed**2) == pytest.approx((1 + 1 / k) * variance, rel=0.07)
    at = np.mean(missed**2, axis=0)
    assert at[[0, -1]].mean() == pytest.approx(at[10:-10].mean(), rel=0.2), "as large at the ends as within"
    lag = 5
    alike = np.mean(missed[:, 20] * missed[:, 20 + lag]) / np.mean(missed**2)
    assert alike == pytest.approx(np.exp(-((lag / WIDTH) ** 2) / 4), abs=0.1)


def test_an_effect_of_nothing_has_no_error_in_proportion():
    exact = np.zeros((LENGTH, 1))
    assert not add_member_errors(exact, floor=0.1, **places(1)).any()
    assert add_member_errors(exact[:0], locus=np.zeros(0, int), offset=np.zeros(0, int)).shape == (5, 0, 1)


def test_bad_sizes_are_refused():
    with pytest.raises(InputError, match="n_members"):
        add_member_errors(np.ones((LENGTH, 1)), n_members=0, **places(1))
    with pytest.raises(InputError, match="floor"):
        add_member_errors(np.ones((LENGTH, 1)), floor=-1.0, **places(1))
