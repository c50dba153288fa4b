"""What must not change results, and what must change them in a known way, for every test of a marker."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import stats

from deepmr.cohort import ArrayGenotypes
from deepmr.population import associate_variants, fit_null, project, spectrum_of_effects, spectrum_of_kinship
from deepmr.simulate.cohorts import CohortDesign, simulate_cohort
from tests.population.cohorts import make_cohort, make_kinship

TESTS = ("f", "wald", "lrt", "score")
EXACT = ("f", "lrt", "score")
DESIGN = CohortDesign(n_samples=72, n_variants=36, n_traits=2, n_covariates=2, h_sq=0.6, missing=0.02, min_maf=0.25)
few = settings(max_examples=2, deadline=None, derandomize=True, phases=[Phase.generate])
seeds = st.integers(0, 10_000)


def drawn(seed):
    return simulate_cohort(DESIGN, seed=seed).cohort


def centred(cohort):
    dosages = cohort.genotypes.dosages
    return np.nan_to_num(dosages - np.nanmean(dosages, 1, keepdims=True))


def relationship(cohort):
    """Return a relationship matrix, in which every sample has some variance of its own."""
    z = centred(cohort)
    return z.T @ z / len(z) + 0.05 * np.eye(len(cohort))


def with_dosages(cohort, dosages):
    genotypes = cohort.genotypes
    return replace(
        cohort,
        genotypes=ArrayGenotypes(variants=genotypes.variants, samples=genotypes.samples, dosages=dosages),
    )


def scan(cohort, spectrum, **options):
    found = associate_variants(cohort, spectrum, **options)
    assert (found.table["status"] == "ok").all()
    return found


def assert_same(found, expected, *, beta=1.0, se=None, sigma_sq=1.0):
    """Compare two scans, of which the first has effects, errors and variances these times those of the second."""
    for name, factor in (("beta", beta), ("se", abs(beta) if se is None else se), ("sigma_sq", sigma_sq)):
        np.testing.assert_allclose(found.table[name] / factor, expected.table[name], rtol=1e-6, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(found.table["chi_sq"], expected.table["chi_sq"], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.table["log10p"], expected.table["log10p"], rtol=1e-6, atol=1e-8)
    for chrom, null in expected.nulls.items():
        np.testing.assert_allclose(found.nulls[chrom].log_gamma, null.log_gamma, atol=1e-6)


@pytest.mark.parametrize("test", TESTS)
@few
@given(seed=seeds, scale=st.floats(0.01, 100), flipped=st.booleans())
def test_units_of_a_trait_scale_effects_and_covariates_change_nothing(test, seed, scale, flipped):
    cohort = drawn(seed)
    spectrum = spectrum_of_kinship(relationship(cohort))
    times = -scale if flipped else scale
    moved = times * cohort.phenotypes + cohort.design @ np.array([[30.0, -5.0], [4.0, 3.0], [-2.0, 1.0]])
    other = scan(replace(cohort, phenotypes=moved), spectrum, test=test)
    assert_same(other, scan(cohort, spectrum, test=test), beta=times, sigma_sq=times**2)


@pytest.mark.parametrize("test", TESTS)
@few
@given(seed=seeds)
def test_combinations_of_covariates_change_nothing(test, seed):
    cohort = drawn(seed)
    spectrum = spectrum_of_kinship(relationship(cohort))
    mixed = cohort.covariates @ np.array([[2.0, 1.0], [-0.5, 3.0]]) + np.array([10.0, -7.0])
    assert_same(
        scan(replace(cohort, covariates=mixed), spectrum, test=test),
        scan(cohort, spectrum, test=test),
    )


@few
@given(seed=seeds)
def test_a_null_model_depends_on_the_space_of_covariates_alone(seed):
    cohort = drawn(seed)
    spectrum = spectrum_of_kinship(relationship(cohort))
    p, a = spectrum.vectors, np.random.default_rng(seed).normal(size=(3, 3)) + 3 * np.eye(3)
    y, x = cohort.phenotypes, cohort.design
    one = fit_null(project(p @ y, p @ x, spectrum.eigenvalues))
    other = fit_null(project(p @ y, p @ (x @ a), spectrum.eigenvalues))
    np.testing.assert_allclose(other.log_gamma, one.log_gamma, atol=1e-6)
    np.testing.assert_allclose(a @ other.beta, one.beta, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(other.tau_sq, one.tau_sq, rtol=1e-6)


@pytest.mark.parametrize("test", TESTS)
@few
@given(seed=seeds, scale=st.floats(0.05, 20))
def test_units_and_coding_of_a_marker_scale_its_effect(test, seed, scale):
    cohort = drawn(seed)
    spectrum = spectrum_of_kinship(relationship(cohort))
    expected = scan(cohort, spectrum, test=test)
    scaled = scan(with_dosages(cohort, scale * cohort.genotypes.dosages), spectrum, test=test)
    assert_same(scaled, expected, beta=1 / scale)
    flipped = scan(with_dosages(cohort, 2 - cohort.genotypes.dosages), spectrum, test=test)
    assert_same(flipped, expected, beta=-1.0)
    np.testing.assert_allclose(flipped.table["eaf"], 1 - expected.table["eaf"])
    np.testing.assert_allclose(flipped.table["mac"], expected.table["mac"])


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("low", [False, True])
def test_an_added_constant_changes_nothing(test, low):
    cohort = drawn(3)
    spectrum = spectrum_of_kinship(relationship(cohort))
    spectrum = spectrum.truncate(20) if low else spectrum
    moved = scan(with_dosages(cohort, cohort.genotypes.dosages + 50.0), spectrum, test=test)
    assert_same(moved, scan(cohort, spectrum, test=test))


@pytest.mark.parametrize("test", TESTS)
@few
@given(seed=seeds)
def test_the_order_of_samples_changes_nothing(test, seed):
    cohort = drawn(seed)
    spectrum = spectrum_of_kinship(relationship(cohort))
    order = np.random.default_rng(seed).permutation(len(cohort))
    moved = replace(spectrum, vectors=np.ascontiguousarray(spectrum.vectors[:, order]))
    assert_same(scan(cohort.take(order), moved, test=test), scan(cohort, spectrum, test=test))


@pytest.mark.parametrize("test", TESTS)
@few
@given(seed=seeds)
def test_eigenvectors_of_equal_eigenvalues_can_be_any(test, seed):
    found = simulate_cohort(DESIGN, seed=seed)
    together = (found.families[:, None] == found.families[None]).astype(float)
    spectrum = spectrum_of_kinship(together)  # as many eigenvalues of 4 as families; all others are 0
    rng = np.random.default_rng(seed)
    vectors = spectrum.vectors.copy()
    for value in (0.0, 4.0):
        at = np.abs(spectrum.eigenvalues - value) < 1e-6
        vectors[at] = stats.ortho_group.rvs(int(at.sum()), random_state=rng) @ vectors[at]
    turned = replace(spectrum, vectors=vectors)
    for traits in (["trait1"], ["trait1", "trait2"]):
        cohort = found.cohort.select(traits)
        assert_same(scan(cohort, turned, test=test), scan(cohort, spectrum, test=test))


@pytest.mark.parametrize("test", TESTS)
@few
@given(seed=seeds)
def test_low_rank_equals_full_rank_when_the_matrix_has_that_rank(test, seed):
    cohort = drawn(seed)
    z = np.random.default_rng(seed).normal(size=(len(cohort), 10)) / 10**0.5
    low, full = spectrum_of_effects(z), spectrum_of_kinship(z @ z.T)
    assert low.rank == 10
    assert full.rank == len(cohort)
    assert_same(scan(cohort, low, test=test), scan(cohort, full, test=test))
    assert_same(scan(cohort, full.truncate(10), test=test), scan(cohort, full, test=test))


def without_heritability(seed):
    """Return a cohort with a trait orthogonal to a relationship matrix's vectors, and its spectrum."""
    cohort = drawn(seed).select(["trait1"])
    z = np.random.default_rng(seed).normal(size=(len(cohort), 6))
    y = cohort.phenotypes - cohort.design @ np.linalg.lstsq(cohort.design, cohort.phenotypes, rcond=None)[0]
    both = np.column_stack([z, cohort.design])
    y = y - both @ np.linalg.lstsq(both, y, rcond=None)[0]
    return replace(cohort, phenotypes=y + 3), z


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("test", TESTS)
def test_without_heritability_tests_are_those_of_ordinary_least_squares(test, full):
    cohort, z = without_heritability(5)
    spectrum = spectrum_of_kinship(z @ z.T) if full else spectrum_of_effects(z)
    found = scan(cohort, spectrum, test=test)
    assert found.nulls[""].h_sq.tolist() == [0.0]
    y, x, n = cohort.phenotypes[:, 0], cohort.design, len(cohort)
    null = sm.OLS(y, x).fit()
    for row, marker in zip(found.table.itertuples(), centred(cohort), strict=True):
        fit = sm.OLS(y, np.column_stack([x, marker])).fit()
        assert row.beta == pytest.approx(fit.params[-1], rel=1e-9)
        assert row.se == pytest.approx(fit.bse[-1], rel=1e-9)
        chi_sq = {
            "f": fit.tvalues[-1] ** 2,
            "wald": fit.tvalues[-1] ** 2,
            "lrt": fit.compare_lr_test(null)[0],
            "score": fit.compare_lm_test(null)[0],
        }[test]
        assert row.chi_sq == pytest.approx(chi_sq, rel=1e-8, abs=1e-12)
        expected = stats.f.sf(chi_sq, 1, n - 4) if test in ("f", "score") else stats.chi2.sf(chi_sq, 1)
        assert row.pvalue == pytest.approx(expected, rel=1e-9)
        assert row.log10p == pytest.approx(-np.log10(expected), rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("test", TESTS)
@few
@given(block=st.integers(1, 40), n_traits=st.integers(1, 2), low=st.booleans())
def test_blocks_change_nothing(test, block, n_traits, low):
    cohort = drawn(7).select(["trait1", "trait2"][:n_traits])
    spectrum = spectrum_of_kinship(relationship(cohort))
    spectrum = spectrum.truncate(20) if low else spectrum
    found, expected = scan(cohort, spectrum, test=test, block=block), scan(cohort, spectrum, test=test)
    for name in ("beta", "se", "chi_sq", "log10p"):
        np.testing.assert_allclose(found.table[name], expected.table[name], rtol=1e-10, atol=1e-12)
    assert found.table["variant_id"].tolist() == expected.table["variant_id"].tolist()


@pytest.mark.parametrize("test", TESTS)
def test_traits_change_nothing_of_each_other(test):
    cohort = drawn(8)
    spectrum = spectrum_of_kinship(relationship(cohort))
    both = scan(cohort, spectrum, test=test).table
    for trait in cohort.traits:
        alone = scan(cohort.select([trait]), spectrum, test=test).table
        of_both = both[both["trait"] == trait]
        np.testing.assert_allclose(alone["chi_sq"], of_both["chi_sq"], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(alone["beta"], of_both["beta"], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("test", EXACT)
def test_gamma_of_each_marker_changes_nothing_either(test):
    cohort = drawn(9)
    spectrum = spectrum_of_kinship(relationship(cohort))
    expected = scan(cohort, spectrum, test=test, gamma="exact")
    order = np.random.default_rng(9).permutation(len(cohort))
    shuffled = replace(spectrum, vectors=np.ascontiguousarray(spectrum.vectors[:, order]))
    moved = 5 * cohort.phenotypes + cohort.design @ np.array([[30.0, -5.0], [4.0, 3.0], [-2.0, 1.0]])
    mixed = cohort.covariates @ np.array([[2.0, 1.0], [-0.5, 3.0]]) + np.array([10.0, -7.0])
    dosages = cohort.genotypes.dosages
    for changed, other, beta, sigma_sq in (
        (cohort.take(order), shuffled, 1.0, 1.0),
        (replace(cohort, phenotypes=moved), spectrum, 5.0, 25.0),
        (replace(cohort, covariates=mixed), spectrum, 1.0, 1.0),
        (with_dosages(cohort, 2 - dosages), spectrum, -1.0, 1.0),
        (with_dosages(cohort, 4 * dosages), spectrum, 0.25, 1.0),
    ):
        found = scan(changed, other, test=test, gamma="exact", block=10)
        np.testing.assert_allclose(found.table["log_gamma"], expected.table["log_gamma"], atol=2e-6)
        assert_same(found, expected, beta=beta, sigma_sq=sigma_sq)


@pytest.mark.parametrize("test", EXACT)
def test_gamma_of_each_marker_is_the_same_in_low_rank(test):
    cohort = drawn(10)
    z = np.random.default_rng(10).normal(size=(len(cohort), 12)) / 12**0.5
    low = scan(cohort, spectrum_of_effects(z), test=test, gamma="exact")
    full = scan(cohort, spectrum_of_kinship(z @ z.T), test=test, gamma="exact")
    np.testing.assert_allclose(low.table["log_gamma"], full.table["log_gamma"], atol=2e-6)
    assert_same(low, full)


@pytest.mark.parametrize("gamma", ["null", "exact"])
@pytest.mark.parametrize("polygenic", [0.0, 1.0])
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units_of_the_relationship_matrix_do_not_matter(gamma, polygenic, factor):
    cohort = make_cohort(4, polygenic=polygenic)
    kinship = make_kinship(cohort)
    options = {"gamma": gamma, "on_boundary": "clamp"}
    plain = associate_variants(cohort, spectrum_of_kinship(kinship, scaling="mean_diagonal"), **options)
    other = associate_variants(cohort, spectrum_of_kinship(kinship * factor), **options)
    for name in ("beta", "se", "pvalue"):
        np.testing.assert_allclose(other.table[name], plain.table[name], rtol=1e-6)
    unit = np.log(spectrum_of_kinship(kinship * factor).mean_diagonal)
    np.testing.assert_allclose(other.nulls[""].log_gamma + unit, plain.nulls[""].log_gamma, atol=1e-6)
    assert other.nulls[""].boundary == plain.nulls[""].boundary
