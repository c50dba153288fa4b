"""Searches that begin with some rows, or where another ended, end where one from the default starts does."""

import numpy as np
import pytest

from deepmr.contextual import fit_context, kernel_maxima
from deepmr.contextual.kernel_maxima import find_maxima
from deepmr.contextual.kernel_mixture import fit_mixture
from deepmr.contextual.kernel_model import KernelModel
from deepmr.simulate.contexts import simulate_contexts

SHAPES = ("constant", "smooth", "rough")


def rows(n=150, seed=0, **given):
    rng = np.random.default_rng(seed)
    z, x = rng.standard_normal((n, 2)), np.column_stack([np.ones(n), rng.standard_normal(n)])
    y = np.sin(z[:, 0]) + x[:, 1] * z[:, 1] + 0.3 * rng.standard_normal(n)
    made = {"z": z, "x": x, "y": y, "noise": np.zeros(n), "counts": np.ones(n)}
    return KernelModel(**{**made, **given})


def values(found):
    return {one.model.shape: one.at.value for one in found if one.likely}


@pytest.mark.parametrize("groups", [None, np.arange(150) // 2])
def test_stages_end_at_the_maximum_of_all_rows(monkeypatch, groups):
    model = rows(groups=groups, scatter=() if groups is None else (1,))
    whole = values(find_maxima(model, SHAPES, {}))
    monkeypatch.setattr(kernel_maxima, "_SOME", (60,))
    assert values(find_maxima(model, SHAPES, {})) == pytest.approx(whole, abs=1e-4)
    monkeypatch.setattr(kernel_maxima, "_ONE_SIDE", 1)
    one_sided = find_maxima(model, SHAPES, {})
    assert values(one_sided) == pytest.approx(whole, abs=1e-4)


def test_a_search_that_begins_elsewhere_ends_at_the_same_place():
    other, model = rows(seed=1), rows(n=130, seed=2)
    cold = fit_mixture(model, SHAPES, integrate=True)
    warm = fit_mixture(model, SHAPES, integrate=True, like=fit_mixture(other, SHAPES, integrate=True))
    assert set(cold.starts) == set(SHAPES)
    z = other.z[:10]
    np.testing.assert_allclose(warm.mean(z), cold.mean(z), atol=1e-3)
    np.testing.assert_allclose(warm.posterior(z).covariance, cold.posterior(z).covariance, atol=1e-4)


def test_a_fit_like_another_of_other_contexts_begins_anew():
    one, two = (simulate_contexts("linear", n=60, n_noise_contexts=k, seed=0) for k in (0, 1))
    options = {"shapes": ("constant", "smooth")}
    before = fit_context(one.train, method="gp", options=options)
    made = fit_context(two.train, method="gp", options=options, like=before)
    alone = fit_context(two.train, method="gp", options=options)
    at = two.test.contexts[:5]
    np.testing.assert_array_equal(made.coefficients(at).beta, alone.coefficients(at).beta)
