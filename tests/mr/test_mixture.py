"""Mixtures of a normal of known variances and another: against EM that goes on for long."""

import numpy as np
import pytest

from deepmr.mr.mixture import LEAST, MOST, fit_mixtures


def long_em(square, variance, start, low, steps=20_000):
    p, s = 0.6, start
    valid = np.exp(-0.5 * square / variance) / np.sqrt(variance)
    for _ in range(steps):
        other = (1 - p) * np.exp(-0.5 * square / s) / np.sqrt(s)
        share = p * valid / (p * valid + other)
        p = np.clip(share.mean(), LEAST, MOST)
        s = max(np.sum((1 - share) * square) / max(np.sum(1 - share), 1e-300), low)
    return p, s


def test_the_maximum_is_that_of_em():
    rng = np.random.default_rng(1)
    variance = rng.uniform(0.5, 1.5, (20, 15))
    far = np.where(rng.random((20, 15)) < 0.4, rng.uniform(3, 60, (20, 1)), 1)
    square = variance * far * rng.normal(size=(20, 15)) ** 2
    known = np.arange(15) < np.where(np.arange(20) % 2, 15, 10)[:, None]
    low = np.full(20, 0.8)
    start = np.maximum(np.sum(square * known, axis=1) / known.sum(axis=1), low)
    found = fit_mixtures(square, variance, known, start=start, low=low, high=np.full(20, np.inf))
    for i in range(20):
        p, s = long_em(square[i, known[i]], variance[i, known[i]], start[i], low[i])
        assert found.pi0[i] == pytest.approx(p, abs=1e-5)
        if p < 0.999:
            assert found.sigma2[i] == pytest.approx(s, rel=1e-4)


def test_padding_and_company_change_nothing():
    rng = np.random.default_rng(2)
    square, variance = rng.chisquare(1, (2, 8)) * 3, np.ones((2, 8))
    known = np.arange(8) < np.array([[8], [5]])
    limits = {"start": np.full(2, 4.0), "low": np.full(2, 0.5), "high": np.full(2, 100.0)}
    both = fit_mixtures(square, variance, known, **limits)
    alone = fit_mixtures(
        square[1:, :5], variance[1:, :5], known[1:, :5], **{name: value[1:] for name, value in limits.items()}
    )
    assert both.pi0[1] == pytest.approx(alone.pi0[0], rel=1e-12)
    assert both.likelihood[1] == pytest.approx(alone.likelihood[0], rel=1e-12)
