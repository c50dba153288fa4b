"""Simulated effects that go with context."""

import numpy as np
import pytest

from deepmr.io.motifs import paper_motifs
from deepmr.simulate.contextual import (
    LAWS,
    law_of,
    simulate_context_effects,
    simulate_context_instruments,
    simulate_spacing_effects,
)


@pytest.mark.parametrize("law", LAWS)
def test_truth_is_the_law_and_errors_are_as_told(law):
    made = simulate_context_effects(law, n_loci=2000, n_new=10, tau=0.08)
    truth = made.truth["context_beta"].to_numpy()
    np.testing.assert_array_equal(truth, law_of(law, made.true_contexts))
    assert np.std(made.truth["own_beta"] - truth) == pytest.approx(0.08, rel=0.05)
    table = made.estimates.table
    assert np.std((table["beta"] - made.truth["own_beta"][:2000]) / table["se"]) == pytest.approx(1, rel=0.05)


def test_the_interaction_law_has_the_spread_that_is_stated():
    """A spread of 0.17, of which a line in all contexts leaves 0.12."""
    c = np.random.default_rng(0).standard_normal((20000, 6))
    f, x = law_of("interaction", c), np.column_stack([np.ones(20000), c])
    left = f - x @ np.linalg.lstsq(x, f, rcond=None)[0]
    assert f.std() == pytest.approx(0.17, abs=0.004)
    assert left.std() == pytest.approx(0.12, abs=0.004)


def test_members_are_off_together():
    made = simulate_context_effects("constant", n_loci=3000, n_members=5, tau=0.0, se=(0.01, 0.02))
    factors = made.estimates.error_factors
    assert factors.shape == (5, 3000)
    off = made.estimates.table["beta"] - 0.3
    assert abs(off.mean()) < 8.6 * np.sqrt((factors.mean(axis=1) ** 2).sum())


def test_spacing_effects_fall_with_the_gap():
    made = simulate_spacing_effects(paper_motifs(), n_loci=60)
    gap, beta = made.true_contexts[:, 0], made.truth["own_beta"].to_numpy()
    near, far = beta[gap < 30], beta[gap > 60]
    assert np.median(near) > 1.7 * np.median(far)
    shuffled = simulate_spacing_effects(paper_motifs(), n_loci=60, shuffled=True)
    assert sorted(shuffled.true_contexts[:, 0]) == sorted(gap)
    assert not np.array_equal(shuffled.true_contexts[:, 0], gap)


def test_instruments_have_the_strength_and_direct_effects_that_are_asked_for():
    instruments, contexts, truth = simulate_context_instruments(n_loci=200, mean_f=30.0, direct=1.0)
    f = (instruments.beta_exposure / instruments.se_exposure) ** 2
    assert f.mean() == pytest.approx(30, rel=0.05)
    np.testing.assert_allclose(truth["intercept"], 0.02 * (1 + contexts["context1"]))
