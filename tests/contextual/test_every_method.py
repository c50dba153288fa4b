"""What every method of `contextual.METHODS` keeps to; one that is added to the table is tried by itself."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.contexts import ContextData, ContextualFit
from deepmr.contextual import METHODS, fit_context, fit_from_state, predict
from deepmr.errors import InputError
from deepmr.io.contextual_fits import read_fit, write_fit

OPTIONS = {  # quick ones
    "auto": {"candidates": "ridge", "n_folds": 3},
    "clusters": {"max_clusters": 4, "n_init": 2},
    "gp": {"integrate": False, "scatter": False},
    "networks": {"width": 6, "n_archetypes": 3, "epochs": 20},
}
NOT_EXACT = {"networks"}  # found by descent: order, units and weights change where it ends
# Rows that are there twice tell a flexible process that there is no noise: the likelihood then has no maximum.
OF_WEIGHTS = {"gp": {"shapes": "constant,linear", "integrate": False, "scatter": False}}
NEEDS_POINTS = {"gp"}  # cannot be asked for none
TOLERANCE = {"gp": 1e-3}  # of a maximum of the likelihood, which rounding moves
EVERY = [pytest.param(name, id=name) for name in METHODS]
EXACT = [pytest.param(name, id=name) for name in METHODS if name not in NOT_EXACT]


def samples(n=45, seed=0):
    rng = np.random.default_rng(seed)
    c, x = rng.uniform(-1, 1, (n, 2)), rng.standard_normal((n, 2))
    y = np.column_stack([(c[:, 0] + 0.5) * x[:, 0] - x[:, 1], c[:, 1] + 0.2 * x[:, 1]])
    return ContextData(
        contexts=c,
        predictors=x,
        outcomes=y + 0.2 * rng.standard_normal((n, 2)),
        context_names=("a", "b"),
        predictor_names=("u", "v"),
        outcome_names=("p", "q"),
    )


def fit(name, data, *, options=OPTIONS):
    return fit_context(data, method=name, options=options.get(name))


@pytest.fixture(scope="module")
def fits():
    """The fits of all methods to the same samples."""
    return {name: fit(name, samples()) for name in METHODS}


def agree(name, one, two):
    np.testing.assert_allclose(one, two, rtol=TOLERANCE.get(name, 1e-7), atol=TOLERANCE.get(name, 1e-8))


@pytest.mark.parametrize("name", EVERY)
def test_coefficients_have_the_shapes_of_the_protocol(name, fits):
    made, at = fits[name], samples(7, seed=3).contexts
    assert isinstance(made, ContextualFit)
    told = made.coefficients(at)
    assert told.beta.shape == (7, 2, 2)
    assert told.mu.shape == (7, 2)
    assert told.outside.shape == (7,)
    assert np.isfinite(told.beta).all()
    assert np.isfinite(told.mu).all()
    if told.se_beta is None:
        with pytest.raises(InputError):
            made.draws(at, n_draws=2)
    else:
        assert told.se_beta.shape == (7, 2, 2)
        assert told.se_mu.shape == (7, 2)
        assert (told.se_beta > 0).all()
        drawn = made.draws(at, n_draws=2, seed=1)
        assert drawn.shape == (2, 7, 2, 3)
        np.testing.assert_array_equal(drawn, made.draws(at, n_draws=2, seed=1))
    if told.unlearned is not None:
        assert ((told.unlearned >= 0) & (told.unlearned <= 1)).all()
    if name not in NEEDS_POINTS:
        assert made.coefficients(np.empty((0, 2))).beta.shape == (0, 2, 2)
    assert predict(made, at, np.zeros((7, 2))) == pytest.approx(told.mu)


@pytest.mark.parametrize("name", EVERY)
def test_record_says_what_was_fitted(name, fits):
    record = fits[name].record
    assert record.method == name
    assert (record.n, record.seed) == (45, 0)
    assert (record.context_names, record.predictor_names) == (("a", "b"), ("u", "v"))
    assert all(np.isfinite(value) for value in record.measures.values())
    again = fit_context(samples(), method=record.method, options=record.options)
    assert again.record.options == record.options


@pytest.mark.parametrize("name", EVERY)
def test_a_folder_gives_the_fit_back(name, fits, tmp_path):
    write_fit(fits[name], tmp_path / "fit", {})
    state = fits[name].state()
    at = samples(9, seed=4).contexts
    for again in (
        read_fit(tmp_path / "fit"),
        fit_from_state(state.kind, state.arrays, state.settings, state.record),
    ):
        np.testing.assert_array_equal(again.coefficients(at).beta, fits[name].coefficients(at).beta)
        np.testing.assert_array_equal(again.coefficients(at).mu, fits[name].coefficients(at).mu)
        assert again.record == fits[name].record


@pytest.mark.parametrize("name", EVERY)
def test_a_seed_gives_the_same_fit(name, fits):
    at = samples(9, seed=4).contexts
    again = fit(name, samples())
    np.testing.assert_array_equal(again.coefficients(at).beta, fits[name].coefficients(at).beta)


@pytest.mark.parametrize("name", EXACT)
def test_the_order_of_rows_does_not_matter(name, fits):
    at = samples(9, seed=4).contexts
    moved = fit(name, samples().take(np.random.default_rng(1).permutation(45)))
    agree(name, moved.coefficients(at).beta, fits[name].coefficients(at).beta)


@pytest.mark.parametrize("name", EXACT)
def test_units_change_nothing_but_units(name, fits):
    data, at = samples(), samples(9, seed=4)
    slope, shift = np.array([1e5, 1e-7]), np.array([3e5, 2e-7])
    times = np.array([10.0, 0.01])
    moved = fit(
        name,
        replace(
            data,
            contexts=data.contexts * slope + shift,
            predictors=data.predictors * times + 1.0,
            outcomes=6 * data.outcomes - 4,
        ),
    )
    one, two = fits[name].coefficients(at.contexts), moved.coefficients(at.contexts * slope + shift)
    agree(name, two.beta * times / 6, one.beta)
    if one.se_beta is not None:
        agree(name, two.se_beta * times / 6, one.se_beta)
    np.testing.assert_array_equal(two.outside, one.outside)
    predicted = predict(moved, at.contexts * slope + shift, at.predictors * times + 1.0)
    agree(name, (predicted + 4) / 6, predict(fits[name], at.contexts, at.predictors))


@pytest.mark.parametrize("name", EXACT)
def test_a_weight_is_a_repeated_row(name):
    data, at = samples(), samples(9, seed=4).contexts
    counts = np.random.default_rng(2).integers(1, 4, 45)
    options = OPTIONS | OF_WEIGHTS
    one = fit(name, replace(data, weights=counts.astype(float)), options=options).coefficients(at)
    two = fit(name, data.take(np.repeat(np.arange(45), counts)), options=options).coefficients(at)
    agree(name, one.beta, two.beta)
    if one.se_beta is not None:
        agree(name, one.se_beta, two.se_beta)


@pytest.mark.parametrize("name", EVERY)
def test_contexts_and_predictors_of_another_number_are_refused(name, fits):
    with pytest.raises(InputError, match=r"the fit has 2 contexts \(a, b\); got 3"):
        fits[name].coefficients(np.zeros((2, 3)))
    with pytest.raises(InputError, match="predictors must be 2 rows of 2"):
        predict(fits[name], np.zeros((2, 2)), np.zeros((2, 1)))
    with pytest.raises(InputError, match="contexts must be finite; 1 are not, first 'b' at row 1"):
        fits[name].coefficients(np.array([[0.0, 0.0], [0.0, np.nan]]))


@pytest.mark.parametrize("name", EVERY)
def test_an_offset_is_not_fitted(name):
    data = samples()
    moved = replace(data, outcomes=data.outcomes + 100.0, offset=np.full((45, 2), 100.0))
    at = samples(5, seed=4)
    one, two = fit(name, data), fit(name, moved)
    tolerance = 0.1 if name in NOT_EXACT else 1e-3
    np.testing.assert_allclose(one.coefficients(at.contexts).mu, two.coefficients(at.contexts).mu, atol=tolerance)
