"""The projected moment: its definition, what it is of the truth, and which response it prefers."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from deepmr.individual import Curve, IVData, record_of
from deepmr.nonlinear.validation import HeldOut, difference_error, hold_out, projected_moment, split_samples


@dataclass(frozen=True)
class Given:
    """A response that is a function."""

    function: object
    record: object = None

    def iv_reg_function(self, x, covars=None, *, level=0.95):
        return Curve(estimate=np.asarray(self.function(x, covars), dtype=float))

    def avg_iv_reg_function(self, x, *, level=0.95):
        raise NotImplementedError

    ate = cate = state = avg_iv_reg_function


def quadratic(n=3000, *, seed=0, n_clusters=0, covariate=False):
    rng = np.random.default_rng(seed)
    z = rng.binomial(2, 0.3, (n, 10)).astype(float)
    c = rng.standard_normal(n)
    u = rng.standard_normal(n)
    x = z @ np.full(10, 0.35) + 0.5 * u + 0.5 * rng.standard_normal(n)
    y = 0.3 * (x - 1) ** 2 - 0.8 * u + rng.standard_normal(n)
    if covariate:
        y = y + 0.5 * c * x
    return IVData(
        instruments=z,
        exposure=x,
        outcome=y,
        covariates=c[:, None] if covariate else np.empty((n, 0)),
        instrument_names=tuple(f"z{k}" for k in range(10)),
        covariate_names=("c",) if covariate else (),
        clusters=rng.integers(0, n_clusters, n) if n_clusters else None,
    )


def held_out(data):
    return next(split_samples(data)).held_out


def truth(x, _):
    return 0.3 * (x - 1) ** 2


def test_by_the_sum_over_pairs():
    data = quadratic(40)
    rng = np.random.default_rng(1)
    functions = np.linalg.qr(rng.standard_normal((40, 3)))[0] * np.sqrt(40)
    weighted = replace(data, weights=rng.uniform(1, 2, 40))
    found = projected_moment(Given(truth), HeldOut(samples=(weighted,), functions=(functions,)))
    r = (data.outcome - truth(data.exposure, None)) * weighted.scaled_weights
    slow = sum(r[i] * r[j] * functions[i] @ functions[j] for i in range(40) for j in range(40) if i != j) / 40**2
    assert found.value == pytest.approx(slow, rel=1e-10)
    assert (found.n, len(found.moments)) == (40, 3)
    assert found.noise == pytest.approx(np.mean((r[:, None] * functions) ** 2) / 40)


def test_by_the_sum_over_pairs_of_clusters():
    data = quadratic(40, n_clusters=9)
    functions = np.random.default_rng(1).standard_normal((40, 3))
    found = projected_moment(Given(truth), HeldOut(samples=(data,), functions=(functions,)))
    r, of = data.outcome - truth(data.exposure, None), data.clusters
    slow = sum(r[i] * r[j] * functions[i] @ functions[j] for i in range(40) for j in range(40) if of[i] != of[j]) / (
        40**2
    )
    assert found.value == pytest.approx(slow, rel=1e-10)


def test_functions_are_orthonormal_and_know_nothing_of_exposure_and_outcome_held_out():
    data = quadratic(covariate=True)
    one = next(split_samples(data))
    held = one.held_out
    w = held.functions[0]
    np.testing.assert_allclose(w.T @ w / len(w), np.eye(w.shape[1]), atol=1e-8)
    other = replace(held.samples[0], exposure=held.samples[0].exposure[::-1].copy())
    np.testing.assert_array_equal(hold_out(one.fitted, (other,)).functions[0], w)


def test_a_fold_is_held_out_once_and_clusters_stay_together():
    data = quadratic(300, n_clusters=30)
    held = [one.held_out.samples[0] for one in split_samples(data, n_folds=3, seed=2)]
    assert sum(map(len, held)) == 300
    assert not set(held[0].clusters) & set(held[1].clusters)
    again = [one.held_out.samples[0] for one in split_samples(data, n_folds=3, seed=2)]
    np.testing.assert_array_equal(held[0].outcome, again[0].outcome)


WRONG = {
    "line": lambda x, c: 0.9 * x - 0.5,
    "flat": lambda x, c: np.full(len(x), 0.6),
    "too curved": lambda x, c: 0.45 * (x - 1) ** 2,
    "confounded": lambda x, c: 0.3 * (x - 1) ** 2 - 0.3 * (x - 2.1),
    "level": lambda x, c: truth(x, c) + 0.3,
}


def test_the_truth_is_better_than_what_is_wrong():
    held = held_out(quadratic(10_000))
    best = projected_moment(Given(truth), held)
    assert abs(best.value) < 3 * best.se
    for name, function in WRONG.items():
        assert projected_moment(Given(function), held).value > best.value + 2 * best.se, name


def test_squared_error_prefers_the_confounded_response_and_the_moment_does_not():
    held = held_out(quadratic(10_000))
    y, x = held.samples[0].outcome, held.samples[0].exposure
    squared = [np.mean((y - f(x, None)) ** 2) for f in (truth, WRONG["confounded"])]
    assert squared[1] < squared[0]
    moments = [projected_moment(Given(f), held).value for f in (truth, WRONG["confounded"])]
    assert moments[0] < moments[1]


def test_an_effect_that_varies_with_a_covariate_is_seen():
    held = held_out(quadratic(10_000, covariate=True))
    right = projected_moment(Given(lambda x, c: truth(x, c) + 0.5 * c[:, 0] * x), held)
    wrong = projected_moment(Given(lambda x, c: truth(x, c) + 0.5 * c[:, 0] * x.mean()), held)
    assert wrong.value > right.value + 2 * wrong.se
    assert abs(right.value) < 3 * right.se


def test_unbiased_at_the_truth_with_an_honest_error():
    found = [projected_moment(Given(truth), held_out(quadratic(5000, seed=s))) for s in range(60)]
    z = np.array([one.value / one.se for one in found])
    assert abs(z.mean()) < 0.4
    assert 0.5 < z.std() < 1.2  # on the long side where nothing is left


def test_differences_have_a_smaller_error_and_an_honest_one():
    z, smaller = [], []
    for seed in range(60):
        held = held_out(quadratic(3000, seed=seed))
        other = Given(lambda x, c: truth(x, c) + 0.05 * (x - 2.1))
        a, b = projected_moment(Given(truth), held), projected_moment(other, held)
        error = difference_error(b.moments, a.moments, a.noise)
        truly = 0.05**2 * np.mean((held.samples[0].instruments.sum(axis=1) * 0.35 - 2.1) ** 2)
        z.append((b.value - a.value - truly) / error)
        smaller.append(error < 0.8 * a.se)
    assert abs(np.mean(z)) < 0.4
    assert 0.7 < np.std(z) < 1.3
    assert np.mean(smaller) > 0.9


def test_two_samples_without_a_common_sample():
    first, second = quadratic(8000, seed=1), quadratic(8000, seed=2)
    first, second = replace(first, outcome=None), replace(second, exposure=None)
    one = next(split_samples(first, second))
    held = one.held_out
    assert (len(one.fitted), len(one.fitted_outcome), [len(s) for s in held.samples]) == (6400, 6400, [1600, 1600])
    best = projected_moment(Given(truth), held)
    assert abs(best.value) < 3 * best.se
    for name in ("line", "too curved", "flat"):
        assert projected_moment(Given(WRONG[name]), held).value > best.value + 2 * best.se, name


def test_few_values_and_a_constant_covariate_and_one_instrument():
    rng = np.random.default_rng(0)
    z = rng.binomial(2, 0.3, (500, 1)).astype(float)
    x = z[:, 0] + rng.standard_normal(500)
    data = IVData(
        instruments=z,
        exposure=x,
        outcome=x + rng.standard_normal(500),
        covariates=np.ones((500, 1)),
        instrument_names=("z",),
        covariate_names=("c",),
    )
    held = held_out(data)
    assert held.functions[0].shape[1] == 3
    found = projected_moment(Given(lambda x, c: x, record_of(data, data, method="m", options={}, seed=0)), held)
    assert abs(found.value) < 3 * found.se
