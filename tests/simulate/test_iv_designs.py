"""The ready designs: the same as the prototypes' where those are at hand, and their truths by intervention."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.simulate.iv_designs import DESIGNS, demand_grid, effect_of_modifier, simulate_demand, simulate_iv
from deepmr.simulate.iv_models import MODELS, polygenic_model, tian_model
from deepmr.simulate.sampling import draw_sample, true_response

PROTOTYPE = Path(__file__).resolve().parents[3] / "shared" / "prototypes" / "iv_designs.py"
DRAWN = ("burgess_j", "effect_mod", "poly20", "sine", "het20")


@pytest.fixture(scope="module")
def prototype():
    if not PROTOTYPE.is_file():
        pytest.skip("the prototypes are not beside the checkout (shared/prototypes)")
    spec = importlib.util.spec_from_file_location("iv_designs_prototype", PROTOTYPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("design", DRAWN)
@pytest.mark.parametrize(("seed", "n"), [(0, 400), (7, 1000)])
def test_arrays_are_those_of_the_prototype(prototype, design, seed, n):
    ours, theirs = simulate_iv(design, n=n, seed=seed), prototype.make(design, seed, n)
    np.testing.assert_array_equal(ours.data.instruments, theirs["z"])
    np.testing.assert_array_equal(ours.data.exposure, theirs["x"])
    np.testing.assert_array_equal(ours.data.outcome, theirs["y"])
    if theirs["c"] is None:
        assert ours.data.covariates.shape == (n, 0)
        assert ours.truth_given is None
    else:
        np.testing.assert_array_equal(ours.data.covariates, theirs["c"])
    x = np.linspace(-1, 2, 7)
    np.testing.assert_array_equal(ours.truth(x), theirs["truth"](x))


@pytest.mark.parametrize("rho", [0.1, 0.5])
def test_demand_is_that_of_the_prototype(prototype, rho):
    ours, theirs = simulate_demand(300, rho=rho, seed=3), prototype.demand(300, rho=rho, seed=3)
    np.testing.assert_array_equal(np.column_stack([ours.data.instruments, ours.data.covariates]), theirs["z"])
    np.testing.assert_array_equal(ours.data.exposure, theirs["x"])
    np.testing.assert_array_equal(ours.data.outcome, theirs["y"])
    grid = demand_grid()
    np.testing.assert_array_equal(np.column_stack([grid.x, grid.covars]), theirs["test"])
    np.testing.assert_array_equal(grid.truth, theirs["test_truth"])


@pytest.mark.parametrize("design", DESIGNS)
def test_every_design_runs_and_is_seeded(design):
    one, again, other = (simulate_iv(design, n=200, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.data.outcome, again.data.outcome)
    assert not np.array_equal(one.data.outcome, other.data.outcome)
    assert np.isfinite(one.truth(np.linspace(-2, 3, 11))).all()
    assert (one.truth_given is not None) == bool(one.data.covariate_names)
    assert DESIGNS[design]


@pytest.mark.parametrize("name", MODELS)
def test_the_truth_of_a_model_is_what_an_intervention_gives(name):
    model, x = MODELS[name], np.array([-1.5, 0.5, 2.5])
    known = true_response(model, x)
    np.testing.assert_allclose(true_response(model, x, by="intervention", n=40_000), known, atol=0.04)


@pytest.mark.parametrize("design", ["effect_mod", "demand"])
def test_the_average_truth_is_the_mean_over_covariates(design):
    drawn = simulate_iv(design, n=100_000)
    for at in (-1.0, 2.0):
        given = drawn.truth_given(np.full(100_000, at), drawn.data.covariates)
        np.testing.assert_allclose(drawn.truth(np.array([at]))[0], given.mean(), atol=5 * given.std() / 300)


def test_the_third_response_of_tian_acts_below_zero_alone():
    x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    np.testing.assert_allclose(true_response(tian_model("a", "3"), x), [-0.4, -0.1, 0, 0, 0])
    assert sum(name.startswith("tian_") for name in DESIGNS) == 12
    whole = simulate_iv("tian_d2", n=100).data.exposure
    np.testing.assert_array_equal(whole, np.round(whole))


def test_variants_explain_what_they_should():
    sample = draw_sample(polygenic_model(n_variants=10, explained=0.4), 50_000)
    g, x = sample.data.instruments, sample.data.exposure
    fitted = g @ np.linalg.lstsq(g - g.mean(0), x - x.mean(), rcond=None)[0]
    assert np.var(fitted) / np.var(x) == pytest.approx(0.4, abs=0.02)
    assert np.var(x) == pytest.approx(1, abs=0.03)


def test_the_modifier_has_its_effect():
    np.testing.assert_allclose(effect_of_modifier(np.array([0.0, 100.0])), [0.3, 0.6])
    given = simulate_iv("effect_mod", n=10).truth_given(np.array([1.0, 2.0]), np.zeros((2, 1)))
    np.testing.assert_allclose(given, [0.3, 0.6])


def test_an_unknown_design_is_one_line():
    with pytest.raises(InputError, match="did you mean 'poly20'"):
        simulate_iv("poly2")
    with pytest.raises(InputError, match="rho must be between"):
        simulate_demand(10, rho=2.0)
