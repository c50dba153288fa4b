"""Inputs that are of no use, each with an error or a status that says so."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from deepmr.errors import InputError
from deepmr.io.matrix_rows import write_rows
from deepmr.lmm import FitError, LinearMixedModel, linear_mixed_model, linear_mixed_regression_rows
from deepmr.lmm.fitting import h_sq_error
from tests.lmm.problems import make_problem
from tests.lmm.test_model import X, Y, Z


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": Y}, "for low-rank, set both y and x"),
        ({"py": Y[:3]}, "py and s must have the same size"),
        ({"px": X[:3]}, "px must have the same number of rows"),
        ({"py": X}, "py must have 1 dimensions"),
        ({"y": Y, "x": X}, "size of y must be larger"),
        ({"y": np.ones(5), "x": X}, "x must have the same number of rows"),
        ({"y": np.ones(5), "x": np.ones((5, 3))}, "same number of columns"),
        ({"px": np.eye(4)}, "4 observations with 4 fixed effects implies 0 degrees of freedom"),
        ({"py": Y * np.nan}, "py must be finite"),
        ({"px": np.column_stack([X[:, 1], X[:, 1]])}, "column 2 is zero or a sum"),
        ({"px": X @ [[1, 2], [0, 0]], "names": ("age", "years")}, "years is zero or a sum"),
        ({"px": X.astype(object)[:, :0].astype(float), "py": np.zeros(4)}, "constant"),
        ({"py": X @ [2.0, 3.0]}, "constant, or a sum of covariates"),
    ],
)
def test_arrays_that_make_no_model(change, message):
    arrays = {"py": Y, "px": X, "s": np.array([3.0, 2.0, 1.0, 0.0])}
    with pytest.raises(ValueError, match=message) as raised:
        LinearMixedModel(**(arrays | change))
    assert isinstance(raised.value, InputError)
    with pytest.raises(AssertionError, match=message):  # as the first version had it
        LinearMixedModel(**(arrays | change), compat="2018")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"compat": "0.2.92"}, "compat"),
        ({"on_boundary": "x"}, "on_boundary"),
        ({"se_method": "x"}, "se_method"),
    ],
)
def test_options(option, message):
    with pytest.raises((ValueError, TypeCheckError), match=message):
        LinearMixedModel(Y, X, np.ones(4), **option)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Y, X, np.ones((4, 3))), "square"),
        ((Y[:3], X, np.eye(4)), "'y' and 'k' must have the same number of rows"),
        ((Y, X[:3], np.eye(4)), "'x' and 'k' must have the same number of rows"),
        ((Y, X, np.full((4, 4), np.nan)), "k must be finite"),
    ],
)
def test_kinship(arguments, message):
    with pytest.raises(ValueError, match=message):
        LinearMixedModel.from_kinship(*arguments)


def test_arrays_of_a_model_stay():
    model, _ = LinearMixedModel.from_kinship(Y, X, Z @ Z.T)
    with pytest.raises(AttributeError, match="s of a model cannot be changed"):
        model.s = model.s * 2
    with pytest.raises(ValueError, match="read-only"):
        model.px[0, 0] = 1.0


def test_only_the_lower_triangle_of_a_kinship_is_read():
    k = Z @ Z.T
    upper = np.tril(k) + np.triu(np.full((4, 4), 7.0), 1)
    np.testing.assert_array_equal(
        LinearMixedModel.from_kinship(Y, X, upper)[0].s, LinearMixedModel.from_kinship(Y, X, k)[0].s
    )


def test_random_effects():
    with pytest.raises(ValueError, match="at least 1e-16"):
        LinearMixedModel.from_random_effects(Y, X, Z, max_condition_number=0.0)
    with pytest.raises(ValueError, match="'y' and 'z' must have the same number of rows"):
        LinearMixedModel.from_random_effects(Y[:3], X, Z)
    with pytest.raises(ValueError, match="all be zero"):
        LinearMixedModel.from_random_effects(Y, X, 0 * Z)
    twice = np.column_stack([Z[:, :1], Z[:, :1], Z[:, 2]])
    assert LinearMixedModel.from_random_effects(Y, X, twice)[0].r == 2
    assert LinearMixedModel.from_random_effects(Y, X, Z, max_condition_number=0.5)[0].r == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"log_gamma": np.nan}, "log_gamma must be a number"),
        ({"log_gamma": np.inf}, "log_gamma must be a number"),
        ({"bounds": (3.0, -3.0)}, "bounds must be two finite numbers"),
    ],
)
def test_fit(arguments, message):
    model, _ = LinearMixedModel.from_kinship(Y, X, Z @ Z.T)
    with pytest.raises(ValueError, match=message):
        model.fit(**arguments)


@pytest.mark.parametrize(("compat", "near"), [("0.2.93", "0.001"), ("2018", "0.01")])
def test_margin_of_a_bound(compat, near):
    model, p = LinearMixedModel.from_random_effects(Y, X, Z, compat=compat)
    model.fit()
    inside = LinearMixedModel(p @ Y, p @ X, model.s, Y, X, compat=compat)
    bounds = (-8.0, model.log_gamma + 0.005)
    if compat == "2018":
        with pytest.raises(FitError, match=f"within {near} of upper bound"):
            inside.fit(bounds=bounds)
    else:
        inside.fit(bounds=bounds)
    with pytest.raises(FitError, match=f"within {near} of lower bound"):
        inside.fit(bounds=(model.log_gamma + 0.5, 8.0))


def test_hails_standard_error_needs_an_optimum():
    model, _ = LinearMixedModel.from_random_effects(Y, X, Z)
    with pytest.raises(FitError, match=r"lower beside it: .* at 0\.4999"):
        h_sq_error(model._projected, 0.5, "hail")


def test_upper_bound_stays_where_least_squares_take_the_lower():
    model, p = LinearMixedModel.from_random_effects(Y, X, Z)
    model.fit()
    held = LinearMixedModel(p @ Y, p @ X, model.s, Y, X, on_boundary="ols")
    held.fit(bounds=(-8.0, -3.0))
    assert (held.log_gamma, held.boundary) == (-3.0, "upper")


def test_alternatives_need_a_fit_and_files_that_fit(tmp_path):
    y, x, z, a = make_problem(effects=20)
    model, p = LinearMixedModel.from_random_effects(y, x, z)
    write_rows(tmp_path / "pa_t", (p @ a).T)
    write_rows(tmp_path / "a_t", a.T)
    with pytest.raises(FitError, match="null model is not fit"):
        model.fit_alternatives(tmp_path / "pa_t", tmp_path / "a_t")
    model.fit()
    for arguments, message in (
        ((tmp_path / "pa_t",), "low-rank so a_t is required"),
        ((tmp_path / "pa_t", tmp_path / "a_t", 0), "partition_size must be positive"),
        ((tmp_path / "a_t", tmp_path / "a_t"), "20 columns are needed"),
        ((tmp_path / "pa_t", tmp_path / "pa_t"), "markers by samples"),
        ((tmp_path / "none", tmp_path / "a_t"), "cannot be read"),
    ):
        with pytest.raises(InputError, match=message):
            model.fit_alternatives(*arguments)
    with pytest.raises(ValueError, match="pa must have 20 rows"):
        model.fit_alternatives_numpy(a, a)
    with pytest.raises(ValueError, match="low-rank so a of shape"):
        model.fit_alternatives_numpy(p @ a)
    full = LinearMixedModel(y, x, np.linspace(0, 2, 60))
    full.fit(0.0)
    with pytest.raises(ValueError, match="full-rank so a_t must not be set"):
        full.fit_alternatives(tmp_path / "pa_t", tmp_path / "a_t")
    with pytest.raises(ValueError, match="fixed effects implies 0 degrees"):
        LinearMixedModel(Y, np.column_stack([X, [1.0, 0, 0, 0]]), np.ones(4)).fit_alternatives_numpy(Y[:, None])
    assert len(full.fit_alternatives_numpy(np.empty((60, 0)))) == 0


def test_a_marker_that_explains_everything_is_named():
    y, x, _, _ = make_problem()
    model = LinearMixedModel(y, x, np.linspace(0, 2, 60))
    model.fit(0.0)
    row = model.fit_alternatives_numpy((y + x @ [2.0, 1.0])[:, None]).collect()[0]
    assert row.status == "no_variance"
    assert np.isnan(row.beta)


def test_p_is_stored_and_checked(tmp_path):
    path = tmp_path / "p.h5"
    model, p = LinearMixedModel.from_kinship(Y, X, Z @ Z.T, p_path=path)
    assert model.p_path == path
    LinearMixedModel(p @ Y, p @ X, model.s, p_path=str(path))
    with pytest.raises(InputError, match="exists"):
        LinearMixedModel.from_kinship(Y, X, Z @ Z.T, p_path=path)
    LinearMixedModel.from_random_effects(Y, X, Z, path, overwrite=True)
    with pytest.raises(ValueError, match=r"'p_path' must have shape \(4, 4\)"):
        LinearMixedModel(p @ Y, p @ X, model.s, p_path=path)


def test_model_from_genotypes():
    with pytest.raises(ValueError, match="exactly one of 'z_t' and 'k'"):
        linear_mixed_model(Y, [1])
    with pytest.raises(ValueError, match="at least one fixed effect"):
        linear_mixed_model(Y, [], k=np.eye(4))
    z_t = Z.T.copy()
    z_t[1, 0] = np.nan
    with pytest.raises(ValueError, match="first in row 1"):
        linear_mixed_model(Y, [1, X[:, 1]], z_t, mean_impute=False)
    model, _ = linear_mixed_model(Y, X, z_t)
    filled = np.where(np.isnan(z_t), np.nanmean(z_t[1]), z_t)
    np.testing.assert_allclose(model.s, linear_mixed_model(Y, X, filled)[0].s, rtol=1e-9)
    raw, _ = linear_mixed_model(Y, X, Z.T, standardize=False)
    assert raw._same(LinearMixedModel.from_random_effects(Y, X, Z)[0])


@pytest.mark.parametrize("effects", [90, 20])
def test_regression_of_rows(effects, tmp_path):
    y, x, z, a = make_problem(effects=effects, markers=6)
    model, p = LinearMixedModel.from_random_effects(y, x, z, p_path=tmp_path / "p.npy")
    with pytest.raises(FitError, match="null model is not fit"):
        linear_mixed_regression_rows(a.T, model)
    model.fit()
    found = model.fit_alternatives_numpy(p @ a, a if model.low_rank else None, return_pandas=True)
    rows = a.T.copy()
    rows[1, :6] = np.nan
    rows[2] = np.nan
    rows[3] = 2.0
    rows[4] = x[:, 1] + 1
    rows[5, 0] = np.inf
    tested = linear_mixed_regression_rows(rows, model, partition_size=4)
    assert tested["status"].tolist() == ["ok", "ok", "all_missing", "monomorphic", "collinear", "not_finite"]
    assert tested["chi_sq"][0] == pytest.approx(found["chi_sq"][0], rel=1e-9)
    assert tested["n"].tolist()[:3] == [60.0, 54.0, 0.0]
    assert tested["eaf"][0] == pytest.approx(a[:, 0].mean() / 2)
    write_rows(tmp_path / "rows.npy", rows)
    again = linear_mixed_regression_rows(tmp_path / "rows.npy", model, mean_impute=False)
    assert again["status"].tolist()[:2] == ["ok", "too_missing"]
    for arguments, message in (
        ({"genotypes": a[:9].T}, "expects 60 samples"),
        ({"genotypes": a.T, "partition_size": 0}, "partition_size"),
        ({"genotypes": a.T, "pass_through": found[:2]}, "a row a marker, 6"),
        ({"genotypes": a.T, "model": LinearMixedModel(y, x, np.ones(60))}, "'p_path' was not set"),
    ):
        with pytest.raises(ValueError, match=message):
            linear_mixed_regression_rows(**({"model": model} | arguments))


def test_a_model_without_an_intercept_is_tested_with_markers_as_they_are(tmp_path):
    y, x, z, a = make_problem(markers=3)
    model, p = LinearMixedModel.from_kinship(y, x[:, 1:], z @ z.T, p_path=tmp_path / "p.npy")
    model.fit()
    expected = model.fit_alternatives_numpy(p @ a, return_pandas=True)
    found = linear_mixed_regression_rows(a.T, model)
    np.testing.assert_allclose(found["beta"], expected["beta"], rtol=1e-10)


def test_at_a_bound_no_error_of_h2_is_claimed_whatever_the_scale_of_the_kernel():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(60, 200))
    for seed in range(20):
        y = np.random.default_rng(seed).normal(size=60)
        model, _ = LinearMixedModel.from_kinship(y, np.ones((60, 1)), z @ z.T / 200, on_boundary="clamp")
        model.fit()
        if model.boundary == "lower":
            assert np.isnan(model.h_sq_standard_error)
            assert np.isnan(model.scaled_h_sq()[1])


def test_the_error_of_scaled_h2_is_by_the_method_of_the_model():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(60, 20))
    y = z @ rng.normal(size=20) / 4 + rng.normal(size=60)
    errors = []
    for method in ("analytic", "hail"):
        model, _ = LinearMixedModel.from_kinship(y, np.ones((60, 1)), z @ z.T / 20, se_method=method)
        model.fit()
        h_sq, se = model.scaled_h_sq()
        share = h_sq * (1 - h_sq) / (model.h_sq * (1 - model.h_sq))
        assert se == pytest.approx(model.h_sq_standard_error * share, rel=1e-12)
        errors.append(se)
    assert errors[0] == pytest.approx(errors[1], rel=1e-4)


def test_one_gap_in_a_rotated_marker_is_not_called_a_marker_without_genotypes():
    rng = np.random.default_rng(3)
    z = rng.normal(size=(30, 40))
    model, p = LinearMixedModel.from_kinship(z[:, 0], np.ones((30, 1)), z @ z.T / 40, on_boundary="clamp")
    model.fit()
    markers = rng.normal(size=(30, 2))
    markers[4, 0] = np.nan
    assert model.fit_alternatives_numpy(p @ markers, return_pandas=True)["status"].tolist() == ["not_finite", "ok"]


def test_a_model_without_fixed_effects():
    rng = np.random.default_rng(4)
    z = rng.normal(size=(30, 40))
    y = z @ rng.normal(size=40) / 6 + rng.normal(size=30)
    model, _ = LinearMixedModel.from_kinship(y, np.ones((30, 0)), z @ z.T / 40, on_boundary="clamp")
    model.fit()
    v = np.eye(30) + model.gamma * z @ z.T / 40
    assert model.tau_sq == pytest.approx(y @ np.linalg.solve(v, y) / 30)
