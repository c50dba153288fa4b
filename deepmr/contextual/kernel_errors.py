"""Kernels between contexts that are known with error: expected ones, in closed form."""

import numpy as np
from jaxtyping import Float

_AT_ONCE = 20  # contexts whose factors are multiplied before their logarithm is taken, far from overflow


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

    Notes
    -----
    With true contexts z + e, e ~ N(0, v): E S = prod_k (1 + (v_k + v'_k) / l_k^2)^(-1/2) exp(-(z_k - z'_k)^2 / 2 (l_k^2
    + v_k + v'_k)), and 1 of a row with itself. The expected linear kernel is sum_k z_k z'_k / l_k^2, of a row with
    itself (z_k^2 + v_k) / l_k^2. A function that is a Gaussian process of the true context has these covariances over
    rows, so that a row with a poorly known context says less of the function: what it says of it elsewhere is not
    attenuated.

    References
    ----------
    Girard A, Rasmussen CE, Quinonero Candela J, Murray-Smith R (2003). Gaussian process priors with uncertain inputs.
    Advances in Neural Information Processing Systems 15.
    """
    log, widened = np.zeros((len(one), len(two))), np.ones((len(one), len(two)))
    for k, length in enumerate(lengths):
        spread = np.add.outer(variance_one[:, k] + length**2, variance_two[:, k])
        apart = np.subtract.outer(one[:, k], two[:, k])
        apart *= apart
        apart /= spread
        log -= apart
        spread /= length**2
        widened *= spread
        if k % _AT_ONCE == _AT_ONCE - 1:
            log -= np.log(widened)
            widened.fill(1.0)
    log *= 0.5
    made: np.ndarray = np.exp(log, out=log)
    made /= np.sqrt(widened, out=widened)
    return made


def length_slopes(
    lengths: Float[np.ndarray, "contexts"],
    one: Float[np.ndarray, "a contexts"],
    two: Float[np.ndarray, "b contexts"],
    variance_one: Float[np.ndarray, "a contexts"],
    variance_two: Float[np.ndarray, "b contexts"],
    weights: Float[np.ndarray, "a b"],
) -> Float[np.ndarray, "contexts"]:
    """Return by context the weighted sum of d log E S / d log l_k over pairs of different rows.

    Parameters
    ----------
    lengths : length scale of each context.
    one, two, variance_one, variance_two : as for `expected_smooth`.
    weights : of the pairs.

    Notes
    -----
    u / (l^2 + u) + l^2 (z - z')^2 / (l^2 + u)^2 with u = v + v'.
    """
    found = np.zeros(len(lengths))
    for k, length in enumerate(lengths):
        total = np.add.outer(variance_one[:, k] + length**2, variance_two[:, k])
        apart = np.subtract.outer(one[:, k], two[:, k])
        apart *= apart
        apart /= total
        apart -= 1  # as u / (l^2 + u) = 1 - l^2 / (l^2 + u)
        apart /= total
        apart *= length**2
        apart += 1
        found[k] = np.vdot(weights, apart)
    return found
