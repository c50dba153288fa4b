import inspect
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from deepmr.errors import InputError
from deepmr.meta import estimate_tau2, pool_estimates, tau2_interval
from deepmr.types import Estimates, concat_estimates
from tests.meta.builders import studies

TAU2 = ["DL", "PM", "REML", "ML", "HE", "HS", "SJ"]


def row(estimates, **options):
    pooled = pool_estimates(estimates, **options)
    assert len(pooled) == 1
    return pooled.table.iloc[0]


@pytest.fixture
def spread_out():
    rng = np.random.default_rng(4)
    se = rng.uniform(0.1, 0.6, 15)
    return studies(1 + 0.5 * rng.normal(size=15) + se * rng.normal(size=15), se)


def test_two_studies_by_hand():
    # Equal variances 1 around 0 and 4: Q = 8, tau2 = 7 by every moment estimator.
    pooled = row(studies([0, 4], [1, 1]), tau2="DL", ci="normal")
    assert (pooled["beta"], pooled["q"], pooled["q_df"], pooled["tau2"]) == pytest.approx((2, 8, 1, 7))
    assert pooled["i2"] == pytest.approx(7 / 8)
    assert pooled["se"] == pytest.approx(np.sqrt(8 / 2))
    assert pooled["se_fixed"] == pytest.approx(np.sqrt(1 / 2))
    assert "pi_low" not in pooled  # t(k - 2) has no degrees of freedom
    wide = row(studies([0, 4], [1, 1]), tau2="DL", ci="normal", prediction="V")
    assert wide["pi_high"] == pytest.approx(2 + stats.t.ppf(0.975, 1) * np.sqrt(7 + 4))


def test_three_intervals_are_three_things():
    """More loci narrow the interval of the mean, not the prediction interval nor tau2."""
    beta = np.tile([-1.0, 0.0, 1.0], 100)
    many = row(studies(beta, np.full(300, 0.1)))
    few = row(studies(beta[:9], np.full(9, 0.1)))
    assert many["ci_high"] == pytest.approx(1.968 * np.sqrt(200 / 299) / np.sqrt(300), rel=1e-3)
    assert few["ci_high"] > 5 * many["ci_high"]
    assert many["pi_high"] == pytest.approx(1.968 * np.sqrt(many["tau2"] + many["tau2"] / 300), rel=0.01)
    assert np.sqrt(many["tau2"]) == pytest.approx(np.sqrt(200 / 299 - 0.01), rel=1e-3)
    assert many["tau2_low"] < many["tau2"] < many["tau2_high"]


def test_hartung_knapp_with_equal_variances_is_the_t_test(spread_out):
    beta = spread_out.table["beta"]
    pooled = row(studies(beta, np.full(15, 0.2)))
    other = stats.ttest_1samp(beta, 0)
    assert (pooled["beta"], pooled["pvalue"]) == pytest.approx((beta.mean(), other.pvalue))
    low, high = other.confidence_interval()
    assert (pooled["ci_low"], pooled["ci_high"]) == pytest.approx((low, high))


def test_ad_hoc_floor_only_ever_widens():
    calm = studies([1.0, 1.01, 0.99, 1.0], np.full(4, 0.5))
    free, floored, normal = (row(calm, ci=ci) for ci in ("HK", "HK_adhoc", "normal"))
    assert free["se"] < normal["se"]
    assert floored["se"] == pytest.approx(normal["se"])
    assert floored["df"] == 3
    assert row(calm, ci="HK_adhoc", prediction="HK")["pi_high"] > row(calm, prediction="HK")["pi_high"]
    wild = studies([1.0, 3.0, -5.0, 1.0], np.full(4, 0.5))
    assert row(wild, ci="HK_adhoc")["se"] == row(wild, ci="HK")["se"]


