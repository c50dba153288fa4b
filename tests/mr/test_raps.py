"""RAPS against its definition, one locus at a time, and where its equations have several solutions."""

import numpy as np
import pytest
from scipy import optimize, stats

from deepmr.mr.losses import loss_of
from deepmr.mr.raps import raps
from tests.mr.builders import locus, pack, simulated


@pytest.mark.parametrize("name", ["l2", "huber", "tukey"])
def test_losses_are_integrals_of_their_weights(name):
    loss = loss_of(name)
    z = np.linspace(-6, 6, 20001)
    score = loss.weight(z**2) * z
    assert np.gradient(loss.rho(z**2), z)[1:-1] == pytest.approx(score[1:-1], abs=1e-3)
    mass = stats.norm.pdf(z)
    for ours, values in (
        (loss.delta, z * score),
        (loss.score_square, score**2),
        (loss.mean, loss.rho(z**2)),
        (loss.pull_slope, z * np.gradient(z * score, z)),
    ):
        assert ours == pytest.approx(np.trapezoid(values * mass, z), rel=1e-4)


@pytest.mark.parametrize("name", ["l2", "huber", "tukey"])
def test_both_equations_hold(name):
    given = simulated(counts=(30, 12), noise=0.3, seed=3)
    given = pack(
        given.beta_exposure[:, 0],
        given.beta_outcome + np.random.default_rng(1).normal(size=42) * 0.4,
        0.3,
        0.3,
        counts=(30, 12),
    )
    table, loss = raps(given, loss=name).table, loss_of(name)
    assert (table["tau2"] > 0).all()
    for i in range(2):
        one = locus(given, i)

        def equations(at, one=one):
            x, y, s2 = one.beta_exposure[:, 0], one.beta_outcome, 0.09
            v = s2 * (1 + at[0] ** 2) + at[1]
            z = (y - at[0] * x) / np.sqrt(v)
            pull = loss.weight(z**2) * z
            g = (x / s2 + at[0] * y / (s2 + at[1])) / (1 / s2 + at[0] ** 2 / (s2 + at[1]))
            return [np.sum(g * pull / np.sqrt(v)), np.sum((z * pull - loss.delta) / v)]

        ours = table.loc[i, ["beta", "tau2"]].to_numpy(float)
        solved = optimize.root(equations, ours * 1.01, tol=1e-13).x
        assert ours == pytest.approx(solved, rel=1e-8)


def test_two_groups_of_instruments_are_two_solutions():
    x = np.linspace(1, 3, 12)
    slope = np.where(np.arange(12) < 7, 0.5, 3.0)
    table = raps(pack(x, slope * x, 0.01, 0.05), loss="tukey", overdispersion=False).table
    assert table["n_roots"][0] == 2
    assert table["beta"][0] == pytest.approx(0.5, abs=1e-3)


def test_little_scatter_means_no_overdispersion():
    given = simulated(noise=0.05)
    exact = pack(given.beta_exposure[:, 0], 0.5 * given.beta_exposure[:, 0], 0.1, 0.1, counts=given.counts)
    with_tau2, without = raps(exact).table, raps(exact, overdispersion=False).table
    assert (with_tau2["tau2"] == 0).all()
    assert with_tau2[["beta", "se"]].equals(without[["beta", "se"]])
