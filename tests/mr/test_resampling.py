"""Joint bootstrap and jackknife: against formulae where there are some, and against replicates where there are none."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.mr import METHODS
from deepmr.mr.gls import ivw_gls
from deepmr.mr.median import median_weighted
from deepmr.mr.resampling import bootstrap_errors, jackknife_members
from tests.mr.builders import deviations, locus, pack, reordered, rescaled, simulated
from tests.mr.test_correlated import Dense, everything
from tests.mr.test_joint_errors import shared

quick_median = partial(median_weighted, n_boot=2)


@pytest.mark.parametrize("linked", [False, True])
def test_draws_have_the_joint_covariance(linked):
    given = everything(linked=linked, overlap=0.6)
    seen, same = [], ivw_gls(given)

    def record(moved):
        seen.append(np.stack([moved.beta_exposure[:, 0], moved.beta_outcome]))
        return same

    n = 800
    bootstrap_errors(given, ivw_gls, redraw=record, n_boot=n)
    drawn = np.array(seen)
    assert drawn.shape == (n, 2, 34)
    # Draws are of the instruments in canonical order, coded for a positive effect: compare what neither changes.
    deviation = drawn - drawn.mean(axis=0)
    cov = np.einsum("ntj,nuj->jtu", deviation, deviation) / n
    f, rho = given.error_factors, np.array([[1, 0.6], [0.6, 1]])
    se = np.stack([given.se_exposure[:, 0], given.se_outcome], axis=-1)
    own = np.sqrt(np.maximum(se**2 - (f**2).sum(axis=0), 0))
    exact = own[:, :, None] * own[:, None, :] * rho + np.einsum("kjt,kju->jtu", f, f)
    assert np.sort(cov[:, 0, 0]) == pytest.approx(np.sort(exact[:, 0, 0]), rel=0.25)
    assert np.sort(cov[:, 0, 1]) == pytest.approx(np.sort(exact[:, 0, 1]), abs=0.25 * np.abs(exact).max())


@pytest.mark.parametrize("linked", [False, True])
def test_a_linear_estimate_has_the_error_of_its_formula(linked):
    given = everything(linked=linked)
    factors = given.error_factors.copy()
    factors[:, :, 0] = 0
    given = replace(given, se_exposure=1e-9 * given.se_exposure, error_factors=factors)
    found = bootstrap_errors(given, ivw_gls, n_boot=300, seed=1)
    exact = ivw_gls(given)
    for i in range(3):
        dense = Dense(locus(given, i))
        w = np.linalg.inv(np.outer(dense.t, dense.t) * dense.r)
        pull = w @ dense.x / (dense.x @ w @ dense.x)
        # Four standard errors of a standard deviation over 300 draws.
        assert found.table["se"][i] == pytest.approx(np.sqrt(pull @ dense.yy @ pull), rel=4 / np.sqrt(600))
    # A factor's slope has an error of se / sqrt(300).
    off = np.abs(found.error_factors - exact.error_factors)
    assert (off < 4 * found.table["se"].to_numpy() / np.sqrt(300)).all()
    assert found.table["beta"].equals(exact.table["beta"])


def test_order_coding_units_and_batches_change_nothing():
    given = everything(linked=False)
    run = partial(bootstrap_errors, estimate=quick_median, n_boot=10)
    table = run(given).table
    signs = np.random.default_rng(5).choice([-1.0, 1.0], len(given.variants))
    for other, scale in (
        (reordered(given), 1),
        (rescaled(given, exposure=signs, outcome=signs), 1),
        (rescaled(given, outcome=1e3), 1e3),
    ):
        assert run(other).table["se"].to_numpy() == pytest.approx(scale * table["se"].to_numpy(), rel=1e-9)
    alone = [run(locus(given, i)).table["se"][0] for i in range(3)]
    assert alone == pytest.approx(table["se"].tolist(), rel=1e-9)


def test_parts_add_up_and_without_factors_there_are_none():
    found = bootstrap_errors(everything(), median_weighted, redraw=quick_median, n_boot=30)
    table = found.table
    assert np.hypot(table["se_sampling"], table["se_member"]).to_numpy() == pytest.approx(table["se"].to_numpy())
    simple = METHODS["median_simple"]
    plain = bootstrap_errors(simulated(noise=0.3), simple, redraw=partial(simple, n_boot=2), n_boot=200)
    assert plain.error_factors is None
    # What the median's own bootstrap draws, too.
    own = simple(simulated(noise=0.3), n_boot=2000).table
    assert plain.table["se"].to_numpy() == pytest.approx(own["se"].to_numpy(), rel=0.2)


def test_a_locus_that_draws_leave_without_estimate_is_skipped():
    given = pack([0.4, -0.3, 0.5], [0.2, -0.1, 0.2], 0.4, 0.1)
    found = bootstrap_errors(replace(given, se_exposure=5 * given.se_exposure), METHODS["ivw_gls"], n_boot=20)
    assert len(found) == 1
    none = METHODS["ivw_gls"](pack([0.0, 0.0, 0.0], [0.2, -0.1, 0.2], 0.4, 0.1))
    count = iter(range(100))

    def mostly_nothing(moved):
        return METHODS["ivw_gls"](moved) if next(count) % 3 == 0 else none

    lost = bootstrap_errors(given, METHODS["ivw_gls"], redraw=mostly_nothing, n_boot=20)
    assert lost.skipped["reason"].tolist() == ["no estimate in 13 of 20 bootstrap draws"]
    assert len(lost) == 0


def test_leaving_out_a_member_is_what_it_says():
    rng = np.random.default_rng(0)
    members, x = 6, rng.uniform(0.5, 2, 12)
    effects = np.stack([x, 0.5 * x], axis=-1) + 0.1 * rng.normal(size=(members, 12, 2))
    mean = effects.mean(axis=0)
    given = pack(*mean.T, 0.1, 0.1, factors=deviations(effects))
    without = []
    for k in range(members):
        rest = np.delete(effects, k, axis=0).mean(axis=0)
        without.append(median_weighted(pack(*rest.T, 0.1, 0.1), n_boot=2).table["beta"][0])
    found = jackknife_members(given, quick_median)
    jackknife = (members - 1) / members * np.sum((without - np.mean(without)) ** 2)
    assert found.table["se_member"][0] ** 2 == pytest.approx((members + 1) * jackknife, rel=1e-9)
    assert found.table["se_sampling"][0] == pytest.approx(quick_median(given).table["se_sampling"][0])


def test_a_linear_estimate_has_the_jackknife_of_its_formula():
    given = simulated(members=5)
    factors = given.error_factors.copy()
    factors[:, :, 0] = 0
    given = replace(given, error_factors=factors)
    for method in ("ivw", "egger", "ivw_gls"):
        ours, exact = jackknife_members(given, METHODS[method]), METHODS[method](given)
        assert ours.error_factors == pytest.approx(exact.error_factors, rel=1e-8, abs=1e-12)
        for name in ("se", "ci_low", "pvalue", "df"):
            assert ours.table[name].to_numpy() == pytest.approx(exact.table[name].to_numpy(), rel=1e-8), name


def test_a_jackknife_needs_members():
    for given, said in (
        (simulated(), "at least 3 of them; error_factors have 0"),
        (simulated(members=2), "at least 3 of them; error_factors have 2"),
        (everything(), "do not sum to 0"),
    ):
        with pytest.raises(InputError, match=said):
            jackknife_members(given, METHODS["ivw"])


# Ratio of the joint bootstrap's standard error to the standard deviation over replicates: what is allowed, and 15 % of
# Monte-Carlo error. Methods that choose instruments choose less surely around effects that scatter already.
HONEST, CAUTIOUS = (0.9, 1.2), (0.95, 1.5)
WITHOUT_FORMULA = {
    "median_simple": HONEST,
    "median_weighted": HONEST,
    "median_penalised": HONEST,
    "mode_simple": (0.9, 1.3),
    "mode_weighted": HONEST,
    "mode_penalised": HONEST,
    "mode_bayesian": HONEST,
    "heterogeneity_penalised": CAUTIOUS,
    "contamination_mixture": CAUTIOUS,
    "lasso": CAUTIOUS,
    "cml": HONEST,
    "presso": CAUTIOUS,
    "ivw_robust": HONEST,
    "ivw_penalised": CAUTIOUS,
}


@pytest.mark.slow
@pytest.mark.parametrize("method", WITHOUT_FORMULA)
def test_the_joint_bootstrap_has_the_error_over_replicates(method):
    given = shared(200, strength=30.0, n=30, seed=4)
    small = 0.02
    given = replace(
        given,
        beta_exposure=small * given.beta_exposure,
        se_exposure=small * given.se_exposure,
        beta_outcome=small * given.beta_outcome,
        se_outcome=small * given.se_outcome,
        error_factors=small * given.error_factors,
        n=np.full((6000, 2), 1e5),
    )
    run = METHODS[method]
    table = run(given).table
    few = replace(given.take(np.arange(6000) < 900), loci=given.loci[:30], offsets=given.offsets[:31])
    own_draws = method.startswith(("median", "mode_simple", "mode_weighted", "mode_penalised"))
    joint = bootstrap_errors(few, run, redraw=partial(run, n_boot=2) if own_draws else run, n_boot=60).table
    spread = table["beta"].std()
    ratio = np.sqrt(np.mean(joint["se"] ** 2)) / spread
    low, high = WITHOUT_FORMULA[method]
    assert low - 0.15 < ratio < high + 0.15
    # The methods' own errors count what is shared twice, as scatter over instruments and as the members' part.
    assert 1.0 < np.sqrt(np.mean(table["se"] ** 2)) / spread < 1.75
