"""Ensembles of responses whose members are known."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats

from deepmr.errors import InputError
from deepmr.individual import DoseResponse, IVData
from deepmr.nonlinear import response_from_state
from deepmr.nonlinear.ensemble import EnsembleResponse, over_members
from deepmr.nonlinear.sieve import Sieve


@pytest.fixture(scope="module")
def fits():
    made = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        z, c = rng.standard_normal((300, 2)), rng.standard_normal((300, 1))
        x = z.sum(axis=1) + rng.standard_normal(300)
        data = IVData(
            instruments=z,
            exposure=x,
            outcome=x + c[:, 0] + rng.standard_normal(300),
            covariates=c,
            instrument_names=("z1", "z2"),
            covariate_names=("c",),
        )
        made.append(Sieve(n_functions=4, covariate_functions=3).fit(data))
    return made


def test_bounds_are_order_statistics_where_members_are_enough():
    values = np.random.default_rng(0).permutation(19.0 + np.arange(19.0))[:, None]
    curve = over_members(values, level=0.9)
    assert (curve.low[0], curve.estimate[0], curve.high[0]) == (19.0, 28.0, 37.0)  # the ends, 90 % between by ranks


def test_few_members_have_the_interval_of_normal_ones():
    curve = over_members(np.array([[1.0], [2.0], [3.0]]), level=0.95)
    assert curve.high[0] - 2 == pytest.approx(stats.t.ppf(0.975, 2) * np.sqrt(4 / 3))


@pytest.mark.parametrize("n", [3, 39])
def test_an_interval_holds_a_further_member_as_often_as_it_says(n):
    values = np.random.default_rng(0).standard_normal((n + 1, 20_000))
    curve = over_members(values[:-1], level=0.9)
    inside = (curve.low < values[-1]) & (values[-1] < curve.high)
    assert inside.mean() == pytest.approx(0.9, abs=0.01)


def test_one_member_has_no_interval():
    assert over_members(np.ones((1, 4)), level=0.9).low is None


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_the_estimate_is_the_middle_of_the_members(fits, statistic):
    response = EnsembleResponse.of(fits, statistic=statistic)
    assert isinstance(response, DoseResponse)
    x, c = np.linspace(-1, 1, 4), np.ones((4, 1))
    middle = getattr(np, statistic)
    for found, members in (
        (response.avg_iv_reg_function(x), [one.avg_iv_reg_function(x) for one in fits]),
        (response.iv_reg_function(x, c), [one.iv_reg_function(x, c) for one in fits]),
        (response.ate(x, x + 1), [one.ate(x, x + 1) for one in fits]),
        (response.cate(x, x + 1, c), [one.cate(x, x + 1, c) for one in fits]),
    ):
        assert found.estimate == pytest.approx(middle([one.estimate for one in members], axis=0))
        assert (found.low <= found.estimate).all()
        assert (found.estimate <= found.high).all()
    assert response.members(x).shape == response.members(x, c).shape == (3, 4)


def test_it_comes_back_to_the_bit(fits):
    response = EnsembleResponse.of(fits)
    state = response.state()
    settings = json.loads(json.dumps(state.settings, default=str))
    again = response_from_state(state.kind, state.arrays, settings, state.record)
    x = np.linspace(-1, 1, 4)
    one, two = response.avg_iv_reg_function(x), again.avg_iv_reg_function(x)
    assert (one.estimate == two.estimate).all()
    assert (one.low == two.low).all()
    assert asdict(again.responses[1].record) == asdict(fits[1].record)


def test_members_must_be_of_the_same_variables(fits):
    other = replace(fits[0], record=replace(fits[0].record, exposure="bmi"))
    with pytest.raises(InputError, match="same exposure; number 1 has bmi, the first exposure"):
        EnsembleResponse.of([fits[0], other])
    far = replace(fits[0], record=replace(fits[0].record, domain=(50.0, 60.0)))
    with pytest.raises(InputError, match="domains do not overlap"):
        EnsembleResponse.of([fits[0], far])
    with pytest.raises(InputError, match="needs a response; got none"):
        EnsembleResponse.of([])
