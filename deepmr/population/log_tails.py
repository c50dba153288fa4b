"""Logarithms of P values, exact where the P value itself is too small for a number, and where it is almost 1."""

import numpy as np
from jaxtyping import Float
from scipy import special

NEAR_ONE = 0.9  # above it, log P is taken from 1 - P
SMALL = 1e-250  # below it, log P is no longer taken from P
STEPS = 2000  # of the fraction; tens are enough this far out


def log_tail_chi_sq(chi_sq: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return log P(X > chi_sq) of a chi-square X with one degree of freedom.

    Parameters
    ----------
    chi_sq : statistics, zero or positive.

    Notes
    -----
    P = 2 Phi(-sqrt(chi_sq)) = erfc(sqrt(chi_sq / 2)).
    """
    z = np.sqrt(chi_sq)
    log_p = np.log(2.0) + special.log_ndtr(-z)
    near_one = z < 0.2
    log_p[near_one] = np.log1p(-special.erf(z[near_one] / np.sqrt(2.0)))
    return log_p


def log_tail_f(statistic: Float[np.ndarray, "*shape"], dof: int) -> Float[np.ndarray, "*shape"]:
    """Return log P(X > statistic) of an F(1, dof) variable X: both tails of Student's t at its root.

    Parameters
    ----------
    statistic : zero or positive.
    dof : degrees of freedom of the denominator.

    Notes
    -----
    P = I_x(dof / 2, 1 / 2) at x = dof / (dof + statistic), the regularised incomplete beta function. Where P is near
    the smallest number there is, its continued fraction, whose factor x^(dof / 2) stays a logarithm; near 1, the
    logarithm of what is missing from 1.

    References
    ----------
    DLMF 8.17.22, https://dlmf.nist.gov/8.17.E22.
    """
    p = special.fdtrc(1, dof, statistic)
    with np.errstate(divide="ignore"):
        log_p = np.log(p)
    near_one = p > NEAR_ONE
    log_p[near_one] = np.log1p(-special.fdtr(1, dof, statistic[near_one]))
    far = p < SMALL
    if far.any():
        log_p[far] = _log_beta_tail(statistic[far], 0.5 * dof)
    return log_p


def _log_beta_tail(statistic: Float[np.ndarray, "far"], half: float) -> Float[np.ndarray, "far"]:
    """Return log I_x(half, 1/2) by its continued fraction, with Lentz's method."""
    dof = 2 * half
    x = dof / (dof + statistic)
    c = np.ones_like(x)
    d = 1.0 / (1.0 - (half + 0.5) * x / (half + 1.0))
    fraction = d.copy()
    for m in range(1, STEPS):
        even = m * (0.5 - m) * x / ((half + 2 * m - 1) * (half + 2 * m))
        odd = -(half + m) * (half + 0.5 + m) * x / ((half + 2 * m) * (half + 2 * m + 1))
        before = fraction.copy()
        for term in (even, odd):
            d = 1.0 / (1.0 + term * d)
            c = 1.0 + term / c
            fraction *= c * d
        if np.all(np.abs(fraction - before) <= 1e-15 * np.abs(fraction)):
            break
    front = -half * np.log1p(statistic / dof) + 0.5 * np.log(statistic / (dof + statistic))
    return front - np.log(half) - special.betaln(half, 0.5) + np.log(fraction)
