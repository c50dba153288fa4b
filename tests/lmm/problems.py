"""Random problems for the tests of the linear mixed model."""

import numpy as np


def make_problem(seed=0, *, n=60, effects=90, fixed=2, markers=5, h=1.0):
    """Response, fixed effects, random effects of K = Z Z' with mean diagonal near 1, and markers in columns."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, effects)) / effects**0.5
    x = np.column_stack([np.ones(n), rng.normal(size=(n, fixed - 1))])
    y = x @ rng.normal(size=fixed) + h * z @ rng.normal(size=effects) + rng.normal(size=n)
    return y, x, z, rng.binomial(2, 0.4, (n, markers)).astype(float)


def least_squares(y, x, a):
    """Effect of `a` and its standard error, and residual sums of squares without and with it."""

    def left(design):
        coefficients = np.linalg.lstsq(design, y, rcond=None)[0]
        return coefficients, float(np.sum((y - design @ coefficients) ** 2))

    larger = np.column_stack([a, x])
    coefficients, rss = left(larger)
    se = np.sqrt(rss / (len(y) - larger.shape[1]) * np.linalg.inv(larger.T @ larger)[0, 0])
    return coefficients[0], se, left(x)[1], rss
