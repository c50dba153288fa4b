"""Kernel estimators: limits known by hand, fast formulas against their definitions, what a fit can be given."""

from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import Float

from deepmr.errors import InputError
from deepmr.individual import DoseResponse, IVData
from deepmr.nonlinear import make_method, response_from_state
from deepmr.nonlinear.kernel import KernelIV, KernelMMR
from deepmr.nonlinear.kernel_moments import left_out_pairs, paired_moments
from deepmr.nonlinear.kernel_solver import left_out
from deepmr.nonlinear.kernel_stage import leave_one_out
from deepmr.nonlinear.kernel_tuning import KernelOptions, prepare
from deepmr.nonlinear.nystroem import fit_block, gaussian, product_terms

METHODS = ("kernel_iv", "kernel_mmr")


def make_data(
    n: int = 600, *, seed: int = 0, noise: float = 1.0, covariates: int = 0, curve: float = 0.0, instruments: int = 1
) -> IVData:
    rng = np.random.default_rng(seed)
    z, c = rng.standard_normal((n, instruments)), rng.standard_normal((n, covariates))
    u = rng.standard_normal(n)
    x = z.sum(axis=1) + 0.3 * c.sum(axis=1) + noise * (0.5 * u + 0.3 * rng.standard_normal(n))
    y = 1 + 2 * x + curve * np.sin(2 * x) - 0.5 * c.sum(axis=1) + noise * (-u + 0.3 * rng.standard_normal(n))
    return IVData(
        instruments=z,
        exposure=x,
        outcome=y,
        covariates=c,
        instrument_names=tuple(f"z{k}" for k in range(instruments)),
        covariate_names=tuple(f"c{k}" for k in range(covariates)),
    )


def test_block_is_orthonormal_and_spans_the_kernel() -> None:
    values = np.random.default_rng(0).standard_normal((300, 1))
    block = fit_block(values, bandwidth=np.ones(1), n_landmarks=100, n_curves=30, seed=0)
    columns = block(values)
    assert np.allclose(columns.T @ columns / 300, np.eye(columns.shape[1]), atol=1e-6)
    standard = (values - block.center) / block.spread
    kernel = gaussian(standard, standard[:5])
    left = kernel - columns @ np.linalg.lstsq(columns, kernel, rcond=None)[0]
    assert np.abs(left).max() < 1e-3


def test_products_have_the_product_kernel_as_prior_covariance() -> None:
    rng = np.random.default_rng(1)
    one, two = rng.standard_normal((200, 1)), rng.standard_normal((200, 2))
    blocks = [fit_block(v, bandwidth=np.full(v.shape[1], 2.0), n_landmarks=60, n_curves=8, seed=0) for v in (one, two)]
    terms = product_terms(blocks[0], blocks[1], n_terms=10_000)
    columns = terms(one, two)
    whole = (columns * terms.variances) @ columns.T
    parts = [(b(v) * b.variances) @ b(v).T for b, v in zip(blocks, (one, two), strict=True)]
    assert np.allclose(whole, parts[0] * parts[1])
    assert product_terms(blocks[0], blocks[1], n_terms=7).straight.sum() == 1 + 1 + 2  # 1 and lines come first


def test_leave_one_out_of_a_ridge_regression_is_refitting() -> None:
    rng = np.random.default_rng(2)
    design, outputs, weights = rng.standard_normal((25, 4)), rng.standard_normal((25, 2)), rng.uniform(0.5, 1.5, 25)
    weights /= weights.mean()
    relative, penalty = np.array([1e-7, 1.0, 2.0, 5.0]), 0.1
    errors = []
    for i in range(25):
        rest = np.arange(25) != i
        gram = (design[rest] * weights[rest, None]).T @ design[rest] + 25 * penalty * np.diag(relative)
        b = np.linalg.solve(gram, (design[rest] * weights[rest, None]).T @ outputs[rest])
        errors.append(weights[i] * (outputs[i] - design[i] @ b) ** 2)
    found = leave_one_out(design, outputs, relative=relative, weights=weights, penalties=np.array([penalty]))
    assert np.allclose(found.errors, np.sum(errors, axis=0) / 25)


