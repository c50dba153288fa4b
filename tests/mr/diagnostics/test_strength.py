"""Strength, scatter and what instruments are a part of, on numbers known by hand."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.mr.diagnostics import instrument_strength, locus_totals, rejections, sample_edits
from tests.mr.builders import deviations, pack
from tests.mr.diagnostics.toy import both_ways, effects


def at(instruments, pos):
    return replace(instruments, variants=instruments.variants.assign(pos=pos))


def test_three_edits_of_one_position_are_one_position():
    given = at(pack([1.0, 1.0, 1.0, 1.0], [1.0] * 4, counts=[3, 1]), [7, 7, 7, 7])
    table = instrument_strength(given)
    assert table["n"].tolist() == [3, 1]
    assert table["n_positions"].tolist() == [1, 1]
    np.testing.assert_allclose(table["effective_positions"], 1)


def test_effective_positions_weigh_squared_effects():
    given = at(pack([2.0, 1.0, 1.0], [1.0] * 3), [1, 2, 3])
    # weights 4 1 1: 36 / 18
    np.testing.assert_allclose(instrument_strength(given)["effective_positions"], [2.0])


def test_weak_instruments_are_counted():
    given = at(pack([1.0, 0.1], [1.0, 1.0], 0.1), [1, 2])
    table = instrument_strength(given)
    assert table["n_weak"].tolist() == [1]
    np.testing.assert_allclose(table["f_statistic"], [(100 + 1) / 2])


def test_a_locus_without_instruments_says_why():
    stats = effects(n_loci=3, x_sites=0.0, seed=1)
    beta = stats.beta.copy()
    beta[:180, 0] = 0.0
    stats = replace(stats, beta=beta)
    loci = ("locus0", "locus1", "locus2")
    given = pack([], [], counts=[0, 0, 0])
    given = replace(given, loci=loci, exposures=("X",), outcome="Y")
    totals = locus_totals([stats], loci=loci)
    said = instrument_strength(given, totals=totals, floor=1e-9)["reason"].tolist()
    assert said[1].startswith("its largest effect on the exposure is")
    assert "below the floor of 5" in instrument_strength(given, totals=totals, floor=5.0)["reason"][1]
    assert instrument_strength(given)["reason"].tolist() == ["no edit passes the rule of selection"] * 3
    assert (instrument_strength(given)["f_statistic"] == 0).all()


def test_totals_in_blocks_are_those_of_the_whole():
    stats = effects(n_loci=4, seed=2)
    halves = [sample_edits([stats], loci=part) for part in (("locus0", "locus1"), ("locus2", "locus3"))]
    loci = ("locus0", "locus1", "locus2", "locus3")
    whole, parts = locus_totals([stats], loci=loci), locus_totals(halves[::-1], loci=loci)
    np.testing.assert_allclose(whole.squares, parts.squares)
    np.testing.assert_allclose(whole.moves, parts.moves)
    rows = slice(300, 600)
    np.testing.assert_allclose(whole.squares[1], np.sum(stats.beta[rows] ** 2, axis=0))
    np.testing.assert_allclose(whole.largest[1], np.abs(stats.beta[rows]).max(axis=0))
    np.testing.assert_allclose(whole.moves[:, 1], np.sum(stats.beta[rows] * stats.error_factors[:, rows], axis=1))


def test_totals_refuse_an_unknown_locus_and_nothing():
    stats = effects(n_loci=2)
    with pytest.raises(InputError, match="'locus1' is not among the loci"):
        locus_totals([stats], loci=("locus0",))
    with pytest.raises(InputError, match="no edits"):
        locus_totals([], loci=("locus0",))
    with pytest.raises(InputError, match="none of the loci"):
        sample_edits([stats], loci=("elsewhere",))


def test_rejections_of_a_line_and_of_two_lines():
    rng = np.random.default_rng(0)
    counts = [20] * 60
    x = rng.uniform(1, 2, 1200)
    own = 0.05 * rng.normal(size=(5, 1200, 2))
    line = np.stack([x, 2 * x], axis=1) + own
    two = np.stack([x, np.where(np.arange(1200) % 2, 2 * x, 0)], axis=1) + own
    rates = []
    for delta in (line, two):
        mean, factors = delta.mean(axis=0), deviations(delta)
        se = np.sqrt(np.sum(factors**2, axis=0))
        rates.append(rejections(pack(mean[:, 0], mean[:, 1], se[:, 0], se[:, 1], counts=counts, factors=factors)))
    assert rates[0]["rate"][0] <= 0.15
    assert rates[0]["rate_low"][0] <= 0.05
    assert rates[1]["rate"][0] == 1
    assert rates[1]["rate_high"][0] == 1


def test_rejections_without_any_locus():
    table = rejections(pack([1.0], [1.0]))
    assert table[["n", "n_rejected"]].to_numpy().tolist() == [[0, 0]]
    assert both_ways(effects(n_loci=2))[0].loci == ("locus0", "locus1")
