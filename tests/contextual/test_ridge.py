"""Ridge on functions of context: exact leave-one-out, errors and special cases against brute force and others."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as PeerRidge

from deepmr.contexts import ContextData
from deepmr.contextual import fit_context, fit_from_state, predict
from deepmr.contextual.bases import find_basis
from deepmr.contextual.ridge_logistic import leave_out_approximately, newton
from deepmr.contextual.ridge_solve import coefficients, covariance, decompose, leave_out, penalties
from deepmr.contextual.units import find_units
from deepmr.errors import InputError


def samples(n=60, seed=0, noise=0.3, binary=False, **given):
    rng = np.random.default_rng(seed)
    c, x = rng.uniform(-1, 1, (n, 2)), rng.standard_normal((n, 2))
    y = 0.5 + (c[:, 0] + c[:, 1] ** 2) * x[:, 0] - x[:, 1] + noise * rng.standard_normal(n)
    made = ContextData(
        contexts=c,
        predictors=x,
        outcomes=(y > 0).astype(float)[:, None] if binary else y[:, None],
        outcome_type="binary" if binary else "continuous",
        context_names=("a", "b"),
        predictor_names=("u", "v"),
    )
    return replace(made, **given)


def design(data, degree=2, kind="polynomial"):
    basis = find_basis(data.contexts, data.counts, kind=kind, degree=degree)
    x = data.design
    return x, (x[:, :, None] * basis(data.contexts)[:, None]).reshape(len(x), -1)


def refit(x, phi, y, weights, penalty):
    """Solve the penalised equations by themselves."""
    both = np.hstack([x, phi])
    d = np.diag([0.0] * x.shape[1] + [penalty] * phi.shape[1])
    return np.linalg.solve(both.T @ (both * weights[:, None]) + d, both.T @ (weights * y))


@pytest.mark.parametrize("kind", ["polynomial", "splines"])
@pytest.mark.parametrize("grouped", [False, True])
def test_leave_one_out_is_that_of_refits(kind, grouped):
    rng = np.random.default_rng(1)
    counts, se = rng.integers(1, 4, 60).astype(float), rng.uniform(0.5, 2, 60)
    data = samples()
    x, phi = design(data, kind=kind)
    y, weights = data.outcomes[:, 0], counts / se**2
    groups = rng.integers(0, 9, 60) if grouped else None
    tried = np.array([1e-3, 0.7, 40.0])
    of = decompose(x, phi, weights=weights, counts=counts)
    found = leave_out(of, y, tried, groups)
    assert found.scored.all()
    assert found.sound.all()
    both = np.hstack([x, phi])
    for k, penalty in enumerate(tried):
        assert of.edf(penalty) == pytest.approx(
            np.trace(both @ np.column_stack([refit(x, phi, e, weights, penalty) for e in np.eye(60)])), rel=1e-9
        )
        for i in range(0, 60, 7):
            without = weights.copy()
            if grouped:
                without[groups == groups[i]] = 0.0
            else:
                without[i] *= (counts[i] - 1) / counts[i]  # one of its copies
            error = y[i] - both[i] @ refit(x, phi, y, without, penalty)
            assert found.error[i, k] == pytest.approx(error, abs=1e-10)


def test_a_group_as_large_as_the_design_is_left_out_exactly():
    data = samples(80)
    x, phi = design(data, degree=1)
    groups = np.repeat([0, 1], 40)
    of = decompose(x, phi, weights=np.ones(80), counts=np.ones(80))
    found = leave_out(of, data.outcomes[:, 0], np.array([2.0]), groups)
    at = refit(x[:40], phi[:40], data.outcomes[:40, 0], np.ones(40), 2.0)
    np.testing.assert_allclose(found.error[40:, 0], data.outcomes[40:, 0] - np.hstack([x, phi])[40:] @ at, atol=1e-10)


def test_coefficients_and_covariance_are_those_of_the_penalised_equations():
    data = samples(25)
    x, phi = design(data, degree=3)
    assert phi.shape[1] > 25
    weights = np.random.default_rng(2).uniform(0.5, 2, 25)
    of = decompose(x, phi, weights=weights, counts=np.ones(25))
    y = data.outcomes[:, 0]
    np.testing.assert_allclose(coefficients(of, y, 0.4), refit(x, phi, y, weights, 0.4), atol=1e-9)
    both = np.hstack([x, phi])
    inverse = np.linalg.inv(both.T @ (both * weights[:, None]) + np.diag([0.0] * 3 + [0.4] * phi.shape[1]))
    np.testing.assert_allclose(covariance(of, 0.4), inverse, atol=1e-9)
    assert penalties(of)[0] > 0  # more functions than rows: nothing without a penalty


def test_ridge_is_that_of_scikit_learn():
    data = samples(seed=4)
    fit = fit_context(data, method="ridge", options={"degree": 2, "penalty": 3.0})
    units, z = find_units(data), fit.scaling(data.contexts)
    x, basis = units.design(data), find_basis(fit.scaling(data.contexts), data.counts, degree=2)
    phi = (x[:, :, None] * basis(z)[:, None]).reshape(60, -1)
    q, _ = np.linalg.qr(x)  # constants are not penalised: they are taken out of both sides
    y = units.outcome(data)
    peer = PeerRidge(alpha=3.0, fit_intercept=False, solver="cholesky").fit(phi - q @ (q.T @ phi), y - q @ (q.T @ y))
    np.testing.assert_allclose(fit.fits[0].coefficient[3:], peer.coef_, atol=1e-10)


def test_degree_0_is_the_population_and_penalty_0_least_squares():
    data = samples(weights=np.random.default_rng(0).uniform(0.5, 3, 60))
    one, two = fit_context(data, method="ridge", options={"degree": 0}), fit_context(data, method="population")
    a, b = one.coefficients(data.contexts[:3]), two.coefficients(data.contexts[:3])
    np.testing.assert_allclose(a.beta, b.beta, atol=1e-12)
    np.testing.assert_allclose(a.se_mu, b.se_mu, atol=1e-12)
    assert one.record.measures["loo_mse"] == pytest.approx(two.record.measures["loo_mse"])
    fit = fit_context(data, method="ridge", options={"degree": 1, "penalty": 0})
    x = data.design
    full = np.hstack([x, *[x * data.contexts[:, [k]] for k in (0, 1)]])
    root = np.sqrt(data.weights)[:, None]
    at = np.linalg.lstsq(full * root, data.outcomes * root, rcond=None)[0]
    np.testing.assert_allclose(predict(fit, data.contexts, data.predictors), full @ at, atol=1e-10)


def test_known_errors_are_weights_and_there_is_no_other_error():
    se = np.random.default_rng(5).uniform(0.1, 1.0, (60, 1))
    data = samples(se_outcome=se)
    fit = fit_context(data, method="ridge", options={"degree": 0})
    inverse = np.linalg.inv(data.design.T @ (data.design / se**2))
    np.testing.assert_allclose(fit.coefficients(data.contexts[:1]).se_beta[0, 0] ** 2, np.diag(inverse)[1:], rtol=1e-9)
    assert "sigma" not in fit.record.measures
    fitted = fit_context(data, method="population")
    residual = (data.outcomes - predict(fitted, data.contexts, data.predictors)) / se
    assert fit.record.measures["dispersion"] == pytest.approx((residual**2).sum() / 57)


def test_the_demo_is_solved_to_rounding_and_noise_leaves_the_population():
    rng = np.random.default_rng(0)
    c, x = rng.uniform(-1, 1, (150, 2)), rng.uniform(-1, 1, (150, 2))
    truth = np.column_stack([c[:, 0] + c[:, 1] ** 2, c[:, 0] ** 2 + c[:, 1]])
    data = ContextData(
        contexts=np.column_stack([c, rng.standard_normal((150, 2))]),
        predictors=x,
        outcomes=(x * truth).sum(axis=1, keepdims=True),
        context_names=("a", "b", "n1", "n2"),
        predictor_names=("u", "v"),
    )
    fit = fit_context(data, method="ridge")
    assert fit.record.measures["degree"] == 2
    assert np.mean((fit.coefficients(data.contexts).beta[:, 0] - truth) ** 2) < 1e-20
    assert max(fit.record.relevance["n1"], fit.record.relevance["n2"]) < 1e-10


def test_outcomes_share_nothing_but_the_work():
    data = samples()
    more = replace(
        data,
        outcomes=np.column_stack([data.outcomes, np.sin(3 * data.contexts[:, 0]) * data.predictors[:, 1]]),
        outcome_names=("p", "q"),
    )
    fit, alone = fit_context(more, method="ridge"), fit_context(more.pick_outcome(1), method="ridge")
    at = data.contexts[:6] + 0.01
    np.testing.assert_allclose(fit.coefficients(at).beta[:, 1], alone.coefficients(at).beta[:, 0], rtol=1e-10)
    assert fit.record.measures["degree.q"] == alone.record.measures["degree"]


def test_draws_have_the_errors_of_the_coefficients():
    fit = fit_context(samples(), method="ridge", options={"degree": 2, "penalty": 2.0})
    at = samples(5, seed=9).contexts
    told, drawn = fit.coefficients(at), fit.draws(at, n_draws=4000, seed=1)
    np.testing.assert_allclose(drawn[..., 0].std(axis=0), told.se_mu, rtol=0.06)
    np.testing.assert_allclose(drawn[..., 1:].std(axis=0), told.se_beta, rtol=0.06)
    assert ((told.unlearned > 0) & (told.unlearned < 1)).all()


def test_intervals_cover_where_the_truth_is_one_of_the_prior():
    """Coverage over draws of the truth from the prior is that of the posterior: 95 %, 7 % less at most."""
    rng = np.random.default_rng(3)
    data = samples(150, seed=8)
    x, phi = design(data, degree=2)
    hits = []
    for _ in range(25):
        y = np.hstack([x, phi]) @ np.concatenate([[0.2, 1, -1], 0.3 * rng.standard_normal(phi.shape[1])])
        slope = y + rng.standard_normal(150)
        fit = fit_context(replace(data, outcomes=slope[:, None]), method="ridge", options={"degree": 2})
        at = fit.coefficients(data.contexts[:40])
        eta = np.einsum("pok,pk->po", at.beta, data.predictors[:40]) + at.mu
        drawn = fit.draws(data.contexts[:40], n_draws=200, seed=0)
        spread = np.einsum("dpok,pk->dpo", drawn, data.design[:40]).std(axis=0)
        hits.append(np.abs(eta - y[:40, None]) < 1.96 * spread)
    assert 0.88 < np.mean(hits) < 0.99


@pytest.mark.parametrize("grouped", [False, True])
def test_approximate_leave_one_out_is_near_that_of_refits(grouped):
    data = samples(150, noise=1.0, binary=True, weights=np.random.default_rng(0).integers(1, 4, 150).astype(float))
    x, phi = design(data, degree=1)
    both, ridge = np.hstack([x, phi]), np.array([0.0] * 3 + [2.0] * phi.shape[1])
    at = newton(data, both, ridge, np.zeros(len(ridge)))
    eta, y = both @ at, data.outcomes[:, 0]
    p = expit(eta)
    hat = both.T @ (both * (data.counts * p * (1 - p))[:, None]) + np.diag(ridge)
    half = both @ np.linalg.cholesky(np.linalg.inv(hat))
    groups = np.arange(150) // 5 if grouped else None
    found = leave_out_approximately(eta, y, data.counts, half, groups)
    exact = []
    for i in range(0, 150, 11):
        counts = data.counts.copy()
        counts[i] -= 1
        if grouped:
            counts[groups == groups[i]] = 0
        rows = data.take(counts > 0)
        fit = newton(replace(rows, weights=counts[counts > 0]), both[counts > 0], ridge, at)
        exact.append(both[i] @ fit)
    moved = np.abs(np.array(exact) - eta[::11])
    assert np.abs(found[::11] - exact).max() < (0.35 if grouped else 0.1) * moved.max()


def test_logistic_coefficients_are_those_of_scikit_learn():
    """Which penalises all columns but the intercept: no predictors here, so that there is no other constant."""
    data = samples(150, noise=1.0, binary=True)
    data = replace(data, predictors=data.predictors[:, :0], predictor_names=())
    fit = fit_context(data, method="ridge", options={"degree": 2, "penalty": 2.0})
    basis = fit.fits[0].basis(fit.scaling(data.contexts))
    peer = LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(basis, data.outcomes[:, 0])
    np.testing.assert_allclose(fit.fits[0].coefficient[1:], peer.coef_[0], atol=1e-5)
    predicted = predict(fit, data.contexts, data.predictors)
    np.testing.assert_allclose(predicted[:, 0], peer.predict_proba(basis)[:, 1], atol=1e-5)


def test_binary_outcomes_choose_what_varies():
    rng = np.random.default_rng(6)
    c, x = rng.uniform(-1, 1, (600, 1)), rng.standard_normal((600, 1))
    y = (rng.uniform(size=600) < expit(3 * c * x)[:, 0]).astype(float)[:, None]
    data = ContextData(
        contexts=c, predictors=x, outcomes=y, outcome_type="binary", context_names=("a",), predictor_names=("u",)
    )
    fit = fit_context(data, method="ridge")
    at = fit.coefficients(np.array([[-0.8], [0.0], [0.8]]))
    np.testing.assert_allclose(at.beta[:, 0, 0], [-2.4, 0, 2.4], atol=4 * at.se_beta.max())
    assert fit.record.measures["degree"] >= 1
    assert at.se_beta.max() < 0.6


def test_too_many_functions_are_said_or_refused():
    rng = np.random.default_rng(0)
    data = replace(samples(40), contexts=rng.standard_normal((40, 60)), context_names=tuple(f"c{k}" for k in range(60)))
    fit = fit_context(data, method="ridge")
    assert "Degree 2 is not tried" in " ".join(fit.record.warnings)
    with pytest.raises(InputError, match="degree 2 has"):
        fit_context(data, method="ridge", options={"degree": 2})
    with pytest.raises(InputError, match="a penalty of 0 needs independent functions"):
        fit_context(data, method="ridge", options={"degree": 1, "penalty": 0})


def test_what_is_not_used_is_said():
    data = samples(context_se=np.full((60, 2), 0.1), groups=np.arange(60) // 6)
    for method in ("population", "clusters", "ridge"):
        said = " ".join(fit_context(data, method=method).record.warnings)
        assert "Contexts are taken as exact" in said
        assert "samples of a group as independent" in said


def test_splines_follow_a_curve_and_go_on_straight():
    rng = np.random.default_rng(1)
    c = rng.uniform(-2, 2, (400, 1))
    y = np.sin(2 * c) + 0.1 * rng.standard_normal((400, 1))
    data = ContextData(contexts=c, predictors=np.empty((400, 0)), outcomes=y, context_names=("a",), predictor_names=())
    fit = fit_context(data, method="ridge", options={"basis": "splines", "n_functions": 12})
    at = np.linspace(-1.9, 1.9, 30)[:, None]
    np.testing.assert_allclose(fit.coefficients(at).mu, np.sin(2 * at), atol=0.15)
    far = fit.coefficients(np.array([[3.0], [4.0], [5.0]])).mu[:, 0]
    assert far[2] - far[1] == pytest.approx(far[1] - far[0], rel=1e-6)
    state = fit.state()
    again = fit_from_state(state.kind, state.arrays, state.settings, state.record)
    np.testing.assert_array_equal(again.coefficients(at).mu, fit.coefficients(at).mu)


def test_basis_of_few_values_leaves_out_what_does_not_vary():
    z = np.tile([-1.0, 1.0], 10)[:, None]
    assert find_basis(z, np.ones(20), degree=3).size == 2  # z and z^3; the square is constant
    assert find_basis(z, np.ones(20), kind="splines", degree=2).size == 1
