import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from deepmr.errors import InputError
from deepmr.population import associate_variants, spectrum_of_effects, spectrum_of_kinship
from tests.population.cohorts import make_cohort, make_kinship, make_spectrum, standardised, with_markers

RESULTS = ["beta", "se", "sigma_sq", "chi_sq", "pvalue", "log10p"]


def least_squares(cohort, kinship, gamma, k, dosages):
    """Effect, squared error over residual variance, and both residual sums, by the definition."""
    inverse = np.linalg.inv(np.eye(len(cohort)) + gamma * kinship)
    y = cohort.phenotypes[:, k]

    def fit(x):
        cov = np.linalg.inv(x.T @ inverse @ x)
        beta = cov @ x.T @ inverse @ y
        left = y - x @ beta
        return beta[-1], cov[-1, -1], left @ inverse @ left

    beta, unit, rss = fit(np.column_stack([cohort.design, dosages]))
    return beta, unit, rss, fit(cohort.design)[2]


@pytest.mark.parametrize("test", ["f", "wald", "lrt"])
def test_effects_and_tests_are_those_of_generalised_least_squares(test):
    cohort = make_cohort()
    kinship, n, fixed = make_kinship(cohort), len(cohort), cohort.design.shape[1]
    found = associate_variants(cohort, spectrum_of_kinship(kinship), test=test)
    table = found.table.set_index(["variant_id", "trait"])
    for k, trait in enumerate(cohort.traits):
        gamma = np.exp(found.nulls[""].log_gamma[k])
        for variant in (7, 30):
            beta, unit, rss, rss_0 = least_squares(cohort, kinship, gamma, k, cohort.genotypes.dosages[variant])
            row = table.loc[(f"v{variant}", trait)]
            assert row["beta"] == pytest.approx(beta, rel=1e-8)
            sigma_sq = rss / (n - fixed - 1)
            assert row["sigma_sq"] == pytest.approx(sigma_sq, rel=1e-9)
            assert row["se"] == pytest.approx(np.sqrt(sigma_sq * unit), rel=1e-8)
            wald = beta**2 / (sigma_sq * unit)
            wanted = n * np.log(rss_0 / rss) if test == "lrt" else wald
            assert row["chi_sq"] == pytest.approx(wanted, rel=1e-9)
            tail = stats.f.sf(wanted, 1, n - fixed - 1) if test == "f" else stats.chi2.sf(wanted, 1)
            assert row["pvalue"] == pytest.approx(tail, rel=1e-9)
            assert row["log10p"] == pytest.approx(-np.log10(tail), rel=1e-9)


def test_likelihood_ratio_is_that_of_hail_where_it_is_not_rounding():
    cohort = make_cohort(traits=1)
    kinship, n = make_kinship(cohort), len(cohort)
    found = associate_variants(cohort, spectrum_of_kinship(kinship), test="lrt")
    gamma = np.exp(found.nulls[""].log_gamma[0])
    strong = found.table["chi_sq"].nlargest(10).index
    for variant in strong:
        _, _, rss, rss_0 = least_squares(cohort, kinship, gamma, 0, cohort.genotypes.dosages[variant])
        assert found.table["chi_sq"][variant] == pytest.approx(n * np.log(rss_0 / rss), rel=1e-10)


@pytest.mark.parametrize("traits", [1, 2])
def test_without_heritability_it_is_ordinary_least_squares(traits):
    cohort = make_cohort(6, traits=traits, polygenic=0.0, samples=90)
    found = associate_variants(cohort, make_spectrum(cohort))
    null = found.nulls[""]
    at = null.boundary.index("lower")
    assert null.log_gamma[at] == -np.inf
    table = found.table[found.table["trait"] == cohort.traits[at]].reset_index()
    for variant in (0, 11, 42):
        x = np.column_stack([cohort.design, cohort.genotypes.dosages[variant]])
        fit = sm.OLS(cohort.phenotypes[:, at], x).fit()
        assert table["beta"][variant] == pytest.approx(fit.params[-1], rel=1e-9)
        assert table["se"][variant] == pytest.approx(fit.bse[-1], rel=1e-9)
        assert table["pvalue"][variant] == pytest.approx(fit.pvalues[-1], rel=1e-9)


