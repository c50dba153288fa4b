"""Curvature and double edits: a line has none, a square root is flagged and explains MR-Egger."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.ism.edit_table import resolve_edits
from deepmr.mr.diagnostics import curvature, double_edits, propose_doubles
from deepmr.mr.diagnostics.doubles import double_effects
from deepmr.mr.diagnostics.slopes import locus_slopes
from deepmr.types import Sequences, SummaryStats
from tests.mr.builders import deviations, pack, reordered, rescaled

LOCI, EACH = 40, 12


def bent(function, *, low=0.3, noise=0.01, seed=0, members=5, loci=LOCI):
    """Loci whose instruments follow one curve."""
    rng = np.random.default_rng(seed)
    n = loci * EACH
    x = rng.uniform(low, 2.0, n) * rng.choice([-1, 1], n)
    delta = np.stack([x, np.sign(x) * function(np.abs(x))], axis=1) + noise * rng.normal(size=(members, n, 2))
    factors, mean = deviations(delta), delta.mean(axis=0)
    se = np.sqrt(np.sum(factors**2, axis=0))
    return pack(mean[:, 0], mean[:, 1], se[:, 0], se[:, 1], counts=[EACH] * loci, factors=factors)


def whole(table):
    return table[table["locus"] == "*"].iloc[0]


def test_a_line_without_error_has_no_curvature():
    table = curvature(pack([1.0, -2.0, 3.0, 4.0, 2.5], [2.0, -4.0, 6.0, 8.0, 5.0]))
    for name, value in {"slope": 2, "slope_small": 2, "slope_large": 2, "difference": 0, "bend": 0, "egger": 2}.items():
        np.testing.assert_allclose(table[name], value, atol=1e-12)


def test_a_parabola_is_found_exactly():
    """y = x + x^2: c = 1, so the bend is the root mean square over the slope; Egger's difference is all explained."""
    x = np.array([1.0, 2.0, 3.0, 4.0])
    row = whole(curvature(pack(x, x + x**2)))
    slope = np.sum(x * (x + x**2)) / np.sum(x**2)
    np.testing.assert_allclose(row["slope"], slope)
    np.testing.assert_allclose(row["bend"], np.sqrt(7.5) / slope)
    np.testing.assert_allclose(row["slope_small"], (2 + 12) / 5)
    np.testing.assert_allclose(row["slope_large"], (36 + 80) / 25)
    np.testing.assert_allclose(row["egger"], np.polyfit(x, x + x**2, 1)[0])
    np.testing.assert_allclose(row["egger_explained"], row["egger_difference"])


def test_a_square_root_is_flagged_and_explains_egger():
    row = whole(curvature(bent(lambda v: 2 * (np.sqrt(1 + 3 * v) - 1))))
    assert row["slope_large"] < 0.9 * row["slope_small"]
    assert row["difference_pvalue"] < 1e-3
    assert row["bend"] < -0.1
    assert row["egger"] < 0.85 * row["slope"]
    assert 0.8 < row["egger_explained"] / row["egger_difference"] < 1.2


def test_a_direct_effect_is_not_explained_by_a_bend():
    """Outcome effects of the smaller half have an intercept that a parabola through the origin cannot follow."""
    given = bent(lambda v: v + 0.5 * (np.abs(v - 1) < 0.3))
    row = whole(curvature(given))
    assert row["egger_difference"] != 0
    table = curvature(bent(lambda v: v + 0.6, low=0.05))
    row = whole(table)
    assert abs(row["egger_explained"] - row["egger_difference"]) > 0.2 * abs(row["egger_difference"])


def test_order_signs_and_units_change_nothing_else():
    given = bent(np.sqrt)
    one, two = whole(curvature(given)), whole(curvature(reordered(given)))
    np.testing.assert_allclose(one["difference"], two["difference"])
    other = whole(curvature(rescaled(given, exposure=2.0, outcome=3.0)))
    np.testing.assert_allclose(other["difference"], 1.5 * one["difference"])
    np.testing.assert_allclose(other["bend"], one["bend"])


def test_loci_that_cannot_be_tested_say_why():
    table = curvature(pack([1.0, 2.0, 3.0, 1.0, 1.0, 1.0, 1.0], [1.0] * 7, counts=[3, 4]))
    assert table["reason"].tolist() == [
        "needs at least 4 instruments; has 3",
        "exposure effects are all of one size",
        "no locus has enough instruments of more than one size",
    ]
    assert table["slope"].isna().all()


