from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmr.errors import InputError
from deepmr.population.relationship import Relationship, relationship_of, spectrum_of_relationship
from deepmr.population.spectrum import spectrum_of_kinship
from tests.population.panels import by_definition, families, panel


def test_known_by_hand():
    k = relationship_of(panel(np.array([[0.0, 1.0, 2.0], [2.0, 2.0, 0.5]])))
    np.testing.assert_allclose(k.matrix, np.array([[1.25, 0.25, -1.5], [0.25, 0.25, -0.5], [-1.5, -0.5, 2.0]]) / 2)
    assert k.n_markers == 2
    assert k.dropped == {}


@pytest.mark.parametrize("kind", ["centred", "standardised"])
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_equals_the_definition_whatever_the_block(kind, block):
    genotypes = families()
    k = relationship_of(genotypes, kind=kind, block=block)
    wanted, used = by_definition(genotypes.dosages, kind=kind)
    np.testing.assert_allclose(k.matrix, wanted, rtol=1e-12, atol=1e-12)
    assert (k.matrix == k.matrix.T).all()
    assert k.n_markers == used


def test_markers_left_out_are_counted_by_reason():
    genotypes = families(missing=0.0)
    k = relationship_of(genotypes)
    assert k.dropped == {"monomorphic": 1, "low_maf": 1, "too_missing": 1, "all_missing": 1}
    assert k.n_markers == 236
    infinite = genotypes.dosages.copy()
    infinite[0, 0] = np.inf
    assert relationship_of(replace(genotypes, dosages=infinite)).dropped["not_finite"] == 1


def test_filters_may_count_in_some_samples_while_means_are_of_all():
    dosages = np.array([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 2.0, 1.0]])
    k = relationship_of(panel(dosages), counted=np.array([0, 1]))
    assert k.dropped == {"monomorphic": 1}
    np.testing.assert_allclose(k.matrix, np.outer(dosages[1] - 1, dosages[1] - 1))


def test_pairwise_divides_by_markers_that_both_have():
    genotypes = families(missing=0.03)
    k = relationship_of(genotypes, missing="pairwise", block=50).matrix
    g = genotypes.dosages[[v for v in range(240) if v not in (5, 6, 7, 8)]]
    g = g[np.isnan(g).mean(1) <= 0.05]
    z = g - np.nanmean(g, 1, keepdims=True)
    np.testing.assert_allclose(k[3, 11], np.nanmean(z[:, 3] * z[:, 11]), rtol=1e-10)
    np.testing.assert_allclose(k[4, 4], np.nanmean(z[:, 4] ** 2), rtol=1e-10)
    full = families(missing=0.0)
    np.testing.assert_allclose(relationship_of(full, missing="pairwise").matrix, relationship_of(full).matrix)


def test_pairwise_has_no_bias_and_negative_eigenvalues():
    full = families(variants=160, missing=0.0)
    gappy = full.dosages.copy()
    gappy[:, :20][np.random.default_rng(0).random((160, 20)) < 0.3] = np.nan
    truth = np.diag(relationship_of(full, max_missing=0.5).matrix)[:20].sum()
    mean = relationship_of(panel(gappy), max_missing=0.5)
    pairwise = relationship_of(panel(gappy), max_missing=0.5, missing="pairwise")
    assert np.diag(mean.matrix)[:20].sum() / truth == pytest.approx(0.7, abs=0.03)
    assert np.diag(pairwise.matrix)[:20].sum() / truth == pytest.approx(1.0, abs=0.03)
    with pytest.raises(InputError, match="kinship must be positive semidefinite"):
        spectrum_of_relationship(pairwise)
    assert spectrum_of_relationship(pairwise, negative="cut").eigenvalues[-1] == 0.0


def test_pairwise_needs_a_marker_in_common():
    dosages = np.array([[0.0, 1.0, np.nan, 2.0], [np.nan, 1.0, 0.0, 2.0]])
    with pytest.raises(InputError, match="samples s0 and s2 have no marker in common"):
        relationship_of(panel(dosages), missing="pairwise", max_missing=0.5)


def test_chromosomes_are_chosen_by_name():
    genotypes = families()
    part = relationship_of(genotypes, chroms=["chr2", "X"])
    wanted, _ = by_definition(genotypes.dosages[np.r_[60:120, 180:240]])
    np.testing.assert_allclose(part.matrix, wanted, atol=1e-12)
    with pytest.raises(InputError, match="chroms must be one of 1, 2, 3, X; got 'Y'"):
        relationship_of(genotypes, chroms=["Y"])


def test_no_marker_left_says_why():
    with pytest.raises(InputError, match=r"no marker is left for the relationship matrix; .*: 2 monomorphic"):
        relationship_of(panel(np.ones((2, 5))))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), kind=st.sampled_from(["centred", "standardised"]))
