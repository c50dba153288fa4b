"""Coverage of intervals of beta(c), in the range of the training contexts and outside of it."""

import numpy as np
import pytest

from deepmr.contextual import fit_context
from deepmr.simulate.contexts import simulate_contexts


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["random", "discs"])
def test_intervals_hold_the_truth_in_range_and_outside(sampling):
    """Over truths that no shape contains; of eight drawings, whose average may be off by some points."""
    inside, outside = [], []
    for design in ("quadratic", "sine", "step", "product"):
        for seed, noise in ((0, 0.1), (1, 0.5)):
            drawn = simulate_contexts(design, sampling=sampling, noise_sd=noise, seed=seed, n_test=300)
            chosen = np.random.default_rng(seed).permutation(len(drawn.test))[:300]
            told = fit_context(drawn.train, method="gp").coefficients(drawn.test.contexts[chosen])
            hit = np.abs(told.beta[:, 0] - drawn.beta_test[chosen]) <= 1.96 * told.se_beta[:, 0]
            inside.append(hit[~told.outside].mean())
            outside.append(hit[told.outside].mean())
    assert 0.9 < np.mean(inside) < 0.99
    assert np.mean(outside) > 0.85
    assert np.mean(told.outside) > (0.5 if sampling == "discs" else 0.0)