def test_halves_and_factors_against_one_locus_at_a_time():
    given = bent(np.sqrt, loci=5)
    table = curvature(given)
    for i in range(5):
        rows = np.zeros(len(given.variants), dtype=bool)
        rows[EACH * i : EACH * (i + 1)] = True
        alone = given.take(rows)
        x = np.abs(alone.beta_exposure[:, 0])
        order = np.argsort(x)
        halves = [np.isin(np.arange(EACH), part) for part in (order[: EACH // 2], order[EACH // 2 :])]
        slopes = [locus_slopes(alone.take(half)) for half in halves]
        np.testing.assert_allclose(table["difference"][i], (slopes[1].beta - slopes[0].beta)[i])
        se = np.sqrt(np.sum((slopes[1].factors - slopes[0].factors) ** 2, axis=0))[i]
        np.testing.assert_allclose(table["difference_se"][i], se)


def test_false_alarms_on_lines():
    """At most 5 % of 100 ensembles (a binomial: up to 10 %); far fewer, as members' errors count with (1 + 1/K)."""
    alarms = [whole(curvature(bent(lambda v: 2 * v, seed=s, loci=12)))["difference_pvalue"] < 0.05 for s in range(100)]
    assert np.mean(alarms) <= 0.1


# double edits


def single(n_loci=3, members=3):
    """Four instruments a locus, at offsets 0 1 2 3, and the variants that describe them."""
    given = bent(lambda v: 2 * v, loci=n_loci, members=members)
    rows = np.arange(len(given.variants)) % EACH < 4
    given = given.take(rows)
    n = len(given.variants)
    variants = given.variants.assign(
        variant_id=[f"v{j}" for j in range(n)], pos=np.arange(n) % 4 + 1, offset=np.arange(n) % 4,
        other_allele="A", effect_allele="C",
    )  # fmt: skip
    return replace(given, variants=variants)


def made(given, pairs, function):
    """Double edits whose exposure effect is `function` of the sum of the parts', and the outcome twice that."""
    row = {v: j for j, v in enumerate(given.variants["variant_id"])}
    first, second = ([row[v] for v in pairs[c]] for c in ("first", "second"))
    x = function(given.beta_exposure[first, 0] + given.beta_exposure[second, 0])
    names = {"variant_id": pairs["variant_id"], "locus": pairs["locus"], "chrom": "", "pos": 1}
    beta = np.stack([x, 2 * x], axis=1)
    return SummaryStats(
        variants=pd.DataFrame(names | {"effect_allele": "C,C", "other_allele": "A,A"}),
        traits=("exposure", "outcome"),
        beta=beta,
        se=np.full_like(beta, 0.1),
        error_factors=np.zeros((len(given.error_factors), *beta.shape)),
    )


def test_pairs_are_of_one_locus_and_two_positions_and_never_twice():
    given = single()
    found = propose_doubles(given, n_pairs=100, seed=3)
    assert len(found.pairs) == 3 * 6  # all pairs of four
    assert found.pairs["variant_id"].is_unique
    rows = found.edits.groupby("variant_id", sort=False)
    assert (rows["locus"].first() == rows["locus"].last()).all()
    assert (rows["offset"].first() != rows["offset"].last()).all()
    assert propose_doubles(given, n_pairs=2).pairs.groupby("locus").size().tolist() == [2, 2, 2]
    assert propose_doubles(given, n_pairs=2, n_loci=1, seed=1).pairs["locus"].unique().size == 1
    again = propose_doubles(given, n_pairs=100, seed=3)
    pd.testing.assert_frame_equal(found.edits, again.edits)


def test_ism_reads_the_pairs():
    found = propose_doubles(single(), n_pairs=3)
    loci = pd.DataFrame({"locus": ["locus0", "locus1", "locus2"], "chrom": "", "start": -1, "end": -1})
    packed, names = resolve_edits(found.edits, Sequences(loci=loci, codes=np.zeros((3, 8), dtype=np.uint8)))
    assert sorted(names) == sorted(found.pairs["variant_id"])
    assert (np.diff(packed.start) == 2).all()


def test_pairs_leave_out_what_is_no_substitution():
    given = single()
    given = replace(given, variants=given.variants.assign(other_allele=["AC"] * 3 + ["A"] * (len(given.variants) - 3)))
    assert not set(propose_doubles(given).pairs["first"]) & {"v0", "v1", "v2"}
    assert len(propose_doubles(pack([], [], counts=[0, 0])).pairs) == 0


def test_saturation_is_no_bend():
    given = single()
    pairs = propose_doubles(given).pairs
    row = whole(double_edits(given, made(given, pairs, lambda x: 0.6 * x), pairs))
    np.testing.assert_allclose(row["slope_double"], 2)
    assert abs(row["difference"]) < 0.02
    np.testing.assert_allclose([row["additivity_exposure"], row["additivity_outcome"]], 0.6, rtol=0.05)
    assert row["n"] == len(pairs)


def test_additivity_over_all_loci_withstands_parts_that_cancel():
    """At the first locus one part undoes the other and the double has an effect of 1: no share of next to nothing."""
    given = single()
    x = given.beta_exposure.copy()
    x[:2] = [[3.0], [-2.99]]
    given = replace(given, beta_exposure=x, beta_outcome=2 * x[:, 0])
    pairs = propose_doubles(given).pairs
    alone = (pairs["locus"] != pairs["locus"].iloc[0]) | ((pairs["first"] == "v0") & (pairs["second"] == "v1"))
    doubles = made(given, pairs[alone], lambda v: np.where(abs(v) < 0.1, 1.0, 0.6 * v))
    table = double_edits(given, doubles, pairs[alone])
    assert abs(table["additivity_exposure"].iloc[0]) > 50
    np.testing.assert_allclose(whole(table)["additivity_exposure"], 0.6, rtol=0.05)


def test_an_outcome_that_saturates_alone_is_a_bend():
    given = single()
    pairs = propose_doubles(given).pairs
    doubles = made(given, pairs, lambda x: x)
    doubles = replace(doubles, beta=doubles.beta * [1, 0.5])
    row = whole(double_edits(given, doubles, pairs))
    np.testing.assert_allclose(row["difference"], -1, atol=0.02)
    assert row["difference_pvalue"] < 0.01
    effects = double_effects(given, doubles, pairs)
    np.testing.assert_allclose(effects["beta_outcome"], effects["beta_exposure"])


def test_double_edits_need_their_parts_and_one_ensemble():
    given = single()
    pairs = propose_doubles(given).pairs
    doubles = made(given, pairs, lambda x: x)
    with pytest.raises(InputError, match="two instruments as its parts"):
        double_edits(given, doubles, pairs.assign(first="nowhere"))
    with pytest.raises(InputError, match="errors of 3 members, double edits of 0"):
        double_edits(given, replace(doubles, error_factors=None), pairs)
