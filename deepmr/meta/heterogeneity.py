"""How far effects differ beyond their errors: Cochran's Q, H, I2, and intervals of tau2."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats

from deepmr import checks
from deepmr.errors import InputError
from deepmr.inference import chi2_tail, i_squared, quantile
from deepmr.meta.evidence import Evidence
from deepmr.meta.studies import Groups, Studies, fit_weighted, one_group
from deepmr.meta.tau2 import between_variance, log_likelihood, solve_q
from deepmr.quadratic_forms import tail_of_quadratic_form

Tau2Interval = Literal["QP", "PL", "GENQ"]
_MOST_FOR_GENQ = 500


def heterogeneity(evidence: Evidence, between: Groups, *, level: float) -> dict[str, Groups]:
    """Return the fixed-effect mean, Cochran's Q about it, and H and I2 with their intervals.

    Parameters
    ----------
    between : tau2.

    Notes
    -----
    Intervals of H = sqrt(Q / df) and I2 = 1 - 1 / H^2 by the approximate standard error of log H of Higgins and
    Thompson. `i2_tau2` is tau2 / (tau2 + v), with v their typical variance df sum w / ((sum w)^2 - sum w^2).

    References
    ----------
    Higgins JPT, Thompson SG. Stat Med 2002. https://doi.org/10.1002/sim.1186
    """
    at = evidence.weighted(np.zeros_like(between), "inverse_variance")
    q, df = at.scatter * at.total, evidence.counts - 1
    h, low, high = _h_interval(q, evidence.counts, level)
    typical = df / (at.total * (1 - at.square))
    return {
        "q": q,
        "q_df": df,
        "q_pvalue": chi2_tail(q, df),
        "i2": i_squared(q, df),
        "i2_low": 1 - 1 / low**2,
        "i2_high": 1 - 1 / high**2,
        "h": h,
        "h_low": low,
        "h_high": high,
        "i2_tau2": between / (typical + between),
        "beta_fixed": evidence.origin + at.centre,
        "se_fixed": np.sqrt(at.sampled + np.sum(at.moved**2, axis=0)),
    }


def _h_interval(q: Groups, k: Groups, level: float) -> tuple[Groups, Groups, Groups]:
    """Return H and its limits, none below 1; two studies have no limits unless Q exceeds 2."""
    df = k - 1
    h = np.sqrt(np.maximum(q / df, 1.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        far = 0.5 * (np.log(q) - np.log(df)) / (np.sqrt(2 * q) - np.sqrt(2 * k - 3))
        near = np.sqrt(1 / (2 * (k - 2)) * (1 - 1 / (3 * (k - 2) ** 2)))
        wide = np.where(q > k, far, near) * quantile(level)
    wide = np.where(np.isfinite(wide), wide, np.nan)
    return h, np.maximum(np.exp(np.log(h) - wide), 1.0), np.maximum(np.exp(np.log(h) + wide), 1.0)


def tau2_interval(
    beta: Float[np.ndarray, "studies"],
    variance: Float[np.ndarray, "studies"],
    *,
    level: float = 0.95,
    method: Tau2Interval = "QP",
) -> tuple[float, float]:
    """Return an interval of tau2.

    Parameters
    ----------
    beta, variance : effect of each locus and the variance of its error; at least two loci, variances above zero.
    method : `QP`, where the generalised Q meets its chi-square quantiles; `PL`, where the restricted profile
        likelihood is half a chi-square quantile below its highest; `GENQ`, where Cochran's Q, which for tau2 > 0 is a
        weighted sum of chi-squares, meets its quantiles (at most 500 loci).

    References
    ----------
    Viechtbauer W. Stat Med 2007. https://doi.org/10.1002/sim.2514
    Jackson D. Res Synth Methods 2013. https://doi.org/10.1002/jrsm.1081
    """
    checks.one_of("method", method, get_args(Tau2Interval))
    studies = one_group(beta, variance)
    if method == "PL":
        return _likelihood_interval(studies, level)
    if method == "GENQ":
        return _generalised_interval(studies, level)
    low, high = (float(solve_q(studies, stats.chi2.ppf(p, studies.df))[0]) for p in ((1 + level) / 2, (1 - level) / 2))
    return low, high


def _likelihood_interval(studies: Studies, level: float) -> tuple[float, float]:
    best = float(between_variance(studies, "REML")[0])

    def value(tau2: float) -> float:
        return float(log_likelihood(studies, np.array([tau2]), restricted=True)[0])

    least = value(best) - stats.chi2.ppf(level, 1) / 2
    return _crossing(lambda t: value(t) - least, best, float(studies.variance.max() + np.var(studies.beta)))


def _generalised_interval(studies: Studies, level: float) -> tuple[float, float]:
    if len(studies.beta) > _MOST_FOR_GENQ:
        raise InputError(f"the interval GENQ is for at most {_MOST_FOR_GENQ} loci; got {len(studies.beta)}: use QP")
    weights = 1 / studies.variance
    q = float(fit_weighted(studies, weights).q[0])
    projection = np.diag(weights) - np.outer(weights, weights) / weights.sum()

    def tail(tau2: float) -> float:
        scale = np.sqrt(studies.variance + tau2)
        eigenvalues = np.linalg.eigvalsh(scale[:, None] * projection * scale)[1:]
        return tail_of_quadratic_form(q, np.maximum(eigenvalues, 0.0))

    size = float(studies.variance.max() + np.var(studies.beta))
    lower, upper = (1 - level) / 2, (1 + level) / 2
    return _rising(lambda t: tail(t) - lower, size), _rising(lambda t: tail(t) - upper, size)


def _rising(function: Callable[[float], float], size: float) -> float:
    """Return where a rising function crosses zero; 0 where it starts above."""
    if function(0.0) >= 0:
        return 0.0
    while function(size) < 0:
        size *= 2
    return float(optimize.brentq(function, 0.0, size, xtol=1e-300, rtol=1e-12))


def _crossing(function: Callable[[float], float], inside: float, size: float) -> tuple[float, float]:
    """Return where a function with one peak crosses zero on either side of a point where it is above."""
    low = 0.0 if function(0.0) >= 0 else optimize.brentq(function, 0.0, inside, xtol=1e-300, rtol=1e-12)
    above = inside + size
    while function(above) > 0:
        above *= 2
    return float(low), float(optimize.brentq(function, inside, above, xtol=1e-300, rtol=1e-12))
