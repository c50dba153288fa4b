"""Loci far from f: found, told, and not shrunk to it; normal scatter is left as it is."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from deepmr.contextual.causal import fit_contextual_mr
from deepmr.contextual.loci import locus_effects_from
from deepmr.contextual.locus_posterior import old_loci
from deepmr.contextual.outlying import find_outlying, own_effects
from deepmr.simulate.contextual import simulate_context_effects

FAR = np.arange(100) < 3


@pytest.fixture(scope="module")
def given():
    made = simulate_context_effects("constant", n_loci=100, n_new=0, n_contexts=3, tau=0.0, se=(0.05, 0.1), seed=2)
    return locus_effects_from(made.estimates, made.contexts)[0], made.truth["own_beta"].to_numpy()


@pytest.fixture(scope="module")
def off():
    """Effects of three loci are 1.2 above what their context says; standard errors are on the large side."""
    made = simulate_context_effects("constant", n_loci=100, n_new=0, n_contexts=3, tau=0.0, se=(0.2, 0.3), seed=2)
    effects, truth = locus_effects_from(made.estimates, made.contexts)[0], 0.3 + 1.2 * FAR
    return replace(effects, beta=truth + 0.3 * (effects.beta - 0.3)), truth


def test_residuals_are_about_what_all_other_loci_say(given):
    effects, _ = given
    fit = fit_contextual_mr(effects, method="constant")
    found, unit = find_outlying(fit.mixture), fit.surface.units[0]
    variance = (effects.se**2 + fit.tau**2)[1:]
    mean = (effects.beta[1:] / variance).sum() / (1 / variance).sum()
    spread = np.sqrt(effects.se[0] ** 2 + fit.tau**2 + 1 / (1 / variance).sum())
    assert found.spread[0] * unit.outcome_size == pytest.approx(spread)
    assert found.residual[0] == pytest.approx((effects.beta[0] - mean) / spread)
    assert found.kurtosis == pytest.approx(stats.kurtosis(found.residual))


def test_normal_scatter_is_left_alone(given):
    fit = fit_contextual_mr(given[0], method="constant")
    found = find_outlying(fit.mixture)
    assert (found.share, found.warning) == (0.0, ())
    np.testing.assert_array_equal(own_effects(fit.mixture, found).mean, old_loci(fit.mixture.components).mean)
    assert (fit.locus_effects()["outlying"] == 0).all()


def test_far_loci_keep_their_estimates(off):
    """A few far loci leave tau near 0: all effects were taken for f, those of the far loci too."""
    effects, truth = off
    fit = fit_contextual_mr(effects, method="constant")
    table = fit.locus_effects()
    assert any(sentence.startswith("3 of 100 loci lie farther from f") for sentence in fit.warnings)
    assert (table["outlying"][FAR] > 0.9).all()
    assert (table["outlying"][~FAR] < 0.5).all()
    assert fit.tau < 0.05
    error = np.sqrt(np.mean((table["own_beta"] - truth) ** 2))
    assert error < 0.7 * np.sqrt(np.mean((effects.beta - truth) ** 2))
    assert np.mean((table["own_low"] <= truth) & (truth <= table["own_high"])) > 0.9
