import numpy as np
import pytest
from scipy import optimize

from deepmr.errors import InputError
from deepmr.population import fit_null, project
from tests.population.cohorts import make_cohort, make_spectrum


def make_model(seed=0, **options):
    cohort = make_cohort(seed, **options)
    spectrum = make_spectrum(cohort)
    p = spectrum.vectors
    return cohort, spectrum, project(p @ cohort.phenotypes, p @ cohort.design, spectrum.eigenvalues)


def restricted_likelihood(log_gamma, spectrum, y, x):
    """Minus its logarithm, without constants, by the definition."""
    k = (spectrum.vectors.T * spectrum.eigenvalues) @ spectrum.vectors
    v = np.eye(len(y)) + np.exp(log_gamma) * k
    inverse = np.linalg.inv(v)
    xvx = x.T @ inverse @ x
    left = y - x @ np.linalg.solve(xvx, x.T @ inverse @ y)
    dof = len(y) - x.shape[1]
    return (
        np.linalg.slogdet(v)[1] + np.linalg.slogdet(xvx)[1] + dof * np.log(left @ inverse @ left / dof)
    ) / 2  # fmt: skip


def test_gamma_is_that_of_a_search_by_the_definition():
    cohort, spectrum, model = make_model(1, traits=3, samples=80)
    null = fit_null(model)
    assert null.boundary == ("", "", "")
    for k in range(3):
        y = cohort.phenotypes[:, k]

        def value(log_gamma, y=y):
            return restricted_likelihood(log_gamma, spectrum, y, cohort.design)

        grid = np.linspace(-8, 8, 33)
        near = grid[np.argmin([value(at) for at in grid])]

        def slope(at, value=value):
            return (value(at + 1e-4) - value(at - 1e-4)) / 2e-4

        found = optimize.brentq(slope, near - 0.6, near + 0.6, xtol=1e-9)
        assert null.log_gamma[k] == pytest.approx(found, abs=1e-6)
        curvature = (slope(found + 1e-2) - slope(found - 1e-2)) / 2e-2
        h_sq = 1 / (1 + np.exp(-found))
        assert null.h_sq_se[k] == pytest.approx(h_sq * (1 - h_sq) / np.sqrt(curvature), rel=1e-3)


def test_many_traits_are_each_as_alone():
    cohort, spectrum, model = make_model(2, traits=70, samples=60)
    null = fit_null(model)
    p = spectrum.vectors
    for k in (0, 33, 69):
        alone = fit_null(project(p @ cohort.phenotypes[:, [k]], p @ cohort.design, spectrum.eigenvalues))
        assert null.log_gamma[k] == pytest.approx(alone.log_gamma[0], abs=1e-7)
        np.testing.assert_allclose(null.beta[:, k], alone.beta[:, 0], rtol=1e-6)


def test_boundary():
    _, _, model = make_model(6, traits=1, polygenic=0.0, samples=90)
    assert fit_null(model, on_boundary="clamp").log_gamma[0] == -8
    assert fit_null(model, on_boundary="ols").h_sq[0] == 0
    with pytest.raises(InputError, match="trait 1 of 1: the optimum of log gamma lies at the lower bound, -8"):
        fit_null(model, on_boundary="raise")


def test_a_constant_response_is_named():
    with pytest.raises(InputError, match="response 2 of 2 is constant"):
        project(np.column_stack([np.arange(5.0) ** 2, np.full(5, 3.0)]), np.ones((5, 1)), np.ones(5))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_matrix_that_tells_nothing_of_gamma_is_left_out(share):
    cohort = make_cohort(0, traits=2)
    model = project(cohort.phenotypes, cohort.design, np.full(len(cohort), share))
    null = fit_null(model, on_boundary="ols")
    assert null.boundary == ("lower", "lower")
    assert null.h_sq.tolist() == [0.0, 0.0]
