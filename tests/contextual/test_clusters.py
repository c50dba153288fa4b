"""Clusters of contexts: a population model in each, and what is said where one is too small."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.cluster import KMeans

from deepmr.contexts import ContextData
from deepmr.contextual import fit_context, predict
from deepmr.errors import InputError


def blocks(n=90, seed=0, noise=0.05):
    """Three blocks of contexts, with slopes -1, 0 and 2."""
    rng = np.random.default_rng(seed)
    block = np.arange(n) % 3
    c = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])[block] + 0.3 * rng.standard_normal((n, 2))
    x = rng.standard_normal((n, 1))
    y = np.array([-1.0, 0.0, 2.0])[block][:, None] * x + 0.5 + noise * rng.standard_normal((n, 1))
    data = ContextData(contexts=c, predictors=x, outcomes=y, context_names=("a", "b"), predictor_names=("u",))
    return data, block


def test_three_blocks_are_found_and_each_has_its_own_regression():
    data, block = blocks()
    fit = fit_context(data, method="clusters")
    assert fit.record.measures["n_clusters"] == 3
    at = fit.coefficients(data.contexts)
    for k in range(3):
        own = fit_context(data.take(block == k), method="population").coefficients(data.contexts[:1])
        rows = block == k
        np.testing.assert_allclose(at.beta[rows], np.broadcast_to(own.beta, at.beta[rows].shape), rtol=1e-10)
        np.testing.assert_allclose(at.se_mu[rows], np.broadcast_to(own.se_mu, at.se_mu[rows].shape), rtol=1e-10)
    drawn = fit.draws(data.contexts[:4], n_draws=3000, seed=1)
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 3])
    np.testing.assert_allclose(drawn[..., 1:].std(axis=0), at.se_beta[:4], rtol=0.06)


def test_labels_are_those_of_scikit_learn():
    data, _ = blocks(noise=1.0)
    fit = fit_context(data, method="clusters", options={"n_clusters": 3}, seed=4)
    peer = KMeans(n_clusters=3, n_init=10, random_state=4).fit(fit.scaling(data.contexts))
    pairs = set(zip(fit.labels(data.contexts).tolist(), peer.labels_.tolist(), strict=True))
    assert len(pairs) == 3


def test_one_cluster_is_the_population():
    data, _ = blocks()
    fit = fit_context(data, method="clusters", options={"n_clusters": 1})
    whole = fit_context(data, method="population")
    one, two = (f.coefficients(data.contexts[:2]) for f in (fit, whole))
    np.testing.assert_allclose(one.beta, two.beta, rtol=1e-12)
    assert fit.record.measures["loo_mse"] == pytest.approx(whole.record.measures["loo_mse"])


def test_a_cluster_without_rows_to_spare_takes_the_population():
    data, _ = blocks(30)
    far = replace(
        data,
        contexts=np.vstack([data.contexts, [[50.0, 50.0]]]),
        predictors=np.vstack([data.predictors, [[1.0]]]),
        outcomes=np.vstack([data.outcomes, [[9.0]]]),
    )
    fit = fit_context(far, method="clusters", options={"n_clusters": 2})
    assert "One cluster has too few rows" in " ".join(fit.record.warnings)
    whole = fit_context(far, method="population").coefficients(far.contexts[-1:])
    np.testing.assert_allclose(fit.coefficients(far.contexts[-1:]).beta, whole.beta, rtol=1e-12)


def test_binary_outcomes_choose_by_the_akaike_criterion():
    data, block = blocks(600, noise=1.0)
    binary = replace(data, outcomes=(data.outcomes > 0.5).astype(float), outcome_type="binary")
    fit = fit_context(binary, method="clusters", options={"max_clusters": 4, "n_init": 2})
    assert fit.record.measures["n_clusters"] >= 3
    right = predict(fit, binary.contexts, binary.predictors).round() == binary.outcomes
    assert right[block != 1].mean() > 0.7


def test_more_clusters_than_places_are_refused():
    data, _ = blocks(12)
    with pytest.raises(InputError, match="13 clusters need as many different contexts; there are 12"):
        fit_context(data, method="clusters", options={"n_clusters": 13})
