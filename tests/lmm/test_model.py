"""Hail's own unit tests of its class, in our words: the same numbers at the same tolerances."""

import h5py
import numpy as np
import pandas as pd
import pytest

from deepmr.io.matrix_rows import write_rows
from deepmr.lmm import FitError, LinearMixedModel, fit_many, linear_mixed_model, linear_mixed_regression_rows

Y = np.array([0.0, 1.0, 8.0, 9.0])
X = np.array([[1.0, 0.0], [1.0, 2.0], [1.0, 1.0], [1.0, 4.0]])
Z = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 2.0], [1.0, 2.0, 4.0], [2.0, 4.0, 8.0]])
A = np.array([[1.0], [0.0], [1.0], [0.0]])
GAMMA = 2.0

H_SQ = 0.14276125
BETA = [0.012202061, 0.037718282, -0.033572693, 0.29171541, -0.045644170]
P_VALUE = [0.84543084, 0.57596760, 0.58788517, 1.4057279e-06, 0.46578204]


def by_algebra():
    """Beta, sigma_sq, criterion, and beta and chi_sq of the alternative, by matrices of four samples."""
    v = Z @ Z.T + np.eye(4) / GAMMA
    inverse = np.linalg.inv(v)

    def least_squares(x):
        beta = np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ Y)
        return beta, (Y - x @ beta) @ inverse @ (Y - x @ beta)

    beta, rss = least_squares(X)
    larger, rss_1 = least_squares(np.hstack([A, X]))
    whole = rss / 2 * v
    value = 0.5 * (np.linalg.slogdet(whole)[1] + np.linalg.slogdet(X.T @ np.linalg.inv(whole) @ X)[1])
    return beta, rss / 2, value, larger[0], 4 * np.log(rss / rss_1)


@pytest.fixture
def synthetic(shared_data):
    """Genotypes (samples, variants) by chromosome, response and fixed effects of FaST-LMM's synthetic set."""
    bed_reader = pytest.importorskip("bed_reader")
    folder = shared_data / "lmm" / "fastlmm_synth250"
    if not folder.is_dir():
        pytest.skip("FaST-LMM's synthetic set is not beside the checkout")
    with bed_reader.open_bed(folder / "fastlmmTest.bed") as bed:
        dosages, chrom, samples = bed.read(dtype="float64"), bed.chromosome, bed.iid
    tables = [pd.read_csv(folder / f"fastlmm{name}.txt", sep=r"\s+", header=None) for name in ("Pheno", "Cov")]
    y, covariate = (table.set_index(1)[2].loc[samples].to_numpy() for table in tables)
    return {c: dosages[:, chrom == c] for c in ("1", "3")}, y, np.column_stack([np.ones(len(y)), covariate])


def unit_columns(g):
    centred = g - g.mean(0)
    length = np.linalg.norm(centred, axis=0)
    return centred[:, length > 0] / length[length > 0]


def full_rank(g, y, x):
    s, u = np.linalg.eigh(g @ g.T * (len(y) / 1000))
    return LinearMixedModel(u.T @ y, u.T @ x, s), u.T


def low_rank(g, y, x):
    s, v = np.linalg.eigh(g.T @ g)
    kept = s > 1e-10
    p = (g @ (v[:, kept] / np.sqrt(s[kept]))).T
    return LinearMixedModel(p @ y, p @ x, s[kept] * (len(y) / 1000), y, x), p


@pytest.mark.parametrize("rank", ["full", "low"])
def test_four_samples_by_algebra(rank, tmp_path):
    beta, sigma_sq, value, larger, chi_sq = by_algebra()
    model, p = (
        LinearMixedModel.from_kinship(Y, X, Z @ Z.T)
        if rank == "full"
        else LinearMixedModel.from_random_effects(Y, X, Z)
    )
    assert model.low_rank == (rank == "low")
    assert (model.n, model.f, model.r) == (4, 2, 4 if rank == "full" else 3)
    model.fit(np.log(GAMMA))
    np.testing.assert_allclose(model.beta, beta, rtol=1e-9)
    assert model.sigma_sq == pytest.approx(sigma_sq, rel=1e-9)
    assert model.tau_sq == pytest.approx(sigma_sq / GAMMA, rel=1e-9)
    assert model.compute_neg_log_reml(np.log(GAMMA)) == pytest.approx(value, rel=1e-9)
    assert model.h_sq == pytest.approx(2 / 3)
    assert model.h_sq_standard_error is None
    write_rows(tmp_path / "pa_t", (p @ A).T)
    write_rows(tmp_path / "a_t.h5", A.T)
    low = rank == "low"
    for found in (
        model.fit_alternatives_numpy(p @ A, A if low else None),
        model.fit_alternatives(str(tmp_path / "pa_t"), tmp_path / "a_t.h5" if low else None),
    ):
        row = found.collect()[0]
        assert (row.idx, row.status) == (0, "ok")
        assert row.beta == pytest.approx(larger, rel=1e-9)
        assert row.chi_sq == pytest.approx(chi_sq, rel=1e-9)
        # Its standard error follows from what Hail gives.
        assert row.se == pytest.approx(abs(row.beta) / np.sqrt(np.expm1(row.chi_sq / 4)), rel=1e-9)
        assert row.log10p == pytest.approx(-np.log10(row.p_value))


