import numpy as np
import pytest
import statsmodels.api as sm

from deepmr.linalg import divide, fit_lines, line_factors, segment_repeat, segment_sum

COUNTS = np.array([0, 3, 0, 5, 40, 0])
OFFSETS = np.concatenate([[0], np.cumsum(COUNTS)])


@pytest.fixture
def rows():
    rng = np.random.default_rng(3)
    n = COUNTS.sum()
    x = rng.normal(size=n) + 3
    return x, 0.4 + 0.7 * x + rng.normal(size=n), rng.uniform(0.5, 4, n)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([2, 1], [3, 3]), ([0, 3], [0, 6]), ([3, 0], [6, 0]), ([0, 1, 0, 0, 2, 0], [0, 1, 0, 0, 5, 0])],
)
def test_segment_sum_of_one_two_three(counts, expected):
    offsets = np.concatenate([[0], np.cumsum(counts)])
    values = np.array([1.0, 2.0, 3.0])
    assert segment_sum(values, offsets).tolist() == expected
    assert segment_sum(np.stack([values, 10 * values]), offsets).tolist() == [expected, [10 * e for e in expected]]


def test_segment_sum_without_rows_or_loci():
    assert segment_sum(np.zeros(0), np.array([0, 0, 0])).tolist() == [0, 0]
    assert segment_sum(np.zeros((2, 0)), np.array([0])).shape == (2, 0)


def test_segment_repeat():
    assert segment_repeat(np.array([7.0, 8.0, 9.0]), np.array([0, 2, 2, 3])).tolist() == [7, 7, 9]


def test_divide_where_there_is_something_to_divide_by():
    assert divide(np.array([1.0, 1.0]), np.array([2.0, 0.0]), otherwise=-1.0).tolist() == [0.5, -1]


def test_a_line_through_three_points_by_hand():
    fit = fit_lines(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0]), np.ones(3), np.array([0, 3]), intercept=True)
    assert fit.slope[0] == pytest.approx(0.5)
    assert fit.intercept[0] == pytest.approx(1.0)
    assert fit.residual == pytest.approx([-0.5, 1.0, -0.5])
    assert (fit.residual_ss[0], fit.df[0], fit.slope_unscaled[0]) == pytest.approx((1.5, 1, 0.5))
    assert fit.intercept_unscaled[0] == pytest.approx(1 / 3 + 4 / 2)


@pytest.mark.parametrize("intercept", [False, True])
def test_lines_equal_weighted_least_squares_of_statsmodels(rows, intercept):
    x, y, weights = rows
    fit = fit_lines(x, y, weights, OFFSETS, intercept=intercept)
    for i in np.flatnonzero(COUNTS):
        part = slice(OFFSETS[i], OFFSETS[i + 1])
        design = sm.add_constant(x[part]) if intercept else x[part][:, None]
        other = sm.WLS(y[part], design, weights=weights[part]).fit()
        assert fit.slope[i] == pytest.approx(other.params[-1], rel=1e-10)
        assert fit.slope_unscaled[i] == pytest.approx(other.normalized_cov_params[-1, -1], rel=1e-10)
        assert fit.dispersion[i] == pytest.approx(other.scale, rel=1e-10)
        assert fit.df[i] == other.df_resid
        if intercept:
            assert fit.intercept[i] == pytest.approx(other.params[0], rel=1e-10)
            assert fit.intercept_unscaled[i] == pytest.approx(other.normalized_cov_params[0, 0], rel=1e-10)
    assert not fit.identified[COUNTS == 0].any()
    assert np.isnan(fit.slope[COUNTS == 0]).all()


def test_nearly_equal_x_cost_no_digits():
    x = 1 + 1e-6 * np.arange(5.0)
    fit = fit_lines(x, 2 + 3 * x, np.ones(5), np.array([0, 5]), intercept=True)
    assert fit.slope[0] == pytest.approx(3, rel=1e-8)


@pytest.mark.parametrize(("x", "intercept"), [([0.3, 0.3, 0.3], True), ([0.0, 0.0, 0.0], False)])
def test_lines_that_the_rows_do_not_determine(x, intercept):
    fit = fit_lines(np.array(x), np.array([1.0, 2.0, 3.0]), np.full(3, 0.7), np.array([0, 3]), intercept=intercept)
    assert not fit.identified[0]
    assert np.isnan(fit.slope[0])
    assert fit.residual.tolist() == [0, 0, 0]


def test_one_row_has_the_dispersion_of_its_weight():
    fit = fit_lines(np.array([2.0]), np.array([1.0]), np.array([4.0]), np.array([0, 1]))
    assert (fit.slope[0], fit.df[0], fit.dispersion[0], fit.slope_unscaled[0]) == (0.5, 0, 1, 1 / 16)


@pytest.mark.parametrize("intercept", [False, True])
def test_factors_equal_finite_differences(rows, intercept):
    x, y, weights = rows
    rng = np.random.default_rng(1)
    f, g = rng.normal(size=(2, 3, len(x)))
    fit = fit_lines(x, y, weights, OFFSETS, intercept=intercept)
    slope, constant = line_factors(fit, x, weights, OFFSETS, x_factors=f, y_factors=g)
    step = 1e-6
    for k in range(3):
        up = fit_lines(x + step * f[k], y + step * g[k], weights, OFFSETS, intercept=intercept)
        down = fit_lines(x - step * f[k], y - step * g[k], weights, OFFSETS, intercept=intercept)
        some = COUNTS > 0
        assert slope[k][some] == pytest.approx(((up.slope - down.slope) / (2 * step))[some], rel=1e-6, abs=1e-8)
        if intercept:
            moved = (up.intercept - down.intercept) / (2 * step)
            assert constant[k][some] == pytest.approx(moved[some], rel=1e-6, abs=1e-7)
    assert (slope[:, COUNTS == 0] == 0).all()
