"""Logarithms of P values, exact where the P value itself is too small for a number, and where it is almost 1."""

import numpy as np
from jaxtyping import Float
from scipy import special

SMALL = 1e-280  # below it the continued fraction takes over from scipy's incomplete beta function
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
    near_one = z < 1
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
    P = I_x(dof / 2, 1 / 2) at x = dof / (dof + statistic), the regularised incomplete beta function. Of x and 1 - x, the
    one that is not close to 1 is used, so that nothing is lost in either tail; far out, the continued fraction of I_x,
    whose factor x^(dof / 2) stays a logarithm.
    """
    half = 0.5 * dof
    whole = dof + statistic
    explained = statistic / whole
    near = explained < 0.5
    with np.errstate(divide="ignore"):
        p = np.empty_like(statistic)
        p[near] = special.betaincc(0.5, half, explained[near])
        p[~near] = special.betainc(half, 0.5, dof / whole[~near])
        log_p = np.log(p)
    near_one = p > 0.5
    log_p[near_one] = np.log1p(-special.betainc(0.5, half, explained[near_one]))
    far = p < SMALL
    if far.any():
        log_p[far] = _log_beta_tail(statistic[far], half)
    return log_p


def _log_beta_tail(statistic: Float[np.ndarray, "far"], half: float) -> Float[np.ndarray, "far"]:
    """Return log I_x(half, 1/2) by its continued fraction, Lentz's method; DLMF 8.17.22."""
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
