"""Multivariable methods: their slow definitions, their univariable selves, hard cases, and coverage."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize

from deepmr.errors import InputError
from deepmr.mr import METHODS as UNIVARIABLE
from deepmr.mr.draws import standard_normals
from deepmr.mr.errors import error_covariances
from deepmr.mr.multivariable import METHODS, estimate_direct_effects
from deepmr.mr.multivariable.debiased import mv_debiased
from deepmr.mr.multivariable.gmm import mv_gmm
from deepmr.mr.multivariable.ivw import mv_egger, mv_ivw
from deepmr.mr.multivariable.lasso import mv_lasso
from deepmr.mr.multivariable.least_absolute import least_absolute
from deepmr.mr.multivariable.median import mv_median
from deepmr.mr.multivariable.raps import mv_raps
from deepmr.mr.multivariable.robust import mv_ivw_robust
from deepmr.mr.multivariable.table import canonical
from deepmr.simulate.exposures import simulate_exposures
from tests.mr.builders import locus, pack, reordered, simulated
from tests.mr.multivariable.test_contracts_multivariable import TRUTH, same, scaled, two

CORR = np.array([[1.0, 0.3, 0.5], [0.3, 1.0, -0.2], [0.5, -0.2, 1.0]])
EVERY = {"mv_median": {"n_boot": 50}}


def contaminated(counts=(9, 30), *, members=0):
    """Two exposures, a direct effect at every fifth instrument."""
    given = two(counts=counts, members=members)
    direct = np.where(np.arange(len(given.variants)) % 5 == 2, 0.5, 0.0)
    return replace(given, beta_outcome=given.beta_outcome + direct, error_corr=CORR)


def shortest_path(design, response, weights):
    """Least absolute deviations as a linear programme."""
    n, k = design.shape
    cost = np.concatenate([np.zeros(k), weights, weights])
    equal = np.hstack([design, np.eye(n), -np.eye(n)])
    bounds = [(None, None)] * k + [(0, None)] * (2 * n)
    return optimize.linprog(cost, A_eq=equal, b_eq=response, bounds=bounds)


@pytest.mark.parametrize(("width", "columns"), [(2, 1), (3, 2), (10, 2), (30, 4), (60, 3)])
def test_least_absolute_deviations_are_those_of_a_linear_programme(width, columns):
    rng = np.random.default_rng(width)
    x = rng.normal(size=(20, width, columns)) * 10.0 ** rng.uniform(-3, 3, (20, 1, columns))
    y = x @ rng.normal(size=columns) + rng.standard_t(2, size=(20, width))
    w = rng.uniform(0.1, 3, (20, width)) * (np.arange(width) != width - 1 if width > columns + 3 else 1.0)
    found = least_absolute(x, y, w)
    for i in range(20):
        best = shortest_path(x[i], y[i], w[i])
        loss = np.sum(w[i] * np.abs(y[i] - x[i] @ found[i]))
        assert loss <= best.fun * (1 + 1e-9) + 1e-12


def test_least_absolute_deviations_by_hand():
    # Most rows lie on one plane, and pull the others to it; on a line the answer is the weighted median.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 15, 2))
    y = x @ [2.0, -1.0]
    y[:, :5] += 10
    np.testing.assert_allclose(least_absolute(x, y, np.ones((1, 15))), [[2.0, -1.0]], atol=1e-12)
    ones = np.ones((1, 5, 1))
    assert least_absolute(ones, np.array([[5.0, 1.0, 4.0, 2.0, 3.0]]), np.ones((1, 5)))[0, 0] == 3
    assert least_absolute(ones, np.array([[5.0, 1.0, 4.0, 2.0, 3.0]]), np.array([[9.0, 1, 1, 1, 1]]))[0, 0] == 5


def test_median_draws_are_those_of_the_definition():
    given = contaminated(counts=(8,))
    table = mv_median(given, n_boot=60, seed=4).table
    one = canonical(given)
    values, vectors = np.linalg.eigh(CORR)
    root = vectors * np.sqrt(values)
    noise = np.concatenate([part for _, part in standard_normals(60, 8, seed=4, traits=3)], axis=1)
    drawn = []
    for k in range(60):
        u = noise[:, k].T @ root.T
        x = one.beta_exposure + one.se_exposure * u[:, :2]
        y = one.beta_outcome + one.se_outcome * u[:, 2]
        drawn.append(least_absolute(x[None], y[None], one.se_outcome[None] ** -2.0)[0])
    np.testing.assert_allclose(table["se"], np.std(drawn, axis=0, ddof=1), rtol=1e-9)


@pytest.mark.parametrize("penalty", [0.1, 0.3, 1.0, 10.0])
def test_lasso_minimises_its_criterion(penalty):
    given = contaminated(counts=(12,))
    sign = np.where(given.beta_exposure[:, 0] < 0, -1.0, 1.0)
    u = given.beta_exposure * (sign / given.se_outcome)[:, None]
    z = given.beta_outcome * sign / given.se_outcome
    left = np.eye(12) - u @ np.linalg.solve(u.T @ u, u.T)
    size = left.std(axis=0)

    # a = up - down, both at least 0: a quadratic programme in direct effects once the slopes are projected out.
    def criterion(a):
        rest = left @ (z - (a[:12] - a[12:]))
        slope = -np.concatenate([left @ rest, -(left @ rest)]) / 12 + penalty * np.tile(size, 2)
        return rest @ rest / 24 + penalty * np.tile(size, 2) @ a, slope

    best = optimize.minimize(
        criterion,
        np.zeros(24),
        jac=True,
        bounds=[(0, None)] * 24,
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 5000},
    ).x
    valid = np.abs(best[:12] - best[12:]) < 1e-5
    table = mv_lasso(given, penalty=penalty).table
    if valid.sum() > 2:
        assert table["n_valid"][0] == valid.sum()
        used = given.take(valid)
        np.testing.assert_allclose(table["beta"], mv_ivw(used).table["beta"], rtol=1e-9)
    else:
        assert len(table) == 0


def test_lasso_leaves_out_what_has_a_direct_effect():
    table = mv_lasso(contaminated()).table
    assert (table["n_valid"] <= table["n"] * 0.8 + 1).all()
    assert (table["n"] == np.tile([9, 30], 2)).all()
    np.testing.assert_allclose(table["beta"], np.repeat(TRUTH, 2), atol=0.1)


def criterion(given, loss, tau2):
    """Sum of losses as a function of the direct effects, plainly."""
    covariance = error_covariances(given)

    def total(b):
        contrast = np.append(-b, 1.0)
        v = np.einsum("p,rpq,q->r", contrast, covariance, contrast) + tau2
        return loss.rho((given.beta_outcome - given.beta_exposure @ b) ** 2 / v).sum()

    return total


@pytest.mark.parametrize("name", ["l2", "huber", "tukey"])
@pytest.mark.parametrize("overdispersion", [False, True])
def test_raps_solves_its_equations(name, overdispersion):
    from deepmr.mr.losses import loss_of

    given, loss = contaminated(), loss_of(name)
    table = mv_raps(given, loss=name, overdispersion=overdispersion).table
    for i in range(2):
        one, mine = locus(given, i), table[table["locus"] == f"locus{i}"]
        b, tau2 = mine["beta"].to_numpy(), mine["tau2"].iloc[0] if overdispersion else 0.0
        total = criterion(one, loss, tau2)
        nearby = optimize.minimize(total, b, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14})
        assert total(b) <= nearby.fun * (1 + 1e-12)
        np.testing.assert_allclose(b, nearby.x, atol=1e-6)
        if overdispersion:
            assert total(b) == pytest.approx((len(one.variants) - 2) * loss.mean, rel=1e-9)
        else:
            rng = np.random.default_rng(0)
            elsewhere = min(optimize.minimize(total, rng.normal(size=2)).fun for _ in range(20))
            assert total(b) <= elsewhere * (1 + 1e-8)


def test_gmm_is_raps_with_squares_and_heeds_sample_sizes():
    given = contaminated()
    ours, raps = mv_gmm(given).table, mv_raps(given, loss="l2").table
    np.testing.assert_allclose(ours[["beta", "se", "tau2"]], raps[["beta", "se", "tau2"]], rtol=1e-12)
    assert (mv_gmm(given, error="classical").table["se"] < ours["se"]).all()
    apart = replace(given, error_corr=None)
    # In large samples the instruments explain nothing, and n tells nothing that the standard errors do not.
    large = np.tile([1e13] * 3, (len(given.variants), 1))
    np.testing.assert_allclose(mv_gmm(replace(apart, n=large)).table["beta"], mv_gmm(apart).table["beta"], rtol=1e-6)
    small = replace(apart, n=np.tile([20.0] * 3, (len(given.variants), 1)))
    assert mv_gmm(small).skipped["reason"].str.contains("sample sizes do not allow").all()


def linked(counts=(7, 12), *, members=0):
    """Instruments in linkage disequilibrium."""
    given = contaminated(counts=counts, members=members)
    matrices = tuple(0.6 ** np.abs(np.subtract.outer(np.arange(n), np.arange(n))) for n in counts)
    return replace(given, correlation=matrices)


@pytest.mark.parametrize("overdispersion", [False, True])
def test_gmm_with_linkage_disequilibrium_by_its_definition(overdispersion):
    given = linked()
    table = mv_gmm(given, overdispersion=overdispersion, error="classical").table
    for i in range(2):
        one, mine = locus(given, i), table[table["locus"] == f"locus{i}"]
        b, tau2 = mine["beta"].to_numpy(), mine["tau2"].iloc[0] if overdispersion else 0.0
        se = np.column_stack([one.se_exposure, one.se_outcome])

        def omega(b, one=one, se=se, tau2=tau2):
            mix = np.append(-b, 1.0)
            joint = np.einsum("jp,lq,pq,jl->jplq", se, se, CORR, one.correlation[0])
            return np.einsum("jplq,p,q->jl", joint, mix, mix) + tau2 * np.eye(len(se))

        def q(b, one=one, omega=omega):
            e = one.beta_outcome - one.beta_exposure @ b
            return e @ np.linalg.solve(omega(b), e)

        best = optimize.minimize(q, b, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-13})
        assert q(b) == pytest.approx(mine["q"].iloc[0], rel=1e-9)
        assert q(b) <= best.fun * (1 + 1e-12)
        np.testing.assert_allclose(b, best.x, atol=1e-6)
        if overdispersion and tau2 > 0:
            assert q(b) == pytest.approx(len(se) - 2, rel=1e-9)
        information = one.beta_exposure.T @ np.linalg.solve(omega(b), one.beta_exposure)
        np.testing.assert_allclose(mine["se"], np.sqrt(np.diag(np.linalg.inv(information))), rtol=1e-9)


@pytest.mark.parametrize("members", [0, 4])
def test_linkage_disequilibrium_that_is_none_changes_nothing(members):
    given = contaminated(members=members)
    none = replace(given, correlation=tuple(np.eye(n) for n in given.counts))
    ours, plain = mv_gmm(none).table, mv_gmm(given).table
    np.testing.assert_allclose(ours["beta"], plain["beta"], rtol=1e-9)
    # Both errors leave out parts with a mean of 0, not the same ones.
    np.testing.assert_allclose(ours["se"], plain["se"], rtol=1e-6 if members else 0.1)


def test_linkage_disequilibrium_with_one_exposure_is_the_profile_score():
    x = np.random.default_rng(1).normal(size=19)
    base = linked()
    given = replace(
        base, exposures=("a",), beta_exposure=base.beta_exposure[:, :1], se_exposure=base.se_exposure[:, :1] * 5,
        beta_outcome=0.4 * base.beta_exposure[:, 0] + 0.1 * x, error_corr=CORR[[0, 2]][:, [0, 2]],
    )  # fmt: skip
    ours, theirs = mv_gmm(given).table, UNIVARIABLE["profile_score"](given).table
    np.testing.assert_allclose(ours["beta"], theirs["beta"], rtol=1e-8)
    np.testing.assert_allclose(ours["se"], theirs["se"], rtol=0.05)


def test_order_and_coding_of_linked_instruments(caplog):
    given = linked(members=3)
    expected = mv_gmm(given)
    same(mv_gmm(reordered(given)), expected)
    for i in range(2):
        alone = mv_gmm(locus(given, i)).table
        together = expected.table[expected.table["locus"] == f"locus{i}"]
        np.testing.assert_allclose(alone[["beta", "se"]], together[["beta", "se"]], rtol=1e-9)
    flat = replace(given, correlation=tuple(np.ones((n, n)) for n in given.counts))
    assert mv_gmm(flat).skipped["reason"].str.contains("is singular: .*; prune the instruments").all()
    estimate_direct_effects(given, methods=["mv_ivw", "mv_gmm"])
    assert "mv_ivw take instruments as independent, although they are correlated" in caplog.text
    assert "mv_gmm" not in caplog.text


@pytest.mark.parametrize("members", [0, 5])
@pytest.mark.parametrize(
    ("method", "single", "options"),
    [
        ("mv_ivw_robust", "ivw_robust", {}),
        ("mv_lasso", "lasso", {}),
        ("mv_debiased", "debiased_ivw", {}),
        ("mv_raps", "grapple", {"loss": "tukey"}),
        ("mv_raps", "grapple", {"loss": "huber"}),
    ],
)
def test_one_exposure_equals_the_univariable_method(method, single, options, members):
    given = simulated(counts=(12, 30), members=members, noise=0.2)
    given = replace(given, error_corr=None if method == "mv_ivw_robust" else np.array([[1, 0.4], [0.4, 1]]))
    ours, theirs = METHODS[method](given, **options).table, UNIVARIABLE[single](given, **options).table
    np.testing.assert_allclose(ours["beta"], theirs["beta"], rtol=1e-9)
    # Derivatives by differences of other steps decide the errors of members.
    np.testing.assert_allclose(ours["se"], theirs["se"], rtol=1e-7 if method == "mv_raps" else 1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("members", [0, 4])
def test_overlap_and_padding_change_nothing_they_should_not(method, members):
    given, run = contaminated(counts=(7, 8, 20, 6), members=members), METHODS[method]
    options = EVERY.get(method, {})
    expected = run(given, **options)
    flips = np.random.default_rng(1).choice([-1.0, 1.0], len(given.variants))
    same(run(reordered(scaled(given, signs=flips, outcome=1e-6)), **options), expected, scale=1e-6)
    for i in (1, 3):
        alone = run(locus(given, i), **options).table
        together = expected.table[expected.table["locus"] == f"locus{i}"]
        np.testing.assert_allclose(alone[["beta", "se"]], together[["beta", "se"]], rtol=1e-9)


def test_exposures_in_another_order():
    given = contaminated()
    turned = replace(
        given,
        exposures=("b", "a"),
        beta_exposure=given.beta_exposure[:, ::-1].copy(),
        se_exposure=given.se_exposure[:, ::-1].copy(),
        error_corr=CORR[[1, 0, 2]][:, [1, 0, 2]],
    )
    for method in ("mv_ivw", "mv_ivw_robust", "mv_median", "mv_debiased", "mv_raps", "mv_gmm"):
        ours, other = (METHODS[method](g).table.sort_values(["exposure", "locus"]) for g in (given, turned))
        np.testing.assert_allclose(ours["beta"], other["beta"], rtol=1e-9, err_msg=method)


def test_overlap_is_heeded():
    given = two(noise=0.4)
    shared = replace(given, error_corr=CORR)
    for method in ("mv_debiased", "mv_raps", "mv_gmm"):
        assert not np.allclose(METHODS[method](given).table["beta"], METHODS[method](shared).table["beta"], rtol=1e-3)


def test_outliers_hardly_move_the_robust_methods():
    given = two(counts=(40,))
    wild = replace(given, beta_outcome=given.beta_outcome + np.where(np.arange(40) < 4, 50.0, 0.0))
    for method in ("mv_ivw_robust", "mv_median", "mv_lasso", "mv_raps"):
        np.testing.assert_allclose(METHODS[method](wild).table["beta"], TRUTH, atol=0.05, err_msg=method)
    assert np.abs(mv_ivw(wild).table["beta"] - TRUTH).max() > 0.5


def test_options_out_of_range_are_refused():
    given = two()
    for method in (mv_egger, mv_lasso):
        for number in (0, 3, -1):
            with pytest.raises(InputError, match=f"orientate must be the number of an exposure, 1 to 2; got {number}"):
                method(given, orientate=number)
    with pytest.raises(InputError, match="penalty must be at least 0"):
        mv_lasso(given, penalty=-1.0)
    with pytest.raises(InputError, match="n_boot must be at least 2"):
        mv_median(given, n_boot=1)


def test_no_signal_is_said_or_gets_a_wide_interval():
    rng = np.random.default_rng(2)
    given = pack(rng.normal(size=120), rng.normal(size=120), 1.0, 1.0, counts=[12] * 10)
    given = replace(given, exposures=("a", "b"), beta_exposure=rng.normal(size=(120, 2)), se_exposure=np.ones((120, 2)))
    for method in ("mv_raps", "mv_gmm", "mv_debiased"):
        found = METHODS[method](given)
        assert np.isfinite(found.table[["beta", "se"]].to_numpy()).all()
        assert found.skipped["reason"].str.contains("not identified").all()
        assert len(found.table) / 2 + len(found.skipped["locus"].unique()) == 10


def hard(name):
    """Three loci of 4, 9 and 15 instruments, and what is wrong with them."""
    rng = np.random.default_rng(8)
    given = two(counts=(4, 9, 15))
    x, y, n = given.beta_exposure, given.beta_outcome, len(given.variants)
    changed = {
        "no effect on an exposure": {"beta_exposure": x * [1.0, 0.0]},
        "no effect at all": {"beta_exposure": x * 0.0},
        "no effect on the outcome": {"beta_outcome": y * 0.0},
        "nearly collinear": {"beta_exposure": x[:, :1] + [0.0, 1e-7] * x},
        "equal effects": {"beta_exposure": np.ones((n, 2)) * [1.0, 2.0], "beta_outcome": np.ones(n)},
        "some rows of zeros": {"beta_exposure": np.where(np.arange(n)[:, None] % 3 == 0, 0.0, x)},
        "one exposure here, the other there": {"beta_exposure": x * (np.arange(n)[:, None] % 2 == [0, 1])},
        "exact": {"beta_outcome": x @ TRUTH},
        "huge errors": {"se_exposure": given.se_exposure * 1e6, "se_outcome": given.se_outcome * 1e6},
        "tiny errors": {"se_exposure": given.se_exposure * 1e-6, "se_outcome": given.se_outcome * 1e-6},
        "tiny effects": {"beta_exposure": x * 1e-9, "se_exposure": given.se_exposure * 1e-9},
        "one far outlier": {"beta_outcome": y + 1e6 * (np.arange(n) == 6)},
        "one strong instrument": {"beta_exposure": x * np.where(np.arange(n) == 6, 1e5, 1.0)[:, None]},
        "unequal errors": {"se_outcome": given.se_outcome * 10.0 ** rng.uniform(-4, 4, n)},
    }[name]
    return replace(given, **changed)


CASES = [
    "no effect on an exposure", "no effect at all", "no effect on the outcome", "nearly collinear", "equal effects",
    "some rows of zeros", "one exposure here, the other there", "exact", "huge errors", "tiny errors", "tiny effects",
    "one far outlier", "one strong instrument", "unequal errors",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_hard_cases_get_numbers_or_reasons(case):
    given = hard(case)
    for name, method in METHODS.items():
        found = method(given, **EVERY.get(name, {}))
        values = found.table[["beta", "se", "ci_low", "ci_high", "pvalue"]].to_numpy()
        assert np.isfinite(values).all(), name
        assert (found.table["se"] >= 0).all(), name
        for exposure in given.exposures:
            answered = (found.table["exposure"] == exposure).sum() + (found.skipped["exposure"] == exposure).sum()
            assert answered == 3, name
        assert found.skipped["reason"].str.len().min() > 10 or not len(found.skipped)


def test_every_method_in_one_call():
    given = two(members=3)
    estimates = estimate_direct_effects(given, methods=list(METHODS))
    assert set(estimates.table["method"]) == set(METHODS)
    assert estimates.error_factors.shape == (3, len(estimates))


def covered(table, effects=(0.4, -0.2)):
    """Share of intervals with the truth, and the median distance from it, an exposure each."""
    found = []
    for name, effect in zip(table["exposure"].unique(), effects, strict=True):
        rows = table[table["exposure"] == name]
        inside = (rows["ci_low"] <= effect) & (rows["ci_high"] >= effect)
        found.append((inside.mean(), rows["beta"].median() - effect))
    return np.array(found).T


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["weak", "overlap"])
def test_weak_instruments_bias_ivw_but_not_these(scenario):
    """500 loci, mean F 4, conditional F below that; Monte-Carlo error of coverage 1 point."""
    given = simulate_exposures(scenario, n_loci=500)
    share, off = covered(mv_ivw(given).table)
    assert share.min() < 0.9
    assert np.abs(off).max() > 0.1
    for method in (mv_debiased, mv_raps, mv_gmm):
        share, off = covered(method(given).table)
        np.testing.assert_allclose(share, 0.95, atol=0.03)
        assert np.abs(off).max() < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["valid", "outliers", "balanced"])
def test_robust_methods_cover_with_strong_instruments(scenario):
    given, spread = simulate_exposures(scenario, n_loci=400), {}
    for method in (mv_ivw, mv_ivw_robust, mv_median, mv_raps):
        options = {"n_boot": 200} if method is mv_median else {}
        table = method(given, **options).table
        share, off = covered(table)
        # The median's errors know those of the effects, and no other paths.
        assert share.min() > (0.82 if method is mv_median and scenario == "balanced" else 0.88)
        assert np.abs(off).max() < 0.03
        spread[method] = table[table["exposure"] == "first"]["beta"].std()
    if scenario == "outliers":
        assert all(spread[mv_ivw] > 1.2 * spread[method] for method in (mv_ivw_robust, mv_median, mv_raps))


@pytest.mark.slow
def test_members_errors_are_covered():
    """Errors that all instruments of a member share; 400 loci, Monte-Carlo error of coverage 1.1 points."""
    rng = np.random.default_rng(5)
    loci, n, members, effects = 400, 20, 8, np.array([0.4, -0.2])
    g = rng.normal(size=(loci * n, 2))
    common = rng.normal(size=(members + 1, loci, 1, 2)).repeat(n, axis=2).reshape(members + 1, -1, 2)
    moved = 0.1 * np.sum(common * g, axis=2) + 0.02 * rng.normal(size=(members + 1, loci * n))
    deviations = (moved[1:] - moved[1:].mean(axis=0)) * np.sqrt((1 + 1 / members) / (members - 1))
    factors = np.stack([np.zeros_like(deviations), np.zeros_like(deviations), deviations], axis=-1)
    y = g @ effects + moved[1:].mean(axis=0) - moved[0]
    base = pack(g[:, 0], y, 0.01, 0.1, counts=[n] * loci, factors=None)
    given = replace(
        base, exposures=("a", "b"), beta_exposure=g, se_exposure=np.full_like(g, 0.01), error_factors=factors
    )
    for name, method in METHODS.items():
        options = {"n_boot": 100} if name == "mv_median" else {}
        share, _ = covered(method(given, **options).table, effects)
        assert share.min() > 0.91, name
        assert share.max() < 0.985, name
    alone = replace(given, error_factors=None)
    assert covered(mv_ivw(alone).table, effects)[0].max() < 0.8
