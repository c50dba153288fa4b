"""The tail of a weighted sum of chi-squares, whose weights may have either sign."""

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats

_ERROR = 28.0  # minus the logarithm of the error that leaving out costs: exp(-28) is 7e-13
_TERMS, _CHUNK = 200_000, 4096  # of the series: at most, and at once
_FAR = 1e-8  # tail below which the series has lost its digits, and the saddlepoint approximation takes over


def tail_of_quadratic_form(
    q: float, weights: Float[np.ndarray, "terms"], *, df: Float[np.ndarray, "terms"] | None = None
) -> float:
    """Return the probability that sum_i weights_i X_i, X_i chi-square and independent, exceeds `q`.

    Parameters
    ----------
    q : where the tail begins.
    weights : positive, negative or 0. A ratio a'z / b'z of two such sums exceeds r as often as (a - r b)'z exceeds 0.
    df : degrees of freedom of each X_i, above 0; 1 where not given.

    Notes
    -----
    Davies' series 1/2 + sum_k |phi(u_k)| sin(theta(u_k)) / (pi (k + 1/2)) at u_k = (k + 1/2) d, with
    theta(u) = sum df arctan(2 w u) / 2 - q u and |phi| = prod (1 + 4 w^2 u^2)^(-df/4). The step d is so small that what
    it folds back has a probability below 1e-12 (Chernoff). Exact to about 1e-11; of one or two weights, whose terms
    decay slowly, to 1e-7. Tails below 1e-8 are saddlepoint approximations, right to a few per cent of themselves.

    References
    ----------
    Davies RB (1980). Appl Stat 29:323. doi:10.2307/2346911
    Kuonen D (1999). Biometrika 86:929. doi:10.1093/biomet/86.4.929
    """
    use = weights != 0
    w = weights[use]
    if not len(w):
        return float(q < 0)
    dof = np.ones(len(w)) if df is None else df[use]
    scale = float(np.abs(w).max())
    w, q = w / scale, q / scale
    if (q >= 0 and (w < 0).all()) or (q <= 0 and (w > 0).all()):
        return float(w[0] > 0)
    tail = _series(q, w, dof)
    return _saddlepoint(q, w, dof) if tail < _FAR else min(tail, 1.0)


def _series(q: float, w: Float[np.ndarray, "terms"], df: Float[np.ndarray, "terms"]) -> float:
    reach = max(_far_out(w, df) - q, q + _far_out(-w, df), 1.0)
    step = 2 * np.pi / reach
    total = 0.0
    for start in range(0, _TERMS, _CHUNK):
        k = np.arange(start, start + _CHUNK) + 0.5
        u = step * k
        theta, log_phi = -q * u, np.zeros_like(u)
        for weight, dof in zip(w, df, strict=True):
            theta += dof * np.arctan(2 * weight * u) / 2
            log_phi -= dof * np.log1p(4 * (weight * u) ** 2) / 4
        total += float((np.exp(log_phi) * np.sin(theta) / k).sum())
        if log_phi[-1] < -_ERROR:
            break
    return 0.5 + total / np.pi


def _far_out(w: Float[np.ndarray, "terms"], df: Float[np.ndarray, "terms"]) -> float:
    """Return a value that the sum exceeds with a probability below exp(-28)."""
    largest = max(float(w.max()), 1e-3)
    t = np.array([0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.45]) / largest
    cumulant = -0.5 * (df * np.log1p(-2 * t[:, None] * w)).sum(axis=1)
    return float(((cumulant + _ERROR) / t).min())


def _saddlepoint(q: float, w: Float[np.ndarray, "terms"], df: Float[np.ndarray, "terms"]) -> float:
    """Return the tail by Lugannani and Rice's formula, as Barndorff-Nielsen writes it; `q` is above the mean."""
    if w.max() <= 0:
        return 0.0

    def slope(t: float) -> float:
        return float((df * w / (1 - 2 * t * w)).sum()) - q

    most = 0.5 / float(w.max())
    gap = 0.5
    while slope(most * (1 - gap)) < 0 and gap > 1e-15:
        gap /= 4
    t = optimize.brentq(slope, 0.0, most * (1 - gap), xtol=1e-15, rtol=1e-12)
    left = 1 - 2 * t * w
    cumulant = -0.5 * float((df * np.log(left)).sum())
    curvature = 2 * float((df * (w / left) ** 2).sum())
    root = np.sqrt(2 * (t * q - cumulant))
    return float(stats.norm.sf(root + np.log(t * np.sqrt(curvature) / root) / root))
