"""`LinearMixedModel` against what Hail 0.2.93 itself gives (`hail_lmm_values.py`)."""

import json

import numpy as np
import pytest

from deepmr.lmm import LinearMixedModel
from tests.oracle.reference import HERE

PROBLEMS = json.loads((HERE / "hail_lmm.json").read_text())


def make(problem, **options):
    y, x, z = (np.array(problem[name]) for name in "yxz")
    if problem["kind"] == "low rank":
        return LinearMixedModel.from_random_effects(y, x, z, **options)
    return LinearMixedModel.from_kinship(y, x, z @ z.T, **options)


@pytest.fixture(params=range(len(PROBLEMS)), ids=lambda k: f"{PROBLEMS[k]['kind']} {k}")
def problem(request):
    return PROBLEMS[request.param]


@pytest.mark.parametrize("at", ["fitted", "at_half"])
def test_at_its_gamma_every_number_is_hails(problem, at):
    model, p = make(problem)
    expected = problem["found"][at]
    a = np.array(problem["a"], dtype=float)
    model.fit(expected["log_gamma"])
    for name in ("sigma_sq", "tau_sq", "beta", "h_sq", "gamma"):
        np.testing.assert_allclose(getattr(model, name), expected[name], rtol=1e-10, err_msg=name)
    assert model.compute_neg_log_reml(model.log_gamma) == pytest.approx(expected["neg_log_reml"], rel=1e-11)
    found = model.fit_alternatives_numpy(p @ a, a if model.low_rank else None, return_pandas=True)
    for name, values in expected["alternatives"].items():
        # Hail takes chi_sq from a logarithm near 0, which is good to 1e-13 or so, not relatively.
        np.testing.assert_allclose(found[name], values, rtol=1e-10, atol=1e-12, err_msg=name)


def test_the_search_ends_where_hails_does(problem):
    model, _ = make(problem, se_method="hail")
    model.fit()
    expected = problem["found"]["fitted"]
    assert model.log_gamma == pytest.approx(expected["log_gamma"], abs=1e-6)
    assert model.h_sq_standard_error == pytest.approx(expected["h_sq_standard_error"], rel=1e-4)
    np.testing.assert_allclose(model.h_sq_normalized_lkhd()[1:-1], problem["found"]["likelihood"], rtol=1e-10)
