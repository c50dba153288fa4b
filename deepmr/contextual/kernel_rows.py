"""Rows of one outcome whose coefficients are Gaussian processes of context, and the covariances these imply."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg.blas import dsymm
from scipy.linalg.lapack import dpotrf, dpotri

from deepmr.contextual.kernel_errors import expected_smooth, length_slopes
from deepmr.contextual.kernel_shapes import CURVED, Layout, Shape, kernels, prior_moments, squared_differences

_ROWS = 64  # at a time: with a thousand others, some hundred kB


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelModel:
    """Rows of one outcome, and which variances are to be found.

    Attributes
    ----------
    z : standardised contexts.
    x : columns whose coefficients may vary; the first is usually ones.
    y : outcome; 0 and 1 where it is binary.
    noise : known error variance of each row, 0 where there is none.
    counts : how many rows each stands for.
    groups : number of each row's group, 0 on; rows of a group share deviations of coefficients. None: each row its own.
    scatter : columns of `x` whose coefficients deviate between groups beyond what context explains (tau).
    residual : whether there is an error variance to be found (sigma), beside the known ones.
    shape : of functions of context: none, linear, or linear and a curved part, smooth or rough.
    binary : whether y is 0 or 1, with a logistic link; there are no errors then, known or to be found.
    offset : what is added to the linear predictor of binary outcomes; from others it has been subtracted.
    inducing : contexts through which rows know of each other, where rows are too many for all pairs.
    weak : whether variances and length scales have weak priors (log-normal), which keep them finite where the
        likelihood is flat. Off, the likelihood is the plain restricted one.
    factors : F, with F'F a known covariance of the rows' errors beside `noise`; None where there is none.
    z_variance : known variances of the contexts about `z`, their expected values; None where they are exact. The shape
        is constant, linear or smooth then, and there are no inducing contexts.
    scatter_prior : as in `Layout`.
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
    binary: bool = False
    offset: Float[np.ndarray, "rows"] | None = None
    inducing: Float[np.ndarray, "inducing contexts"] | None = None
    weak: bool = True
    factors: Float[np.ndarray, "factors rows"] | None = None
    z_variance: Float[np.ndarray, "rows contexts"] | None = None
    scatter_prior: tuple[float, float] = (0.01, 3.0)

    @property
    def layout(self) -> Layout:
        """Where each hyper-parameter is."""
        varying = 0 if self.shape == "constant" or not self.z.shape[1] else self.x.shape[1]
        lengths = self.z.shape[1] if varying else 0
        smooth = varying if self.shape in CURVED else 0
        return Layout(lengths, varying, smooth, len(self.scatter), int(self.residual), self.scatter_prior)


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


def row_covariance(model: KernelModel, theta: Float[np.ndarray, "size"]) -> Float[np.ndarray, "rows rows"]:
    """Return what coefficients that vary give rows in common, without the rows' own variances: the upper triangle.

    Parameters
    ----------
    model : rows.
    theta : hyper-parameters.

    Notes
    -----
    sum_j x_j x_j' (a_j L + b_j S + tau_j^2 [same group]) + F'F. L and S are expected ones where contexts have errors
    (`kernel_errors`). Made some rows at a time, which stay in the processor's cache, from the diagonal on; what is
    below it is not set.
    """
    lengths, _, smooth, tau2, _ = model.layout.split(theta)
    x = model.x
    made = np.empty((len(x), len(x)))
    loads, own = _straight(model, theta)
    for rows, columns in _blocks(len(x)):
        block = made[rows, columns]
        np.matmul(loads[rows], loads[columns].T, out=block)
        if model.layout.smooth:
            bent = (x[rows] * smooth) @ x[columns].T
            bent *= _curved(model, lengths, rows, columns)[0]
            block += bent
        if model.groups is not None and model.scatter:
            deviating = x[:, list(model.scatter)]
            block += ((deviating[rows] * tau2) @ deviating[columns].T) * _same(model.groups, rows, columns)
    made[np.diag_indices(len(x))] += own
    return made


def mirror(upper: Float[np.ndarray, "rows rows"]) -> Float[np.ndarray, "rows rows"]:
    """Fill what is below the diagonal of a symmetric matrix, in place.

    Parameters
    ----------
    upper : with what is above it.
    """
    for rows, columns in _blocks(len(upper)):
        own = upper[rows, rows]
        own[:] = np.triu(own) + np.triu(own, 1).T
        upper[columns, rows] = upper[rows, columns].T
    return upper


