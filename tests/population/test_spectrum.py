import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.population.spectrum import Spectrum, spectrum_of_effects, spectrum_of_kinship


def rebuilt(spectrum):
    return spectrum.vectors.T * spectrum.eigenvalues @ spectrum.vectors


@pytest.mark.parametrize(("samples", "effects"), [(30, 7), (30, 30), (7, 50), (30, 1)])
def test_effects_have_the_spectrum_of_their_products(samples, effects):
    z = np.random.default_rng(0).normal(size=(samples, effects))
    spectrum = spectrum_of_effects(z)
    np.testing.assert_allclose(rebuilt(spectrum), z @ z.T, atol=1e-12)
    np.testing.assert_allclose(spectrum.vectors @ spectrum.vectors.T, np.eye(spectrum.rank), atol=1e-12)
    assert spectrum.rank == min(samples, effects)
    assert spectrum.low_rank == (effects < samples)
    centred = z - z.mean(0)
    assert spectrum.mean_diagonal == pytest.approx(np.trace(centred @ centred.T) / samples)


def test_effects_that_repeat_each_other_count_once():
    z = np.random.default_rng(0).normal(size=(20, 3))
    assert spectrum_of_effects(np.column_stack([z, z[:, 0] + z[:, 1]])).rank == 3
    wide = spectrum_of_effects(np.tile(z[:4], 5))  # 4 samples, 15 columns of rank 3
    assert wide.rank == 4
    assert wide.eigenvalues[-1] == pytest.approx(0, abs=1e-12)


def test_wide_effects_need_no_square_of_the_effects():
    spectrum = spectrum_of_effects(np.random.default_rng(0).normal(size=(5, 60_000)))  # whose square is 29 GB
    assert spectrum.vectors.shape == (5, 5)


def test_only_what_is_symmetric_and_semidefinite_is_a_kinship():
    with pytest.raises(InputError, match=r"kinship must be symmetric; entries across the diagonal differ by up to"):
        spectrum_of_kinship(np.array([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(InputError, match=r"smallest eigenvalue is -0\.05, where the largest is 2"):
        spectrum_of_kinship(np.diag([2.0, 1.0, -0.05]))
    with pytest.raises(InputError, match="kinship must be finite"):
        spectrum_of_kinship(np.array([[1.0, np.nan], [np.nan, 1.0]]))


def test_rounding_below_zero_is_cut():
    spectrum = spectrum_of_kinship(np.diag([2.0, 1.0, -1.9e-8]))
    np.testing.assert_array_equal(spectrum.eigenvalues, [2.0, 1.0, 0.0])
    with pytest.raises(InputError, match=r"-2\.1e-08"):
        spectrum_of_kinship(np.diag([2.0, 1.0, -2.1e-8]))


def test_negative_eigenvalues_are_cut_where_that_is_asked_for():
    spectrum = spectrum_of_kinship(np.diag([2.0, 1.0, -0.05]), negative="cut")
    np.testing.assert_array_equal(spectrum.eigenvalues, [2.0, 1.0, 0.0])
    assert spectrum.source == "kinship, negative eigenvalues to -0.05 cut"
    with pytest.raises(InputError, match="smallest eigenvalue is -2"):
        spectrum_of_kinship(np.diag([-2.0, -1.0]), negative="cut")


def test_asymmetry_is_seen_wherever_it_is():
    k = np.eye(1100)
    k[1050, 20] = 0.3
    with pytest.raises(InputError, match=r"differ by up to 0\.3"):
        spectrum_of_kinship(k)


def test_scaling_needs_a_positive_mean_diagonal():
    with pytest.raises(InputError, match="the mean diagonal must be positive"):
        spectrum_of_kinship(np.ones((3, 3)), scaling="mean_diagonal")
    with pytest.raises(InputError, match="random effects must not all be zero"):
        spectrum_of_effects(np.zeros((3, 2)))


def test_a_spectrum_checks_itself():
    with pytest.raises(InputError, match="at most 2 vectors; got 3"):
        Spectrum(eigenvalues=np.ones(3), vectors=np.ones((3, 2)), mean_diagonal=1.0)
    with pytest.raises(InputError, match="rank must be at least 1"):
        spectrum_of_kinship(np.eye(2)).truncate(0)
