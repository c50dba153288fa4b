"""Effects by distance: buckets, pooling, the test of their difference, figure and part of the page."""

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.meta import pool_estimates
from deepmr.report.spacing import distance_buckets, spacing_effects, spacing_heatmap, spacing_section
from deepmr.types import Estimates, concat_estimates


def local(beta, *, pair=("X", "Y"), se=0.1, factors=None, method="ivw"):
    n = len(beta)
    table = pd.DataFrame(
        {
            "method": method, "exposure": pair[0], "outcome": pair[1], "locus": [f"l{i}" for i in range(n)],
            "estimand": "model", "beta": beta, "se": se, "ci_low": beta - 0.2, "ci_high": beta + 0.2, "pvalue": 0.1,
            "n": 5, "level": 0.95,
        }
    )  # fmt: skip
    return Estimates(table=table, error_factors=factors)


def distances(n):
    return pd.DataFrame({"locus": [f"l{i}" for i in range(n)], "distance": np.arange(n, dtype=float)})


def test_buckets_hold_about_as_many_loci_each_and_ties_stay_together():
    edges = distance_buckets(np.arange(60.0), n_buckets=6)
    counts = np.histogram(np.arange(60.0), edges)[0]
    assert len(counts) == 6
    assert counts.min() >= 9
    assert counts.max() <= 11
    tied = distance_buckets(np.repeat([3.0, 7.0], 30), n_buckets=6)
    assert list(tied) == [3.0, 7.0]
    assert list(distance_buckets(np.array([4.0, 4.0]))) == [4.0, 4.0]
    assert len(distance_buckets(np.arange(12.0), n_buckets=6)) == 3, "five loci a bucket at least"


def test_a_bucket_is_the_pooled_effect_of_its_loci():
    rng = np.random.default_rng(0)
    n = 60
    effects = local(3.0 + 0.02 * np.arange(n) + 0.1 * rng.normal(size=n))
    found = spacing_effects(effects, distances(n), method="ivw", n_buckets=3)
    assert list(found.table["n_loci"]) == [20, 20, 20]
    first = effects.take(np.arange(n) < 20)
    expected = pool_estimates(first).table.iloc[0]
    for name in ("beta", "ci_low", "ci_high"):
        assert found.table[name].iloc[0] == pytest.approx(expected[name])
    assert list(zip(found.table["low"], found.table["high"], strict=True)) == [(0, 19), (20, 39), (40, 59)]
    assert found.tests["q_pvalue"].iloc[0] < 1e-6
    assert found.n_without == 0


def test_an_error_that_members_share_makes_intervals_wide_but_no_difference():
    rng = np.random.default_rng(1)
    n, shared = 60, 0.5
    factors = np.full((5, n), shared / np.sqrt(5)) * np.array([[1], [-1], [1], [-1], [1]])
    effects = local(2.0 + 0.05 * rng.normal(size=n), se=np.sqrt(shared**2 + 0.05**2), factors=factors)
    found = spacing_effects(effects, distances(n), method="ivw", n_buckets=3)
    assert (found.table["ci_high"] - found.table["ci_low"]).min() > 2 * shared
    assert found.tests["q_pvalue"].iloc[0] > 0.05


def test_loci_without_a_distance_are_counted_and_none_at_all_is_an_error():
    effects = local(np.full(20, 1.0))
    found = spacing_effects(effects, distances(12), method="ivw")
    assert found.n_without == 8
    assert found.table["n_loci"].sum() == 12
    assert "8 loci with an estimate have no distance in s.tsv." in spacing_section(found, name="s.tsv").sentences
    with pytest.raises(InputError, match="no locus of the spacing"):
        spacing_effects(effects, distances(3).assign(locus=["a", "b", "c"]), method="ivw")
    with pytest.raises(InputError, match="more than once"):
        spacing_effects(effects, distances(3).assign(locus="l1"), method="ivw")


def test_the_heatmap_and_the_words():
    n = 60
    rng = np.random.default_rng(2)
    rising = local(1.0 + 0.02 * np.arange(n) + 0.01 * rng.normal(size=n))
    flat = local(0.5 + 0.05 * rng.normal(size=n), pair=("Y", "X"))
    both = concat_estimates([rising, flat])
    found = spacing_effects(both, distances(n), method="ivw", n_buckets=3)
    figure = spacing_heatmap(found)
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["X →\nY", "Y →\nX"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["0 to 19", "20 to 39", "40 to 59"]
    assert len(axes.texts) == 6
    assert axes.texts[0].get_text().startswith("1.19, 20 loci\n")
    shares = np.asarray(axes.images[0].get_array())
    assert shares[0, 0] == pytest.approx(-0.25, abs=0.02)  # 1.19 about 1.59
    assert np.abs(shares[:, 1]).max() < 0.1
    section = spacing_section(found, name="s.tsv")
    assert section.sentences[0].startswith("The effect of X on Y in the model depends on the distance: from 1.19 at 0 ")
    assert section.sentences[1].startswith("The effect of Y on X in the model is not seen to depend on the distance")
    assert [grid.columns[0] for grid in section.tables] == ["distance", "exposure"]
    assert len(section.tables[0].rows) == 6
    assert "in the model" in section.drawings[0].caption
