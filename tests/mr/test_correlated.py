"""Linkage, shared errors and overlap together: every method that heeds a correlation against dense matrices."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from deepmr.errors import InputError
from deepmr.mr import METHODS, USES_CORRELATION, estimate_effects
from deepmr.mr.errors import FLOOR, Structured, joint_errors
from deepmr.mr.gls import egger_gls, ivw_gls
from deepmr.mr.grapple import grapple
from deepmr.mr.pca import ivw_pca, pc_gmm
from deepmr.mr.profile_score import profile_score
from deepmr.mr.raps import raps
from deepmr.mr.weak_sets import anderson_rubin, clr, conditional_tail
from deepmr.packed import blocks
from deepmr.simulate.instruments import simulate_instruments
from tests.mr.builders import locus, pack, reordered, rescaled, simulated

SIZES = (9, 20, 5)


def matrix(n, seed=0):
    """A linkage matrix that is neither banded nor positive throughout."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, 2 * n)) + 0.7 * rng.normal(size=(1, 2 * n))
    return np.corrcoef(root)


def everything(*, k=4, linked=True, overlap=0.5, seed=1, sizes=SIZES):
    """Loci with linkage, shared errors and overlap, and with effects that fit those errors roughly."""
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    se_x, se_y = rng.uniform(0.1, 0.2, (2, n))
    x = rng.choice([-1.0, 1.0], n) * rng.uniform(0.4, 1.0, n)
    factors = rng.normal(size=(k, n, 2)) * np.stack([se_x, se_y], axis=-1) * np.sqrt(0.5 / max(k, 1))
    y = 0.4 * x + se_y * rng.normal(size=n) + factors[:, :, 1].sum(axis=0)
    matrices = [matrix(m, i) for i, m in enumerate(sizes)] if linked else None
    return pack(
        x,
        y,
        se_x,
        se_y,
        counts=sizes,
        factors=factors if k else None,
        correlation=matrices,
        overlap=overlap,
        n=(1e5, 1e5),
    )


CASES = {
    "linkage": {"k": 0, "overlap": None},
    "linkage, overlap": {"k": 0},
    "factors, overlap": {"linked": False},
    "all": {},
    "all, more factors than instruments": {"k": 12},
}
cases = pytest.mark.parametrize("case", CASES)


class Dense:
    """One locus with its whole covariance, by definition."""

    def __init__(self, given):
        self.x, self.y = given.beta_exposure[:, 0], given.beta_outcome
        n = len(self.x)
        se = np.stack([given.se_exposure[:, 0], given.se_outcome])
        f = np.zeros((0, n, 2)) if given.error_factors is None else given.error_factors
        own = np.sqrt(np.maximum(se**2 - (f**2).sum(axis=0).T, FLOOR * se**2))
        rho = np.eye(2) if given.error_corr is None else given.error_corr
        r = np.eye(n) if given.correlation is None else given.correlation[0]
        self.f, self.r, self.t = f, r, se[1]
        self.xx, self.yy, self.xy = (
            np.outer(own[a], own[b]) * r * rho[a, b] + f[:, :, a].T @ f[:, :, b] for a, b in ((0, 0), (1, 1), (0, 1))
        )
        self.own_yy = np.outer(own[1], own[1]) * r

    def at(self, b, tau2=0.0):
        """e, V and C."""
        v = self.yy + b**2 * self.xx - b * (self.xy + self.xy.T) + tau2 * np.eye(len(self.x))
        return self.y - b * self.x, v, self.xy - b * self.xx

    def q(self, b, tau2=0.0):
        e, v, _ = self.at(b, tau2)
        return e @ np.linalg.solve(v, e)

    def score(self, b, tau2=0.0):
        e, v, c = self.at(b, tau2)
        z = np.linalg.solve(v, e)
        return (self.x - c @ z) @ z

    def score_se(self, b, tau2=0.0):
        e, v, c = self.at(b, tau2)
        w = np.linalg.inv(v)
        g = self.x - c @ w @ e
        strength = g @ w @ g
        cross = np.trace(w @ c @ w) ** 2 * (2 * len(e) / np.trace(w) ** 2 if tau2 > 0 else 0.0)
        return np.sqrt(strength + cross) / (strength - np.trace(w @ (self.xx - c @ w @ c.T)))

    def minimum(self):
        grid = np.linspace(-3, 3, 301)
        best = grid[np.argmin([self.q(b) for b in grid])]
        return optimize.minimize_scalar(self.q, bounds=(best - 0.05, best + 0.05), options={"xatol": 1e-10}).x


