"""Errors that are shared between instruments and traits: the kernel against dense matrices, methods by simulation."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.mr.debiased import debiased_ivw
from deepmr.mr.debiased_gls import debiased_gls
from deepmr.mr.errors import FLOOR, error_covariance, joint_errors
from deepmr.mr.gls import ivw_gls
from deepmr.mr.ivw import ivw_random
from deepmr.mr.joint_profiles import mixtures
from deepmr.mr.max_likelihood import max_likelihood
from deepmr.mr.profile_score import profile_score
from deepmr.mr.raps import raps
from deepmr.packed import blocks
from tests.mr.builders import locus, pack, simulated


def shared(n_loci=2000, seed=0, *, n=40, truth=0.4, strength=3.2, overlap=0.6):
    """Loci whose errors share three factors, half of their variance; errors of x and y correlate by `overlap`."""
    rng = np.random.default_rng(seed)
    rows = n_loci * n
    a, b = rng.normal(size=(2, 3, rows))
    a /= np.linalg.norm(a, axis=0)
    b -= (a * b).sum(axis=0) * a
    b /= np.linalg.norm(b, axis=0)
    factors = np.sqrt(0.5) * np.stack([a, overlap * a + np.sqrt(1 - overlap**2) * b], axis=-1)
    common = np.repeat(rng.normal(size=(3, n_loci)), n, axis=1)[..., None]
    own = rng.normal(size=(2, rows))
    own[1] = overlap * own[0] + np.sqrt(1 - overlap**2) * own[1]
    u, v = (factors * common).sum(axis=0).T + np.sqrt(0.5) * own
    g = rng.normal(size=n)
    g = np.tile(g * np.sqrt((strength - 1) / np.mean(g**2)), n_loci)
    return pack(g + u, truth * g + v, 1.0, 1.0, counts=[n] * n_loci, factors=factors, overlap=overlap)


@pytest.mark.parametrize("linked", [False, True])
def test_structured_matrices_equal_dense_ones(linked):
    given = shared(2, n=7)
    if linked:
        given = replace(given, correlation=tuple(0.3 ** np.abs(np.subtract.outer(range(7), range(7))) for _ in "ab"))
    block = next(blocks(given.offsets))
    errors = joint_errors(given, block)
    exposure, residual = mixtures(np.array([0.3, -0.7]))
    v, c = errors.between(residual, residual), errors.between(exposure, residual)
    for i, b in enumerate([0.3, -0.7]):
        rows = slice(7 * i, 7 * i + 7)
        f = given.error_factors[:, rows]
        own = np.sqrt(1 - (f**2).sum(axis=0))  # standard errors are 1
        r = given.correlation[i] if linked else np.eye(7)
        xx, yy, xy = (
            np.outer(own[:, s], own[:, t]) * r * (1 if s == t else 0.6) + f[:, :, s].T @ f[:, :, t]
            for s, t in ((0, 0), (1, 1), (0, 1))
        )
        dense_v, dense_c = yy + b**2 * xx - b * (xy + xy.T), xy - b * xx
        assert v.to_dense()[i] == pytest.approx(dense_v)
        assert c.to_dense()[i] == pytest.approx(dense_c)
        assert c.turned().to_dense()[i] == pytest.approx(dense_c.T)
        inverse = np.linalg.inv(dense_v)
        assert v.inverse().to_dense()[i] == pytest.approx(inverse)
        assert v.log_determinant()[i] == pytest.approx(np.linalg.slogdet(dense_v)[1])
        assert v.inverse().after(c).to_dense()[i] == pytest.approx(inverse @ dense_c)
        assert v.inverse().after(c).trace()[i] == pytest.approx(np.trace(inverse @ dense_c))
        assert v.times(given.beta_exposure[rows][None].repeat(2, 0))[i] == pytest.approx(
            dense_v @ given.beta_exposure[rows]
        )


def test_error_that_is_all_shared_keeps_a_floor():
    given = shared(1, n=5)
    factors = given.error_factors / np.sqrt((given.error_factors**2).sum(axis=0))
    errors = joint_errors(replace(given, error_factors=factors), next(blocks(given.offsets)))
    assert np.diagonal(errors.own[0], axis1=-2, axis2=-1) == pytest.approx(np.full((5, 2), FLOOR))


def test_debiased_gls_by_hand():
    given = pack([1.0, 2.0, -1.5], [0.5, 1.4, -0.6], 0.5, 0.2, overlap=0.3)
    row = debiased_gls(given, overdispersion=False).table.iloc[0]
    w, xx, xy = 25.0, 0.25, 0.3 * 0.5 * 0.2
    signal = w * (7.25 - 3 * xx)
    b = w * (0.5 + 2.8 + 0.9 - 3 * xy) / signal
    v, c = 0.04 + b**2 * xx - 2 * b * xy, xy - b * xx
    assert row["beta"] == pytest.approx(b)
    assert row["se"] == pytest.approx(np.sqrt(w**2 * (v * 7.25 + 3 * c**2)) / signal)
    assert row["strength"] == pytest.approx(signal / np.sqrt(2 * 3 * (w * xx) ** 2))


def test_independent_errors_make_score_likelihood_and_raps_one():
    given = replace(simulated(noise=0.3), error_corr=np.array([[1.0, 0.4], [0.4, 1.0]]))
    score = profile_score(given, overdispersion=False).table
    for other in (max_likelihood(given).table, raps(given, loss="l2", overdispersion=False).table):
        assert score["beta"].to_numpy() == pytest.approx(other["beta"].to_numpy(), rel=1e-10)


def test_unlinked_instruments_under_a_matrix_are_independent():
    given = simulated(noise=0.3)
    matrices = tuple(np.eye(n) for n in given.counts)
    for method in (max_likelihood, debiased_gls, profile_score):
        plain, linked = method(given).table, method(replace(given, correlation=matrices)).table
        assert linked[["beta", "se"]].to_numpy() == pytest.approx(plain[["beta", "se"]].to_numpy(), rel=1e-8)


def test_profile_score_minimises_the_definition():
    given = shared(3)
    table = profile_score(given, overdispersion=False).table
    for i in range(3):
        one = locus(given, i)
        f = one.error_factors
        own = np.sqrt(1 - (f**2).sum(axis=0))

        def q(b, one=one, f=f, own=own):
            shift, a = f[:, :, 1] - b * f[:, :, 0], own * [-b, 1]
            v = np.diag((a**2).sum(axis=1) + 1.2 * a.prod(axis=1)) + shift.T @ shift
            e = one.beta_outcome - b * one.beta_exposure[:, 0]
            return e @ np.linalg.solve(v, e)

        best = table["beta"][i]
        assert q(best) == pytest.approx(table["q"][i])
        assert q(best) <= min(q(b) for b in np.linspace(-5, 5, 401))
        assert (q(best + 1e-4) - q(best - 1e-4)) / 2e-4 == pytest.approx(0, abs=1e-4)


@pytest.mark.slow
def test_correlated_errors_bias_ivw_but_not_these():
    given = shared()
    for biased in (ivw_random(given), ivw_gls(given)):
        assert biased.table["beta"].mean() > 0.45
    for method, options in (
        (debiased_gls, {"overdispersion": False}),
        (debiased_gls, {"weights": "simple", "overdispersion": False}),
        (profile_score, {"overdispersion": False}),
        (profile_score, {}),
        (profile_score, {"loss": "huber"}),
        (profile_score, {"loss": "tukey"}),
    ):
        table = method(given, **options).table
        assert len(table) == 2000
        error = table["beta"] - 0.4
        # Monte-Carlo error of the mean is 0.0025, of coverage 0.5 %; the ratio keeps a small bias at this strength.
        assert abs(error.mean()) < 0.02
        assert table["se"].median() / error.std() == pytest.approx(1.0, abs=0.15)
        assert np.mean(np.abs(error) < 1.96 * table["se"]) == pytest.approx(0.955, abs=0.02)


def test_members_make_errors_of_both_effects_covary():
    given = shared(3)
    f, own = given.error_factors, 1 - (given.error_factors**2).sum(axis=0)
    exact = 0.6 * np.sqrt(own.prod(axis=1)) + f.prod(axis=2).sum(axis=0)
    assert error_covariance(given) == pytest.approx(exact)
    assert error_covariance(replace(given, error_factors=None)) == pytest.approx(0.6)
    # What debiasing takes out of the sums: without the members' covariance the estimate stays far too high.
    many = replace(shared(300, seed=4), error_corr=None)
    assert debiased_ivw(many).table["beta"].median() == pytest.approx(
        debiased_gls(many, weights="simple").table["beta"].median(), abs=1e-9
    )


@pytest.mark.parametrize("overlap", [-0.6, 0.0, 0.6])
def test_joint_weights_have_the_bias_of_the_formula(overlap):
    n = 300
    given = shared(n, overlap=overlap)
    signal, noise, mixed = np.zeros((3, n))
    for i in range(n):
        one = locus(given, i)
        f, x = one.error_factors, one.beta_exposure[:, 0]
        own = 1 - (f**2).sum(axis=0)  # standard errors are 1
        w = np.linalg.inv(np.diag(own[:, 1]) + f[:, :, 1].T @ f[:, :, 1])
        noise[i] = np.trace(w @ (np.diag(own[:, 0]) + f[:, :, 0].T @ f[:, :, 0]))
        mixed[i] = np.trace(w @ (overlap * np.diag(np.sqrt(own.prod(axis=1))) + f[:, :, 0].T @ f[:, :, 1]))
        signal[i] = x @ w @ x - noise[i]
    expected = (0.4 * signal + mixed).mean() / (signal + noise).mean()
    found = ivw_gls(given, weights="joint").table["beta"]
    assert found.mean() == pytest.approx(expected, abs=4 * found.std() / np.sqrt(n) + 0.01)
    assert overlap > 0 or expected < 0.3


@pytest.mark.slow
def test_a_tenth_of_outliers_leaves_the_robust_score_in_place():
    given = shared(1000)
    rng = np.random.default_rng(1)
    wild = 8.0 * rng.choice([-1, 1], 40_000) * (rng.random(40_000) < 0.1)
    given = replace(given, beta_outcome=given.beta_outcome + wild)
    spread = {}
    for loss in ("l2", "huber", "tukey"):
        table = profile_score(given, loss=loss).table
        error = table["beta"] - 0.4
        spread[loss] = np.median(np.abs(error))
        covered = np.mean((table["ci_low"] <= 0.4) & (table["ci_high"] >= 0.4))
        # Outliers widen tau2, and so the intervals of the robust ones, by more than they widen the estimates.
        assert covered >= 0.93, loss
        assert len(table) >= 990
    assert spread["tukey"] < spread["huber"] < 0.75 * spread["l2"]


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["l2", "huber"])
def test_the_standard_error_counts_that_tau2_is_estimated(loss):
    given = shared(1000, strength=6)
    rng = np.random.default_rng(2)
    given = replace(given, beta_outcome=given.beta_outcome + rng.normal(size=40_000))
    table = profile_score(given, loss=loss).table
    error = table["beta"] - 0.4
    assert table["se"].median() / error.std() == pytest.approx(1.0, abs=0.1)
    assert np.mean(np.abs(error) < 1.96 * table["se"]) == pytest.approx(0.95, abs=0.02)
