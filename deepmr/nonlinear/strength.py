"""How strongly instruments move the exposure: F statistics that allow for unequal variances and for clusters."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import stats
from scipy.linalg import solve_triangular

from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.nonlinear.independent import independent_columns, triangular
from deepmr.nonlinear.moments import summed_squares

WEAK_F = 10.0  # Staiger & Stock's rule of thumb
_BIAS = 0.1  # of two-stage least squares, relative to the worst case, that the critical value allows
_ROUNDING = 1e-14  # least unexplained share of a variable


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """The first stage in numbers, covariates partialled out.

    Attributes
    ----------
    n_instruments : of them, all independent.
    f : classical F of all instruments together.
    f_robust : the same allowing for unequal variances, or clusters; None where there are too few clusters for it.
    pvalue : of f_robust, or of f where there is none.
    f_effective : of Montiel Olea & Pflueger.
    f_critical : what f_effective exceeds where the bias of two-stage least squares is below a tenth of the worst case,
        tested at the 5 % level.
    r2 : share of the exposure's variance that instruments explain beyond covariates.
    """

    n_instruments: int
    f: float
    f_robust: float | None
    pvalue: float
    f_effective: float
    f_critical: float
    r2: float


def instrument_strength(data: IVData) -> Strength:
    """Measure how strongly instruments move the exposure.

    Parameters
    ----------
    data : with the exposure, and instruments that are independent (`independent_instruments`).

    Notes
    -----
    With instruments made orthonormal and free of covariates, pi = Z'x and W the robust covariance of pi,
    F_robust = pi'W^-1 pi / k and F_effective = pi'pi / tr(W). Its critical value is the 95 % quantile of a noncentral
    chi-squared distribution with K degrees of freedom and noncentrality tK, divided by K, where t = 1 / 0.1 and
    K = tr(W)^2 (1 + 2t) / (tr(W^2) + 2t tr(W) max eig W). With one
    instrument F_effective is F_robust, and 23.1 is critical.

    References
    ----------
    Montiel Olea & Pflueger (2013) doi:10.1080/00401706.2013.806694; Staiger & Stock (1997) doi:10.2307/2171753.
    """
    assert data.exposure is not None
    exposure, n, k = data.exposure, len(data), data.instruments.shape[1]
    covariates = data.covariates[:, independent_columns(data.covariates, weights=data.weights)]
    p = 1 + covariates.shape[1]
    root, center = np.sqrt(data.scaled_weights), data.instruments.mean(axis=0)
    check_samples(data)

    def columns(rows: slice) -> Float[np.ndarray, "_ columns"]:
        parts = [np.ones((len(exposure[rows]), 1)), covariates[rows], data.instruments[rows] - center]
        return np.hstack([*parts, exposure[rows, None]]) * root[rows, None]

    r = triangular(columns, n)
    moved, left = r[p:-1, -1], r[-1, -1] ** 2
    explained = float(moved @ moved)
    left = max(float(left), _ROUNDING * (explained + float(left)), 1e-300)
    orthonormal = solve_triangular(r[:-1, :-1], np.eye(p + k))[:, p:]
    coefficients = solve_triangular(r[:-1, :-1], r[:-1, -1])

    def scores(rows: slice) -> Float[np.ndarray, "_ columns"]:
        block = columns(rows)
        return (block[:, :-1] @ orthonormal) * (block[:, -1] - block[:, :-1] @ coefficients)[:, None]

    free = n - p - k
    covariance = summed_squares(scores, n, clusters=data.clusters) * n / free + _ROUNDING * left / n * np.eye(k)
    f = explained / k / (left / free)
    f_robust, df = None, free if data.clusters is None else len(np.unique(data.clusters)) - 1
    if df > k:
        f_robust = float(moved @ np.linalg.solve(covariance, moved)) / k
    return Strength(
        n_instruments=k,
        f=f,
        f_robust=f_robust,
        pvalue=float(stats.f.sf(f if f_robust is None else f_robust, k, df)),
        f_effective=explained / float(np.trace(covariance)),
        f_critical=_critical(covariance),
        r2=explained / (explained + left),
    )


def check_samples(data: IVData) -> None:
    """Raise `InputError` where there are too few samples to say how strong instruments are.

    Parameters
    ----------
    data : with independent instruments.
    """
    n, k, p = len(data), data.instruments.shape[1], data.covariates.shape[1]
    if n <= p + k + 2:
        raise InputError(f"{k} instruments and {p} covariates need more than {p + k + 2} samples; there are {n}")


def score_covariance(
    scores: Float[np.ndarray, "samples columns"], clusters: Int[np.ndarray, "samples"] | None
) -> Float[np.ndarray, "columns columns"]:
    """Return the covariance of the sum of scores; of the sums of clusters where there are clusters.

    Parameters
    ----------
    scores : a row a sample, with mean 0.
    clusters : of the samples, or None.
    """
    return summed_squares(lambda rows: scores[rows], len(scores), clusters=clusters)


def _critical(covariance: Float[np.ndarray, "columns columns"]) -> float:
    x = 1 / _BIAS
    trace, largest = float(np.trace(covariance)), float(np.linalg.eigvalsh(covariance)[-1])
    size = trace**2 * (1 + 2 * x) / (float(np.sum(covariance**2)) + 2 * x * trace * largest)
    return float(stats.ncx2.ppf(0.95, size, x * size) / size)


def strength_warnings(strength: Strength, *, level: float = 0.95) -> tuple[str, ...]:
    """Say in a sentence that instruments are weak, where they are.

    Parameters
    ----------
    strength : of the instruments.
    level : 1 less it is the P value above which they cannot be told from noise.
    """
    one = strength.n_instruments == 1
    said = "The instrument moves" if one else f"The {strength.n_instruments} instruments together move"
    f = strength.f if strength.f_robust is None else strength.f_robust
    if strength.pvalue > 1 - level:
        return (
            f"{said} the exposure no more than noise does (F = {f:.2g}, P = {strength.pvalue:.2g}): "
            "no estimate from them means anything.",
        )
    if strength.f_effective < WEAK_F:
        return (
            f"{said} the exposure weakly (effective F = {strength.f_effective:.2g}, below {WEAK_F:g}): "
            "estimates are biased towards the confounded association and intervals too short.",
        )
    return ()