@pytest.mark.parametrize(("ours", "theirs"), [("DL", "dl"), ("PM", "iterated")])
def test_equals_statsmodels(spread_out, ours, theirs):
    beta, se = spread_out.table["beta"].to_numpy(), spread_out.table["se"].to_numpy()
    other = combine_effects(beta, se**2, method_re=theirs, use_t=True, atol=1e-12)
    pooled = row(spread_out, tau2=ours)
    assert pooled["tau2"] == pytest.approx(other.tau2, rel=1e-6)
    assert pooled["beta"] == pytest.approx(other.mean_effect_re, rel=1e-6)
    assert pooled["se"] == pytest.approx(other.sd_eff_w_re_hksj, rel=1e-6)
    assert (pooled["beta_fixed"], pooled["se_fixed"]) == pytest.approx((other.mean_effect_fe, other.sd_eff_w_fe))
    assert pooled["q"] == pytest.approx(other.q)
    assert row(spread_out, tau2=ours, ci="normal")["se"] == pytest.approx(other.sd_eff_w_re, rel=1e-6)


@pytest.mark.parametrize("method", TAU2)
def test_tau2_is_near_the_truth(method):
    rng = np.random.default_rng(0)
    variance = rng.uniform(0.01, 0.2, 4000)
    beta = rng.normal(0, np.sqrt(0.25 + variance))
    tolerance = 0.15 if method == "SJ" else 0.06  # Sidik-Jonkman is known to be too large
    assert estimate_tau2(beta, variance, method=method) == pytest.approx(0.25, rel=tolerance)


@pytest.mark.parametrize("restricted", [True, False])
def test_likelihood_estimates_beat_a_fine_grid(restricted):
    rng = np.random.default_rng(8)
    variance = 10.0 ** rng.uniform(-6, 1, 30)  # wildly unequal, where Fisher scoring fails
    beta = rng.standard_t(2, 30)

    def loglik(tau2):
        w = 1 / (variance + tau2)
        mean = np.sum(w * beta) / np.sum(w)
        value = 0.5 * np.sum(np.log(w) - w * (beta - mean) ** 2)
        return value - 0.5 * np.log(np.sum(w)) * restricted

    best = estimate_tau2(beta, variance, method="REML" if restricted else "ML")
    assert loglik(best) >= max(loglik(t) for t in np.geomspace(1e-8, 1e2, 5000))
    assert loglik(best) > loglik(best * 1.001)
    assert loglik(best) > loglik(best * 0.999)


def test_q_profile_ends_solve_their_equations(spread_out):
    beta, variance = spread_out.table["beta"].to_numpy(), spread_out.table["se"].to_numpy() ** 2
    low, high = tau2_interval(beta, variance, level=0.9)
    for tau2, quantile in ((low, 0.95), (high, 0.05)):
        w = 1 / (variance + tau2)
        q = np.sum(w * (beta - np.sum(w * beta) / np.sum(w)) ** 2)
        assert q == pytest.approx(stats.chi2.ppf(quantile, 14), rel=1e-10)
    assert tau2_interval(np.full(5, 1.0), np.ones(5)) == (0, 0)


def test_equal_weights_give_the_plain_mean(spread_out):
    beta, se = spread_out.table["beta"], spread_out.table["se"]
    pooled = row(spread_out, weights="equal")
    assert pooled["beta"] == pytest.approx(beta.mean())
    assert pooled["se"] == pytest.approx(beta.std() / np.sqrt(15))
    normal = row(spread_out, weights="equal", ci="normal")
    assert normal["se"] == pytest.approx(np.sqrt(np.sum(se**2 + normal["tau2"])) / 15)
    assert row(spread_out)["beta"] != pytest.approx(beta.mean())


@pytest.mark.parametrize("tau2", ["DL", "REML"])
def test_the_error_of_tau2_where_one_study_has_all_the_weight(tau2):
    """Against the matrices, in fractions."""
    beta, se = [67.9, 3.4, -12.0], [289.0, 1e-5, 40.0]
    found = row(studies(beta, se), tau2=tau2)
    v = [Fraction(s) ** 2 for s in se]
    spread = [x + Fraction(found["tau2"]) for x in v]
    w = [1 / x for x in (v if tau2 == "DL" else spread)]
    total = sum(w)
    p = [[w[i] * (i == j) - w[i] * w[j] / total for j in range(3)] for i in range(3)]
    s = spread if tau2 == "DL" else [Fraction(1)] * 3
    trace = sum(p[i][j] * s[j] * p[j][i] * s[i] for i in range(3) for j in range(3))
    squared = 2 * trace / sum(p[i][i] for i in range(3)) ** 2 if tau2 == "DL" else 2 / trace
    assert found["tau2_se"] == pytest.approx(np.sqrt(float(squared)), rel=1e-9)


