"""A second pathway: what it does to counts, and what the effect of the exposure is beside it."""

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.simulate.options import SimulationOptions
from deepmr.simulate.pathways import (
    SECOND,
    Pathways,
    draw_pathway_counts,
    pathway_counts,
    pathway_effects,
    pathway_motifs,
)
from deepmr.simulate.sequences import simulate_loci


@pytest.fixture
def options(motifs):
    return SimulationOptions(motifs=pathway_motifs(motifs), scenario="sequence")


def bound(options, **given):
    loci = simulate_loci(400, options=options, split="test", seed=0)
    loci = loci.take(loci.kind == "both")
    return loci, Pathways(options=options, **given)


def test_counts_by_hand(options):
    loci, pathways = bound(options, through=0.8, direct=3.0)
    counts = pathway_counts(loci.codes, pathways=pathways)
    second = loci.starts[:, 2] >= 0
    np.testing.assert_allclose(np.median(counts[~second], axis=0), [101, 1001], rtol=0.02)
    np.testing.assert_allclose(np.median(counts[second], axis=0), [181, 2101], rtol=0.02)


def test_without_a_direct_route_both_motifs_have_one_ratio(options):
    loci, pathways = bound(options, direct=0.0)
    effects = pathway_effects(loci, pathways=pathways)
    with_second = effects[effects["second"] & (effects["sum_dx2"] > 100)]
    assert len(with_second) > 20
    assert np.median(with_second["beta"] / with_second["beta_second"]) == pytest.approx(1.0, abs=0.005)


def test_a_direct_route_makes_the_second_motif_s_ratio_another(options):
    loci, pathways = bound(options, direct=10.0)
    effects = pathway_effects(loci, pathways=pathways)
    known = effects[effects["second"]]
    assert np.median(known["beta_second"] / known["beta"]) > 2
    assert effects.loc[~effects["second"], "beta_second"].isna().all()


def test_counts_are_drawn_with_the_seed(options):
    loci, pathways = bound(options)
    one, again = (draw_pathway_counts(loci, pathways=pathways, seed=1) for _ in range(2))
    assert np.array_equal(one, again)
    assert pathways.options.motifs.names[2] == SECOND


def test_it_needs_a_third_motif(motifs):
    with pytest.raises(InputError, match="scenario 'sequence'"):
        Pathways(options=SimulationOptions(motifs=motifs))