def loci_of(given):
    return [(i, Dense(locus(given, i))) for i in range(len(given.loci))]


@cases
@pytest.mark.parametrize("intercept", [False, True])
def test_gls_with_joint_weights(case, intercept):
    given = everything(**CASES[case])
    table = (egger_gls if intercept else ivw_gls)(given, weights="joint", min_instruments=1).table
    for i, dense in loci_of(given):
        sign = np.where(dense.x < 0, -1.0, 1.0) if intercept else np.ones_like(dense.x)
        w = np.linalg.inv(dense.yy * np.outer(sign, sign))
        x, y = dense.x * sign, dense.y * sign
        design = np.stack([np.ones_like(x), x], axis=1) if intercept else x[:, None]
        unscaled = np.linalg.inv(design.T @ w @ design)
        b = unscaled @ design.T @ w @ y
        e, row = y - design @ b, table.iloc[i]
        q, df = e @ w @ e, len(x) - len(b)
        assert row["beta"] == pytest.approx(b[-1], rel=1e-9)
        assert row["q"] == pytest.approx(q, rel=1e-9)
        if not len(dense.f):
            assert row["se"] == pytest.approx(np.sqrt(unscaled[-1, -1] * max(q / df, 1.0)), rel=1e-9)
            continue
        map_y = unscaled @ design.T @ w
        assert row["se_sampling"] ** 2 == pytest.approx(
            q / df * (map_y @ (dense.own_yy * np.outer(sign, sign)) @ map_y.T)[-1, -1], rel=1e-9
        )
        fx, fy = dense.f[:, :, 0] * sign, dense.f[:, :, 1] * sign
        moves = map_y[-1] @ (fy - b[-1] * fx).T + unscaled[-1, -1] * (fx @ w @ e)
        assert row["se_member"] == pytest.approx(np.sqrt(np.sum(moves**2)), rel=1e-9)


def test_members_move_gls_as_differences_say():
    given = everything()
    found = ivw_gls(given, weights="joint")
    step = 1e-5
    for k, factor in enumerate(given.error_factors):
        up, down = (
            ivw_gls(
                replace(
                    given,
                    beta_exposure=given.beta_exposure + s * factor[:, :1],
                    beta_outcome=given.beta_outcome + s * factor[:, 1],
                ),
                weights="joint",
            ).table["beta"]
            for s in (step, -step)
        )
        assert (up - down).to_numpy() / (2 * step) == pytest.approx(found.error_factors[k], rel=1e-5)


@cases
def test_gls_with_marginal_weights(case):
    given = everything(**CASES[case])
    table = ivw_gls(given, min_instruments=1).table
    for i, dense in loci_of(given):
        w = np.linalg.inv(np.outer(dense.t, dense.t) * dense.r)
        b = dense.x @ w @ dense.y / (dense.x @ w @ dense.x)
        e = dense.y - b * dense.x
        assert table["beta"][i] == pytest.approx(b, rel=1e-9)
        assert table["q"][i] == pytest.approx(e @ w @ e, rel=1e-9)
        if len(dense.f):
            fx, fy = dense.f[:, :, 0], dense.f[:, :, 1]
            moves = ((fy - b * fx) @ w @ dense.x + fx @ w @ e) / (dense.x @ w @ dense.x)
            assert table["se_member"][i] == pytest.approx(np.sqrt(np.sum(moves**2)), rel=1e-9)


def test_joint_weights_without_factors_are_the_marginal_ones():
    given = everything(k=0)
    for method in (ivw_gls, egger_gls):
        assert method(given, weights="joint").table.equals(method(given).table)
    # Factors of size zero are none, but for the floor of the standard error.
    none = replace(given, error_factors=np.zeros((3, len(given.variants), 2)))
    for method in (ivw_gls, egger_gls):
        ours, plain = method(none, weights="joint").table, method(given).table
        assert ours["beta"].to_numpy() == pytest.approx(plain["beta"].to_numpy(), rel=1e-10)
        assert ours["q"].to_numpy() == pytest.approx(plain["q"].to_numpy(), rel=1e-10)


