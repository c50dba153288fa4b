import numpy as np
import pandas as pd
import pytest

from deepmr.cohort import ArrayGenotypes, Cohort
from deepmr.errors import InputError
from deepmr.population import associate_variants, prepare_scan, spectrum_of_effects, spectrum_of_kinship
from deepmr.population.error_correlation import cross_trait_correlation, independent_markers, score_traits

SAMPLES, VARIANTS = 240, 400
RNG = np.random.default_rng(0)
DOSAGES = RNG.binomial(2, RNG.uniform(0.2, 0.5, VARIANTS)[:, None], (VARIANTS, SAMPLES)).astype(float)
Z = ((DOSAGES - DOSAGES.mean(1, keepdims=True)) / DOSAGES.std(1, keepdims=True)).T
KINSHIP = Z @ Z.T / VARIANTS


def make_cohort(phenotypes, rows=slice(None), names="abcdefgh"):
    at = np.arange(SAMPLES)[rows]
    variants = pd.DataFrame({
        "variant_id": [f"v{k}" for k in range(VARIANTS)], "chrom": "1", "pos": np.arange(VARIANTS) + 1,
        "effect_allele": "A", "other_allele": "C",
    })  # fmt: skip
    samples = pd.Index([f"s{k}" for k in at])
    return Cohort(
        genotypes=ArrayGenotypes(variants=variants, samples=samples, dosages=np.ascontiguousarray(DOSAGES[:, at])),
        phenotypes=phenotypes,
        traits=tuple(names[: phenotypes.shape[1]]),
        covariates=np.zeros((len(at), 0)),
    )


def scored(cohort, rows=slice(None), kinship=KINSHIP):
    spectrum = spectrum_of_kinship(np.ascontiguousarray(kinship[rows][:, rows]))
    return score_traits(cohort, spectrum, prepare_scan(cohort, spectrum).null)


def draw(rng, *, genetic, residual, h_sq=0.5, n=SAMPLES):
    effects = np.linalg.cholesky([[1, genetic], [genetic, 1]]) @ rng.normal(size=(2, VARIANTS))
    noise = np.linalg.cholesky([[1, residual], [residual, 1]]) @ rng.normal(size=(2, n))
    return (effects @ Z.T * (h_sq / VARIANTS) ** 0.5 + noise * (1 - h_sq) ** 0.5).T, effects * (h_sq / VARIANTS) ** 0.5


def test_without_heritability_it_is_the_correlation_of_traits_times_the_share_of_samples():
    rng = np.random.default_rng(1)
    y = rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], SAMPLES)
    flat = np.eye(SAMPLES)  # of which no trait can tell a genetic part
    for rows, others in ((slice(0, 240), slice(0, 240)), (slice(0, 160), slice(80, 240))):
        parts = [
            scored(make_cohort(y[rows, :1], rows, "a"), rows, flat),
            scored(make_cohort(y[others, 1:], others, "b"), others, flat),
        ]
        found = cross_trait_correlation(parts, n_markers=np.inf)
        x, z = y[rows, 0] - y[rows, 0].mean(), y[others, 1] - y[others, 1].mean()
        padded = [np.zeros(SAMPLES), np.zeros(SAMPLES)]
        padded[0][rows], padded[1][others] = x, z
        dof = (len(x) - 1) * (len(z) - 1) / (len(x) * len(z))
        wanted = padded[0] @ padded[1] / np.sqrt((x @ x) * (z @ z)) * np.sqrt(dof)
        assert found.matrix[0, 1] == pytest.approx(wanted, abs=1e-9)
        assert found.n_shared[0, 1] == len(set(range(SAMPLES)[rows]) & set(range(SAMPLES)[others]))


def test_of_one_group_or_of_two_with_the_same_samples_it_is_the_same():
    y, _ = draw(np.random.default_rng(2), genetic=0.5, residual=0.2)
    both = cross_trait_correlation([scored(make_cohort(y))], n_markers=VARIANTS)
    apart = [scored(make_cohort(y[:, :1], names="a")), scored(make_cohort(y[:, 1:], names="b"))]
    np.testing.assert_allclose(
        both.matrix, cross_trait_correlation(apart, n_markers=VARIANTS).matrix, rtol=1e-9, atol=1e-12
    )
    order = RNG.permutation(SAMPLES)
    turned = scored(make_cohort(y[order, 1:], order, "b"), order)
    again = cross_trait_correlation([apart[0], turned], n_markers=VARIANTS)
    np.testing.assert_allclose(again.matrix, both.matrix, rtol=1e-7)


def test_neither_the_scale_of_the_matrix_nor_of_traits_matters_and_signs_turn_it():
    y, _ = draw(np.random.default_rng(4), genetic=0.5, residual=0.2)
    plain = cross_trait_correlation([scored(make_cohort(y))], n_markers=VARIANTS).matrix[0, 1]
    scaled = [scored(make_cohort(y * [10, -0.1]), kinship=KINSHIP / 2)]
    assert cross_trait_correlation(scaled, n_markers=VARIANTS).matrix[0, 1] == pytest.approx(-plain, rel=1e-6)


