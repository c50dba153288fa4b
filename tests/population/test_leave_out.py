import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.population import associate_variants
from deepmr.population.leave_out import leave_one_out
from deepmr.population.relationship import relationship_of, spectrum_of_relationship
from tests.population.panels import families, panel
from tests.population.test_association import make_cohort

OTHERS = {"1": ["2", "3", "X"], "2": ["1", "3", "X"], "3": ["1", "2", "X"], "X": ["1", "2", "3"]}


@pytest.mark.parametrize("kind", ["centred", "standardised"])
@pytest.mark.parametrize("max_bytes", [0, 2 * 60 * 61 * 4, 1 << 30])
def test_equals_the_matrix_made_without_the_chromosome(kind, max_bytes):
    genotypes = families()
    loo = leave_one_out(genotypes, kind=kind, max_bytes=max_bytes, block=32)
    assert len(loo.shares) == min(max_bytes // (60 * 61 * 4), 4)
    for chrom, others in OTHERS.items():
        direct = relationship_of(genotypes, kind=kind, chroms=others)
        left = loo.relationship(chrom)
        np.testing.assert_allclose(left.matrix, direct.matrix, atol=1e-12)
        assert left.n_markers == direct.n_markers
    np.testing.assert_allclose(loo.whole.matrix, relationship_of(genotypes, kind=kind).matrix, atol=1e-12)
    assert loo.whole.dropped == relationship_of(genotypes, kind=kind).dropped


def test_a_call_gives_the_spectrum():
    genotypes = families()
    spectrum = leave_one_out(genotypes)("chr3")
    direct = spectrum_of_relationship(relationship_of(genotypes, chroms=["1", "2", "X"]))
    np.testing.assert_allclose(spectrum.eigenvalues, direct.eigenvalues, atol=1e-10)
    assert spectrum.scale == pytest.approx(direct.scale)
    assert spectrum.source.endswith("none of chromosome 3")


def test_a_chromosome_that_is_not_part_of_it_leaves_the_whole():
    genotypes = families()
    loo = leave_one_out(genotypes, chroms=["1", "2", "3"])
    direct = relationship_of(genotypes, chroms=["1", "2", "3"])
    np.testing.assert_allclose(loo.relationship("X").matrix, direct.matrix, atol=1e-12)
    assert loo.relationship("X").n_markers == direct.n_markers


def test_samples_are_taken_from_the_same_sums():
    genotypes = families()
    rows = np.arange(0, 60, 3)[::-1]
    loo = leave_one_out(genotypes).take(rows)
    direct = relationship_of(genotypes, chroms=OTHERS["2"]).take(rows)
    np.testing.assert_allclose(loo.relationship("2").matrix, direct.matrix, atol=1e-12)
    assert loo.relationship("2").samples.tolist() == genotypes.samples[rows].tolist()
    assert loo.take(np.array([0, 2])).rows.tolist() == [57, 51]
    assert loo("2").n == loo("none").n == 20


def test_chromosomes_in_pieces_are_put_together():
    genotypes = families(missing=0.0)
    chroms = np.tile(["1", "2", "3"], 80)
    loo = leave_one_out(panel(genotypes.dosages, chroms))
    direct = relationship_of(panel(genotypes.dosages[chroms != "2"]))
    np.testing.assert_allclose(loo.relationship("2").matrix, direct.matrix, atol=1e-12)


def test_nothing_left_is_an_error():
    loo = leave_one_out(panel(families(missing=0.0).dosages))
    with pytest.raises(InputError, match="all 236 markers of the relationship matrix lie on chromosome 1"):
        loo("1")
    with pytest.raises(InputError, match="no marker is left"):
        leave_one_out(panel(np.ones((3, 4))))
    with pytest.raises(InputError, match="chroms must be one of"):
        leave_one_out(families(), chroms=["Z"])


def test_a_large_chromosome_leaves_a_matrix_that_is_still_semidefinite():
    genotypes = families(samples=40, variants=2000, missing=0.0)
    chroms = np.repeat(["1", "2"], [1995, 5])
    loo = leave_one_out(panel(genotypes.dosages, chroms))
    spectrum = loo("1")
    assert (spectrum.eigenvalues[:5] > 1e-3).all()
    np.testing.assert_allclose(spectrum.eigenvalues[5:], 0.0, atol=1e-12)


def test_progress_counts_on_over_chromosomes():
    seen = []
    leave_one_out(families(), block=40, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 240) for done in (40, 60, 100, 120, 160, 180, 220, 240)]


def test_a_scan_takes_it_in_place_of_a_spectrum():
    cohort = make_cohort()
    cohort.genotypes.variants["chrom"] = np.repeat(["1", "2"], 30)
    loo = leave_one_out(cohort.genotypes)
    found = associate_variants(cohort, loo)
    alone = associate_variants(cohort, loo("2")).table
    of_two = (found.table["chrom"] == "2").to_numpy()
    np.testing.assert_array_equal(found.table["beta"][of_two], alone["beta"][of_two])
    assert set(found.nulls) == {"1", "2"}