@pytest.mark.parametrize("method", [ivw_gls, egger_gls])
def test_joint_weights_keep_the_contracts(method):
    given = everything()
    table = method(given, weights="joint").table
    signs = np.random.default_rng(5).choice([-1.0, 1.0], len(given.variants))
    flipped = rescaled(given, exposure=signs, outcome=signs)
    for other, scale in (
        (reordered(given), 1),
        (flipped, 1),
        (rescaled(given, outcome=1e3), 1e3),
        (rescaled(given, exposure=1e-2), 100),
    ):
        found = method(other, weights="joint").table
        for name in ("beta", "se"):
            assert found[name].to_numpy() == pytest.approx(scale * table[name].to_numpy(), rel=1e-9)
    alone = [method(locus(given, i), weights="joint").table["se"][0] for i in range(len(SIZES))]
    assert alone == pytest.approx(table["se"].tolist(), rel=1e-9)


@cases
def test_debiased_gls(case):
    given = everything(**CASES[case])
    table = METHODS["debiased_gls"](given).table
    for i, dense in loci_of(given):
        w = np.linalg.inv(dense.yy)
        signal = dense.x @ w @ dense.x - np.trace(w @ dense.xx)
        b = (dense.x @ w @ dense.y - np.trace(w @ dense.xy)) / signal
        e, v, c = dense.at(b)
        n = len(e)
        tau2 = max(0.0, e @ w @ e * n / (n - 1) - np.trace(w @ v)) / np.trace(w)
        v = v + tau2 * np.eye(n)
        variance = (dense.x @ w @ v @ w @ dense.x + np.trace(w @ c.T @ w @ c.T)) / signal**2
        assert table["beta"][i] == pytest.approx(b, rel=1e-8)
        assert table["tau2"][i] == pytest.approx(tau2, rel=1e-7, abs=1e-12)
        if not len(dense.f):  # with members, their part may exceed the whole
            assert table["se"][i] == pytest.approx(np.sqrt(variance), rel=1e-8)


@cases
@pytest.mark.parametrize("overdispersion", [False, True])
def test_profile_score(case, overdispersion):
    given = everything(**CASES[case])
    estimates = profile_score(given, overdispersion=overdispersion)
    for i, dense in loci_of(given):
        row = estimates.table.iloc[i]
        tau2 = row["tau2"] if overdispersion else 0.0
        scale = np.sqrt(dense.x @ np.linalg.solve(dense.yy, dense.x))
        assert dense.score(row["beta"], tau2) / scale == pytest.approx(0, abs=1e-8)
        assert row["q"] == pytest.approx(dense.q(row["beta"]), rel=1e-8)
        if not overdispersion:
            assert row["beta"] == pytest.approx(dense.minimum(), rel=1e-6)
        elif tau2 > 0:
            assert dense.q(row["beta"], tau2) == pytest.approx(len(dense.x) - 1, rel=1e-8)
        else:
            assert dense.q(row["beta"]) <= len(dense.x) - 1
        if not len(dense.f):
            assert row["se"] == pytest.approx(dense.score_se(row["beta"], tau2), rel=1e-8)


def test_max_likelihood():
    given = everything(k=0)
    table = METHODS["max_likelihood"](given).table
    for i, dense in loci_of(given):
        b, step = table["beta"][i], 1e-4
        assert b == pytest.approx(dense.minimum(), rel=1e-6)
        curvature = (dense.q(b + step) - 2 * dense.q(b) + dense.q(b - step)) / step**2 / 2
        scale = max(1.0, dense.q(b) / (len(dense.x) - 1))
        assert table["se"][i] == pytest.approx(np.sqrt(scale / curvature), rel=1e-5)
    reason = METHODS["max_likelihood"](everything()).skipped["reason"]
    assert set(reason) == {"shared errors and linkage disequilibrium together: use profile_score"}