@pytest.mark.parametrize("variants", [60, 300])  # few are rotated, many are turned by the triangular factor
def test_one_trait_equals_many(variants):
    cohort = make_cohort(variants=variants)
    spectrum = make_spectrum(cohort)
    many = associate_variants(cohort, spectrum).table.query("trait == 'trait_0'")
    one = associate_variants(cohort.select(["trait_0"]), spectrum, block=7).table
    for name in ("beta", "se", "chi_sq"):
        np.testing.assert_allclose(one[name], many[name], rtol=1e-9)


def test_many_traits_are_tested_a_stretch_at_a_time(monkeypatch):
    cohort = make_cohort(traits=5)
    spectrum = make_spectrum(cohort)
    together = associate_variants(cohort, spectrum).table
    monkeypatch.setattr("deepmr.population.scan.TRAITS", 2)
    apart = associate_variants(cohort, spectrum).table
    np.testing.assert_allclose(apart[RESULTS], together[RESULTS], rtol=1e-10)
    assert apart["trait"].tolist() == together["trait"].tolist()


@pytest.mark.parametrize("traits", [1, 3])
def test_low_rank_equals_full_rank(traits):
    cohort = make_cohort(traits=traits)
    z = standardised(cohort)[:, :30] / 30**0.5
    low = associate_variants(cohort, spectrum_of_effects(z)).table
    full = associate_variants(cohort, spectrum_of_kinship(z @ z.T)).table
    np.testing.assert_allclose(low["chi_sq"], full["chi_sq"], rtol=1e-8)


def test_every_chromosome_has_a_spectrum_of_its_own():
    cohort = make_cohort(chrom=["1"] * 25 + ["X"] * 35)
    kinship = make_kinship(cohort)
    spectra = {"1": spectrum_of_kinship(kinship), "X": spectrum_of_kinship(np.eye(len(cohort)) + kinship)}
    found = associate_variants(cohort, spectra.__getitem__, block=10)
    assert list(found.nulls) == ["1", "X"]
    for chrom, spectrum in spectra.items():
        alone = associate_variants(cohort, spectrum).table
        here = found.table["chrom"] == chrom
        np.testing.assert_allclose(found.table.loc[here, "chi_sq"], alone.loc[here, "chi_sq"], rtol=1e-10)


def test_no_marker_stops_a_scan():
    cohort = make_cohort(4, traits=2)
    rng, n = np.random.default_rng(1), len(cohort)
    common = rng.binomial(2, 0.3, n).astype(float)
    age = cohort.covariates[:, 0]
    gone = np.full(n, np.nan)
    few = gone.copy()
    few[:3] = [0.0, 1.0, 2.0]
    rare = np.zeros(n)
    rare[5] = 1.0
    holed = common.copy()
    holed[3] = np.nan
    cases = {
        "ok": common, "monomorphic": np.full(n, 2.0), "all_missing": gone, "collinear": 3 * age - 1, "low_mac": rare,
        "too_missing": few, "not_finite": np.where(np.arange(n) == 4, np.inf, common),
        "no_variance": cohort.phenotypes[:, 1] + age,
    }  # fmt: skip
    kinship = make_kinship(cohort)
    found = associate_variants(
        with_markers(cohort, np.array([*cases.values(), holed])),
        spectrum_of_kinship(kinship),
        min_mac=2,
        max_missing=0.5,
    ).table
    status = found["status"].to_numpy().reshape(-1, 2)
    assert status[:, 1].tolist() == [*cases, "ok"]
    assert status[-2, 0] == "ok"  # it explains all of the other trait
    ok = found["status"] == "ok"
    assert np.isfinite(found.loc[ok, RESULTS].to_numpy()).all()
    assert found.loc[~ok, RESULTS].isna().to_numpy().all()
    assert found["n"].to_numpy()[::2].tolist() == [n, n, 0, n, n, 3, n - 1, n, n - 1]


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("traits", [1, 2])
@pytest.mark.parametrize("triangular", [False, True])
def test_sums_of_covariates_are_collinear_in_either_precision(precision, traits, triangular):
    cohort = make_cohort(5, traits=traits)
    other = np.random.default_rng(2).normal(size=(len(cohort), 1))
    cohort = type(cohort)(
        genotypes=cohort.genotypes, phenotypes=cohort.phenotypes, traits=cohort.traits,
        covariates=np.column_stack([cohort.covariates, other]), covariate_names=("age", "other"),
    )  # fmt: skip
    age, other = cohort.covariates.T
    good = np.tile(cohort.genotypes.dosages, (5 if triangular else 1, 1))
    tested = with_markers(cohort, np.vstack([age, 1e3 * other + 7, age + other, good]))
    found = associate_variants(tested, make_spectrum(cohort), precision=precision).table
    assert (found["status"][: 3 * traits] == "collinear").all()
    assert (found["status"][3 * traits :] == "ok").all()


