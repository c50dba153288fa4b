"""What a Gaussian-process model says of coefficients at new contexts, at one vector of hyper-parameters."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import solve_triangular

from deepmr.contextual.kernel_model import Factored, KernelModel
from deepmr.contextual.kernel_rows import kernels_to_rows
from deepmr.contextual.kernel_shapes import kernels
from deepmr.contextual.kernel_sparse import SparseFactored, features

_CHUNK = 400  # points at a time, so that what is made of them stays in the processor's cache


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


def posterior_mean(
    model: KernelModel, at: Factored | SparseFactored, z: Float[np.ndarray, "points contexts"]
) -> Float[np.ndarray, "points columns"]:
    """Return the mean of the coefficients at each point, a small part of the work of `posterior`.

    Parameters
    ----------
    model : rows.
    at : the model, factored.
    z : standardised contexts.
    """
    if isinstance(at, SparseFactored):
        return np.concatenate(
            [at.constant + _sparse_loads(model, at, z[part])[0] @ at.weights for part in _chunks(len(z))]
        )
    layout = model.layout
    mean = np.tile(at.constant, (len(z), 1))
    if not layout.linear:
        return mean
    lengths, linear, smooth, *_ = layout.split(at.theta)
    loads = model.x * at.weights[:, None]
    mean += ((z / lengths) @ ((model.z / lengths).T @ loads)) * linear
    if layout.smooth:
        for part in _chunks(len(z)):
            mean[part] += (kernels_to_rows(model, lengths, z[part])[1] @ loads) * smooth
    return mean


def posterior(model: KernelModel, at: Factored | SparseFactored, z: Float[np.ndarray, "points contexts"]) -> Posterior:
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
    if not model.layout.linear:  # nothing varies
        covariance = np.broadcast_to(at.covariance, (len(z), *at.covariance.shape))
        return Posterior(mean=posterior_mean(model, at, z), covariance=covariance, unlearned=np.zeros(len(z)))
    found = [_posterior(model, at, z[part]) for part in _chunks(len(z))]
    return Posterior(
        mean=np.concatenate([one.mean for one in found]),
        covariance=np.concatenate([one.covariance for one in found]),
        unlearned=np.concatenate([one.unlearned for one in found]),
    )


def _chunks(points: int) -> list[slice]:
    return [slice(start, start + _CHUNK) for start in range(0, max(points, 1), _CHUNK)]


def _posterior(model: KernelModel, at: Factored | SparseFactored, z: Float[np.ndarray, "points contexts"]) -> Posterior:
    if isinstance(at, SparseFactored):
        return _sparse_posterior(model, at, z)
    columns = model.x.shape[1]
    cross, before = cross_covariance(model, at.theta, z)
    mean = at.constant + cross @ at.weights
    half = _half(at, cross).reshape(-1, *cross.shape[:2])
    learned = np.empty((len(z), columns, columns))
    for j in range(columns):
        for k in range(j + 1):
            learned[:, j, k] = learned[:, k, j] = np.einsum("np,np->p", half[:, :, j], half[:, :, k])
    r = np.eye(columns) - cross @ at.solved_x
    covariance = r @ at.covariance @ r.transpose(0, 2, 1) - learned
    own = np.arange(columns)
    covariance[:, own, own] += before
    left = np.clip(before - learned[:, own, own], 0.0, None).sum(axis=1)
    total = before.sum(axis=1)
    unlearned = np.divide(left, total, out=np.zeros(len(z)), where=total > 0)
    return Posterior(mean=mean, covariance=covariance, unlearned=unlearned)


def _sparse_posterior(model: KernelModel, at: SparseFactored, z: Float[np.ndarray, "points contexts"]) -> Posterior:
    """The weights of the features are normal with covariance G^-1, G = I + F' D^-1 F, given constants."""
    columns = model.x.shape[1]
    loads, missing, before = _sparse_loads(model, at, z)
    half = solve_triangular(at.root, loads.reshape(-1, loads.shape[2]).T, lower=True, check_finite=False)
    half = half.T.reshape(loads.shape)
    r = np.eye(columns) - loads @ at.solved_x
    left = half @ half.transpose(0, 2, 1)
    own = np.arange(columns)
    left[:, own, own] += missing
    total = before.sum(axis=1)
    share = np.divide(left[:, own, own].sum(axis=1), total, out=np.zeros(len(z)), where=total > 0)
    return Posterior(
        mean=at.constant + loads @ at.weights,
        covariance=left + r @ at.covariance @ r.transpose(0, 2, 1),
        unlearned=np.minimum(share, 1.0),
    )