@cases
def test_principal_components(case):
    given = everything(**CASES[case])
    pca, gmm = (method(given, share=0.95).table for method in (ivw_pca, pc_gmm))
    n = 1e5
    for i, dense in loci_of(given):
        one = locus(given, i)
        s = one.se_exposure[:, 0]
        size = np.abs(dense.x) / dense.t
        values, vectors = np.linalg.eigh(np.outer(size, size) * dense.r)
        values, vectors = values[::-1], vectors[:, ::-1]
        k = int(np.argmax(np.cumsum(values) / values.sum() > 0.95)) + 1
        w = vectors[:, :k]
        cov = w.T @ (np.outer(dense.t, dense.t) * dense.r) @ w
        xs, ys = w.T @ dense.x, w.T @ dense.y
        assert pca["n_components"][i] == gmm["n_components"][i] == k
        assert pca["beta"][i] == pytest.approx(
            xs @ np.linalg.solve(cov, ys) / (xs @ np.linalg.solve(cov, xs)), rel=1e-8
        )
        effects = []
        for v, se in ((dense.x, s), (dense.y, dense.t)):
            a = 1 / (n * se**2 + v**2)
            inner = np.linalg.inv(w.T @ (np.sqrt(np.outer(a, a)) * dense.r) @ w)
            right = w.T @ (a * v)
            effects += [inner @ right, inner * (1 - right @ inner @ right) / (n - k + 1)]
        gx, vx, gy, vy = effects

        def q(b, gx=gx, vx=vx, gy=gy, vy=vy):
            e = gy - b * gx
            return e @ np.linalg.solve(vy + b**2 * vx, e)

        best = gmm["beta"][i]
        assert gmm["q"][i] == pytest.approx(q(best), rel=1e-8)
        assert q(best) <= min(q(b) for b in np.linspace(-3, 3, 301))


def test_overdispersion_of_components_solves_its_equations():
    given = simulated(counts=(20, 30), noise=0.1)
    rng = np.random.default_rng(2)
    given = replace(given, beta_outcome=given.beta_outcome + 0.2 * rng.normal(size=50), n=None)
    given = replace(given, correlation=tuple(matrix(n) for n in (20, 30)))
    plain, wide = pc_gmm(given).table, pc_gmm(given, overdispersion=True).table
    assert plain["q"].equals(wide["q"])
    assert (wide["tau2"] > 0).all()
    assert (wide["se"] > plain["se"]).all()
    for i in range(2):
        one = locus(given, i)
        x, y, s, t = one.beta_exposure[:, 0], one.beta_outcome, one.se_exposure[:, 0], one.se_outcome
        size, r = np.abs(x) / t, given.correlation[i]
        k = int(wide["n_components"][i])
        w = np.linalg.eigh(np.outer(size, size) * r)[1][:, ::-1][:, :k]

        def mapped(se, w=w, r=r):
            return np.linalg.solve(w.T @ (r / np.outer(se, se)) @ w, w.T / se**2)

        mx, my = mapped(s), mapped(t)
        vx, vy = (m @ (np.outer(se, se) * r) @ m.T for m, se in ((mx, s), (my, t)))

        def q(b, i=i, x=x, y=y, mx=mx, my=my, vx=vx, vy=vy):
            e = my @ y - b * (mx @ x)
            return e @ np.linalg.solve(vy + b**2 * vx + wide["tau2"][i] * my @ my.T, e)

        best = wide["beta"][i]
        assert q(best) == pytest.approx(k - 1, rel=1e-8)
        assert q(best) <= min(q(b) for b in np.linspace(-3, 3, 301)) + 1e-9


# Robust losses


@pytest.mark.parametrize("linked", [False, True])
def test_the_inverse_root_is_one(linked):
    given = everything(linked=linked)
    for block in blocks(given.offsets):
        errors = joint_errors(given, block)
        mix = np.tile([-0.4, 1.0], (len(block.loci), 1))
        v = errors.between(mix, mix)
        root = v.inverse_root().to_dense()
        product = root.swapaxes(1, 2) @ root @ v.to_dense()
        assert product == pytest.approx(np.broadcast_to(np.eye(product.shape[1]), product.shape), abs=1e-9)
    # Nothing shared: the square root of the diagonal.
    own = np.array([[4.0, 9.0]])
    none = np.zeros((1, 2, 0))
    assert Structured(own=own, left=none, right=none).inverse_root().to_dense()[0] == pytest.approx(
        np.diag([0.5, 1 / 3])
    )