def test_low_rank_equals_full_rank():
    y, _ = draw(np.random.default_rng(5), genetic=0.5, residual=0.2)
    cohort, z = make_cohort(y), Z[:, :100]
    found = []
    for spectrum in (spectrum_of_effects(z / 10), spectrum_of_kinship(z @ z.T / 100)):
        null = prepare_scan(cohort, spectrum).null
        found.append(cross_trait_correlation([score_traits(cohort, spectrum, null)], n_markers=100).matrix)
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.parametrize(("genetic", "residual"), [(0.0, 0.6), (0.8, -0.5)])
def test_it_is_that_of_errors_with_polygenic_traits(genetic, residual):
    """Errors are of effects whose true values are known; of the second, z-scores say up to 0.25 more."""
    rng = np.random.default_rng(6)
    wanted, said = [], []
    for _ in range(12):
        y, effects = draw(rng, genetic=genetic, residual=residual)
        cohort = make_cohort(y)
        spectrum = spectrum_of_kinship(KINSHIP)
        found = associate_variants(cohort, spectrum)
        beta, se = (found.table[name].to_numpy().reshape(VARIANTS, 2) for name in ("beta", "se"))
        errors = (beta - effects.T / DOSAGES.std(1)[:, None]) / se
        wanted.append(np.mean(errors[:, 0] * errors[:, 1]))
        said.append(cross_trait_correlation([score_traits(cohort, spectrum, found.nulls[""])], n_markers=VARIANTS))
    found = np.mean([one.matrix[0, 1] for one in said])
    assert found == pytest.approx(np.mean(wanted), abs=0.06)


def test_linked_markers_count_once():
    rng = np.random.default_rng(7)
    base = rng.normal(size=(300, 200))
    copies = np.repeat(base, 4, axis=0) + 0  # in fours that are the same
    for chrom, total in ((["1"], 1200), (["1", "2"], 1200)):
        variants = pd.DataFrame({
            "variant_id": [f"v{k}" for k in range(total)], "chrom": np.repeat(chrom, total // len(chrom)),
            "pos": np.arange(total), "effect_allele": "A", "other_allele": "C",
        })  # fmt: skip
        genotypes = ArrayGenotypes(
            variants=variants, samples=pd.Index([f"s{k}" for k in range(200)]), dosages=copies[:total]
        )
        assert independent_markers(genotypes, window=30) == pytest.approx(300, rel=0.1)
    assert independent_markers(genotypes, window=30, n_variants=600) == pytest.approx(150, rel=0.1)


def test_what_makes_no_sense_is_refused():
    y, _ = draw(np.random.default_rng(8), genetic=0.0, residual=0.0)
    part = scored(make_cohort(y))
    with pytest.raises(InputError, match="traits"):
        cross_trait_correlation([part, part], n_markers=VARIANTS)
    with pytest.raises(InputError, match=r"errors cannot be told from effects of .*2 independent markers, too few"):
        cross_trait_correlation([part], n_markers=2)
    with pytest.raises(InputError, match="n_markers must be positive; got 0"):
        cross_trait_correlation([part], n_markers=0)
    record = cross_trait_correlation([part], n_markers=np.inf).to_dict()
    assert record["n_markers"] is None
    assert record["traits"] == ["a", "b"]


def test_a_trait_beside_itself_has_the_same_errors_where_standard_errors_are_of_errors_alone():
    y, _ = draw(np.random.default_rng(9), genetic=0.0, residual=0.0)
    part = scored(make_cohort(y[:, [0, 0]]))
    honest = 1 - part.gamma[0] * (part.weights[0] @ part.spectrum.eigenvalues) / VARIANTS
    assert 0.3 < honest < 0.95
    inside = cross_trait_correlation([part], n_markers=VARIANTS).matrix
    # What rests of 1 is the sum over eigenvectors of what the likelihood does not fit exactly.
    assert inside[0, 1] == pytest.approx(honest, abs=0.1)
    beside = cross_trait_correlation([part], n_markers=VARIANTS, tested="left_out").matrix
    assert beside[0, 1] == pytest.approx(inside[0, 1] / honest)
    assert np.diagonal(beside) == pytest.approx(1.0)


@pytest.mark.parametrize(("genetic", "residual"), [(0.0, 0.6), (0.8, -0.5)])
def test_of_markers_left_out_of_the_matrix_too(genetic, residual):
    rng, inside = np.random.default_rng(10), slice(0, 300)
    spectrum = spectrum_of_kinship(Z[:, inside] @ Z[:, inside].T / 300)
    wanted, said = [], []
    for _ in range(12):
        y, effects = draw(rng, genetic=genetic, residual=residual)
        found = associate_variants(make_cohort(y), spectrum)
        beta, se = (found.table[name].to_numpy().reshape(VARIANTS, 2)[300:] for name in ("beta", "se"))
        errors = (beta - (effects.T / DOSAGES.std(1)[:, None])[300:]) / se
        wanted.append(np.mean(errors[:, 0] * errors[:, 1]))
        part = score_traits(make_cohort(y), spectrum, found.nulls[""])
        said.append(cross_trait_correlation([part], n_markers=300, tested="left_out").matrix[0, 1])
    assert np.mean(said) == pytest.approx(np.mean(wanted), abs=0.08)


def test_markers_that_are_not_in_the_matrix_do_not_count():
    rng = np.random.default_rng(11)
    dosages = rng.binomial(2, 0.3, (900, 200)).astype(float)
    dosages[::3] = 1.0
    dosages[1::3] = 0.0
    dosages[np.arange(1, 900, 3), rng.integers(0, 200, 300)] = 1.0  # one copy each
    variants = pd.DataFrame({
        "variant_id": [f"v{k}" for k in range(900)], "chrom": "1", "pos": np.arange(900),
        "effect_allele": "A", "other_allele": "C",
    })  # fmt: skip
    genotypes = ArrayGenotypes(variants=variants, samples=pd.Index([f"s{k}" for k in range(200)]), dosages=dosages)
    options = {"n_sampled": 900, "window": 60}
    assert independent_markers(genotypes, **options) == pytest.approx(600, rel=0.15)
    assert independent_markers(genotypes, **options, min_maf=0.01) == pytest.approx(300, rel=0.15)