def test_models_are_the_same_up_to_the_sign_of_eigenvectors():
    model, p = LinearMixedModel.from_kinship(Y, X, Z @ Z.T)
    s, u = np.linalg.eigh(Z @ Z.T)
    turned = u.T[::-1] * np.array([1, -1, 1, -1])[:, None]
    assert model._same(LinearMixedModel(turned @ Y, turned @ X, s[::-1]))
    assert not model._same(LinearMixedModel(p @ (Y + np.eye(4)[3]), p @ X, model.s))
    assert not model._same(LinearMixedModel.from_random_effects(Y, X, Z)[0])


@pytest.mark.parametrize("make", [full_rank, low_rank])
def test_fastlmm_synthetic(make, synthetic, tmp_path):
    genotypes, y, x = synthetic
    a = unit_columns(genotypes["3"][:, :5]) * np.sqrt(250)
    model, p = make(unit_columns(genotypes["1"]), y, x)
    model.fit()
    assert np.isclose(model.h_sq, H_SQ)
    assert np.isclose(model.h_sq_standard_error, 0.13770773)
    likelihood = model.h_sq_normalized_lkhd()
    assert likelihood.shape == (101,)
    assert np.isnan(likelihood[[0, 100]]).all()
    assert int(np.nanargmax(likelihood)) in {14, 15}
    assert np.isclose(likelihood[1:-1].sum(), 1.0)
    model.fit(log_gamma=np.log(H_SQ / (1 - H_SQ)))
    whole = a if model.low_rank else None
    write_rows(tmp_path / "pa_t.npy", (p @ a).T)
    write_rows(tmp_path / "a_t.npy", a.T)
    path = tmp_path / "a_t.npy" if model.low_rank else None
    for found in (
        model.fit_alternatives_numpy(p @ a, whole, return_pandas=True),
        model.fit_alternatives(tmp_path / "pa_t.npy", path, partition_size=2).to_pandas(),
    ):
        np.testing.assert_allclose(found["beta"], BETA, rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(found["p_value"], P_VALUE, rtol=1e-5, atol=1e-8)
    model, _ = make(unit_columns(genotypes["3"]), y, x)
    model.fit()
    assert np.isclose(model.h_sq, 0.36733240)
    assert np.isclose(model.h_sq_standard_error, 0.17409641)


@pytest.mark.parametrize(
    ("markers", "h_sq", "beta", "p_value"),
    [
        (1000, H_SQ, BETA, P_VALUE),
        (
            200,
            0.10001626,
            [0.0073201542, 0.039969148, -0.036727875, 0.29852363, -0.049212500],
            [0.90685162, 0.54839177, 0.55001054, 9.85247263e-07, 0.42796507],
        ),
    ],
)
def test_model_and_regression_from_genotypes(markers, h_sq, beta, p_value, synthetic, tmp_path):
    genotypes, y, x = synthetic
    model, _ = linear_mixed_model(y, [1, x[:, 1]], z_t=genotypes["1"][:, :markers].T, p_path=tmp_path / "p.npy")
    model.fit()
    assert model.low_rank == (markers < 250)
    assert model.h_sq == pytest.approx(h_sq, abs=1e-6)
    tested = (genotypes["3"][:, :5] - genotypes["3"][:, :5].mean(0)) / genotypes["3"][:, :5].std(0)
    names = pd.DataFrame({"variant_id": list("abcde")})
    found = linear_mixed_regression_rows(tested.T, model, pass_through=names, partition_size=2)
    np.testing.assert_allclose(found["beta"], beta, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(found["p_value"], p_value, rtol=1e-5, atol=1e-8)
    assert found["variant_id"].tolist() == list("abcde")


def test_models_of_a_kinship_and_of_the_genotypes_it_is_made_from(tmp_path):
    z_t = np.array([[0.0, 0.0, 1.0, 2.0], [0.0, 1.0, 2.0, 0.0], [1.0, 2.0, 0.0, 1.0]])
    standard = (z_t - z_t.mean(1, keepdims=True)) / (z_t.std(1, keepdims=True) * np.sqrt(3))
    kinship = standard.T @ standard
    assert np.trace(kinship) == pytest.approx(4)
    path = tmp_path / "p.npy"
    full, p = linear_mixed_model(Y, [1, X[:, 1]], k=kinship, p_path=path)
    again, p_again = LinearMixedModel.from_kinship(Y, X, kinship, path, overwrite=True)
    assert full._same(again)
    np.testing.assert_array_equal(p, p_again)
    low, _ = linear_mixed_model(Y, [1, X[:, 1]], z_t=z_t)
    assert low._same(LinearMixedModel(p[:3] @ Y, p[:3] @ X, full.s[:3], Y, X))
    plain, _ = linear_mixed_model(Y, [1, X[:, 1]], z_t=z_t, standardize=False)
    assert plain._same(LinearMixedModel.from_random_effects(Y, X, z_t.T)[0])


def test_many_responses_at_once_are_each_alone():
    rng = np.random.default_rng(5)
    z = rng.normal(size=(60, 80)) / 80**0.5
    x = np.column_stack([np.ones(60), rng.normal(size=60)])
    y = z @ rng.normal(size=(80, 4)) + rng.normal(size=(60, 4))
    model, p = LinearMixedModel.from_kinship(y[:, 0], x, z @ z.T)
    many = fit_many(p @ y, p @ x, model.s)
    for k in range(4):
        one = LinearMixedModel(p @ y[:, k], p @ x, model.s, on_boundary="clamp")
        one.fit()
        assert one.log_gamma == pytest.approx(many.log_gamma[k], abs=1e-7)
        np.testing.assert_allclose(one.beta, many.beta[:, k], rtol=1e-7)


def test_search_has_scipys_result_and_its_limit():
    model, _ = LinearMixedModel.from_random_effects(Y, X, Z)
    model.fit()
    assert model.optimize_result.success
    assert model.log_gamma == model.optimize_result.x
    assert model.optimize_result.fun == pytest.approx(model.compute_neg_log_reml(model.log_gamma))
    with pytest.raises(FitError, match="failed to fit log_gamma after"):
        model.fit(maxiter=2)


def test_zero_log_gamma_is_a_value():
    model, _ = LinearMixedModel.from_kinship(Y, X, Z @ Z.T, compat="2018")
    model.fit(log_gamma=0)
    assert (model.log_gamma, model.gamma, model.optimize_result) == (0.0, 1.0, None)
    assert model.compute_neg_log_reml(0.0, return_parameters=True)[2] == model.sigma_sq


def test_blocks_change_nothing(tmp_path):
    rng = np.random.default_rng(3)
    model, p = LinearMixedModel.from_kinship(rng.normal(size=30), np.ones((30, 1)), np.cov(rng.normal(size=(30, 50))))
    model.fit(0.3)
    pa = p @ rng.normal(size=(30, 41))
    whole = model.fit_alternatives_numpy(pa, return_pandas=True)
    write_rows(tmp_path / "pa_t.h5", pa.T)
    for size in (1, 7, None):
        found = model.fit_alternatives(tmp_path / "pa_t.h5", partition_size=size).to_pandas()
        np.testing.assert_allclose(found["chi_sq"], whole["chi_sq"], rtol=1e-11)


def test_one_file_may_have_both_kinds_of_markers(tmp_path):
    rng = np.random.default_rng(4)
    y, x, z, a = rng.normal(size=30), np.ones((30, 1)), rng.normal(size=(30, 8)), rng.normal(size=(30, 7))
    model, p = LinearMixedModel.from_random_effects(y, x, z)
    model.fit(0.3)
    path = tmp_path / "store.h5"
    with h5py.File(path, "w") as file:  # as stores of rotated markers are laid out
        file["rotated"], file["markers"] = (p @ a).T, a.T
        file["matrix"] = h5py.SoftLink("/rotated")
    found = model.fit_alternatives(path, path, partition_size=3).to_pandas()
    expected = model.fit_alternatives_numpy(p @ a, a, return_pandas=True)
    np.testing.assert_allclose(found["chi_sq"], expected["chi_sq"], rtol=1e-11)