def test_leave_one_out_of_moment_equations_is_refitting() -> None:
    rng = np.random.default_rng(3)
    q, f, y, ridge = rng.standard_normal((20, 3)), rng.standard_normal((20, 3)), rng.standard_normal(20), np.eye(3)
    f = q + 0.5 * f
    inverse = np.linalg.inv(q.T @ f + ridge)
    fast = left_out(inverse, inverse @ q.T @ y, into=[q], out=[f], right=[y], at=q)
    for i in range(20):
        rest = np.arange(20) != i
        b = np.linalg.solve(q[rest].T @ f[rest] + ridge, q[rest].T @ y[rest])
        assert fast[i] == pytest.approx(q[i] @ b)


def small(data: IVData) -> tuple:  # type: ignore[type-arg]
    options = KernelOptions(n_landmarks=20, n_tuning=100, n_tries=3, n_folds=3, bandwidth=1.0)
    prepared = prepare(data, data, options=options, seed=0)
    return prepared, paired_moments(prepared)


def test_leave_one_out_of_pairs_is_refitting() -> None:
    data = replace(make_data(60, curve=1.0), weights=np.random.default_rng(0).uniform(0.5, 2.0, 60))
    prepared, paired = small(data)
    whole = slice(0, 60)
    part = prepared.equations(whole)
    features = prepared.instruments(data.instruments, data.covariates) * np.sqrt(prepared.instruments.variances)
    kernel = features @ features.T * np.outer(part.weights, part.weights) / 60
    ridge = np.where(prepared.terms.straight, 0.0, 0.5)
    fast = left_out_pairs(prepared, paired, ridge, whole, part.columns)
    assert np.allclose(paired.gram, part.columns.T @ kernel @ part.columns)
    for i in range(0, 60, 7):
        rest = np.arange(60) != i
        columns, inner = part.columns[rest], kernel[np.ix_(rest, rest)]
        b = np.linalg.solve(columns.T @ inner @ columns + np.diag(ridge), columns.T @ inner @ part.outcome[rest])
        assert fast[i] == pytest.approx(part.columns[i] @ b, rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("covariates", [0, 2])
@pytest.mark.parametrize("instruments", [1, 5])
def test_noiseless_lines_are_found(method: str, covariates: int, instruments: int) -> None:
    data = make_data(noise=0.0, covariates=covariates, instruments=instruments)
    fit = make_method(method, {"n_landmarks": 40, "n_tries": 3}).fit(data)
    x = np.linspace(-2, 2, 5)
    assert np.allclose(fit.ate(x[:-1], x[1:]).estimate, 2.0, atol=1e-4)
    if covariates:
        given = np.full((1, 2), 0.7)
        assert fit.iv_reg_function(np.array([0.5]), given).estimate[0] == pytest.approx(1 + 1 - 0.7, abs=1e-3)


def two_stage_slope(data: IVData) -> float:
    assert data.exposure is not None
    assert data.outcome is not None
    z, x, y = data.instruments[:, 0], data.exposure, data.outcome
    return float(np.cov(z, y)[0, 1] / np.cov(z, x)[0, 1])


@pytest.mark.parametrize("method", METHODS)
def test_a_large_penalty_leaves_the_line_of_two_stage_least_squares(method: str) -> None:
    data = make_data(4000, curve=1.0)
    fit = make_method(method, {"penalty": 1e8, "n_landmarks": 60, "n_tries": 3}).fit(data)
    x = np.array([-1.0, 0.0, 2.0])
    effect = fit.ate(x[:-1], x[1:])
    assert effect.estimate[1] / effect.estimate[0] == pytest.approx(2.0, abs=1e-3)
    assert effect.estimate[0] == pytest.approx(two_stage_slope(data), abs=0.05)


def curve_error(fit: DoseResponse, curve: float) -> float:
    x = np.linspace(-1.8, 1.8, 50)
    return float(np.mean((fit.avg_iv_reg_function(x).estimate - (1 + 2 * x + curve * np.sin(2 * x))) ** 2))


@pytest.mark.parametrize("method", METHODS)
def test_a_curve_is_found_and_held_by_its_band(method: str) -> None:
    fit = make_method(method).fit(make_data(4000, curve=1.5))
    assert curve_error(fit, 1.5) < 0.02  # a line leaves about 0.8
    x = np.linspace(-1.8, 1.8, 50)
    band, points = fit.uniform_band(x, level=0.95), fit.avg_iv_reg_function(x, level=0.95)
    truth = 1 + 2 * x + 1.5 * np.sin(2 * x)
    assert np.all((band.low < truth) & (truth < band.high))
    assert np.all(band.high - band.low > points.high - points.low)


@pytest.mark.parametrize("method", METHODS)
def test_state_gives_the_same_response_again(method: str) -> None:
    fit = make_method(method, {"n_landmarks": 60, "n_tries": 4}).fit(make_data(covariates=2, curve=1.0))
    state = fit.state()
    again = response_from_state(state.kind, state.arrays, state.settings, state.record)
    x, c = np.linspace(-2, 2, 7), np.random.default_rng(0).standard_normal((7, 2))
    assert isinstance(again, DoseResponse)
    for one, two in (
        (fit.iv_reg_function(x, c), again.iv_reg_function(x, c)),
        (fit.avg_iv_reg_function(x), again.avg_iv_reg_function(x)),
        (fit.cate(x, x + 1, c), again.cate(x, x + 1, c)),
    ):
        assert np.array_equal(one.estimate, two.estimate)
        assert np.array_equal(one.se, two.se)


@pytest.mark.parametrize("method", METHODS)
def test_the_average_is_that_over_the_sample(method: str) -> None:
    data = make_data(200, covariates=1, curve=1.0)
    fit = make_method(method, {"n_landmarks": 40, "n_tries": 3}).fit(data)
    each = fit.iv_reg_function(np.full(200, 0.5), data.covariates).estimate
    assert fit.avg_iv_reg_function(np.array([0.5])).estimate[0] == pytest.approx(each.mean())


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_copies_and_clusters_widen(method: str) -> None:
    data = make_data(500)
    copies = data.take(np.repeat(np.arange(500), 2))
    options = {"n_landmarks": 40, "n_tries": 3, "bandwidth": 1.0, "penalty": 1e8}
    grouped = replace(copies, clusters=np.repeat(np.arange(500), 2))
    x0, x1 = np.zeros(1), np.ones(1)
    alone, apart, together = (make_method(method, options).fit(one).ate(x0, x1) for one in (data, copies, grouped))
    assert together.se[0] == pytest.approx(np.sqrt(2) * apart.se[0], rel=0.05)
    assert together.se[0] == pytest.approx(alone.se[0], rel=0.05)
    assert together.estimate[0] == pytest.approx(alone.estimate[0], abs=0.02)
    half = replace(data, weights=np.where(np.arange(500) < 250, 1.0, 1e-9))
    weighted, part = (make_method(method, options).fit(one).ate(x0, x1) for one in (half, data.take(slice(0, 250))))
    assert weighted.estimate[0] == pytest.approx(part.estimate[0], abs=0.05)


def test_two_samples_and_their_errors() -> None:
    first, second = make_data(3000, seed=1, curve=1.0), make_data(3000, seed=2, curve=1.0)
    fit = KernelIV().fit(replace(first, outcome=None), outcome_data=replace(second, exposure=None))
    assert curve_error(fit, 1.0) < 0.05
    one = KernelIV(penalty=0.1, bandwidth=1.0).fit(first).ate(np.array([0.0]), np.array([1.0]))
    two = KernelIV(penalty=0.1, bandwidth=1.0).fit(first, outcome_data=second).ate(np.array([0.0]), np.array([1.0]))
    assert two.se[0] > one.se[0]  # the confounder's noise is in the reduced form
    with pytest.raises(InputError, match="same samples"):
        KernelMMR().fit(first, outcome_data=second)


def test_the_noise_of_the_first_of_two_samples_does_not_make_curves_rough() -> None:
    def draw(seed: int) -> IVData:
        rng = np.random.default_rng(seed)
        z, u = rng.binomial(2, 0.3, (1500, 6)).astype(float), rng.standard_normal(1500)
        x = 0.6 * (z - 0.6).sum(axis=1) + 0.4 * u + 0.6 * rng.standard_normal(1500)
        y = 1.5 - 0.8 * x + 0.3 * x**2 + 0.5 * u + 0.6 * rng.standard_normal(1500)
        names = tuple(f"z{k}" for k in range(6))
        return IVData(instruments=z, exposure=x, outcome=y, covariates=np.empty((1500, 0)), instrument_names=names)

    for seed in (2, 3, 7):
        one, two = replace(draw(2 * seed), outcome=None), replace(draw(2 * seed + 1), exposure=None)
        effect = KernelIV().fit(one, outcome_data=two, seed=seed).ate(np.array([-0.5]), np.array([0.5]))
        assert effect.estimate[0] == pytest.approx(-0.8, abs=0.3)


@pytest.mark.parametrize("method", METHODS)
def test_few_values_binary_outcome_and_many_instruments(method: str) -> None:
    rng = np.random.default_rng(5)
    g, u = rng.binomial(2, 0.3, (800, 60)).astype(float), rng.standard_normal(800)
    x = np.round(g[:, :10].sum(axis=1) / 2 + u)
    y = (rng.uniform(size=800) < 1 / (1 + np.exp(-0.3 * (x - 3) - u))).astype(float)
    data = IVData(
        instruments=g,
        exposure=x,
        outcome=y,
        covariates=rng.binomial(1, 0.5, (800, 1)).astype(float),
        instrument_names=tuple(f"v{k}" for k in range(60)),
        covariate_names=("sex",),
        outcome_type="binary",
    )
    for one in (data, replace(data, instruments=g[:, :1], instrument_names=("v0",))):
        fit = make_method(method, {"n_landmarks": 40, "n_tries": 3}).fit(one)
        curve = fit.avg_iv_reg_function(np.linspace(0, 6, 5))
        assert np.isfinite(curve.estimate).all()
        assert np.isfinite(curve.se).all()


@pytest.mark.parametrize(
    ("option", "value"), [("n_landmarks", 3), ("penalty", -1.0), ("bandwidth", 0.0), ("n_folds", 1)]
)
def test_options_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(InputError, match=option):
        make_method("kernel_iv", {option: value}).fit(make_data(100))


def mean_square(values: Float[np.ndarray, "points"]) -> float:
    return float(np.mean(values**2))


def test_tuned_bandwidths_beat_the_median_heuristic() -> None:
    """A narrow bump, as in the airline-demand benchmark, is not seen through kernels as wide as the median distance."""
    rng = np.random.default_rng(0)
    t, z, v = rng.uniform(0, 10, 700), rng.standard_normal(700), rng.standard_normal(700)
    bump = 2 * ((t - 5) ** 4 / 600 + np.exp(-4 * (t - 5) ** 2) + t / 10 - 2)
    x = 25 + (z + 3) * bump + v
    y = 100 + (10 + x) * bump - 2 * x + 0.5 * v + 0.8 * rng.standard_normal(700)
    data = IVData(
        instruments=z[:, None],
        exposure=x,
        outcome=y,
        covariates=t[:, None],
        instrument_names=("cost",),
        covariate_names=("time",),
    )
    points = np.linspace(0.5, 9.5, 40)
    truth = 2 * ((points - 5) ** 4 / 600 + np.exp(-4 * (points - 5) ** 2) + points / 10 - 2)
    price = np.full(40, 18.0)
    truth = 100 + (10 + price) * truth - 2 * price
    tuned, median = (
        mean_square(
            KernelIV(bandwidth=b, n_landmarks=100).fit(data).iv_reg_function(price, points[:, None]).estimate - truth
        )
        for b in (None, 1.0)
    )
    assert tuned < median / 3
