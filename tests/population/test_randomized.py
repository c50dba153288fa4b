from dataclasses import replace

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.population.randomized import randomized_spectrum
from deepmr.population.relationship import relationship_of, spectrum_of_relationship
from tests.population.panels import families, panel


def decaying(samples=150, variants=400, fall=0.8, seed=0):
    """Genotypes whose relationship matrix has eigenvalues that fall by a factor each."""
    rng = np.random.default_rng(seed)
    left, _ = np.linalg.qr(rng.normal(size=(variants, 60)))
    right, _ = np.linalg.qr(np.column_stack([np.ones(samples), rng.normal(size=(samples, 60))]))
    return panel(1 + left * np.sqrt(fall ** np.arange(60)) @ right[:, 1:].T)


@pytest.mark.parametrize("scaling", ["none", "mean_diagonal"])
def test_equals_the_full_decomposition_where_eigenvalues_fall(scaling):
    genotypes = decaying()
    full = spectrum_of_relationship(relationship_of(genotypes), scaling=scaling, rank=15)
    low = randomized_spectrum(genotypes, rank=15, seed=1, scaling=scaling, block=64)
    np.testing.assert_allclose(low.eigenvalues, full.eigenvalues, rtol=1e-9)
    np.testing.assert_allclose(np.abs((low.vectors * full.vectors).sum(1)), 1.0, atol=1e-9)
    assert low.scale == pytest.approx(full.scale)
    assert low.mean_diagonal == pytest.approx(full.mean_diagonal)
    assert low.kept == pytest.approx(full.kept)
    assert low.low_rank


def test_everything_is_found_where_the_rank_suffices():
    genotypes = decaying(fall=0.6)
    low = randomized_spectrum(genotypes, rank=60, seed=1, n_iter=0, oversample=0)
    assert low.kept == pytest.approx(1.0, abs=1e-9)
    assert (low.eigenvalues > 0).all()
    full = spectrum_of_relationship(relationship_of(genotypes))
    np.testing.assert_allclose(
        low.vectors.T * low.eigenvalues @ low.vectors, full.vectors.T * full.eigenvalues @ full.vectors, atol=1e-9
    )


def test_vectors_are_orthonormal_and_eigenvalues_never_too_large():
    genotypes = families()
    full = spectrum_of_relationship(relationship_of(genotypes))
    for n_iter in (0, 1, 3):
        low = randomized_spectrum(genotypes, rank=12, seed=4, n_iter=n_iter, oversample=5)
        np.testing.assert_allclose(low.vectors @ low.vectors.T, np.eye(12), atol=1e-12)
        assert (low.eigenvalues <= full.eigenvalues[:12] * (1 + 1e-12)).all()
        assert 0 < low.kept <= full.truncate(12).kept + 1e-12
        assert low.eigenvalues.sum() == pytest.approx(low.kept * 60)


def test_seed_block_and_filters_are_those_asked_for():
    genotypes = families()
    options = {"rank": 5, "seed": 2, "kind": "standardised", "chroms": ["1", "X"], "min_maf": 0.1}
    low = randomized_spectrum(genotypes, **options)
    again = randomized_spectrum(genotypes, **options, block=9)
    np.testing.assert_allclose(low.eigenvalues, again.eigenvalues, rtol=1e-10)
    full = relationship_of(genotypes, kind="standardised", chroms=["1", "X"], min_maf=0.1)
    assert low.source.startswith(f"{full.n_markers} standardised markers")
    np.testing.assert_allclose(low.mean_diagonal, np.trace(full.matrix) / 60)


def test_what_cannot_be_done_is_said():
    genotypes = families()
    with pytest.raises(InputError, match="rank must be below the number of samples, 60; got 60"):
        randomized_spectrum(genotypes, rank=60, seed=0)
    with pytest.raises(InputError, match="rank must be at least 1"):
        randomized_spectrum(genotypes, rank=0, seed=0)
    with pytest.raises(InputError, match="rank must be at most the number of markers, 3; got 4"):
        randomized_spectrum(panel(genotypes.dosages[:3]), rank=4, seed=0, max_missing=0.5)
    with pytest.raises(InputError, match="no marker is left"):
        randomized_spectrum(replace(genotypes, dosages=np.ones((240, 60))), rank=2, seed=0)


def test_progress_covers_every_pass():
    seen = []
    randomized_spectrum(families(), rank=2, seed=0, n_iter=1, block=240, progress=lambda *step: seen.append(step))
    assert seen == [(240, 720), (480, 720), (720, 720)]
