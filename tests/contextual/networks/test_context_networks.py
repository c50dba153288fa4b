"""Coefficients that networks make of context: against truths that they can represent, and what must not change them."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from deepmr.contexts import ContextData, ContextualFit
from deepmr.contextual import fit_context, fit_from_state, predict
from deepmr.contextual.networks.surface import Plan, Surface
from deepmr.contextual.population import Population
from deepmr.errors import InputError

TINY = {"width": 6, "n_members": 2, "epochs": 25, "n_archetypes": 3}


def rows(n=80, seed=0, noise=0.0, **more):
    """Two outcomes whose coefficients are linear in two contexts."""
    rng = np.random.default_rng(seed)
    c, x = rng.uniform(-1, 1, (n, 2)) * [1.0, 50.0], rng.normal([0.0, 3.0], 1.0, (n, 2))
    beta, mu = truth(c)
    y = np.einsum("nok,nk->no", beta, x) + mu + noise * rng.standard_normal((n, 2))
    names = {"context_names": ("a", "b"), "predictor_names": ("u", "v"), "outcome_names": ("y", "z")}
    return ContextData(contexts=c, predictors=x, outcomes=y, **names, **more)


def truth(c):
    a, b = c[:, 0], c[:, 1] / 50
    beta = np.stack([np.stack([1 + a, 2 * b], axis=1), np.stack([a - b, -np.ones(len(c))], axis=1)], axis=1)
    return beta, np.stack([b, 4 + a], axis=1)


@pytest.mark.parametrize("form", ["naive", "subtype"])
def test_a_linear_encoder_recovers_a_linear_truth_in_the_units_of_the_input(form):
    options = {"form": form, "encoder": "linear", "weight_decay": 0.0, "n_members": 2, "epochs": 300}
    fit = fit_context(rows(), method="networks", options=options)
    at = fit.coefficients(rows(20, seed=1).contexts)
    beta, mu = truth(rows(20, seed=1).contexts)
    np.testing.assert_allclose(at.beta, beta, atol=2e-4)
    np.testing.assert_allclose(at.mu, mu, atol=2e-4)
    assert isinstance(fit, ContextualFit)


def test_one_archetype_is_one_direction_that_context_moves_along():
    options = {**TINY, "n_archetypes": 1, "n_members": 1}
    fit = fit_context(rows(), method="networks", options=options)
    surface = fit.surface(torch.randn(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    moves = (surface[0] - surface[0, :1]).detach().flatten(1).numpy()
    s = np.linalg.svd(moves, compute_uv=False)
    assert s[1] < 1e-12 * s[0]


def plan(**more):
    made = {
        "form": "subtype",
        "encoder": "mlp",
        "link": "identity",
        "n_contexts": 2,
        "n_outcomes": 2,
        "n_columns": 3,
        "n_archetypes": 4,
        "hidden": (5,),
        "activation": "Tanh",
    }
    return Plan(**{**made, **more})


def random_surface(members=2, **more):
    drawn = Surface.fresh(plan(**more), [1, 2][:members], np.zeros((members, 2, 3)))
    noise = torch.randn(drawn.parameters.shape, generator=torch.Generator().manual_seed(0))
    return Surface(drawn.plan, (drawn.parameters + noise).double())


@pytest.mark.parametrize("form", ["naive", "subtype", "multitask", "tasksplit"])
def test_an_ngam_is_a_sum_over_contexts_and_a_perceptron_is_not(form):
    """f(a, b) - f(a, 0) - f(0, b) + f(0, 0) is 0 without interactions."""
    z = torch.randn(7, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    a, b = z * torch.tensor([1.0, 0.0]), z * torch.tensor([0.0, 1.0])
    for encoder, interacts in (("ngam", False), ("linear", False), ("mlp", True)):
        surface = random_surface(form=form, encoder=encoder)
        left = surface(z) - surface(a) - surface(b) + surface(0 * z)
        assert (float(left.detach().abs().max()) > 1e-3) is interacts


@pytest.mark.parametrize("form", ["naive", "subtype", "multitask", "tasksplit"])
def test_members_are_the_same_in_any_company_and_start_from_what_context_does_not_change(form):
    constant = np.arange(12.0).reshape(2, 2, 3)
    both = Surface.fresh(plan(form=form), [1, 2], constant)
    alone = Surface.fresh(plan(form=form), [2], constant[1:])
    assert torch.equal(both.parameters[1:], alone.parameters)
    made = both(torch.randn(5, 2)).detach().numpy()
    np.testing.assert_allclose(made, np.broadcast_to(constant[:, None], made.shape), atol=1e-6)


@pytest.mark.parametrize("form", ["subtype", "multitask", "tasksplit"])
def test_forms_are_what_they_say(form):
    surface = random_surface(form=form, link="softmax", members=1)
    z = torch.randn(3, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    made = surface(z)[0].detach().flatten(1)
    (*own, archetypes, constant), encoders = surface.parts, surface.plan.encoders
    for row in range(3):
        for task in range(6):
            one = torch.eye(6, dtype=torch.float64)[task]
            here = z[row]
            if form == "subtype":
                w = torch.softmax(encoders[0](own[0], here.view(1, 1, -1)).flatten(), 0)
                value = w @ archetypes.view(4, 6)[:, task]
            elif form == "multitask":
                w = torch.softmax(encoders[0](own[0], torch.cat([here, one]).view(1, 1, -1)).flatten(), 0)
                value = w @ archetypes.flatten()
            else:
                u = torch.softmax(encoders[0](own[0], here.view(1, 1, -1)).flatten(), 0)
                v = torch.softmax(encoders[1](own[1], one.view(1, 1, -1)).flatten(), 0)
                value = u @ archetypes.view(4, 4) @ v
            assert float(value + constant[0, task]) == pytest.approx(float(made[row, task]), abs=1e-12)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_seed_says_everything(optimizer):
    options = {**TINY, "optimizer": optimizer, "epochs": 8}
    one, two, other = (fit_context(rows(noise=0.5), method="networks", options=options, seed=s) for s in (3, 3, 4))
    at = rows(5, seed=1).contexts
    np.testing.assert_array_equal(one.coefficients(at).beta, two.coefficients(at).beta)
    assert (one.coefficients(at).beta != other.coefficients(at).beta).any()


def test_a_weight_is_a_repeated_row():
    """All samples at once, none left out: to what sums in another order leave after a few steps."""
    counts = np.random.default_rng(5).integers(1, 4, 60)
    weighted = rows(60, noise=0.5, weights=counts.astype(float))
    repeated = replace(weighted, weights=None).take(np.repeat(np.arange(60), counts))
    options = {**TINY, "n_members": 1, "resampling": "split", "validation": 0.0, "epochs": 10}
    one, two = (fit_context(data, method="networks", options=options) for data in (weighted, repeated))
    at = rows(5, seed=1).contexts
    np.testing.assert_allclose(one.coefficients(at).beta, two.coefficients(at).beta, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["naive", "subtype", "multitask", "tasksplit"])
def test_state_gives_the_fit_back(form):
    fit = fit_context(rows(noise=0.5), method="networks", options={**TINY, "form": form, "epochs": 3})
    state = fit.state()
    again = fit_from_state(state.kind, state.arrays, state.settings, state.record)
    at = rows(5, seed=1).contexts
    np.testing.assert_array_equal(again.coefficients(at).se_beta, fit.coefficients(at).se_beta)
    np.testing.assert_array_equal(again.draws(at, n_draws=9, seed=1), fit.draws(at, n_draws=9, seed=1))
    np.testing.assert_array_equal(again.history, fit.history)


def test_errors_are_the_spread_of_bootstrap_members_and_splits_have_none():
    at = rows(5, seed=1).contexts
    fit = fit_context(rows(noise=0.5), method="networks", options={**TINY, "n_members": 4})
    each, told = fit.members(at), fit.coefficients(at)
    np.testing.assert_allclose(told.se_mu, each[..., 0].std(axis=0, ddof=1))
    drawn = fit.draws(at, n_draws=50, seed=0)
    assert drawn.shape == (50, 5, 2, 3)
    assert all((one == each).all(axis=(1, 2, 3)).any() for one in drawn)
    split = fit_context(rows(noise=0.5), method="networks", options={**TINY, "resampling": "split"})
    assert split.coefficients(at).se_beta is None
    with pytest.raises(InputError, match="bootstrap samples"):
        split.draws(at)


def test_log_odds_are_recovered():
    rng = np.random.default_rng(0)
    c, x = rng.uniform(-1, 1, (2500, 1)), rng.standard_normal((2500, 1))
    eta = 1.5 * c[:, 0] * x[:, 0] - 0.5
    offset = rng.standard_normal((2500, 1))
    y = (rng.uniform(size=2500) < 1 / (1 + np.exp(-eta - offset[:, 0]))).astype(float)
    data = ContextData(
        contexts=c,
        predictors=x,
        outcomes=y[:, None],
        offset=offset,
        outcome_type="binary",
        context_names=("c",),
        predictor_names=("x",),
    )
    options = {"encoder": "linear", "n_archetypes": 1, "n_members": 3, "epochs": 40}
    fit = fit_context(data, method="networks", options=options)
    at = fit.coefficients(np.array([[-0.8], [0.0], [0.8]]))
    np.testing.assert_allclose(at.beta[:, 0, 0], [-1.2, 0.0, 1.2], atol=0.25)
    np.testing.assert_allclose(at.mu[:, 0], -0.5, atol=0.25)
    chance = predict(fit, c[:3], x[:3], offset=offset[:3])
    assert ((chance > 0) & (chance < 1)).all()


def test_an_offset_is_taken_off():
    data = rows(noise=0.5)
    offset = np.random.default_rng(1).standard_normal((80, 2))
    moved = replace(data, outcomes=data.outcomes + offset, offset=offset)
    one, two = (fit_context(d, method="networks", options={**TINY, "epochs": 5}) for d in (data, moved))
    np.testing.assert_allclose(two.coefficients(data.contexts).mu, one.coefficients(data.contexts).mu, atol=1e-5)


def test_errors_that_are_all_the_same_change_nothing():
    data = rows(noise=0.5)
    known = replace(data, se_outcome=np.full((80, 2), 0.25))
    one, two = (fit_context(d, method="networks", options={**TINY, "epochs": 5}) for d in (data, known))
    np.testing.assert_array_equal(two.coefficients(data.contexts).mu, one.coefficients(data.contexts).mu)


def test_noise_in_place_of_context_leaves_the_population():
    rng = np.random.default_rng(2)
    data = replace(rows(120), contexts=rng.standard_normal((120, 2)))
    data = replace(data, outcomes=data.predictors @ [[1.0, 0.0], [2.0, 1.0]] + rng.standard_normal((120, 2)))
    fit, flat = (
        fit_context(data, method="networks", options={"width": 8, "n_members": 4, "patience": 15}),
        Population().fit(data),
    )
    apart = fit.coefficients(data.contexts).beta - flat.coefficients(data.contexts).beta
    assert np.sqrt((apart**2).mean()) < 0.12


def test_contexts_that_do_not_vary_are_left_out():
    data = rows(noise=0.5)
    still = replace(data, contexts=np.ones_like(data.contexts))
    fit = fit_context(still, method="networks", options={**TINY, "n_members": 1})
    at = fit.coefficients(still.contexts[:2])
    assert fit.record.constant == ("a", "b")
    np.testing.assert_allclose(at.beta[0], at.beta[1])


def test_penalty_shrinks_slopes_whatever_the_batch(caplog):
    data = rows(noise=0.5)
    with caplog.at_level(logging.INFO):
        fits = [fit_context(data, method="networks", options={**TINY, "penalty": p}) for p in (0.0, 1.0, 100.0)]
    sizes = [np.abs(fit.coefficients(data.contexts).beta) for fit in fits]
    assert sizes[0].mean() > sizes[1].mean() > 10 * sizes[2].mean()
    assert "2 networks trained" in caplog.text


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"form": "other"}, "form"),
        ({"validation": 1.0}, "validation below 1"),
        ({"resampling": "split", "validation": 0.001}, "got 80 and a validation share"),
        ({"n_members": 0}, "n_members"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_options_that_cannot_be(options, line):
    with pytest.raises(InputError, match=line):
        fit_context(rows(), method="networks", options=options)
