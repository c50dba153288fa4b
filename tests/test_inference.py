import numpy as np
import pytest

from deepmr.inference import (
    chi2_tail,
    i_squared,
    interval,
    moderate_variances,
    quantile,
    total_error,
    two_sided,
)

ONE = np.array([1.0])


def test_quantiles_of_the_tables():
    assert quantile(0.95, np.array([np.inf, 10.0, 1.0])) == pytest.approx([1.959964, 2.228139, 12.706205], abs=1e-6)
    assert quantile(0.9) == pytest.approx(1.644854, abs=1e-6)


def test_interval_is_symmetric_about_beta():
    low, high = interval(np.array([2.0]), ONE, df=np.array([4.0]), level=0.9)
    assert (low[0], high[0]) == pytest.approx((2 - 2.131847, 2 + 2.131847), abs=1e-6)


def test_small_p_values_do_not_round_to_zero():
    assert two_sided(np.array([30.0]), ONE)[0] == pytest.approx(9.8e-198, rel=0.01)
    assert two_sided(np.array([1e6]), ONE, df=np.array([3.0]))[0] == pytest.approx(2.2053e-18, rel=1e-3)


def test_p_value_where_nothing_is_uncertain():
    beta, se = np.array([0.0, 1.0]), np.zeros(2)
    assert two_sided(beta, se).tolist() == [1, 0]


def test_chi_square_tail():
    assert chi2_tail(np.array([3.841459, 5.0]), np.array([1.0, 0.0])) == pytest.approx([0.05, 1.0], abs=1e-7)


def test_i_squared_by_hand():
    assert i_squared(np.array([20.0, 5.0, 0.0]), 10.0).tolist() == [0.5, 0, 0]


def test_total_error_by_hand():
    factors = np.array([[0.6], [-0.6], [0.0]])  # variance 0.72 from 3 members
    error = total_error(np.array([0.28]), 7.0, factors)
    assert error.se[0] == pytest.approx(1)
    assert error.sampling[0] ** 2 == pytest.approx(0.28)
    assert error.member[0] ** 2 == pytest.approx(0.72)
    assert error.df[0] == pytest.approx(1 / (0.28**2 / 7 + 0.72**2 / 2))


@pytest.mark.parametrize(
    ("variance", "df", "factors", "expected"),
    [
        (1.0, 5.0, np.zeros((4, 1)), 5.0),
        (0.0, 5.0, np.full((4, 1), 0.1), 3.0),
        (0.0, np.inf, np.zeros((4, 1)), np.inf),
        (0.0, 5.0, np.zeros((4, 1)), 5.0),
        (2.0, np.inf, np.zeros((0, 1)), np.inf),
        (2.0, 8.0, np.zeros((0, 1)), 8.0),
        (1e-200, 6.0, np.zeros((2, 1)), 6.0),
    ],
)
def test_degrees_of_freedom_at_the_limits(variance, df, factors, expected):
    assert total_error(np.array([variance]), df, factors).df[0] == pytest.approx(expected)


def test_moderation_finds_a_common_variance():
    rng = np.random.default_rng(0)
    variance = 2.0 * rng.chisquare(4, 20_000) / 4
    moderated = moderate_variances(variance, 4.0)
    assert np.ptp(moderated) < 0.05 * np.ptp(variance)
    assert moderated.mean() == pytest.approx(2, rel=0.03)


def test_moderation_finds_the_prior():
    rng = np.random.default_rng(0)
    true = 10 / rng.chisquare(10, 50_000)  # scaled inverse chi-square: d0 = 10, s0 = 1
    moderated = moderate_variances(true * rng.chisquare(4, 50_000) / 4, 4.0)
    # Given the data, the true variance has mean (d0 s0 + df v) / (d0 + df - 2).
    assert np.polyfit(moderated, true, 1)[0] == pytest.approx(14 / 12, rel=0.02)


def test_moderation_leaves_what_it_cannot_judge():
    assert moderate_variances(np.array([1.0, 0.0, 4.0]), 4.0).tolist() == [1, 0, 4]
    assert moderate_variances(np.full(5, 0.0), 4.0).tolist() == [0] * 5
