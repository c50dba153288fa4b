"""Perfect networks: the fast effects against predictions of every mutant, and errors that members share or do not."""

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.ism.variants import single_edits, variants_of
from deepmr.simulate.labels import expected_targets
from deepmr.simulate.options import SimulationOptions
from deepmr.simulate.oracle import CHUNK, oracle_edits, oracle_effects, oracle_predictor
from deepmr.simulate.sequences import simulate_loci
from deepmr.simulate.truth import edit_motifs, true_effects
from deepmr.types import MASKED, Predictor, Sequences

SCENARIOS = ("unconfounded", "random", "sequence", "both")


def simulated(motifs, n, **changes):
    options = SimulationOptions(motifs=motifs, **changes)
    return options, simulate_loci(n, options=options, split="test", seed=5)


def mutants(codes):
    """Every edited sequence, one at a time, in the order of `mutate`."""
    edits = single_edits(codes)
    sequences = codes[edits.locus].copy()
    sequences[np.arange(len(edits)), edits.offset] = edits.base
    return edits, sequences


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_effects_equal_predictions_of_every_mutant(motifs, scenario):
    options, loci = simulated(motifs, CHUNK + 5, scenario=scenario)
    effects = oracle_effects(loci.sequences, options=options)
    edits, sequences = mutants(loci.codes)
    slow = expected_targets(sequences, options=options) - expected_targets(loci.codes, options=options)[edits.locus]
    np.testing.assert_allclose(effects.delta[0], slow, atol=2e-6)  # effects are kept in float32
    edited = oracle_edits(loci.codes, member=oracle_predictor(options).members[0])
    np.testing.assert_allclose(edited.delta.reshape(-1, 2), slow, atol=1e-11)
    np.testing.assert_allclose(edited.reference, expected_targets(loci.codes, options=options), rtol=1e-12)


def test_variants_are_those_of_mutagenesis(motifs):
    options, loci = simulated(motifs, 3)
    codes = loci.codes.copy()
    codes[1, [0, 50, 99]] = MASKED
    frame = loci.sequences.loci.assign(chrom=["chr1", "", "chr2"], start=[100, -1, 0], end=[200, -1, 100])
    sequences = Sequences(loci=frame, codes=codes)
    effects = oracle_effects(sequences, options=options)
    edits, mutated = mutants(codes)
    pd.testing.assert_frame_equal(effects.variants, variants_of(edits, sequences))
    slow = expected_targets(mutated, options=options) - expected_targets(codes, options=options)[edits.locus]
    np.testing.assert_allclose(effects.delta[0], slow, atol=2e-6)


def test_a_motif_as_long_as_the_locus(motifs):
    options = SimulationOptions(motifs=motifs)
    codes = np.random.default_rng(0).integers(0, 4, (4, 16)).astype(np.uint8)
    edits, sequences = mutants(codes)
    delta = oracle_edits(codes, member=oracle_predictor(options).members[0]).delta.reshape(-1, 2)
    slow = expected_targets(sequences, options=options) - expected_targets(codes, options=options)[edits.locus]
    np.testing.assert_allclose(delta, slow, atol=1e-12)


def test_no_loci(motifs):
    options, loci = simulated(motifs, 4)
    effects = oracle_effects(loci.sequences.take(slice(0, 0)), options=options)
    assert effects.delta.shape == (1, 0, 2)


def test_motif_edits_give_the_true_effect(motifs):
    options, loci = simulated(motifs, 60, scenario="both")
    delta = oracle_edits(loci.codes, member=oracle_predictor(options).members[0]).delta
    edits = edit_motifs(loci, mark="exposure")
    inside = np.zeros(loci.codes.shape, dtype=bool)
    inside[edits.locus, edits.offset] = True
    dx, dy = np.moveaxis(delta * inside[:, :, None, None], 3, 0)
    rows = np.unique(edits.locus)
    slope = (dx * dy).sum(axis=(1, 2))[rows] / (dx * dx).sum(axis=(1, 2))[rows]
    np.testing.assert_allclose(slope, true_effects(loci, options=options)["beta"], rtol=1e-6)


def test_members_err_each_in_its_own_way(motifs):
    options, loci = simulated(motifs, 12, scenario="both")
    predictor = oracle_predictor(options, n_members=3, member_error=0.05, seed=1)
    assert isinstance(predictor, Predictor)
    predicted = predictor.predict(loci.codes)
    assert predicted.shape == (3, 12, 2)
    assert (predicted.std(axis=0) > 0).all()
    edits, sequences = mutants(loci.codes)
    slow = predictor.predict(sequences) - predicted[:, edits.locus]
    np.testing.assert_allclose(
        oracle_effects(loci.sequences, options=options, predictor=predictor).delta, slow, atol=1e-5
    )


def test_a_shared_error_is_in_every_member_and_not_in_their_spread(motifs):
    options, loci = simulated(motifs, 12)
    exact = expected_targets(loci.codes, options=options)
    wrong = oracle_predictor(options, n_members=4, shared_error=0.1, seed=1).predict(loci.codes)
    assert (wrong == wrong[0]).all()
    assert np.abs(wrong[0] - exact).max() > 0.1
    right = oracle_predictor(options, n_members=4).predict(loci.codes)
    np.testing.assert_array_equal(right, np.stack([exact] * 4))
    again = oracle_predictor(options, n_members=2, shared_error=0.1, member_error=0.01, seed=1).predict(loci.codes)
    assert np.abs(again - wrong[:2]).max() < 1  # the shared error stays what it was


@pytest.mark.parametrize("bad", [{"n_members": 0}, {"member_error": -0.1}, {"shared_error": np.inf}])
def test_bad_errors_are_refused(motifs, bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        oracle_predictor(SimulationOptions(motifs=motifs), **bad)