@pytest.mark.parametrize("loss", ["l2", "huber", "tukey"])
def test_independent_errors_make_robust_scores_those_of_grapple_and_raps(loss):
    given = simulated(noise=0.3)
    rng = np.random.default_rng(0)
    wild = given.beta_outcome + np.where(rng.random(len(given.variants)) < 0.15, 2.0, 0.0)
    given = replace(given, beta_outcome=wild, error_corr=np.array([[1.0, 0.4], [0.4, 1.0]]))
    for ours, theirs in (
        (profile_score(given, loss=loss).table, grapple(given, loss=loss).table),
        (
            profile_score(given, loss=loss, overdispersion=False).table,
            raps(given, loss=loss, overdispersion=False).table,
        ),
    ):
        assert ours["beta"].to_numpy() == pytest.approx(theirs["beta"].to_numpy(), rel=1e-9)
        assert ours["n_roots"].tolist() == theirs["n_roots"].tolist()
        if "tau2" in ours:
            assert ours["tau2"].to_numpy() == pytest.approx(theirs["tau2"].to_numpy(), rel=1e-8, abs=1e-14)


@pytest.mark.parametrize("loss", ["huber", "tukey"])
@pytest.mark.parametrize("linked", [False, True])
def test_robust_scores_solve_their_equations(loss, linked):
    given = everything(linked=linked)
    y = given.beta_outcome.copy()
    y[[3, 15]] += 1.5
    given = replace(given, beta_outcome=y)
    table = profile_score(given, loss=loss).table
    k = {"huber": 1.345, "tukey": 4.685}[loss]

    def rho(z):
        if loss == "huber":
            return np.where(np.abs(z) <= k, z**2 / 2, k * (np.abs(z) - k / 2))
        return k**2 / 6 * (1 - np.maximum(1 - (z / k) ** 2, 0) ** 3)

    expected = integrate.quad(
        lambda z: float(rho(np.array(z))) * stats.norm.pdf(z), -12, 12, limit=200, points=[-k, k]
    )[0]
    for i, dense in loci_of(given):
        b, tau2 = table["beta"][i], table["tau2"][i]
        e, v, c = dense.at(b, tau2)
        n = len(e)
        f = dense.f[:, :, 1] - b * dense.f[:, :, 0]
        own = np.diag(v) - (f**2).sum(axis=0)
        scale = np.diag(own**-0.5)
        values, vectors = np.linalg.eigh(scale @ v @ scale)
        m = vectors @ np.diag(values**-0.5) @ vectors.T @ scale
        z, h = m @ e, m @ (dense.x - c @ np.linalg.solve(v, e))
        step = 1e-6
        pull = (rho(z + step) - rho(z - step)) / (2 * step)
        assert pull @ h / np.linalg.norm(h) == pytest.approx(0, abs=1e-6)
        if tau2 > 0:
            assert rho(z).sum() == pytest.approx((n - 1) * expected, rel=1e-6)
        else:
            assert rho(z).sum() <= (n - 1) * expected


@pytest.mark.parametrize("loss", ["huber", "tukey"])
def test_robust_scores_keep_the_contracts(loss):
    given = everything(linked=False)
    table = profile_score(given, loss=loss).table
    signs = np.random.default_rng(5).choice([-1.0, 1.0], len(given.variants))
    for other, scale in (
        (reordered(given), 1),
        (rescaled(given, exposure=signs, outcome=signs), 1),
        (rescaled(given, outcome=1e3), 1e3),
    ):
        found = profile_score(other, loss=loss).table
        for name in ("beta", "se"):
            assert found[name].to_numpy() == pytest.approx(scale * table[name].to_numpy(), rel=1e-8)
    alone = [profile_score(locus(given, i), loss=loss).table["se"][0] for i in range(len(SIZES))]
    assert alone == pytest.approx(table["se"].tolist(), rel=1e-8)


# Confidence sets for weak instruments


