"""Three factors in a chain: fast effects equal slow ones, structure, truth."""

import numpy as np
import pytest

from deepmr.anscombe import anscombe_mean
from deepmr.errors import InputError
from deepmr.io.motifs import paper_motifs
from deepmr.simulate.chain import (
    CHAIN_TASKS,
    ChainOptions,
    add_chain_variants,
    chain_counts,
    chain_effects,
    chain_targets,
    chain_truth,
    draw_chain_counts,
    simulate_chain,
)

OPTIONS = ChainOptions(motifs=paper_motifs())


def test_counts_by_hand():
    bound = np.array([[1.0, 0.5, 0.25]])
    assert chain_counts(bound, options=OPTIONS).tolist() == [[101.0, 201.0, 26.0]]
    fork = ChainOptions(motifs=paper_motifs(), structure="fork")
    assert chain_counts(bound, options=fork).tolist() == [[101.0, 201.0, 13.5]]
    apart = ChainOptions(motifs=paper_motifs(), structure="independent")
    assert chain_counts(bound, options=apart).tolist() == [[101.0, 201.0, 13.5]]


def test_motifs_stand_apart_and_are_where_they_are_said_to_be():
    loci = simulate_chain(300, options=OPTIONS, split="train", seed=1)
    has = loci.starts >= 0
    assert 0.4 < has.mean() < 0.6
    order = np.argsort(np.where(has, loci.starts, 999), axis=1)
    starts = np.take_along_axis(np.where(has, loci.starts, 999), order, axis=1)
    ends = starts + OPTIONS.motifs.widths[order]
    assert (starts[:, 1:] >= ends[:, :-1])[np.take_along_axis(has, order, axis=1)[:, 1:]].all()
    assert (ends[starts < 999] <= OPTIONS.length).all()
    assert np.array_equal(simulate_chain(300, options=OPTIONS, split="train", seed=1).codes, loci.codes)


def test_effects_equal_their_definition():
    loci = simulate_chain(2, options=OPTIONS, split="test", planted="all", seed=2)
    effects = chain_effects(loci, members=[OPTIONS, ChainOptions(motifs=paper_motifs(), structure="fork")])
    assert effects.delta.shape == (2, 2 * 300, 3)
    assert tuple(task.name for task in effects.tasks) == CHAIN_TASKS
    row = np.repeat(np.arange(2), 300)
    edited = loci.codes[row]
    edited[np.arange(600), effects.variants["offset"]] = effects.variants["effect_allele"].map("ACGT".index)
    slow = chain_targets(edited, options=OPTIONS) - chain_targets(loci.codes, options=OPTIONS)[row]
    np.testing.assert_allclose(effects.delta[0], slow, atol=1e-5)
    before = np.array(list("ACGT"))[loci.codes[row, effects.variants["offset"]]]
    assert (before == effects.variants["other_allele"]).all()


@pytest.mark.parametrize(
    ("structure", "edges"), [("chain", [(0, 1), (1, 2)]), ("fork", [(0, 1), (0, 2)]), ("independent", [])]
)
def test_truth_has_the_structure(structure, edges):
    options = ChainOptions(motifs=paper_motifs(), structure=structure)
    loci = simulate_chain(30, options=options, split="test", planted="all", seed=3)
    truth = (
        chain_truth(loci, options=options)
        .groupby(["exposure", "outcome"])[["total", "direct", "direct_regression"]]
        .mean()
    )
    for i, cause in enumerate(CHAIN_TASKS):
        for j, effect in enumerate(CHAIN_TASKS):
            if i == j:
                continue
            row = truth.loc[(cause, effect)]
            assert (row["direct"] > 0.3) == ((i, j) in edges)
            assert row["direct_regression"] == pytest.approx(row["direct"], abs=0.05)
            through = structure == "chain" and (i, j) == (0, 2)
            assert (row["total"] > 0.3) == ((i, j) in edges or through)
    if structure == "chain":
        a, b, c = CHAIN_TASKS
        product = truth.loc[(a, b), "total"] * truth.loc[(b, c), "total"]
        assert truth.loc[(a, c), "total"] == pytest.approx(product, rel=0.1)


def test_usable_for_training():
    loci = add_chain_variants(
        simulate_chain(40, options=OPTIONS, split="train", seed=4), n_variants=10, options=OPTIONS, seed=4
    )
    counts = draw_chain_counts(loci, options=OPTIONS, seed=4)
    assert counts.shape == (50, 3)
    expected = chain_targets(loci.codes, options=OPTIONS)
    assert np.abs(2 * np.sqrt(counts + 0.375) - expected).mean() < 1.5
    assert (expected >= anscombe_mean(np.array([1.0])) - 1e-9).all()


def test_too_short_is_refused():
    with pytest.raises(InputError, match="length must be at least 41"):
        ChainOptions(motifs=paper_motifs(), length=40)
