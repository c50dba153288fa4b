"""What Hail's linear mixed model has wrong, each as a test of ours: numbers as in the class's docstring."""

import threading

import numpy as np
import pytest
from scipy import stats

from deepmr.io.matrix_rows import write_rows
from deepmr.lmm import FitError, LinearMixedModel
from deepmr.population import project
from deepmr.population.reml import criterion_grid, solve
from tests.lmm.problems import least_squares, make_problem
from tests.lmm.test_model import A, X, Y, Z


def small(seed, n=20):
    """A response of nothing but noise, which one search in a thousand takes for something."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 30))
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    return rng.normal(size=n), x, z @ z.T / 30


def test_1_paths_follow_a_new_fit(tmp_path):
    model, p = LinearMixedModel.from_kinship(Y, X, Z @ Z.T)
    write_rows(tmp_path / "pa_t.npy", (p @ A).T)
    found = []
    for gamma in (2.0, 0.1):
        model.fit(np.log(gamma))
        found.append(model.fit_alternatives(tmp_path / "pa_t.npy").collect()[0].chi_sq)
    assert found == pytest.approx([0.570317, 5.149785], abs=1e-6)


def test_2_an_indefinite_kernel_is_refused_by_its_eigenvalue():
    k = np.diag([1.0, 0.7, 0.4, -0.05])
    with pytest.raises(ValueError, match=r"smallest eigenvalue is -0\.05"):
        LinearMixedModel.from_kinship(Y, X, k)
    with pytest.raises(ValueError, match=r"smallest eigenvalue is -0\.05"):
        LinearMixedModel(Y, X, np.diagonal(k).copy())


def test_3_an_optimum_at_a_bound_has_three_ways_on():
    y, x, z, a = make_problem(8, h=0.0)
    model, p = LinearMixedModel.from_kinship(y, x, z @ z.T)
    with pytest.raises(FitError, match=r"within 0\.001 of lower bound"):
        model.fit()
    held, _ = LinearMixedModel.from_kinship(y, x, z @ z.T, on_boundary="clamp")
    held.fit()
    assert (held.log_gamma, held.boundary) == (-8.0, "lower")
    assert np.isnan(held.h_sq_standard_error)
    plain, _ = LinearMixedModel.from_kinship(y, x, z @ z.T, on_boundary="ols")
    plain.fit()
    assert (plain.h_sq, plain.gamma, plain.log_gamma) == (0.0, 0.0, -np.inf)
    beta, se, rss, rss_1 = least_squares(y, x, a[:, 0])
    row = plain.fit_alternatives_numpy(p @ a).collect()[0]
    assert row.beta == pytest.approx(beta, rel=1e-9)
    assert row.se == pytest.approx(se, rel=1e-9)
    assert row.chi_sq == pytest.approx(60 * np.log(rss / rss_1), rel=1e-9)


@pytest.mark.parametrize(("seed", "caught_at"), [(1035, -0.3558), (1384, -3.0779)])
def test_4_a_lesser_minimum_does_not_catch_the_search(seed, caught_at):
    y, x, k = small(seed)
    model, _ = LinearMixedModel.from_kinship(y, x, k, on_boundary="clamp")
    model.fit()
    assert (model.log_gamma, model.boundary) == (8.0, "upper")
    near = [model.compute_neg_log_reml(caught_at + step) for step in (-0.3, 0.0, 0.3)]
    assert near[1] < min(near[0], near[2])  # there is a minimum, where one search from the middle of the bounds ends
    assert model.compute_neg_log_reml(8.0) < near[1] - 0.01


@pytest.mark.parametrize("kind", ["full", "low"])
def test_5_one_bad_marker_does_not_end_a_scan(kind):
    y, x, z, a = make_problem(2, effects=90 if kind == "full" else 20)
    model, p = LinearMixedModel.from_random_effects(y, x, z)
    model.fit()
    whole = (lambda a: a) if model.low_rank else (lambda a: None)
    good = model.fit_alternatives_numpy(p @ a, whole(a), return_pandas=True)
    bad = a.copy()
    bad[3, 1] = np.nan
    bad[:, 2] = 3 * x[:, 1] + 2
    bad[:, 3] = 0.0
    found = model.fit_alternatives_numpy(p @ bad, whole(bad), return_pandas=True)
    assert found["status"].tolist() == [
        "ok", "not_finite", "collinear", "monomorphic", "ok",
    ]  # fmt: skip
    np.testing.assert_allclose(found["chi_sq"][[0, 4]], good["chi_sq"][[0, 4]], rtol=1e-12)
    assert found.loc[1:3, ["beta", "sigma_sq", "chi_sq", "p_value", "se", "log10p"]].isna().all(axis=None)


def test_6_units_and_origin_of_the_response_do_not_matter_and_a_constant_one_is_named():
    y, x, z, a = make_problem(3)
    model, p = LinearMixedModel.from_kinship(y, x, z @ z.T)
    model.fit()
    far, _ = LinearMixedModel.from_kinship(1e3 * y + 1e8, x, z @ z.T)
    far.fit()
    assert far.h_sq == pytest.approx(model.h_sq, rel=1e-5)
    one, two = (m.fit_alternatives_numpy(p @ a, return_pandas=True) for m in (model, far))
    np.testing.assert_allclose(two["chi_sq"], one["chi_sq"], rtol=1e-5)
    with pytest.raises(ValueError, match="response is constant"):
        LinearMixedModel.from_kinship(np.full(60, 3.0), x, z @ z.T)


@pytest.mark.parametrize(("n", "fixed", "ratio"), [(1000, 5, 1.10), (200, 2, 1.29), (100, 5, 2.5)])
def test_7_the_f_test_is_there_where_chi_square_is_too_sure(n, fixed, ratio):
    rng = np.random.default_rng(n)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, fixed - 1))])
    q = np.linalg.qr(np.column_stack([x, rng.normal(size=(n, 2))]))[0]
    a, left = q[:, -2], q[:, -1]
    y = a * np.sqrt(30 / (n - fixed - 1)) + left  # of F = 30 for a
    model = LinearMixedModel(y, x, np.linspace(0.5, 1.5, n))
    model.fit(-np.inf)
    lrt, f = (model.fit_alternatives_numpy(a[:, None], test=test).collect()[0] for test in ("lrt", "f"))
    assert f.chi_sq == pytest.approx(30, rel=1e-6)
    assert f.p_value == pytest.approx(stats.f.sf(30, 1, n - fixed - 1), rel=1e-6)
    assert f.p_value / lrt.p_value == pytest.approx(ratio, rel=0.03)


def test_8_threads_may_share_a_model_and_a_failed_fit_leaves_it_unfitted():
    y, x, z, a = make_problem(4, markers=300)
    model, p = LinearMixedModel.from_kinship(y, x, z @ z.T)
    model.fit()
    expected = model.fit_alternatives_numpy(p @ a, return_pandas=True)["chi_sq"].to_numpy()
    found = {}

    def scan(k):
        for _ in range(5):
            model.compute_neg_log_reml(float(k))  # in Hail this writes into what the scan reads
            found[k] = model.fit_alternatives_numpy(p @ a, return_pandas=True)["chi_sq"].to_numpy()

    threads = [threading.Thread(target=scan, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(np.array_equal(values, expected) for values in found.values())
    with pytest.raises(FitError, match="failed to fit"):
        model.fit(maxiter=1)
    assert model.h_sq is model.beta is model.h_sq_standard_error is None
    assert not model.optimize_result.success
    with pytest.raises(FitError, match="null model is not fit"):
        model.fit_alternatives_numpy(p @ a)


def test_9_the_criterion_is_bounded_where_the_likelihood_is_not():
    y, x, z, _ = make_problem(5, n=20, effects=30, fixed=1)
    centred = z - z.mean(0)  # K has no variance along the intercept
    s, u = np.linalg.eigh(centred @ centred.T)
    s = np.maximum(s, 0.0)
    log_gamma = np.array([0.0, 20.0, 30.0, 40.0])
    model = project((u.T @ y)[:, None], u.T @ x, s)
    restricted = criterion_grid(model, log_gamma)[:, 0]
    assert restricted[1:] == pytest.approx(restricted[3], abs=1e-4)  # level, as K alone explains the response
    rss = np.array([solve(model, np.array([at])).rss[0] for at in log_gamma])
    volume = np.array([np.log1p(np.exp(at) * s).sum() for at in log_gamma])
    unrestricted = 0.5 * (volume + 20 * np.log(rss / 20))
    assert np.diff(unrestricted[1:]) == pytest.approx([-5.0, -5.0], abs=1e-3)  # falls for ever


def test_10_h2_is_of_a_kernel_of_mean_diagonal_one_where_asked():
    y, x, z, _ = make_problem(6)
    k = z @ z.T
    scaled, _ = LinearMixedModel.from_kinship(y, x, k, scaling="mean_diagonal")
    scaled.fit()
    for factor in (0.1, 1.0, 40.0):
        model, _ = LinearMixedModel.from_kinship(y, x, factor * k)
        model.fit(bounds=(-10.0, 10.0))
        assert model.scaled_h_sq() == pytest.approx((scaled.h_sq, scaled.h_sq_standard_error), rel=1e-6)
    assert model.h_sq < 0.5 * scaled.h_sq
    assert scaled.scaled_h_sq() == pytest.approx((scaled.h_sq, scaled.h_sq_standard_error), rel=1e-9)


def test_11_the_standard_error_carries_no_noise():
    y, x, z, _ = make_problem(7)
    errors = {"analytic": [], "hail": []}
    for method, found in errors.items():
        for sign in (1, -1):
            flip = np.where(np.arange(90) % 3, 1, sign)
            model, _ = LinearMixedModel.from_kinship(y + sign, x, (z * flip) @ (z * flip).T, se_method=method)
            model.fit()
            found.append(model.h_sq_standard_error)
    assert errors["analytic"][0] == pytest.approx(errors["analytic"][1], rel=1e-9)
    assert errors["hail"] == pytest.approx(errors["analytic"], rel=1e-4)


def test_12_the_example_of_the_documentation():
    k = np.array([
        [1.0, -0.8727875, 0.96397335, 0.94512946],
        [-0.8727875, 1.0, -0.93036112, -0.97320323],
        [0.96397335, -0.93036112, 1.0, 0.98294169],
        [0.94512946, -0.97320323, 0.98294169, 1.0],
    ])  # fmt: skip
    model, p = LinearMixedModel.from_kinship(Y, X, k)
    model.fit()
    assert model.h_sq == pytest.approx(0.0206, abs=5e-5)  # printed there: 0.2525
    grid = np.linspace(-8, 8, 401)
    assert min(model.compute_neg_log_reml(at) for at in grid) >= model.optimize_result.fun
    truncated = LinearMixedModel(p[:2] @ Y, p[:2] @ X, model.s[:2], Y, X)
    truncated.fit()  # there the whole model was fitted again
    assert truncated.low_rank
    assert truncated.h_sq != pytest.approx(model.h_sq, rel=1e-6)
