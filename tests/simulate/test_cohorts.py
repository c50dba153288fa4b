import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.simulate.cohorts import CohortDesign, simulate_cohort


def correlation_of(dosages):
    return np.corrcoef((dosages - dosages.mean(1, keepdims=True)).T)


def test_siblings_share_half_of_their_genotypes_and_others_none():
    found = simulate_cohort(CohortDesign(n_samples=400, n_variants=4_000, n_chromosomes=20, ld=0.0), seed=1)
    together = found.families[:, None] == found.families[None]
    own = correlation_of(found.cohort.genotypes.dosages)
    assert own[together & ~np.eye(400, dtype=bool)].mean() == pytest.approx(0.5, abs=0.02)
    assert own[~together].mean() == pytest.approx(0.0, abs=0.02)


def test_neighbours_on_a_chromosome_are_linked_and_chromosomes_are_not():
    found = simulate_cohort(CohortDesign(n_samples=4000, n_variants=20, family_size=1, ld=0.9, min_maf=0.3), seed=2)
    r = np.corrcoef(found.cohort.genotypes.dosages)
    chrom = found.cohort.genotypes.variants["chrom"].to_numpy()
    neighbours = np.diagonal(r, 1)
    inside = chrom[1:] == chrom[:-1]
    assert neighbours[inside].min() > 0.4
    assert np.abs(neighbours[~inside]).max() < 0.06


def test_populations_differ_by_fst():
    design = CohortDesign(n_samples=2000, n_variants=500, family_size=1, n_populations=2, fst=0.1, ld=0.0, min_maf=0.2)
    found = simulate_cohort(design, seed=3)
    dosages = found.cohort.genotypes.dosages
    p = np.stack([dosages[:, found.populations == k].mean(1) / 2 for k in (0, 1)])
    between = (p[0] - p[1]) ** 2 - (p * (1 - p)).sum(0) / 2000
    assert between.sum() / (p[0] * (1 - p[1]) + p[1] * (1 - p[0])).sum() == pytest.approx(0.1, abs=0.015)


def test_parts_of_the_variance_are_as_asked():
    design = CohortDesign(
        n_samples=4000, n_variants=400, n_traits=3, h_sq=0.4, n_causal=5, causal_share=0.1, shared_environment=0.2,
        family_size=4, n_covariates=0,
    )  # fmt: skip
    found = simulate_cohort(design, seed=4)
    assert found.cohort.phenotypes.var(0) == pytest.approx(np.ones(3), abs=0.15)
    assert found.genetic.var(0) == pytest.approx(np.full(3, 0.5), abs=0.12)
    assert found.causal.sum(0).tolist() == [5, 5, 5]
    assert found.causal.sum(1).max() == 1
    rest = found.cohort.phenotypes - found.genetic
    means = np.stack([rest[found.families == k].mean(0) for k in range(1000)])
    assert means.var(0) == pytest.approx(np.full(3, 0.2 + 0.3 / 4), abs=0.04)


def test_chromosomes_without_polygenic_effects_have_none():
    design = CohortDesign(polygenic_chroms=("1", "2"), n_causal=3, causal_share=0.1, causal_chroms=("4",))
    found = simulate_cohort(design)
    chrom = found.cohort.genotypes.variants["chrom"].to_numpy()
    moving = found.effects[:, 0] != 0
    assert moving[np.isin(chrom, ["1", "2"])].all()
    assert not moving[chrom == "3"].any()
    assert np.array_equal(moving[chrom == "4"], found.causal[chrom == "4", 0])


def test_the_first_trait_acts_on_the_others():
    design = CohortDesign(n_traits=2, slope=0.7, n_causal=2, causal_share=0.2, h_sq=0.0)
    found = simulate_cohort(design)
    own = found.causal[:, 0]
    np.testing.assert_allclose(found.effects[own, 1], 0.7 * found.effects[own, 0])
    assert (found.effects[found.causal[:, 1], 0] == 0).all()


def test_the_first_trait_acts_on_those_that_it_should():
    found = simulate_cohort(CohortDesign(n_traits=3, trait_names=("x", "y", "z"), slope=(0.4, 0.0), n_causal=2))
    own = found.causal[:, 0]
    assert found.cohort.traits == ("x", "y", "z")
    at_rest = CohortDesign(n_traits=3, n_causal=2)
    before = simulate_cohort(at_rest).effects
    np.testing.assert_allclose(found.effects - before, before[:, :1] * [0.0, 0.4, 0.0], atol=1e-12)
    assert own.sum() == 2


def test_what_no_variant_shows_makes_traits_correlate():
    design = CohortDesign(
        n_samples=4000, n_variants=400, n_traits=2, n_covariates=0, h_sq=0.4, environment_corr=0.5, ld=0.0
    )
    found = simulate_cohort(design, seed=7)
    own = found.cohort.phenotypes - found.genetic
    assert np.corrcoef(own.T)[0, 1] == pytest.approx(0.5, abs=0.05)
    assert np.corrcoef(found.genetic.T)[0, 1] == pytest.approx(0.0, abs=0.15)


def test_sites_are_covariates_that_move_traits():
    found = simulate_cohort(CohortDesign(n_samples=24, n_variants=8, n_sites=3, h_sq=0.0), seed=8)
    assert found.cohort.covariate_names == ("covariate1", "site2", "site3")
    assert (np.diff(found.sites.reshape(6, 4)) == 0).all()  # siblings are at one site
    for k in (1, 2):
        np.testing.assert_array_equal(found.cohort.covariates[:, k] == 1, found.sites == k)
    assert found.covariate_effects.shape == (3, 1)
    assert (found.covariate_effects != 0).all()


def test_the_same_seed_gives_the_same_cohort_and_what_is_missing_is_as_asked():
    design = CohortDesign(missing=0.1, missing_phenotypes=0.2, n_traits=2)
    one, two = simulate_cohort(design, seed=5).cohort, simulate_cohort(design, seed=5).cohort
    np.testing.assert_array_equal(one.genotypes.dosages, two.genotypes.dosages)
    np.testing.assert_array_equal(one.phenotypes, two.phenotypes)
    assert np.isnan(one.genotypes.dosages).mean() == pytest.approx(0.1, abs=0.01)
    assert np.isnan(one.phenotypes).mean() == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"h_sq": 0.8, "shared_environment": 0.3}, "must not exceed 1"),
        ({"ld": 1.0}, "ld must be"),
        ({"causal_chroms": ("9",)}, "causal_chroms"),
        ({"n_samples": 0}, "n_samples"),
        ({"environment_corr": 1.0}, "environment_corr must be"),
        ({"n_traits": 2, "slope": (0.1, 0.2)}, "slope of 2 traits must be 1; got 2"),
        ({"n_traits": 2, "trait_names": ("x",)}, "trait_names of 2 traits must be 2"),
    ],
)
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        CohortDesign(**options)


def test_more_causal_variants_than_there_are_is_refused():
    with pytest.raises(InputError, match="causal variants"):
        simulate_cohort(CohortDesign(n_variants=4, n_causal=5, causal_share=0.1))