def test_invariances(seed, kind):
    rng = np.random.default_rng(seed)
    genotypes = families(samples=20, variants=40, seed=seed, missing=0.0)
    k = relationship_of(genotypes, kind=kind).matrix
    order = rng.permutation(20)
    np.testing.assert_allclose(
        relationship_of(genotypes.take(order), kind=kind).matrix, k[np.ix_(order, order)], atol=1e-12
    )
    flipped = np.where(rng.random((40, 1)) < 0.5, 2 - genotypes.dosages, genotypes.dosages)
    np.testing.assert_allclose(relationship_of(panel(flipped), kind=kind).matrix, k, atol=1e-12)
    twice = np.concatenate([genotypes.dosages, genotypes.dosages])
    np.testing.assert_allclose(relationship_of(panel(twice), kind=kind).matrix, k, atol=1e-12)
    assert np.linalg.eigvalsh(k)[0] > -1e-10


def test_standardised_markers_of_complete_genotypes_have_mean_diagonal_one():
    k = relationship_of(families(missing=0.0), kind="standardised")
    assert np.trace(k.matrix) / 60 == pytest.approx(1.0)


def test_samples_are_selected_by_name_and_centred_anew():
    k = relationship_of(families())
    part = k.select(["s9", "s2", "s30"])
    assert part.samples.tolist() == ["s9", "s2", "s30"]
    assert part.matrix[0, 2] == k.matrix[9, 30]
    np.testing.assert_allclose(part.centred().matrix.sum(0), 0.0, atol=1e-12)
    centring = np.eye(3) - 1 / 3
    np.testing.assert_allclose(part.centred().matrix, centring @ part.matrix @ centring, atol=1e-12)
    with pytest.raises(InputError, match="1 of 2 samples are not in the relationship matrix, first 'who'"):
        k.select(["s1", "who"])


def test_spectrum_scales_by_the_mean_diagonal_of_the_centred_matrix():
    k = relationship_of(families()).take(np.arange(0, 60, 2))
    spectrum = spectrum_of_relationship(k)
    assert spectrum.eigenvalues.sum() / 30 == pytest.approx(1.0)
    raw = spectrum_of_relationship(k, scaling="none")
    np.testing.assert_allclose(raw.eigenvalues, spectrum.eigenvalues * spectrum.scale)
    assert spectrum.scale == spectrum.mean_diagonal == pytest.approx(raw.eigenvalues.sum() / 30)
    np.testing.assert_allclose(raw.vectors.T * raw.eigenvalues @ raw.vectors, k.centred().matrix, atol=1e-12)


def test_rank_keeps_the_largest_and_says_how_much():
    k = relationship_of(families())
    full, low = spectrum_of_relationship(k), spectrum_of_relationship(k, rank=5)
    np.testing.assert_array_equal(low.eigenvalues, full.eigenvalues[:5])
    assert low.kept == pytest.approx(full.eigenvalues[:5].sum() / full.eigenvalues.sum())
    assert low.truncate(2).kept == pytest.approx(full.eigenvalues[:2].sum() / full.eigenvalues.sum())
    assert low.low_rank
    assert full.kept == 1.0


def test_digits_that_a_file_lost_explain_small_negative_eigenvalues():
    k = relationship_of(families(variants=40)).centred()  # of less than full rank
    single = k.matrix.astype(np.float32).astype(float)
    at_zero = spectrum_of_relationship(replace(k, matrix=single, rounding=2.0**-24), centre=False)
    assert at_zero.eigenvalues[-1] < 1e-7
    coarse = np.vectorize(lambda x: float(f"{x:.2g}"))(k.matrix)
    with pytest.raises(InputError, match="its smallest eigenvalue is -"):
        spectrum_of_relationship(replace(k, matrix=coarse), centre=False)
    assert spectrum_of_relationship(replace(k, matrix=coarse, rounding=0.05), centre=False).rank == 60


def test_relationship_checks_itself():
    with pytest.raises(InputError, match="matrix must have shape"):
        Relationship(matrix=np.eye(3), samples=pd.Index(["a", "b"]), n_markers=None, kind="given")
    with pytest.raises(InputError, match="samples must be unique"):
        Relationship(matrix=np.eye(2), samples=pd.Index(["a", "a"]), n_markers=None, kind="given")


def test_progress_reaches_all_variants():
    seen = []
    relationship_of(families(), block=100, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(100, 240), (200, 240), (240, 240)]


def test_matrix_from_a_kinship_equals_that_of_the_relationship():
    k = relationship_of(families())
    np.testing.assert_allclose(
        spectrum_of_relationship(k, scaling="none", centre=False).eigenvalues,
        spectrum_of_kinship(k.matrix).eigenvalues,
    )
