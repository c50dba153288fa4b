"""What every method of every METHODS table has to hold to."""

import inspect
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from deepmr import checks
from deepmr.errors import InputError
from deepmr.meta import pool_estimates
from deepmr.mr import METHODS as ALL_METHODS
from deepmr.mr import estimate_effects
from deepmr.mr.mrmix import mrmix
from deepmr.types import Estimates, concat_estimates
from tests.mr.builders import locus, pack, reordered, rescaled, simulated

METHODS = ALL_METHODS | {"mrmix": partial(mrmix, n_boot=20)}  # its draws are slow; contracts hold for any number
NUMBERS = ["beta", "se", "ci_low", "ci_high", "pvalue", "n"]

# They correct for errors of the exposure effects that se_exposure names: exact effects need an exact se_exposure.
CORRECTS_DILUTION = {"debiased_ivw", "penalised_debiased_ivw", "egger_simex"}
# Methods that leave out instruments without a ratio.
NEEDS_RATIO = {
    *("wald", "wald_weighted", "ivw_additive", "ivw_penalised", "ivw_radial", "egger_radial", "grip"),
    *("median_simple", "median_weighted", "median_penalised", "mode_simple", "mode_weighted", "mode_penalised"),
    *("mode_bayesian", "heterogeneity_penalised", "contamination_mixture", "mrmix"),
}
# Methods that take errors out of the sums are off by these errors where, against their standard errors, there are none.
NOISELESS = {"debiased_gls": 0.1, "mrbee": 0.01, "egger_simex": 0.2}

# Methods whose confidence set is empty where the instruments disagree: at a level of 0.5, often.
MAY_BE_EMPTY = {"anderson_rubin"}

every_method = pytest.mark.parametrize("method", METHODS)
with_and_without_members = pytest.mark.parametrize("members", [0, 3])


# Methods that cannot hold to 1e-9: mrmix takes second differences of shares that EM has fitted to about 1e-10.
LOOSE = {"mrmix": 1e-4}


def same(ours, theirs, *, rel=1e-9, scale=1.0):
    """Compare estimates number by number; `scale` multiplies the effects of `theirs`."""
    assert ours.table["locus"].tolist() == theirs.table["locus"].tolist()
    assert ours.skipped.equals(theirs.skipped)
    rel = max([rel, *(LOOSE.get(method, 0.0) for method in set(ours.table["method"]))])
    for name in NUMBERS:
        factor = 1.0 if name in ("pvalue", "n") else abs(scale) if name == "se" else scale
        expected = theirs.table[name].to_numpy(float) * factor
        np.testing.assert_allclose(ours.table[name].to_numpy(float), expected, rtol=rel, atol=1e-12, err_msg=name)
    assert (ours.error_factors is None) == (theirs.error_factors is None)
    if ours.error_factors is not None:
        np.testing.assert_allclose(ours.error_factors, scale * theirs.error_factors, rtol=max(rel, 1e-6), atol=1e-12)


@every_method
@with_and_without_members
def test_noiseless_data_return_the_true_effect(method, members):
    given = simulated(members=members, noise=0.05)
    exact = replace(given, beta_outcome=-1.7 * given.beta_exposure[:, 0])
    if method in CORRECTS_DILUTION:
        exact = replace(exact, se_exposure=1e-9 * given.se_exposure)
        if members:
            exact = replace(exact, error_factors=given.error_factors * np.array([1e-9, 1.0]))
    estimates = METHODS[method](exact)
    assert len(estimates) == 4
    off = NOISELESS.get(method, 1e-9)
    assert estimates.table["beta"].to_numpy() == pytest.approx(-1.7, rel=off)
    assert (estimates.table["ci_low"] <= -1.7 * (1 - off) + 1e-9).all()
    assert (estimates.table["ci_high"] >= -1.7 * (1 + off) - 1e-9).all()


@every_method
@with_and_without_members
def test_the_order_of_instruments_does_not_matter(method, members):
    given = simulated(members=members)
    same(METHODS[method](reordered(given)), METHODS[method](given))


