"""Each marker's own gamma, against a model fitted with that marker among the covariates."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import optimize

from deepmr.cohort import ArrayGenotypes, Cohort
from deepmr.population import (
    associate_variants,
    exact,
    fit_null,
    project,
    spectrum_of_effects,
    spectrum_of_kinship,
)
from deepmr.population.exact import exact_statistics
from deepmr.population.exact_model import BOUNDS, prepare_exact
from deepmr.population.reml import criterion_grid
from deepmr.population.scan import prepare_scan, scan_block
from tests.population.cohorts import make_variants

SAMPLES, VARIANTS = 120, 60


def make(seed=0, *, heritable=(0.9, 0.7), rank=None, effect=0.0):
    """Return a cohort, its random effects and the spectrum of these."""
    rng = np.random.default_rng(seed)
    dosages = rng.binomial(2, rng.uniform(0.1, 0.5, VARIANTS)[:, None], (VARIANTS, SAMPLES)).astype(float)
    centred = dosages - dosages.mean(1, keepdims=True)
    effects = (centred / centred.std(1, keepdims=True)).T[:, :rank] / (rank or VARIANTS) ** 0.5
    share = np.array(heritable)
    traits = effects @ rng.normal(size=(effects.shape[1], len(share))) * share**0.5
    traits += rng.normal(size=(SAMPLES, len(share))) * (1 - share) ** 0.5 + 10 + centred[:1].T * np.asarray(effect)
    cohort = Cohort(
        genotypes=ArrayGenotypes(
            variants=make_variants(VARIANTS), samples=pd.Index([f"s{k}" for k in range(SAMPLES)]), dosages=dosages
        ),
        phenotypes=traits,
        traits=tuple("abc"[: len(share)]),
        covariates=rng.normal(size=(SAMPLES, 2)),
        covariate_names=("age", "height"),
    )
    spectrum = spectrum_of_effects(effects) if rank else spectrum_of_kinship(effects @ effects.T)
    return cohort, effects, spectrum


def one_by_one(cohort, spectrum, variant):
    """Fit the model with a marker among the covariates."""
    x = np.column_stack([cohort.design, cohort.genotypes.dosages[variant]])
    p = spectrum.vectors
    whole = {"y": cohort.phenotypes, "x": x} if spectrum.low_rank else {}
    model = project(p @ cohort.phenotypes, p @ x, spectrum.eigenvalues, **whole)
    return fit_null(model, bounds=BOUNDS, tol=1e-10)


def scan(cohort, spectrum, test="f", **options):
    prepared = prepare_scan(cohort, spectrum, test=test, gamma="exact", **options)
    return prepared, scan_block(prepared, cohort.genotypes.dosages)


def agrees(cohort, spectrum, found, *, variants=range(0, VARIANTS, 4)):
    for variant in variants:
        alone = one_by_one(cohort, spectrum, variant)
        np.testing.assert_allclose(found["log_gamma"][variant], alone.log_gamma, atol=1e-6)
        np.testing.assert_allclose(found["beta"][variant], alone.beta[-1], rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(found["sigma_sq"][variant], alone.tau_sq, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_gamma_and_effects_are_those_of_a_model_with_the_marker(seed):
    cohort, effects, spectrum = make(seed)
    _, found = scan(cohort, spectrum)
    agrees(cohort, spectrum, found)
    # The standard error, by its definition.
    v = np.eye(SAMPLES) + np.exp(found["log_gamma"][3, 0]) * effects @ effects.T
    x = np.column_stack([cohort.design, cohort.genotypes.dosages[3]])
    se = np.sqrt(found["sigma_sq"][3, 0] * np.linalg.inv(x.T @ np.linalg.solve(v, x))[-1, -1])
    assert found["se"][3, 0] == pytest.approx(se, rel=1e-8)


@pytest.mark.parametrize("seed", [1, 3])
def test_optima_far_from_the_null_model_s_and_at_bounds_are_found(seed):
    cohort, _, spectrum = make(seed, heritable=(0.0, 0.3, 0.999), effect=(0.0, 1.5, 1.5))
    prepared, found = scan(cohort, spectrum)
    shift = np.abs(found["log_gamma"] - np.clip(prepared.null.log_gamma, *BOUNDS))
    low = np.isclose(found["log_gamma"], BOUNDS[0])
    assert (shift > 1).any()
    assert low.any()
    assert (~low).any()
    assert (found["status"] == "ok").all()
    for variant in range(0, VARIANTS, 5):
        alone = one_by_one(cohort, spectrum, variant)
        inside = np.array([not side for side in alone.boundary])
        np.testing.assert_allclose(found["log_gamma"][variant, inside], alone.log_gamma[inside], atol=1e-6)
        np.testing.assert_allclose(found["log_gamma"][variant, ~inside], alone.log_gamma[~inside], atol=1e-3)


@pytest.mark.parametrize("seed", range(20))
def test_no_model_with_the_marker_is_better(seed):
    # Few samples and strong markers: flat criteria, several minima, minima at bounds and close to edges of regions.
    rng = np.random.default_rng(seed)
    samples = int(rng.choice([12, 20, 40]))
    effects = rng.normal(size=(samples, 2 * samples)) / samples**0.5
    share = rng.choice([0.0, 0.2, 0.5, 1.0])
    y = share**0.5 * effects @ rng.normal(size=2 * samples) + (1.001 - share) ** 0.5 * rng.normal(size=samples)
    markers = rng.normal(size=(4, samples))
    markers[:2] += 2 * y
    markers -= markers.mean(1, keepdims=True)
    spectrum = spectrum_of_kinship(effects @ effects.T)
    p, x = spectrum.vectors, np.ones((samples, 1))
    null = fit_null(project(p @ y[:, None], p @ x, spectrum.eigenvalues), on_boundary="ols")
    _, log_gamma = exact_statistics(prepare_exact(null, test="f"), markers @ p.T)
    for marker, found in zip(markers, log_gamma, strict=True):
        model = project(p @ y[:, None], p @ np.column_stack([x, marker]), spectrum.eigenvalues)
        grid = criterion_grid(model, np.linspace(*BOUNDS, 200))
        assert criterion_grid(model, found).min() < grid.min() + 1e-9


def test_low_rank_equals_full_rank():
    cohort, effects, low = make(2, rank=30)
    _, found = scan(cohort, low)
    agrees(cohort, low, found)
    _, full = scan(cohort, spectrum_of_kinship(effects @ effects.T))
    for name in ("log_gamma", "beta", "se", "chi_sq"):
        np.testing.assert_allclose(found[name], full[name], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("rank", [None, 30])
def test_likelihood_ratio_is_of_two_maximum_likelihood_fits(rank):
    cohort, effects, spectrum = make(4, rank=rank, heritable=(0.6,))
    _, found = scan(cohort, spectrum, test="lrt")
    kinship = effects @ effects.T
    y = cohort.phenotypes[:, 0]

    def likelihood(log_gamma, x):
        v = np.eye(SAMPLES) + np.exp(log_gamma) * kinship
        left = y - x @ np.linalg.solve(x.T @ np.linalg.solve(v, x), x.T @ np.linalg.solve(v, y))
        return 0.5 * (np.linalg.slogdet(v)[1] + SAMPLES * np.log(left @ np.linalg.solve(v, left)))

    def best(x):
        fit = optimize.minimize_scalar(likelihood, bounds=(-4, 4), args=(x,), method="bounded", options={"xatol": 1e-9})
        return fit.x, fit.fun

    null = best(cohort.design)[1]
    for variant in (0, 11, 12):
        at, value = best(np.column_stack([cohort.design, cohort.genotypes.dosages[variant]]))
        assert found["log_gamma"][variant, 0] == pytest.approx(at, abs=1e-5)
        assert found["chi_sq"][variant, 0] == pytest.approx(2 * (null - value), rel=1e-6, abs=1e-9)


def test_a_likelihood_without_bound_is_of_what_covariates_do_not_fit_whatever_gamma_is():
    # K is centred: of the intercept it knows nothing, and the likelihood of all samples grows with gamma for ever.
    rng = np.random.default_rng(8)
    cohort, _, _ = make(1, heritable=(0.5,))
    relatives = rng.normal(size=(SAMPLES, 1000)) / 1000**0.5
    relatives -= relatives.mean(0)
    kinship = relatives @ relatives.T
    y = 0.5 * relatives @ rng.normal(size=(1000, 1)) + rng.normal(size=(SAMPLES, 1))
    cohort, spectrum = replace(cohort, phenotypes=y), spectrum_of_kinship(kinship)

    def likelihood(log_gamma, x, n):
        v = np.eye(SAMPLES) + np.exp(log_gamma) * kinship
        left = y[:, 0] - x @ np.linalg.solve(x.T @ np.linalg.solve(v, x), x.T @ np.linalg.solve(v, y[:, 0]))
        return 0.5 * (np.linalg.slogdet(v)[1] + n * np.log(left @ np.linalg.solve(v, left)))

    def best(x):
        values = [likelihood(at, x, SAMPLES - 1) for at in np.linspace(-8, 11, 39)]
        at = np.linspace(-8, 11, 39)[np.argmin(values)]
        fit = optimize.minimize_scalar(
            likelihood, bounds=(at - 0.5, at + 0.5), args=(x, SAMPLES - 1), method="bounded", options={"xatol": 1e-9}
        )
        return fit.x, fit.fun

    prepared, found = scan(cohort, spectrum, test="lrt")
    at, value = best(cohort.design)
    far = BOUNDS[1] - np.log(spectrum.unit)
    assert likelihood(far, cohort.design, SAMPLES) < likelihood(at, cohort.design, SAMPLES)
    assert prepared.exact.log_gamma[0] == pytest.approx(at, abs=1e-5)
    for variant in (0, 11, 12):
        at, here = best(np.column_stack([cohort.design, cohort.genotypes.dosages[variant]]))
        assert found["log_gamma"][variant, 0] == pytest.approx(at, abs=1e-5)
        assert found["chi_sq"][variant, 0] == pytest.approx(2 * (value - here), rel=1e-5, abs=1e-8)


def test_markers_whose_interpolant_is_too_far_off_are_fitted_one_by_one(monkeypatch):
    cohort, _, spectrum = make(3)
    prepared = prepare_scan(cohort, spectrum, gamma="exact")
    found = scan_block(prepared, cohort.genotypes.dosages[:12])
    monkeypatch.setattr(exact, "ERROR", 1e-13)
    again = scan_block(prepared, cohort.genotypes.dosages[:12])
    np.testing.assert_allclose(again["log_gamma"], found["log_gamma"], atol=2e-7)
    np.testing.assert_allclose(again["pvalue"], found["pvalue"], rtol=1e-7)
    agrees(cohort, spectrum, again, variants=(1, 2))


def test_tensors_and_blocks_change_nothing():
    cohort, _, spectrum = make(6, heritable=(0.3,))
    prepared, found = scan(cohort, spectrum)
    dosages = cohort.genotypes.dosages
    rotated = (dosages - dosages.mean(1, keepdims=True)) @ spectrum.vectors.T
    tested, log_gamma = exact_statistics(prepared.exact, torch.from_numpy(rotated))
    np.testing.assert_allclose(log_gamma, found["log_gamma"], atol=1e-8)
    np.testing.assert_allclose(tested.chi_sq, found["chi_sq"], rtol=1e-8)
    placed = scan_block(prepare_scan(cohort, spectrum, gamma="exact", to_device=torch.from_numpy), dosages)
    np.testing.assert_allclose(placed["chi_sq"], found["chi_sq"], rtol=1e-8)
    parts = [scan_block(prepared, dosages[start : start + 7]) for start in range(0, VARIANTS, 7)]
    for name in ("beta", "se", "chi_sq", "log_gamma"):
        together = np.concatenate([part[name] for part in parts])
        np.testing.assert_allclose(together, found[name], rtol=1e-8, atol=1e-9)
    assert scan_block(prepared, dosages[:0])["beta"].shape == (0, 1)


def test_single_precision_rounds_genotypes_alone():
    cohort, _, spectrum = make(7)
    _, double = scan(cohort, spectrum)
    _, single = scan(cohort, spectrum, precision="float32")
    np.testing.assert_allclose(single["log_gamma"], double["log_gamma"], atol=1e-4)
    np.testing.assert_allclose(single["beta"] / double["se"], double["beta"] / double["se"], atol=1e-4)


@pytest.mark.parametrize("test", ["f", "lrt", "score"])
def test_markers_that_cannot_be_tested_are_named(test):
    cohort, _, spectrum = make(8)
    dosages = cohort.genotypes.dosages.copy()
    dosages[0] = 1.0
    dosages[1] = cohort.covariates[:, 0]
    dosages[2] = np.nan
    dosages[3] = cohort.phenotypes[:, 0]
    dosages[4, :9] = np.nan
    found = scan_block(prepare_scan(cohort, spectrum, test=test, gamma="exact"), dosages)
    np.testing.assert_array_equal(
        found["status"][:5, 0], ["monomorphic", "collinear", "all_missing", "no_variance", "ok"]
    )
    np.testing.assert_array_equal(np.isnan(found["log_gamma"]), found["status"] != "ok")
    np.testing.assert_array_equal(np.isnan(found["pvalue"]), found["status"] != "ok")
    untouched = scan_block(prepare_scan(cohort, spectrum, test=test, gamma="exact"), dosages[5:])
    np.testing.assert_allclose(found["pvalue"][5:], untouched["pvalue"], rtol=1e-8)


def test_a_table_says_gamma_of_every_marker():
    cohort, _, spectrum = make(9)
    found = associate_variants(cohort, spectrum, gamma="exact").table
    assert found["log_gamma"].notna().all()
    null = associate_variants(cohort, spectrum).table
    assert "log_gamma" not in null
    # What a marker of no effect does to gamma is small, and so is what that does to it.
    assert np.median(np.abs(found["log10p"] - null["log10p"])) < 0.02


@pytest.mark.parametrize("heritable", [(0.9, 0.7), (0.0, 0.0)])
def test_a_score_test_is_at_the_null_model_s_gamma_either_way(heritable):
    cohort, _, spectrum = make(10, heritable=heritable)
    null = associate_variants(cohort, spectrum, test="score").table
    own = associate_variants(cohort, spectrum, test="score", gamma="exact").table
    for name in ("beta", "se", "chi_sq", "pvalue"):
        np.testing.assert_allclose(own[name], null[name], rtol=1e-9)


def test_gamma_does_not_depend_on_units_or_sign():
    cohort, _, spectrum = make(11, heritable=(0.5,))
    null = prepare_scan(cohort, spectrum, gamma="exact").null
    dosages = cohort.genotypes.dosages
    rotated = (dosages - dosages.mean(1, keepdims=True)) @ spectrum.vectors.T
    prepared = prepare_exact(null, test="f")
    plain, at = exact_statistics(prepared, rotated)
    turned, same = exact_statistics(prepared, -1000.0 * rotated)
    np.testing.assert_allclose(same, at, atol=1e-8)
    np.testing.assert_allclose(turned.beta, plain.beta / -1000, rtol=1e-8)
