"""The square-root scale of counts: Anscombe's transform and its moments for a Poisson count."""

from functools import cache

import numpy as np
from jaxtyping import Float, Int

SERIES_FROM = 100.0  # expected count from which the series in 1 / rate is as accurate as the polynomial
# E[A] / (2 sqrt(rate)) in powers of 1 / rate: the Taylor series of the root under the Poisson central moments.
_SERIES = (1.0, 1 / 16, -1 / 512, -63 / 8192, -11269 / 524288, -633465 / 8388608)


def anscombe(counts: Float[np.ndarray, "*shape"] | Int[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return A(y) = 2 sqrt(y + 3/8), whose variance is close to 1 for a Poisson count that is not small.

    Parameters
    ----------
    counts : counts, or any number that is at least -3/8.

    References
    ----------
    Anscombe FJ (1948). The transformation of Poisson, binomial and negative-binomial data. Biometrika 35:246-254.
    doi:10.1093/biomet/35.3-4.246
    """
    return 2 * np.sqrt(counts + 0.375)


def anscombe_mean(rate: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return the expectation of A(y) for a Poisson count y.

    Parameters
    ----------
    rate : expected count, at least 0.

    Notes
    -----
    E[A] is an entire function of sqrt(rate): up to a rate of 100 it is a Chebyshev polynomial through exact sums, from
    there the series 2 sqrt(m) (1 + 1/(16 m) - 1/(512 m^2) - ...). Either is within 1e-11 of the sum over all counts,
    relative to it.

    Examples
    --------
    >>> anscombe_mean(np.array([0.0, 1.0, 100.0])).round(6).tolist()
    [1.224745, 2.186906, 20.012496]
    """
    small = _polynomial()(np.sqrt(np.minimum(rate, SERIES_FROM)))
    large = np.maximum(rate, SERIES_FROM)
    series = 2 * np.sqrt(large) * np.polynomial.polynomial.polyval(1 / large, _SERIES)
    mean: np.ndarray = np.where(rate > SERIES_FROM, series, small)
    return mean


def anscombe_variance(rate: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return the variance of A(y) for a Poisson count y.

    Parameters
    ----------
    rate : expected count, at least 0.

    Notes
    -----
    E[A^2] is 4 (m + 3/8) exactly. The variance is 0 at rate 0, 0.72 at 1 and tends to 1: taking 1 for small rates
    would count noise that is not there.
    """
    variance: np.ndarray = np.maximum(4 * (rate + 0.375) - anscombe_mean(rate) ** 2, 0.0)
    return variance


@cache
def _polynomial() -> np.polynomial.Chebyshev:
    """Interpolate E[A] in sqrt(rate) at the Chebyshev points of [0, sqrt(100)]."""
    counts = np.arange(400)  # 30 standard deviations above the largest rate
    log_factorial = np.concatenate([[0.0], np.log(counts[1:]).cumsum()])

    def exact(root: Float[np.ndarray, "rates"]) -> Float[np.ndarray, "rates"]:
        rate = root[:, None] ** 2
        mean: np.ndarray = np.exp(counts * np.log(rate) - rate - log_factorial) @ anscombe(counts)
        return mean

    return np.polynomial.Chebyshev.interpolate(exact, 90, domain=[0.0, np.sqrt(SERIES_FROM)])
