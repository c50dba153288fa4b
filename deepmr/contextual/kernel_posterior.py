"""What a Gaussian-process model says of coefficients at new contexts, at one vector of hyper-parameters."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve

from deepmr.contextual.kernel_errors import expected_smooth
from deepmr.contextual.kernel_model import Factored, KernelModel, kernels


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """Coefficients at points.

    Attributes
    ----------
    mean : of every coefficient.
    covariance : of the coefficients of one point with each other.
    unlearned : share of the prior variance of the varying parts that is left.
    """

    mean: Float[np.ndarray, "points columns"]
    covariance: Float[np.ndarray, "points columns columns"]
    unlearned: Float[np.ndarray, "points"]


def posterior(model: KernelModel, at: Factored, z: Float[np.ndarray, "points contexts"]) -> Posterior:
    """Return mean and covariance of the coefficients at each point.

    Parameters
    ----------
    model : rows.
    at : the model, factored.
    z : standardised contexts.

    Notes
    -----
    With k_j(i) = x_ij Cov(w_j(z), w_j(z_i)), the mean of w_j is constant_j + k_j' V^-1 (y - x constant); the constants,
    estimated with flat priors, add r' (x' V^-1 x)^-1 r with r = e_j - x' V^-1 k_j to the covariance.
    """
    points, columns = len(z), model.x.shape[1]
    mean = np.tile(at.constant, (points, 1))
    cross, before = cross_covariance(model, at.theta, z)
    flat = cross.reshape(points * columns, -1)
    mean += (flat @ at.weights).reshape(points, columns)
    solved = cho_solve(at.chol, flat.T, check_finite=False).T.reshape(cross.shape)
    learned = np.einsum("pji,pki->pjk", cross, solved)
    r = np.eye(columns) - solved @ model.x
    covariance = r @ at.covariance @ r.transpose(0, 2, 1) - learned
    own = np.arange(columns)
    covariance[:, own, own] += before
    left = np.clip(before - learned[:, own, own], 0.0, None).sum(axis=1)
    total = before.sum(axis=1)
    unlearned = np.divide(left, total, out=np.zeros(points), where=total > 0)
    return Posterior(mean=mean, covariance=covariance, unlearned=unlearned)


def joint_covariance(
    model: KernelModel, at: Factored, z: Float[np.ndarray, "points contexts"]
) -> Float[np.ndarray, "flat flat"]:
    """Return the covariance of every coefficient at every point with every other, points outermost.

    Parameters
    ----------
    model : rows.
    at : the model, factored.
    z : standardised contexts; some hundreds, as the result is a square.
    """
    points, columns = len(z), model.x.shape[1]
    cross, _ = cross_covariance(model, at.theta, z)
    flat = cross.reshape(points * columns, -1)
    solved = cho_solve(at.chol, flat.T, check_finite=False).T
    r = np.tile(np.eye(columns), (points, 1)) - solved @ model.x
    total = r @ at.covariance @ r.T - flat @ solved.T
    layout = model.layout
    if layout.linear:
        lengths, linear, smooth, *_ = layout.split(at.theta)
        lin, sq = kernels(lengths, z, z)
        for j in range(columns):
            own = linear[j] * lin + (smooth[j] * sq if layout.smooth else 0.0)
            total[j::columns, j::columns] += own
    return total


def cross_covariance(
    model: KernelModel, theta: Float[np.ndarray, "size"], z: Float[np.ndarray, "points contexts"]
) -> tuple[Float[np.ndarray, "points columns rows"], Float[np.ndarray, "points columns"]]:
    """Return covariances of the varying parts at points with the rows, and their prior variances at the points.

    Parameters
    ----------
    model : rows.
    theta : hyper-parameters.
    z : standardised contexts.
    """
    layout, columns = model.layout, model.x.shape[1]
    if not layout.linear:
        return np.zeros((len(z), columns, len(model.y))), np.zeros((len(z), columns))
    lengths, linear, smooth, *_ = layout.split(theta)
    lin, sq = kernels(lengths, z, model.z)
    if model.z_variance is not None:  # points are exact, rows are not
        sq = expected_smooth(lengths, z, model.z, np.zeros_like(z), model.z_variance)
    cross = np.empty((len(z), columns, len(model.y)))
    before = ((z / lengths) ** 2).sum(axis=1)[:, None] * linear
    for j in range(columns):
        own = linear[j] * lin
        if layout.smooth:
            own += smooth[j] * sq
        cross[:, j] = own * model.x[:, j]
    return cross, before + smooth if layout.smooth else before
