"""Tests of markers from their moments: effects, standard errors and P values, of a block and several traits at once."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from deepmr.population.log_tails import log_tail_chi_sq, log_tail_f
from deepmr.population.marker_moments import Moments

MarkerTest = Literal["f", "wald", "lrt", "score"]
Precision = Literal["float64", "float32"]
# What must be left of a marker after covariates, as a share of a'V^-1 a, and of a trait after marker and covariates, as
# a share of r'V^-1 r: below, rounding is all that is left.
COLLINEAR: dict[Precision, float] = {"float64": 1e-10, "float32": 1e-8}
EXPLAINED: dict[Precision, float] = {"float64": 1e-12, "float32": 1e-6}


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
    no_variance : markers that with the covariates explain all of the trait; their other values mean nothing.
    """

    beta: Float[np.ndarray, "variants traits"]
    se: Float[np.ndarray, "variants traits"]
    sigma_sq: Float[np.ndarray, "variants traits"]
    chi_sq: Float[np.ndarray, "variants traits"]
    log_p: Float[np.ndarray, "variants traits"]
    collinear: Bool[np.ndarray, "variants traits"]
    no_variance: Bool[np.ndarray, "variants traits"]


def marker_statistics(
    moments: Moments,
    rss: Float[np.ndarray, "traits"],
    *,
    n: int,
    fixed: int,
    test: MarkerTest = "f",
    precision: Precision = "float64",
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
        `f`: (beta / se)^2 against F(1, n - f - 1); `wald`: the same against chi-square; `lrt`: n log(rss_0 / rss_1)
        against chi-square; `score`: n beta a'Py / rss_0 against F(1, n - f - 1), as GEMMA has it.
    precision
        Of the rotated markers, by which `collinear` and `no_variance` are told.

    Notes
    -----
    a'Pa = a'V^-1 a - |L^-1 Q'V^-1 a|^2, beta = a'Py / a'Pa, R = beta a'Py / rss_0, rss_1 = rss_0 (1 - R),
    se^2 = rss_1 / ((n - f - 1) a'Pa). With these, f and wald are (n - f - 1) R / (1 - R), lrt is -n log(1 - R), exact
    for small R, and score is n R.
    """
    dof = n - fixed - 1
    see = moments.own.copy() if moments.own.shape[1] == len(rss) else np.repeat(moments.own, len(rss), axis=1)
    for k in range(moments.covariates.shape[2]):
        see -= np.square(moments.covariates[:, :, k])
    collinear = ~(see > COLLINEAR[precision] * moments.own)
    product = moments.residual
    if collinear.any():
        see[collinear] = 1.0
        product = np.where(collinear, 0.0, product)
    beta = product / see
    explained = product * beta
    explained /= rss
    left = 1.0 - explained
    no_variance = ~(left > EXPLAINED[precision]) | (rss <= 0)
    if no_variance.any():
        explained[no_variance], left[no_variance] = 0.0, 1.0
    sigma_sq = left * (rss / dof)
    if test == "lrt":
        chi_sq = -n * np.log1p(-explained)
    elif test == "score":
        chi_sq = n * explained
    else:
        chi_sq = dof * explained / left
    return Tested(
        beta=beta,
        se=np.sqrt(sigma_sq / see),
        sigma_sq=sigma_sq,
        chi_sq=chi_sq,
        log_p=log_tail_f(chi_sq, dof) if test in ("f", "score") else log_tail_chi_sq(chi_sq),
        collinear=collinear,
        no_variance=no_variance,
    )
