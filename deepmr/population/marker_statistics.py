"""Tests of markers from their moments: effects, standard errors and P values, of a block and several traits at once."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy import special, stats

from deepmr.population.marker_moments import Moments

MarkerTest = Literal["f", "wald", "lrt", "score"]
COLLINEAR = 1e-10  # of a'V^-1 a: what covariates leave of a marker


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """Effects of markers.

    Attributes
    ----------
    beta, se : per copy of the effect allele.
    sigma_sq : residual variance of the model with the marker, in units of V = I + gamma K: tau^2.
    chi_sq : the statistic of the test.
    log_p : natural logarithm of the P value, which may be too small for a number.
    collinear : markers of which covariates leave nothing; their other values are 0 or 1 and mean nothing.
    """

    beta: Float[np.ndarray, "variants traits"]
    se: Float[np.ndarray, "variants traits"]
    sigma_sq: Float[np.ndarray, "variants traits"]
    chi_sq: Float[np.ndarray, "variants traits"]
    log_p: Float[np.ndarray, "variants traits"]
    collinear: Bool[np.ndarray, "variants traits"]


def marker_statistics(
    moments: Moments, rss: Float[np.ndarray, "traits"], *, n: int, fixed: int, test: MarkerTest = "f"
) -> Tested:
    """Test markers at the gamma of the null model.

    Parameters
    ----------
    moments
        Of the markers.
    rss
        Of the null model, r'V^-1 r.
    n, fixed
        Samples, and fixed effects without the marker.
    test
        `f`: (beta / se)^2 against F(1, n - f - 1); `wald`: against chi-square; `lrt`: n log(rss_0 / rss_1) against
        chi-square; `score`: (n - f) beta^2 a'Pa / rss_0 against chi-square.

    Notes
    -----
    a'Pa = a'V^-1 a - |L^-1 Q'V^-1 a|^2, beta = a'Py / a'Pa, rss_1 = rss_0 - beta a'Py,
    se^2 = rss_1 / ((n - f - 1) a'Pa).
    """
    see = moments.own - np.einsum("vtf,vtf->vt", moments.covariates, moments.covariates)
    collinear = ~(see > COLLINEAR * moments.own)
    see = np.where(collinear, 1.0, see)
    product = np.where(collinear, 0.0, moments.residual)
    beta = product / see
    explained = np.clip(product * beta / rss, 0.0, 1.0 - np.finfo(float).eps)
    dof = n - fixed - 1
    sigma_sq = rss * (1.0 - explained) / dof
    se = np.sqrt(sigma_sq / see)
    if test == "lrt":
        chi_sq = -n * np.log1p(-explained)
    elif test == "score":
        chi_sq = (n - fixed) * explained
    else:
        chi_sq = dof * explained / (1.0 - explained)
    return Tested(
        beta=beta,
        se=se,
        sigma_sq=sigma_sq,
        chi_sq=chi_sq,
        log_p=_log_tail(chi_sq, dof if test == "f" else None),
        collinear=collinear,
    )


def _log_tail(chi_sq: Float[np.ndarray, "*shape"], dof: int | None) -> Float[np.ndarray, "*shape"]:
    if dof is None:
        return np.minimum(np.log(2.0) + special.log_ndtr(-np.sqrt(chi_sq)), 0.0)
    return np.log(np.maximum(stats.f.sf(chi_sq, 1, dof), np.finfo(float).tiny))