@cases
@pytest.mark.parametrize("method", [anderson_rubin, clr])
def test_confidence_sets_by_a_dense_grid(case, method):
    given = everything(**CASES[case])
    estimates = method(given)
    rows = estimates.table.set_index("locus")
    assert len(rows)
    for i, dense in loci_of(given):
        name, n = given.loci[i], len(dense.x)
        best = dense.minimum()
        lowest = dense.q(best)

        def kept(b, dense=dense, n=n, least=lowest):
            e, v, c = dense.at(b)
            a = dense.q(b)
            if method is anderson_rubin:
                return stats.chi2.sf(a, n) >= 0.05
            g = dense.x - c @ np.linalg.solve(v, e)
            strength = g @ np.linalg.solve(v, g)
            k = (g @ np.linalg.solve(v, e)) ** 2 / strength
            r = g @ np.linalg.solve(dense.xx - c @ np.linalg.solve(v, c.T), g)
            lr = (a - r + np.sqrt((a - r) ** 2 + 4 * r * k)) / 2
            # By draws of its definition in two chi-squares.
            rng = np.random.default_rng(0)
            one, rest = rng.chisquare(1, 40_000), rng.chisquare(n - 1, 40_000)
            drawn = (one + rest - r + np.sqrt((one + rest - r) ** 2 + 4 * r * one)) / 2
            return min(np.mean(drawn > lr) / 0.98, stats.chi2.sf(a - least, n) / 0.02) >= 0.05

        if name not in rows.index:
            assert not kept(best)
            continue
        row = rows.loc[name]
        assert row["beta"] == pytest.approx(best, rel=1e-6)
        assert row["n_intervals"] == 1
        for end, out in ((row["ci_low"], -1), (row["ci_high"], 1)):
            near = row["se"] * (1e-6 if method is anderson_rubin else 0.05)
            assert kept(end - out * near)
            assert not kept(end + out * near)


def test_conditional_tail_by_integration():
    for m, r, df in ((3.0, 2.0, 4), (5.0, 100.0, 19), (2.0, 0.5, 1), (300.0, 40.0, 299), (1e-3, 1.0, 2)):

        def part(w, m=m, r=r, df=df):
            return stats.chi2.sf(m * (1 - w / (m + r)), 1) * stats.chi2.pdf(w, df)

        slow = integrate.quad(part, 0, m + r, limit=500, points=[1e-3, min(df, m + r) / 2])[0] + stats.chi2.sf(
            m + r, df
        )
        assert conditional_tail(*(np.array([v]) for v in (m, r, float(df))))[0] == pytest.approx(slow, rel=1e-6)
    strong = conditional_tail(np.array([3.84]), np.array([1e8]), np.array([19.0]))
    assert strong[0] == pytest.approx(stats.chi2.sf(3.84, 1), rel=1e-6)
    none = conditional_tail(np.array([30.0]), np.array([0.0]), np.array([19.0]))
    assert none[0] == pytest.approx(stats.chi2.sf(30.0, 20), rel=1e-6)


def test_sets_that_are_empty_or_have_no_end_are_reasons():
    x = np.array([0.05, -0.1, 0.08, 0.02])
    open_ended = pack(x, 0.4 * x, 0.1, 0.1)
    for method in (anderson_rubin, clr):
        assert "no end" in method(open_ended).skipped["reason"][0]
    torn = pack([1.0, 1, 1, 1], [1.0, -1, 3, 2], 0.1, 0.1)
    assert "set is empty" in anderson_rubin(torn).skipped["reason"][0]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["anderson_rubin", "clr"])
@pytest.mark.parametrize("scenario", ["weak", "shared_errors"])
def test_confidence_sets_hold_the_truth(method, scenario):
    given = simulate_instruments(scenario, n_loci=1000, n_instruments=20, seed=2)
    found = METHODS[method](given)
    table, reason = found.table, found.skipped["reason"]
    held = ((table["ci_low"] <= 0.4) & (table["ci_high"] >= 0.4)).sum() + reason.str.contains("no end").sum()
    # An empty set does not hold the truth. Monte-Carlo error 0.7 %.
    assert held / 1000 == pytest.approx(0.95, abs=0.02)


# Bad linkage