def test_pvalues_go_on_where_numbers_end():
    cohort = make_cohort(6, traits=1, samples=400)
    marker = np.random.default_rng(0).binomial(2, 0.4, 400).astype(float)
    y = 100 * marker[:, None] + np.random.default_rng(1).normal(size=(400, 1))
    strong = type(cohort)(
        genotypes=cohort.genotypes, phenotypes=y, traits=("y",), covariates=cohort.covariates,
        covariate_names=("age",),
    )  # fmt: skip
    for test in ("f", "wald", "lrt", "score"):
        row = associate_variants(with_markers(strong, marker), make_spectrum(cohort), test=test).table.iloc[0]
        assert row["status"] == "ok"
        assert np.isfinite(row["log10p"])
        if test in ("f", "wald"):
            assert row["pvalue"] == 0 < 320 < row["log10p"]


def test_effects_go_to_mendelian_randomization():
    cohort = make_cohort(7)
    cohort = with_markers(cohort, np.vstack([cohort.genotypes.dosages[:4], np.ones(len(cohort))]))
    found = associate_variants(cohort, make_spectrum(make_cohort(7)))
    effects = found.to_sumstats()
    assert effects.traits == cohort.traits
    assert effects.estimand == "population"
    assert effects.variants["variant_id"].tolist() == ["v0", "v1", "v2", "v3"]
    assert {"locus", "eaf", "trait_0_pvalue", "effect_allele"} <= set(effects.variants)
    first = found.table[found.table["trait"] == "trait_1"]
    np.testing.assert_array_equal(effects.beta[:, 1], first["beta"][:4])
    np.testing.assert_array_equal(effects.n, len(cohort))
    unit = found.to_sumstats(standardised=True)
    sd = cohort.phenotypes.std(0, ddof=1)
    np.testing.assert_allclose(unit.beta * sd, effects.beta)
    np.testing.assert_allclose(unit.se * sd, effects.se)


def test_progress_and_messages():
    cohort, seen = make_cohort(), []
    spectrum = make_spectrum(cohort)
    associate_variants(cohort, spectrum, block=25, progress=lambda done, whole: seen.append((done, whole)))
    assert seen == [(25, 60), (50, 60), (60, 60)]
    with pytest.raises(InputError, match="genotypes have none"):
        associate_variants(with_markers(cohort, np.empty((0, len(cohort)))), spectrum)
    with pytest.raises(InputError, match="more than 3 samples"):
        associate_variants(cohort.take(slice(3)), spectrum_of_kinship(np.eye(3)))
    with pytest.raises(InputError, match="spectrum is of 120 samples, the cohort has 119"):
        associate_variants(cohort.take(slice(119)), spectrum)
    assert isinstance(associate_variants(cohort, spectrum).table, pd.DataFrame)
