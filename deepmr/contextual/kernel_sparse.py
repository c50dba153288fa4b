"""Many rows: coefficients that know of each other through inducing contexts, at a cost that grows with rows alone."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.cluster.vq import kmeans2
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrs

from deepmr.contextual.kernel_rows import KernelModel, prior, row_variance
from deepmr.contextual.kernel_shapes import kernels, squared_differences

_LOG_2PI = float(np.log(2 * np.pi))
_JITTER = 1e-9  # share of the variance at inducing contexts, so that two near each other do no harm
_SWEEPS = 10  # of k-means


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseFactored:
    """A model of many rows at one vector of hyper-parameters, ready for predictions; its size is that of features.

    Attributes
    ----------
    theta, value, gradient, covariance, constant : as in `kernel_rows.Factored`.
    root : lower Cholesky factor of I + F' D^-1 F, F the features of rows and D their own variances.
    inner : lower Cholesky factor of the curved kernel between inducing contexts.
    solved_x : F' V^-1 x.
    weights : F' V^-1 (y - x constant).
    """

    theta: Float[np.ndarray, "size"]
    value: float
    gradient: Float[np.ndarray, "_"]
    covariance: Float[np.ndarray, "columns columns"]
    constant: Float[np.ndarray, "columns"]
    root: Float[np.ndarray, "features features"]
    inner: Float[np.ndarray, "inducing inducing"]
    solved_x: Float[np.ndarray, "features columns"]
    weights: Float[np.ndarray, "features"]


def inducing_contexts(
    z: Float[np.ndarray, "rows contexts"], n_inducing: int, *, seed: int
) -> Float[np.ndarray, "inducing contexts"]:
    """Return means of clusters of contexts; the contexts themselves where they are few.

    Parameters
    ----------
    z : standardised contexts.
    n_inducing : how many.
    seed : of the clusters.
    """
    every = np.unique(z, axis=0)
    if len(every) <= n_inducing or not z.shape[1]:
        return every
    means, of = kmeans2(every, n_inducing, iter=_SWEEPS, minit="++", rng=np.random.default_rng(seed))
    return means[np.unique(of)]


def features(
    model: KernelModel,
    theta: Float[np.ndarray, "size"],
    inner: Float[np.ndarray, "inducing inducing"],
    z: Float[np.ndarray, "points contexts"],
) -> tuple[Float[np.ndarray, "points straight"], Float[np.ndarray, "points inducing"], np.ndarray]:
    """Return z / l, features whose products approximate the curved kernel, and its slope to inducing contexts.

    Parameters
    ----------
    model : rows.
    theta : hyper-parameters.
    inner : as in `SparseFactored`.
    z : standardised contexts.
    """
    lengths = model.layout.split(theta)[0]
    none = np.zeros((len(z), 0))
    if not model.layout.smooth:
        return z / lengths if model.layout.linear else none, none, none
    _, curved, slope = kernels(model.shape, lengths, z, _places(model))
    return z / lengths, solve_triangular(inner, curved.T, lower=True, check_finite=False).T, slope


def factor_sparse(
    model: KernelModel, theta: Float[np.ndarray, "size"], *, with_gradient: bool = True
) -> SparseFactored:
    """Evaluate the restricted likelihood of rows that are independent given coefficients at inducing contexts.

    Parameters
    ----------
    model : rows, with inducing contexts; none of groups.
    theta : hyper-parameters.
    with_gradient : whether the gradient is wanted.

    Raises
    ------
    numpy.linalg.LinAlgError
        When a matrix is not positive definite in float64.

    Notes
    -----
    The curved kernel S becomes Q = S_nm S_mm^-1 S_mn off the diagonal and stays what it is on it (the fully independent
    training conditional); the linear one is exact, as it has as many features as contexts. With V = F F' + D,
    derivatives are those of `kernel_rows.slopes`, with dQ = dS_nm A' + A dS_mn - A dS_mm A' and A = S_nm S_mm^-1.

    References
    ----------
    Snelson E, Ghahramani Z (2005). Sparse Gaussian processes using pseudo-inputs. NIPS 18.
    Quinonero-Candela J, Rasmussen CE (2005). J Mach Learn Res 6:1939. https://jmlr.org/papers/v6/quinonero05a.html
    """
    layout, x, y = model.layout, model.x, model.y
    _, linear, smooth, _, _ = layout.split(theta)
    inner = _inner(model, theta)
    straight, bent, slope = features(model, theta, inner, model.z)
    loads = [x[:, [j]] * straight * np.sqrt(linear[j]) for j in range(layout.linear)]
    loads += [x[:, [j]] * bent * np.sqrt(smooth[j]) for j in range(layout.smooth)]
    f = np.concatenate(loads, axis=1) if loads else np.zeros((len(x), 0))
    own = row_variance(model, theta)
    missing = np.maximum(1 - (bent**2).sum(axis=1), 0.0) if layout.smooth else np.zeros(len(x))
    amount = x**2 @ smooth if layout.smooth else np.zeros(len(x))
    d = own / model.counts + amount * missing
    over = f / d[:, None]
    g = f.T @ over
    g[np.diag_indices(len(g))] += 1
    root = np.linalg.cholesky(g)

    def solve(b: Float[np.ndarray, "rows _"]) -> Float[np.ndarray, "rows _"]:
        return b / d[:, None] - over @ _solve(root, over.T @ b)

    solved_x = solve(x)
    information = x.T @ solved_x
    covariance = np.linalg.inv(information)
    constant = covariance @ (solved_x.T @ y)
    weights = solve((y - x @ constant)[:, None])[:, 0]
    n, q = float(model.counts.sum()), x.shape[1]
    value = -0.5 * (
        2 * np.log(np.diag(root)).sum()
        + np.log(d).sum()
        + np.linalg.slogdet(information)[1]
        - np.linalg.slogdet((x * model.counts[:, None]).T @ x)[1]
        + y @ weights
        + (model.counts - 1) @ np.log(own)
        + np.log(model.counts).sum()
        + (n - q) * _LOG_2PI
    )
    penalty, by_prior = prior(model, theta)
    gradient = np.zeros(0)
    if with_gradient:
        half = solve_triangular(root, over.T, lower=True, check_finite=False)
        diagonal = weights**2 - 1 / d + (half**2).sum(axis=0) + np.einsum("ij,jk,ik->i", solved_x, covariance, solved_x)
        mf = np.outer(weights, f.T @ weights) - _solve(root, over.T).T + solved_x @ (covariance @ (solved_x.T @ f))
        gradient = 0.5 * _slopes(model, theta, (f, mf), (inner, bent, slope, missing), diagonal, own) + by_prior
    return SparseFactored(
        theta=theta,
        value=float(value) + penalty,
        gradient=gradient,
        covariance=covariance,
        constant=constant,
        root=root,
        inner=inner,
        solved_x=f.T @ solved_x,
        weights=f.T @ weights,
    )


def _places(model: KernelModel) -> Float[np.ndarray, "inducing contexts"]:
    assert model.inducing is not None
    return model.inducing


def _inner(model: KernelModel, theta: Float[np.ndarray, "size"]) -> Float[np.ndarray, "inducing inducing"]:
    """Return the Cholesky factor of the curved kernel between inducing contexts; empty where there is none."""
    if not model.layout.smooth:
        return np.zeros((0, 0))
    _, curved, _ = kernels(model.shape, model.layout.split(theta)[0], _places(model), _places(model))
    made = curved.copy()
    made[np.diag_indices(len(made))] += _JITTER
    return np.linalg.cholesky(made)


def _solve(root: Float[np.ndarray, "features features"], b: Float[np.ndarray, "features _"]) -> np.ndarray:
    return dpotrs(root, b, lower=1)[0] if len(root) else b


def _slopes(
    model: KernelModel,
    theta: Float[np.ndarray, "size"],
    loads: tuple[np.ndarray, np.ndarray],
    kernel: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    diagonal: Float[np.ndarray, "rows"],
    own: Float[np.ndarray, "rows"],
) -> Float[np.ndarray, "size"]:
    """Return twice the derivative of the log likelihood; M = Py (Py)' - P is known by its diagonal and by M F."""
    layout, x, z = model.layout, model.x, model.z
    lengths, _, smooth, tau2, sigma2 = layout.split(theta)
    f, mf = loads
    inner, bent, slope, missing = kernel
    found: list[np.ndarray] = []
    contexts = layout.lengths
    split = layout.linear * contexts
    if layout.linear:
        shares = np.einsum("ij,ij->j", f[:, :split], mf[:, :split]).reshape(layout.linear, contexts)
        by_length, of_smooth = -2 * shares.sum(axis=0) * lengths**2, np.zeros(0)
        if layout.smooth:
            m = bent.shape[1]
            of_smooth = np.einsum("ij,ij->j", f[:, split:], mf[:, split:]).reshape(layout.smooth, m).sum(axis=1)
            of_smooth = of_smooth + smooth * ((diagonal * missing) @ x**2)
            through = -(diagonal * (x**2 @ smooth))[:, None] * bent
            for j in range(layout.smooth):
                columns = slice(split + j * m, split + (j + 1) * m)
                through += np.sqrt(smooth[j]) * x[:, [j]] * mf[:, columns]
            # So far times inner: W A = through inner^-1, A = bent inner^-1.
            wa = solve_triangular(inner, through.T, lower=True, trans="T", check_finite=False).T
            a = solve_triangular(inner, bent.T, lower=True, trans="T", check_finite=False).T
            u = _places(model)
            _, _, between = kernels(model.shape, lengths, u, u)
            by_length += 2 * squared_differences(slope * wa, z, u) - squared_differences(between * (a.T @ wa), u, u)
        found += [by_length / lengths**2, shares.sum(axis=1), of_smooth]
    by_own = diagonal / model.counts - (model.counts - 1) / own
    if model.scatter:
        found.append(tau2 * (by_own @ x[:, list(model.scatter)] ** 2))
    if model.residual:
        found.append(sigma2 * by_own.sum())
    return np.concatenate(found) if found else np.zeros(0)
