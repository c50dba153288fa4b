"""Clusters put together: the same slopes, scatter and moves as those of their instruments."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.linalg import segment_sum
from deepmr.mr import METHODS
from deepmr.mr.ivw import ivw
from deepmr.mr.seqlets import collapse, over_seqlets
from tests.mr.builders import pack
from tests.mr.seqlets.builders import clustered


def test_two_clusters_by_hand():
    given = pack([3.0, 4.0, 1.0], [6.0, 8.0, 5.0])
    found = collapse(given, np.array([0, 0, 1]))
    assert found.instruments.beta_exposure[:, 0].tolist() == [5.0, 1.0]
    assert found.instruments.beta_outcome.tolist() == [10.0, 5.0]
    assert found.n.tolist() == [2, 1]
    assert found.df.tolist() == [1.0]
    assert found.instruments.variants["variant_id"].tolist() == ["v1", "v2"]


def test_slope_and_moves_are_those_of_the_instruments():
    given, label = clustered([[2.0, 3.0], [1.0], [1.0, 2.0, 3.0]], noise=0.1, members=5)
    found = collapse(given, label)
    whole, parts = ivw(given), ivw(found.instruments, min_instruments=1)
    np.testing.assert_allclose(parts.table["beta"], whole.table["beta"], rtol=1e-12)
    np.testing.assert_allclose(parts.error_factors, whole.error_factors, rtol=1e-9, atol=1e-12)
    for k in range(len(found.n)):  # each cluster alone
        alone = ivw(given.take(label == k))
        np.testing.assert_allclose(found.moves[:, k], alone.error_factors[:, 0], rtol=1e-9, atol=1e-12)


def test_scatter_splits_into_between_and_within():
    given, label = clustered([[2.0, 3.0], [1.0, 1.5, 4.0]], noise=0.2)
    found = collapse(given, label)
    x, y = given.beta_exposure[:, 0], given.beta_outcome
    slope = ivw(given).table["beta"].to_numpy()
    whole = segment_sum((y - np.repeat(slope, given.counts) * x) ** 2, given.offsets)
    packed = found.instruments
    gap = packed.beta_outcome - np.repeat(slope, packed.counts) * packed.beta_exposure[:, 0]
    between = segment_sum(gap**2, packed.offsets)
    each = packed.beta_outcome / packed.beta_exposure[:, 0]
    within = segment_sum((y - each[label] * x) ** 2, given.offsets)
    np.testing.assert_allclose(whole, between + within)


def test_what_is_in_no_cluster_or_without_effect_leaves():
    given = pack([1.0, 0.0, 0.0, 2.0, 5.0], [2.0, 1.0, 1.0, 4.0, 9.0], counts=[3, 0, 2])
    found = collapse(given, np.array([0, 1, 1, 2, -1]))
    assert found.label.tolist() == [0, 2]
    assert found.instruments.counts.tolist() == [1, 0, 1]
    assert found.instruments.beta_outcome.tolist() == [2.0, 4.0]
    none = collapse(given, np.full(5, -1))
    assert none.instruments.counts.tolist() == [0, 0, 0]


def test_order_and_coding_of_instruments_change_nothing():
    given, label = clustered([[2.0, 3.0]], noise=0.1, members=4)
    found = collapse(given, label)
    order = np.random.default_rng(1).permutation(len(label))
    mixed = collapse(given.pick(order), label[order])
    sign = np.where(np.arange(len(label)) % 2 == 0, -1.0, 1.0)
    turned = replace(
        given,
        beta_exposure=given.beta_exposure * sign[:, None],
        beta_outcome=given.beta_outcome * sign,
        error_factors=given.error_factors * sign[:, None],
    )
    for other in (mixed, collapse(turned, label)):
        for name in ("beta_exposure", "beta_outcome", "se_outcome", "error_factors"):
            np.testing.assert_allclose(
                getattr(other.instruments, name), getattr(found.instruments, name), rtol=1e-9, atol=1e-12
            )


@pytest.mark.parametrize("method", ["median_weighted", "mode_weighted", "contamination_mixture"])
def test_methods_for_instruments_run_on_clusters_of_all_loci(method):
    given, label = clustered([[2.0], [2.0, 6.0], [2.0], [2.0, 6.0], [2.0]], noise=0.02, members=5, n=10)
    whole = over_seqlets(collapse(given, label))
    assert METHODS[method](whole).table["beta"][0] == pytest.approx(2.0, abs=0.15)
