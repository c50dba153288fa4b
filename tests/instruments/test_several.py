"""Instruments of several exposures; edits assigned to the task they belong to."""

import numpy as np
import pandas as pd
import pytest

from deepmr import schema
from deepmr.errors import InputError
from deepmr.instruments.direction import locus_sizes, precedence, shares
from deepmr.instruments.several import select_several
from deepmr.instruments.strength import effect_scales, select_instruments
from deepmr.types import SummaryStats

TASKS = ("A", "B", "C")


def stats_of(beta, *, loci=None, se=0.01, tasks=TASKS):
    beta = np.asarray(beta, dtype=float)
    loci = ["x"] * len(beta) if loci is None else loci
    frame = pd.DataFrame({name: [f"v{i}" for i in range(len(beta))] for name in schema.VARIANTS}).assign(locus=loci)
    return SummaryStats(variants=frame, traits=tasks, beta=beta, se=np.full(beta.shape, se))


# A acts on B by 2, B on C by 0.5: two edits of A, two of B, two of C, and one of nothing.
CHAIN = [[1, 2, 1], [-1, -2, -1], [0, 2, 1], [0, -2, -1], [0, 0, 1], [0, 0, -1], [0, 0, 0]]
LOCI = [f"l{i}" for i in range(4)]


def chain_stats():
    return stats_of(np.tile(CHAIN, (4, 1)), loci=np.repeat(LOCI, len(CHAIN)))


def select(stats, models, **options):
    loci = list(dict.fromkeys(stats.variants["locus"]))
    sizes = locus_sizes([stats], loci=loci)
    return list(
        select_several([stats], models=models, scales=effect_scales([stats]), loci=loci, sizes=sizes, **options)
    )


def test_strong_on_any_of_the_exposures():
    (one,) = select(chain_stats(), [(("A", "B"), "C")])
    assert one.instruments.counts.tolist() == [4] * 4
    assert one.instruments.beta_exposure.shape == (16, 2)
    assert one.dropped == 0


def test_one_exposure_is_what_select_instruments_does():
    stats = chain_stats()
    (one,) = select(stats, [(("A",), "B")])
    other = select_instruments(stats, exposure="A", outcome="B")
    pd.testing.assert_frame_equal(one.instruments.to_frame(), other.to_frame())


def test_sizes_and_shares_by_hand():
    stats = stats_of([[3, 0, 1], [4, 0, 1]])
    sizes = locus_sizes([stats], loci=["x", "empty"])
    np.testing.assert_allclose(sizes.size, [[np.sqrt(12.5), 0, 1], [0, 0, 0]])
    np.testing.assert_allclose(shares(stats, sizes)[:, 0], np.array([3, 4]) / np.sqrt(12.5))
    assert (shares(stats, sizes)[:, 1] == 0).all()


def test_upstream_is_read_from_all_loci():
    stats = chain_stats()
    order = precedence(stats, strong=np.abs(stats.beta) > 0.1, sizes=locus_sizes([stats], loci=LOCI))
    assert order.tolist() == [[0, 1, 1], [-1, 0, 1], [-1, -1, 0]]


@pytest.mark.parametrize(("silent", "order"), [(1, 0), (4, 1)])
def test_a_slight_lead_is_no_direction(silent, order):
    """At each of 100 loci 19 edits of either mark move both; of B's others, 1 (a lead of 0.05) or 4 leave A alone."""
    at_a_locus = [[1, 1, 0]] * 19 + [[0, 1, 0]] * silent
    loci = [f"locus{i}" for i in range(100)]
    stats = stats_of(np.tile(at_a_locus, (100, 1)), loci=np.repeat(loci, len(at_a_locus)))
    found = precedence(stats, strong=np.abs(stats.beta) > 0.1, sizes=locus_sizes([stats], loci=loci))
    assert found[0, 1] == order


@pytest.mark.parametrize("assign", ["steiger", "most"])
def test_each_edit_serves_its_own_task(assign):
    models = [((x,), y) for x in TASKS for y in TASKS if x != y]
    rows = {(m[0][0], m[1]): c for m, c in zip(models, select(chain_stats(), models, assign=assign), strict=True)}
    for pair in [("A", "B"), ("A", "C"), ("B", "A"), ("C", "B")]:
        assert rows[pair].instruments.counts.tolist() == [2] * 4, pair
    # Steiger asks about two tasks alone: edits of A are edits of B against C, those of B are edits of C against A.
    for pair in [("B", "C"), ("C", "A")]:
        assert rows[pair].instruments.counts.tolist() == [4 if assign == "steiger" else 2] * 4, pair
    assert rows["B", "A"].dropped == 8
    assert (rows["B", "A"].instruments.beta_outcome == 0).all()


def test_where_one_locus_cannot_tell_the_others_do():
    tied = [[1, 2, 1], [-1, -2, -1], [0.5, 1, 0.5], [0, 0, 0]]  # no edits of B or C
    stats = stats_of(np.concatenate([np.tile(CHAIN, (4, 1)), tied]), loci=[*np.repeat(LOCI, len(CHAIN)), *["t"] * 4])
    forward, back = select(stats, [(("A",), "B"), (("B",), "A")], assign="most")
    assert forward.instruments.counts[-1] == 3
    assert back.instruments.counts[-1] == 0


def test_a_tie_that_nothing_decides_belongs_to_neither():
    stats = stats_of([[1, 1], [-1, -1], [0.8, 0.8]], tasks=("A", "B"))
    for one in select(stats, [(("A",), "B"), (("B",), "A")], assign="steiger"):
        assert one.instruments.counts.tolist() == [0]
        assert one.dropped == 3


def test_units_do_not_matter():
    stats = chain_stats()
    scaled = SummaryStats(
        variants=stats.variants, traits=TASKS, beta=stats.beta * [1, 100, 0.01], se=stats.se * [1, 100, 0.01]
    )
    models = [(("B",), "A"), (("C",), "B"), (("A", "B"), "C")]
    for one, other in zip(select(stats, models, assign="most"), select(scaled, models, assign="most"), strict=True):
        assert one.instruments.variants.equals(other.instruments.variants)


def test_what_cannot_be_done_is_said():
    stats = chain_stats()
    with pytest.raises(InputError, match="two traits"):
        select(stats, [(("A", "B"), "A")])
    with pytest.raises(InputError, match="needs the sizes"):
        list(select_several([stats], models=[(("A",), "B")], scales=effect_scales([stats]), loci=LOCI, assign="most"))
    with pytest.raises(InputError, match="not among the loci"):
        locus_sizes([stats], loci=["l0"])
