"""Errors known to few degrees of freedom: weights and tails, alike in contextual fits and in what they have to beat."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from deepmr.contextual.causal import fit_contextual_mr
from deepmr.contextual.comparators import fit_comparator, predict_contextual
from deepmr.contextual.held_out import score_held_out
from deepmr.contextual.local_errors import error_scales, error_weights, heavy_se
from deepmr.contextual.loci import locus_effects_from
from deepmr.simulate.contextual import simulate_context_effects


def heavy(seed, n=90, df=4.0):
    """Loci that contexts say nothing of, errors with Student's t."""
    given = simulate_context_effects("constant", n_loci=n, n_new=0, n_contexts=3, seed=seed)
    effects, _ = locus_effects_from(given.estimates, given.contexts)
    rng = np.random.default_rng(seed)
    beta = 0.3 + 0.05 * rng.standard_normal(n) + effects.se * rng.standard_t(df, n)
    return replace(effects, beta=beta, df=np.full(n, df))


def test_weights_by_hand():
    known, df = np.array([1.0, 1.0, 4.0]), np.array([3.0, np.inf, 3.0])
    np.testing.assert_allclose(error_weights(np.array([9.0, 9.0, 4.0]), known, df), [4 / 12, 1.0, 1.0])


@pytest.mark.parametrize("df", [4.0, 10.0])
def test_scales_mix_normal_distributions_to_t(df):
    at = np.linspace(-3, 3, 13)
    scales = error_scales(np.full(13, df), 13)
    mixed = (stats.norm.pdf(at / np.sqrt(scales)) / np.sqrt(scales)).mean(axis=0)
    np.testing.assert_allclose(mixed, stats.t.pdf(at, df), rtol=0.05)
    assert (error_scales(np.full(2, 1e3), 2) == 1).all()
    assert error_scales(None, 5).shape == (1, 5)


def test_t_errors_by_the_likelihood_itself():
    """With no scatter the mean is that of the highest likelihood of a t distribution."""
    effects = heavy(1, n=30, df=3.0)
    ones = np.ones((30, 1))
    se = heavy_se(effects.beta, effects.se, ones, effects.df, factors=None, tau2=0.0)
    mean = (effects.beta / se**2).sum() / (1 / se**2).sum()
    grid = np.linspace(mean - 0.1, mean + 0.1, 2001)
    value = stats.t.logpdf((effects.beta[:, None] - grid) / effects.se[:, None], 3).sum(axis=0)
    assert mean == pytest.approx(grid[value.argmax()], abs=0.01)
    known = heavy_se(effects.beta, effects.se, ones, np.full(30, 1e3), factors=None, tau2=None)
    np.testing.assert_array_equal(known, effects.se)


def test_no_model_is_ahead_by_the_tails_of_its_errors():
    """A contextual fit of a constant and random effects are one model, whatever the errors."""
    found = score_held_out(heavy(1), methods=("random", "contextual"), options={"method": "constant"}, n_folds=2)
    assert abs(found.difference("random")[0]) < 0.01


def test_intervals_of_heavy_errors_hold():
    effects = heavy(3, n=200)
    train, other = effects.take(np.arange(60)), effects.take(np.arange(60, 200))
    contextual = predict_contextual(fit_contextual_mr(train, method="constant"), other)
    random = fit_comparator("random", train, local_errors="t").predict(other)
    np.testing.assert_allclose(random.high - random.low, contextual.high - contextual.low, rtol=0.1)
    assert abs(np.mean((random.low <= other.beta) & (other.beta <= random.high)) - 0.95) < 0.05
    assert (fit_comparator("random", train).predict(other).high < random.high).mean() > 0.5
