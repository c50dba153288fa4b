"""Densities of the exposure: the likelihood row by row against scipy."""

import numpy as np
import pytest
import torch
from scipy import stats

from deepmr.nonlinear.networks.densities import Components, minus_log_density, n_outputs, read_components


def test_likelihood_of_every_row_is_that_of_its_own_mixture():
    rng = np.random.default_rng(0)
    shares, means, sds = rng.dirichlet(np.ones(3), 6), rng.normal(size=(6, 3)), rng.uniform(0.3, 2, (6, 3))
    x = rng.normal(size=6)
    by_hand = -np.log((shares * stats.norm(means, sds).pdf(x[:, None])).sum(axis=1))
    parts = (torch.from_numpy(part) for part in (np.log(shares), means, sds))
    got = minus_log_density(torch.from_numpy(x), Components(*parts))
    assert got.numpy() == pytest.approx(by_hand)


def test_far_values_have_a_finite_likelihood():
    components = Components(torch.log(torch.tensor([[0.5, 0.5]])), torch.zeros(1, 2), torch.tensor([[0.01, 0.02]]))
    assert torch.isfinite(minus_log_density(torch.tensor([50.0]), components)).all()


def test_outputs_of_a_gaussian_are_mean_and_standard_deviation():
    outputs = torch.tensor([[1.0, 0.0]])
    found = read_components(outputs, torch.tensor([2.0]), "gaussian")
    assert found.means.item() == 3.0
    assert found.sds.item() == pytest.approx(np.log(2) + 1e-3)  # a softplus, not a variance
    assert found.log_shares.item() == 0.0


def test_mixture_shares_sum_to_one_and_components_start_apart():
    found = read_components(torch.zeros(4, n_outputs("mixture", 5)), torch.zeros(4), "mixture")
    assert found.log_shares.exp().sum(dim=1).numpy() == pytest.approx(np.ones(4))
    assert len(set(found.means[0].tolist())) == 5
