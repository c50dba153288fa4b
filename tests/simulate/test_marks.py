"""Two marks whose sites and effects on each other are known."""

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.simulate.marks import FLOOR, simulate_marks


def lowered(effects, mark):
    """Positions of every locus at which any edit moves a mark."""
    moved = np.abs(effects.delta[0, :, mark]).reshape(-1, 100, 3).max(axis=2) > 0
    return moved.sum(axis=1)


def test_sites_are_where_and_as_large_as_they_should_be():
    effects = simulate_marks(n_loci=40, noise=0.0)
    for mark in (0, 1):
        assert lowered(effects, mark).tolist() == [8] * 40
        moved = effects.delta[0, :, mark][effects.delta[0, :, mark] != 0]
        assert moved.min() >= -1.0
        assert moved.max() <= -0.3
    two = lowered(simulate_marks(n_loci=40, noise=0.0, n_sites=2), 0)
    assert two.max() == 16
    assert two.min() >= 8


def test_what_acts_on_what():
    alone = simulate_marks(noise=0.0, y_sites=0.0).delta[0]
    assert not alone[:, 1].any()
    forward = simulate_marks(noise=0.0, y_sites=0.0, x_to_y=0.8).delta[0]
    np.testing.assert_allclose(forward[:, 1], 0.8 * alone[:, 0])
    bent = simulate_marks(noise=0.0, y_sites=0.0, x_to_y=0.8, bend=lambda size: size**2).delta[0]
    np.testing.assert_allclose(bent[:, 1], -0.8 * alone[:, 0] ** 2)
    third = simulate_marks(noise=0.0, x_sites=0.0, y_sites=0.0, common=1.0).delta[0]
    assert third.any()
    np.testing.assert_array_equal(third[:, 0], third[:, 1])


def test_errors_of_members_are_in_proportion():
    truth = simulate_marks(n_members=2, noise=0.0).delta[0]
    errors = simulate_marks(n_members=50, noise=0.1, seed=0).delta - truth
    scaled = errors / (0.1 * (FLOOR + np.abs(truth)))
    np.testing.assert_allclose([scaled.mean(), scaled.std()], [0.0, 1.0], atol=0.005)


def test_a_site_longer_than_its_locus_is_refused():
    with pytest.raises(InputError, match="width 8 and length 8"):
        simulate_marks(length=8)