@every_method
@with_and_without_members
def test_flipping_alleles_does_not_matter(method, members):
    given = simulated(members=members)
    signs = np.random.default_rng(5).choice([-1.0, 1.0], len(given.variants))
    same(METHODS[method](rescaled(given, exposure=signs, outcome=signs)), METHODS[method](given))


@every_method
@with_and_without_members
def test_units_of_the_outcome_scale_the_effect(method, members):
    given = simulated(members=members)
    same(METHODS[method](rescaled(given, outcome=1000.0)), METHODS[method](given), scale=1000.0)


@every_method
@with_and_without_members
def test_units_of_the_exposure_divide_the_effect(method, members):
    given = simulated(members=members)
    same(METHODS[method](rescaled(given, exposure=0.01)), METHODS[method](given), scale=100.0)


@every_method
@with_and_without_members
def test_all_loci_at_once_equal_one_at_a_time(method, members):
    given = simulated(members=members)
    alone = concat_estimates(METHODS[method](locus(given, i)) for i in range(len(given.loci)))
    same(METHODS[method](given), alone)


@every_method
def test_loci_with_too_few_instruments_are_listed(method):
    estimates = METHODS[method](simulated(counts=(0, 5, 2, 12)))
    assert estimates.skipped["locus"].tolist() == ["locus0", "locus2"]
    assert estimates.skipped["reason"].tolist() == [
        "needs at least 3 instruments; has 0",
        "needs at least 3 instruments; has 2",
    ]
    assert METHODS[method](simulated(counts=(5, 12)), min_instruments=6).skipped["locus"].tolist() == ["locus0"]


@every_method
def test_nothing_at_all_gives_an_empty_table(method):
    estimates = METHODS[method](simulated(counts=(0, 0)))
    assert len(estimates) == 0
    assert len(estimates.skipped) == 2


@every_method
def test_the_level_moves_the_interval_only(method):
    given = simulated()
    wide, narrow = METHODS[method](given, level=0.99).table, METHODS[method](given, level=0.5).table
    if method in MAY_BE_EMPTY:
        wide = wide[wide["locus"].isin(narrow["locus"])].reset_index(drop=True)
        assert len(narrow)
    assert (wide["ci_high"] > narrow["ci_high"]).all()
    assert wide["se"].equals(narrow["se"])
    assert set(wide["level"]) == {0.99}


@every_method
def test_two_exposures_are_refused(method):
    given = simulated()
    two = replace(
        given,
        exposures=("a", "b"),
        beta_exposure=np.repeat(given.beta_exposure, 2, axis=1),
        se_exposure=np.repeat(given.se_exposure, 2, axis=1),
        n=None,
    )
    with pytest.raises(InputError, match="takes one exposure; got 2"):
        METHODS[method](two)


@every_method
def test_parts_of_the_standard_error_add_up(method):
    estimates = METHODS[method](simulated(members=4))
    table = estimates.table
    assert np.hypot(table["se_sampling"], table["se_member"]).to_numpy() == pytest.approx(table["se"].to_numpy())
    member = np.sqrt((estimates.error_factors**2).sum(axis=0))
    assert member == pytest.approx(table["se_member"].to_numpy())
    assert (table["df"] >= 1.0).all()


@every_method
def test_members_that_agree_add_no_error(method):
    given = simulated()
    n = len(given.variants)
    estimates = METHODS[method](replace(given, error_factors=np.zeros((5, n, 2))))
    assert (estimates.table["se_member"] == 0).all()
    assert estimates.table["beta"].equals(METHODS[method](given).table["beta"])


@every_method
def test_inputs_stay_as_they_are(method):
    given = simulated(members=3)
    before = [a.copy() for a in (given.beta_exposure, given.beta_outcome, given.error_factors)]
    METHODS[method](given)
    for old, new in zip(before, (given.beta_exposure, given.beta_outcome, given.error_factors), strict=True):
        assert np.array_equal(old, new)


