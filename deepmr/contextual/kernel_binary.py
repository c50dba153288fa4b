"""Binary outcomes of varying coefficients, with a logistic link: Laplace's approximation of their likelihood."""

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve
from scipy.special import expit

from deepmr.contextual.kernel_rows import (
    Factored,
    KernelModel,
    Weights,
    inverse,
    mirror,
    prior,
    row_covariance,
    row_variance,
    slopes,
)

_LOG_2PI = float(np.log(2 * np.pi))
_STEPS, _HALVES, _DONE = 100, 30, 1e-10  # of Newton's method: at most, how often halved, and the change that ends it
_LEAST = 1e-10  # of p (1 - p), so that a row's variance is finite


def factor_binary(model: KernelModel, theta: Float[np.ndarray, "size"], *, with_gradient: bool = True) -> Factored:
    """Find the mode of coefficients given hyper-parameters, and the log likelihood around it.

    Parameters
    ----------
    model : rows with y of 0 and 1.
    theta : hyper-parameters.
    with_gradient : whether the gradient is wanted.

    Raises
    ------
    numpy.linalg.LinAlgError
        When Newton's method does not end, as where 0 and 1 are separated by constants alone.

    Notes
    -----
    Near the mode f of x constant + g, rows are like y* = f + (y - p) / W with known variances 1 / W, W = counts p (1 -
    p), so that everything that follows from a factored Gaussian model follows here. With V = K + 1 / W and P as in
    `kernel_model.factor`, the log likelihood is log p(y | f) - g'V^-1(y* - x constant) / 2 - log|W V| / 2 - log|x' V^-1
    x| / 2 + log|x'x| / 2 + q log(2 pi) / 2. W moves with f: its derivative is sum((a a' + u a' + a u' - P) dK) / 2
    with a = V^-1 (y* - x constant), u = P W^-1 s and s = -diag(W^-1 - W^-1 P W^-1) dW/df / 2.

    References
    ----------
    Rasmussen CE, Williams CKI (2006). Gaussian Processes for Machine Learning, section 5.5.1. ISBN 026218253X
    """
    x, counts = model.x, model.counts
    k = mirror(row_covariance(model, theta))
    k[np.diag_indices(len(x))] += row_variance(model, theta)
    found = _mode(model, k)
    f, w, lower, solved_x, covariance, constant, weights = found
    g = f - x @ constant
    value = _log_probability(model, f) - 0.5 * (
        g @ weights
        + 2 * np.log(np.diag(lower)).sum()
        + np.log(w).sum()
        - np.linalg.slogdet(covariance)[1]
        - np.linalg.slogdet((x * counts[:, None]).T @ x)[1]
        - x.shape[1] * _LOG_2PI
    )
    gradient = np.zeros(0)
    penalty, by_prior = prior(model, theta)
    if with_gradient:
        p_matrix = mirror(inverse(lower)) - solved_x @ covariance @ solved_x.T
        probability = expit(_predictor(model, f))
        left = 1 / w - np.diag(p_matrix) / w**2
        u = p_matrix @ (-0.5 * left * (1 - 2 * probability))
        m = Weights(
            left=np.column_stack([weights, u, weights]),
            right=np.column_stack([weights, weights, u]),
            inverse=p_matrix,
        )
        gradient = 0.5 * slopes(model, theta, m, m.diagonal) + by_prior
    return Factored(
        theta=theta,
        value=float(value) + penalty,
        gradient=gradient,
        chol=(lower, True),
        solved_x=solved_x,
        covariance=covariance,
        constant=constant,
        weights=weights,
    )


def _mode(model: KernelModel, k: Float[np.ndarray, "rows rows"]) -> tuple:
    """Return f, W, the Cholesky factor of V, V^-1 x, (x' V^-1 x)^-1, constants and weights at the mode."""
    x = model.x
    constant, weights = np.zeros(x.shape[1]), np.zeros(len(x))
    f = np.zeros(len(x))
    best = _log_probability(model, f)
    for _ in range(_STEPS):
        probability = expit(_predictor(model, f))
        share = np.maximum(probability * (1 - probability), _LEAST)
        w = model.counts * share
        root = np.sqrt(w)
        b = root[:, None] * k * root
        b[np.diag_indices(len(x))] += 1
        lower = np.linalg.cholesky(b) / root[:, None]
        target = f + (model.y - probability) / share
        solved = _solve(lower, np.column_stack([x, target]))
        solved_x = solved[:, :-1]
        covariance = np.linalg.inv(x.T @ solved_x)
        new_constant = covariance @ (solved_x.T @ target)
        new_weights = solved[:, -1] - solved_x @ new_constant
        step, previous = 1.0, best
        for _ in range(_HALVES):
            c = constant + step * (new_constant - constant)
            a = weights + step * (new_weights - weights)
            g = k @ a
            best = _log_probability(model, x @ c + g) - 0.5 * g @ a
            if best >= previous - 1e-12 * abs(previous):
                break
            step /= 2
        moved = np.abs(x @ c + g - f).max()
        constant, weights, f = c, a, x @ c + g
        if moved < _DONE * (1 + np.abs(f).max()):
            return f, w, lower, solved_x, covariance, constant, weights
    raise np.linalg.LinAlgError("Newton's method did not end")


def _solve(lower: Float[np.ndarray, "rows rows"], b: Float[np.ndarray, "rows _"]) -> Float[np.ndarray, "rows _"]:
    return cho_solve((lower, True), b, check_finite=False)


def _predictor(model: KernelModel, f: Float[np.ndarray, "rows"]) -> Float[np.ndarray, "rows"]:
    return f if model.offset is None else f + model.offset


def _log_probability(model: KernelModel, f: Float[np.ndarray, "rows"]) -> float:
    eta = _predictor(model, f)
    return float(model.counts @ (model.y * eta - np.logaddexp(0.0, eta)))
