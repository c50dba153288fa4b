import numpy as np
import pytest

from deepmr.population import chebyshev


def table(function, low, high, centres):
    return np.stack([function(chebyshev.nodes(low, high) - centre) for centre in centres])


def test_minima_inside_are_found_and_their_error_is_known():
    centres = np.array([-0.93, -0.2, 0.0, 0.4, 0.999])
    found = chebyshev.minimise(table(np.cosh, -1.0, 1.0, centres), -1.0, 1.0)
    np.testing.assert_allclose(found.at, centres, atol=1e-9)
    np.testing.assert_allclose(found.value, 1.0, rtol=1e-11)
    assert not found.edge.any()
    assert (found.error < 1e-9).all()


def test_a_function_that_falls_towards_an_end_has_its_minimum_there():
    found = chebyshev.minimise(table(np.cosh, 2.0, 5.0, [1.9, 5.1, 3.0]), 2.0, 5.0)
    np.testing.assert_array_equal(found.edge, [-1, 1, 0])
    np.testing.assert_allclose(found.at, [2, 5, 3], atol=1e-8)


@pytest.mark.parametrize("pole", [0.3, 0.5, 1.0, 2.0])
def test_the_error_is_no_less_than_said_where_points_are_too_few(pole):
    # log(pole^2 + x^2) less a slope: analytic only within `pole` of the interval.
    def function(x):
        return np.log(pole**2 + x**2) - 0.3 * x

    found = chebyshev.minimise(function(chebyshev.nodes(-1.0, 1.0))[None], -1.0, 1.0)
    exact = (1 - np.sqrt(1 - (0.3 * pole) ** 2)) / 0.3
    off = abs(found.at[0] - exact)
    assert off < 10 * found.error[0] + 1e-10


def test_functions_are_interpolated_each_at_a_point_of_its_own():
    at = np.array([0.1, 1.7])
    values = table(np.exp, 0.0, 2.0, [0.0, 1.0])
    np.testing.assert_allclose(chebyshev.interpolate(values, at, 0.0, 2.0), np.exp(at - [0, 1]), rtol=1e-12)


def test_no_function_is_no_error():
    assert len(chebyshev.minimise(np.empty((0, chebyshev.POINTS)), 0.0, 1.0).at) == 0
