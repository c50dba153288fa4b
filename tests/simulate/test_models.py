"""Models of one's own: streams, roles, truths by hand and by intervention."""

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.simulate.distributions import Beta, Exponential, MultivariateNormal, Normal, Uniform, Variant
from deepmr.simulate.models import Model
from deepmr.simulate.sampling import draw_parameters, draw_sample, resample, true_response


def make_model(**changes):
    given = {
        "parameters": {"effect": 0.3, "spread": Uniform(low=1, high=2), "doubled": lambda effect: 2 * effect},
        "variables": {
            "g": Variant(frequency=0.3, columns=3),
            "c": Normal(),
            "u": Normal(sd="spread"),
            "x": lambda g, c, u, rng, n: g.sum(axis=1) + c + u + rng.normal(size=n),
            "y": lambda x, c, u, effect: effect * x**2 + c * x - u + 1,
        },
        "exposure": "x",
        "outcome": "y",
        "instruments": ("g",),
        "covariates": ("c",),
        "response": lambda x, effect: effect * x**2 + 1,
        "response_given": lambda x, c, effect: effect * x**2 + c * x + 1,
    }
    return Model(**given | changes)


def test_roles_become_data():
    data = draw_sample(make_model(), 50).data
    assert data.instrument_names == ("g1", "g2", "g3")
    assert data.covariate_names == ("c",)
    assert (data.exposure_name, data.outcome_name) == ("x", "y")
    assert len(data) == 50


def test_same_seed_same_data_and_other_seed_other_data():
    first, again, other = (draw_sample(make_model(), 20, seed=seed) for seed in (1, 1, 2))
    for name in first.variables:
        np.testing.assert_array_equal(first.variables[name], again.variables[name])
    assert not np.array_equal(first.variables["u"], other.variables["u"])


def test_a_changed_effect_leaves_the_causes_as_they_were():
    sample = draw_sample(make_model(), 20, seed=3)
    changed = draw_sample(make_model(), 20, seed=3, parameters={**sample.parameters, "effect": 1.0})
    np.testing.assert_array_equal(sample.variables["x"], changed.variables["x"])
    np.testing.assert_allclose(
        changed.variables["y"] - sample.variables["y"], 0.7 * sample.variables["x"] ** 2, atol=1e-9
    )


def test_parameters_follow_from_parameters():
    drawn = draw_parameters(make_model(), seed=4)
    assert drawn["doubled"] == 0.6
    assert 1 <= drawn["spread"] <= 2
    assert isinstance(drawn["spread"], float)


def test_replicates_draw_parameters_or_keep_them():
    drawn = list(resample(make_model(), 30, n_replicates=3))
    same = list(resample(make_model(), 30, n_replicates=3, parameters="same"))
    assert len({sample.parameters["spread"] for sample in drawn}) == 3
    assert len({sample.parameters["spread"] for sample in same}) == 1
    assert len({sample.variables["u"][0] for sample in same}) == 3
    np.testing.assert_array_equal(drawn[0].variables["y"], same[0].variables["y"])


def test_the_known_response_is_what_the_intervention_gives():
    x = np.array([-1.0, 0.0, 2.0])
    known = true_response(make_model(), x)
    np.testing.assert_allclose(known, [1.3, 1.0, 2.2])
    np.testing.assert_allclose(true_response(make_model(), x, by="intervention"), known, atol=0.03)


def test_an_unknown_response_is_found_by_intervention():
    x, c = np.array([0.0, 2.0]), np.array([1.0, -1.0])
    model = make_model(response=None, response_given=None)
    np.testing.assert_allclose(true_response(model, x, n=50_000), [1.0, 2.2], atol=0.04)
    np.testing.assert_allclose(true_response(model, x, given={"c": c}, n=50_000), [1.0, 0.2], atol=0.04)
    sample = draw_sample(make_model(), 10)
    np.testing.assert_allclose(sample.truth_given(x, c[:, None]), [1.0, 0.2])
    np.testing.assert_allclose(sample.truth(x), [1.0, 2.2])