def _sparse_loads(
    model: KernelModel, at: SparseFactored, z: Float[np.ndarray, "points contexts"]
) -> tuple[
    Float[np.ndarray, "points columns features"],
    Float[np.ndarray, "points columns"],
    Float[np.ndarray, "points columns"],
]:
    """Return the features of each coefficient, the variance that they lack, and the prior variance."""
    layout, columns = model.layout, model.x.shape[1]
    _, linear, smooth, *_ = layout.split(at.theta)
    straight, bent, _ = features(model, at.theta, at.inner, z)
    loads = np.zeros((len(z), columns, len(at.weights)))
    missing, before = np.zeros((len(z), columns)), np.zeros((len(z), columns))
    d, m = straight.shape[1], bent.shape[1]
    for j in range(layout.linear):
        loads[:, j, j * d : (j + 1) * d] = straight * np.sqrt(linear[j])
        before[:, j] = linear[j] * (straight**2).sum(axis=1)
    for j in range(layout.smooth):
        start = layout.linear * d + j * m
        loads[:, j, start : start + m] = bent * np.sqrt(smooth[j])
        missing[:, j] = smooth[j] * np.maximum(1 - (bent**2).sum(axis=1), 0.0)
        before[:, j] += smooth[j]
    return loads, missing, before


def _half(at: Factored, cross: Float[np.ndarray, "points columns rows"]) -> Float[np.ndarray, "rows flat"]:
    """Return what the products of are cross' V^-1 cross: one triangular solution."""
    flat = cross.reshape(-1, cross.shape[2])
    return np.ascontiguousarray(solve_triangular(at.chol[0], flat.T, lower=True, check_finite=False))


def joint_covariance(
    model: KernelModel, at: Factored | SparseFactored, z: Float[np.ndarray, "points contexts"]
) -> Float[np.ndarray, "flat flat"]:
    """Return the covariance of every coefficient at every point with every other, points outermost.

    Parameters
    ----------
    model : rows.
    at : the model, factored.
    z : standardised contexts; some hundreds, as the result is a square.
    """
    points, columns = len(z), model.x.shape[1]
    if isinstance(at, SparseFactored):
        return _sparse_joint(model, at, z)
    cross, _ = cross_covariance(model, at.theta, z)
    half = _half(at, cross)
    r = np.tile(np.eye(columns), (points, 1)) - cross.reshape(points * columns, -1) @ at.solved_x
    total = r @ at.covariance @ r.T - half.T @ half
    layout = model.layout
    if layout.linear:
        lengths, linear, smooth, *_ = layout.split(at.theta)
        lin, curved, _ = kernels(model.shape, lengths, z, z)
        for j in range(columns):
            own = linear[j] * lin + (smooth[j] * curved if layout.smooth else 0.0)
            total[j::columns, j::columns] += own
    return total


def _sparse_joint(
    model: KernelModel, at: SparseFactored, z: Float[np.ndarray, "points contexts"]
) -> Float[np.ndarray, "flat flat"]:
    columns = model.x.shape[1]
    loads, *_ = _sparse_loads(model, at, z)
    flat = loads.reshape(len(z) * columns, -1)
    half = solve_triangular(at.root, flat.T, lower=True, check_finite=False)
    r = np.tile(np.eye(columns), (len(z), 1)) - flat @ at.solved_x
    total = r @ at.covariance @ r.T + half.T @ half
    if model.layout.smooth:  # what the features lack is of the prior, too, so that draws are smooth
        lengths, _, smooth, *_ = model.layout.split(at.theta)
        _, bent, _ = features(model, at.theta, at.inner, z)
        lacking = kernels(model.shape, lengths, z, z)[1] - bent @ bent.T
        for j in range(columns):
            total[j::columns, j::columns] += smooth[j] * lacking
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
    lin, curved = kernels_to_rows(model, lengths, z)
    cross = np.empty((len(z), columns, len(model.y)))
    before = ((z / lengths) ** 2).sum(axis=1)[:, None] * linear
    for j in range(columns):
        own = linear[j] * lin
        if layout.smooth:
            own += smooth[j] * curved
        cross[:, j] = own * model.x[:, j]
    return cross, before + smooth if layout.smooth else before
