"""What instruments can tell: strength against statsmodels, dimensions, tests with the right size."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from linearmodels.iv import IVGMM

from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.nonlinear import fit_response
from deepmr.nonlinear.diagnostics import diagnose_instruments
from deepmr.nonlinear.held_out import hold_out
from deepmr.nonlinear.independent import independent_columns, independent_instruments
from deepmr.nonlinear.moment_tests import hansen_test
from deepmr.nonlinear.strength import instrument_strength


def make(n=2000, m=10, seed=0, strength=0.2, curve=lambda x: 0.3 * x, direct=0.0, covariates=2, varying=0.0):
    """Normal instruments, or a genotype where there is one; a confounder; effects of a variant that vary with it."""
    r = np.random.default_rng(seed)
    z = r.binomial(2, 0.3, (n, m)).astype(float)
    c, u = r.standard_normal((n, covariates)), r.standard_normal(n)
    x = (1 + varying * u) * (z @ np.full(m, strength)) + 0.3 * c.sum(axis=1) + 0.5 * u + r.standard_normal(n)
    y = curve(x) + 0.4 * c.sum(axis=1) - 0.7 * u + r.standard_normal(n) + direct * z[:, 0]
    return IVData(
        instruments=z,
        exposure=x,
        outcome=y,
        covariates=c,
        instrument_names=tuple(f"v{k}" for k in range(m)),
        covariate_names=tuple(f"c{k}" for k in range(covariates)),
    )


@pytest.mark.parametrize("clustered", [False, True])
def test_strength_is_that_of_statsmodels(clustered):
    data = make(n=800)
    weights = np.random.default_rng(1).uniform(0.5, 2, 800)
    clusters = np.arange(800) // 8 if clustered else None
    found = instrument_strength(replace(data, weights=weights, clusters=clusters))
    design = np.c_[np.ones(800), data.covariates, data.instruments]
    fit = sm.WLS(data.exposure, design, weights=weights).fit()
    test = np.c_[np.zeros((10, 3)), np.eye(10)]
    robust = fit.get_robustcov_results("cluster", groups=clusters) if clustered else fit.get_robustcov_results("HC1")
    assert found.f == pytest.approx(float(fit.f_test(test).fvalue), rel=1e-8)
    factor = (800 - 1) / 800 if clustered else 1.0  # statsmodels has (n - 1) / (n - k) with clusters
    assert found.f_robust == pytest.approx(float(robust.f_test(test).fvalue) * factor, rel=1e-6)
    less = sm.WLS(data.exposure, design[:, :3], weights=weights).fit()
    assert found.r2 == pytest.approx(1 - fit.ssr / less.ssr, rel=1e-9)
    # the effective F by its definition: pi' Q pi / tr(V Q), Q the moments of instruments given covariates
    z = data.instruments - sm.WLS(data.instruments, design[:, :3], weights=weights).fit().fittedvalues
    q, pi, cov = (z * weights[:, None]).T @ z, fit.params[3:], robust.cov_params()[3:, 3:] / factor
    assert found.f_effective == pytest.approx(pi @ q @ pi / np.trace(cov @ q), rel=1e-6)


def test_one_instrument_has_the_published_critical_value():
    found = instrument_strength(make(m=1, covariates=0))
    assert found.f_effective == pytest.approx(found.f_robust, rel=1e-9)
    assert found.f_critical == pytest.approx(23.1, abs=0.05)


def test_hansen_is_that_of_linearmodels():
    data = make(n=700, m=4, direct=0.1)
    found = hansen_test(data)
    want = IVGMM(
        data.outcome, np.c_[np.ones(700), data.covariates], data.exposure, data.instruments, weight_type="robust"
    ).fit(iter_limit=2)
    assert found.df == 3
    assert found.statistic == pytest.approx(float(want.j_stat.stat), rel=1e-6)
    assert hansen_test(make(m=1)) is None


def test_no_prediction_of_a_fold_knows_its_exposures():
    data = make(n=500, m=5)
    before = hold_out(data, seed=0)
    mine = before.folds == 2
    exposure = data.exposure.copy()
    exposure[mine] = np.random.default_rng(0).permutation(exposure[mine])  # leaves the functions as they are
    after = hold_out(replace(data, exposure=exposure), seed=0)
    assert after.fitted[mine] == pytest.approx(before.fitted[mine], abs=1e-7)
    assert not np.allclose(after.fitted[~mine], before.fitted[~mine], atol=1e-3)


def test_three_genotypes_identify_two_dimensions_and_the_words_say_so():
    found = diagnose_instruments(make(n=4000, m=1, strength=0.5, covariates=0))
    assert found.dimensions.n_values == 3
    assert found.dimensions.identified <= 2
    assert found.warnings[0].startswith("The instrument takes 3 values: two identified dimensions")
    assert found.numbers()["dimension_limit"] == 2.0
    carrier = make(n=4000, m=1, strength=0.5, covariates=0)
    carrier = replace(carrier, instruments=(carrier.instruments > 0).astype(float))
    found = diagnose_instruments(carrier)
    assert found.warnings[0].startswith("The instrument takes 2 values: one identified dimension, a strong one")
    assert found.linearity is None


def test_singular_values_of_a_normal_exposure_are_powers_of_its_correlation():
    r = np.random.default_rng(0)
    z = r.standard_normal((40_000, 1))
    rho = 0.8  # Mehler: E[He_k(x) | z] = rho^k He_k(z)
    x = rho * z[:, 0] + np.sqrt(1 - rho**2) * r.standard_normal(40_000)
    data = IVData(instruments=z, exposure=x, outcome=x, covariates=np.empty((40_000, 0)), instrument_names=("z",))
    found = diagnose_instruments(data).dimensions
    assert found.singular_values[:4] == pytest.approx(rho ** np.arange(1, 5), abs=0.04)
    assert found.identified >= 5
    assert found.n_values is None


def test_noise_identifies_nothing_and_is_said_to():
    strong = 0
    for seed in range(15):
        found = diagnose_instruments(make(n=1000, m=20, strength=0.0, seed=seed, covariates=0))
        strong += found.dimensions.identified > 0
        assert found.weak
    assert strong <= 1
    assert any("no direction of the curve is strong" in sentence for sentence in found.warnings)


def test_everything_is_a_finite_number():
    for data in (make(), make(m=1), replace(make(), clusters=np.arange(2000) // 4)):
        numbers = diagnose_instruments(data).numbers()
        assert all(np.isfinite(value) and isinstance(value, float) for value in numbers.values())
        assert numbers["n_independent_instruments"] == data.instruments.shape[1]


def test_two_samples_have_no_test_of_the_response():
    one, two = make(), make(seed=1)
    found = diagnose_instruments(replace(one, outcome=None), outcome_data=replace(two, exposure=None))
    assert found.linearity is None
    assert found.overidentification is None
    assert found.dimensions.identified >= 1


def test_independent_columns_of_any_scale():
    r = np.random.default_rng(0)
    a = r.standard_normal((300, 3)) * [1e-6, 1.0, 1e6] + [5.0, 0.0, 1e7]
    every = np.c_[a, a[:, 0] * 1e6 + a[:, 1], np.full(300, 7.0)]
    assert independent_columns(a).tolist() == [True, True, True]
    kept = independent_columns(every)
    assert kept.sum() == 3
    assert not kept[4]
    assert independent_columns(a, given=a[:, :1]).tolist() == [False, True, True]
    data = make(n=100, m=1)
    with pytest.raises(InputError, match="an instrument must vary"):
        independent_instruments(replace(data, instruments=np.ones((100, 1))))


def test_nothing_to_test_without_noise_or_with_two_exposures():
    data = make()
    exact = replace(data, outcome=0.3 * data.exposure + data.covariates[:, 0])
    found = diagnose_instruments(exact)
    assert found.linearity is None
    assert found.overidentification is None
    found = diagnose_instruments(replace(data, exposure=(data.exposure > 1).astype(float)))
    assert found.linearity is None
    assert found.dimensions.identified == 1


def test_more_instruments_than_samples_are_refused():
    data = make(n=60, m=80)
    with pytest.raises(InputError, match="need more than"):
        diagnose_instruments(data)


def test_curved_response_is_found_to_be_no_line():
    found = diagnose_instruments(make(n=3000, strength=0.5, curve=lambda x: 0.3 * (x + 2) * (x - 1)))
    assert found.linearity.pvalue < 1e-6
    assert any("no straight line" in sentence for sentence in found.warnings)


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["many", "one", "varying", "modified"])
def test_linearity_is_rejected_in_one_of_twenty(setting):
    rejected, rounds = [], 200
    for seed in range(rounds):
        if setting == "one":
            data = make(n=2000, m=1, strength=0.5, covariates=0, seed=seed)
        elif setting == "varying":
            data = make(n=2000, varying=0.6, covariates=0, seed=seed)
        else:
            data = make(n=2000, seed=seed)
        if setting == "modified":
            data = replace(data, outcome=data.outcome + 0.5 * data.covariates[:, 0] * data.exposure)
        rejected.append(diagnose_instruments(data, seed=seed).linearity.pvalue < 0.05)
    assert 0.015 <= np.mean(rejected) <= 0.095  # 200 rounds at 5 %: 3 standard errors


def test_few_clusters_are_warned_of_and_one_is_refused():
    data = make(n=300, m=3)
    few = fit_response(replace(data, clusters=np.arange(300) % 5), method="tsls")
    assert "Errors rest on 5 clusters: with so few, intervals are too short." in few.record.warnings
    many = fit_response(replace(data, clusters=np.arange(300) // 3), method="tsls")
    assert not any("clusters" in said for said in many.record.warnings)
    with pytest.raises(InputError, match="clusters must be two or more; all samples are in one"):
        fit_response(replace(data, clusters=np.zeros(300, dtype=int)))