def _blocks(n: int) -> Iterator[tuple[slice, slice]]:
    """Yield some rows, and the columns from their diagonal on."""
    for start in range(0, n, _ROWS):
        yield slice(start, min(start + _ROWS, n)), slice(start, n)


def _same(groups: Int[np.ndarray, "rows"], rows: slice, columns: slice) -> Bool[np.ndarray, "some others"]:
    made: np.ndarray = groups[rows, None] == groups[columns]
    return made


def _straight(
    model: KernelModel, theta: Float[np.ndarray, "size"]
) -> tuple[Float[np.ndarray, "rows loads"], Float[np.ndarray, "rows"]]:
    """Return W with W W' the linear part and known factors, and what errors of contexts add to the diagonal."""
    lengths, linear, *_ = model.layout.split(theta)
    x, own = model.x, np.zeros(len(model.x))
    loads = [] if model.factors is None else [model.factors.T]
    if len(linear):
        loads.append(_products(x * np.sqrt(linear), model.z / lengths))
        if model.z_variance is not None:
            own = (x**2 @ linear) * (model.z_variance / lengths**2).sum(axis=1)
    return np.concatenate(loads, axis=1) if loads else np.zeros((len(x), 0)), own


def _products(x: Float[np.ndarray, "rows columns"], z: Float[np.ndarray, "rows contexts"]) -> np.ndarray:
    """Return every column times every context."""
    return (x[:, :, None] * z[:, None, :]).reshape(len(x), -1)


def _curved(
    model: KernelModel, lengths: Float[np.ndarray, "contexts"], rows: slice, columns: slice
) -> tuple[Float[np.ndarray, "some others"], Float[np.ndarray, "*each some others"]]:
    """Return the curved kernel of some rows with those from them on, and its slope; both the same without one."""
    z = model.z
    if model.z_variance is None:
        return kernels(model.shape, lengths, z[rows], z[columns])[1:]
    v = model.z_variance
    curved = expected_smooth(lengths, z[rows], z[columns], v[rows], v[columns])
    np.fill_diagonal(curved, 1.0)
    return curved, curved


def kernels_to_rows(
    model: KernelModel, lengths: Float[np.ndarray, "contexts"], z: Float[np.ndarray, "points contexts"]
) -> tuple[Float[np.ndarray, "points rows"], Float[np.ndarray, "points _"]]:
    """Return the linear kernel of points with the rows, and that of the curved part, empty where there is none.

    Parameters
    ----------
    model : rows.
    lengths : length scale of each context.
    z : standardised contexts of the points, exact ones.
    """
    lin, curved, _ = kernels(model.shape, lengths, z, model.z)
    if model.z_variance is not None and model.shape in CURVED:
        curved = expected_smooth(lengths, z, model.z, np.zeros_like(z), model.z_variance)
    return lin, curved


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights of the derivatives of V by pairs of rows: M = left right' - inverse, symmetric.

    Attributes
    ----------
    left, right : of low rank.
    inverse : of V; its upper triangle is enough.
    """

    left: Float[np.ndarray, "rows rank"]
    right: Float[np.ndarray, "rows rank"]
    inverse: Float[np.ndarray, "rows rows"]

    @property
    def diagonal(self) -> Float[np.ndarray, "rows"]:
        """Return that of M."""
        return np.einsum("ij,ij->i", self.left, self.right) - np.diagonal(self.inverse)

    def squares(self, columns: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "columns"]:
        """Return c' M c of each column."""
        lower = self.inverse.T  # in the order that LAPACK has, without a copy
        low = ((columns.T @ self.left) * (columns.T @ self.right)).sum(axis=1)
        return low - np.einsum("ij,ij->j", columns, dsymm(1.0, lower, columns, lower=1))

    def block(self, rows: slice, columns: slice) -> Float[np.ndarray, "some others"]:
        """Return M of some rows with those from them on, such that products with it count every pair once each way."""
        made = (2 * self.left[rows]) @ self.right[columns].T
        made -= 2 * self.inverse[rows, columns]
        some = made.shape[0]
        made[:, :some] = np.triu(made[:, :some])
        made[np.diag_indices(some)] /= 2
        return made