@pytest.mark.parametrize("tau2", TAU2)
@pytest.mark.parametrize(
    ("beta", "se"),
    [([1, 2, 3], [0, 0, 0]), ([1, 2, 3], [0, 0.5, 0.5]), ([1, 1, 1], [0, 0, 0]), ([1, 1, 1], [0.2, 0.2, 0.2])],
)
def test_loci_without_error_are_handled(tau2, beta, se):
    pooled = row(studies(beta, se), tau2=tau2)
    numbers = pooled.drop(["method", "exposure", "outcome", "locus", "estimand"]).to_numpy(float)
    assert np.isfinite(numbers).all()
    if len(set(beta)) == 1:
        assert (pooled["beta"], pooled["tau2"]) == (1, 0)
    elif not any(se):
        assert (pooled["beta"], pooled["se"]) == pytest.approx((2, 1 / np.sqrt(3)))
        assert pooled["tau2"] == pytest.approx(2 / 3 if tau2 in ("ML", "HS") else 1, rel=1e-6)


def test_groups_are_pooled_by_themselves_and_in_order():
    both = concat_estimates([studies([1, 2], [1, 1], exposure="z"), studies([5, 6, 7], [1, 1, 1], exposure="c")])
    pooled = pool_estimates(both).table
    assert pooled["exposure"].tolist() == ["z", "c"]
    assert pooled["beta"].tolist() == pytest.approx([1.5, 6])
    assert pooled["n"].tolist() == [2, 3]
    assert pooled["locus"].tolist() == ["*", "*"]
    assert pooled["method"].tolist() == ["ivw", "ivw"]


def test_skipped_loci_are_counted():
    estimates = studies([1, 2, 3], [1, 1, 1])
    lost = pd.DataFrame({"method": "ivw", "exposure": ["a", "a", "q"], "outcome": "b", "locus": ["x", "y", "x"]})
    pooled = pool_estimates(Estimates(table=estimates.table, skipped=lost.assign(reason="needs more")))
    assert pooled.table["n_skipped"].tolist() == [2]
    assert pooled.skipped.to_numpy().tolist() == [["ivw", "q", "b", "*", "no locus has an estimate"]]


def test_nothing_to_pool():
    estimates = studies([1], [1])
    empty = pool_estimates(estimates.take(np.array([False])))
    assert len(empty) == 0
    assert empty.error_factors is None


@pytest.mark.parametrize("option", ["tau2", "ci", "weights", "prediction"])
def test_unknown_options_are_refused(option):
    with pytest.raises(InputError, match=f"{option} must be one of"):
        inspect.unwrap(pool_estimates)(studies([1, 2], [1, 1]), **{option: "nonsense"})


# Errors that members share


def shared_studies(rng, *, loci=80, members=5, tau=0.3, common=0.2, local=0.2, sampling=0.1):
    """Member errors common to all loci and of one locus each; the truth is one more member."""
    moves = common * rng.normal(size=(members + 1, 1)) + local * rng.normal(size=(members + 1, loci))
    sampling_se = sampling * rng.uniform(0.5, 1.5, loci)
    beta = 1 + tau * rng.normal(size=loci) + moves[1:].mean(axis=0) - moves[0] + sampling_se * rng.normal(size=loci)
    factors = (moves[1:] - moves[1:].mean(axis=0)) * np.sqrt((1 + 1 / members) / (members - 1))
    return studies(beta, np.sqrt(sampling_se**2 + np.sum(factors**2, axis=0)), factors=factors)


def test_errors_common_to_all_loci_do_not_average_out():
    factors = np.outer([0.3, -0.2, -0.1], np.ones(50))
    rng = np.random.default_rng(1)
    beta = 2 + 0.1 * rng.normal(size=50)
    given = studies(beta, np.full(50, np.sqrt(0.14)), factors=factors)
    pooled = pool_estimates(given)
    only = pooled.table.iloc[0]
    assert only["se_member"] == pytest.approx(np.sqrt(0.14))
    assert only["se_sampling"] == pytest.approx(beta.std(ddof=1) / np.sqrt(50))
    assert only["se"] == pytest.approx(np.hypot(only["se_member"], only["se_sampling"]))
    assert only["df"] == pytest.approx(2, rel=0.01)
    assert only["tau2"] == pytest.approx(np.var(beta, ddof=1), rel=1e-6)  # the common error explains no scatter
    assert pooled.error_factors[:, 0] == pytest.approx([0.3, -0.2, -0.1])
    assert only["se_fixed"] == pytest.approx(np.sqrt(0.14), rel=1e-6)


