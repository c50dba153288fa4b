"""Heterogeneity between seqlets, and the discordance of each."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.mr.seqlets import collapse, compare_seqlets
from tests.mr.builders import pack
from tests.mr.seqlets.builders import clustered


def test_slopes_shares_and_discordance_by_hand():
    given = pack([3.0, 4.0, 1.0, 2.0], [6.0, 8.0, 5.0, 2.0], counts=[3, 1])
    found = compare_seqlets(collapse(given, np.array([0, 0, 1, 2])))
    np.testing.assert_allclose(found.beta, [2.0, 5.0, 1.0])
    np.testing.assert_allclose(found.share, [25 / 26, 1 / 26, 1.0])
    np.testing.assert_allclose(found.rest[:2], [5.0, 2.0])
    np.testing.assert_allclose(found.discordance[:2], [-3.0, 3.0])
    assert np.isnan(found.discordance[2])
    assert np.isnan(found.discordance_z[2])
    np.testing.assert_allclose(found.slope, [55 / 26, 1.0])
    assert found.n_seqlets.tolist() == [2.0, 1.0]
    assert found.q_df.tolist() == [1.0, 0.0]
    assert found.q_pvalue[1] == 1.0


def test_leave_one_out_is_the_slope_of_the_others():
    given, label = clustered([[2.0, 3.0, 5.0], [1.0, 4.0]], noise=0.1, members=5)
    found = compare_seqlets(collapse(given, label))
    x, y = given.beta_exposure[:, 0], given.beta_outcome
    home = np.array([0, 0, 0, 1, 1])
    for k in range(5):
        others = (home[label] == home[k]) & (label != k)
        assert found.rest[k] == pytest.approx(np.sum(x[others] * y[others]) / np.sum(x[others] ** 2))


def test_members_part_of_the_discordance_is_that_of_finite_differences():
    given, label = clustered([[2.0, 3.0, 5.0]], noise=0.1, members=4)
    x, y = given.beta_exposure[:, 0], given.beta_outcome

    def gaps(x, y):
        top, bottom = np.bincount(label, x * y), np.bincount(label, x * x)
        return top / bottom - (top.sum() - top) / (bottom.sum() - bottom)

    step = 1e-4
    moves = [
        (gaps(x + step * f[:, 0], y + step * f[:, 1]) - gaps(x - step * f[:, 0], y - step * f[:, 1])) / (2 * step)
        for f in given.error_factors
    ]
    collapsed = collapse(given, label)
    found = compare_seqlets(collapsed)
    own = collapsed.own / collapsed.x**2
    x2 = collapsed.x**2
    rest = np.array([np.sum((own * x2**2)[np.arange(3) != k]) / np.sum(x2[np.arange(3) != k]) ** 2 for k in range(3)])
    member = np.sum(np.square(moves), axis=0)
    np.testing.assert_allclose(found.discordance_se**2, member + own + rest, rtol=1e-6)


def test_an_error_common_to_all_seqlets_is_no_discordance():
    given, label = clustered([[2.0, 2.0]] * 3, noise=0.01, common=0.5, members=5)
    found = compare_seqlets(collapse(given, label))
    assert np.all(found.se > 0.1)
    assert np.all(found.discordance_se < 0.05)


def test_two_seqlets_are_equally_far_from_each_other():
    given, label = clustered([[2.0, 3.0]] * 4, noise=0.05, members=5)
    z = compare_seqlets(collapse(given, label)).discordance_z.reshape(4, 2)
    np.testing.assert_allclose(z[:, 0], -z[:, 1], rtol=1e-6)


def test_units_of_the_traits_change_no_pvalue():
    given, label = clustered([[2.0, 3.0, 2.5]], noise=0.1, members=5)
    found = compare_seqlets(collapse(given, label))
    x, y = given.beta_exposure[:, 0], given.beta_outcome
    scaled = pack(
        1e3 * x, 1e-2 * y, 1e3 * given.se_exposure[:, 0], 1e-2 * given.se_outcome,
        factors=given.error_factors * np.array([1e3, 1e-2]),
    )  # fmt: skip
    other = compare_seqlets(collapse(scaled, label))
    np.testing.assert_allclose(other.beta * 1e5, found.beta, rtol=1e-9)
    np.testing.assert_allclose(other.discordance_pvalue, found.discordance_pvalue, rtol=1e-6)
    np.testing.assert_allclose(other.q_pvalue, found.q_pvalue, rtol=1e-6)


def test_no_instruments_at_all():
    found = compare_seqlets(collapse(pack([], [], counts=[0, 0]), np.zeros(0, dtype=int)))
    assert found.beta.tolist() == []
    assert found.q_pvalue.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("seqlets", [2, 3, 5])
@pytest.mark.parametrize("common", [0.0, 0.2])
def test_q_and_discordance_keep_their_level(seqlets, common):
    """5 members, errors of instruments independent but for a common one: 1.5 to 8 % of 1,500 loci (error 0.6 %)."""
    given, label = clustered([[2.0] * seqlets] * 1500, noise=0.05, common=common, members=5, seed=seqlets)
    found = compare_seqlets(collapse(given, label))
    assert 0.015 < np.mean(found.q_pvalue < 0.05) < 0.08
    assert 0.015 < np.mean(found.discordance_pvalue < 0.05) < 0.08


def test_independent_errors_keep_the_level_too():
    given, label = clustered([[2.0, 2.0, 2.0]] * 1500, noise=0.05)
    # y carries the error of x: se of y - 2 x
    given = replace(given, se_outcome=np.full(len(label), 0.05 * np.sqrt(5)))
    found = compare_seqlets(collapse(given, label))
    assert 0.01 < np.mean(found.q_pvalue < 0.05) < 0.08


def test_a_second_pathway_is_found():
    given, label = clustered([[2.0, 3.0]] * 200, noise=0.05, members=5)
    found = compare_seqlets(collapse(given, label))
    assert np.mean(found.q_pvalue < 0.05) > 0.9