def test_a_covariate_may_have_several_columns():
    model = Model(
        variables={
            "c": Normal(columns=2),
            "g": Variant(),
            "x": lambda g, c, rng, n: g + c[:, 0] + rng.normal(size=n),
            "y": lambda x, c, k=2.0: k * x + c[:, 1],
        },
        exposure="x",
        outcome="y",
        instruments=("g",),
        covariates=("c",),
    )
    sample = draw_sample(model, 20)
    assert sample.data.covariate_names == ("c1", "c2")
    given = np.array([[0.0, 1.0], [5.0, -1.0]])
    np.testing.assert_allclose(sample.truth_given(np.array([1.0, 2.0]), given), [3.0, 3.0])


def test_confounding_biases_regression_and_not_the_truth():
    sample = draw_sample(make_model(), 20_000)
    slope = np.polyfit(sample.variables["x"], sample.variables["y"] - 0.3 * sample.variables["x"] ** 2, 1)[0]
    assert abs(slope) > 0.1


def test_a_covariate_with_causes_cannot_be_held():
    model = make_model(response=None, response_given=None)
    caused = dict(model.variables) | {"c": lambda u: u}
    order = {name: caused[name] for name in ("g", "u", "c", "x", "y")}
    with pytest.raises(InputError, match="covariate c has causes"):
        true_response(make_model(variables=order, response_given=None), np.zeros(2), given={"c": np.zeros(2)})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variables": {"y": lambda x: x, "x": Normal(), "g": Normal(), "c": Normal()}}, "variable y refers to x"),
        ({"exposure": "xx"}, "did you mean 'x'"),
        ({"parameters": {"effect": 1.0, "spread": 1.0, "x": 1.0}}, "x has the name of something else"),
        ({"covariates": ("x",)}, "'x' occurs more than once"),
        ({"response": lambda x, efect: x}, "did you mean 'effect'"),
    ],
)
def test_a_wrong_model_is_one_line(changes, said):
    with pytest.raises(InputError, match=said):
        make_model(**changes)


def test_a_function_of_the_wrong_size_is_one_line():
    model = make_model()
    with pytest.raises(InputError, match="variable y must have 10 samples"):
        draw_sample(make_model(variables=dict(model.variables) | {"y": lambda x: x[:-1]}), 10)
    with pytest.raises(InputError, match="spread, doubled not given"):
        draw_sample(model, 10, parameters={"effect": 1.0})


def test_distributions_have_their_moments():
    rng = np.random.default_rng(0)
    n = 200_000
    covariance = np.array([[1.0, 0.5], [0.5, 2.0]])
    for drawn, mean, variance in (
        (Variant(frequency=0.2).draw(n, rng), 0.4, 0.32),
        (Normal(mean=2, sd=3).draw(n, rng), 2, 9),
        (Uniform(low=-1, high=3).draw(n, rng), 1, 16 / 12),
        (Beta(a=2, b=3).draw(n, rng), 0.4, 0.04),
        (Exponential(mean=2).draw(n, rng), 2, 4),
    ):
        assert drawn.shape == (n,)
        assert drawn.mean() == pytest.approx(mean, abs=0.03)
        assert drawn.var() == pytest.approx(variance, rel=0.03)
    rows = MultivariateNormal(mean=(1.0, -1.0), covariance=covariance).draw(n, rng)
    np.testing.assert_allclose(np.cov(rows.T), covariance, atol=0.03)
    frequencies = Variant(frequency=(0.0, 1.0), columns=2).draw(5, rng)
    np.testing.assert_array_equal(frequencies, [[0, 2]] * 5)


@pytest.mark.parametrize(
    ("distribution", "said"),
    [
        (Variant(frequency=1.5), "between 0 and 1"),
        (Normal(sd=-1), "sd of a distribution"),
        (Uniform(low=1, high=0), "low must not be above high"),
        (Normal(mean=(1.0, 2.0, 3.0), columns=2), "one of 2 columns"),
        (MultivariateNormal(mean=(0.0, 0.0), covariance=np.array([[1.0, 2.0], [2.0, 1.0]])), "positive semi-definite"),
    ],
)
def test_a_wrong_distribution_is_one_line(distribution, said):
    with pytest.raises(InputError, match=said):
        distribution.draw(4, np.random.default_rng(0))