def test_a_matrix_of_another_shape_or_order_is_refused():
    given = everything()
    matrices = given.correlation
    for bad, said in (
        (matrices[:2], "a matrix a locus, 3; got 2"),
        ((matrices[1], matrices[0], matrices[2]), r"locus0 must have shape \(9, 9\); got \(20, 20\)"),
        ((matrices[0] + 0.1 * np.triu(np.ones((9, 9)), 1), *matrices[1:]), "must be symmetric"),
        ((2 * matrices[0], *matrices[1:]), "must be 1 on its diagonal"),
        ((np.where(np.eye(9) > 0, 1.0, np.nan), *matrices[1:]), "must be finite"),
    ):
        with pytest.raises(InputError, match=said):
            replace(given, correlation=bad)


def singular(n, rank):
    root = np.random.default_rng(0).normal(size=(n, rank))
    return np.corrcoef(root @ np.random.default_rng(1).normal(size=(rank, 400)))


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("k", [0, 4])
@pytest.mark.parametrize("method", sorted(USES_CORRELATION))
def test_linkage_that_cannot_be_inverted_is_a_reason(method, k):
    given = everything(k=k, sizes=(8, 8, 8, 8))
    negative = 0.9 * np.sign(np.subtract.outer(np.arange(8), np.arange(8)) % 3 - 0.5)
    negative = (negative + negative.T) / 2
    np.fill_diagonal(negative, 1.0)
    twins = matrix(8)
    twins[:, 1], twins[1, :] = twins[:, 0], twins[0, :]
    twins[1, 1] = 1.0
    given = replace(given, correlation=(matrix(8), singular(8, 3), negative, twins))
    given = replace(given, beta_outcome=0.4 * given.beta_exposure[:, 0])  # no set of effects is empty
    for one in (given, *(locus(given, i) for i in range(4))):
        found = METHODS[method](one)
        assert len(found) + len(found.skipped) == len(one.loci)
        for name, reason in zip(found.skipped["locus"], found.skipped["reason"], strict=True):
            if method == "max_likelihood" and k and name == "locus0":
                assert "use profile_score" in reason
            elif name == "locus2":
                assert "is not positive semi-definite: smallest eigenvalue -" in reason
            else:
                assert name in ("locus1", "locus3")
                assert "is singular: smallest eigenvalue" in reason
    if not (method == "max_likelihood" and k):
        # Components need no inverse.
        expected = ["locus0", "locus1", "locus3"] if method in ("ivw_pca", "pc_gmm") else ["locus0"]
        assert METHODS[method](given).table["locus"].tolist() == expected


@pytest.mark.parametrize("weights", ["marginal", "joint"])
def test_a_ridge_is_a_remedy(weights):
    given = replace(everything(sizes=(8,)), correlation=(singular(8, 3),))
    for method in (ivw_gls, egger_gls):
        assert len(method(given, weights=weights)) == 0
        assert len(method(given, weights=weights, ridge=0.05)) == 1
        whole = method(given, weights=weights, ridge=1.0).table
        none = method(replace(given, correlation=None), weights=weights).table
        assert whole[["beta", "se"]].to_numpy() == pytest.approx(none[["beta", "se"]].to_numpy(), rel=1e-9)


@pytest.mark.parametrize("method", sorted(USES_CORRELATION - {"max_likelihood"}))
def test_nearly_singular_linkage_gives_finite_numbers(method):
    given = everything(sizes=(8,))
    near = (1 - 1e-6) * singular(8, 3) + 1e-6 * np.eye(8)
    found = METHODS[method](replace(given, correlation=(near,)))
    assert len(found) + len(found.skipped) == 1
    assert np.isfinite(found.table[["beta", "se"]].to_numpy(float)).all()


def test_batches_under_linkage_equal_one_locus_at_a_time():
    given = everything()
    names = sorted(USES_CORRELATION - {"max_likelihood"})
    table = estimate_effects(given, methods=names).table
    for i in range(len(SIZES)):
        alone = estimate_effects(locus(given, i), methods=names).table
        ours = table[table["locus"] == given.loci[i]]
        assert ours["method"].tolist() == alone["method"].tolist()
        for name in ("beta", "se", "ci_low", "ci_high", "pvalue"):
            assert ours[name].to_numpy() == pytest.approx(alone[name].to_numpy(), rel=1e-7, abs=1e-12), name
