"""Two responses compared: alike where both are right, apart where one is wrong."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.nonlinear import fit_response
from deepmr.nonlinear.comparison import compare_responses, reweighted


def make(n=1500, seed=0, bend=0.0):
    r = np.random.default_rng(seed)
    z = r.binomial(2, 0.3, (n, 3)).astype(float)
    u = r.standard_normal(n)
    x = z @ np.full(3, 0.5) + 0.5 * u + r.standard_normal(n)
    return IVData(
        instruments=z,
        exposure=x,
        outcome=0.3 * x + bend * x**2 - u + r.standard_normal(n),
        covariates=np.empty((n, 0)),
        instrument_names=("a", "b", "c"),
    )


def both(data):
    line = fit_response(data, method="tsls")
    return line, fit_response(data, method="residual_strata", options={"n_strata": 4})


def test_a_response_is_itself():
    data = make(n=300)
    line, _ = both(data)
    found = compare_responses(line, line, data=data, n_boot=20)
    assert found.pvalue > 0.9
    assert np.array_equal(found.difference.estimate, np.zeros(30))
    assert compare_responses(line, line).pvalue == 1.0


def test_seed_gives_the_same_answer():
    data = make(n=300)
    line, strata = both(data)
    one, same, other = (compare_responses(line, strata, data=data, n_boot=20, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.difference.low, same.difference.low)
    assert not np.array_equal(one.difference.low, other.difference.low)


def test_a_line_is_told_from_a_curve():
    data = make(n=4000, bend=0.5)
    line, strata = both(data)
    found = compare_responses(line, strata, data=data, n_boot=20, seed=1)
    assert found.pvalue < 0.01
    assert found.errors == "bootstrap"
    assert {"x", "estimate", "se", "low", "high"} == set(found.to_frame().columns)
    bound = compare_responses(line, strata)
    assert bound.errors == "bound"
    assert bound.pvalue < 0.01


def test_bootstrap_error_of_a_slope_is_that_of_the_sandwich():
    data = make()
    line, _ = both(data)
    rng = np.random.default_rng(0)
    slopes = [
        fit_response(reweighted(data, rng), method="tsls").ate(np.zeros(1), np.ones(1)).estimate[0] for _ in range(40)
    ]
    assert np.std(slopes) == pytest.approx(line.ate(np.zeros(1), np.ones(1)).se[0], rel=0.35)


def test_clusters_are_weighted_as_one():
    data = replace(make(n=60), clusters=np.arange(60) // 6)
    weights = reweighted(data, np.random.default_rng(0)).weights.reshape(10, 6)
    assert np.array_equal(weights, np.repeat(weights[:, :1], 6, axis=1))
    assert len(np.unique(weights)) == 10


def test_responses_of_different_exposures_cannot_be_compared():
    data = make()
    far = replace(data, exposure=data.exposure + 100)
    with pytest.raises(InputError, match="need exposures in common"):
        compare_responses(fit_response(data, method="tsls"), fit_response(far, method="tsls"))


@pytest.mark.slow
def test_right_methods_are_told_apart_in_one_of_twenty():
    rejected, bounded = [], []
    for seed in range(100):
        data = make(n=800, seed=seed)
        line, strata = both(data)
        rejected.append(compare_responses(line, strata, data=data, n_boot=20, seed=seed).pvalue < 0.05)
        bounded.append(compare_responses(line, strata).pvalue < 0.05)
    assert 0 <= np.mean(rejected) <= 0.115  # 100 rounds at 5 %: 3 standard errors
    assert np.mean(bounded) <= 0.05
