"""Labelled single mutants: which edits, which numbers."""

import numpy as np
import pytest

from deepmr import schema
from deepmr.anscombe import anscombe
from deepmr.simulate.labelled import label_edits
from deepmr.simulate.labels import expected_targets
from deepmr.simulate.options import SimulationOptions
from deepmr.simulate.sequences import ABSENT, simulate_loci


@pytest.fixture(scope="module", params=["unconfounded", "both"])
def case(request, motifs):
    options = SimulationOptions(motifs=motifs, scenario=request.param)
    loci = simulate_loci(300, options=options, split="calibration", seed=5)
    return options, loci, label_edits(loci, n_edits=5, options=options, seed=5)


def test_edits_are_in_the_exposure_motif_and_named_as_variants(case):
    _, loci, labelled = case
    frame = labelled.variants
    assert set(schema.VARIANTS) <= set(frame.columns)
    assert frame["variant_id"].is_unique
    assert (frame.groupby("locus", sort=False).size() <= 5).all()
    row_of = {name: row for row, name in enumerate(loci.names)}
    for edit in frame.itertuples():
        row = row_of[edit.locus]
        start = loci.starts[row, 0]
        assert start != ABSENT
        assert 0 <= edit.offset - start < 10
        assert edit.pos == edit.offset + 1
        assert "ACGT"[loci.codes[row, edit.offset]] == edit.other_allele != edit.effect_allele
        assert edit.variant_id == f"{edit.locus}:{edit.pos}:{edit.other_allele}:{edit.effect_allele}"
        assert edit.kind == loci.kind[row]
    assert frame["kind"].isin(["exposure", "both"]).all()
    assert frame["locus"].map(row_of).is_monotonic_increasing
    labelled_share = frame["locus"].nunique() / (loci.starts[:, 0] != ABSENT).sum()
    assert labelled_share > 0.85  # the others have a second site that stands in


def test_edits_are_instruments_with_their_own_noise(case):
    options, loci, labelled = case
    row_of = {name: row for row, name in enumerate(loci.names)}
    rows = labelled.variants["locus"].map(row_of).to_numpy()
    codes = loci.codes[rows]
    effect = labelled.variants["effect_allele"].map("ACGT".index).to_numpy()
    codes[np.arange(len(rows)), labelled.variants["offset"]] = effect
    np.testing.assert_allclose(labelled.expected, expected_targets(codes, options=options))
    np.testing.assert_allclose(labelled.reference, expected_targets(loci.codes, options=options)[rows])
    truth = labelled.truth()
    np.testing.assert_allclose(truth["dx"], labelled.expected[:, 0] - labelled.reference[:, 0])
    assert np.abs(truth["dx"]).min() > 3  # on the square-root scale, where the noise is 1
    score = anscombe(labelled.counts) - labelled.expected
    assert np.abs(score.mean(axis=0) / score.std(axis=0)).max() < 4 / np.sqrt(len(rows))
    assert (labelled.to_frame()[["GATA", "TAL1"]].to_numpy() == labelled.counts).all()


def test_number_and_seed(motifs):
    options = SimulationOptions(motifs=motifs)
    loci = simulate_loci(60, options=options, split="calibration", seed=5)
    assert label_edits(loci, n_edits=0, options=options, seed=1).variants.empty
    every = label_edits(loci, n_edits=30, options=options, seed=1).variants.groupby("locus").size()
    assert every.max() < 30  # edits of the motif's edges change nothing
    assert every.median() == 17
    first, again, other = (label_edits(loci, n_edits=3, options=options, seed=seed) for seed in (1, 1, 2))
    assert first.to_frame().equals(again.to_frame())
    assert set(first.variants["variant_id"]) != set(other.variants["variant_id"])


def test_loci_without_the_motif_have_no_labels(motifs):
    options = SimulationOptions(motifs=motifs)
    loci = simulate_loci(60, options=options, split="calibration", seed=5)
    none = loci.take(np.isin(loci.kind.astype(str), ["none", "outcome"]))
    assert label_edits(none, n_edits=5, options=options, seed=1).to_frame().empty
