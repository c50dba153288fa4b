"""The second stage for any columns: two-stage least squares by hand, and errors against simulation."""

import numpy as np
import pytest

from deepmr.nonlinear.feature_solve import Columns, solve_features
from deepmr.nonlinear.smoothing import Group


def draw(seed, n=400):
    rng = np.random.default_rng(seed)
    z, u = rng.normal(size=(n, 2)), rng.normal(size=n)
    x = z @ [0.7, 0.5] + u + rng.normal(size=n)
    y = 2 + 0.5 * x - u + rng.normal(size=n) * (1 + 0.5 * np.abs(z[:, 0]))
    return z, x, y


def linear(z, x):
    one = np.ones((len(x), 1))
    design = np.hstack([one, z])
    return np.hstack([one, x[:, None]]), design @ np.linalg.lstsq(design, np.hstack([one, x[:, None]]), rcond=None)[0]


def test_coefficients_and_errors_are_those_of_two_stage_least_squares():
    z, x, y = draw(0)
    seen, expected = linear(z, x)
    solved = solve_features(Columns(expected=expected, seen=seen, weights=np.ones(400)), y, ())
    b = np.linalg.solve(expected.T @ seen, expected.T @ y)
    bread = np.linalg.inv(expected.T @ expected)
    scores = expected * (y - seen @ b)[:, None]
    assert solved.coefficients == pytest.approx(b, rel=1e-6)
    assert solved.covariance == pytest.approx(bread @ scores.T @ scores @ bread, rel=1e-6)


def test_weights_are_copies_of_samples_and_clusters_sum_scores():
    z, x, y = draw(1)
    seen, expected = linear(z, x)
    copies = np.arange(400) % 3 + 1
    weights = copies / copies.mean()
    weighted = solve_features(Columns(expected=expected, seen=seen, weights=weights), y, ())
    index = np.repeat(np.arange(400), copies)
    repeated = solve_features(
        Columns(expected=expected[index], seen=seen[index], weights=np.ones(len(index)), clusters=index), y[index], ()
    )
    assert weighted.coefficients == pytest.approx(repeated.coefficients, rel=1e-6)
    assert repeated.covariance == pytest.approx(weighted.covariance * 400 / 399, rel=1e-6)


def test_two_samples_have_the_error_of_both_stages():
    found, se = [], []
    for seed in range(200):
        (z1, x1, _), (z2, _, y2) = draw(seed), draw(1000 + seed)
        seen, expected = linear(z1, x1)
        design = np.hstack([np.ones((400, 1)), z2])
        other = design @ np.linalg.lstsq(np.hstack([np.ones((400, 1)), z1]), seen, rcond=None)[0]
        solved = solve_features(
            Columns(expected=other, seen=None, weights=np.ones(400)),
            y2,
            (),
            first=Columns(expected=expected, seen=seen, weights=np.ones(400)),
        )
        found.append(solved.coefficients[1])
        se.append(np.sqrt(solved.covariance[1, 1]))
    assert np.mean(found) == pytest.approx(0.5, abs=0.03)
    assert np.mean(se) == pytest.approx(np.std(found), rel=0.15)


def test_noise_shrinks_to_nothing_and_signal_does_not():
    rng = np.random.default_rng(2)
    columns = np.hstack([np.ones((500, 1)), rng.normal(size=(500, 12))])
    y = columns[:, 1:4] @ [1.0, -1.0, 0.5] + 0.5 * rng.normal(size=500)
    groups = [Group(columns=np.arange(1, 4), weights=np.ones(3)), Group(columns=np.arange(4, 13), weights=np.ones(9))]
    solved = solve_features(Columns(expected=columns, seen=columns, weights=np.ones(500)), y, groups)
    b = solved.coefficients
    assert b[1:4] == pytest.approx([1.0, -1.0, 0.5], abs=0.08)
    assert np.abs(b[4:]).max() < 0.04


def test_the_noise_of_two_samples_is_that_of_both_stages():
    (z1, x1, _), (z2, x2, _) = draw(1, n=1000), draw(2, n=4000)
    seen, expected = linear(z1, x1)
    design = np.hstack([np.ones((4000, 1)), z2])
    other = design @ np.linalg.lstsq(np.hstack([np.ones((1000, 1)), z1]), seen, rcond=None)[0]
    solved = solve_features(
        Columns(expected=other, seen=None, weights=np.ones(4000)),
        x2,
        (),
        first=Columns(expected=expected, seen=seen, weights=np.ones(1000)),
    )
    of_second = np.mean((x2 - other @ solved.smoothed.coefficients) ** 2)
    of_first = np.mean((x1 - expected[:, 1]) ** 2) * solved.smoothed.coefficients[1] ** 2
    assert solved.smoothed.variance == pytest.approx(of_second + of_first * 4, rel=1e-6)
