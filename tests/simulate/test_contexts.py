"""Ready designs of varying coefficients: sizes, laws and seeds."""

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.simulate.contexts import DESIGNS, simulate_contexts


@pytest.mark.parametrize("design", list(DESIGNS))
@pytest.mark.parametrize("sampling", ["discs", "random", "grid"])
def test_outcomes_follow_from_the_true_slopes(design, sampling):
    drawn = simulate_contexts(design, sampling=sampling, noise_sd=0.0, n_test=50)
    for data, beta in ((drawn.train, drawn.beta_train), (drawn.test, drawn.beta_test)):
        np.testing.assert_allclose(data.outcomes[:, 0], (beta * data.predictors).sum(axis=1))
        np.testing.assert_array_equal(beta, drawn.truth(data.contexts[:, :2]))


def test_discs_are_those_of_the_demo():
    drawn = simulate_contexts("quadratic", sampling="discs", n_noise_contexts=0)
    assert (len(drawn.train), len(drawn.test), drawn.train.contexts.shape[1]) == (221, 5404, 2)
    assert np.abs(np.abs(drawn.train.contexts) - 0.25).max() <= 0.35


def test_seed_makes_the_data_and_ranges_hold():
    one, two, other = (simulate_contexts("sine", seed=s, test_range=2.0) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.train.outcomes, two.train.outcomes)
    assert (one.train.outcomes != other.train.outcomes).all()
    assert 1.9 < np.abs(one.test.contexts[:, :2]).max() <= 2.0
    assert np.abs(one.train.contexts[:, :2]).max() <= 1.0


def test_what_is_not_known_is_refused():
    with pytest.raises(InputError, match="design"):
        simulate_contexts("cubic")
    with pytest.raises(InputError, match="sampling"):
        simulate_contexts("sine", sampling="circles")
