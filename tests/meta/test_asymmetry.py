"""Rank and regression tests of funnels, trim and fill."""

import numpy as np
import pytest
import statsmodels.api as sm

from deepmr.errors import InputError
from deepmr.meta import pool_estimates, rank_test, regression_test, trim_and_fill
from deepmr.types import Estimates, concat_estimates
from tests.meta.builders import studies


def funnel(k=40, *, lost=0, seed=2):
    """Effects around 1, without the lowest ones."""
    rng = np.random.default_rng(seed)
    se = rng.uniform(0.05, 0.5, k)
    beta = 1 + se * rng.normal(size=k)
    kept = np.sort(np.argsort(beta)[lost:])
    return studies(beta[kept], se[kept])


def test_regression_is_weighted_least_squares():
    given = funnel()
    beta, se = given.table["beta"].to_numpy(), given.table["se"].to_numpy()
    fit = sm.WLS(beta, sm.add_constant(se), weights=1 / se**2).fit()
    row = regression_test(given).tests.iloc[0]
    assert (row["limit"], row["slope"]) == pytest.approx(tuple(fit.params))
    assert (row["limit_se"], row["slope_se"]) == pytest.approx(tuple(fit.bse))
    assert row["pvalue"] == pytest.approx(fit.pvalues[1])


def test_ranks_by_hand():
    # Effects rise with their variances in every pair.
    row = rank_test(studies([0.0, 1.0, 3.0, 9.0], [0.1, 0.2, 0.3, 0.4])).tests.iloc[0]
    assert row["kendall_tau"] == 1
    assert row["pvalue"] == pytest.approx(2 / 24)


def test_what_cannot_be_tested_says_why():
    for given, reason in ((studies([1, 2], [1, 2]), "at least 3 loci; has 2"), (studies([1, 2, 4], [1, 1, 1]), "same")):
        for test in (rank_test, regression_test):
            found = test(given)
            assert len(found.tests) == 0
            assert reason in found.skipped["reason"][0]


def test_a_whole_funnel_gets_little_and_a_cut_one_is_filled_on_its_left():
    assert trim_and_fill(funnel()).pooled.table["n_filled"][0] <= 3
    found = trim_and_fill(funnel(lost=10))
    n = found.pooled.table["n_filled"][0]
    assert n >= 5
    assert found.pooled.table["n"][0] == 30 + n
    assert found.pooled.table["beta"][0] < pool_estimates(funnel(lost=10)).table["beta"][0]
    added = found.loci.table.iloc[30:]
    assert added["locus"].tolist() == [f"filled {i + 1}" for i in range(n)]
    assert added["beta"].max() < 1
    assert set(added["se"]) <= set(funnel(lost=10).table["se"])


@pytest.mark.parametrize("missing", ["L0", "R0", "Q0"])
def test_a_mirrored_funnel_is_filled_on_its_right(missing):
    given = funnel(lost=10)
    mirrored = studies(-given.table["beta"], given.table["se"])
    one, other = (trim_and_fill(e, missing=missing).pooled.table.iloc[0] for e in (given, mirrored))
    assert one["n_filled"] == other["n_filled"]
    assert one["beta"] == pytest.approx(-other["beta"])
    assert (one["ci_low"], one["se"]) == pytest.approx((-other["ci_high"], other["se"]))


def test_a_named_side_and_tiny_groups():
    given = funnel(lost=10)
    assert trim_and_fill(given, side="right").pooled.table["n_filled"][0] <= 1
    both = concat_estimates([studies([1, 2], [1, 1], exposure="z"), given])
    found = trim_and_fill(both).pooled.table
    assert found["n_filled"].tolist() == [0, trim_and_fill(given).pooled.table["n_filled"][0]]
    with pytest.raises(InputError, match="missing must be one of"):
        trim_and_fill.__wrapped__(given, missing="L1")


def test_an_error_common_to_all_loci_moves_no_funnel():
    plain = funnel(lost=10)
    factors = np.outer([0.4, -0.4], np.ones(30))
    given = Estimates(table=plain.table.assign(se=np.sqrt(plain.table["se"] ** 2 + 0.32)), error_factors=factors)
    for test in (rank_test, regression_test):
        assert test(given).tests["pvalue"][0] == pytest.approx(test(plain).tests["pvalue"][0])
    found = trim_and_fill(given).pooled
    assert found.table["n_filled"][0] == trim_and_fill(plain).pooled.table["n_filled"][0]
    assert found.error_factors[:, 0] == pytest.approx([0.4, -0.4])


def test_nothing_at_all():
    empty = studies([1.0], [1.0]).take(np.array([False]))
    assert len(trim_and_fill(empty).pooled) == 0
    assert len(rank_test(empty).tests) == 0
