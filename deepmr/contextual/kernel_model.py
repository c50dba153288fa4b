"""Coefficients as Gaussian processes of context: their restricted likelihood and its gradient, and what it implies.

Rows are y = sum_j w_j(c) x_j + error, with w_j(c) = constant + linear + curved function of context. Constants have flat
priors, which makes the likelihood the restricted one: with nothing that varies it is that of a random-effects
meta-analysis. Linear and curved parts share one relevance a context (its length scale) over coefficients.
"""

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve

from deepmr.contextual.kernel_binary import factor_binary
from deepmr.contextual.kernel_rows import (
    Factored,
    KernelModel,
    Weights,
    cholesky,
    inverse,
    prior,
    row_covariance,
    row_variance,
    slopes,
)
from deepmr.contextual.kernel_sparse import SparseFactored, factor_sparse

__all__ = ["Factored", "KernelModel", "evaluate", "factor"]

_LOG_2PI = float(np.log(2 * np.pi))


def evaluate(
    model: KernelModel, theta: Float[np.ndarray, "size"], *, with_gradient: bool = True
) -> Factored | SparseFactored:
    """Evaluate the likelihood in the way that the rows ask for: through inducing contexts where there are such.

    Parameters
    ----------
    model, theta, with_gradient : as in `factor`.
    """
    if model.inducing is not None:
        return factor_sparse(model, theta, with_gradient=with_gradient)
    return factor(model, theta, with_gradient=with_gradient)


def factor(model: KernelModel, theta: Float[np.ndarray, "size"], *, with_gradient: bool = True) -> Factored:
    """Evaluate the restricted likelihood at a vector of hyper-parameters, by Laplace's approximation where y is binary.

    Parameters
    ----------
    model : rows.
    theta : hyper-parameters, logarithms in the order of `Layout`.
    with_gradient : whether the gradient is wanted, three quarters of the work; without, it is empty.

    Raises
    ------
    numpy.linalg.LinAlgError
        When V is not positive definite in float64.

    Notes
    -----
    V = sum_j x_j x_j' (a_j L + b_j S + tau_j^2 [same group]) + F'F + D / counts, D the rows' own variances. A row that
    stands for m rows of the same y has m - 1 more terms log D. With P = V^-1 - V^-1 x (x' V^-1 x)^-1 x' V^-1, twice the
    log likelihood is -log|V| - log|x' V^-1 x| + log|x'x| - y'Py - (n - q) log 2 pi, and its derivative
    sum((Py (Py)' - P) * dV).

    References
    ----------
    Patterson HD, Thompson R (1971). Biometrika 58:545. doi:10.1093/biomet/58.3.545
    Rasmussen CE, Williams CKI (2006). Gaussian Processes for Machine Learning, section 5.4.1. ISBN 026218253X
    """
    if model.binary:
        return factor_binary(model, theta, with_gradient=with_gradient)
    x, y = model.x, model.y
    own = row_variance(model, theta)
    v = row_covariance(model, theta)
    v[np.diag_indices(len(y))] += own / model.counts
    chol = (cholesky(v), True)
    solved_x = cho_solve(chol, x, check_finite=False)
    information = x.T @ solved_x
    covariance = np.linalg.inv(information)
    constant = covariance @ (solved_x.T @ y)
    weights = cho_solve(chol, y - x @ constant, check_finite=False)
    n, q = float(model.counts.sum()), x.shape[1]
    copies = model.counts - 1
    value = -0.5 * (
        2 * np.log(np.diag(chol[0])).sum()
        + np.linalg.slogdet(information)[1]
        - np.linalg.slogdet((x * model.counts[:, None]).T @ x)[1]
        + y @ weights
        + copies @ np.log(own)
        + np.log(model.counts).sum()
        + (n - q) * _LOG_2PI
    )
    gradient = np.zeros(0)
    if with_gradient:
        m = Weights(
            left=np.column_stack([weights, solved_x @ covariance]),
            right=np.column_stack([weights, solved_x]),
            inverse=inverse(chol[0]),
        )
        gradient = 0.5 * slopes(model, theta, m, m.diagonal / model.counts - copies / own)
    penalty, by_prior = prior(model, theta)
    return Factored(
        theta=theta,
        value=float(value) + penalty,
        gradient=gradient + by_prior if with_gradient else gradient,
        chol=chol,
        solved_x=solved_x,
        covariance=covariance,
        constant=constant,
        weights=weights,
    )