def slopes(
    model: KernelModel, theta: Float[np.ndarray, "size"], m: Weights, by_own: Float[np.ndarray, "rows"]
) -> Float[np.ndarray, "size"]:
    """Return sum(M * dV) and what the rows' own variances add, by each hyper-parameter.

    Parameters
    ----------
    model : rows.
    theta : hyper-parameters.
    m : weights of the derivatives of V.
    by_own : weights of the derivatives of the rows' own variances.

    Notes
    -----
    Derivatives of the linear part are quadratic forms of x_j z_k, cheap; only those of the curved part look at pairs,
    whose kernel is made again, at less cost than that of fetching it from memory.
    """
    layout, x, z = model.layout, model.x, model.z
    lengths, linear, _, tau2, sigma2 = layout.split(theta)
    found: list[np.ndarray] = []
    if layout.linear:
        squares = m.squares(_products(x, z)).reshape(layout.linear, layout.lengths)
        if model.z_variance is not None:
            squares += (x**2 * m.diagonal[:, None]).T @ model.z_variance
        squares /= lengths**2
        by_length, by_smooth, by_tau = _pair_slopes(model, theta, m)
        found += [by_length - 2 * linear @ squares, linear * squares.sum(axis=1), by_smooth]
    else:
        by_tau = _pair_slopes(model, theta, m)[2]
    if model.scatter:
        if model.groups is None:
            by_tau = by_own @ x[:, list(model.scatter)] ** 2
        found.append(tau2 * by_tau)
    if model.residual:
        found.append(sigma2 * by_own.sum())
    return np.concatenate(found) if found else np.zeros(0)


def _pair_slopes(
    model: KernelModel, theta: Float[np.ndarray, "size"], m: Weights
) -> tuple[Float[np.ndarray, "contexts"], Float[np.ndarray, "_"], Float[np.ndarray, "_"]]:
    """Return slopes of the curved part by lengths and variances, and sums of pairs of one group a deviation."""
    lengths, _, smooth, _, _ = model.layout.split(theta)
    x, z, v = model.x, model.z, model.z_variance
    deviating = x[:, list(model.scatter)]
    by_length, by_smooth, by_tau = np.zeros(len(lengths)), np.zeros(len(smooth)), np.zeros(len(model.scatter))
    grouped = model.groups is not None and len(by_tau) > 0
    if not (grouped or len(smooth)):
        return by_length, by_smooth, by_tau
    for rows, columns in _blocks(len(x)):
        weights = m.block(rows, columns)
        if model.groups is not None and grouped:
            paired = (weights * _same(model.groups, rows, columns)) @ deviating[columns]
            by_tau += np.einsum("ij,ij->j", deviating[rows], paired)
        if len(smooth):
            curved, slope = _curved(model, lengths, rows, columns)
            by_smooth += np.einsum("ij,ij->j", x[rows], (weights * curved) @ x[columns])
            weights *= (x[rows] * smooth) @ x[columns].T
            if v is None:
                by_length += squared_differences(weights * slope, z[rows], z[columns]) / lengths**2
            else:
                weights *= curved
                np.fill_diagonal(weights, 0.0)
                by_length += length_slopes(lengths, z[rows], z[columns], v[rows], v[columns], weights)
    return by_length, smooth * by_smooth, by_tau


def cholesky(upper: Float[np.ndarray, "rows rows"]) -> Float[np.ndarray, "rows rows"]:
    """Return the lower Cholesky factor in place of the matrix, whose upper triangle is enough; LAPACK's own order.

    Parameters
    ----------
    upper : a matrix whose rows are contiguous; it is lost.

    Raises
    ------
    numpy.linalg.LinAlgError
        When it is not positive definite in float64.
    """
    made, info = dpotrf(upper.T, lower=1, clean=0, overwrite_a=1)
    if info:
        raise np.linalg.LinAlgError(f"the leading minor {info} is not positive definite")
    return made


def inverse(chol: Float[np.ndarray, "rows rows"]) -> Float[np.ndarray, "rows rows"]:
    """Return the upper triangle of the inverse of what this is the Cholesky factor of, at a third of solving for it.

    Parameters
    ----------
    chol : lower Cholesky factor.
    """
    return dpotri(chol, lower=1)[0].T


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
