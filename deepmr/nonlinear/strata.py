"""Strata of the exposure, and a line in each: what localised average causal effects are made of."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.nonlinear.dimensions import partial_out
from deepmr.nonlinear.strength import score_covariance

Score = Literal["weighted", "sum"]


def genetic_score(data: IVData, *, score: Score) -> Float[np.ndarray, "samples"]:
    """Return one instrument in place of many.

    Parameters
    ----------
    data : with independent instruments.
    score : "weighted" by the first stage, or the plain "sum", instruments that lower the exposure with a minus.
    """
    assert data.exposure is not None
    if data.instruments.shape[1] == 1:
        return data.instruments[:, 0]
    weights, given = data.scaled_weights, _given(data)
    z = partial_out(data.instruments, given, weights)
    x = partial_out(data.exposure[:, None], given, weights)[:, 0]
    weighted = z * weights[:, None]
    effects = np.linalg.lstsq(weighted.T @ z, weighted.T @ x, rcond=None)[0]
    return data.instruments @ (effects if score == "weighted" else np.sign(effects))


def _given(data: IVData) -> Float[np.ndarray, "samples _"]:
    """Return a constant and the covariates, standardised."""
    spread = data.covariates.std(axis=0)
    varying = spread > 0
    centered = (data.covariates - data.covariates.mean(axis=0))[:, varying] / spread[varying]
    return np.hstack([np.ones((len(data), 1)), centered])


def residual_strata(data: IVData, score: Float[np.ndarray, "samples"], *, n_strata: int) -> Int[np.ndarray, "samples"]:
    """Divide samples by the part of the exposure that the instrument does not explain.

    Parameters
    ----------
    data : with the exposure.
    score : the instrument.
    n_strata : of equal size.
    """
    assert data.exposure is not None
    centered = (score - score.mean())[:, None]
    given = np.hstack([np.ones((len(data), 1)), centered])
    left = partial_out(data.exposure[:, None], given, data.scaled_weights)[:, 0]
    return _ranks(left) * n_strata // len(data)


def doubly_ranked_strata(
    data: IVData, score: Float[np.ndarray, "samples"], *, n_strata: int, seed: int
) -> Int[np.ndarray, "samples"]:
    """Divide samples by the rank of their exposure among samples with about the same instrument.

    Parameters
    ----------
    data : with the exposure.
    score : the instrument.
    n_strata : of equal size.
    seed : of the order of samples with the same instrument.
    """
    assert data.exposure is not None
    n = len(data)
    shuffled = np.random.default_rng(seed).permutation(n)
    order = shuffled[np.argsort(score[shuffled], kind="stable")]
    found = np.empty(n, dtype=int)
    whole = n - n % n_strata
    groups = order[:whole].reshape(-1, n_strata)
    found[groups] = _ranks(data.exposure[groups])
    if whole < n:
        rest = order[whole:]
        found[rest] = _ranks(data.exposure[rest]) * n_strata // len(rest)
    return found


def _ranks(values: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """Rank along the last axis, from 0."""
    return np.argsort(np.argsort(values, kind="stable"), kind="stable")


@dataclass(frozen=True, slots=True, kw_only=True)
class StratumEffects:
    """Slope of the outcome on the exposure in each stratum, by the instrument.

    Attributes
    ----------
    n : samples.
    exposure, low, high : mean exposure, and what 2.5 and 97.5 % of exposures lie below.
    beta, se : the localised average causal effect and its standard error.
    beta_exposure, se_exposure : of the instrument on the exposure.
    influence : of every sample on the slope of its own stratum; its squares sum to se^2.
    """

    n: Int[np.ndarray, "strata"]
    exposure: Float[np.ndarray, "strata"]
    low: Float[np.ndarray, "strata"]
    high: Float[np.ndarray, "strata"]
    beta: Float[np.ndarray, "strata"]
    se: Float[np.ndarray, "strata"]
    beta_exposure: Float[np.ndarray, "strata"]
    se_exposure: Float[np.ndarray, "strata"]
    influence: Float[np.ndarray, "samples"]

    @property
    def f(self) -> Float[np.ndarray, "strata"]:
        """Strength of the instrument in each stratum."""
        return (self.beta_exposure / np.maximum(self.se_exposure, 1e-150)) ** 2


def stratum_effects(
    data: IVData, score: Float[np.ndarray, "samples"], stratum: Int[np.ndarray, "samples"]
) -> StratumEffects:
    """Estimate the slope in every stratum, covariates partialled out.

    Parameters
    ----------
    data : with exposure and outcome.
    score : the instrument.
    stratum : of each sample, from 0.

    Notes
    -----
    b = sum(z y) / sum(z x) with z what covariates leave of the instrument in the stratum: two-stage least squares.
    Errors allow for unequal variances, or for clusters.
    """
    assert data.exposure is not None
    assert data.outcome is not None
    given, weights = _given(data), data.scaled_weights
    count = int(stratum.max()) + 1
    found = {name: np.zeros(count) for name in ("exposure", "low", "high", "beta", "se", "slope", "slope_se")}
    influence, sizes = np.zeros(len(data)), np.zeros(count, dtype=int)
    for k in range(count):
        mine = np.flatnonzero(stratum == k)
        w, parts = weights[mine], np.column_stack([score, data.exposure, data.outcome])[mine]
        if len(mine) < 2 * given.shape[1] + 4:
            raise InputError(f"a stratum needs more than {2 * given.shape[1] + 3} samples; one has {len(mine)}")
        z, x, y = partial_out(parts, given[mine], w).T
        square, cross = float(w @ z**2), float(w @ (z * x))
        if square <= 1e-12 * float(w @ parts[:, 0] ** 2) or cross == 0:
            raise InputError(f"the instrument does not vary in stratum {k + 1} of {count}; fewer strata are needed")
        free = len(mine) / (len(mine) - given.shape[1] - 1)
        beta, slope = float(w @ (z * y)) / cross, cross / square
        clusters = None if data.clusters is None else data.clusters[mine]
        influence[mine] = w * z * (y - x * beta) / cross * np.sqrt(free)
        moved = w * z * (x - z * slope) / square * np.sqrt(free)
        found["beta"][k], found["slope"][k] = beta, slope
        found["se"][k] = np.sqrt(score_covariance(influence[mine][:, None], clusters)[0, 0])
        found["slope_se"][k] = np.sqrt(score_covariance(moved[:, None], clusters)[0, 0])
        found["exposure"][k] = np.average(data.exposure[mine], weights=w)
        found["low"][k], found["high"][k] = np.quantile(data.exposure[mine], [0.025, 0.975])
        sizes[k] = len(mine)
    return StratumEffects(
        n=sizes,
        exposure=found["exposure"],
        low=found["low"],
        high=found["high"],
        beta=found["beta"],
        se=found["se"],
        beta_exposure=found["slope"],
        se_exposure=found["slope_se"],
        influence=influence,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Heterogeneity:
    """Whether slopes differ between strata.

    Attributes
    ----------
    q, q_pvalue : Cochran's Q, chi-squared with one degree of freedom less than there are strata.
    trend, trend_pvalue : change of the slope by a unit of exposure, and that it is 0.
    exposure_q_pvalue : that the instrument moves the exposure alike in all strata.
    """

    q: float
    q_pvalue: float
    trend: float
    trend_pvalue: float
    exposure_q_pvalue: float


def stratum_heterogeneity(effects: StratumEffects) -> Heterogeneity:
    """Test whether slopes differ between strata, and whether they rise or fall with the exposure.

    Parameters
    ----------
    effects : of the strata.
    """
    weights = 1 / np.maximum(effects.se, 1e-12 * (1 + np.abs(effects.beta))) ** 2
    q, q_pvalue = _cochran(effects.beta, weights)
    moved = 1 / np.maximum(effects.se_exposure, 1e-12 * (1 + np.abs(effects.beta_exposure))) ** 2
    centered = effects.exposure - np.average(effects.exposure, weights=weights)
    square = max(float(weights @ centered**2), 1e-300)
    trend = float((weights * centered) @ effects.beta) / square
    return Heterogeneity(
        q=q,
        q_pvalue=q_pvalue,
        trend=trend,
        trend_pvalue=float(2 * stats.norm.sf(abs(trend) * np.sqrt(square))),
        exposure_q_pvalue=_cochran(effects.beta_exposure, moved)[1],
    )


def _cochran(beta: Float[np.ndarray, "strata"], weights: Float[np.ndarray, "strata"]) -> tuple[float, float]:
    q = float(weights @ (beta - np.average(beta, weights=weights)) ** 2)
    return q, float(stats.chi2.sf(q, len(beta) - 1))