def test_the_prediction_interval_holds_the_confidence_interval():
    # The members' error with its 2 degrees of freedom rules; a little tau2 adds degrees more than it adds variance.
    factors = np.outer([0.3, -0.3, 0.0], np.ones(40))
    beta = 1 + 0.1 * stats.norm.ppf((np.arange(40) + 0.5) / 40)
    pooled = row(studies(beta, np.full(40, np.sqrt(0.18)), factors=factors))
    assert pooled["tau2"] > 0
    assert pooled["pi_low"] <= pooled["ci_low"]
    assert pooled["pi_high"] >= pooled["ci_high"]


def test_zero_factors_change_nothing_but_the_columns(spread_out):
    plain = row(spread_out)
    with_members = row(Estimates(table=spread_out.table, error_factors=np.zeros((4, 15))))
    for name in plain.index:
        assert with_members[name] == (plain[name] if isinstance(plain[name], str) else pytest.approx(plain[name])), name
    assert with_members["se_member"] == 0


def test_pooling_nests():
    """Two halves pooled and pooled again carry the common error through."""
    rng = np.random.default_rng(2)
    given = shared_studies(rng, loci=40, local=0.0)
    half = np.arange(40) < 20
    halves = concat_estimates([pool_estimates(given.take(half)), pool_estimates(given.take(~half))])
    again, once = pool_estimates(halves), pool_estimates(given)
    assert again.table["n"][0] == 2
    assert again.table["se_member"][0] == pytest.approx(once.table["se_member"][0])
    assert again.error_factors == pytest.approx(once.error_factors)


def test_tau2_is_not_confounded_by_member_errors():
    """Over 60 data sets tau2 is 0.09 on average within 10 %, for errors common to all loci and of one locus each."""
    rng = np.random.default_rng(3)
    pooled = [row(shared_studies(rng), tau2="DL") for _ in range(60)]
    assert np.mean([p["tau2"] for p in pooled]) == pytest.approx(0.09, rel=0.1)
    null = [row(shared_studies(rng, tau=0.0), tau2="DL") for _ in range(60)]
    assert np.mean([p["q"] / p["q_df"] for p in null]) == pytest.approx(1, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"weights": "equal"}, {"ci": "normal"}, {"tau2": "PM"}])
@pytest.mark.parametrize(("common", "local"), [(0.2, 0.2), (0.0, 0.2), (0.3, 0.0), (0.0, 0.0)])
def test_coverage_of_the_mean_and_of_a_new_locus(options, common, local):
    """200 data sets: 95 % intervals cover 91 to 98.5 %, the prediction interval at least 91 %."""
    rng = np.random.default_rng(9)
    covered, predicted = [], []
    for _ in range(200):
        pooled = row(shared_studies(rng, loci=40, common=common, local=local), **options)
        covered.append(pooled["ci_low"] <= 1 <= pooled["ci_high"])
        predicted.append(pooled["pi_low"] <= 1 + 0.3 * rng.normal() <= pooled["pi_high"])
    assert 0.91 <= np.mean(covered) <= 0.985
    assert np.mean(predicted) >= 0.91


def test_a_locus_counts_once():
    twice = concat_estimates([studies([1, 2], [1, 1]), studies([3], [1])])
    table = twice.table.assign(locus=["a", "b", "a"])
    with pytest.raises(InputError, match="locus 'a' has more than one ivw estimate of one pair"):
        pool_estimates(Estimates(table=table))


def test_parts_of_different_ensembles_are_not_stacked():
    with_members = Estimates(table=studies([1, 2], [1, 1]).table, error_factors=np.ones((5, 2)))
    fewer = Estimates(table=studies([1, 2], [1, 1]).table, error_factors=np.ones((3, 2)))
    for other in (fewer, studies([3], [1])):
        with pytest.raises(InputError, match="different numbers of ensemble members"):
            concat_estimates([with_members, other])
