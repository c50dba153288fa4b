"""Misses of slopes on numbers worked out by hand."""

import numpy as np
import pytest

from deepmr.labelled.misses import slope_misses


def misses(change, *, u=(1.0, 2.0, 1.0, 1.0), slope=(2.0, 2.0), offsets=(0, 2, 4), shared=1.0, own=1.0, **options):
    change = np.array(change, dtype=float)
    return slope_misses(
        np.array(u), change, np.full(change.shape, own + shared), np.full(change.shape, shared), np.array(slope),
        np.array(offsets), **options,
    )  # fmt: skip


def test_miss_by_hand():
    # x follows u exactly, so c = 1; y = 3 x at the first locus, 2 x at the second
    found = misses([[1, 3], [2, 6], [1, 2], [1, 2]])
    assert found.scale == pytest.approx(1)
    assert found.miss == pytest.approx([1, 0])
    # y - 2 x has own and reference variance 1 + 4: sum u^2 = 5 and 2, (sum u)^2 = 9 and 4
    assert found.own == pytest.approx([5 * 5 / 25, 5 * 2 / 4])
    assert found.shared == pytest.approx([5 * 9 / 25, 5 * 4 / 4])
    assert found.variance == pytest.approx(found.own + found.shared)
    assert found.noise == 1  # two degrees of freedom tell nothing


def test_measured_exposure_of_another_size_only_scales():
    found = misses([[0.5, 1.5], [1, 3], [0.5, 1], [0.5, 1]])
    assert found.scale == pytest.approx(0.5)
    assert found.miss == pytest.approx([1, 0])


def test_noise_of_the_exposure_does_not_bias_where_ratios_are_biased():
    rng = np.random.default_rng(0)
    n, m, noise = 4000, 3, 3.0
    u, offsets = np.full(n * m, 4.0), np.arange(0, n * m + 1, m)
    x = u[:, None] * [1.0, 2.0]
    measured = x + noise * rng.normal(size=x.shape) - np.repeat(noise * rng.normal(size=(n, 2)), m, axis=0)
    variance = np.full(x.shape, noise**2)
    found = slope_misses(u, measured, 2 * variance, variance, np.full(n, 1.5), offsets)
    assert found.miss.mean() == pytest.approx(0.5, abs=0.06)
    # noise in x that misses share with y - b x is told by its variance too
    assert found.variance.mean() == pytest.approx(np.var(found.miss), rel=0.1)
    ratio = measured.reshape(n, m, 2).sum(axis=1)
    assert abs(np.mean(ratio[:, 1] / ratio[:, 0]) - 2) > 0.2  # a mean of ratios of the same labels


def test_noise_that_was_not_stated_shows():
    rng = np.random.default_rng(1)
    u, offsets = np.full(500, 5.0), np.arange(0, 501, 5)
    change = u[:, None] * [1.0, 2.0] + 2 * rng.normal(size=(500, 2))
    small = np.full((500, 2), 1.0)
    found = slope_misses(u, change, small, 0 * small, np.full(100, 2.0), offsets)
    assert found.noise == pytest.approx(4, rel=0.2)


def test_levels_raise_the_noise_of_references_only_as_far_as_edits_scatter():
    rng = np.random.default_rng(2)
    u, offsets = np.full(500, 5.0), np.arange(0, 501, 5)
    change = u[:, None] * [1.0, 2.0] + rng.normal(size=(500, 2))
    stated, shared = np.full((500, 2), 2.0), np.full((500, 2), 1.0)
    far = 50 * rng.normal(size=100)  # the ensemble is off in levels, or references are noisy: nobody can tell
    found = slope_misses(u, change, stated, shared, np.full(100, 2.0), offsets, level_residual=far)
    assert found.reference_noise <= max(found.noise, 1)
