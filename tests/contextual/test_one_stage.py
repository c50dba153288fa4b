"""Contextual Mendelian randomization from instruments: exact reduction, agreement with two stages, Egger."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.contextual.causal import fit_contextual_mr
from deepmr.contextual.contextual_egger import fit_contextual_egger
from deepmr.contextual.kernel_model import KernelModel, factor
from deepmr.contextual.kernel_posterior import posterior
from deepmr.contextual.loci import locus_effects_from
from deepmr.contextual.one_stage import fit_one_stage, locus_statistics
from deepmr.errors import InputError
from deepmr.mr import estimate_effects
from deepmr.simulate.contextual import simulate_context_instruments

NAMES = ["context1", "context2", "context3"]


def test_slopes_say_all_that_rows_do():
    """The likelihood of all rows, and f, against those of a slope a locus: the same up to a constant."""
    instruments, contexts, _ = simulate_context_instruments(n_loci=8, n_instruments=4)
    found = locus_statistics(instruments, exposure_errors="ignored", pleiotropy=0.01)
    z = contexts[NAMES].to_numpy()
    group = np.repeat(np.arange(8), 4)
    x, noise = instruments.beta_exposure, instruments.se_outcome**2 + 0.01**2
    shared = {"scatter": (0,), "residual": False, "weak": False}
    rows = KernelModel(
        z=z[group], x=x, y=instruments.beta_outcome, noise=noise, counts=np.ones(32), groups=group, **shared
    )
    slopes = KernelModel(
        z=z, x=np.ones((8, 1)), y=found.beta, noise=found.se**2, counts=np.ones(8), groups=np.arange(8), **shared
    )
    rng, gaps = np.random.default_rng(0), []
    for _ in range(3):
        theta = rng.normal(-1, 0.5, rows.layout.size)
        one, two = factor(rows, theta), factor(slopes, theta)
        gaps.append(one.value - two.value)
        a, b = posterior(rows, one, z + 0.1), posterior(slopes, two, z + 0.1)
        np.testing.assert_allclose(a.mean, b.mean, atol=1e-9)
        np.testing.assert_allclose(a.covariance, b.covariance, atol=1e-9)
    np.testing.assert_allclose(gaps, gaps[0], atol=1e-7)


def test_one_stage_and_two_agree_where_instruments_are_strong():
    instruments, contexts, _ = simulate_context_instruments(n_loci=50, mean_f=200.0)
    one, skipped = fit_one_stage(instruments, contexts, method="linear")
    two = locus_effects_from(estimate_effects(instruments, methods=["ivw_fixed"]), contexts)[0]
    two = fit_contextual_mr(two, method="linear")
    a, b = (fit.predict(contexts[NAMES].to_numpy()) for fit in (one, two))
    assert len(skipped) == 0
    assert np.abs(a["beta"] - b["beta"]).max() < 0.5 * b["se"].mean()
    assert np.sqrt(np.mean((a["beta"] - b["beta"]) ** 2)) < 0.2 * b["se"].mean()


def test_weak_instruments_are_corrected():
    """F of 8: slopes lose an eighth, corrected ones nothing; direct effects are told apart from errors."""
    slopes = {"corrected": [], "ignored": []}
    for seed in range(3):
        instruments, _, truth = simulate_context_instruments(n_loci=150, mean_f=8.0, pleiotropy=1.0, seed=seed)
        for how, found in slopes.items():
            made = locus_statistics(instruments, exposure_errors=how)
            found.append(np.mean(made.beta) / np.mean(truth["own_beta"]))
            assert made.pleiotropy == pytest.approx(0.02, rel=0.1)
            if how == "corrected":
                z = (made.beta - truth["own_beta"]) / made.se
                assert 0.85 < np.std(z) < 1.15
    assert np.mean(slopes["corrected"]) == pytest.approx(1.0, abs=0.04)
    assert np.mean(slopes["ignored"]) < 0.92


def test_members_errors_go_on_to_slopes():
    instruments, contexts, _ = simulate_context_instruments(n_loci=30, mean_f=400.0)
    factors = np.zeros((2, 600, 2))
    factors[0, :, 1] = 0.01 * instruments.beta_exposure[:, 0]  # a member whose slopes are all 0.01 higher
    with_members = replace(instruments, error_factors=factors)
    found = locus_statistics(with_members)
    np.testing.assert_allclose(found.factors[0], 0.01, rtol=0.02)
    fit, _ = fit_one_stage(with_members, contexts, method="constant")
    np.testing.assert_allclose((fit.effects.error_factors**2).sum(axis=0), 0.01**2, rtol=0.1)


def test_loci_without_strength_are_skipped():
    instruments, contexts, _ = simulate_context_instruments(n_loci=10, n_instruments=3)
    rng = np.random.default_rng(0)
    x = instruments.beta_exposure.copy()
    x[:3] = 0.3 * instruments.se_exposure[:3] * rng.standard_normal((3, 1))
    weak = replace(instruments, beta_exposure=x)
    fit, skipped = fit_one_stage(weak.take(np.arange(30) < 27), contexts, method="constant")
    assert dict(zip(skipped["locus"], skipped["reason"], strict=True)) == {
        "locus0": "not identified: the exposure effects are no larger than their errors",
        "locus9": "no instruments",
    }
    assert len(fit.effects) == 8
    with pytest.raises(InputError, match="one exposure is needed; got 2"):
        locus_statistics(
            replace(
                instruments,
                exposures=("a", "b"),
                beta_exposure=np.repeat(x, 2, axis=1),
                se_exposure=np.repeat(instruments.se_exposure, 2, axis=1),
            )
        )


def test_intercept_and_slope_go_with_context():
    """Direct effects to one side that grow with a context: Egger tells them from the slope, slopes alone do not."""
    instruments, contexts, truth = simulate_context_instruments(
        n_loci=40, mean_f=200.0, direct=2.0, n_contexts=3, seed=1
    )
    egger, skipped = fit_contextual_egger(instruments, contexts)
    at = contexts[NAMES].to_numpy()
    told, plain = egger.predict(at), fit_one_stage(instruments, contexts)[0].predict(at)
    assert len(skipped) == 0
    slope, constant = np.polyfit(truth["intercept"], told["intercept"], 1)
    assert slope == pytest.approx(1.0, abs=0.1)
    assert abs(constant) < 0.01
    off = [np.sqrt(np.mean((one["beta"] - truth["context_beta"]) ** 2)) for one in (told, plain)]
    assert off[0] < 0.5 * off[1]
    assert 0.9 < egger.i2_gx < 1


def test_egger_without_errors_of_exposures_is_weighted_least_squares():
    """With constant coefficients and no scatter, one line for all rows."""
    instruments, contexts, _ = simulate_context_instruments("constant", n_loci=12, n_instruments=5, tau=0.0)
    egger, _ = fit_contextual_egger(instruments, contexts, exposure_errors="ignored")
    constant = max((c for c in egger.mixture.components if c.model.shape == "constant"), key=lambda c: c.weight)
    theta = np.full(2, np.log(1e-12))
    at = factor(constant.model, theta, with_gradient=False)
    weight = 1 / (instruments.se_outcome**2 + egger.pleiotropy**2)
    design = np.column_stack([np.ones(60), instruments.beta_exposure[:, 0]])
    line = np.linalg.solve((design.T * weight) @ design, (design.T * weight) @ instruments.beta_outcome)
    np.testing.assert_allclose(at.constant * egger.units, line, rtol=1e-6)
