"""Methods that select valid instruments or mix valid with invalid ones: known answers, and their slow definitions."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, stats

from deepmr.errors import InputError
from deepmr.mr.cml import cml
from deepmr.mr.contamination_mixture import contamination_mixture
from deepmr.mr.lasso import lasso
from deepmr.mr.mrmix import mrmix
from deepmr.mr.presso import presso, presso_outliers
from tests.mr.builders import pack, simulated


def contaminated(n=30, *, bad=6, seed=0, noise=0.05, shift=1.0):
    """One locus of slope 0.5, of whose instruments the first few have direct effects."""
    given = simulated(counts=(n,), seed=seed, noise=noise)
    return replace(given, beta_outcome=given.beta_outcome + np.where(np.arange(n) < bad, shift, 0.0))


def row(estimates):
    assert estimates.skipped["reason"].tolist() == []
    return estimates.table.iloc[0]


@pytest.mark.parametrize("method", [contamination_mixture, lasso, cml, presso, mrmix])
def test_a_fifth_of_invalid_instruments_hardly_moves_the_effect(method):
    found = row(method(contaminated()))
    assert found["beta"] == pytest.approx(0.5, abs=0.03)
    assert found["ci_low"] < 0.5 < found["ci_high"]


@pytest.mark.parametrize("method", [contamination_mixture, lasso, cml, presso])
def test_the_invalid_instruments_are_counted(method):
    assert row(method(contaminated()))["n_valid"] == pytest.approx(24, abs=1)


# Contamination mixture


def slow_mixture(given, theta):
    """Profile log-likelihood at effects, from its definition."""
    x, y = given.beta_exposure[:, 0], given.beta_outcome
    ratio, se = y / x, np.abs(given.se_outcome / x)
    psi = 1.5 * np.std(ratio, ddof=1)
    valid = stats.norm.logpdf(ratio, theta[:, None], se)
    invalid = stats.norm.logpdf(ratio, 0, np.hypot(psi, se))
    return np.maximum(valid, invalid).sum(axis=1)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("noise", [0.05, 0.5, 2.0])
def test_contamination_mixture_is_the_best_of_a_fine_grid(seed, noise):
    given = contaminated(20, seed=seed, noise=noise, bad=8)
    found = row(contamination_mixture(given))
    grid = np.linspace(found["beta"] - 20 * found["se"], found["beta"] + 20 * found["se"], 40_001)
    height = slow_mixture(given, grid)
    top = slow_mixture(given, np.array([found["beta"]]))[0]
    assert top >= height.max() - 1e-9
    inside = 2 * (top - height) <= stats.chi2.ppf(0.95, 1) * found["sigma"] ** 2
    step = grid[1] - grid[0]
    if not inside[[0, -1]].any():  # else the region has no end
        assert found["ci_low"] == pytest.approx(grid[inside][0], abs=1.01 * step)
        assert found["ci_high"] == pytest.approx(grid[inside][-1], abs=1.01 * step)
        assert found["n_intervals"] == np.sum(np.diff(inside.astype(int)) == 1)
    zero = slow_mixture(given, np.zeros(1))[0]
    assert found["pvalue"] == pytest.approx(stats.chi2.sf(2 * (top - zero) / found["sigma"] ** 2, 1), rel=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_interval_and_p_value_of_the_contamination_mixture_agree(seed):
    given = contaminated(12, seed=seed, noise=0.8, bad=3)
    found = row(contamination_mixture(given))
    if found["n_intervals"] == 1:
        assert (found["pvalue"] < 0.05) == (not found["ci_low"] < 0 < found["ci_high"])


def test_two_camps_make_two_intervals():
    x = np.ones(20)
    y = np.where(np.arange(20) < 10, -2.0, 2.0) + 1e-3 * np.arange(20)
    found = row(contamination_mixture(pack(x, y, 0.01, 0.2)))
    assert found["n_intervals"] == 2
    assert found["ci_low"] < -1.9
    assert found["ci_high"] > 1.9


# Lasso


@pytest.mark.parametrize("penalty", [0.05, 0.3, 1.0])
def test_lasso_minimises_its_criterion(penalty):
    given = contaminated(15, seed=2, noise=0.5)
    found = row(lasso(given, penalty=penalty))
    x, y = np.abs(given.beta_exposure[:, 0]), given.beta_outcome * np.sign(given.beta_exposure[:, 0])
    u, z = x / given.se_outcome, y / given.se_outcome
    projected = np.eye(15) - np.outer(u, u) / (u @ u)
    threshold = 15 * penalty * projected.std(axis=0)

    def criterion(b):
        size = np.abs(z - b * u)
        return np.sum(np.where(size < threshold, size**2 / 2, threshold * (size - threshold / 2)))

    best = optimize.minimize_scalar(criterion, bracket=(-1, 2), tol=1e-12).x
    assert found["beta_penalised"] == pytest.approx(best, abs=1e-6)
    assert found["n_valid"] == np.sum(np.abs(z - best * u) <= threshold)


def test_a_penalty_that_leaves_too_few_is_told():
    skipped = lasso(simulated(counts=(10,)), penalty=1e-9).skipped
    assert "instruments without a direct effect; has" in skipped["reason"][0]


# cML


def test_cml_finds_the_best_effect_for_every_number_of_invalid_instruments():
    given = contaminated(9, seed=4, noise=0.3, bad=2)
    found = row(cml(given, n_samples=10_000.0))
    x, s = given.beta_exposure[:, 0], given.se_exposure[:, 0]
    grid = np.linspace(-3, 4, 70_001)[:, None]
    cost = np.sort((given.beta_outcome - grid * x) ** 2 / (given.se_outcome**2 + grid**2 * s**2), axis=1)
    heights = [cost[:, : 9 - k].sum(axis=1) for k in range(8)]
    bic = np.array([h.min() + k * np.log(10_000) for k, h in enumerate(heights)])
    theta = np.array([grid[h.argmin(), 0] for h in heights])
    weight = np.exp(-(bic - bic.min()) / 2)
    assert found["beta"] == pytest.approx(weight @ theta / weight.sum(), abs=2e-4)
    assert found["n_valid"] == 9 - bic.argmin()
    assert found["beta_selected"] == pytest.approx(theta[bic.argmin()], abs=2e-4)


def test_cml_needs_sample_sizes():
    given = replace(simulated(counts=(8,)), n=None)
    assert "sample sizes" in cml(given).skipped["reason"][0]
    assert len(cml(given, n_samples=1000.0)) == 1


def test_data_perturbation_widens_the_interval_and_keeps_the_effect():
    given = contaminated(20, noise=0.2)
    plain, moved = row(cml(given)), row(cml(given, n_perturb=50))
    assert moved["beta"] == pytest.approx(plain["beta"], abs=2 * plain["se"])
    assert moved["se"] > 0.7 * plain["se"]
    with pytest.raises(InputError, match="independent errors"):
        cml(simulated(members=3), n_perturb=10)


# MR-PRESSO


def test_presso_leaves_out_one_instrument_at_a_time():
    given = contaminated(10, bad=1, noise=0.3)
    x, y, w = given.beta_exposure[:, 0], given.beta_outcome, given.se_outcome**-2
    rest = [np.arange(10) != j for j in range(10)]
    slopes = np.array([np.sum((w * x * y)[r]) / np.sum((w * x * x)[r]) for r in rest])
    found = row(presso(given))
    assert found["global_rss"] == pytest.approx(np.sum(w * (y - slopes * x) ** 2))
    table = presso_outliers(given)
    assert table["rss"].to_numpy() == pytest.approx((y - slopes * x) ** 2)
    z = (y - slopes * x) / np.sqrt(given.se_outcome**2 + slopes**2 * given.se_exposure[:, 0] ** 2)
    assert table["pvalue"].to_numpy() == pytest.approx(np.minimum(20 * stats.norm.sf(np.abs(z)), 1))
    assert table["variant_id"].tolist() == given.variants["variant_id"].tolist()


def test_presso_reports_the_distortion():
    found = row(presso(contaminated()))
    assert found["n_outliers"] == 6
    assert found["distortion"] == pytest.approx((found["beta_raw"] - found["beta"]) / abs(found["beta"]))
    assert found["distortion_pvalue"] < 0.05
    clean = row(presso(contaminated(bad=0)))
    assert clean["n_outliers"] == 0
    assert clean["beta"] == clean["beta_raw"]


def test_the_global_test_of_presso_keeps_its_level():
    given = simulated(counts=(15,) * 200, noise=0.3, seed=3)
    noise = given.se_exposure * np.random.default_rng(4).normal(size=given.se_exposure.shape)
    given = replace(given, beta_exposure=given.beta_exposure + noise)
    share = (presso(given, n_boot=200).table["global_pvalue"] <= 0.1).mean()
    assert share == pytest.approx(0.1, abs=0.07)


# MRMix


def test_mrmix_fits_its_mixture():
    given = contaminated(60, seed=1, noise=0.2, bad=15)
    found = row(mrmix(given))
    residual = (given.beta_outcome - found["beta"] * given.beta_exposure[:, 0]) ** 2
    variance = given.se_outcome**2 + found["beta"] ** 2 * given.se_exposure[:, 0] ** 2
    pi0, sigma2 = 0.6, residual.mean()
    for _ in range(3000):
        valid = pi0 * stats.norm.pdf(np.sqrt(residual), 0, np.sqrt(variance))
        invalid = (1 - pi0) * stats.norm.pdf(np.sqrt(residual), 0, np.sqrt(sigma2))
        share = valid / (valid + invalid)
        pi0, sigma2 = share.mean(), np.sum((1 - share) * residual) / np.sum(1 - share)
    assert found["pi0"] == pytest.approx(pi0, abs=1e-5)
    assert found["sigma2"] == pytest.approx(sigma2, rel=1e-3)
