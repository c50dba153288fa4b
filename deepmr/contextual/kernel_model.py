"""Coefficients as Gaussian processes of context: their restricted likelihood and its gradient, and what it implies.

Rows are y = sum_j w_j(c) x_j + error, with w_j(c) = constant + linear + smooth function of context. Constants have flat
priors, which makes the likelihood the restricted one: with nothing that varies it is that of a random-effects
meta-analysis. Linear and smooth parts share one relevance a context (its length scale) over coefficients.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.lapack import dpotri

from deepmr.contextual.kernel_shapes import CURVED, Layout, Shape, kernels, prior_moments

_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelModel:
    """Rows of one outcome, and which variances are to be found.

    Attributes
    ----------
    z : standardised contexts.
    x : columns whose coefficients may vary; the first is usually ones.
    y : outcome.
    noise : known error variance of each row, 0 where there is none.
    counts : how many rows each stands for.
    groups : number of each row's group, 0 on; rows of a group share deviations of coefficients. None: each row its own.
    scatter : columns of `x` whose coefficients deviate between groups beyond what context explains (tau).
    residual : whether there is an error variance to be found (sigma), beside the known ones.
    shape : of functions of context: none, linear, or linear and a curved part, smooth or rough.
    weak : whether variances and length scales have weak priors (log-normal), which keep them finite where the
        likelihood is flat. Off, the likelihood is the plain restricted one.
    """

    z: Float[np.ndarray, "rows contexts"]
    x: Float[np.ndarray, "rows columns"]
    y: Float[np.ndarray, "rows"]
    noise: Float[np.ndarray, "rows"]
    counts: Float[np.ndarray, "rows"]
    groups: Int[np.ndarray, "rows"] | None = None
    scatter: tuple[int, ...] = ()
    residual: bool = True
    shape: Shape = "smooth"
    weak: bool = True

    @property
    def layout(self) -> Layout:
        """Where each hyper-parameter is."""
        varying = 0 if self.shape == "constant" or not self.z.shape[1] else self.x.shape[1]
        lengths = self.z.shape[1] if varying else 0
        smooth = varying if self.shape in CURVED else 0
        return Layout(lengths, varying, smooth, len(self.scatter), int(self.residual))


@dataclass(frozen=True, slots=True, kw_only=True)
class Factored:
    """A model at one vector of hyper-parameters, ready for predictions.

    Attributes
    ----------
    theta : the vector.
    value : log likelihood, restricted, and log prior where there is one.
    gradient : of `value`; empty where it was not wanted.
    chol : Cholesky factor of V, as `scipy.linalg.cho_factor` has it.
    solved_x : V^-1 x.
    covariance : of the constants: (x' V^-1 x)^-1.
    constant : the constants.
    weights : V^-1 (y - x constant).
    """

    theta: Float[np.ndarray, "size"]
    value: float
    gradient: Float[np.ndarray, "_"]
    chol: tuple[Float[np.ndarray, "rows rows"], bool]
    solved_x: Float[np.ndarray, "rows columns"]
    covariance: Float[np.ndarray, "columns columns"]
    constant: Float[np.ndarray, "columns"]
    weights: Float[np.ndarray, "rows"]


def row_variance(model: KernelModel, theta: Float[np.ndarray, "size"]) -> Float[np.ndarray, "rows"]:
    """Return the variance of each row's own error: known, found, and deviations where each row is its own group.

    Parameters
    ----------
    model : rows.
    theta : hyper-parameters.
    """
    *_, tau2, sigma2 = model.layout.split(theta)
    own = model.noise + (sigma2[0] if model.residual else 0.0)
    if model.groups is None and model.scatter:
        own = own + model.x[:, list(model.scatter)] ** 2 @ tau2
    return own


def factor(model: KernelModel, theta: Float[np.ndarray, "size"], *, with_gradient: bool = True) -> Factored:
    """Evaluate the restricted likelihood at a vector of hyper-parameters.

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
    V = sum_j x_j x_j' (a_j L + b_j S + tau_j^2 [same group]) + D / counts, D the rows' own variances. A row that stands
    for m rows of the same y has m - 1 more terms log D. With P = V^-1 - V^-1 x (x' V^-1 x)^-1 x' V^-1, twice the log
    likelihood is -log|V| - log|x' V^-1 x| + log|x'x| - y'Py - (n - q) log 2 pi, and its derivative
    sum((Py (Py)' - P) * dV).

    References
    ----------
    Patterson HD, Thompson R (1971). Biometrika 58:545. doi:10.1093/biomet/58.3.545
    Rasmussen CE, Williams CKI (2006). Gaussian Processes for Machine Learning, section 5.4.1. ISBN 026218253X
    """
    layout = model.layout
    lengths, linear, smooth, tau2, _ = layout.split(theta)
    x, y, z = model.x, model.y, model.z
    own = row_variance(model, theta)
    v = np.diag(own / model.counts)
    parts = None
    if layout.linear:
        lin, curved, slope = kernels(model.shape, lengths, z, z)
        amount, bent = (x * linear) @ x.T, None
        v += amount * lin
        if layout.smooth:
            bent = (x * smooth) @ x.T
            v += bent * curved
        parts = (lin, curved, slope, amount, bent)
    same = None
    if model.groups is not None and model.scatter:
        same = model.groups[:, None] == model.groups
        columns = x[:, list(model.scatter)]
        v += ((columns * tau2) @ columns.T) * same
    chol = cho_factor(v, lower=True, check_finite=False)
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
        m = np.outer(weights, weights) - _inverse(chol[0]) + solved_x @ covariance @ solved_x.T
        gradient = 0.5 * _slopes(model, theta, m, parts, same, own, copies)
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


def _inverse(chol: Float[np.ndarray, "rows rows"]) -> Float[np.ndarray, "rows rows"]:
    """Return the inverse of what this is the lower Cholesky factor of, at a third of the cost of solving for it."""
    made, _ = dpotri(chol, lower=1)
    lower = np.tril(made)
    return lower + np.tril(lower, -1).T


def _slopes(
    model: KernelModel,
    theta: Float[np.ndarray, "size"],
    m: Float[np.ndarray, "rows rows"],
    parts: tuple | None,
    same: np.ndarray | None,
    own: Float[np.ndarray, "rows"],
    copies: Float[np.ndarray, "rows"],
) -> Float[np.ndarray, "size"]:
    """Return twice the derivative of the log likelihood by each hyper-parameter."""
    lengths, linear, smooth, tau2, sigma2 = model.layout.split(theta)
    x, z = model.x, model.z
    found: list[np.ndarray] = []
    if parts is not None:
        lin, curved, slope, amount, bent = parts
        straight = m * amount
        by_length = -2 * np.einsum("ik,ik->k", z, straight @ z)
        of_smooth = np.zeros(0)
        if bent is not None:
            turned = m * bent * slope
            by_length += 2 * (turned.sum(axis=1) @ z**2 - np.einsum("ik,ik->k", z, turned @ z))
            of_smooth = smooth * np.einsum("ij,ij->j", x, (m * curved) @ x)
        found += [by_length / lengths**2, linear * np.einsum("ij,ij->j", x, (m * lin) @ x), of_smooth]
    by_own = np.diag(m) / model.counts - copies / own
    if model.scatter:
        columns = x[:, list(model.scatter)]
        if same is None:
            found.append(tau2 * (by_own @ columns**2))
        else:
            found.append(tau2 * np.einsum("ij,ij->j", columns, (m * same) @ columns))
    if model.residual:
        found.append(sigma2 * by_own.sum())
    return np.concatenate(found) if found else np.zeros(0)


def prior(model: KernelModel, theta: Float[np.ndarray, "size"]) -> tuple[float, Float[np.ndarray, "size"]]:
    """Return the log prior of the hyper-parameters, up to a constant, and its gradient; 0 where priors are off.

    Parameters
    ----------
    model : rows, their outcome and columns with variances near 1.
    theta : hyper-parameters.
    """
    if not model.weak:
        return 0.0, np.zeros_like(theta)
    centre, scale = prior_moments(model.layout)
    off = (theta - centre) / scale
    return -0.5 * float(off @ off), -off / scale
