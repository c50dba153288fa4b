"""Kernels between contexts that are known with error: expected ones, in closed form."""

import numpy as np
from jaxtyping import Float


def expected_kernels(
    lengths: Float[np.ndarray, "contexts"],
    z: Float[np.ndarray, "rows contexts"],
    variance: Float[np.ndarray, "rows contexts"],
) -> tuple[Float[np.ndarray, "rows rows"], Float[np.ndarray, "rows rows"]]:
    """Return the expected linear and squared-exponential kernel of rows, at their unknown true contexts.

    Parameters
    ----------
    lengths : length scale of each context.
    z : expected true contexts.
    variance : of the true contexts about these, independent between rows and contexts.

    Notes
    -----
    With true contexts z + e, e ~ N(0, v): E L = sum_k z_k z'_k / l_k^2, on the diagonal (z_k^2 + v_k) / l_k^2, and
    E S = prod_k (1 + (v_k + v'_k) / l_k^2)^(-1/2) exp(-(z_k - z'_k)^2 / 2 (l_k^2 + v_k + v'_k)), on the diagonal 1. A
    function that is a Gaussian process of the true context has these covariances over rows, so that a row with a poorly
    known context says less of the function: what it says of it elsewhere is not attenuated.

    References
    ----------
    Girard A, Rasmussen CE, Quinonero Candela J, Murray-Smith R (2003). Gaussian process priors with uncertain inputs.
    Advances in Neural Information Processing Systems 15.
    """
    linear = (z / lengths) @ (z / lengths).T
    smooth = expected_smooth(lengths, z, z, variance, variance)
    own = np.arange(len(z))
    linear[own, own] += (variance / lengths**2).sum(axis=1)
    smooth[own, own] = 1.0
    return linear, smooth


def expected_smooth(
    lengths: Float[np.ndarray, "contexts"],
    one: Float[np.ndarray, "a contexts"],
    two: Float[np.ndarray, "b contexts"],
    variance_one: Float[np.ndarray, "a contexts"],
    variance_two: Float[np.ndarray, "b contexts"],
) -> Float[np.ndarray, "a b"]:
    """Return the expected squared-exponential kernel between different rows.

    Parameters
    ----------
    lengths : length scale of each context.
    one, two : expected true contexts.
    variance_one, variance_two : of the true contexts about these.
    """
    log = np.zeros((len(one), len(two)))
    for k, length in enumerate(lengths):
        spread = variance_one[:, k, None] + variance_two[:, k]
        apart = (one[:, k, None] - two[:, k]) ** 2
        log -= 0.5 * (np.log1p(spread / length**2) + apart / (length**2 + spread))
    return np.exp(log)


def length_slopes(
    lengths: Float[np.ndarray, "contexts"],
    z: Float[np.ndarray, "rows contexts"],
    variance: Float[np.ndarray, "rows contexts"],
    weights: Float[np.ndarray, "rows rows"],
) -> Float[np.ndarray, "contexts"]:
    """Return by context the weighted sum of d log E S / d log l_k over pairs of rows.

    Parameters
    ----------
    lengths : length scale of each context.
    z, variance : as for `expected_kernels`.
    weights : of the pairs.

    Notes
    -----
    u / (l^2 + u) + l^2 (z - z')^2 / (l^2 + u)^2 with u = v + v'; 0 on the diagonal, where S is 1.
    """
    found = np.zeros(len(lengths))
    for k, length in enumerate(lengths):
        spread = variance[:, k, None] + variance[:, k]
        apart = (z[:, k, None] - z[:, k]) ** 2
        slope = spread / (length**2 + spread) + length**2 * apart / (length**2 + spread) ** 2
        np.fill_diagonal(slope, 0.0)
        found[k] = (weights * slope).sum()
    return found
