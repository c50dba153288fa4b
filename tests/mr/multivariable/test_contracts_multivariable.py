"""What every multivariable method has to hold to."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.mr import METHODS as UNIVARIABLE
from deepmr.mr.multivariable import METHODS, estimate_direct_effects
from deepmr.mr.multivariable.strength import weak_instruments
from deepmr.types import concat_estimates
from tests.mr.builders import deviations, locus, pack, reordered, simulated

TRUTH = np.array([0.5, -0.3])
every_method = pytest.mark.parametrize("method", METHODS)
members = pytest.mark.parametrize("members", [0, 5])


def two(counts=(0, 8, 20, 3, 40), *, members=0, noise=0.05):
    rng = np.random.default_rng(3)
    n = sum(counts)
    x, se_y = rng.normal(size=(n, 2)), rng.uniform(0.5, 1.5, n) * noise
    base = pack(x[:, 0], x @ TRUTH + se_y * rng.normal(size=n), se_y=se_y, counts=counts)
    factors = deviations(rng.normal(size=(members, n, 3)) * noise) if members else None
    se_x = rng.uniform(0.5, 1.5, (n, 2)) * noise
    return replace(base, exposures=("a", "b"), beta_exposure=x, se_exposure=se_x, error_factors=factors)


def scaled(given, exposures=(1.0, 1.0), outcome=1.0, signs=1.0):
    e, s = np.asarray(exposures), np.broadcast_to(signs, len(given.variants))
    f = given.error_factors
    return replace(
        given,
        beta_exposure=given.beta_exposure * e * s[:, None],
        se_exposure=given.se_exposure * np.abs(e),
        beta_outcome=given.beta_outcome * outcome * s,
        se_outcome=given.se_outcome * abs(outcome),
        error_factors=None if f is None else f * np.array([*e, outcome]) * s[:, None],
    )


def same(ours, theirs, scale=1.0):
    assert ours.table[["exposure", "locus"]].equals(theirs.table[["exposure", "locus"]])
    assert ours.skipped["reason"].tolist() == theirs.skipped["reason"].tolist()
    for name in ("beta", "se"):
        np.testing.assert_allclose(ours.table[name], theirs.table[name] * scale, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(ours.table["pvalue"], theirs.table["pvalue"], rtol=1e-7, atol=1e-300)


@every_method
@members
def test_nothing_but_the_data_matters(method, members):
    given, run = two(members=members), METHODS[method]
    expected = run(given)
    same(run(reordered(given)), expected)
    same(run(scaled(given, signs=np.random.default_rng(1).choice([-1.0, 1.0], len(given.variants)))), expected)
    same(run(scaled(given, outcome=1000.0)), expected, scale=1000.0)
    per_exposure = np.where(expected.table["exposure"] == "a", 100.0, 0.1)
    same(run(scaled(given, exposures=(0.01, 10.0))), expected, scale=per_exposure)
    alone = concat_estimates(run(locus(given, i)) for i in range(len(given.loci)))
    both = alone.table.sort_values(["exposure", "locus"], kind="stable").reset_index(drop=True)
    same(expected, replace(alone, table=both, error_factors=None, skipped=expected.skipped))
    assert sorted(alone.skipped["reason"]) == sorted(expected.skipped["reason"])


@every_method
@members
def test_noiseless_data_return_the_true_effects(method, members):
    given = two(members=members)
    # mv_debiased takes out an error of the exposures, so that it has to be as good as absent
    exact = replace(given, beta_outcome=given.beta_exposure @ TRUTH, se_exposure=given.se_exposure * 1e-7)
    table = METHODS[method](exact).table
    np.testing.assert_allclose(table["beta"], np.where(table["exposure"] == "a", *TRUTH), rtol=1e-9)


@every_method
def test_a_locus_without_an_answer_has_a_reason(method):
    given = two()
    assert set(METHODS[method](given).skipped["locus"]) >= {"locus0"}
    assert "instruments for 2 exposures; has 0" in METHODS[method](given).skipped["reason"][0]
    twice = replace(given, beta_exposure=np.repeat(given.beta_exposure[:, :1], 2, axis=1))
    estimates = METHODS[method](twice)
    assert len(estimates) == 0
    assert estimates.skipped["reason"].str.contains("not identified|needs at least").all()
    assert len(METHODS[method](two(counts=(0, 0)))) == 0


@every_method
def test_parts_of_the_standard_error_add_up(method):
    table = METHODS[method](two(members=4)).table
    np.testing.assert_allclose(np.hypot(table["se_sampling"], table["se_member"]), table["se"])


@pytest.mark.parametrize(("method", "single"), [("mv_ivw", "ivw_random"), ("mv_egger", "egger")])
@members
def test_one_exposure_equals_the_univariable_method(method, single, members):
    given = simulated(members=members)
    same(METHODS[method](given), UNIVARIABLE[single](given))


def test_rows_and_words():
    estimates = estimate_direct_effects(two(), methods=["mv_ivw", "mv_egger"])
    assert estimates.table["exposure"].drop_duplicates().tolist() == ["a", "b"]
    assert set(estimates.table["n_exposures"]) == {2.0}
    table, words = weak_instruments(two())
    assert "strong for every exposure" in words
    assert table["conditional_f"].isna().sum() == 2  # the locus without instruments
    assert "weakest for" in weak_instruments(scaled(two(noise=0.8)))[1]