def test_estimate_effects_runs_pairs_and_methods_in_order():
    one, other = simulated(members=5), replace(simulated(members=5, seed=1), exposures=("third",))
    estimates = estimate_effects((pair for pair in (one, other)), methods=["egger", "wald"])
    rows = estimates.table[["exposure", "method"]].drop_duplicates().to_numpy().tolist()
    assert rows == [["exposure", "egger"], ["exposure", "wald"], ["third", "egger"], ["third", "wald"]]
    assert estimates.error_factors.shape == (5, len(estimates))
    assert len(estimates.skipped) == 2 * 2 * 2


def test_estimate_effects_refuses_an_unknown_method():
    with pytest.raises(InputError, match=r"method must be one of wald, .*; got 'egg'"):
        estimate_effects(simulated(), methods=["ivw", "egg"])


def test_estimate_effects_of_nothing():
    with pytest.raises(InputError, match="no estimates"):
        estimate_effects([])


def test_an_exposure_effect_of_zero_is_never_nan():
    given = pack([0.0, 1, 2, 3, 4], [0.1, 1, 2, 3.1, 4], n=(1e6, 1e6))
    causes = ("same size", "effect is zero", "non-zero exposure effect; has 0", "no larger than their errors")
    for method in METHODS:
        estimates = METHODS[method](given)
        assert len(estimates) == 1, method
        assert np.isfinite(estimates.table[["beta", "se", "pvalue"]].to_numpy(float)).all()
        assert estimates.table["n"][0] == (4 if method in NEEDS_RATIO else 5), method
        reason = METHODS[method](pack(np.zeros(4), np.ones(4), n=(1e6, 1e6))).skipped["reason"][0]
        assert any(cause in reason for cause in causes), method


# Pooling


def repeated(times, *, beta=0.3, se=0.1):
    """Estimates of equal studies."""
    one = METHODS["ivw_fixed"](pack([1.0, 2, 3], [0.3, 0.6, 0.9]))
    table = pd.concat([one.table.iloc[:1]] * times, ignore_index=True)
    table["locus"] = [f"locus{i}" for i in range(times)]
    return Estimates(table=table.assign(beta=beta, se=se))


@pytest.mark.parametrize("tau2", ["DL", "PM", "REML", "ML", "HE", "HS", "SJ"])
def test_equal_studies_make_fixed_and_random_agree(tau2):
    pooled = pool_estimates(repeated(6), tau2=tau2, ci="normal").table.iloc[0]
    assert (pooled["beta"], pooled["beta_fixed"]) == pytest.approx((0.3, 0.3))
    assert (pooled["se"], pooled["se_fixed"]) == pytest.approx((0.1 / np.sqrt(6), 0.1 / np.sqrt(6)))
    assert (pooled["tau2"], pooled["i2"]) == (0, 0)


@with_and_without_members
def test_one_study_returns_itself(members):
    one = METHODS["ivw"](simulated(counts=(8,), members=members))
    pooled = pool_estimates(one)
    for name in ("method", "exposure", "outcome", "estimand", "beta", "se", "ci_low", "ci_high", "pvalue", "df"):
        assert pooled.table[name][0] == pytest.approx(one.table[name][0]), name
    assert (pooled.table["locus"][0], pooled.table["n"][0]) == ("*", 1)
    if members:
        assert pooled.error_factors == pytest.approx(one.error_factors)
        assert pooled.table["se_member"][0] == pytest.approx(one.table["se_member"][0])


def test_wrong_kinds_of_arguments_are_named():
    """Type checks of the tests would catch these first, so they look at the functions underneath."""
    bare = inspect.unwrap(estimate_effects)
    with pytest.raises(InputError, match="instruments are read by read_instruments"):
        bare("a.tsv")
    with pytest.raises(InputError, match="methods are a list of names; got a text"):
        bare(simulated(), methods="raps")
    with pytest.raises(InputError, match="level must be between 0 and 1; got 95"):
        bare(simulated(), level=95.0)
    with pytest.raises(InputError, match=r"error_corr must be an array of shape \(2, 2\); got float"):
        inspect.unwrap(checks.shape)("error_corr", 0.3, (2, 2))
